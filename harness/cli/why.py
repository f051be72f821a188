"""`harness why`: what is not settled, and what it waits for; of a live target, or of what was collected from it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.cli.reaching import Reach
    from harness.inventory import Host
    from harness.operate.explain import Explanation

EXIT_CODES = """\
exit codes:
  0    all that was asked about has settled
  1    something has not; the sentences say what, and what it waits for
  2    usage or inventory error; nothing was done
  3    a target could not be reached
  4    the pattern names no host, or what was asked about was not collected
  5    internal error: a fault of harness itself
  130  interrupted
"""

TIMEOUT = 120.0
_GRAVITY = (0, 4, 1, 2, 3, 5, 130)
"""Exit codes, the one that a person must know of most last."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.reaching import reach_options

    parser = subparsers.add_parser(
        "why",
        help="explain what is not settled on a target, and what it waits for",
        description="Explains why units are not up, or all that is not settled where none is named: what a job waits "
        "for, down to the root, or what became of the unit. With -i of a live target, else of a folder that `harness "
        "collect` (or a run that failed) has left.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "where", metavar="HOST|DIR", help="with -i hosts, as Ansible names them; without it a collected folder"
    )
    parser.add_argument(
        "units", nargs="*", metavar="UNIT", help="units (ssh is ssh.service), or services where there is no systemd"
    )
    reach_options(parser, deadline=TIMEOUT)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints it."""
    from harness.cli.collecting import complaint

    found = _live(arguments) if arguments.inventory else _collected(arguments)
    rows = []
    code = 0
    for name, folder, answer in found:
        own = _code(answer)
        code = max(code, own, key=_GRAVITY.index)
        if arguments.json:
            rows.append(_row(name, folder, answer))
        elif isinstance(answer, Exception):
            print(complaint(name, answer), file=sys.stderr)
        else:
            for line in _lines(answer):
                print(f"{_shown(name)}  {_shown(line)}")
    if arguments.json:
        import json

        print(json.dumps({"schema": "harness.why/1", "settled": code == 0, "targets": rows}, indent=2))
    return code


Found = list[tuple[str, str, "Explanation | Exception"]]


def _live(arguments: argparse.Namespace) -> Found:
    from harness.cli.reaching import reach
    from harness.errors import Cancelled

    with reach(arguments, arguments.where, verb="why") as reached:
        answers = reached.each(lambda host: _ask(reached, host, arguments))
        reached.exit_code = max((_code(answer) for answer in answers), key=_GRAVITY.index)
        if reached.cancellation.cancelled:
            raise Cancelled(reached.cancellation.reason)
    return [(host.name, "", answer) for host, answer in zip(reached.hosts, answers, strict=True)]


def _ask(reached: Reach, host: Host, arguments: argparse.Namespace) -> Explanation:
    from harness.cli.collecting import insisting
    from harness.operate.explain import explain_target

    session = reached.session(host)
    target = session.target(reached.deadline, reached.log.bind(target=host.name), lambda _result: None)
    explanation = explain_target(insisting(target, arguments.transport), arguments.units)
    return reached.log.redact(explanation)  # type: ignore[no-any-return]


def _collected(arguments: argparse.Namespace) -> Found:
    from pathlib import Path

    from harness.errors import HarnessError, UsageError
    from harness.operate.collect.replay import collected_folders, replayed
    from harness.operate.explain import explain_target

    path = Path(arguments.where)
    folders = collected_folders(path)
    if not folders:
        raise UsageError(
            f"{arguments.where} is no folder that was collected" if path.exists() else f"there is no {arguments.where}",
            hint="For a live target name its inventory with -i; a folder is one that `harness collect` has made.",
        )
    found: Found = []
    for folder in folders:
        target, _ = replayed(folder)
        try:
            found.append((target.name, str(folder), explain_target(target, arguments.units)))
        except HarnessError as error:
            found.append((target.name, str(folder), error))
    return found


def _code(answer: Explanation | Exception) -> int:
    from harness.errors import ExitCode

    if isinstance(answer, Exception):
        return int(getattr(answer, "exit_code", ExitCode.INTERNAL))
    if answer.settled:
        return int(ExitCode.PASSED)
    known = [reason for reason in answer.reasons if reason.standing != "up"]
    return int(ExitCode.NOTHING_SELECTED if answer.unanswered and not known else ExitCode.FAILED)


def _lines(answer: Explanation) -> list[str]:
    """A line for each unit that was asked about, or for the target and each unit that is not settled."""
    told = {reason.sentence: reason.standing.value for reason in answer.reasons}
    lines = [f"{told.get(each, answer.standing.value):<9} {' '.join(each.split())}" for each in answer.sentences]
    lines += [f"{'unknown':<9} {word}: {words}" for word, words in answer.unanswered]
    return lines + ([f"{'':<9} and {answer.more} more"] if answer.more else [])


def _row(name: str, folder: str, answer: Explanation | Exception) -> dict[str, Any]:
    row: dict[str, Any] = {"target": name}
    if folder:
        row["collected"] = folder
    if isinstance(answer, Exception):
        return {**row, "error": str(answer)}
    return {
        **row,
        "settled": answer.settled,
        "standing": answer.standing.value,
        "sentence": answer.sentence,
        "units": [
            {
                "unit": each.unit,
                "standing": each.standing.value,
                "sentence": each.sentence,
                "chain": list(each.chain),
                "knot": each.knot or None,
            }
            for each in answer.reasons
        ],
        "more": answer.more,
        "not_collected": [{"unit": word, "why": words} for word, words in answer.unanswered],
    }


def _shown(text: str) -> str:
    from harness.report.shown import shown

    return shown(text)
