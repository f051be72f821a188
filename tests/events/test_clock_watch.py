"""Steps, drifts and suspends of this machine's clock, from its three clocks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.events import EventLog
from harness.events.clock_watch import Change, ClockComparison, ClockWatch, Times, read_times
from harness.report.read import read_run


def at(seconds: float, *, step: float = 0.0, slept: float = 0.0) -> Times:
    return Times(1e9 + seconds + slept + step, 50.0 + seconds, 70.0 + seconds + slept)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 0.6, -0.6])
def test_a_step(step: float) -> None:
    clocks = ClockComparison(at(0))
    assert clocks.look(at(1)) == []
    (change,) = clocks.look(at(2, step=step))
    assert (change.kind, round(change.seconds, 6)) == ("stepped", step)
    assert clocks.look(at(3, step=step)) == []


def test_a_suspend_is_no_step() -> None:
    clocks = ClockComparison(at(0))
    (change,) = clocks.look(at(1, slept=7200.0))
    assert (change.kind, round(change.seconds, 6)) == ("suspended", 7200.0)
    assert [each.kind for each in clocks.look(at(2, slept=7201.0, step=-60.0))] == ["suspended", "stepped"]


def test_a_drift_adds_up() -> None:
    clocks = ClockComparison(at(0))
    found: list[Change] = []
    for second in range(1, 1301):
        found += clocks.look(at(second, step=-0.001 * second))
    assert [each.kind for each in found] == ["drifted", "drifted"]
    assert all(-0.51 < each.seconds <= -0.5 for each in found)


@given(st.lists(st.floats(-0.24, 0.24), max_size=50))
def test_noise_is_nothing(noise: list[float]) -> None:
    clocks = ClockComparison(at(0))
    assert all(clocks.look(at(second, step=step)) == [] for second, step in enumerate(noise, 1))


def test_what_is_seen_is_an_event_and_stands_in_the_report(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    log.emit("run.start", "x", argv=["harness"], version="1", plan={"targets": 0})
    times = iter([at(0), at(1), at(2, step=3600.0), at(3, step=3600.0, slept=60.0)])
    watch = ClockWatch(log, lambda: next(times), interval=1e6)
    for _ in range(2):
        watch.look()
    with watch:
        pass
    log.close()
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()][1:]
    assert [(each["event.action"], each.get("harness.offset"), each.get("event.duration")) for each in events] == [
        ("clock.stepped", 3600.0, None), ("clock.suspended", None, 60_000_000_000),
    ]  # fmt: skip
    run = read_run(tmp_path)
    assert [mark.kind for mark in run.marks] == ["clock", "clock"]
    assert any("was set forwards by 3600.00 s" in note for note in run.notes)


def test_the_real_clocks_are_read_at_one_moment() -> None:
    times = read_times()
    assert times.boot >= times.monotonic - 0.1
