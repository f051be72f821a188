"""How long a target that is taken to be up, and refuses, is tried again before it is given up."""

from __future__ import annotations

from collections.abc import Callable

from harness.deadline import Clock
from harness.events import Emitter
from harness.transport.errors import Cause, TransportError
from harness.transport.link import Unreachable

_MAY_BOOT = frozenset((Cause.TIMEOUT, Cause.LOST, Cause.EOF, Cause.REBOOT, Cause.PANIC, Cause.DAMAGED, Cause.NO_SHELL))
"""Causes on a console that was opened and gave no shell: the machine behind it may be booting."""


class FirstContact:
    """Whether a target has ever answered, and since when it refuses. To be used on the event loop.

    A refusal by a target that has answered before is no matter of this: it may be rebooting, and the check's budget
    decides. Neither is silence on a console that is open.
    """

    def __init__(
        self,
        seconds: float | None,
        *,
        name: str,
        is_answered: Callable[[], bool],
        events: Emitter,
        clock: Clock,
    ) -> None:
        """`seconds` is how long it is tried again after the first refusal; None where it may be booting."""
        self._seconds = seconds
        self._until: float | None = None
        self._name = name
        self._is_answered = is_answered
        self._events = events
        self._clock = clock

    def refused(self, error: TransportError) -> bool:
        """Take an attempt that no transport served; whether the target is given up. The first one is told at once."""
        if self._seconds is None or self._is_answered() or _may_be_booting(error):
            return False
        now = self._clock.monotonic()
        if self._until is None:
            self._until = now + self._seconds
            what = f"trying again for {self._seconds:g} s (reach_timeout)" if self._seconds else "it is given up"
            self._events.emit(
                "target.unanswered",
                f"{self._name}: {_words(error)}; {what}. For a host that is still booting set expect_boot=true",
                level="warning",
                error_type=type(error).__name__,
                cause=str(error.cause),
            )
        return now >= self._until


def _words(error: TransportError) -> str:
    errors = error.errors if isinstance(error, Unreachable) else ()
    return "; ".join(f"{each.transport}: {each.message}" for each in errors) or error.message


def _may_be_booting(error: TransportError) -> bool:
    errors = error.errors if isinstance(error, Unreachable) else (error,)
    return any(each.transport == "serial" and each.cause in _MAY_BOOT for each in errors)
