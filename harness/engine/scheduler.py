"""Carries a plan out: targets side by side up to `--forks`, each through its own life."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator

from harness.api.check import Check
from harness.deadline import SYSTEM_CLOCK, Cancellation, Clock, Deadline
from harness.engine.console import ConsoleTail
from harness.engine.failed import Collect
from harness.engine.findings.watch import Findings
from harness.engine.life import Means, Session
from harness.engine.outcome import RunResult, TargetResult
from harness.engine.plan import Plan, TargetPlan, scale_for
from harness.engine.target_run import Failures, TargetRun
from harness.engine.workers import WorkerPool
from harness.events import Emitter

MOST_WORKERS = 32
"""Threads for attempts. More targets than that wait their turn: an attempt is short, a wait between two holds none."""
MOST_LIVES = 16
"""Threads for starting and stopping machines."""

OBJECTS_BETWEEN_COLLECTIONS = 100_000

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
    ) -> None:
        """`collect` is given each target that failed, once, before its machine is ended."""
        self._plan = plan
        self._run = run
        self._open_session = open_session
        self._events = events
        self._cancellation = cancellation
        self._clock = clock
        self._repeat = repeat
        self._collect = collect
        self._failures = Failures(plan.options.max_fail)
        forks = max(1, plan.options.forks)
        self._forks = asyncio.Semaphore(forks)
        self._means = Means(
            WorkerPool(min(MOST_WORKERS, forks * (plan.options.at_once or 4) + 2)),
            WorkerPool(min(MOST_LIVES, forks)),
            findings or Findings(),
            console_tail,
        )

    async def run(self) -> RunResult:
        """Carries the plan out to its end."""
        started, began = self._clock.time(), self._clock.monotonic()
        seconds = self._plan.options.deadline
        limit = Deadline(float("inf") if seconds is None else began + seconds, self._clock, self._cancellation)
        with _rare_collections():
            targets = await asyncio.gather(*(self._target(each, limit) for each in self._plan.targets))
        self._means.shutdown()
        return RunResult(
            run=self._run,
            started=started,
            duration=self._clock.monotonic() - began,
            targets=tuple(targets),
            interrupted=self._cancellation.cancelled,
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
