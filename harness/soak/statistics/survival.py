"""Time to settle as a survival curve: a time-out says only that it took longer, and is counted so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.soak.statistics.distributions import z_of
from harness.soak.statistics.rates import CONFIDENCE

# Shares are products of fractions: 0.9 * (8/9) is no exact 0.8.
_SLACK = 1e-12


@dataclass(frozen=True, slots=True)
class Times:
    """Times in seconds: those at which it `settled`, those at which it was `censored` (it had not settled yet, and
    nobody looked on), and the number of those that `never` would: these stay unsettled for ever."""

    settled: Sequence[float] = ()
    censored: Sequence[float] = ()
    never: int = 0

    @property
    def total(self) -> int:
        return len(self.settled) + len(self.censored) + self.never


@dataclass(frozen=True, slots=True)
class Step:
    """At `at` seconds `settled` of those `at_risk` settled; from then on a share `unsettled` is still unsettled.

    `variance` is Greenwood's sum: the variance of ln(unsettled).
    """

    at: float
    at_risk: int
    settled: int
    unsettled: float
    variance: float


@dataclass(frozen=True, slots=True)
class Quantile:
    """The time by which a share has settled. None: too few settled to tell, or to bound it on that side; a `low` of 0
    bounds nothing."""

    share: float
    value: float | None
    low: float | None
    high: float | None


def kaplan_meier(times: Times) -> tuple[Step, ...]:
    """The share still unsettled after each time at which something settled.

    E. L. Kaplan and P. Meier, Nonparametric estimation from incomplete observations, JASA 53 (1958), 457-481, with
    Greenwood's variance (1926). What is censored at a time is still at risk then. Those that never settle stay at
    risk, as for a subdistribution (Fine and Gray, JASA 94 (1999), 496-509): a p99 exists only where 99 % settle.
    """
    return tuple(steps_of(times))


def steps_of(times: Times) -> Iterator[Step]:
    """Yield the same step by step: with a million of different times no list of them is in memory."""
    censored = sorted(times.censored)
    at_risk, gone = times.total, 0
    share, variance = 1.0, 0.0
    for at, same in groupby(sorted(times.settled)):
        while gone < len(censored) and censored[gone] < at:
            gone += 1
            at_risk -= 1
        count = sum(1 for _ in same)
        share *= 1 - count / at_risk
        variance = variance + count / (at_risk * (at_risk - count)) if at_risk > count else math.inf
        yield Step(at, at_risk, count, share, variance)
        at_risk -= count


def quantile(steps: Iterable[Step], share: float, confidence: float = CONFIDENCE) -> Quantile:
    """The first time by which at least `share` has settled, with its interval.

    The interval holds all times at which that share cannot be ruled out (Brookmeyer and Crowley, A confidence interval
    for the median survival time, Biometrics 38 (1982), 29-41), on the scale ln(-ln S), where it keeps within 0 and 1
    (Kalbfleisch and Prentice, 1980). Where the curve is still at 1 or has come to 0 there is no variance to go by:
    there the chance that none, or all, of so many have settled decides, so that few runs bound nothing.
    """
    left, tail, z = 1 - share, (1 - confidence) / 2, z_of(confidence)
    value: float | None = None
    low: float | None = None
    high: float | None = None
    settled = 0
    last: Step | None = None
    for step in steps:
        settled += step.settled
        if last is None and left**step.at_risk >= tail:
            low = 0.0
        if value is None and step.unsettled <= left + _SLACK:
            value = step.at
        # Below -z: too many are unsettled at this time for it to be the one; above z: too few.
        if math.isinf(step.variance) or step.unsettled <= 0:
            away = math.inf if share**settled < tail else 0.0  # it is the last step
        else:
            log = math.log(step.unsettled)
            away = (math.log(-log) - math.log(-math.log(left))) * abs(log) / math.sqrt(step.variance)
        if low is None and away >= -z:
            low = step.at
        if away <= z:
            high = None
        elif high is None:
            high = step.at
        last = step
    if last is None:
        return Quantile(share, None, None, None)
    return Quantile(share, value, last.at if low is None else low, high)
