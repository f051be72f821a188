"""A check's way to its verdict, on a fake clock: nothing here sleeps."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.api.assertion import explain
from harness.api.check import Check, Never, NotYet, Settings, Skip
from harness.api.discovery import discover
from harness.deadline import Cancellation, Deadline
from harness.engine.attempts import CheckRun
from harness.engine.outcome import CheckResult, Outcome
from harness.engine.retry import Retry
from harness.engine.waiting import FirstLook, Signals, Waiter
from harness.engine.workers import WorkerPool
from harness.errors import DeadlineExpired, Source
from harness.events import Emitter, NullEmitter
from harness.target.target import Target
from harness.target.tracked_result import TrackedResult
from harness.transport.contract import CommandResult, Damage, Fallback, Result
from harness.transport.errors import Cause, Timeout, TransportLost, Unavailable
from harness.transport.link import Unreachable
from tests.clocks import ManualClock
from tests.patience import scaled

POOL = WorkerPool(2)


class FakeLink:
    def __init__(self, answer: Callable[[], CommandResult]) -> None:
        self.answer = answer

    def run(self, command: str, **_: Any) -> CommandResult:
        return self.answer()


def carry(
    function: Callable[..., Any],
    *,
    cost: float | Iterator[float] = 0.1,
    answer: Callable[[], CommandResult] | None = None,
    cancellation: Cancellation | None = None,
    on_sleep: Callable[[float], None] = lambda _seconds: None,
    when: Callable[[Target], object] | None = None,
    limit: float = float("inf"),
    **given_settings: float,
) -> tuple[CheckResult, ManualClock, list[float]]:
    """Runs one check; each attempt costs `cost` seconds of the fake clock, or the next of them."""
    clock = ManualClock(1000.0, 1_700_000_000.0)
    stop = cancellation or Cancellation()
    starts: list[float] = []

    def make_target(deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target:
        starts.append(clock.now - 1000.0)

        def counted() -> CommandResult:
            assert answer is not None
            result = answer()
            on_result(result)
            return result

        return Target("vm1", (), {}, FakeLink(counted), deadline, events)  # type: ignore[arg-type]

    def timed(target: Target) -> Any:
        clock.now += cost if isinstance(cost, float | int) else next(cost)
        return function(target)

    class FakeWaits(Waiter):
        """Rests on the fake clock; calls on worker threads are waited for in earnest."""

        async def pause(self, seconds: float, shortest: float = 0.0) -> None:
            del shortest
            on_sleep(seconds)
            stop.check()
            clock.now += seconds

    async def main() -> CheckResult:
        return await CheckRun(
            Check("c", "m", "m.py", timed, Source(__file__, 1), when=when),
            Settings(**{"budget": 10.0, "interval": 1.0, **given_settings}),
            target_name="vm1",
            make_target=make_target,
            pool=POOL,
            waits=FakeWaits(stop, Signals()),
            events=NullEmitter(),
            limit=Deadline(clock.now + limit, clock, stop),
            jitter=lambda attempt: 0.8 + 0.4 * (attempt * 0.618 % 1),
            retry=Retry(),
            first_look=FirstLook(),
        ).run()

    return asyncio.run(main()), clock, starts


def after(calls: int, error: BaseException) -> Callable[[Target], str]:
    """Raises until it has been called that often."""
    count = iter(range(1_000_000))

    def function(_target: Target) -> str:
        if next(count) < calls:
            raise error
        return "fine"

    return function


def test_a_pass_at_once_takes_one_attempt() -> None:
    result, _, _ = carry(lambda _t: "fine")
    assert (result.outcome, result.attempts, result.flaky) == (Outcome.PASSED, 1, False)


@pytest.mark.parametrize(
    "error",
    [
        AssertionError("no"),
        NotYet("no"),
        Unavailable("no", cause=Cause.REFUSED, transport="ssh"),
        Timeout("no", transport="ssh"),
    ],
)
def test_what_may_change_is_tried_again(error: BaseException) -> None:
    result, _, _ = carry(after(3, error), budget=60)
    assert (result.outcome, result.attempts) == (Outcome.PASSED, 4)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Never("masked"), Outcome.FAILED),
        (Skip("no systemd"), Outcome.SKIPPED),
        (ZeroDivisionError("division by zero"), Outcome.ERROR),
        (KeyError("x"), Outcome.ERROR),
    ],
)
def test_what_cannot_change_is_not(error: BaseException, outcome: Outcome) -> None:
    result, _, _ = carry(after(100, error))
    assert (result.outcome, result.attempts) == (outcome, 1)
    assert str(error) in result.message


def test_a_budget_that_is_spent_tells_what_was_seen_last() -> None:
    result, _, _ = carry(after(1000, NotYet("still activating")))
    assert result.outcome is Outcome.FAILED
    assert "still activating" in result.message
    assert len(result.observations) == 3
    assert result.observations[-1].attempt == result.attempts


def test_a_target_that_stays_away_is_unreachable_and_not_failed() -> None:
    result, _, _ = carry(after(1000, TransportLost("gone", cause=Cause.LOST, transport="ssh")))
    assert result.outcome is Outcome.UNREACHABLE


@given(
    budget=st.floats(0.0, 100),
    interval=st.floats(0.01, 10),
    cost=st.floats(0.0, 20),
    calls=st.integers(0, 30),
    window=st.floats(0, 20),
)
@settings(deadline=None, max_examples=150)
def test_the_last_attempt_begins_at_the_end_of_the_budget(
    budget: float, interval: float, cost: float, calls: int, window: float
) -> None:
    result, _, starts = carry(after(calls, NotYet("no")), cost=cost, budget=budget, interval=interval, window=window)
    assert all(start <= budget + 1e-6 for start in starts[:-1])  # the fake clock rounds
    if starts[-1] > budget + 1e-6:
        assert starts[-1] == pytest.approx(starts[-2] + cost), "at once, since the one before took it beyond the end"
    if result.outcome is Outcome.FAILED:
        assert starts[-1] >= budget - 1e-6
    assert result.attempts == len(starts) >= 1
    if result.outcome is Outcome.PASSED:
        assert result.attempts > calls


def test_a_state_that_is_reached_in_an_attempt_beyond_the_end_is_seen() -> None:
    # On a quiet machine these attempts take 2 s each.
    for costs in ([2.0, 6.0, 2.0], [3.5, 4.0, 2.0]):
        result, _, _ = carry(after(2, NotYet("no")), cost=iter(costs), budget=8.0)
        assert (result.outcome, result.attempts) == (Outcome.PASSED, 3)


@pytest.mark.parametrize("costs", [[2.0, 6.0, 60.0, 60.0], [2.0, 3.0, 6.0, 2.0, 2.0], [6.0, 6.0, 6.0, 6.0]])
def test_one_attempt_at_most_begins_after_the_budget(costs: list[float]) -> None:
    result, _, starts = carry(after(1000, NotYet("no")), cost=iter(costs), budget=8.0, attempt_timeout=1000.0)
    assert result.outcome is Outcome.FAILED
    assert len([start for start in starts if start > 8.0]) == 1


def test_a_target_that_never_answered_gets_nothing_beyond_the_budget() -> None:
    error = TransportLost("gone", cause=Cause.LOST, transport="ssh")
    result, _, starts = carry(after(1000, error), cost=6.0, budget=8.0)
    assert (result.outcome, len(starts)) == (Outcome.UNREACHABLE, 2)


def test_one_look_is_not_settled_where_there_is_a_window() -> None:
    result, clock, _ = carry(lambda _t: "fine", window=3.0)
    assert result.outcome is Outcome.PASSED
    assert result.attempts > 1
    assert clock.now - 1000.0 >= 3.0


def test_a_flapping_observation_does_not_pass() -> None:
    count = iter(range(1_000_000))
    result, _, _ = carry(lambda _t: f"invocation {next(count)}", window=3.0)
    assert result.outcome is Outcome.FAILED
    assert result.flaky
    assert "unstable for" in result.message


def test_a_failure_in_between_is_the_reason_of_an_unstable_check() -> None:
    """It passes at the end, too late for its window."""
    seen = iter([None, None, "slow.service restarts", *[None] * 1000])

    def body(_target: object) -> str:
        failure = next(seen)
        assert failure is None, failure
        return "running"

    result, _, _ = carry(body, window=30.0, budget=32)
    assert result.outcome is Outcome.FAILED
    assert re.search(r"changed at [\d.]+ s \(slow\.service restarts.*\); last observation: running", result.message)


def test_a_change_inside_the_window_starts_it_anew_and_is_marked() -> None:
    seen = iter(["a", "a", "b", *["c"] * 1000])
    result, _, _ = carry(lambda _t: next(seen), window=3.0, budget=60)
    assert result.outcome is Outcome.PASSED
    assert result.flaky


def test_a_window_longer_than_the_budget_is_no_pass() -> None:
    result, _, _ = carry(lambda _t: "fine", window=30.0, budget=5)
    assert result.outcome is Outcome.FAILED
    assert "window of 30 s" in result.message


def test_what_the_commands_met_is_counted() -> None:
    answers = iter(
        [
            CommandResult("x", b"", b"", 0, "ssh", 0, 0, 0),
            CommandResult(
                "x",
                b"",
                b"",
                0,
                "serial",
                0,
                0,
                0,
                damage=Damage(re_reads=2),
                fallbacks=(Fallback("ssh", "refused", "no"),),
            ),
        ]
    )
    result, _, _ = carry(lambda target: (target.run("x"), target.run("x"))[1].exit_status, answer=lambda: next(answers))
    assert result.transports == ("ssh", "serial")
    assert (result.commands, result.re_reads) == (2, 2)
    assert result.fallbacks == ("ssh: refused: no",)


def test_a_cancelled_wait_ends_and_keeps_what_was_learnt() -> None:
    stop = Cancellation()
    result, _, _ = carry(
        after(1000, NotYet("pending")),
        cancellation=stop,
        on_sleep=lambda _s: stop.cancel("interrupted by SIGINT"),
    )
    assert result.attempts == 1
    assert "SIGINT" in result.message
    assert result.observations[0].seen == "pending"


def test_the_end_of_the_run_is_the_end_of_a_check() -> None:
    result, _, starts = carry(after(1000, NotYet("pending")), limit=3.0, budget=60.0)
    assert result.outcome is Outcome.FAILED
    assert "pending (after" in result.message
    assert "at the end of the time for this run" in result.message
    assert max(starts) < 3.0


def test_looks_that_reached_nothing_are_told_apart() -> None:
    result, _, _ = carry(after(3, Unavailable("no", cause=Cause.REFUSED, transport="ssh")), budget=60)
    assert (result.outcome, result.attempts, result.unreachable) == (Outcome.PASSED, 4, 3)


def test_a_condition_is_asked_before_the_first_look_only() -> None:
    asked: list[str] = []

    def holds(_target: Target) -> bool:
        asked.append("?")
        return True

    result, _, _ = carry(after(2, NotYet("no")), when=holds, budget=60)
    assert (result.outcome, result.attempts, len(asked)) == (Outcome.PASSED, 3, 1)


def test_a_check_whose_condition_does_not_hold_is_skipped() -> None:
    def never_here(_target: Target) -> bool:
        return False

    result, _, _ = carry(lambda _t: "seen", when=never_here)
    assert (result.outcome, result.attempts) == (Outcome.SKIPPED, 1)
    assert "never_here" in result.message


def test_a_condition_that_cannot_be_asked_yet_is_asked_again() -> None:
    result, _, _ = carry(lambda _t: "seen", when=after(2, NotYet("no")), budget=60)
    assert (result.outcome, result.attempts) == (Outcome.PASSED, 3)


def test_an_assertion_shows_its_line_and_values(tmp_path: Path) -> None:
    # In a file of its own: pytest rewrites the assertions of its test modules.
    file = tmp_path / "checks_of_mine.py"
    file.write_text(
        "from harness import check\n\n@check\ndef c(target):\n    state = 'activating'\n    assert state == 'active'\n"
    )
    (found,) = discover([str(file)])
    try:
        found.function(None)
    except AssertionError as error:
        said = explain(error, found.function.__code__.co_filename)
    assert said == "assert state == 'active'  (line 6), where state = 'activating'"


def test_a_check_that_sleeps_by_itself_does_not_hold_up_an_interrupt() -> None:
    stop = Cancellation()
    release = threading.Event()

    def stubborn(_target: Target) -> None:
        threading.Timer(0.05, stop.cancel, args=("interrupted by SIGINT",)).start()
        release.wait(scaled(60))

    result, _, _ = carry(stubborn, cancellation=stop, budget=1000.0, attempt_timeout=1000.0)
    assert not release.is_set()
    release.set()
    assert "SIGINT" in result.message


def test_one_slow_look_is_still_one_look() -> None:
    result, _, starts = carry(lambda _t: "fine", cost=3.0, window=2.0, budget=60.0)
    assert result.outcome is Outcome.PASSED
    assert len(starts) >= 2
    assert starts[-1] - (starts[0] + 3.0) >= 2.0


def raising(error: BaseException) -> Callable[[Target], None]:
    def function(_target: Target) -> None:
        raise error

    return function


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no words for it")


@pytest.mark.parametrize(
    "function",
    [
        raising(SystemExit(0)),
        raising(TimeoutError("my socket")),
        raising(StopIteration()),
        raising(KeyboardInterrupt()),
        raising(GeneratorExit()),
        lambda _target: Unprintable(),
    ],
)
def test_any_mistake_of_a_check_is_told_as_one(function: Callable[[Target], Any]) -> None:
    result, _, _ = carry(function)
    assert (result.outcome, result.attempts) == (Outcome.ERROR, 1)
    assert "did not return" not in result.message


def test_refused_credentials_are_believed_the_second_time() -> None:
    refused = Unavailable("the login of root was refused", cause=Cause.LOGIN, transport="serial")
    result, _, _ = carry(raising(Unreachable("vm1", [refused])), budget=1000.0)
    assert (result.outcome, result.attempts) == (Outcome.UNREACHABLE, 2)
    assert "refused" in result.message
    other = Unavailable("refused", cause=Cause.REFUSED, transport="ssh")
    result, _, _ = carry(raising(Unreachable("vm1", [other, refused])), budget=20.0)
    assert result.attempts > 2, "the other transport may still come"


@pytest.mark.parametrize(
    "cut",
    [
        Timeout("`uname` had not ended at its deadline", transport="ssh"),
        DeadlineExpired("waiting for the answer to a question that is shared"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_look_that_the_budget_cuts_short_does_not_hide_what_was_seen(cut: Exception) -> None:
    def function(target: Target) -> None:
        if target.deadline.remaining() < 4.5:
            raise cut
        raise NotYet("the kernel is too old")

    result, _, _ = carry(function, cost=0.5, budget=8.0, attempt_timeout=20.0)
    assert result.observations[-1].seen == str(cut), "the last look was cut short"
    assert result.outcome is Outcome.FAILED
    assert result.message.startswith("the kernel is too old (after 8.")
    assert "was cut off" in result.message


class Incomparable:
    def __eq__(self, other: object) -> bool:
        raise ValueError("no")

    __hash__ = None  # type: ignore[assignment]


def test_observations_that_cannot_be_compared_do_not_settle() -> None:
    result, _, _ = carry(lambda _t: Incomparable(), window=1.0)
    assert result.outcome is Outcome.FAILED
    assert result.flaky


# -- passed without having been seen


class bool_:  # noqa: N801 - as numpy calls it
    """A truth value as numpy has it."""

    __module__ = "numpy"

    def __bool__(self) -> bool:
        return False


async def _coroutine() -> None:
    """Work that nobody does."""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda: False, "returned False"),
        (lambda: True, "returned True"),
        (bool_, "returned False"),
        (_coroutine, "returned a coroutine"),
        (lambda: (number for number in (1, 2)), "returned a generator"),
    ],
)
def test_what_looks_like_a_verdict_is_an_error_and_no_pass(value: Callable[[], object], said: str) -> None:
    result, _, _ = carry(lambda _target: value(), budget=60)
    assert (result.outcome, result.attempts) == (Outcome.ERROR, 1)
    assert said in result.message
    assert result.location


@pytest.mark.parametrize("value", [None, 0, 1, "", "False", [], (False,), {"a": True}, 0.0])
def test_an_observation_may_be_anything_else(value: object) -> None:
    result, _, _ = carry(lambda _target: value)
    assert result.outcome is Outcome.PASSED


def test_a_failed_command_that_nobody_looked_at_is_a_warning_of_the_verdict() -> None:
    failed = TrackedResult.of(CommandResult("false", b"", b"no", 1, "ssh", 0, 0, 0))
    result, _, _ = carry(lambda target: str(target.run("false").ok), answer=lambda: failed)
    assert result.warnings == ()

    failed = TrackedResult.of(CommandResult("false", b"", b"no", 1, "ssh", 0, 0, 0))
    result, _, _ = carry(lambda target: target.run("false") is None or None, answer=lambda: failed)
    assert result.outcome is Outcome.PASSED
    assert result.warnings == ("`false` ended with exit status 1: no, and the check did not look at its result",)


def test_only_the_verdicts_own_attempt_is_warned_of() -> None:
    looks = iter(range(3))

    def look(target: Target) -> None:
        target.run("false")
        if next(looks) == 0:
            raise NotYet("no")

    answers = iter([TrackedResult.of(CommandResult(f"false {n}", b"", b"", 1, "ssh", 0, 0, 0)) for n in range(3)])
    result, _, _ = carry(look, answer=lambda: next(answers), budget=60)
    assert (result.attempts, len(result.warnings)) == (2, 1)
    assert result.warnings[0].startswith("`false 1`")
