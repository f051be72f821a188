"""Deadlines that grow with the load, whatever it is: measured, bounded, and never a second try."""

from __future__ import annotations

import threading
import time

import pytest

from tests import patience


@pytest.mark.parametrize(
    ("load", "cores", "slowness", "expected"),
    [
        (0.1, 2, 1.0, 1.0),
        (2.0, 2, 1.0, 1.0),
        (5.0, 2, 1.0, 2.5),
        (5.0, 4, 2.0, 2.5),
        (0.0, 2, 3.0, 3.0),
        (500.0, 2, 1.0, patience.MOST),
    ],
)
def test_the_factor(monkeypatch: pytest.MonkeyPatch, load: float, cores: int, slowness: float, expected: float) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(patience, "_cores", lambda: cores)
    monkeypatch.setattr(patience, "_slowness", lambda: slowness)
    assert patience.factor() == pytest.approx(expected)
    assert patience.scaled(10) == pytest.approx(10 * expected)


def test_a_timer_expires_after_its_time() -> None:
    expired = threading.Event()
    began = time.monotonic()
    timer = patience.PatientTimer(0.1, expired.set, measure=lambda: 2.0)
    timer.start()
    assert expired.wait(60)
    assert time.monotonic() - began >= 0.2
    timer.cancel()


def test_load_that_comes_in_between_counts() -> None:
    expired = threading.Event()
    measured = iter([1.0, 1.0, 3.0])
    began = time.monotonic()
    patience.PatientTimer(0.1, expired.set, measure=lambda: next(measured, 1.0)).start()
    assert expired.wait(60)
    assert time.monotonic() - began >= 0.3, "load that is over has kept the test waiting all the same"


def test_a_timer_that_is_cancelled_does_not_expire() -> None:
    expired = threading.Event()
    timer = patience.PatientTimer(3600, expired.set)
    timer.start()
    timer.cancel()
    assert not expired.is_set()
    assert not timer._thread.is_alive()


def test_the_end_of_the_run_comes_first() -> None:
    expired = threading.Event()
    patience.PatientTimer(3600, expired.set, end=time.monotonic() + 0.1).start()
    assert expired.wait(60)
