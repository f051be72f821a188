"""`python -m tests.corpus`: plants the faults, prints what `run` and `why` said of each, and the score."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from .faults import FAULTS, HEALTHY, ROWS
from .runner import Score, ask_healthy, line_of, plant_and_ask, summary


def main() -> int:
    """Return 0 where every cause was named, and no healthy machine raised an alarm."""
    parser = argparse.ArgumentParser(prog="scripts/test-faults", description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults, areas or healthy machines (all)")
    parser.add_argument("--quick", action="store_true", help="those that CI plants")
    parser.add_argument("--list", action="store_true", help="print the names, and plant nothing")
    parser.add_argument("--logs", type=Path, help="where the runs' folders are kept (removed where it is not given)")
    arguments = parser.parse_args()
    known = {each.name for each in ROWS} | {each.area.value for each in FAULTS} | {"healthy"}
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"no such fault or area: {', '.join(unknown)} (--list prints them)")
    wanted = set(arguments.names)
    faults = [
        each
        for each in FAULTS
        if (not wanted or {each.name, each.area.value} & wanted) and (each.quick or not arguments.quick)
    ]
    healthy = [
        each
        for each in HEALTHY
        if (not wanted or {each.name, "healthy"} & wanted) and (each.quick or not arguments.quick)
    ]
    if arguments.list:
        print(
            "\n".join(
                [
                    *(f"{each.area.value:<10} {each.name}" for each in faults),
                    *(f"healthy    {each.name}" for each in healthy),
                ]
            )
        )
        return 0
    folder = arguments.logs or Path(tempfile.mkdtemp(prefix="test-faults-"))
    scores: list[Score] = []
    alarms = 0
    try:
        for each in healthy:
            found = ask_healthy(each, folder / each.name)
            alarms += bool(found)
            print(
                f"{'alarm' if found else 'ok':<6} {each.name}{': ' if found else ''}{' | '.join(found)[:400]}",
                flush=True,
            )
        for fault in faults:
            scores.append(plant_and_ask(fault, folder / fault.name))
            print(line_of(scores[-1]), flush=True)
    finally:
        if arguments.logs is None:
            shutil.rmtree(folder, ignore_errors=True)
    if healthy:
        print(f"false alarms: {alarms} of {len(healthy)} healthy machines")
    if scores:
        print(summary(scores))
    return int(alarms > 0 or any(not (each.run_named and each.why_named) for each in scores))


if __name__ == "__main__":
    sys.exit(main())
