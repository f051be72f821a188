"""A target that is taken to be up and refuses: told at once, given up soon; and what cannot work is not tried again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.api.check import NotYet
from harness.engine.contact import FirstContact
from harness.engine.outcome import Outcome, RunResult, TargetResult
from harness.errors import ExitCode, UsageError
from harness.transport.errors import Cause, TransportError, TransportLost, Unavailable
from harness.transport.link import Unreachable
from tests.clocks import ManualClock
from tests.engine.test_attempts import carry
from tests.transport.ssh.conftest import Events


def _error(cause: Cause = Cause.REFUSED, transport: str = "ssh") -> Unavailable:
    return Unavailable(f"{transport} {cause}", cause=cause, transport=transport)


class _Place:
    """A first contact on a fake clock."""

    def __init__(self, seconds: float | None, *, answered: Sequence[bool] = ()) -> None:
        self.clock = ManualClock(1000.0, 1_700_000_000.0)
        self.events = Events()
        answers = iter(answered)
        self.contact = FirstContact(
            seconds,
            name="box",
            is_answered=lambda: next(answers, False),
            events=self.events,
            clock=self.clock,
        )

    def refused_at(self, seconds: float, error: TransportError | None = None) -> bool:
        self.clock.now = 1000.0 + seconds
        return self.contact.refused(error or _error())


@pytest.mark.parametrize(
    "cause", [Cause.REFUSED, Cause.UNRESOLVED, Cause.AUTH, Cause.HOST_KEY, Cause.BANNER, Cause.TIMEOUT, Cause.NO_SHELL]
)
def test_a_refusal_is_told_once_and_at_once_and_given_up_after_the_bound(cause: Cause) -> None:
    place = _Place(30.0)
    assert [place.refused_at(at, _error(cause)) for at in (5.0, 6.0, 20.0, 34.9)] == [False] * 4
    (told,) = place.events.of("target.unanswered")
    assert f"ssh {cause}" in told["message"]
    assert "trying again for 30 s" in told["message"]
    assert "expect_boot" in told["message"]
    assert place.refused_at(35.0, _error(cause))


def test_a_bound_of_zero_is_one_try() -> None:
    assert _Place(0.0).refused_at(0.0)


def test_a_target_that_may_be_booting_is_not_given_up() -> None:
    place = _Place(None)
    assert not any(place.refused_at(at) for at in range(0, 1000, 10))
    assert place.events.of("target.unanswered") == []


def test_a_target_that_has_answered_may_go_away_and_come_back() -> None:
    place = _Place(30.0, answered=[False, False, True, True, True])
    assert not any(place.refused_at(at) for at in (0.0, 1.0, 40.0, 400.0, 4000.0))


def test_silence_on_an_open_console_is_no_refusal() -> None:
    silent = Unreachable("box", [_error(Cause.REFUSED), _error(Cause.TIMEOUT, "serial")])
    busy = Unreachable("box", [_error(Cause.REFUSED), _error(Cause.BUSY, "serial")])
    assert not any(_Place(3.0).refused_at(at, silent) for at in (0.0, 5.0, 100.0))
    place = _Place(3.0)
    assert [place.refused_at(at, busy) for at in (0.0, 5.0)] == [False, True]


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        UsageError("a NUL byte", hint="write \\0"),
        _error(Cause.CONFIG, "serial"),
        Unreachable("box", [_error(Cause.CONFIG), _error(Cause.CONFIG, "serial")]),
    ],
)
def test_what_cannot_work_is_not_tried_again_and_is_a_usage_error(error: Exception) -> None:
    result, _, _ = carry(lambda _target: _raise(error), budget=60)
    assert (result.outcome, result.attempts, result.misconfigured) == (Outcome.ERROR, 1, True)
    run = RunResult("r", 0.0, 1.0, (TargetResult("box", (result,)),))
    assert run.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    "error",
    [
        NotYet("no"),
        _error(Cause.AUTH),
        TransportLost("gone", cause=Cause.LOST, transport="ssh"),
        Unreachable("box", [_error(Cause.CONFIG), _error(Cause.REFUSED, "serial")]),
    ],
)
def test_what_may_be_otherwise_later_is_tried_again(error: Exception) -> None:
    result, _, _ = carry(lambda _target: _raise(error), budget=10)
    assert result.attempts > 3
    assert not result.misconfigured


def test_a_target_that_is_misconfigured_is_a_usage_error_of_the_run() -> None:
    bad = TargetResult("box", (), error="a bad directive", misconfigured=True)
    assert RunResult("r", 0.0, 1.0, (bad,)).exit_code is ExitCode.USAGE
    ours = TargetResult("other", (), error="KeyError: 1")
    assert RunResult("r", 0.0, 1.0, (bad, ours)).exit_code is ExitCode.INTERNAL
