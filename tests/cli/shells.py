"""Real shells that complete real commands: what each offers for a line that is not finished."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.patience import scaled

ROOT = Path(__file__).parents[2]
_BASH = """\
eval "$(harness completion bash)"
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMPREPLY=()
_python_argcomplete harness
printf '%s\\n' "${COMPREPLY[@]}"
"""
_PATIENCE = 60.0


@cache
def completion_script(shell: str) -> str:
    """Return what `harness completion SHELL` prints. It is the same wherever it is printed."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", "completion", shell],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=scaled(_PATIENCE), check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def environment(folder: Path, shell: str) -> dict[str, str]:
    """Return an environment in which `harness` is this checkout's, and the user has no settings of their own.

    `harness completion SHELL` prints a copy of what it printed before: each shell asks for it as it starts.
    """
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "completion").write_text(completion_script(shell))
    program = programs / "harness"
    program.write_text(
        f"#!/bin/sh\nif [ \"$*\" = 'completion {shell}' ]; then exec cat {programs}/completion; fi\n"
        f'exec {sys.executable} -m harness "$@"\n'
    )
    program.chmod(0o755)
    return {
        "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }


def offered_by_bash(line: str, folder: Path) -> tuple[list[str], str]:
    """What its completion function answers, and what was said on stderr meanwhile."""
    return _offered(["bash", "-c", _BASH, "bash", line], folder, "bash")


def offered_by_fish(line: str, folder: Path) -> tuple[list[str], str]:
    """What `complete -C` answers, without the descriptions."""
    script = f"harness completion fish | source; complete -C '{line}'"
    words, said = _offered(["fish", "--no-config", "-c", script], folder, "fish")
    return [word.partition("\t")[0] for word in words], said


def _offered(argv: list[str], folder: Path, shell: str) -> tuple[list[str], str]:
    done = subprocess.run(
        argv, cwd=folder, env=environment(folder, shell), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=scaled(_PATIENCE), check=False,
    )  # fmt: skip
    return [word.strip() for word in done.stdout.splitlines() if word.strip()], done.stderr


def completed_at_a_terminal(shell: str, typed: str, folder: Path) -> str:
    """The line after Tab: it is given to `echo` instead of being run."""
    argv, setup, echo = {
        "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(harness completion bash)"', "echo @$((40+2)):"),
        "zsh": (
            ["zsh", "-f", "-i"],
            'autoload -Uz compinit; compinit -u -D; eval "$(harness completion zsh)"; bindkey -e',
            "echo @$((40+2)):",
        ),
    }[shell]
    with _Terminal(argv, folder, {**environment(folder, shell), "PS1": "$ ", "COLUMNS": "300"}) as terminal:
        terminal.type(f"{setup}; echo @$((6*7))=\n")
        terminal.read_until("@42=")
        terminal.type(f"{typed}\t")
        # What Tab makes of the line is seen when the shell is asked to print it: keys that come too early wait.
        terminal.type(f"\x01{echo} \x05\n")
        terminal.read_until("@42:")
        return terminal.read_until("\n").strip()


class _Terminal:
    """A program on a pty."""

    def __init__(self, argv: list[str], folder: Path, env: Mapping[str, str]) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvpe(argv[0], argv, dict(env))
        self._seen = ""

    def __enter__(self) -> _Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        os.close(self._fd)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def read_until(self, mark: str) -> str:
        """What comes before the mark; fails where it does not come."""
        end = time.monotonic() + scaled(_PATIENCE)
        while mark not in self._seen:
            left = end - time.monotonic()
            assert left > 0, f"no {mark!r} in {self._seen!r}"
            if select.select([self._fd], [], [], left)[0]:
                self._seen += os.read(self._fd, 4096).decode(errors="replace")
        before, _, self._seen = self._seen.partition(mark)
        return before
