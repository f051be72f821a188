"""Numbers are told as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import words
from harness.soak.statistics.between import mean_time_between
from harness.soak.statistics.rates import wilson
from harness.soak.statistics.survival import Quantile


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, words.NONE), (0.0, "0 %"), (1.0, "100 %"), (0.5, "50.0 %"), (0.9996, "99.96 %"), (0.99996, "99.996 %"),
        (0.0004, "0.04 %"), (1 / 3, "33.3 %"),
    ],
)  # fmt: skip
def test_percent(share: float | None, text: str) -> None:
    assert words.percent(share) == text


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_what_is_not_all_is_never_told_as_all(counted: tuple[int, int]) -> None:
    count, total = counted
    assert (words.percent(count / total) == "100 %") == (count == total)
    assert (words.percent(count / total) == "0 %") == (count == 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, words.NONE), (0.0, "0 ms"), (0.0123, "12 ms"), (0.0999, "0.10 s"), (1.234, "1.23 s"), (9.999, "10.0 s"),
        (42.0, "42.0 s"), (89.96, "1.5 min"), (600.0, "10.0 min"), (5400.0, "1.5 h"), (86400.0, "24.0 h"),
        (864000.0, "10.0 d"), (float("inf"), "∞"),
    ],
)  # fmt: skip
def test_seconds(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


def test_what_too_few_runs_cannot_bound_has_a_question_mark() -> None:
    assert words.by_when(Quantile(0.99, 6.0, 1.0, None)) == "6.00 s?"
    assert words.by_when(Quantile(0.5, 6.0, 1.0, 9.0)) == "6.00 s"
    assert words.by_when(Quantile(0.99, None, 1.0, None)) == words.NONE
    assert words.span(Quantile(0.99, 6.0, 1.0, None)) == "1.00 s to ?"
    assert words.span(Quantile(0.99, None, None, None)) == words.NONE


def test_intervals_and_times_between_failures() -> None:
    assert words.interval(wilson(97, 100)) == f"91.5{words.DASH}99.0 %"
    assert words.interval(wilson(0, 0)) == words.NONE
    assert words.between(mean_time_between(0, 3600.0)) == "> 20.0 min"
    assert words.between_span(mean_time_between(0, 3600.0)) == "no failure yet"
    assert words.between(mean_time_between(4, 3600.0)) == "15.0 min"
    assert words.between(None) == words.between_span(None) == words.NONE


def test_lists_do_not_grow_for_ever() -> None:
    assert words.some(["a", "b"]) == "a, b"
    assert words.some(list("abcdef"), 2) == "a, b and 4 more"
    assert words.ranges([3, 1, 2, 7, 7]) == f"1{words.DASH}3, 7"
    assert words.many(1, "trial") == "1 trial"
    assert words.many(2000, "trial") == "2,000 trials"
    assert words.chance(0.00001) == "< 0.0001"
    assert words.points(0.995) == "99.5 %"
