"""Checks over runs, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from harness.events.record import plain
from harness.report import words
from harness.report.case import Case, cases
from harness.report.document import figures_document
from harness.report.read import Run, when
from harness.report.visible import visible
from harness.soak.figures import Demand, Figures, figures
from harness.soak.trial import TrialOutcome

_SIGNS = {
    TrialOutcome.PASSED: ".", TrialOutcome.FAILED: "F", TrialOutcome.SKIPPED: "s", TrialOutcome.UNREACHABLE: "U",
    TrialOutcome.ERROR: "E", TrialOutcome.INTERNAL: "E", TrialOutcome.INFRASTRUCTURE: "I", TrialOutcome.NOT_RUN: "-",
}  # fmt: skip
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One check on one target in one run."""

    run: Run
    case: Case
    figures: Figures

    @property
    def sign(self) -> str:
        """Its outcome in a letter."""
        outcome = self.case.outcome
        return "~" if outcome is TrialOutcome.PASSED and self.case.flaky else _SIGNS[outcome]

    @property
    def outcome(self) -> str:
        return "flaky" if self.sign == "~" else self.case.outcome.value


def collect(runs: Sequence[Run], check: str, target: str) -> list[Entry]:
    """The checks whose name is `check`, or, where none has it, that have it in their name; all where it is empty.
    Oldest run first."""
    found = [(run, case) for run in runs for case in cases(run.trials) if target in ("", case.first.target)]
    if check:
        exact = [each for each in found if check in _names(each[1])]
        found = exact or [each for each in found if any(check in name for name in _names(each[1]))]
    return [
        Entry(
            run,
            case,
            figures(
                case.trials, run.exposure.get(case.first.target, 0.0), Demand(), check=case.first.label,
                target=case.first.target,
            ),
        )
        for run, case in found
    ]  # fmt: skip


def by_run(entries: Sequence[Entry]) -> str:
    """A table with a line for each run, for each check and target."""
    parts = []
    for check, target in dict.fromkeys((each.figures.check, each.figures.target) for each in entries):
        lines = [f"{check} on {target}"]
        for each in entries:
            if (each.figures.check, each.figures.target) != (check, target):
                continue
            row = each.figures
            told = [f"{each.outcome:<14}"]
            if row.trials > 1:
                told.append(f"{words.percent(row.clean.value):>7} of {row.judged:,} ({words.interval(row.clean)})")
                told.append("p50/p99 " + "/".join(words.by_when(row.settle.quantiles[at]) for at in (0, 2)))
            else:
                told.append(
                    f"{words.seconds(each.case.duration):>8}  {words.many(each.case.first.attempts, 'attempt')}"
                )
                told.append("+".join(each.case.first.transports))
            message = "" if each.outcome == "passed" else " ".join(each.case.message.split())
            shown = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…"
            lines.append(
                "  ".join(part for part in (f"  {each.run.run}", when(each.run.started)[:16], *told, shown) if part)
            )
        parts.append("\n".join(visible(line).rstrip() for line in lines))
    return "\n\n".join(parts) + "\n"


def by_check(entries: Sequence[Entry], runs: Sequence[Run]) -> str:
    """A table with a line for each check on each target, and a sign for each run, oldest first."""
    rows = dict.fromkeys((each.figures.check, each.figures.target) for each in entries)
    signs = {(each.figures.check, each.figures.target, each.run.run): each.sign for each in entries}
    several = len({target for _, target in rows}) > 1
    names = {row: visible(f"{row[0]} on {row[1]}" if several else row[0]) for row in rows}
    wide = max(len(name) for name in names.values())
    lines = [f"{words.many(len(runs), 'run')}, oldest first: {runs[0].run} to {runs[-1].run}", ""]
    for row, name in names.items():
        drawn = "".join(signs.get((*row, run.run), " ") for run in runs)
        had = drawn.replace(" ", "").replace("s", "")
        clean = f"{had.count('.')} of {len(had)} runs clean" if had else "never judged"
        lines.append(f"{name:<{wide}}  {drawn}  {clean}")
    return "\n".join(lines) + "\n"


def history_json(entries: Sequence[Entry]) -> str:
    """One JSON document: an entry for each check on each target in each run."""
    document = {
        "schema": "harness.history/1",
        "entries": [
            {
                "run": each.run.run,
                "started": each.run.started,
                "outcome": each.outcome,
                "message": each.case.message,
                "warnings": list(each.case.warnings),
                "figures": figures_document(each.figures),
            }
            for each in entries
        ],
    }
    return orjson.dumps(plain(document), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _names(case: Case) -> tuple[str, ...]:
    first = case.first
    return (first.check, first.label, first.check_id, first.check_id.removeprefix("checks/"))
