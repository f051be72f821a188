"""A check's budget counts the time in which its target was looked at, and nothing else: on a fake clock, where every
wait of the harness takes as long as it likes, and in a real run that is disturbed."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import re
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.api.check import Check, NotYet, Settings
from harness.clock import SLACK, TICK, SystemClock
from harness.deadline import Allowance, Cancellation, Deadline
from harness.engine import limits
from harness.engine.attempts import CheckRun
from harness.engine.limits import Fit, Limits, Need, fit
from harness.engine.outcome import CheckResult, Outcome
from harness.engine.plan import Options
from harness.engine.retry import Retry
from harness.engine.time_account import LIKE_BEFORE_SECONDS
from harness.engine.waiting import FirstLook, Signals, Waiter
from harness.engine.workers import WorkerPool
from harness.errors import ExitCode, InfrastructureError, MachineError, Source
from harness.events import Emitter, NullEmitter
from harness.target.target import Target
from harness.transport.contract import Result
from harness.transport.errors import Cause, Timeout, TransportLost
from tests.engine.test_scheduler import Trial, a_check, fine
from tests.patience import scaled


class World:
    """Fake time. `runs` is time in which the process works; `stops` is time in which it does not."""

    def __init__(self) -> None:
        self.real = 1000.0
        self.clock = SystemClock(lambda: self.real, lambda: self.real, lambda: 0.0)

    def runs(self, seconds: float) -> None:
        end = self.real + seconds
        while self.real < end:
            self.real = min(end, self.real + max(TICK, seconds / 50))
            self.clock.tick()

    def stops(self, seconds: float) -> None:
        self.real += seconds
        self.clock.tick()


class Points:
    """The delays of one test: each point at which the harness can wait takes the next one."""

    def __init__(self, world: World, delays: Iterator[tuple[float, float]]) -> None:
        self._world = world
        self._delays = delays

    def wait(self) -> None:
        """Wait by working on something else for a while, then by being stopped for a while."""
        runs, stops = next(self._delays, (0.0, 0.0))
        self._world.runs(runs)
        if stops:
            self._world.stops(stops)


class SlowPool:
    """Threads that are had late, and whose answers are heard late."""

    def __init__(self, points: Points) -> None:
        self.free = asyncio.Semaphore(1)
        self._points = points

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._points.wait()
        future.set_result(function(*args, **kwargs))
        self._points.wait()
        return future

    def replace(self) -> None:
        raise AssertionError("every call returns")


def carry(
    look: Callable[[int, Target], object],
    delays: list[tuple[float, float]],
    *,
    given: Settings,
    limit: float = float("inf"),
    cost: float = 0.2,
    still: Callable[[], int] | None = None,
) -> CheckResult:
    """Carry one check out; every attempt connects, waits for its turn, has an event written and looks for `cost`."""
    world = World()
    points = Points(world, iter(delays))
    clock = world.clock
    looks = iter(range(1, 1_000_000))

    def function(target: Target) -> object:
        with target.deadline.apart("connecting", 30.0):
            points.wait()
        with target.deadline.apart("turn", 600.0) as until, until.apart("queue", 600.0):
            points.wait()
        world.runs(cost / 2)
        with clock.held():  # an event is written: a slow disk is time in which nothing of ours works
            runs, stops = next(points._delays, (0.0, 0.0))
            world.real += runs + stops
        clock.tick()
        world.runs(cost / 2)
        target.deadline.check("looking")
        return look(next(looks), target)

    def make_target(deadline: Deadline, events: Emitter, _on_result: Callable[[Result], None]) -> Target:
        return Target("vm1", (), {}, None, deadline, events)  # type: ignore[arg-type]

    class SlowWaits(Waiter):
        async def pause(self, seconds: float, shortest: float = 0.0) -> None:
            del shortest
            world.runs(seconds)
            points.wait()

    async def main() -> CheckResult:
        stop = Cancellation()
        return await CheckRun(
            Check("c", "m", "m.py", function, Source(__file__, 1)),
            given,
            target_name="vm1",
            make_target=make_target,
            pool=SlowPool(points),
            waits=SlowWaits(stop, Signals(), clock),
            events=NullEmitter(),
            limit=Deadline(clock.monotonic() + limit, clock, stop),
            jitter=lambda _attempt: 1.0,
            retry=Retry(),
            first_look=FirstLook(),
            still=still,
        ).run()

    with clock.watched(by_thread=False):
        return asyncio.run(main())


DELAY = st.tuples(st.sampled_from([0.0, 0.0, 0.3, 40.0]), st.sampled_from([0.0, 0.0, 0.0, 30.0, 4000.0]))


@given(delays=st.lists(DELAY, max_size=40), passes_at=st.integers(1, 5), window=st.sampled_from([0.0, 2.0]))
@settings(deadline=None, max_examples=120)
def test_no_delay_anywhere_changes_the_verdict_of_a_healthy_target(
    delays: list[tuple[float, float]], passes_at: int, window: float
) -> None:
    def healthy(number: int, _target: Target) -> str:
        if number < passes_at:
            raise NotYet("starting")
        return "up"

    # 5 attempts and their pauses take 5.1 s; a stop is noticed SLACK after it has begun, and costs that.
    given_settings = Settings(budget=8.0 + len(delays) * SLACK, attempt_timeout=5.0 + 3 * SLACK, window=window)
    quiet = carry(healthy, [], given=given_settings)
    result = carry(healthy, delays, given=given_settings)
    assert (quiet.outcome, quiet.flaky) == (Outcome.PASSED, False)
    assert (result.outcome, result.flaky) == (Outcome.PASSED, False), result.message
    if not window:  # what has waited elsewhere in between has held for longer
        assert result.attempts == quiet.attempts == passes_at
        assert result.duration <= quiet.duration + 2 * len(delays) * SLACK
    if any(runs > 1 or stops > 1 for runs, stops in delays[:5]):
        assert sum(result.delays.values()) > 1, "it is told"


@given(delays=st.lists(DELAY, max_size=30))
@settings(deadline=None, max_examples=60)
def test_no_delay_keeps_a_target_that_is_not_healthy_from_failing(delays: list[tuple[float, float]]) -> None:
    def ill(_number: int, _target: Target) -> None:
        raise NotYet("down")

    result = carry(ill, delays, given=Settings(budget=6.0))
    assert result.outcome is Outcome.FAILED
    assert result.message.startswith("down (after ")
    assert 5.9 <= result.duration <= 6.0 + 0.2 + 5 * SLACK


@pytest.mark.parametrize("up_at", [3.0, 7.0, 9.9])
def test_the_end_of_a_budget_is_looked_at(up_at: float) -> None:
    began: list[float] = []

    def look(_number: int, target: Target) -> str:
        now = target.deadline.clock.monotonic()
        began.append(now)
        if now - began[0] < up_at:
            raise NotYet("not up")
        return "up"

    result = carry(look, [], given=Settings(budget=10.0, interval=3.0, interval_max=20.0), cost=0.1)
    assert result.outcome is Outcome.PASSED
    result = carry(lambda _number, _target: fail("no"), [], given=Settings(budget=6.0, interval=4.0), cost=0.1)
    assert result.attempts == 3, "at 0, at 4.1 and at the end"
    assert "(after 6.1 s and 3 attempts)" in result.message


def fail(why: str) -> None:
    raise AssertionError(why)


def test_a_budget_of_nothing_is_one_attempt() -> None:
    left: list[float] = []

    def look(_number: int, target: Target) -> str:
        left.append(target.deadline.remaining())
        return "up"

    assert carry(look, [], given=Settings(budget=0.0)).outcome is Outcome.PASSED
    assert left[0] > 15, "with the whole time of an attempt"
    result = carry(lambda _number, _target: fail("no"), [], given=Settings(budget=0.0))
    assert (result.outcome, result.attempts) == (Outcome.FAILED, 1)


@pytest.mark.parametrize(
    "error",
    [
        TransportLost("gone", cause=Cause.LOST, transport="ssh"),
        Timeout("`true` had not ended at its deadline", transport="ssh"),
    ],
)
def test_what_was_observed_outweighs_an_attempt_that_could_not_be_made(error: Exception) -> None:
    def look(number: int, target: Target) -> None:
        if number > 5:
            if isinstance(error, Timeout) and target.deadline.remaining() > 4:
                fail("the port is closed")
            raise error
        fail("the port is closed")

    result = carry(look, [], given=Settings(budget=5.0, interval_max=1.0))
    assert result.outcome is Outcome.FAILED
    assert result.message.startswith("the port is closed (after ")
    assert f"attempt {result.attempts}" in result.message


def test_an_attempt_that_begins_in_time_is_not_cut_off_for_taking_as_long_as_those_before() -> None:
    def look(number: int, _target: Target) -> str:
        if number < 3:
            fail("not yet")
        return "up"

    result = carry(look, [], given=Settings(budget=6.0, interval=0.5), cost=2.0)
    assert result.outcome is Outcome.PASSED
    assert result.duration > 6.0
    hangs = carry(lambda _number, _target: "up", [], given=Settings(budget=2.0), cost=60.0)
    assert hangs.outcome is Outcome.FAILED
    assert LIKE_BEFORE_SECONDS < 5


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        MemoryError(),
        RuntimeError("can't start new thread"),
        InfrastructureError("other commands held the console"),
    ],
)
def test_what_this_machine_is_short_of_is_no_verdict(error: Exception) -> None:
    def short(_number: int, _target: Target) -> None:
        raise error

    result = carry(short, [], given=Settings(budget=2.0))
    assert result.outcome is Outcome.INFRASTRUCTURE
    assert result.duration == 0
    assert result.delays["shortage"] >= 59

    def for_a_while(number: int, _target: Target) -> str:
        if number < 20:
            raise error
        return "up"

    result = carry(for_a_while, [], given=Settings(budget=2.0))
    assert (result.outcome, result.attempts) == (Outcome.PASSED, 20)


def test_a_mistake_with_files_of_the_checks_own_stays_a_mistake() -> None:
    result = carry(lambda _number, _target: Path("/no/such/file").read_text(), [], given=Settings(budget=2.0))
    assert result.outcome is Outcome.ERROR


def test_a_failure_that_stays_the_same_may_end_a_check_early() -> None:
    ill = Settings(budget=60.0)
    whole = carry(lambda _number, _target: fail("no"), [], given=ill)
    assert whole.duration >= 60, "not unless it was asked for"
    early = carry(lambda _number, _target: fail("no"), [], given=ill, still=lambda: 7)
    assert early.outcome is Outcome.FAILED
    assert 10 <= early.duration < 30
    assert "--fail-fast-unchanged" in early.message
    rings = iter(range(1_000_000))
    moving = carry(lambda _number, _target: fail("no"), [], given=ill, still=lambda: next(rings))
    assert moving.duration >= 60, "the target rings all the time"
    changing = carry(lambda number, _target: fail(f"{number} of 9"), [], given=ill, still=lambda: 7)
    assert changing.duration >= 60


# -- deadlines and the clock -------------------------------------------------------------------------------------------


def test_time_apart_extends_a_deadline_but_not_beyond_the_hard_end() -> None:
    world = World()
    clock = world.clock
    deadline = Deadline(clock.monotonic() + 5, clock, allowance=Allowance(clock, clock.monotonic() + 60))
    nested = deadline.clamp(2)
    with deadline.apart("connecting", 30) as until:
        assert until.remaining() == pytest.approx(30)
        world.runs(20)
        assert deadline.remaining() == pytest.approx(5)
    assert nested.remaining() == pytest.approx(2)
    assert deadline.allowance is not None
    assert deadline.allowance.causes == {"connecting": pytest.approx(20)}
    with contextlib.suppress(ConnectionError), deadline.apart("connecting", 30):
        world.runs(3)
        raise ConnectionError  # what fails was the target's doing
    assert deadline.remaining() == pytest.approx(2)
    with deadline.apart("turn", 600) as until:
        assert until.remaining() == pytest.approx(60 - 23)
        world.runs(100)
    assert deadline.expired
    assert Deadline(clock.monotonic() + 5, clock).remaining() == 5, "without an allowance nothing is apart"


def test_the_clock_stands_still_while_the_process_does_and_says_why() -> None:
    real, boot, cpu = 100.0, 100.0, 0.0
    clock = SystemClock(lambda: real, lambda: boot, lambda: cpu)
    with clock.watched(by_thread=False):
        clock.tick()
        before = clock.monotonic()
        real, boot = real + 30, boot + 30
        assert clock.monotonic() - before <= SLACK + 1e-9, "whoever looks first, before the watchdog does"
        clock.tick()
        real, boot, cpu = real + 10, boot + 10, cpu + 9.5
        clock.tick()
        boot += 3600  # CLOCK_MONOTONIC does not count a suspended machine
        clock.tick()
        with clock.held():
            real, boot = real + 12, boot + 12
            assert clock.monotonic() - before < 0.5
            clock.tick()  # the watchdog runs meanwhile: the cause is the record all the same
        assert clock.monotonic() - before < 0.5
        real += 0.02
        clock.tick()
        real += 0.02
        assert clock.monotonic() - before > 0.02, "it goes on"
    stalls = [(stall.cause.value, round(stall.seconds)) for stall in clock.take_stalls()]
    assert stalls == [("stopped", 30), ("interpreter", 10), ("suspended", 3600), ("record", 12)]
    assert round(clock.lost_seconds) == 52
    now = clock.monotonic()
    real += 100
    assert clock.monotonic() - now == pytest.approx(100), "unwatched it is the machine's own"


def brief_call(number: int) -> int:
    time.sleep(0.01)
    return number


# -- limits ------------------------------------------------------------------------------------------------------------

SSH = Need(descriptors=3, threads=1, memory=1 << 20)


def test_what_is_done_at_once_is_fitted_to_what_there_is() -> None:
    many = [SSH] * 2000
    assert fit(Limits(), many, 2000, 4, 512) == Fit(2000, 512)
    assert fit(Limits(), [SSH], 50, 4, 512) == Fit(50, 6)
    few = fit(Limits(descriptors=1000), many, 2000, 4, 512)
    assert few.forks == 333
    assert "1000 file descriptors are left and a target needs 3" in few.told
    few = fit(Limits(threads=60), many, 50, 4, 512)
    assert (few.forks, few.workers) == (30, 30)
    few = fit(Limits(memory=64 << 20, stack=8 << 20), many, 50, 4, 512)
    assert few.forks == 3
    assert few.workers * (8 << 20) + few.forks * (9 << 20) <= 64 << 20
    assert fit(Limits(descriptors=30), [SSH] * 5, 50, 4, 512).told == ""
    with pytest.raises(InfrastructureError, match="2 file descriptors are left and a target needs 3") as refused:
        fit(Limits(descriptors=2), many, 5, 4, 512)
    assert refused.value.exit_code is ExitCode.INFRASTRUCTURE


@pytest.mark.parametrize("bound", ["address space", "control group"])
def test_memory_that_is_not_enough_is_fitted_or_refused_with_the_figure(
    bound: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, used = 8 << 20, int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(limits, "_free_threads", lambda: None)

    def leave(size: int) -> Limits:
        most = size + limits.RESERVED_MEMORY
        given = {resource.RLIMIT_STACK: stack, resource.RLIMIT_NOFILE: unlimited}
        if bound == "address space":
            given[resource.RLIMIT_AS] = used + most
        else:
            (tmp_path / "memory.max").write_text(f"{most + (300 << 20)}\n")
            (tmp_path / "memory.current").write_text(f"{400 << 20}\n")
            (tmp_path / "memory.stat").write_text(f"anon 5\nactive_file {60 << 20}\ninactive_file {40 << 20}\n")
            monkeypatch.setattr(limits, "_control_groups", lambda: [tmp_path])
        monkeypatch.setattr(resource, "getrlimit", lambda which: (given.get(which, unlimited),) * 2)
        return limits.limits_now()

    few = fit(leave(40 << 20), [SSH] * 100, 100, 4, 512)
    assert 1 <= few.forks < 40
    assert re.search(r"of memory are left and a target needs \d+", few.told)
    with pytest.raises(InfrastructureError, match=r"no room for one target: 0 MiB of memory are left"):
        fit(leave(1 << 19), [SSH] * 100, 100, 4, 512)


def test_the_soft_limit_of_descriptors_is_raised_to_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    had: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda _which: (1024, 4096))
    monkeypatch.setattr("resource.setrlimit", lambda _which, pair: had.append(pair))
    limits.raise_descriptors()
    assert had == [(4096, 4096)]


def test_a_pool_goes_on_with_the_threads_that_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    started: list[int] = []
    start = threading.Thread.start
    most = 1

    def few(thread: threading.Thread) -> None:
        if len(started) >= most:
            raise RuntimeError("can't start new thread")
        started.append(1)
        start(thread)

    async def main() -> list[int]:
        pool = WorkerPool(8)
        return list(await asyncio.gather(*(pool.run(brief_call, number) for number in range(20))))

    monkeypatch.setattr(threading.Thread, "start", few)
    assert asyncio.run(main()) == list(range(20))
    most = 0
    with pytest.raises(InfrastructureError, match="no worker thread can be started"):
        asyncio.run(main())


# -- whole runs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def brief(name: str, function: Callable[[Target], Any]) -> Check:
    """A check with a second for its attempts, which a run that is disturbed for longer does not take from it."""
    return replace(a_check(name, function), settings=Settings(budget=1.0, attempt_timeout=1.0, interval=0.01))


def looks(target: Target) -> str:
    target.deadline.sleep(0.3)
    target.deadline.check("looking")
    return "fine"


def test_one_slow_write_of_an_event_is_charged_to_nobody(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    write, slow = os.write, [True]

    def stalls(fd: int, data: bytes) -> int:
        if slow and b'"attempt.end"' in data:
            slow.clear()
            time.sleep(2.5)
        return write(fd, data)

    monkeypatch.setattr("harness.events.writer.os.write", stalls)
    monkeypatch.setattr("harness.engine.attempts.GRACE", 0.1)
    names = [f"c{number}" for number in range(6)]
    result = trial.carry("a,b,", *(brief(name, looks) for name in names), options=Options(settle=False, at_once=6))
    assert result.counts["passed"] == 12, [check.message for check in result.checks]
    assert result.stalls["record"] > 2
    assert any(check.delays.get("record", 0) > 2 for check in result.checks)
    assert '"run.stalled"' in trial.log.path.read_text()


def test_a_check_that_holds_the_interpreter_is_charged_to_nobody(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    def holds(_target: Target) -> str:
        ctypes.PyDLL(None).usleep(2_500_000)  # as a regular expression that backtracks: no other thread runs
        return "held"

    monkeypatch.setattr("harness.engine.attempts.GRACE", 0.1)
    checks = [brief(f"c{number}", looks) for number in range(4)]
    result = trial.carry("a,b,", *checks, brief("holds", holds), options=Options(settle=False, at_once=5))
    assert result.counts["passed"] == 10, [check.message for check in result.checks]
    assert sum(result.stalls.values()) > 2


def test_an_endless_loop_of_python_in_one_check_changes_no_verdict_of_others(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[bool] = []
    looked: Counter[str] = Counter()

    def loops(target: Target) -> str:
        while target.name == "a" and not ends:  # it pays no heed to its deadline
            pass
        return "fine"

    def third(target: Target) -> str:
        target.deadline.sleep(0.05)
        target.deadline.check("looking")
        looked[target.name] += 1
        assert looked[target.name] % 3 == 0
        return "fine"

    monkeypatch.setattr("harness.engine.attempts.GRACE", 1.0)
    monkeypatch.setattr("harness.engine.attempts.STARVED_PATIENCE", 0.0)
    checks = [replace(brief("loops", loops), settings=Settings(budget=0.5, attempt_timeout=0.5))]
    checks += [a_check("third", third)]
    try:
        result = trial.carry("a,b,c,", *checks, options=Options(settle=False, at_once=2))
    finally:
        ends.append(True)
    verdicts = {(check.target, check.check): check.outcome for check in result.checks}
    assert verdicts.pop(("a", "loops")) is Outcome.ERROR
    assert set(verdicts.values()) == {Outcome.PASSED}, [check.message for check in result.checks]


@pytest.mark.parametrize(("is_starved", "outcome"), [(True, Outcome.PASSED), (False, Outcome.ERROR)])
def test_a_call_that_is_late_for_want_of_a_cpu_is_waited_for(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, is_starved: bool, outcome: Outcome
) -> None:
    class Probe:
        def __init__(self, thread: int) -> None:
            assert thread in {each.native_id for each in threading.enumerate()}
            probed.append(thread)
            if is_starved and len(probed) >= 3:
                go.set()

        @property
        def is_starved(self) -> bool:
            return is_starved

    def late(_target: Target) -> str:
        go.wait(scaled(60))
        return "fine"

    go, probed = threading.Event(), list[int]()
    monkeypatch.setattr("harness.engine.attempts.StarvationProbe", Probe)
    monkeypatch.setattr("harness.engine.attempts.GRACE", 0.05)
    check = replace(brief("late", late), settings=Settings(budget=0.1, attempt_timeout=0.1))
    try:
        result = trial.carry("a,", check, options=Options(settle=False))
    finally:
        go.set()
    assert result.checks[0].outcome is outcome, result.checks[0].message
    assert len(probed) >= 3 if is_starved else len(probed) == 1


def test_the_deadline_of_the_run_says_so_and_nothing_is_unreachable(trial: Trial) -> None:
    def slow(target: Target) -> None:
        target.deadline.sleep(60)
        target.deadline.check("looking")

    started: list[Deadline] = []
    hosts = "".join(f"h{number}," for number in range(200))
    began = time.monotonic()
    result = trial.carry(
        hosts, a_check("one", slow), start=started.append, options=Options(settle=False, forks=2, deadline=0.3)
    )
    assert time.monotonic() - began < 30
    assert result.counts["not_run"] == 200
    assert {check.message for check in result.checks[2:]} == {"not run: the run's deadline passed"}
    assert len(started) == 2, "nothing is begun after it"
    assert result.exit_code is ExitCode.FAILED


def test_infrastructure_has_its_own_outcome_and_exit_code(trial: Trial) -> None:
    def full(_deadline: Deadline) -> None:
        raise MachineError("qemu-img failed; its own words:\nNo space left on device")

    result = trial.carry("a,", a_check("one", fine), start=full)
    assert result.checks[0].outcome is Outcome.INFRASTRUCTURE
    assert "disk of this machine is full" in result.targets[0].infrastructure
    assert not result.targets[0].unreachable
    assert result.exit_code is ExitCode.INFRASTRUCTURE


def test_what_carries_a_target_and_has_failed_is_blamed(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(_target: Target) -> None:
        monkeypatch.setattr("tests.engine.test_scheduler.FakeSession.broken", "QEMU has ended by itself", raising=False)
        raise NotYet("no answer")

    quick = replace(a_check("one", bad), settings=Settings(budget=0.0))
    result = trial.carry("a,", quick, a_check("two", fine), options=Options(settle=False, at_once=1))
    assert [check.outcome.value for check in result.checks] == ["infrastructure", "passed"]
    assert result.checks[0].message.startswith("QEMU has ended by itself; no answer")
    assert result.exit_code is ExitCode.INFRASTRUCTURE
