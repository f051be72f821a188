"""`harness down`: end machines that are up."""

from __future__ import annotations

import argparse

WITHIN = 60.0
"""Seconds that a machine may take to end, the power-down of one with persistent disks included."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    parser = subparsers.add_parser(
        "down",
        help="end machines that are up",
        description="Ends machines that `harness up` or `--keep` left up. Throw-away disks go with them; one with "
        "persistent disks is asked to power down first. No inventory is needed. Exits with 0 also where there was "
        "nothing to end, with 3 where a machine does not end.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "names", nargs="*", metavar="HOST", help="names of machines, * and ? as in the shell (default: all that are up)"
    )
    parser.add_argument("--logs", default="logs", metavar="DIR", help="where the records are (default logs/)")
    parser.add_argument("-q", "--quiet", action="store_true", help="print failures only")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ends them, one after the other; each takes a moment."""
    import json
    import sys
    from fnmatch import fnmatchcase
    from pathlib import Path

    from harness.deadline import Deadline
    from harness.errors import MachineError
    from harness.machine.up import all_up, end, forget
    from harness.report.folder import UP

    index = Path(arguments.logs) / UP
    machines = all_up(index)
    chosen = [
        up for up in machines if not arguments.names or any(fnmatchcase(up.name, name) for name in arguments.names)
    ]
    answers = [
        {"name": name, "state": "not up"}
        for name in arguments.names
        if not any(fnmatchcase(up.name, name) for up in machines)
    ]
    code = 0
    for up in chosen:
        try:
            end(up, Deadline.after(WITHIN))
        except MachineError as error:
            print(f"harness: {error}", file=sys.stderr)
            answers.append({"name": up.name, "state": "up"})
            code = int(error.exit_code)
        else:
            forget(up, index)
            answers.append({"name": up.name, "state": "down"})
    if arguments.json:
        print(json.dumps({"machines": answers}, indent=2))
    elif not arguments.quiet:
        for answer in answers:
            print(f"{answer['name']}  is {answer['state']}")
        if not answers:
            print(f"no machine is up in {arguments.logs}")
    return code
