"""The difference of two rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.soak.statistics.distributions import fisher_two_sided
from harness.soak.statistics.rates import CONFIDENCE, Rate, wilson


@dataclass(frozen=True, slots=True)
class Difference:
    """The second rate less the first, with its interval; `p` is the chance of such a one were both alike.

    `least_p` is the smallest that `p` could have been with so many runs and failures: where it is large, the question
    could not be answered with yes, whatever happened.
    """

    first: Rate
    second: Rate
    value: float
    low: float
    high: float
    p: float
    least_p: float


def difference(first: tuple[int, int], second: tuple[int, int], confidence: float = CONFIDENCE) -> Difference | None:
    """Compares (count, total) with (count, total); None where one of them has no runs.

    The interval is Newcombe's hybrid score interval, method 10 (R. G. Newcombe, Interval estimation for the difference
    between independent proportions, Statistics in Medicine 17 (1998), 873-890); `p` is Fisher's exact test.
    """
    if not first[1] or not second[1]:
        return None
    a, b = wilson(*first, confidence), wilson(*second, confidence)
    share_a, share_b = first[0] / first[1], second[0] / second[1]
    value = share_b - share_a
    low = value - math.hypot(share_b - b.low, a.high - share_a)
    high = value + math.hypot(b.high - share_b, share_a - a.low)
    # The rarer of the two is counted: the sum has as many terms as there are of it.
    failures = (first[1] - first[0], second[1] - second[0])
    rare = failures if sum(failures) < first[0] + second[0] else (first[0], second[0])
    marked, total = sum(rare), first[1] + second[1]
    fewest, most = max(0, marked - first[1]), min(second[1], marked)
    p, *extremes = (fisher_two_sided(count, second[1], marked, total) for count in (rare[1], fewest, most))
    return Difference(a, b, value, max(-1.0, low), min(1.0, high), p, min(extremes))
