"""A finding: how bad it is, what the inventory says of it, and its whole report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    the `event.sequence` of its first and last `console.line` in the record.
    """

    name: str
    severity: Severity
    ruling: Ruling
    title: str
    text: str
    checks: tuple[str, ...]
    first_line: int
    last_line: int

    @property
    def short(self) -> str:
        """In one line."""
        odd = "" if self.ruling is Ruling.REPORTED else f", {self.ruling}"
        return f"{self.name} ({self.severity}{odd}): {self.title}"
