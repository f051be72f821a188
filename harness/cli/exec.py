"""`harness exec`: a command on many targets, with its output as it comes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.cli.reaching import Reach
    from harness.inventory import Host


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.reaching import EXIT_CODES, reach_options

    parser = subparsers.add_parser(
        "exec",
        help="run a command on targets, and see its output as it comes",
        description="Runs a command on every host of the pattern, over SSH or the serial console, side by side. One "
        "word is a line for the target's sh (`'a | b'`); several are a program and its arguments, and are quoted. "
        "Each target's output is printed as it comes, line by line behind its name where there are several.",
        epilog="With one target harness exits with the command's own exit status (and with 3 where it could not be "
        "reached).\nWith several:\n\n" + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("pattern", metavar="PATTERN", help="hosts, groups or patterns, as Ansible has them")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="the command, behind --")
    how = reach_options(parser)
    how.add_argument("-n", "--no-stdin", action="store_true", help="do not read stdin; the command's is empty")
    out = parser.add_argument_group("output")
    out.add_argument("--json", action="store_true", help="print one JSON line for each target when it has ended")
    out.add_argument(
        "--prefix",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="print the target's name before each line (default: where there are several targets)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs it everywhere; what becomes of one target is no matter for the others."""
    import shlex

    from harness.cli.reaching import reach

    words = arguments.command
    command = words[0] if len(words) == 1 else shlex.join(words)
    stdin = b"" if arguments.no_stdin else _stdin()
    with reach(arguments, arguments.pattern, verb="exec") as reached:
        many = len(reached.hosts) > 1 if arguments.prefix is None else arguments.prefix
        width = max(len(host.name) for host in reached.hosts) if many else 0
        answers = reached.each(lambda host: _one(reached, host, command, stdin, arguments, width))
        codes = [
            answer if isinstance(answer, int) else _failed(host.name, answer, width, as_json=arguments.json)
            for host, answer in zip(reached.hosts, answers, strict=True)
        ]
        told = [code for code, answer in zip(codes, answers, strict=True) if isinstance(answer, Exception)]
        if len(codes) == 1:
            reached.exit_code = codes[0]
        else:
            reached.exit_code = max(told) if told else int(any(codes))
        return reached.exit_code


def _one(reached: Reach, host: Host, command: str, stdin: bytes, arguments: argparse.Namespace, width: int) -> int:
    """The command's exit status on one host. Raises what the link does."""
    import time

    from harness.cli.printing import Lines, said
    from harness.operate.live import LiveCommand

    began = time.monotonic()
    link = reached.session(host).link
    parts: list[tuple[bytes, bytes]] = []
    lines = Lines(host.name, width)
    live = LiveCommand(
        link,
        command,
        on_output=(lambda out, err: parts.append((out, err))) if arguments.json else lines.take,
        stdin=stdin,
        transport=arguments.transport,
    )
    try:
        ended = live.run(reached.deadline)
    finally:
        lines.close()
    if arguments.json:
        said(
            {
                "name": host.name,
                "command": command,
                "exit_status": ended.exit_status,
                "stdout": b"".join(out for out, _ in parts),
                "stderr": b"".join(err for _, err in parts),
                "transports": list(ended.transports),
                "duration": time.monotonic() - began,
            }
        )
    elif width:
        lines.note(f"exit status {ended.exit_status}, over {' and '.join(ended.transports)}")
    return ended.exit_status


def _failed(name: str, error: Exception, width: int, *, as_json: bool) -> int:
    """Tells why there is no exit status; the exit code."""
    from harness.cli.printing import Lines, said
    from harness.errors import ExitCode, HarnessError
    from harness.transport.errors import Timeout

    code = error.exit_code if isinstance(error, HarnessError) else ExitCode.INTERNAL
    if isinstance(error, Timeout):
        code = ExitCode.FAILED
    if as_json:
        said({"name": name, "error": str(error), "exit_code": int(code)})
    else:
        Lines(name, width or len(name)).note(str(error))
    return int(code)


def _stdin() -> bytes:
    """All of our stdin; nothing where it is a terminal, or closed. What keeps us waiting is told."""
    import contextlib
    import os
    import select
    import stat
    import sys

    try:
        fd = sys.stdin.fileno()
        if os.isatty(fd):
            return b""
        kind = os.fstat(fd).st_mode
    except (AttributeError, OSError, ValueError):
        return b""
    pieces: list[bytes] = []
    told = stat.S_ISREG(kind)
    with contextlib.suppress(OSError):
        while True:
            if not told and not select.select([fd], [], [], 2.0)[0]:
                print("harness: waiting for the end of stdin (-n gives the command none)", file=sys.stderr)
                told = True
            piece = os.read(fd, 1 << 16)
            if not piece:
                break
            pieces.append(piece)
    return b"".join(pieces)
