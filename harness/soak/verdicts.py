"""Makes trials of the results of a target in one iteration, with the cause of each bad outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.engine.outcome import GOOD, CheckResult, TargetResult
from harness.soak.faults.injector import Missed, Span
from harness.soak.tally import FAULT, MISSED, RECOVERY
from harness.soak.trial import Trial, TrialOutcome, trial
from harness.soak.trials import Mark


def trials_of(result: TargetResult, *, iteration: int, broken: str, faults: Sequence[Span]) -> tuple[Trial, ...]:
    """The trials of one iteration of a target, that of its settling first. `broken` says what had failed below the
    target, if anything had. Pure.
    """
    settling = result.settling
    checks = [check for check in result.checks if settling is None or check.check_id != settling.check_id]
    every = ([settling] if settling is not None else []) + checks
    return tuple(_trial(check, result, iteration, broken, faults) for check in every)


def _trial(check: CheckResult, result: TargetResult, iteration: int, broken: str, faults: Sequence[Span]) -> Trial:
    outcome = _outcome(check, result, broken)
    if outcome is TrialOutcome.INFRASTRUCTURE and broken:
        check = replace(check, message=f"{broken}; {check.message}" if check.message else broken)
    ended = check.ended
    met = [span for span in faults if span.began < ended and check.started < max(span.ended, span.served or span.ended)]
    recovery = None
    if met and outcome is TrialOutcome.PASSED:
        last = max(span.ended for span in met)
        recovery = ended - last if ended >= last else None
    return trial(
        check,
        iteration=iteration,
        outcome=outcome,
        reconnects=check.reconnects,
        faults=tuple(dict.fromkeys(span.name for span in met)),
        recovery=recovery,
        collected=result.collected if outcome not in (TrialOutcome.PASSED, TrialOutcome.SKIPPED) else "",
    )


def _outcome(check: CheckResult, result: TargetResult, broken: str) -> TrialOutcome:
    if check.outcome in GOOD:
        return TrialOutcome(check.outcome.value)
    if broken:
        return TrialOutcome.INFRASTRUCTURE
    if result.error and not result.misconfigured and not check.attempts:
        return TrialOutcome.INTERNAL
    return TrialOutcome(check.outcome.value)


def marks_of(target: str, iteration: int, spans: Sequence[Span], missed: Sequence[Missed] = ()) -> tuple[Mark, ...]:
    """Return the marks of an iteration's faults, each with the recovery after it, and of those that were missed."""
    marks: list[Mark] = []
    for span in spans:
        marks.append(Mark(iteration, target, FAULT, span.name, span.began, span.ended, span.text))
        marks.append(Mark(iteration, target, RECOVERY, span.name, span.ended, span.served))
    marks += (Mark(iteration, target, MISSED, each.name, each.at, text=each.reason) for each in missed)
    return tuple(marks)
