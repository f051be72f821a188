"""`harness history`: a check, or all of them, over the runs in `logs/`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    parser = subparsers.add_parser(
        "history",
        help="show a check over the runs in logs/",
        description="Without CHECK: a line for each check, with a sign for each run. With CHECK: a line for each run.",
        epilog="signs: . passed, F failed, ~ flaky, U unreachable, E error, I infrastructure, - no time left,\n"
        "s skipped; none: not run",
        allow_abbrev=False,
    )
    parser.add_argument(
        "check", nargs="?", metavar="CHECK", help="a check's name, module::name or FILE.py::NAME, or a part of it"
    )
    parser.add_argument("--logs", default="logs", metavar="DIR", help="where the runs are (default logs/)")
    parser.add_argument("--target", default="", metavar="NAME", help="only this target")
    parser.add_argument("--last", type=_positive, default=50, metavar="N", help="only the newest N runs (default 50)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Reads the runs and prints. A run that cannot be read is told on stderr and left out."""
    from harness.cli.printing import write_document
    from harness.errors import NothingSelected, UsageError
    from harness.report import history
    from harness.report.folder import folders as run_folders
    from harness.report.prune import is_operated
    from harness.report.read import read_run
    from harness.soak.stored import TrialIndex

    logs = Path(arguments.logs)
    # The records of exec, up, why and the like are no runs.
    folders = [path for path in run_folders(logs) if not is_operated(path)][-arguments.last :]
    if not folders:
        raise UsageError(f"there are no runs in {logs}/", hint="Name another place with --logs DIR.")
    runs = []
    for folder in folders:
        try:
            runs.append(read_run(folder, marks=False))
        except UsageError as error:
            print(f"harness: left out: {error}", file=sys.stderr)
    found = history.collect(runs, arguments.check or "", arguments.target)
    if not found:
        known = sorted({label for each in runs for label, _ in TrialIndex.of(each.trials).rows})
        what = f"no check {arguments.check!r}" if arguments.check else "no check"
        where = f" on {arguments.target}" if arguments.target else ""
        raise NothingSelected(
            f"{what}{where} in the newest {len(runs)} runs of {logs}/",
            hint="They are: " + ", ".join(known[:30]) if known else "",
        )
    if arguments.json:
        write_document(history.history_json(found))
    elif arguments.check:
        sys.stdout.write(history.by_run(found))
    else:
        sys.stdout.write(history.by_check(found, runs))
    return 0


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)
