"""Carries a plan out: targets side by side up to `--forks`, each through its own life."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator

from harness.api.check import Check
from harness.clock import SYSTEM_CLOCK, Clock, Lost, SystemClock
from harness.deadline import Cancellation, Deadline
from harness.engine.attempts import WORTH_TELLING
from harness.engine.console import ConsoleTail
from harness.engine.failed import Collect
from harness.engine.findings.watch import Findings
from harness.engine.life import Means, Session
from harness.engine.limits import Fit, fit_plan
from harness.engine.outcome import RunResult, TargetResult
from harness.engine.plan import Plan, TargetPlan, scale_for
from harness.engine.target_run import Failures, TargetRun
from harness.engine.workers import WorkerPool
from harness.events import Emitter

MOST_LIVES = 16
"""Threads for starting and stopping machines."""

OBJECTS_BETWEEN_COLLECTIONS = 100_000
SWITCH_INTERVAL = 0.001
"""Seconds that a thread which computes keeps the interpreter from one that was waiting for input or output. Python's
own 5 ms are added to each wait of each other thread while one check computes."""
STALLS_EVERY = 0.5
"""Seconds between two looks for stalls that are to be reported."""

OpenSession = Callable[[TargetPlan, Emitter, float], Session]
"""Makes a target's session; the last argument is the factor by which its times are stretched."""


class Scheduler:
    """Runs one plan. `cancellation` ends every wait; what was learnt until then is in the result."""

    def __init__(
        self,
        plan: Plan,
        *,
        run: str,
        open_session: OpenSession,
        events: Emitter,
        console_tail: ConsoleTail,
        cancellation: Cancellation,
        findings: Findings | None = None,
        clock: Clock = SYSTEM_CLOCK,
        repeat: Callable[[str, Check], str] = lambda _target, _check: "",
        collect: Collect | None = None,
        fit: Fit | None = None,
    ) -> None:
        """`collect` is given each target that failed, once, before its machine is ended. `fit` is how much this machine
        leaves room for; without it that is found out here. Raises InfrastructureError where that is nothing."""
        self._plan = plan
        self._run = run
        self._open_session = open_session
        self._events = events
        self._cancellation = cancellation
        self._clock = clock
        self._repeat = repeat
        self._collect = collect
        self._failures = Failures(plan.options.max_fail)
        self._fit = fit or fit_plan(plan)
        self._forks = asyncio.Semaphore(self._fit.forks)
        self._means = Means(
            WorkerPool(self._fit.workers),
            WorkerPool(min(MOST_LIVES, self._fit.forks)),
            findings or Findings(),
            console_tail,
        )

    async def run(self) -> RunResult:
        """Carries the plan out to its end."""
        started, began = self._clock.time(), self._clock.monotonic()
        seconds = self._plan.options.deadline
        limit = Deadline(float("inf") if seconds is None else began + seconds, self._clock, self._cancellation)
        if self._fit.told:
            self._events.emit("run.limits", self._fit.told, level="warning")
        lost = self._clock.lost if isinstance(self._clock, SystemClock) else {}
        async with own_time(self._clock, self._events):
            targets = await asyncio.gather(*(self._target(each, limit) for each in self._plan.targets))
        self._means.shutdown()
        return RunResult(
            run=self._run,
            started=started,
            duration=self._clock.monotonic() - began,
            targets=tuple(targets),
            interrupted=self._cancellation.cancelled,
            stalls=_since(lost, self._clock.lost) if isinstance(self._clock, SystemClock) else {},
        )

    async def _target(self, plan: TargetPlan, limit: Deadline) -> TargetResult:
        async with self._forks:
            events = self._events.bind(target=plan.host.name)
            return await TargetRun(
                plan,
                self._plan.options,
                self._open_session(plan, events, scale_for(plan.host, self._plan.options)),
                means=self._means,
                failures=self._failures,
                events=events,
                limit=limit,
                repeat=self._repeat,
                collect=self._collect,
            ).carry()


@contextlib.asynccontextmanager
async def own_time(clock: Clock, events: Emitter) -> AsyncIterator[None]:
    """Keep the time that this process loses for itself apart meanwhile, and report what is long."""
    if not isinstance(clock, SystemClock):
        with _rare_collections(), _quick_switches():
            yield
        return
    with _rare_collections(), _quick_switches(), clock.watched():
        reporter = asyncio.create_task(_report_stalls(clock, events))
        try:
            yield
        finally:
            reporter.cancel()
            _tell_stalls(clock, events)


async def _report_stalls(clock: SystemClock, events: Emitter) -> None:
    while True:
        await asyncio.sleep(STALLS_EVERY)
        _tell_stalls(clock, events)


def _tell_stalls(clock: SystemClock, events: Emitter) -> None:
    for stall in clock.take_stalls():
        events.emit(
            "run.stalled",
            f"harness itself could not work for {stall.seconds:.1f} s: {_WHY[stall.cause]}; no check is charged for it",
            level="warning",
            cause=stall.cause.value,
            duration=stall.seconds,
        )


_WHY = {
    Lost.STOPPED: "the process was stopped, or got no CPU",
    Lost.SUSPENDED: "the machine was suspended",
    Lost.INTERPRETER: "a check, or a library, held the Python interpreter",
    Lost.COLLECTOR: "the garbage collector ran",
    Lost.RECORD: "an event could not be written or shown at once (a slow disk, a stopped terminal)",
}


def _since(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """What was lost in between, in seconds by cause, where it is worth telling."""
    found = {cause: round(seconds - before.get(cause, 0.0), 3) for cause, seconds in now.items()}
    return {cause: seconds for cause, seconds in found.items() if seconds >= WORTH_TELLING}


@contextlib.contextmanager
def _quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_INTERVAL))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Thousands of parked checks are long-lived objects that the garbage collector would go through again and again
    for nothing: a third of an attempt's cost."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
