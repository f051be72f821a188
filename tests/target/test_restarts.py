"""Restarts are found whatever the window: those of the run, and those that go on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.target.look import RESTART_SCHEDULED, Entry
from harness.target.restarts import look_for_restarts, restarted_units

from .answers import a_target

NOW_US = 1_000_000_000
GETTY = "serial-getty@ttyS0.service"


def restarts(unit: str, *ago: float) -> list[Entry]:
    return [Entry("", NOW_US - int(each * 1e6), True, (unit,), RESTART_SCHEDULED) for each in ago]


@pytest.mark.parametrize(
    ("entries", "within", "words"),
    [
        (restarts("a.service", 43, 22, 1), 60.0, "a.service was restarted 3 times by systemd: 43 s, 22 s and 1.0 s ag"),
        (restarts("a.service", 22), 60.0, "a.service was restarted once by systemd: 22 s ago"),
        # None in the run, but each 21 s until now.
        (restarts("a.service", 73, 52, 31, 10), 8.0, "a.service was restarted 4 times by systemd: the last ones"),
        # Of the boot, before the run; the third start recovered.
        (restarts("a.service", 101, 100), 60.0, ""),
        (restarts("a.service", 102, 101, 100), 60.0, ""),
        (restarts("a.service", 500), 60.0, ""),
        # Logouts on the console.
        (restarts(GETTY, 50, 31, 5), 60.0, ""),
        (restarts(GETTY, 5, 4.5, 4, 3.5), 60.0, f"{GETTY} was restarted 4 times"),
    ],
)  # fmt: skip
def test_what_a_run_says_of_restarts(entries: list[Entry], within: float, words: str) -> None:
    found = restarted_units(entries, NOW_US, within)
    assert ", ".join(map(str, found)).startswith(words)
    assert bool(found) is bool(words)
    assert restarted_units(entries, NOW_US, within, ["*.service"]) == ()


@given(st.lists(st.floats(0.0, 900.0), max_size=12), st.floats(0.0, 900.0))
@settings(deadline=None, max_examples=60)
def test_every_restart_within_the_run_is_counted(ago: list[float], within: float) -> None:
    found = restarted_units(restarts("a.service", *ago), NOW_US, within)
    recent = [each for each in ago if each < within - 1e-3]
    if recent:
        assert len(found) == 1
        assert len(found[0].ago) >= len(recent)
        assert list(found[0].ago) == sorted(found[0].ago, reverse=True)


def test_the_question_is_one_command() -> None:
    fields = {"UNIT": "a.service", "MESSAGE_ID": RESTART_SCHEDULED, "_PID": "1", "__MONOTONIC_TIMESTAMP": "90000000"}
    entry = json.dumps(fields)
    target, link = a_target(f"== clock\nup 100.0\n== entries\n{entry}\n")
    (found,) = look_for_restarts(target, 20.0)
    assert (found.unit, found.ago) == ("a.service", (10.0,))
    assert len(link.asked) == 1
    assert f"MESSAGE_ID={RESTART_SCHEDULED}" in link.asked[0]
