"""Time to settle as a survival curve: a time-out says only that it took longer, and is counted so."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.soak.statistics.distributions import z_of
from harness.soak.statistics.rates import CONFIDENCE

# Shares are products of fractions: 0.9 * (8/9) is no exact 0.8.
_SLACK = 1e-12


@dataclass(frozen=True, slots=True)
class Times:
    """Times in seconds: those at which it `settled`, those at which it was `censored` (it had not settled yet, and
    nobody looked on), and the number of those that `never` would: these stay unsettled for ever."""

    settled: tuple[float, ...] = ()
    censored: tuple[float, ...] = ()
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
    settled, censored = Counter(times.settled), sorted(times.censored)
    at_risk, gone = times.total, 0
    share, variance = 1.0, 0.0
    steps = []
    for at in sorted(settled):
        while gone < len(censored) and censored[gone] < at:
            gone += 1
            at_risk -= 1
        count = settled[at]
        share *= 1 - count / at_risk
        variance = variance + count / (at_risk * (at_risk - count)) if at_risk > count else math.inf
        steps.append(Step(at, at_risk, count, share, variance))
        at_risk -= count
    return tuple(steps)


def quantile(steps: Sequence[Step], share: float, confidence: float = CONFIDENCE) -> Quantile:
    """The first time by which at least `share` has settled, with its interval.

    The interval holds all times at which that share cannot be ruled out (Brookmeyer and Crowley, A confidence interval
    for the median survival time, Biometrics 38 (1982), 29-41), on the scale ln(-ln S), where it keeps within 0 and 1
    (Kalbfleisch and Prentice, 1980). Where the curve is still at 1 or has come to 0 there is no variance to go by:
    there the chance that none, or all, of so many have settled decides, so that few runs bound nothing.
    """
    left, tail, z = 1 - share, (1 - confidence) / 2, z_of(confidence)
    if not steps:
        return Quantile(share, None, None, None)
    value = next((step.at for step in steps if step.unsettled <= left + _SLACK), None)
    all_settled_by_luck = share ** sum(step.settled for step in steps)

    def side(step: Step) -> float:
        """Below -z: too many are unsettled at this time for it to be the one; above z: too few."""
        if math.isinf(step.variance) or step.unsettled <= 0:
            return math.inf if all_settled_by_luck < tail else 0.0
        log = math.log(step.unsettled)
        return (math.log(-log) - math.log(-math.log(left))) * abs(log) / math.sqrt(step.variance)

    sides = [side(step) for step in steps]
    if left ** steps[0].at_risk >= tail:
        low = 0.0
    else:
        low = next((step.at for step, away in zip(steps, sides, strict=True) if away >= -z), steps[-1].at)
    high: float | None = None
    for step, away in zip(reversed(steps), reversed(sides), strict=True):
        if away <= z:
            break
        high = step.at
    return Quantile(share, value, low, high)
