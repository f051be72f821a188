"""What an attempt that got no answer says of the target: mostly nothing. Pure."""

from __future__ import annotations

import math

from harness.engine.time_account import AttemptTimer
from harness.transport.errors import Cause, TransportError
from harness.transport.link import Unreachable

OWN_END = 0.5
"""Seconds before its deadline from which on an attempt that ends with a time-out is taken to have ended by it, or a
tenth of its time where that is shorter: a transport needs a moment to end the command."""
LONGEST_REMARK = 300
"""Characters of an attempt's words that are added to what another one saw."""

# What the other end said in words: it does not change by waiting, and no silence takes it back.
_DECIDED = frozenset(
    (Cause.HOST_KEY, Cause.AUTH, Cause.LOGIN, Cause.PASSWORD_EXPIRED, Cause.BECOME, Cause.PANIC, Cause.CONFIG)
)


def ended_with_its_time(timer: AttemptTimer) -> bool:
    """Return whether an attempt ended because its own deadline passed, or so shortly before that it had no time."""
    if timer.deadline is None or timer.ended is None or timer.deadline.end == math.inf:
        return False
    return timer.ended >= timer.deadline.end - min(OWN_END, timer.seconds / 10)


def strength(error: TransportError, *, in_time: bool) -> int:
    """Return how much an error of the transports says of the target: 0 nothing, for our own deadline ended it; 1 that
    it gave no answer, or a passing one (refused, lost); 2 what it decided, in its own words."""
    errors = error.errors if isinstance(error, Unreachable) else (error,)
    if any(each.cause in _DECIDED for each in errors):
        return 2
    return int(in_time)


def one_line(text: str) -> str:
    """Return the lines of a text as one, shortened."""
    line = "; ".join(part.strip() for part in text.splitlines() if part.strip())
    return line if len(line) <= LONGEST_REMARK else f"{line[:LONGEST_REMARK]}…"
