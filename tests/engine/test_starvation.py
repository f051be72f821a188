"""A thread that is late: starved of CPU time, or blocked."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness.engine import starvation
from harness.engine.starvation import StarvationProbe
from tests.patience import scaled


@pytest.fixture
def pressure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel says of the pressure, on a clock of its own."""
    file = tmp_path / "cpu"
    monkeypatch.setattr(starvation, "PRESSURE", file)
    _say(file, 0)
    return file


def _say(file: Path, seconds: float) -> None:
    file.write_text(
        f"some avg10=1.00 avg60=0.50 avg300=0.10 total={seconds * 1e6:.0f}\nfull avg10=0.00 avg60=0.00 total=0\n"
    )


def _probe(
    monkeypatch: pytest.MonkeyPatch, *, switches: int, ran: float = 0.0, seconds: float = 2.0
) -> StarvationProbe:
    """Return a probe that was made so many seconds, and switches and CPU seconds of its thread, ago."""
    now, count, cpu = [100.0], [7], [1.0]
    monkeypatch.setattr(starvation, "_ran", lambda _thread: cpu[0])
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(starvation, "_switches", lambda _thread: count[0])
    probe = StarvationProbe(1)
    now[0] += seconds
    count[0] += switches
    cpu[0] += ran
    return probe


@pytest.mark.parametrize(
    ("waited", "switches", "ran", "expected"),
    [(1.9, 5, 0.1, True), (0.9, 5, 0.1, False), (1.9, 0, 0.0, False), (1.9, 50, 0.8, False)],
)
def test_a_thread_that_runs_on_a_busy_machine_is_starved(
    pressure: Path, monkeypatch: pytest.MonkeyPatch, waited: float, switches: int, ran: float, expected: bool
) -> None:
    probe = _probe(monkeypatch, switches=switches, ran=ran)
    _say(pressure, waited)
    assert probe.is_starved is expected


@pytest.mark.parametrize(("load", "expected"), [(9.0, True), (3.0, False)])
def test_without_the_pressure_the_load_counts(
    pressure: Path, monkeypatch: pytest.MonkeyPatch, load: float, expected: bool
) -> None:
    pressure.unlink()
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert _probe(monkeypatch, switches=1).is_starved is expected


def test_a_thread_that_is_blocked_is_not_starved_however_busy_the_machine_is(pressure: Path) -> None:
    go, blocked = threading.Event(), threading.Event()
    threads: list[int] = []

    def block() -> None:
        threads.append(threading.get_native_id())
        blocked.set()
        go.wait(scaled(60))

    worker = threading.Thread(target=block)
    worker.start()
    assert blocked.wait(scaled(60))
    try:
        # Until it is blocked indeed it may be put on a CPU once more.
        for _ in range(1000):
            probe = StarvationProbe(threads[0])
            threading.Event().wait(0.01)
            _say(pressure, 1000.0)
            if not probe.is_starved:
                break
            _say(pressure, 0)
        else:
            pytest.fail("a thread that waits for an event is put on a CPU again and again")
    finally:
        go.set()
        worker.join()


def test_a_thread_that_has_ended_is_none() -> None:
    assert not StarvationProbe(2**22 - 1).is_starved


def test_the_cpu_time_of_a_thread_is_its_own() -> None:
    began = starvation._ran(threading.get_native_id())
    while starvation._ran(threading.get_native_id()) - began < 0.05:
        pass
    assert starvation._ran(2**22 - 1) == 0.0
