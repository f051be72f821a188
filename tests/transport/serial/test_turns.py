"""Commands that share one console wait for each other, and no deadline with an allowance counts that."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from harness.clock import SYSTEM_CLOCK
from harness.deadline import Allowance, Deadline
from harness.transport.errors import Cause, Unavailable
from tests.patience import scaled

TOOK = 1.0


def test_waiting_for_the_console_is_not_charged(bench: Any) -> None:
    console = bench.shell("dash", "-i")
    console.run("true", deadline=Deadline.after(scaled(30)))
    answers: list[int] = []
    waited: list[float] = []

    def one() -> None:
        allowance = Allowance(SYSTEM_CLOCK)
        # Four of them take 4 s, one after the other; each has 3 s.
        at = SYSTEM_CLOCK.monotonic() + 3 * TOOK
        answers.append(console.run(f"sleep {TOOK}", deadline=Deadline(at, allowance=allowance)).exit_status)
        waited.append(allowance.causes.get("turn", 0.0))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0] * 4
    assert max(waited) > 2 * TOOK
    assert min(waited) < TOOK


def test_without_an_allowance_it_ends_with_the_deadline(bench: Any) -> None:
    console = bench.shell("dash", "-i")
    console.run("true", deadline=Deadline.after(scaled(30)))
    busy = threading.Thread(target=lambda: console.run("sleep 2", deadline=Deadline.after(scaled(30))))
    busy.start()
    while not console._turn.locked():
        pass
    with pytest.raises(Unavailable, match="another command held the console") as held:
        console.run("true", deadline=Deadline.after(0.2))
    assert held.value.cause is Cause.TIMEOUT
    busy.join()
