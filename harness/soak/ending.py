"""When a soak ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.soak.tally import FLAKY


@dataclass(frozen=True, slots=True)
class Ending:
    """What was asked for; whatever comes first ends it. `iterations` are those of each target, `seconds` the time that
    the soak has run (while it was killed it did not), `failures` iterations that failed, of all targets together.
    """

    iterations: int | None = None
    seconds: float | None = None
    failures: int | None = None
    flaky_fails: bool = False

    @property
    def named(self) -> bool:
        """Whether it ends by itself at all."""
        return self.iterations is not None or self.seconds is not None or self.failures is not None

    def failed(self, bad: Counter[str]) -> bool:
        """Whether an iteration with these bad trials has failed: a flaky pass fails one only where that is wanted."""
        return any(count for word, count in bad.items() if word != FLAKY or self.flaky_fails)

    def enough_failures(self, failed: int) -> bool:
        """Whether so many failed iterations are enough."""
        return self.failures is not None and failed >= self.failures
