"""`harness put`: a file onto targets, verified."""

from __future__ import annotations

import argparse


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.carriage import carriage_options
    from harness.cli.reaching import EXIT_CODES, reach_options

    parser = subparsers.add_parser(
        "put",
        help="copy a file onto targets, verified",
        description="Copies a file onto every host of the pattern, over SSH or the serial console. It is verified by "
        "its checksum there, takes its place at once when it is whole, and is gone on with where it was cut off.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("pattern", metavar="PATTERN", help="hosts, groups or patterns, as Ansible has them")
    parser.add_argument("source", metavar="FILE", help="the file here; - is stdin")
    parser.add_argument("path", metavar="PATH", help="where it goes there; with a / at its end, into that folder")
    how = reach_options(parser)
    how.add_argument("--mode", type=_mode, metavar="MODE", help="the file's mode there, octal (default: as it is here)")
    carriage_options(parser)
    parser.set_defaults(run=run)


def _mode(text: str) -> int:
    if not text or len(text) > 5 or set(text) - set("01234567"):
        raise argparse.ArgumentTypeError(f"{text!r} is no octal mode, such as 644")
    return int(text, 8)


def run(arguments: argparse.Namespace) -> int:
    """Carries it to all."""
    import sys
    from pathlib import Path

    from harness.cli.carriage import Bar, finish
    from harness.cli.reaching import reach
    from harness.errors import UsageError

    mode = arguments.mode
    data: bytes | Path
    if arguments.source == "-":
        data = sys.stdin.buffer.read()
        mode = 0o600 if mode is None else mode
    else:
        data = Path(arguments.source)
        try:
            with data.open("rb"):
                mode = data.stat().st_mode & 0o777 if mode is None else mode
        except OSError as error:
            raise UsageError(f"cannot read {arguments.source}: {error.strerror}") from None
    path = arguments.path
    if path.endswith("/"):
        if arguments.source == "-":
            raise UsageError(f"what is read from stdin has no name: {path} must name a file")
        path += Path(arguments.source).name
    with reach(arguments, arguments.pattern, verb="put") as reached:
        bar = Bar(f"put {path}", shown=not arguments.quiet and not arguments.json)
        with bar:
            answers = reached.each(
                lambda host: reached.session(host).link.put(
                    data,
                    path,
                    deadline=reached.deadline,
                    mode=mode,
                    progress=bar.of(host.name),
                    transport=arguments.transport,
                )
            )
        reached.exit_code = finish(arguments, reached.hosts, answers, lambda host, file: f"put to {file.path}")
        return reached.exit_code
