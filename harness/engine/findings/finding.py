"""A finding: how bad it is, what the inventory says of it, and its whole report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

# What differs where the same is said again: process ids, addresses, times, counters. The number of a device or a unit
# (tty1, vda2) is none of it.
_VARIES = re.compile(
    r"\[\d+\]|\bPID:? \d+|\bpid[ =]\d+|0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\b\d{5,}\b|\b\d+(?:\.\d+)? ?(?:ms|s|min)\b|"
    r"\bcounter is at \d+|\b\d+\.\d{3,}\b|\b\d+ times\b",
    re.IGNORECASE,
)


def without_variables(text: str) -> str:
    """Return a report's words without what differs each time that the same is reported."""
    return _VARIES.sub("#", text)


class Severity(StrEnum):
    """How bad a finding is, gravest first.

    `critical`: the machine cannot be trusted any more, or did not come up. `error`: something was lost, was killed or
    does not work. `warning`: something is odd, and goes on.
    """

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"

    def reaches(self, other: Severity) -> bool:
        """Whether this is at least as grave as the other one."""
        order = list(Severity)
        return order.index(self) <= order.index(other)


class Ruling(StrEnum):
    """What the inventory says of a finding: it fails the target, it is told, or it is as it should be."""

    FORBIDDEN = "forbidden"
    REPORTED = "reported"
    EXPECTED = "expected"


@dataclass(frozen=True, slots=True)
class Finding:
    """One report of a console.

    `name` is its kind's, `title` its first line without the time stamp, `text` all its lines as they came. `checks` are
    the ids of those that ran when it began, or had just ended: a console lags behind. `first_line` and `last_line` are
    the `event.sequence` of its first and last `console.line` in the record. `count`: how often the same was said, up to
    times, addresses and process ids; the text is that of the first time.
    """

    name: str
    severity: Severity
    ruling: Ruling
    title: str
    text: str
    checks: tuple[str, ...]
    first_line: int
    last_line: int
    count: int = 1

    @property
    def short(self) -> str:
        """In one line."""
        odd = "" if self.ruling is Ruling.REPORTED else f", {self.ruling}"
        times = f" ({self.count} times)" if self.count > 1 else ""
        return f"{self.name} ({self.severity}{odd}): {self.title}{times}"
