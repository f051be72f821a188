"""`harness completion`: what makes a shell complete the words of `harness` commands."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "fish")

_DESCRIPTION = """\
Prints what makes a shell complete verbs, flags, files, checks, the hosts and groups of the inventories named with
-i, and the runs in logs/. Nothing is started to find them out: no program of an inventory is run, no check imported.

For this shell only:

  bash, zsh:   eval "$(harness completion bash)"    (or zsh)
  fish:        harness completion fish | source

For all of your shells from now on:

  bash   harness completion bash > ~/.local/share/bash-completion/completions/harness
         (with the package bash-completion; without it, the line above in ~/.bashrc)
  zsh    harness completion zsh > ~/.zfunc/_harness
         (~/.zfunc before compinit in ~/.zshrc:  fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit)
  fish   harness completion fish > ~/.config/fish/completions/harness.fish
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb."""
    parser = subparsers.add_parser(
        "completion",
        help="print what makes bash, zsh or fish complete the words of commands",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints it."""
    from argcomplete.shell_integration import shellcode

    # Without readline's own completion behind ours: a file's name is offered where a file is meant, and nowhere else.
    script = shellcode(["harness"], shell=arguments.shell, complete_arguments=["-o nospace"])
    print(script.strip("\n"))
    return 0
