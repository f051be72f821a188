"""`harness report`: what a run or a soak came to, as a page, for CI, or against another one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.report.read import Run
    from harness.soak.compare import Comparison
    from harness.soak.figures import Demand

FORMATS = ("html", "markdown", "json", "junit", "ctrf")
OF_TWO = ("html", "markdown", "json")
ENDINGS = {".html": "html", ".htm": "html", ".md": "markdown", ".json": "json", ".xml": "junit"}

EXAMPLES = """\
examples:
  harness report latest                        # a page in the run's folder, and its verdict
  harness report latest --format markdown      # on stdout
  harness report 20261123T03 -o report.html    # the beginning of an id is enough
  harness report BEFORE AFTER                  # better, the same, worse?

On GitHub (GITHUB_ACTIONS=true) it also annotates the checks that did not pass, and adds to the job's summary.

exit codes: 0 the report is written, whatever it says; 1 with --fail-on-worse, where the second run is worse;
2 there is no such run, or it cannot be read or written
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    parser = subparsers.add_parser(
        "report",
        help="report a run or a soak as a page, JUnit, CTRF, JSON or Markdown; or compare two",
        description="Writes a report of a run or a soak, or compares two of them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("of", metavar="RUN", help="a run's id or the beginning of it, its folder, or `latest`")
    parser.add_argument("against", nargs="?", metavar="RUN2", help="compare RUN (before) with this one (after)")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="what to write (default html, or what the ending of -o says)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="where to; `-` is stdout (default: html into the run's folder, all else to stdout)",
    )
    parser.add_argument("--logs", default="logs", metavar="DIR", help="where the runs are (default logs/)")
    figures = parser.add_argument_group("figures")
    figures.add_argument("--confidence", type=_percent, default=0.95, metavar="P", help="of all intervals (default 95)")
    figures.add_argument(
        "--rate", type=_percent, default=0.99, metavar="P", help="the pass rate that is to be shown (default 99)"
    )
    figures.add_argument(
        "--margin",
        type=_percent,
        default=0.05,
        metavar="P",
        help="pass rates that differ by fewer points are the same (default 5)",
    )
    figures.add_argument("--fail-on-worse", action="store_true", help="exit with 1 where RUN2 is worse than RUN")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read the record, write the report, and print the verdict where the report itself is not on stdout."""
    from harness.errors import UsageError
    from harness.report.folder import find
    from harness.report.read import read_run
    from harness.soak.figures import Demand

    form = arguments.format or ENDINGS.get(Path(arguments.output or "").suffix.lower(), "html")
    demand = Demand(arguments.confidence, arguments.rate)
    logs = Path(arguments.logs)
    first = read_run(find(logs, arguments.of))
    if arguments.against is None:
        if arguments.fail_on_worse:
            raise UsageError("--fail-on-worse compares two runs, and one was given", hint="Name a second one.")
        return _one(first, form, demand, arguments.output)
    if form not in OF_TWO:
        raise UsageError(
            f"a comparison of two runs cannot be told as {form}", hint=f"It can as {', '.join(OF_TWO)} (--format)."
        )
    second = read_run(find(logs, arguments.against))
    return _two(first, second, form, demand, arguments)


def _one(found: Run, form: str, demand: Demand, output: str | None) -> int:
    import os
    import time

    from harness.printing import unguarded
    from harness.report import github
    from harness.report.visible import visible
    from harness.soak.summary import summarise

    summary = summarise(found.trials, found.exposure, found.iterations, demand)
    if form == "html":
        from harness.report.html import report_pieces as html_pieces

        text = html_pieces(found, summary)
    elif form == "markdown":
        from harness.report.markdown import report_markdown

        text = iter([report_markdown(found, summary)])
    elif form == "json":
        from harness.report.document import report_pieces

        text = report_pieces(found, summary)
    elif form == "junit":
        from harness.report.junit_cases import case_pieces

        text = case_pieces(found)
    else:
        from harness.report.ctrf import pieces

        text = pieces(found, summary, time.time())
    path = _write(text, output, found.folder / "report.html" if form == "html" else None)
    told = sys.stdout if path else sys.stderr
    if path:
        print(visible(f"{found.run}: {summary.verdict.word}: {summary.verdict.sentence}"))
        for note in found.notes:
            print(visible(f"  {note}"))
        print(visible(f"report: {path}"))
    if github.runs_there(os.environ):
        from harness.report.markdown import report_markdown

        for line in github.annotate(found, Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())):
            print(line, file=unguarded(told))
        github.add_summary(os.environ, report_markdown(found, summary))
    return 0


def _two(first: Run, second: Run, form: str, demand: Demand, arguments: argparse.Namespace) -> int:
    import os

    from harness.errors import ExitCode
    from harness.report import github
    from harness.soak.compare import Change, compare

    found = compare(first.trials, second.trials, demand, arguments.margin)
    if form == "html":
        from harness.report.html import comparison_pieces

        text: Iterable[str] = comparison_pieces(first, second, found)
    elif form == "markdown":
        from harness.report.markdown import comparison_markdown

        text = [comparison_markdown(first, second, found)]
    else:
        from harness.report.document import comparison_json

        text = [comparison_json(first, second, found)]
    default = second.folder / f"against-{first.folder.name}.html" if form == "html" else None
    path = _write(text, arguments.output, default)
    if path:
        _tell(first, second, found, path)
    if github.runs_there(os.environ):
        from harness.report.markdown import comparison_markdown

        github.add_summary(os.environ, comparison_markdown(first, second, found))
    is_worse = arguments.fail_on_worse and found.verdict is Change.WORSE
    return int(ExitCode.FAILED if is_worse else ExitCode.PASSED)


def _tell(first: Run, second: Run, found: Comparison, path: Path) -> None:
    """The comparison in a line a check; those that are the same are counted only."""
    from harness.report.visible import visible
    from harness.soak.compare import Change

    print(visible(f"{second.run} against {first.run}: {found.verdict.value}. {found.sentence}"))
    for pair in found.pairs:
        if pair.verdict is not Change.SAME:
            where = f" on {pair.target}" if pair.target else ""
            print(visible(f"  {pair.verdict.value:<12}  {pair.check}{where}: {pair.why}"))
    for names, of in ((found.only_first, first), (found.only_second, second)):
        if names:
            print(visible(f"  only in {of.run}: {', '.join(names)}"))
    print(visible(f"report: {path}"))


def _write(text: Iterable[str], output: str | None, default: Path | None) -> Path | None:
    """Writes to the file, or to stdout (None). The file is whole or absent, and its owner's only: it holds what
    consoles printed."""
    from harness.cli.printing import write_document
    from harness.errors import UsageError
    from harness.report.folder import write_private

    if output == "-" or (output is None and default is None):
        for piece in text:
            write_document(piece)
        return None
    path = Path(output) if output is not None else default
    assert path is not None
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder", str(path))
        write_private(path, text)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", hint="Name another file with -o, or `-` for stdout."
        ) from error
    return path


def _percent(text: str) -> float:
    """`99`, `99.5` or `99.5%` as a share."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of percent between 0 and 100")
    return value / 100
