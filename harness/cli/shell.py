"""`harness shell`: a person's SSH session, with all that the inventory knows."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.cli.reaching import Reach
    from harness.target.session import TargetSession

_DESCRIPTION = """\
Opens an SSH session with what the inventory knows: address, user, keys, passphrases, passwords, jump hosts, host keys,
become. On a terminal it is an interactive one; where stdin or stdout is none, stdin goes to a remote shell, and its
output and errors come back on their own streams.

COMMAND is run instead of a login shell: one word is a line for it, several are a program and its arguments.
"""

_EXIT_CODES = """\
Exits with the exit status of the remote shell or command; 255 where a signal ended it; else:
  2    usage or inventory error; nothing was done
  3    SSH does not serve (stderr says why, and how to come to the console), or the connection was lost
  4    the pattern names no host
  5    internal error: a fault of harness itself
  130  interrupted
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.reaching import reach_options

    parser = subparsers.add_parser(
        "shell",
        help="open an SSH session with a target",
        usage="harness shell [options] HOST [-- COMMAND...]",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("host", metavar="HOST", help="a host of the inventory")
    reach_options(parser)
    parser.set_defaults(run=run, command=[])
    whole = parser.parse_known_args

    def parse_known_args(words: Any = None, namespace: Any = None) -> Any:
        # argparse gives an optional list of words up at the first flag behind HOST, so it is taken out beforehand.
        place = words.index("--") if "--" in words else len(words)
        known = whole(words[:place], namespace)
        known[0].command = words[place + 1 :]
        return known

    parser.parse_known_args = parse_known_args  # type: ignore[assignment]


def run(arguments: argparse.Namespace) -> int:
    """One session, to its end."""
    import shlex
    import sys

    from harness.cli.reaching import reach
    from harness.errors import DeadlineExpired, ExitCode, UsageError
    from harness.operate.terminal import HungUp
    from harness.transport.errors import TransportLost, Unavailable

    if arguments.transport == "serial":
        raise UsageError("a shell is an SSH session", hint=f"The serial one: {_console(arguments)}")
    words = arguments.command
    command = words[0] if len(words) == 1 else shlex.join(words)
    with reach(arguments, arguments.host, verb="shell") as reached:
        host = reached.one
        try:
            status = _session(reached, reached.session(host), command)
        except Unavailable as error:
            print(f"harness: no SSH ({error.cause}): {error}\n  The console: {_console(arguments)}", file=sys.stderr)
            reached.exit_code = int(ExitCode.UNREACHABLE)
        except TransportLost as error:
            print(f"harness: {error}\n  The console: {_console(arguments)}", file=sys.stderr)
            reached.exit_code = int(ExitCode.UNREACHABLE)
        except DeadlineExpired as error:
            print(f"harness: {error}", file=sys.stderr)
            reached.exit_code = int(ExitCode.FAILED)
        except HungUp:
            reached.exit_code = int(ExitCode.INTERRUPTED)
        else:
            if status is None:
                print("harness: a signal ended the remote shell", file=sys.stderr)
            reached.exit_code = 255 if status is None else status
        return reached.exit_code


def _session(reached: Reach, session: TargetSession, command: str) -> int | None:
    """The exit status."""
    import sys

    from harness.cli.ends import StreamEnds, TerminalEnds, descriptor, is_terminal, window_of
    from harness.operate.shell import carry
    from harness.operate.terminal import RawTerminal
    from harness.operate.wake import Wake

    wake, link, deadline = Wake(), session.link, reached.deadline
    source, sink = descriptor(sys.stdin), descriptor(sys.stdout)
    if source is None or sink is None or not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        remote = link.interactive(command, None, deadline=deadline, on_word=wake.set)
        return carry(remote, StreamEnds(), wake=wake, deadline=deadline)
    sys.stdout.flush()
    terminal = RawTerminal(source, sink, wake)
    # It connects with the terminal as it is: a passphrase may be asked for.
    remote = link.interactive(command, window_of(terminal), deadline=deadline, on_word=wake.set)
    forget = reached.cancellation.on_cancel(terminal.restore)
    try:
        with terminal:
            return carry(remote, TerminalEnds(terminal), wake=wake, deadline=deadline)
    finally:
        forget()


def _console(arguments: argparse.Namespace) -> str:
    import shlex

    from harness.cli.reaching import typed_inventory

    return shlex.join(["harness", "console", *typed_inventory(arguments), arguments.host])
