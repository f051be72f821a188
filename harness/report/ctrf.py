"""A report in the Common Test Report Format (https://ctrf.io; schema 0.0 of the npm package `ctrf` 0.3)."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

from harness import __version__
from harness.events.record import plain, timestamp
from harness.report.case import Case, cases, details
from harness.report.document import quantile_name
from harness.report.json_pieces import json_pieces
from harness.report.read import Run
from harness.soak.figures import Figures
from harness.soak.summary import Summary
from harness.soak.trial import Trial, TrialOutcome

SPEC_VERSION = "0.0.0"
_STATUS = {
    TrialOutcome.PASSED: "passed",
    TrialOutcome.FAILED: "failed",
    TrialOutcome.SKIPPED: "skipped",
}
_STATUSES = ("passed", "failed", "skipped", "pending", "other")


def render(run: Run, summary: Summary, now: float) -> str:
    """One test for each check on each target. What is no verdict on the target (unreachable, error, infrastructure,
    internal) is `other`; `rawStatus` has our word. `now` is in seconds since the epoch."""
    return "".join(pieces(run, summary, now))


def pieces(run: Run, summary: Summary, now: float) -> Iterator[str]:
    """Yield the same in pieces: a test at a time is in memory as text."""
    found = cases(run.trials)
    statuses = Counter(_STATUS.get(case.outcome, "other") for case in found)
    rows = {(row.target, row.check): row for row in summary.rows}
    document = {
        "reportFormat": "CTRF",
        "specVersion": SPEC_VERSION,
        "reportId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"harness:{plain(run.run)}:{now}")),
        "runId": run.run,
        "timestamp": timestamp(now),
        "generatedBy": f"harness {__version__}",
        "results": {
            "tool": {"name": "harness", "version": __version__},
            "summary": {
                "tests": len(found),
                **{status: statuses[status] for status in _STATUSES},
                "flaky": sum(map(_is_flaky, found)),
                "suites": len({(case.first.target, case.first.suite) for case in found}),
                "start": _milliseconds(run.started),
                "stop": _milliseconds(run.started + run.duration),
                "duration": _milliseconds(run.duration),
                "extra": {
                    "verdict": summary.verdict.word,
                    "sentence": summary.verdict.sentence,
                    "trials": summary.total.trials,
                    "outcomes": summary.total.outcomes,
                    "iterations": summary.iterations,
                },
            },
            "tests": (_test(case, rows[case.first.target, case.first.label], run) for case in found),
            "environment": {"reportName": run.run, "healthy": summary.verdict.good, "extra": {"command": run.command}},
        },
    }
    return json_pieces(document)


def _is_flaky(case: Case) -> bool:
    return bool(case.flaky) and case.outcome is TrialOutcome.PASSED


def _test(case: Case, row: Figures, run: Run) -> dict[str, Any]:
    first, last, outcome = case.first, case.last, case.outcome
    bad = outcome not in (TrialOutcome.PASSED, TrialOutcome.SKIPPED)
    test: dict[str, Any] = {
        "testId": f"{first.target}::{first.check_id or first.label}",
        "executionId": f"{run.run}::{first.target}::{first.check_id or first.label}",
        "name": f"{first.label} on {first.target}",
        "status": _STATUS.get(outcome, "other"),
        "rawStatus": outcome.value,
        "duration": _milliseconds(case.duration),
        "start": _milliseconds(first.started),
        "stop": _milliseconds(last.started + last.duration),
        "suite": [first.target, first.suite],
        "flaky": _is_flaky(case),
        "extra": _extra(row) | ({"warnings": list(case.warnings)} if case.warnings else {}),
    }
    if case.path:
        test["filePath"] = case.path
    if case.message:
        test["message"] = case.message
    if bad:
        shown = case.worst[-1]
        test["trace"] = details(shown)
        line = shown.location.rpartition(":")[2]
        if line.isascii() and line.isdigit():
            test["line"] = int(line)
        if shown.console:
            test["stdout"] = list(shown.console)
    if len(case.trials) == 1:
        test |= _attempts(first)
    else:
        test["insights"] = {
            "passRate": {"current": row.clean.value or 0.0},
            "failRate": {"current": row.failed / row.judged if row.judged else 0.0},
            "flakyRate": {"current": row.flaky.value or 0.0},
            "executedInRuns": len(case.trials),
        }
    return test


def _attempts(trial: Trial) -> dict[str, Any]:
    """The attempts before the last, as far as they were kept."""
    told: dict[str, Any] = {"retries": max(0, trial.attempts - 1)}
    before = [
        {
            "attempt": seen.attempt,
            "status": _STATUS.get(TrialOutcome(seen.outcome.value), "other"),
            "message": seen.seen,
        }
        for seen in trial.observations
        if 1 <= seen.attempt < trial.attempts
    ]
    return {**told, "retryAttempts": before} if before else told


def _extra(row: Figures) -> dict[str, Any]:
    return {
        "trials": row.trials,
        "outcomes": row.outcomes,
        "passRateLow": row.clean.low,
        "passRateHigh": row.clean.high,
        "runsNeeded": row.needed,
        "settleSeconds": {quantile_name(each): each.value for each in row.settle.quantiles},
        "perThousandCommands": row.per_thousand,
    }


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
