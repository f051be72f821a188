"""Whether one group settles sooner than another."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from harness.soak.statistics.distributions import chi_square_tail
from harness.soak.statistics.survival import Times


@dataclass(frozen=True, slots=True)
class LogRank:
    """`p` is the chance of such a difference by luck alone; `sooner` is above 0 where the second group settles sooner,
    below 0 where it settles later (settled, less those expected were both alike)."""

    p: float
    sooner: float


def log_rank(first: Times, second: Times) -> LogRank | None:
    """The log-rank test of two groups; None where nothing can be told (no group settles, or one is empty).

    N. Mantel, Evaluation of survival data and two new rank order statistics, Cancer Chemotherapy Reports 50 (1966),
    163-170; R. Peto and J. Peto, JRSS A 135 (1972), 185-206.
    """
    groups = (first, second)
    settled = [Counter(group.settled) for group in groups]
    censored = [sorted(group.censored) for group in groups]
    at_risk, gone = [group.total for group in groups], [0, 0]
    if 0 in at_risk:
        return None
    observed = expected = variance = 0.0
    for at in sorted(settled[0].keys() | settled[1].keys()):
        for index in (0, 1):
            while gone[index] < len(censored[index]) and censored[index][gone[index]] < at:
                gone[index] += 1
                at_risk[index] -= 1
        n, d = sum(at_risk), settled[0][at] + settled[1][at]
        share = at_risk[1] / n
        observed += settled[1][at]
        expected += d * share
        if n > 1:
            variance += d * share * (1 - share) * (n - d) / (n - 1)
        for index in (0, 1):
            at_risk[index] -= settled[index][at]
    if variance <= 0:
        return None
    away = observed - expected
    return LogRank(chi_square_tail(away * away / variance), away / math.sqrt(variance))
