"""`harness get`: a file from targets, verified."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.carriage import carriage_options
    from harness.cli.reaching import EXIT_CODES, reach_options

    parser = subparsers.add_parser(
        "get",
        help="copy a file from targets, verified",
        description="Copies a file from every host of the pattern, over SSH or the serial console, verified by its "
        "checksum. From one host it becomes FILE; from several, FILE/HOST/NAME.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("pattern", metavar="PATTERN", help="hosts, groups or patterns, as Ansible has them")
    parser.add_argument("path", metavar="PATH", help="the file there")
    parser.add_argument(
        "destination",
        metavar="FILE",
        nargs="?",
        default=".",
        help="where it goes here: a file, a folder, or - (stdout)",
    )
    reach_options(parser)
    carriage_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carries it from all."""
    import posixpath
    import sys
    from pathlib import Path

    from harness.cli.carriage import Bar, finish
    from harness.cli.reaching import reach
    from harness.errors import UsageError
    from harness.inventory import Host
    from harness.transport.contract import FileResult

    name = posixpath.basename(arguments.path)
    if not name:
        raise UsageError(f"{arguments.path!r} names a folder; a file is wanted")
    to_stdout = arguments.destination == "-"
    with reach(arguments, arguments.pattern, verb="get") as reached:
        many = len(reached.hosts) > 1
        if to_stdout and many:
            raise UsageError(
                f"{len(reached.hosts)} hosts would be mixed on stdout", hint="Choose one, or name a folder."
            )
        places = {
            host.name: _place(Path(arguments.destination), name, reached.folder.target(host.name).name if many else "")
            for host in reached.hosts
        }

        def fetch(host: Host) -> FileResult:
            file = reached.session(host).link.get(
                arguments.path, deadline=reached.deadline, progress=bar.of(host.name), transport=arguments.transport
            )
            assert file.content is not None, "a file that was read has a content"
            if to_stdout:
                sys.stdout.buffer.write(file.content)
                sys.stdout.buffer.flush()
            else:
                _write(places[host.name], file.content)
            return file

        bar = Bar(f"get {arguments.path}", shown=not arguments.quiet and not arguments.json)
        with bar:
            answers = reached.each(fetch)
        reached.exit_code = finish(
            arguments, reached.hosts, answers, lambda host, _: f"got as {places[host.name]}", silent=to_stdout
        )
        return reached.exit_code


def _place(destination: Path, name: str, host: str) -> Path:
    if host:
        return destination / host / name
    return destination / name if destination.is_dir() else destination


def _write(place: Path, content: bytes) -> None:
    """A whole file or none, private: nobody knows what is in it."""
    import os
    import secrets

    from harness.errors import UsageError

    temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        temporary.replace(place)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {place}: {error.strerror}") from None
