"""What came of a test that pytest itself called, in the words of the record."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest import SkipTest

import pytest

from harness.api.assertion import explain, location
from harness.api.check import Never, Skip
from harness.engine.outcome import CheckResult, Observation, Outcome
from harness.errors import HarnessError
from harness.target.tracked_result import unread
from harness.transport.errors import Timeout, TransportError

if TYPE_CHECKING:
    from harness.pytest.trial import Trial

_LONGEST = 240


class NoTarget(pytest.fail.Exception):  # type: ignore[name-defined, misc]  # pytest has no other public name for it
    """There is no use in looking at the target: it is not there, or not any more."""

    def __init__(self, outcome: Outcome, why: str) -> None:
        super().__init__(why, pytrace=False)
        self.outcome = outcome


def outcome_of(error: BaseException | None) -> Outcome:
    """Which of the five outcomes an exception stands for; the engine's own attempts are judged alike."""
    match error:
        case None:
            return Outcome.PASSED
        case NoTarget():
            return error.outcome
        case Skip() | SkipTest() | pytest.skip.Exception() | pytest.xfail.Exception():
            return Outcome.SKIPPED
        case AssertionError() | Never() | pytest.fail.Exception() | Timeout():
            return Outcome.FAILED
        case TransportError():
            return Outcome.UNREACHABLE
        case HarnessError():
            return Outcome.FAILED
        case _:
            return Outcome.ERROR


def words_of(error: BaseException | None, path: str) -> tuple[str, str]:
    """(what a person is told, where in the test's file)."""
    match error:
        case None:
            return "", ""
        case pytest.skip.Exception() | pytest.fail.Exception() | pytest.xfail.Exception():
            return error.msg or type(error).__name__.lower(), location(error, path)
        case Skip() | SkipTest():
            return str(error) or "skipped", ""
        case HarnessError():
            return error.message, location(error, path)
        case Never():
            return str(error) or "can never pass", location(error, path)
        case _:
            return explain(error, path), location(error, path)


def details(result: CheckResult) -> str:
    """What pytest's own report of a failure does not know: the attempts, the way there, the console."""
    facts = [f"{result.attempts} attempt{'s' if result.attempts != 1 else ''}", f"{result.duration:.1f} s"]
    if result.transports:
        facts.append("over " + ", ".join(result.transports))
    lines = [f"{result.target}: {result.outcome.value} ({', '.join(facts)})"]
    if result.attempts > 1:
        lines.append(_line(result.message))
        lines.extend(f"attempt {seen.attempt} ({seen.at:.1f} s): {_line(seen.seen)}" for seen in result.observations)
    lines.extend(f"fell back from {_line(fallback)}" for fallback in result.fallbacks)
    if result.console:
        lines.append("console:")
        lines.extend(f"  {line}" for line in result.console)
    return "\n".join(lines)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def verdict_of(trial: Trial, error: BaseException | None, path: str) -> CheckResult:
    """The verdict on a test that was called once, or whose set-up failed."""
    outcome = outcome_of(error)
    message, where = words_of(error, path)
    duration = time.monotonic() - trial.began
    return CheckResult(
        target=trial.target,
        check=trial.check.name,
        module=trial.check.module,
        check_id=trial.check.id,
        outcome=outcome,
        message=message,
        started=trial.started,
        duration=duration,
        attempts=0 if isinstance(error, NoTarget) else 1,
        observations=(Observation(1, duration, outcome, message),),
        transports=tuple(trial.counts.transports),
        commands=trial.counts.commands,
        fallbacks=tuple(trial.counts.fallbacks),
        re_reads=trial.counts.re_reads,
        reconnects=trial.counts.reconnects,
        warnings=unread(trial.counts.failed),
        location=where,
    )


def not_run(trial: Trial, interrupted: bool) -> CheckResult:
    """A test that pytest did not come to, or not to the end of: none is left out of the count."""
    begun = trial.started > 0
    why = "interrupted" if begun else f"not run: {'interrupted' if interrupted else 'pytest ended before it'}"
    return CheckResult(
        target=trial.target,
        check=trial.check.name,
        module=trial.check.module,
        check_id=trial.check.id,
        outcome=Outcome.ERROR if begun else Outcome.SKIPPED,
        message=why,
        started=trial.started or time.time(),
        duration=0.0,
        attempts=0,
    )


def reconciled(result: CheckResult, report: pytest.TestReport) -> CheckResult:
    """Where pytest has a word of its own (an expected failure, a pass that is none), the results say the same."""
    if hasattr(report, "wasxfail") and report.skipped:
        return replace(result, outcome=Outcome.SKIPPED, message=f"xfail: {report.wasxfail or result.message}")
    if report.failed and result.outcome is Outcome.PASSED:
        return replace(result, outcome=Outcome.FAILED, message=str(report.longrepr))
    return result
