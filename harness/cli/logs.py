"""`harness logs`: a run's events, as lines for people or as JSON, while it goes on or afterwards."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from harness.report.choice import Choice
    from harness.report.people import PeopleLines

_DESCRIPTION = """\
Shows the record of a run: every event, or the ones that are chosen.

  harness logs                                     the newest run
  harness logs -f --target vm1 --level warning     while it goes on
  harness logs --check 'sshd/*' --action command --json
  harness logs 20261123T033958Z-4d9857 --since 07:31 --until 07:32:30
  harness logs --explain 152                       what led to event 152
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.options import count

    parser = subparsers.add_parser(
        "logs",
        help="show, filter, follow and explain the events of a run",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "record",
        nargs="?",
        default="latest",
        metavar="RUN",
        help="a run's id, the beginning of one, a path to its folder, or latest (default)",
    )
    parser.add_argument("--logs", default="logs", metavar="DIR", help="where the runs' folders are (default logs/)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run has ended")
    parser.add_argument("-n", "--lines", type=count, metavar="N", help="begin with the last N of the chosen events")
    choose = parser.add_argument_group("choosing events")
    choose.add_argument(
        "-l", "--target", "--limit", dest="target", metavar="PATTERN", help="of these targets (an Ansible pattern)"
    )
    choose.add_argument(
        "--check",
        action="append",
        default=[],
        metavar="GLOB",
        help="of these checks: MODULE::NAME, MODULE or NAME; may be repeated",
    )
    choose.add_argument("--level", metavar="LEVEL", help="of at least this level: debug, info, warning, error")
    choose.add_argument("--transport", action="append", default=[], metavar="TRANSPORT", help="over ssh or serial")
    choose.add_argument(
        "--action",
        action="append",
        default=[],
        metavar="GLOB",
        help="of these kinds, e.g. command or 'link.*' (docs/events); comma-separated, may be repeated",
    )
    choose.add_argument("--since", metavar="TIME", help="from then on: 10m (ago), 07:31, 2026-11-23T07:31:05Z")
    choose.add_argument("--until", metavar="TIME", help="up to then")
    parser.add_argument(
        "--explain",
        metavar="EVENT",
        help="what led to an event (its number, its event.id, or the beginning of one): its run, target, check, "
        "attempt, commands, and the console around it",
    )
    parser.add_argument("--json", action="store_true", help="print the events as they are recorded, one a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints what was asked for. Ends quietly where nobody reads on, and with 130 at Ctrl-C."""
    from pathlib import Path

    from harness.report.folder import find

    folder = find(Path(arguments.logs), arguments.record)
    if arguments.explain is not None:
        return _explain(folder, arguments)
    return _show(folder, arguments)


def _show(folder: Path, arguments: argparse.Namespace) -> int:
    import contextlib
    import itertools
    import os
    import sys
    import time

    from harness.cli.printing import json_line
    from harness.printing import ci_reads_output, styled
    from harness.report.follow import Follower
    from harness.report.plan_file import read_plan

    targets = read_plan(folder)
    plan = {"targets": targets} if targets else None
    people = _people(plan)
    follower = Follower(folder, _choice(arguments, plan), note=_note)
    last = arguments.lines
    shown = sys.stdout.isatty() or ci_reads_output(os.environ)
    with contextlib.closing(follower):
        now = follower.until_now() if last is None else follower.last(last)
        coming = follower.from_now(_flushing(time.sleep)) if arguments.follow else iter(())
        for line, event in itertools.chain(now, coming):
            if arguments.json:
                sys.stdout.buffer.write((json_line(line.raw.decode("utf-8", "replace")) if shown else line.raw) + b"\n")
            else:
                styled(sys.stdout).write(people.line(event) + "\n")
        sys.stdout.flush()
    return 0


def _explain(folder: Path, arguments: argparse.Namespace) -> int:
    import sys

    import orjson

    from harness.report.explain import explain, tell

    chain = explain(folder, arguments.explain)
    if arguments.json:
        sys.stdout.buffer.write(orjson.dumps(chain.plain(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        return 0
    for line in tell(chain, _people(None)):
        print(line)
    return 0


def _choice(arguments: argparse.Namespace, plan: Mapping[str, Any] | None) -> Choice:
    import time

    from harness.errors import UsageError
    from harness.report.choice import LEVELS, Choice, Targets
    from harness.report.moment import moment

    level = (arguments.level or LEVELS[0]).lower()
    if level not in LEVELS:
        raise UsageError(f"{arguments.level!r} is no level", hint=f"The levels are {', '.join(LEVELS)}.")
    now = time.time()
    since = moment(arguments.since, now) if arguments.since else ""
    until = moment(arguments.until, now) if arguments.until else ""
    if until and since > until:
        raise UsageError(f"--since {arguments.since} is after --until {arguments.until}")
    return Choice(
        targets=Targets(arguments.target, plan) if arguments.target is not None else None,
        checks=tuple(arguments.check),
        level=level,
        transports=_words(arguments.transport),
        actions=_words(arguments.action),
        since=since,
        until=until,
    )


def _people(plan: Mapping[str, Any] | None) -> PeopleLines:
    import os
    import sys

    from harness.report.people import PeopleLines

    people = PeopleLines(colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    for target in (plan or {}).get("targets", []):
        people.expect(target["target"])
    return people


def _flushing(sleep: Callable[[float], None]) -> Callable[[float], None]:
    """Whoever waits has printed all that there is."""
    import sys

    def pause(seconds: float) -> None:
        sys.stdout.flush()
        sleep(seconds)

    return pause


def _note(words: str) -> None:
    import sys

    sys.stdout.flush()
    print(f"harness: {words}", file=sys.stderr)


def _words(texts: list[str]) -> tuple[str, ...]:
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())
