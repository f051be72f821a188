"""A trial: one check on one target in one iteration, as statistics need it; a line of `trials.jsonl`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson

from harness.engine.outcome import CheckResult, Observation, Outcome, diagnosis_lines
from harness.events.record import plain
from harness.soak.signature import signature


class TrialOutcome(StrEnum):
    """The outcomes of a check, and one that a soak tells apart from them: each says who is to be asked.

    `passed` and `failed` are verdicts on the target; nothing else counts in a pass rate. `error` is a mistake in the
    check. `infrastructure`: what carries the target failed (QEMU died, the host's disk is full, descriptors or threads
    were short). `internal`: a fault of harness itself. `not_run`: the time for the run or the target passed before.
    """

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNREACHABLE = "unreachable"
    ERROR = "error"
    INFRASTRUCTURE = "infrastructure"
    INTERNAL = "internal"
    NOT_RUN = "not_run"


JUDGED = frozenset((TrialOutcome.PASSED, TrialOutcome.FAILED))
"""The outcomes that are a verdict on the target."""


class Settling(StrEnum):
    """What is known from a trial about the time to settle.

    `settled`: it passed after so many seconds. `censored`: it had not settled when its time was up. `never`: it was
    known, before its time was up, that waiting will not help. `unknown`: no information (skipped, not reached, …).
    """

    SETTLED = "settled"
    CENSORED = "censored"
    NEVER = "never"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Trial:
    """One check on one target in one iteration. Times are in seconds, `started` since the epoch; iterations count
    from 1.

    `seconds` is the time to settle, or the time-out at which it was censored; `settling` says which. `flaky`: the
    result differed for the same input; a flaky pass is no clean pass. `transports` served it (empty: none did).
    `commands`, `fallbacks`, `re_reads` and `reconnects` are counts. `faults` were active while it ran; `recovery` is
    the time from the end of the last of them to the pass. `signature` is the failure's text without what differs each
    time. `known` is the tracker of the known flake that it is, if it is one. `collected` is the path of what was kept
    of it, relative to the run's folder. `warnings`: what a person should know of it,
    whatever its outcome. What did not pass cleanly has its last observations, console lines, place and
    the command that repeats it. `diagnosis` is why it did not pass, where a
    diagnosis was made: the cause first. `delays` is the time, in seconds by cause, that harness itself took beside
    `duration`.
    """

    iteration: int
    target: str
    suite: str
    check: str
    outcome: TrialOutcome
    started: float
    duration: float
    check_id: str = ""
    transports: tuple[str, ...] = ()
    flaky: bool = False
    attempts: int = 0
    seconds: float | None = None
    settling: Settling = Settling.UNKNOWN
    commands: int = 0
    fallbacks: int = 0
    re_reads: int = 0
    reconnects: int = 0
    faults: tuple[str, ...] = ()
    recovery: float | None = None
    message: str = ""
    signature: str = ""
    observations: tuple[Observation, ...] = ()
    console: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    location: str = ""
    repeat: str = ""
    collected: str = ""
    known: str = ""
    delays: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    diagnosis: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The check as people call it."""
        return f"{self.suite}::{self.check}"

    @property
    def transport(self) -> str:
        """The transports that served it in one word: `ssh`, `serial`, `serial+ssh`, or `none`."""
        return "+".join(sorted(self.transports)) or "none"

    @property
    def clean(self) -> bool:
        """Whether it passed, and was not flaky: a pass on retry is never just a pass."""
        return self.outcome is TrialOutcome.PASSED and not self.flaky


def trial(
    result: CheckResult,
    *,
    iteration: int = 1,
    outcome: TrialOutcome | None = None,
    flaky: bool | None = None,
    reconnects: int = 0,
    faults: tuple[str, ...] = (),
    recovery: float | None = None,
    collected: str = "",
) -> Trial:
    """The trial of a check's result. `outcome` and `flaky` say what the soak knows better than the check's run: that
    QEMU had died, or that it passed later than its settings allow."""
    known = outcome if outcome is not None else TrialOutcome(result.outcome.value)
    is_flaky = result.flaky if flaky is None else flaky
    told = known not in (TrialOutcome.PASSED, TrialOutcome.SKIPPED) or is_flaky
    settling = _settling(result, known)
    return Trial(
        iteration=iteration,
        target=result.target,
        suite=result.module,
        check=result.check,
        outcome=known,
        started=result.started,
        duration=result.duration,
        check_id=result.check_id,
        transports=result.transports,
        flaky=is_flaky,
        attempts=result.attempts,
        seconds=result.duration if settling is not Settling.UNKNOWN else None,
        settling=settling,
        commands=result.commands,
        fallbacks=len(result.fallbacks),
        re_reads=result.re_reads,
        reconnects=reconnects,
        faults=faults,
        recovery=recovery,
        message=result.message if known is not TrialOutcome.PASSED or is_flaky else "",
        signature=signature(_telling(result), [result.target]) if told else "",
        observations=result.observations if told else (),
        console=result.console if told else (),
        findings=result.findings,
        location=result.location if told else "",
        repeat=result.repeat if told else "",
        collected=collected,
        delays=result.delays,
        warnings=result.warnings,
        diagnosis=diagnosis_lines(result.diagnosis) if told else (),
    )


