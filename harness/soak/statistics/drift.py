"""Whether something changes in the course of a soak."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.soak.statistics.distributions import two_sided


@dataclass(frozen=True, slots=True)
class Trend:
    """`p` is the chance of such a trend by luck alone; `strength` from -1 (falls always) to 1 (rises always)."""

    p: float
    strength: float


def linear_trend(positions: Sequence[float], happened: Sequence[int]) -> Trend | None:
    """Whether something happens more and more often, or less and less; None where it always or never happens.

    The Cochran-Armitage test with a score for each trial (P. Armitage, Biometrics 11 (1955), 375-386), as
    M^2 = (n - 1) r^2 with Mantel's permutation variance (A. Agresti, Categorical Data Analysis, 3rd ed., 3.4.1).
    """
    n = len(positions)
    if n < 3:
        return None
    mean_x, mean_y = math.fsum(positions) / n, sum(happened) / n
    squares_x = math.fsum((x - mean_x) ** 2 for x in positions)
    squares_y = n * mean_y * (1 - mean_y)
    if squares_x <= 0 or squares_y <= 0:
        return None
    both = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(positions, happened, strict=True))
    r = both / math.sqrt(squares_x * squares_y)
    return Trend(two_sided(r * math.sqrt(n - 1)), r)


def rising(values: Sequence[float]) -> Trend | None:
    """Whether values rise or fall in their order; None below three values, or where all are equal.

    The Mann-Kendall test (H. B. Mann, Econometrica 13 (1945), 245-259; M. G. Kendall, Rank Correlation Methods, 1975)
    with the variance for ties, without continuity correction. `strength` is Kendall's tau-b. Pairs are counted by
    merging (W. R. Knight, JASA 61 (1966), 436-439), so that thousands of values cost no time.
    """
    n = len(values)
    if n < 3:
        return None
    ties = [count for _, same in groupby(sorted(values)) if (count := sum(1 for _ in same)) > 1]
    pairs = n * (n - 1) // 2
    tied = sum(count * (count - 1) // 2 for count in ties)
    if tied == pairs:
        return None
    score = pairs - tied - 2 * _inversions(list(values))
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    return Trend(two_sided(score / math.sqrt(variance)), score / math.sqrt(pairs * (pairs - tied)))


def _inversions(values: list[float]) -> int:
    """How many pairs stand in falling order; sorts the list on the way."""
    if len(values) < 2:
        return 0
    middle = len(values) // 2
    left, right = values[:middle], values[middle:]
    count = _inversions(left) + _inversions(right)
    i = j = 0
    for k in range(len(values)):
        if j == len(right) or (i < len(left) and left[i] <= right[j]):
            values[k] = left[i]
            i += 1
        else:
            values[k] = right[j]
            count += len(left) - i
            j += 1
    return count
