"""Every figure against scipy's or statsmodels' own, over random inputs."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.soak.statistics import distributions as d
from harness.soak.statistics.between import mean_time_between
from harness.soak.statistics.difference import difference
from harness.soak.statistics.drift import linear_trend, rising
from harness.soak.statistics.logrank import log_rank
from harness.soak.statistics.many import holm
from harness.soak.statistics.outlier import against_the_pool
from harness.soak.statistics.rates import runs_needed, wilson
from harness.soak.statistics.survival import Times, kaplan_meier, quantile
from tests.soak.statistics.others import holm_adjusted, proportion, scipy_special, scipy_stats, survfunc

CONFIDENCE = st.sampled_from([0.8, 0.9, 0.95, 0.99])
COUNTED = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
# Few distinct values, so that ties are the rule.
SECONDS = st.integers(1, 15).map(lambda n: n / 4)
TIMES = st.builds(
    Times, st.lists(SECONDS, max_size=40).map(tuple), st.lists(SECONDS, max_size=20).map(tuple), st.integers(0, 5)
)
many = settings(max_examples=100, deadline=None)
few = settings(max_examples=30, deadline=None)


def close(ours: float, theirs: Any, relative: float = 1e-8, absolute: float = 1e-12) -> None:
    assert ours == pytest.approx(float(theirs), rel=relative, abs=absolute)


# -- distributions -----------------------------------------------------------------------------------------------------


@many
@given(st.floats(0.05, 5000), st.floats(0, 3))
def test_gamma(a: float, factor: float) -> None:
    close(d.gamma_share(a, a * factor), scipy_special().gammainc(a, a * factor), 1e-9)


@many
@given(st.floats(0.001, 0.999), st.integers(1, 20_000))
def test_chi_square_quantile(p: float, degrees: int) -> None:
    close(d.chi_square_quantile(p, degrees), scipy_stats().chi2.ppf(p, degrees), 1e-9)


@many
@given(st.floats(0, 300))
def test_chi_square_tail(x: float) -> None:
    close(d.chi_square_tail(x), scipy_stats().chi2.sf(x, 1), 1e-9, 0)


@many
@given(COUNTED, st.floats(0.001, 0.999))
def test_binomial(counted: tuple[int, int], p: float) -> None:
    close(d.binomial_share(*counted, p), scipy_stats().binom.cdf(*counted, p), 1e-7)


@many
@given(st.floats(0.2, 100_000), st.floats(0.2, 100_000), st.floats(0.0001, 0.9999))
def test_beta(a: float, b: float, x: float) -> None:
    close(d.beta_share(a, b, x), scipy_special().betainc(a, b, x), 1e-6, 1e-10)


@many
@given(st.integers(1, 300), st.data())
def test_fisher_and_hypergeometric(total: int, data: st.DataObject) -> None:
    drawn, marked = data.draw(st.integers(0, total)), data.draw(st.integers(0, total))
    k = data.draw(st.integers(max(0, drawn + marked - total), min(drawn, marked)))
    close(d.hypergeometric_tail(k, drawn, marked, total), scipy_stats().hypergeom.sf(k - 1, total, marked, drawn), 1e-7)
    table = [[k, drawn - k], [marked - k, total - drawn - marked + k]]
    close(d.fisher_two_sided(k, drawn, marked, total), scipy_stats().fisher_exact(table).pvalue, 1e-6)


# -- rates -------------------------------------------------------------------------------------------------------------


@many
@given(COUNTED, CONFIDENCE)
def test_wilson(counted: tuple[int, int], confidence: float) -> None:
    low, high = proportion().proportion_confint(*counted, alpha=1 - confidence, method="wilson")
    rate = wilson(*counted, confidence)
    close(rate.low, low)
    close(rate.high, high)
    assert 0 <= rate.low <= counted[0] / counted[1] <= rate.high <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20), st.integers(0, 500), st.sampled_from([0.5, 0.9, 0.99, 0.999]), CONFIDENCE)
def test_runs_needed(failures: int, passed: int, rate: float, confidence: float) -> None:
    """Enough runs put Clopper and Pearson's lower bound, by scipy's beta, at the rate; one run less does not."""
    total = failures + passed
    more = runs_needed(failures, total, rate, confidence)

    def bound(n: int) -> float:
        return float(scipy_stats().beta.ppf(1 - confidence, n - failures, failures + 1)) if n > failures else 0.0

    assert bound(total + more) >= rate - 1e-9
    if more:
        assert bound(total + more - 1) < rate


def test_the_success_run_theorem() -> None:
    assert runs_needed(0, 0, 0.99) == math.ceil(math.log(0.05) / math.log(0.99)) == 299


@many
@given(COUNTED, COUNTED)
def test_difference(first: tuple[int, int], second: tuple[int, int]) -> None:
    found = difference(first, second)
    assert found is not None
    low, high = proportion().confint_proportions_2indep(*second, *first, method="newcomb", compare="diff")
    close(found.low, low, 1e-7, 1e-9)
    close(found.high, high, 1e-7, 1e-9)
    table = [[first[0], first[1] - first[0]], [second[0], second[1] - second[0]]]
    close(found.p, scipy_stats().fisher_exact(table).pvalue, 1e-5, 1e-9)
    assert found.least_p <= found.p * (1 + 1e-6)


@few
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_the_smallest_p_that_could_have_been(first: int, second: int, data: st.DataObject) -> None:
    """Over all tables with the same margins."""
    passed = data.draw(st.integers(0, first + second))
    tables = [(passed - k, k) for k in range(max(0, passed - first), min(second, passed) + 1)]
    k = data.draw(st.sampled_from(tables))
    found = difference((k[0], first), (k[1], second))
    assert found is not None
    every = [scipy_stats().fisher_exact([[a, first - a], [b, second - b]]).pvalue for a, b in tables]
    close(found.least_p, min(every), 1e-6)


# -- time to settle ----------------------------------------------------------------------------------------------------


def arrays(times: Times) -> tuple[list[float], list[int]]:
    """As statsmodels takes them: who never settles is censored after everybody else."""
    last = 1 + max([*times.settled, *times.censored], default=0.0)
    seconds = [*times.settled, *times.censored, *[last] * times.never]
    return seconds, [1] * len(times.settled) + [0] * (len(times.censored) + times.never)


@many
@given(TIMES)
def test_kaplan_meier(times: Times) -> None:
    assume(times.settled)
    theirs = survfunc().SurvfuncRight(*arrays(times))
    # Theirs has a row for censoring times, too.
    rows = [index for index, count in enumerate(theirs.n_events) if count]
    ours = kaplan_meier(times)
    assert [step.at for step in ours] == [theirs.surv_times[index] for index in rows]
    assert [step.at_risk for step in ours] == [theirs.n_risk[index] for index in rows]
    for step, index in zip(ours, rows, strict=True):
        close(step.unsettled, theirs.surv_prob[index], absolute=1e-12)
        if step.unsettled > 1e-9:
            close(step.unsettled * math.sqrt(step.variance), theirs.surv_prob_se[index], 1e-7)


@many
@given(
    st.lists(st.integers(1, 400).map(lambda n: n / 8), min_size=120, max_size=200).map(tuple),
    st.lists(st.integers(1, 400).map(lambda n: n / 8), max_size=40).map(tuple),
    st.sampled_from([0.25, 0.5, 0.75]),
)
def test_quantiles_and_their_intervals(settled: tuple[float, ...], censored: tuple[float, ...], share: float) -> None:
    steps = kaplan_meier(Times(settled, censored))
    assume(not any(abs(step.unsettled - (1 - share)) < 1e-9 for step in steps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs divides by 0 at the curve's end
        theirs = survfunc().SurvfuncRight(*arrays(Times(settled, censored)))
        low, high = theirs.quantile_ci(share)
    assume(not math.isnan(low))  # theirs has no interval where the curve falls past it in one step
    found = quantile(steps, share)
    assert found.value == theirs.quantile(share)
    # Theirs may name a time of censoring, at which the curve does not change: the next step is meant.
    assert found.low == next((step.at for step in steps if step.at >= low), steps[-1].at)
    assert found.high == next((step.at for step in steps if step.at >= high), None)


@many
@given(TIMES, TIMES)
def test_log_rank(first: Times, second: Times) -> None:
    found = log_rank(first, second)
    assume(found is not None)
    assert found is not None
    last = 1 + max([*first.settled, *first.censored, *second.settled, *second.censored], default=0.0)
    seconds = [*first.settled, *first.censored, *[last] * first.never]
    seconds += [*second.settled, *second.censored, *[last] * second.never]
    status = [1] * len(first.settled) + [0] * (first.total - len(first.settled))
    status += [1] * len(second.settled) + [0] * (second.total - len(second.settled))
    group = [0] * first.total + [1] * second.total
    statistic, p = survfunc().survdiff(np.array(seconds), np.array(status), np.array(group))
    close(found.p, p, 1e-6)
    close(found.sooner**2, statistic, 1e-6, 1e-9)


# -- failures in time, drift, many questions ---------------------------------------------------------------------------


@many
@given(st.integers(0, 500), st.floats(1, 1e7), CONFIDENCE)
def test_mean_time_between(failures: int, exposure: float, confidence: float) -> None:
    """The bounds are those of a Poisson mean (scipy), turned over."""
    found = mean_time_between(failures, exposure, confidence)
    assert found is not None
    tail = (1 - confidence) / 2
    if failures:
        assert found.high is not None
        close(scipy_stats().poisson.sf(failures - 1, exposure / found.high), tail, 1e-6)
        close(scipy_stats().poisson.cdf(failures, exposure / found.low), tail, 1e-6)
        assert found.low < exposure / failures < found.high
    else:
        close(scipy_stats().poisson.cdf(0, exposure / found.low), 1 - confidence, 1e-6)
        assert (found.value, found.high) == (None, None)


@many
@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=3, max_size=120))
def test_linear_trend(points: list[tuple[int, bool]]) -> None:
    positions, happened = [float(x) for x, _ in points], [y for _, y in points]
    found = linear_trend(positions, happened)
    if len(set(positions)) == 1 or len(set(happened)) == 1:
        assert found is None
        return
    assert found is not None
    r = float(scipy_stats().pearsonr(positions, np.array(happened, dtype=float)).statistic)
    close(found.strength, r, 1e-6, 1e-9)
    close(found.p, scipy_stats().chi2.sf((len(points) - 1) * r * r, 1), 1e-6, 1e-9)


@many
@given(st.lists(st.integers(0, 30).map(float), min_size=3, max_size=120))
def test_rising(values: list[float]) -> None:
    found = rising(values)
    if len(set(values)) == 1:
        assert found is None
        return
    assert found is not None
    theirs = scipy_stats().kendalltau(range(len(values)), values, method="asymptotic")
    close(found.strength, theirs.statistic, 1e-9)
    close(found.p, theirs.pvalue, 1e-7)


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm(values: list[float]) -> None:
    assert holm(values) == pytest.approx(holm_adjusted(values))


@few
@given(st.lists(COUNTED, min_size=2, max_size=8))
def test_worst_target_against_the_pool(counts: list[tuple[int, int]]) -> None:
    found = against_the_pool({f"vm{index}": count for index, count in enumerate(counts)})
    failures, total = sum(k for k, _ in counts), sum(n for _, n in counts)
    assert bool(found) == bool(failures)
    raw = [scipy_stats().hypergeom.sf(k - 1, total, failures, n) for k, n in counts]
    expected = holm_adjusted(np.clip(raw, 0, 1))
    for each in found:
        close(each.p, expected[int(each.target[2:])], 1e-5, 1e-9)
    assert [each.p for each in found] == sorted(each.p for each in found)
