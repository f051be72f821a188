"""An attempt that got no answer says nothing of the target: it is no change, and replaces nothing that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.api.check import NotYet
from harness.engine.outcome import Outcome
from harness.errors import DeadlineExpired
from harness.target.target import Target
from harness.transport.errors import Cause, Timeout, TransportLost, Unavailable
from harness.transport.link import Unreachable
from tests.engine.test_attempts import carry

LOST = TransportLost("the connection was reset", cause=Cause.LOST, transport="ssh")
SILENT = Unavailable("no answer", cause=Cause.TIMEOUT, transport="ssh")
EXPIRED = Unavailable("Your account has expired", cause=Cause.LOGIN, transport="serial")
REFUSED = Unavailable("connection refused", cause=Cause.REFUSED, transport="ssh")
HEALTHY = "ssh.service is active (running)"
PENDING = "start job running, it has not said READY=1 yet"


def script(steps: Sequence[str | BaseException]) -> Callable[[Target], str]:
    """Return a check that goes through the steps, and repeats the last one: it returns texts and raises errors."""
    rest = list(steps)

    def function(_target: Target) -> str:
        step = rest.pop(0) if len(rest) > 1 else rest[0]
        if isinstance(step, BaseException):
            raise step
        return step

    return function


@pytest.mark.parametrize("error", [LOST, SILENT, Unreachable("vm1", [SILENT, LOST])])
def test_an_attempt_without_an_answer_is_no_change(error: BaseException) -> None:
    result, _, _ = carry(script([HEALTHY, error, HEALTHY]), window=3.0, budget=30)
    assert (result.outcome, result.flaky) == (Outcome.PASSED, False)


def test_an_attempt_that_our_deadline_ended_is_no_change() -> None:
    # Each attempt takes longer than its time-out, so the deadline has passed when the error is raised.
    cut = DeadlineExpired("looking at the unit")
    result, _, _ = carry(script([HEALTHY, cut, HEALTHY]), window=3.0, budget=60, cost=2.0, attempt_timeout=1.0)
    assert (result.outcome, result.flaky) == (Outcome.PASSED, False)


def test_a_window_that_ends_without_an_answer_is_not_told_as_a_change() -> None:
    result, _, _ = carry(script([HEALTHY, LOST]), window=5.0, budget=20)
    assert (result.outcome, result.flaky) == (Outcome.FAILED, False)
    assert "changed" not in result.message
    assert "held, but not for its window of 5 s" in result.message
    assert "the connection was reset" in result.message


def test_what_was_answered_outlives_every_unanswered_attempt() -> None:
    result, _, _ = carry(script([NotYet(PENDING), Unreachable("vm1", [SILENT])]), budget=10)
    assert result.outcome is Outcome.FAILED
    assert result.message.startswith(PENDING)
    assert "no answer" in result.message


def test_our_own_attempt_timeout_is_no_observation() -> None:
    cut = Timeout("`systemctl show` did not end", transport="ssh")
    result, _, _ = carry(script([NotYet(PENDING), cut]), budget=20, cost=1.0, attempt_timeout=1.0)
    assert result.message.startswith(PENDING)


def test_a_timeout_that_the_check_chose_is_an_observation() -> None:
    own = Timeout("`fsck` did not end in 0.1 s", transport="ssh")
    result, _, _ = carry(script([NotYet(PENDING), own]), budget=10, attempt_timeout=1.0)
    assert result.message.startswith("`fsck` did not end")


@pytest.mark.parametrize(
    "last",
    [SILENT, Unreachable("vm1", [SILENT, SILENT]), Unavailable("", cause=Cause.TIMEOUT, transport="ssh")],
)
def test_the_strongest_evidence_counts_where_nothing_was_answered(last: BaseException) -> None:
    result, _, _ = carry(script([Unreachable("vm1", [SILENT, EXPIRED]), last]), budget=10)
    assert result.outcome is Outcome.UNREACHABLE
    assert result.message.index("Your account has expired") < result.message.index("attempt ")


def test_a_later_silence_outweighs_an_earlier_refusal_by_the_kernel() -> None:
    # While it boots a machine refuses; a firewall that comes later makes it silent, and that is its state.
    result, _, _ = carry(script([REFUSED, SILENT]), budget=10)
    assert "no answer" in result.message
    assert "connection refused" not in result.message


def test_a_silence_at_the_end_of_our_own_time_does_not() -> None:
    calls: list[int] = []

    def function(target: Target) -> str:
        calls.append(1)
        if len(calls) < 3:
            raise REFUSED
        target.deadline.clock.now += 5.0  # type: ignore[attr-defined]
        raise SILENT

    result, _, _ = carry(function, budget=8.0, attempt_timeout=5.0)
    assert result.attempts > 2
    assert result.message.index("connection refused") < result.message.index("could not be made")


STEPS = st.sampled_from([HEALTHY, LOST, SILENT, REFUSED, Unreachable("vm1", [SILENT, LOST])])


@given(st.lists(STEPS, min_size=1, max_size=12))
@settings(deadline=None, max_examples=15)
def test_no_mixture_of_one_observation_and_no_answers_is_flaky(steps: list[str | BaseException]) -> None:
    result, _, _ = carry(script(steps), window=3.0, budget=10)
    assert not result.flaky
    assert "changed" not in result.message
