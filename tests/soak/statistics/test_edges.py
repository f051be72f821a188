"""Where there is nothing, all, or hardly anything to go by; and that the intervals hold the truth."""

from __future__ import annotations

import math
import random

import pytest

from harness.soak.statistics.between import mean_time_between
from harness.soak.statistics.difference import difference
from harness.soak.statistics.drift import linear_trend, rising
from harness.soak.statistics.logrank import log_rank
from harness.soak.statistics.many import holm
from harness.soak.statistics.outlier import against_the_pool
from harness.soak.statistics.rates import runs_needed, wilson
from harness.soak.statistics.survival import Times, kaplan_meier, quantile


def test_no_runs_tell_nothing() -> None:
    assert (wilson(0, 0).value, wilson(0, 0).low, wilson(0, 0).high) == (None, 0.0, 1.0)
    assert difference((0, 0), (3, 3)) is None
    assert mean_time_between(0, 0.0) is None
    assert kaplan_meier(Times()) == ()
    assert quantile((), 0.5).value is None
    assert log_rank(Times(), Times((1.0,))) is None
    assert linear_trend([], []) is None
    assert rising([]) is None
    assert holm([]) == []
    assert against_the_pool({}) == ()


def test_one_target_has_no_pool_and_a_target_without_runs_is_none() -> None:
    assert against_the_pool({"vm1": (3, 10)}) == ()
    assert against_the_pool({"vm1": (3, 10), "vm2": (0, 0)}) == ()


def test_all_passed_is_not_certainty() -> None:
    assert wilson(20, 20).low == pytest.approx(0.8389, abs=1e-4)
    assert wilson(20, 20).high == 1.0
    assert wilson(0, 20).low == 0.0
    assert runs_needed(0, 20, 0.99) == 279
    assert runs_needed(0, 1000, 0.99) == 0


def test_all_failed_needs_many() -> None:
    more = runs_needed(100, 100, 0.99)
    assert more > 9000


def test_all_censored_has_no_quantile() -> None:
    times = Times((), (30.0,) * 10)
    assert kaplan_meier(times) == ()
    assert quantile(kaplan_meier(times), 0.5) == quantile((), 0.5)


def test_who_never_settles_stays_unsettled() -> None:
    steps = kaplan_meier(Times((1.0,) * 97, (), 3))
    assert steps[-1].unsettled == pytest.approx(0.03)
    assert quantile(steps, 0.9).value == 1.0
    assert quantile(steps, 0.99).value is None


def test_a_time_out_is_not_counted_as_settled_nor_left_out() -> None:
    steps = kaplan_meier(Times((1.0, 2.0), (1.5, 1.5)))
    assert [(step.at, step.at_risk, step.unsettled) for step in steps] == [(1.0, 4, 0.75), (2.0, 1, 0.0)]


def test_who_is_censored_at_a_time_was_at_risk_then() -> None:
    assert kaplan_meier(Times((2.0,), (2.0,)))[0].at_risk == 2


def test_few_runs_bound_nothing() -> None:
    found = quantile(kaplan_meier(Times((1.0, 2.0, 3.0))), 0.5)
    assert (found.value, found.low, found.high) == (2.0, 0.0, None)
    found = quantile(kaplan_meier(Times(tuple(float(n) for n in range(1, 51)))), 0.99)
    assert (found.value, found.high) == (50.0, None)


def test_equal_times_have_an_interval_of_no_length() -> None:
    found = quantile(kaplan_meier(Times((1.0,) * 100)), 0.5)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("number", [20, 60, 200])
def test_the_interval_of_a_quantile_holds_the_truth(number: int, share: float) -> None:
    """Exponential times, a third of them censored: the true quantile is -ln(1 - share)."""
    drawn, held, rounds = random.Random(f"{number} {share}"), 0, 400
    for _ in range(rounds):
        settled: list[float] = []
        censored: list[float] = []
        for _ in range(number):
            at, limit = drawn.expovariate(1), drawn.expovariate(0.3)
            (settled if at <= limit else censored).append(min(at, limit))
        found = quantile(kaplan_meier(Times(tuple(settled), tuple(censored))), share)
        truth = -math.log(1 - share)
        held += (found.low is None or found.low <= truth) and (found.high is None or truth <= found.high)
    assert held / rounds > 0.92


@pytest.mark.parametrize(("number", "rate"), [(20, 0.97), (100, 0.97), (1000, 0.999)])
def test_wilsons_interval_holds_the_truth(number: int, rate: float) -> None:
    """The exact chance, over all counts that may come, that the interval holds the true rate."""
    held = sum(
        math.comb(number, k) * rate**k * (1 - rate) ** (number - k)
        for k in range(number + 1)
        if wilson(k, number).low <= rate <= wilson(k, number).high
    )
    assert held > 0.88  # Wilson's dips below 95 % near the ends, by design (Brown, Cai and DasGupta)


def test_equal_groups_do_not_differ() -> None:
    times = Times((1.0, 2.0, 3.0), (4.0,))
    found = log_rank(times, times)
    assert found is not None
    assert found.p == pytest.approx(1.0)


def test_later_is_below_zero() -> None:
    quick, slow = Times((1.0, 1.1, 1.2, 1.3) * 5), Times((2.0, 2.1, 2.2) * 5)
    found, other = log_rank(quick, slow), log_rank(slow, quick)
    assert found is not None
    assert other is not None
    assert found.sooner < 0 < other.sooner
    assert found.p == pytest.approx(other.p)
    assert found.p < 0.001


def test_a_difference_has_its_sign() -> None:
    found = difference((99, 100), (80, 100))
    assert found is not None
    assert found.high < 0
    assert found.value == pytest.approx(-0.19)
    assert found.p < 0.001


def test_drift_is_found_and_steadiness_is_not_drift() -> None:
    positions = [float(n) for n in range(200)]
    worse = linear_trend(positions, [n > 150 and n % 3 == 0 for n in range(200)])
    steady = linear_trend(positions, [n % 10 == 0 for n in range(200)])
    assert worse is not None
    assert steady is not None
    assert worse.p < 0.001 < 0.5 < steady.p
    assert worse.strength > 0
    up, flat = rising(positions), rising([1.0, 2.0] * 50)
    assert up is not None
    assert flat is not None
    assert up.strength == 1.0
    assert up.p < 1e-9 < 0.3 < flat.p
