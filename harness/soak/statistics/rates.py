"""Rates with their intervals, and how many runs are still needed to state one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.soak.statistics.distributions import binomial_share, z_of

CONFIDENCE = 0.95
"""How sure an interval is, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` of `total`, and the interval that holds the true share with the confidence it was made for.

    `value` is None where there is nothing to take a share of; the interval is then all that there is: 0 to 1.
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        return self.count / self.total if self.total else None


def wilson(count: int, total: int, confidence: float = CONFIDENCE) -> Rate:
    """A share with Wilson's score interval: right for few runs, and for rates at 0 and 1.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927), 209-212;
    recommended by Brown, Cai and DasGupta, Interval estimation for a binomial proportion, Statistical Science 16
    (2001).
    """
    if not total:
        return Rate(0, 0, 0.0, 1.0)
    z = z_of(confidence)
    share = count / total
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    middle, scale = share + z * z / (2 * total), 1 + z * z / total
    low = (middle - spread) / scale if count else 0.0
    high = (middle + spread) / scale if count < total else 1.0
    return Rate(count, total, max(0.0, low), min(1.0, high))


def runs_needed(failures: int, total: int, rate: float, confidence: float = CONFIDENCE) -> int:
    """How many more runs, all of them passing, show that the true pass rate is at least `rate` (0 < rate < 1).

    The smallest m with P(at most `failures` of total + m fail | rate) <= 1 - confidence: the exact, one-sided binomial
    demonstration test (Clopper and Pearson, Biometrika 26 (1934), 404-413). Without any failure that is the success-run
    theorem, ln(1 - confidence) / ln(rate) runs: 299 for 99 % at 95 %. 0 where enough have been made.
    """
    allowed = 1 - confidence

    def shown(more: int) -> bool:
        return binomial_share(failures, total + more, 1 - rate) <= allowed

    if shown(0):
        return 0
    high = max(1, total)
    while not shown(high):
        high *= 2
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        if shown(middle):
            high = middle
        else:
            low = middle
    return high
