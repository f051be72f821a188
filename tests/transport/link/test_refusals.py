"""A login that was refused is not tried again at once: not by a command, not by a check, not in the background."""

from __future__ import annotations

import pytest

from harness.deadline import Deadline
from harness.transport.errors import Cause, TransportError, Unavailable
from harness.transport.link import Link, Unreachable
from harness.transport.link_refusals import PAUSE
from tests.clocks import ManualClock

from .test_link import Events, Fake, Opening

REFUSED = Unavailable("the login of root was refused: Login incorrect", cause=Cause.LOGIN, transport="serial")


def a_link(*transports: Fake, clock: ManualClock) -> Link:
    return Link(transports, events=Events(), clock=clock, name="vm1", background=False, chance=lambda: 0.5)


def refusing(name: str = "serial") -> tuple[Opening, list[int]]:
    tries: list[int] = []

    def closed() -> Exception:
        tries.append(1)
        return REFUSED

    return Opening(name, closed_to_us=closed), tries


def attempt(link: Link, transport: str | None = None) -> TransportError:
    with pytest.raises(TransportError) as caught:
        link.run("true", deadline=Deadline.after(30), transport=transport, repeatable=True)
    return caught.value


def down() -> Fake:
    return Fake("ssh", failing=lambda: Unavailable("refused", cause=Cause.REFUSED, transport="ssh"))


@pytest.mark.parametrize("cause", [Cause.LOGIN, Cause.PASSWORD_EXPIRED])
def test_ten_attempts_type_a_refused_password_once(cause: Cause) -> None:
    clock = ManualClock()
    serial, tries = refusing()
    REFUSED.cause = cause
    try:
        link = a_link(down(), serial, clock=clock)
        for _ in range(10):
            error = attempt(link)
            assert isinstance(error, Unreachable)
            assert [each.cause for each in error.errors] == [Cause.REFUSED, cause]
            assert "Login incorrect" in str(error)
            clock.now += 1.7
            link.probe_due()
            attempt(link, "serial")
        assert len(tries) == 1
    finally:
        REFUSED.cause = Cause.LOGIN


def test_after_a_while_it_is_tried_again() -> None:
    clock = ManualClock()
    serial, tries = refusing()
    link = a_link(down(), serial, clock=clock)
    attempt(link)
    clock.now += PAUSE + 1
    attempt(link)
    assert len(tries) == 2
    serial.closed_to_us = None
    clock.now += PAUSE + 1
    assert link.run("true", deadline=Deadline.after(30)).transport == "serial"
    serial.closed_to_us = lambda: tries.append(1) or REFUSED  # type: ignore[func-returns-value]
    attempt(link, "serial")
    assert len(tries) == 3


def test_other_errors_are_tried_as_often_as_they_were() -> None:
    clock = ManualClock()
    tries: list[int] = []

    def closed() -> Exception:
        tries.append(1)
        return Unavailable("no shell", cause=Cause.NO_SHELL, transport="serial")

    link = a_link(down(), Opening("serial", closed_to_us=closed), clock=clock)
    for _ in range(4):
        attempt(link)
    assert len(tries) == 4


def test_a_refusal_that_the_background_meets_counts_too() -> None:
    clock = ManualClock()
    serial, tries = refusing()
    link = a_link(Opening("ssh"), serial, clock=clock)
    attempt(link, "serial")
    for _ in range(20):
        clock.now += 2
        link.probe_due()
    assert len(tries) == 1