def _telling(result: CheckResult) -> str:
    """The words of the failure: of a flaky pass, those of the last attempt that did not pass."""
    if result.outcome is Outcome.PASSED:
        bad = [seen.seen for seen in result.observations if seen.outcome is not Outcome.PASSED]
        return bad[-1] if bad else "passed, but what it observed changed"
    return result.message


def _settling(result: CheckResult, outcome: TrialOutcome) -> Settling:
    if not result.attempts:
        return Settling.UNKNOWN
    if outcome is TrialOutcome.PASSED:
        return Settling.SETTLED
    if outcome is TrialOutcome.FAILED:
        return Settling.CENSORED if result.timed_out else Settling.NEVER
    return Settling.UNKNOWN


# -- one line of JSON --------------------------------------------------------------------------------------------------

_END_OF_TIME = 6e10  # seconds: the years 69 to 3871
_DEFAULTS = {
    each.name: each.default if each.default_factory is MISSING else each.default_factory() for each in fields(Trial)
}


def to_line(value: Trial) -> bytes:
    """The trial as one line of JSON, with its line end; what has its default is left out."""
    document = {name: item for name, item in asdict(value).items() if item != _DEFAULTS[name]}
    return orjson.dumps(plain(document), option=orjson.OPT_APPEND_NEWLINE)


def from_document(document: Mapping[str, Any]) -> Trial:
    """The trial that a line's document tells. Keys that this version does not know are ignored. Raises ValueError,
    with the key, where one is missing or has the wrong type."""
    values: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        if name not in document:
            if name in _REQUIRED:
                raise ValueError(f"{name!r} is missing")
            continue
        try:
            values[name] = kind(document[name])
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"{name!r} is {document[name]!r}") from error
    return Trial(**values)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _name(value: object) -> str:
    """A text that is the same in many trials, and in memory once."""
    return sys.intern(_text(value))


def _names(value: object) -> tuple[str, ...]:
    return _once(_texts(value))


@lru_cache(maxsize=1024)
def _once(value: tuple[str, ...]) -> tuple[str, ...]:
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value


def plausible(value: object) -> float:
    """A number of seconds, or a point in time, that a calendar can hold. Raises TypeError or ValueError."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError
    if not abs(value) < _END_OF_TIME:
        raise ValueError
    return float(value)


def _maybe(value: object) -> float | None:
    return None if value is None else plausible(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(item) for item in value)


def _seconds(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        raise TypeError
    return {_text(cause): plausible(seconds) for cause, seconds in value.items()}


def _observations(value: object) -> tuple[Observation, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(
        Observation(_count(each["attempt"]), plausible(each["at"]), Outcome(each["outcome"]), _text(each["seen"]))
        for each in value
    )


_KINDS: dict[str, Any] = {
    "iteration": _count, "target": _name, "suite": _name, "check": _name, "outcome": TrialOutcome, "started": plausible,
    "duration": plausible, "check_id": _name, "transports": _names, "flaky": _flag, "attempts": _count,
    "seconds": _maybe, "settling": Settling, "commands": _count, "fallbacks": _count, "re_reads": _count,
    "reconnects": _count, "faults": _texts, "recovery": _maybe, "message": _text, "signature": _text,
    "observations": _observations, "console": _texts, "findings": _texts, "location": _text, "repeat": _text,
    "collected": _text, "known": _text, "delays": _seconds, "warnings": _texts,
    "diagnosis": _texts,
}  # fmt: skip
_REQUIRED = ("iteration", "target", "suite", "check", "outcome", "started", "duration")
