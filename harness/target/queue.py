"""What a queued job waits for: the way from it to what holds it back, through the ordering and through processes that
wait for another job. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from harness.target.jobs import Job
from harness.target.look import Look
from harness.target.processes import Process, Waiter, waiters
from harness.target.units import UnitState


class Knot(StrEnum):
    """How a way can end in itself."""

    CYCLE = "cycle"
    """Each is ordered after the next."""
    DEADLOCK = "deadlock"
    """One of them runs, and its own process waits for a job that waits for it."""


@dataclass(frozen=True, slots=True)
class Step:
    """From a job to one that must end first: by the ordering, or because a process of the first (`waiter`) waits."""

    job: Job
    to: Job
    waiter: Waiter | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """From a job to the root of its waiting. `knot` is set where the last step leads back to a job on the way.

    `certain` means that every process in it does nothing but wait, `hopeless` that no time-out ends it either.
    """

    start: Job
    steps: tuple[Step, ...] = ()
    knot: Knot | None = None
    certain: bool = True
    hopeless: bool = False

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs on the way, each once."""
        return tuple(dict.fromkeys((self.start, *(step.to for step in self.steps))))

    @property
    def root(self) -> Job:
        return self.steps[-1].to if self.steps else self.start


class Queue:
    """The job queue of one look as a graph."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._by_id: Mapping[int, Job] = {job.id: job for job in look.jobs}
        self._steps: dict[int, tuple[Step, ...]] = {job.id: tuple(self._steps_of(job)) for job in look.jobs}
        self._before: dict[int, set[int]] = {job.id: set() for job in look.jobs}
        for steps in self._steps.values():
            for step in steps:
                self._before[step.to.id].add(step.job.id)
        self._stuck = self._leading_to_knots()

    def steps(self, job: Job) -> tuple[Step, ...]:
        """What a job waits for directly."""
        return self._steps[job.id]

    def way(self, start: Job) -> Way:
        """The shortest way to a knot, where there is one: who must pass it waits in vain whatever else he waits for.
        Else the shortest way to a job that waits for no other."""
        for job, steps in self._ways(start):
            if start.id in self._stuck:
                if circle := self._circle(job):
                    return self._knotted(start, (*steps, *circle), circle)
            elif not self._steps[job.id]:
                return Way(start, steps)
        return Way(start)

    @property
    def root(self) -> Job | None:
        """What holds the queue back: a job in a knot, else the running job that came first; None when it is empty."""
        knotted = [job for job in self._look.jobs if job.id in self._stuck and self._circle(job)]
        hopeless = [job for job in knotted if self.way(job).hopeless]
        running = [job for job in self._look.jobs if job.running]
        choice = hopeless or knotted or running or self._look.jobs
        return min(choice, key=lambda job: (not job.running, job.id), default=None)

    def behind(self, job: Job) -> tuple[Job, ...]:
        """The jobs that wait for this one, directly or by others, in the queue's order."""
        found: set[int] = set()
        todo = [job.id]
        while todo:
            for other in self._before[todo.pop()] - found:
                found.add(other)
                todo.append(other)
        return tuple(other for other in self._look.jobs if other.id in found and other.id != job.id)

    def holders(self, job: Job) -> tuple[Job, ...]:
        """The jobs that must end before this one may begin: those that run first."""
        found = (self._by_id[each] for each in job.after if each in self._by_id)
        return tuple(sorted(found, key=lambda each: not each.running))

    def process(self, job: Job) -> Process | None:
        """The process that a running job waits for, where it has one."""
        state = self._look.states.get(job.unit)
        pid = (state.control_pid or state.main_pid) if state and job.running else 0
        return next((process for process in self._look.processes if process.pid == pid), None)

    def _steps_of(self, job: Job) -> Iterator[Step]:
        if not job.running:
            for holder in self.holders(job):
                yield Step(job, holder)
            return
        process = self.process(job)
        for waiter in waiters(self._look.processes, process.pid) if process else ():
            if waiter.request.user is not self._look.of_user:
                continue  # it waits for another manager's queue
            if waiter.request.boot:
                yield Step(job, job, waiter)
            for other in self._look.jobs:
                state = self._look.states.get(other.unit)
                if waiter.request.wants((other.unit, *(state.names if state else ()))):
                    yield Step(job, other, waiter)

    def _leading_to_knots(self) -> frozenset[int]:
        """The jobs from which a way leads to a knot: what is left when those that wait for none are taken out, again
        and again."""
        waits_for = {job_id: {step.to.id for step in steps} for job_id, steps in self._steps.items()}
        free = [job_id for job_id, others in waits_for.items() if not others]
        while free:
            done = free.pop()
            for other in self._before[done]:
                waits_for[other].discard(done)
                if not waits_for[other]:
                    free.append(other)
        return frozenset(job_id for job_id, others in waits_for.items() if others)

    def _ways(self, start: Job) -> Iterator[tuple[Job, tuple[Step, ...]]]:
        """Each job that can be come to, nearest first, with the shortest way to it."""
        came_by: dict[int, Step | None] = {start.id: None}
        todo = deque([start])
        while todo:
            job = todo.popleft()
            steps: list[Step] = []
            step = came_by[job.id]
            while step is not None:
                steps.append(step)
                step = came_by[step.job.id]
            yield job, tuple(reversed(steps))
            for step in self._steps[job.id]:
                if step.to.id not in came_by:
                    came_by[step.to.id] = step
                    todo.append(step.to)

    def _circle(self, start: Job) -> tuple[Step, ...]:
        """The shortest way from a job back to itself; empty where there is none."""
        if start.id in self._stuck:
            for job, steps in self._ways(start):
                for step in self._steps[job.id]:
                    if step.to.id == start.id:
                        return (*steps, step)
        return ()

    def _knotted(self, start: Job, steps: tuple[Step, ...], circle: tuple[Step, ...]) -> Way:
        held = [step for step in circle if step.waiter is not None]
        endless = all(math.isinf(limit(self._look.states.get(step.job.unit), step.job)) for step in circle)
        certain = all(step.waiter.certain for step in held if step.waiter is not None)
        return Way(start, steps, Knot.DEADLOCK if held else Knot.CYCLE, certain, endless and certain)


def limit(state: UnitState | None, job: Job) -> float:
    """Seconds after which systemd gives a job up; NaN where that is not known."""
    if state is None:
        return math.nan
    limits = [state.job_timeout]
    if job.running:
        limits.append(state.job_running_timeout)
    if job.running and not state.device:
        limits.append(state.stop_timeout if job.type in ("stop", "restart") else state.start_timeout)
    return math.nan if any(map(math.isnan, limits)) else min(limits)
