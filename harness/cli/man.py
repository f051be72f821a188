"""`harness man`: the manual's pages."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb."""
    from harness.cli.main import VERBS

    parser = subparsers.add_parser(
        "man",
        help="show the manual's page of a verb, or write all pages",
        description="Shows the manual's page of a verb, as `man harness-VERB` does where the pages are installed. They "
        "are made of what --help is made of.",
        allow_abbrev=False,
    )
    parser.add_argument("of", nargs="?", choices=VERBS, metavar="VERB", help="a verb; without one, harness itself")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--roff", action="store_true", help="print the page's source on stdout")
    how.add_argument("-o", "--output", metavar="DIR", help="write the sources of all pages there: harness.1, …")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows, prints or writes."""
    from pathlib import Path

    pages = made()
    if arguments.output is not None:
        for path in write(pages, Path(arguments.output)):
            print(path)
        return 0
    name = f"harness-{arguments.of}.1" if arguments.of else "harness.1"
    if arguments.roff:
        sys.stdout.write(pages[name])
        return 0
    return _show(pages[name])


def made() -> dict[str, str]:
    """All pages, by the names of their files."""
    from harness import __version__
    from harness.cli.main import build_parser
    from harness.manual.page import page_of
    from harness.manual.roff import man_pages

    return man_pages(page_of(build_parser()), __version__, _day())


def write(pages: dict[str, str], folder: Path) -> list[Path]:
    """Writes them; returns where they are. Raises UsageError where that cannot be done."""
    from harness.errors import UsageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write the pages to {folder}: {error.strerror}") from error
    return [folder / name for name in pages]


def _day() -> date:
    """Today, or the day that a reproducible build names (https://reproducible-builds.org/specs/source-date-epoch/)."""
    import os
    from datetime import UTC, datetime

    stamp = os.environ.get("SOURCE_DATE_EPOCH")
    return (datetime.fromtimestamp(int(stamp), UTC) if stamp else datetime.now(UTC)).date()


def _show(page: str) -> int:
    import shutil
    import subprocess

    from harness.errors import UsageError

    if shutil.which("man") is None:
        raise UsageError(
            "there is no program `man` here",
            hint="Install it (apt-get install man-db), or print the page's source with --roff.",
        )
    return subprocess.run(["man", "-l", "-"], input=page, text=True, check=False).returncode
