"""How many events are sent at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.ship.pace import Pace


@given(st.integers(1, 1000), st.lists(st.sampled_from(["failed", "taken", "explained"]), max_size=60))
def test_it_stays_within_its_bounds_and_comes_back(most: int, steps: list[str]) -> None:
    pace = Pace(most)
    for step in steps:
        if step == "failed":
            pace.failed(pace.size)
        elif step == "taken":
            pace.taken()
        else:
            pace.explained()
        assert 1 <= pace.size <= most
    for _ in range(257 * 10):
        pace.taken()
    assert pace.size == most


def test_a_limit_of_the_receiver_is_met_less_and_less_often() -> None:
    pace = Pace(512)
    met = 0
    for _ in range(1000):
        if pace.size > 20:
            met += 1
            pace.failed(pace.size)
        else:
            pace.taken()
    assert met < 20


def test_an_outage_is_one_failure() -> None:
    pace = Pace(512)
    for _ in range(50):
        pace.failed(pace.size)
    assert pace.size == 1
    batches = 0
    while pace.size < 512:
        pace.taken()
        batches += 1
    assert batches < 30
