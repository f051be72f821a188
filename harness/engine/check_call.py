"""One call of a check's function on a worker thread, and what its commands met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness.api.check import Condition, Skip
from harness.engine.captured import Capture
from harness.engine.observation import refuse_as_observation
from harness.engine.time_account import AttemptTimer
from harness.target.target import Target
from harness.target.tracked_result import TrackedResult, unread
from harness.transport.contract import CommandResult, FailedCall, Result


@dataclass(slots=True)
class CallCounts:
    """What the commands and files of a check, or of a test, met in all of its attempts."""

    transports: dict[str, None] = field(default_factory=dict)
    commands: int = 0
    re_reads: int = 0
    reconnects: int = 0
    fallbacks: dict[str, None] = field(default_factory=dict)
    """Each of them once, in the order of their first occurrence."""
    is_asked: bool = False
    """Whether the check asked the target anything."""
    probes: list[str] = field(default_factory=list)
    failed: list[TrackedResult] = field(default_factory=list)
    """The commands of the present attempt that failed."""

    def count(self, result: Result) -> None:
        """Add a result."""
        self.is_asked = True
        self.reconnects += result.damage.reconnects
        if isinstance(result, FailedCall):
            return
        self.transports[result.transport] = None
        if isinstance(result, TrackedResult):
            self.failed.append(result)
        if isinstance(result, CommandResult):
            self.commands += 1
            self.re_reads += result.damage.re_reads
        if result.fallbacks:
            self.fallbacks.update(dict.fromkeys(f"{f.transport}: {f.cause}: {f.message}" for f in result.fallbacks))


@dataclass(frozen=True, slots=True)
class Returned:
    """What a call of a check came to, as data: a future could not carry every exception that there is."""

    observed: Any = None
    seen: str = ""
    error: BaseException | None = None
    admitted: bool = False
    """Whether the check's condition holds."""
    warnings: tuple[str, ...] = ()


def call_check(
    function: Callable[[Target], Any],
    begin: Callable[[], Target],
    timer: AttemptTimer,
    condition: Condition | None,
    failed: list[TrackedResult],
    capture: Capture,
) -> Returned:
    """Call a check, once its condition (where one is left to ask) holds; on a worker thread, and never raise. `failed`
    gathers the results of the attempt's commands that failed; what the check prints goes to `capture`."""
    with capture.active():
        try:
            return _call(function, begin, condition, failed)
        finally:
            timer.end()


def _call(
    function: Callable[[Target], Any],
    begin: Callable[[], Target],
    condition: Condition | None,
    failed: list[TrackedResult],
) -> Returned:
    admitted = False
    try:
        target = begin()
        if condition is not None and not condition(target):
            return Returned(error=Skip(f"its condition {getattr(condition, '__name__', '')!r} does not hold here"))
        admitted = True
        failed.clear()  # those of the condition, which is a question
        observed = function(target)
        warnings = unread(failed) if failed else ()
        if observed is None:
            return Returned(admitted=True, warnings=warnings)
        refuse_as_observation(observed)
        # A copy of its words: what the check holds may change, or have no words at all.
        return Returned(observed, str(observed), admitted=True, warnings=warnings)
    except BaseException as error:
        return Returned(error=error, admitted=admitted, warnings=unread(failed) if failed else ())
