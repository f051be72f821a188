"""Deadlines: what every wait of the system makes of the time that is left, and of no deadline at all."""

from __future__ import annotations

import queue
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from harness.deadline import LONGEST_WAIT, Cancellation, Deadline
from tests.clocks import ManualClock


def _poll(seconds: float) -> object:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        poll = select.poll()
        poll.register(ours, select.POLLIN)
        return poll.poll(seconds * 1000)


def _select(seconds: float) -> object:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        return select.select([ours], [], [], seconds)[0]


def _socket(seconds: float) -> object:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        ours.settimeout(seconds)
        return ours.recv(1)


def _event(seconds: float) -> object:
    event = threading.Event()
    threading.Timer(0.01, event.set).start()
    return event.wait(seconds)


def _condition(seconds: float) -> object:
    condition = threading.Condition()

    def notify() -> None:
        with condition:
            condition.notify_all()

    with condition:
        threading.Timer(0.01, notify).start()
        return condition.wait(seconds)


def _queue(seconds: float) -> object:
    waiting: queue.Queue[int] = queue.Queue()
    threading.Timer(0.01, waiting.put, (1,)).start()
    return waiting.get(timeout=seconds)


def _lock(seconds: float) -> object:
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.01, lock.release).start()
    return lock.acquire(timeout=seconds)


def _process(seconds: float) -> object:
    with subprocess.Popen([sys.executable, "-S", "-c", ""], stdout=subprocess.PIPE) as process:
        process.communicate(timeout=seconds)
        return process.wait(seconds) == 0


_WAITS = [_poll, _select, _socket, _event, _condition, _queue, _lock, _process]


@pytest.mark.parametrize("wait", _WAITS, ids=lambda wait: wait.__name__)
@pytest.mark.parametrize("deadline", [Deadline.never(), Deadline.after(1e300), Deadline.after(365 * 86400.0)])
def test_every_wait_takes_the_time_that_is_left(wait: Callable[[float], object], deadline: Deadline) -> None:
    assert wait(deadline.remaining())


def test_never_does_not_expire_and_is_clamped_by_a_time() -> None:
    clock = ManualClock()
    cancellation = Cancellation()
    deadline = Deadline.never(clock=clock, cancellation=cancellation)
    clock.now = 1e12
    assert (deadline.expired, deadline.remaining()) == (False, LONGEST_WAIT)
    deadline.check("waiting")
    within = deadline.clamp(5.0)
    assert (within.remaining(), within.cancellation) == (5.0, cancellation)
    clock.now += 6.0
    assert within.expired


def test_a_deadline_beyond_the_longest_wait_expires_when_it_has_passed() -> None:
    clock = ManualClock()
    deadline = Deadline.after(2 * LONGEST_WAIT, clock=clock)
    assert deadline.remaining() == LONGEST_WAIT
    clock.now += LONGEST_WAIT + 1.0
    assert (deadline.expired, deadline.remaining()) == (False, LONGEST_WAIT - 1.0)
    clock.now += LONGEST_WAIT
    assert (deadline.expired, deadline.remaining()) == (True, 0.0)


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, 365 * 86400.0])
def test_a_cancellation_ends_a_wait_of_any_length(seconds: float) -> None:
    cancellation = Cancellation()
    threading.Timer(0.01, cancellation.cancel, ("enough",)).start()
    assert cancellation.wait(seconds)
