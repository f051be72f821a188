"""A soak: each target's iterations side by side, all into one record, until its ending comes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from harness.api.check import Check
from harness.deadline import SYSTEM_CLOCK, Cancellation, Deadline
from harness.engine.console import ConsoleTail
from harness.engine.failed import Collect
from harness.engine.findings.watch import Findings
from harness.engine.life import Means
from harness.engine.limits import fit_plan
from harness.engine.outcome import TargetResult
from harness.engine.plan import Plan
from harness.engine.scheduler import own_time
from harness.engine.workers import WorkerPool
from harness.errors import ExitCode, HarnessError
from harness.events import Emitter
from harness.soak.befallen import Befallen
from harness.soak.ending import Ending
from harness.soak.known import KnownFlake
from harness.soak.tally import FLAKY, ITERATION, Tally, counted
from harness.soak.target_soak import OpenSession, Shared, TargetSoak, Terms
from harness.soak.trial import Trial, TrialOutcome
from harness.soak.trials import Finished, Mark, TrialsFile, TrialsReader

MOST_LIFE_WORKERS = 32


class Soak:
    """Carries a soak out. What stands in `trials.jsonl` of finished iterations is counted, and gone on from."""

    def __init__(
        self,
        plan: Plan,
        terms: Mapping[str, Terms],
        ending: Ending,
        *,
        file: TrialsFile,
        had: TrialsReader,
        known: Sequence[KnownFlake],
        open_session: OpenSession,
        events: Emitter,
        console_tail: ConsoleTail,
        findings: Findings,
        befallen: Befallen,
        cancellation: Cancellation,
        repeat: Callable[[str, Check], str],
        redact: Callable[[TargetResult], TargetResult] = lambda result: result,
        retries: int = 1,
        collect: Collect | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_progress` is called on the event loop after each iteration, once it is written down."""
        self._plan = plan
        self._terms = terms
        self._ending = ending
        self._file = file
        self._known = tuple(known)
        self._open_session = open_session
        self._events = events
        self._console_tail = console_tail
        self._findings = findings
        self._befallen = befallen
        self._cancellation = cancellation
        self._repeat = repeat
        self._redact = redact
        self._retries = retries
        self._collect = collect
        self._on_progress = on_progress
        # One call at a time, from the beginning of one iteration's lines to the end of it.
        self._writing = asyncio.Lock()
        self._files = WorkerPool(1)
        self._failed = 0
        self._error: HarnessError | None = None
        self.tally = Tally(target.host.name for target in plan.targets)
        for each in had:  # a resumed soak counts the lines as the one before it counted them when it wrote them
            self._count(each.target, each.trials, each.marks)
        self._finished = had.finished
        self._before = had.spent
        if self._before is None:  # a file of an earlier version: no less than the target that took longest
            self._before = max((target.seconds for target in self.tally.targets.values()), default=0.0)
        self._began = SYSTEM_CLOCK.monotonic()
        self._plans = {each.host.name: each for each in plan.targets}

    @property
    def seconds(self) -> float:
        """How long it has run, in all its parts together, on the monotonic clock."""
        return (self._before or 0.0) + SYSTEM_CLOCK.monotonic() - self._began

    async def run(self) -> None:
        """Carries it out to its end, or until it is cancelled. Raises TrialsError where nothing can be written down."""
        self._began = SYSTEM_CLOCK.monotonic()
        options = self._plan.options
        fit = fit_plan(self._plan, all_open=True)
        count = max(1, min(fit.forks, len(self._plan.targets)))
        means = Means(
            WorkerPool(fit.workers),
            # Lives, what follows them, and their faults: each may hold a thread for a while.
            WorkerPool(min(MOST_LIFE_WORKERS, 4 * count + 2)),
            self._findings,
            self._console_tail,
        )
        shared = Shared(
            options=options,
            means=means,
            ledger=self,
            open_session=self._open_session,
            limit=Deadline.never(cancellation=self._cancellation),
            repeat=self._repeat,
            redact=self._redact,
            befallen=self._befallen,
            forks=asyncio.Semaphore(count),
            retries=self._retries,
            collect=self._collect,
        )
        async with own_time(SYSTEM_CLOCK, self._events):
            await asyncio.gather(*(self._target(each.host.name, shared) for each in self._plan.targets))
        means.shutdown()
        self._files.shutdown()
        if self._error is not None:
            raise self._error

    async def _target(self, name: str, shared: Shared) -> None:
        soak = TargetSoak(self._plans[name], self._terms[name], shared, self._events.bind(target=name))
        try:
            await soak.run(self._finished.get(name, Finished()).following())
        except HarnessError as error:  # what cannot be written down need not be done
            self._error = self._error or error
            self._cancellation.cancel(error.message)

    @property
    def exit_code(self) -> ExitCode:
        """The worst that happened in all its iterations, as the process tells it."""
        bad = self.tally.bad
        if bad[TrialOutcome.INTERNAL]:
            return ExitCode.INTERNAL
        if bad[TrialOutcome.FAILED] or bad[TrialOutcome.ERROR] or bad[TrialOutcome.NOT_RUN]:
            return ExitCode.FAILED
        if bad[TrialOutcome.INFRASTRUCTURE]:
            return ExitCode.INFRASTRUCTURE
        if bad[TrialOutcome.UNREACHABLE]:
            return ExitCode.UNREACHABLE
        return ExitCode.FLAKY if bad[FLAKY] and self._ending.flaky_fails else ExitCode.PASSED

    # -- the ledger ----------------------------------------------------------------------------------------------

    def over(self, iteration: int) -> bool:
        """Whether there is no such iteration any more."""
        ending = self._ending
        return (
            self._cancellation.cancelled
            or (ending.iterations is not None and iteration > ending.iterations)
            or (ending.seconds is not None and self.seconds >= ending.seconds)
            or ending.enough_failures(self._failed)
        )

    async def began(self, iteration: int, target: str, now: float) -> None:
        """An iteration begins."""
        spent = self.seconds
        await self._write_apart(lambda: self._file.began(iteration, target, now, spent=spent))

    async def finished(
        self, iteration: int, target: str, trials: Sequence[Trial], marks: Sequence[Mark], events: Emitter
    ) -> Counter[str]:
        """Writes an iteration down, then counts it, then tells it. Returns what was bad in it."""
        trials = [self._with_tracker(trial) for trial in trials]
        whole = next(mark for mark in marks if mark.kind == ITERATION)
        ended = whole.started if whole.ended is None else whole.ended
        lasted = max(0.0, ended - whole.started)
        spent = self.seconds
        await self._write_apart(
            lambda: self._file.write(iteration, target, trials, marks, ended, lasted=lasted, spent=spent)
        )
        bad = self._count(target, trials, marks)
        for trial in trials:
            known = self._known_as(trial)
            if known is not None and known.warn and (trial.flaky or trial.outcome.value in _BAD):
                words = f"{target}: {trial.label} is a known flake, see {known.tracker}: {trial.message}"
                events.emit("flake.known", words, level="warning", tracker=known.tracker)
        counts = Counter(trial.outcome.value for trial in counted(trials))
        failed = self._ending.failed(bad)
        told = ", ".join(f"{count} {word}" for word, count in counts.items())
        flaky = sum(trial.flaky for trial in trials)
        events.emit(
            "iteration.end",
            f"{target}: iteration {iteration}: {told}{f', {flaky} flaky' if flaky else ''}",
            level="error" if failed else "warning" if bad else "info",
            duration=lasted,
            counts=dict(counts),
            flaky_count=flaky,
            bad=dict(bad),
        )
        self._on_progress()
        return bad

    async def _write_apart(self, write: Callable[[], None]) -> None:
        """Write to the soak's files on a thread: a disk may take seconds, and the event loop serves every check."""
        async with self._writing:
            await self._files.run(write)

    # -- counting ------------------------------------------------------------------------------------------------

    def _count(self, target: str, trials: Sequence[Trial], marks: Sequence[Mark]) -> Counter[str]:
        bad = self.tally.add(target, [(trial, self._known_as(trial) is not None) for trial in trials], marks)
        self._failed += self._ending.failed(bad)
        return bad

    def _with_tracker(self, trial: Trial) -> Trial:
        """A trial that is a known flake says which."""
        known = self._known_as(trial) if trial.flaky or trial.outcome in _BAD else None
        return trial if known is None else replace(trial, known=known.tracker)

    def _known_as(self, trial: Trial) -> KnownFlake | None:
        day = date.fromtimestamp(trial.started)
        return next(
            (each for each in self._known if each.is_of(trial.target, trial.label, trial.check_id, day)), None
        )  # fmt: skip


_BAD = frozenset(TrialOutcome) - {TrialOutcome.PASSED, TrialOutcome.SKIPPED}
