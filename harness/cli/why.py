"""`harness why`: what is not settled, and what it waits for; of a live target, or of what was collected from it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from harness.cli.reaching import Reach
    from harness.inventory import Host
    from harness.operate.explain import Explanation
    from harness.operate.reachability import Reachability

EXIT_CODES = """\
exit codes:
  0    all that was asked about has settled, and SSH can be used
  1    something has not settled, or SSH cannot be used while another transport can; the first sentence says why
  2    usage or inventory error; nothing was done
  3    a target could not be reached over any transport; the first sentence says why
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
        help="explain why a target cannot be reached, what is not settled on it, and what it waits for",
        description="Says whether the target can be reached, over each transport and why not, and explains why "
        "units are not up, or all that is not settled where none is named: what a job waits for, down to the root, or "
        "what became of the unit. What is wrong comes first. With -i of a live target, else of a folder that "
        "`harness collect` (or a run that failed) has left.",
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
        code = max(code, _code(answer), key=_GRAVITY.index)
        if arguments.json:
            rows.append(_row(name, folder, answer))
            continue
        reach, explanation = (answer.reach, answer.explanation) if isinstance(answer, Reached) else (None, answer)
        lines = [] if reach is None else _reach_lines(reach)
        if explanation is not None and not isinstance(explanation, Exception):
            explained = _lines(explanation)
            # What is wrong comes first: where SSH answers, that is what has not settled.
            is_first = reach is not None and reach.whole and not explanation.settled
            lines = [*explained, *lines] if is_first else [*lines, *explained]
        for line in lines:
            print(f"{_shown(name)}  {_shown(line)}")
        if isinstance(explanation, Exception):
            print(complaint(name, explanation), file=sys.stderr)
    if arguments.json:
        import json

        print(json.dumps({"schema": "harness.why/1", "settled": code == 0, "targets": rows}, indent=2))
    return code


Answer = Union["Explanation", "Reached", Exception]
Found = list[tuple[str, str, Answer]]


@dataclass(frozen=True, slots=True)
class Reached:
    """A live target's answer: whether it can be reached, and what is not settled on it (nothing where it cannot)."""

    reach: Reachability
    explanation: Explanation | Exception | None


def _live(arguments: argparse.Namespace) -> Found:
    from harness.cli.reaching import reach
    from harness.errors import Cancelled

    with reach(arguments, arguments.where, verb="why") as reached:
        answers = reached.each(lambda host: _ask(reached, host, arguments))
        reached.exit_code = max((_code(answer) for answer in answers), key=_GRAVITY.index)
        if reached.cancellation.cancelled:
            raise Cancelled(reached.cancellation.reason)
    return [(host.name, "", answer) for host, answer in zip(reached.hosts, answers, strict=True)]


def _ask(reached: Reach, host: Host, arguments: argparse.Namespace) -> Reached:
    from harness.cli.collecting import insisting
    from harness.operate.explain import explain_target
    from harness.operate.reachability import probe_transports, reach_and_explain
    from harness.target.console import logged_lines

    session = reached.session(host)
    target = session.target(reached.deadline, reached.log.bind(target=host.name), lambda _result: None)
    asked = insisting(target, arguments.transport)

    def probe() -> Reachability:
        return probe_transports(
            target,
            transport=arguments.transport,
            console=lambda: logged_lines(session.console_log),
            qmp=lambda: session.qemu_state,
        )

    def explain(transport: str) -> Explanation:
        # SSH that answers is not insisted on: the link may leave it. SSH that does not is not tried for each question.
        insisted = arguments.transport or (None if transport == "ssh" else transport)
        return explain_target(asked.over(insisted), arguments.units)

    return reached.log.redact(Reached(*reach_and_explain(probe, explain)))  # type: ignore[no-any-return]


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


def _code(answer: Answer) -> int:
    from harness.errors import ExitCode

    if isinstance(answer, Reached):
        if answer.explanation is None:
            return int(ExitCode.UNREACHABLE)
        own = int(ExitCode.PASSED if answer.reach.whole else ExitCode.FAILED)
        return max(own, _code(answer.explanation), key=_GRAVITY.index)
    if isinstance(answer, Exception):
        return int(getattr(answer, "exit_code", ExitCode.INTERNAL))
    if answer.settled:
        return int(ExitCode.PASSED)
    known = [reason for reason in answer.reasons if reason.standing != "up"]
    return int(ExitCode.NOTHING_SELECTED if answer.unanswered and not known else ExitCode.FAILED)


def _reach_lines(reach: Reachability) -> list[str]:
    """Return the lines that tell whether a target can be reached: the cause first."""
    word = "reached" if reach.whole else "no ssh" if reach.reached else "unreached"
    first, *rest = reach.sentences
    return [f"{word:<9} {first}", *(f"{'':<9} {line}" for line in rest)]


def _lines(answer: Explanation) -> list[str]:
    """A line for each unit that was asked about, or for the target and each unit that is not settled."""
    told = {reason.sentence: reason.standing.value for reason in answer.reasons}
    lines = [f"{told.get(each, answer.standing.value):<9} {' '.join(each.split())}" for each in answer.sentences]
    lines += [f"{'unknown':<9} {word}: {words}" for word, words in answer.unanswered]
    return lines + ([f"{'':<9} and {answer.more} more"] if answer.more else [])


def _row(name: str, folder: str, answer: Answer) -> dict[str, Any]:
    row: dict[str, Any] = {"target": name}
    if folder:
        row["collected"] = folder
    if isinstance(answer, Reached):
        row["reach"] = answer.reach.plain()
        if answer.explanation is None:
            return {**row, "settled": False, "error": answer.reach.sentences[0]}
        answer = answer.explanation
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
