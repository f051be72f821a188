"""When a run gives a target that failed to be collected from, and what becomes of the verdict then."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.api.check import Check, Never, Settings
from harness.deadline import Cancellation, Deadline
from harness.engine.console import ConsoleTail
from harness.engine.failed import Failed
from harness.engine.outcome import RunResult
from harness.engine.plan import Options, make_plan
from harness.engine.scheduler import Scheduler
from harness.errors import MachineError, UsageError
from harness.events import Emitter, EventLog
from harness.inventory import load
from harness.target.target import Target

from .test_scheduler import FakeSession, a_check


class Run:
    """One run on targets that are none; `asked` are those that were given to be collected from, with why."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.jsonl"
        self.log = EventLog(self.path, run="r")
        self.cancellation = Cancellation()
        self.sessions: list[FakeSession] = []
        self.asked: list[tuple[str, list[str], str]] = []
        self.collect: Callable[[Failed], str] = lambda failed: f"targets/{failed.host.name}/collected"

    def carry(self, *checks: Check, start: Callable[[Deadline], None] = lambda _: None, **options: Any) -> RunResult:
        def collect(failed: Failed) -> str:
            session = next(each for each in self.sessions if each is failed.session)
            self.asked.append((failed.host.name, [each.check for each in failed.failures], session.ended))
            return self.collect(failed)

        def open_session(plan: Any, _events: Emitter, _scale: float) -> FakeSession:
            self.sessions.append(FakeSession(plan.host.name, start))
            return self.sessions[-1]

        plan = make_plan(load(["a,b,"]).select("all"), checks, Options(**{"settle": False, **options}))
        scheduler = Scheduler(
            plan,
            run="r",
            open_session=open_session,
            events=self.log,
            console_tail=ConsoleTail(),
            cancellation=self.cancellation,
            collect=collect,
        )
        return asyncio.run(scheduler.run())

    def of(self, action: str) -> list[str]:
        events = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [event["message"] for event in events if event["event.action"] == action]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def fine(_target: Target) -> str:
    return "fine"


def bad_on_b(target: Target) -> None:
    if target.name == "b":
        raise Never("bad")


def test_a_target_that_failed_is_collected_from_once_while_it_is_up(run: Run) -> None:
    result = run.carry(a_check("one", bad_on_b), a_check("two", bad_on_b), a_check("three", fine))
    assert run.asked == [("b", ["one", "two"], "")]
    assert [target.collected for target in result.targets] == ["", "targets/b/collected"]
    assert [session.ended for session in run.sessions] == ["stopped", "stopped"]


def test_what_passes_is_left_alone(run: Run) -> None:
    assert not run.carry(a_check("one", fine)).exit_code
    assert run.asked == []


def test_what_never_came_up_is_not_asked(run: Run) -> None:
    def start(_deadline: Deadline) -> None:
        raise MachineError("no such image")

    run.carry(a_check("one", bad_on_b), start=start)
    assert run.asked == []


def test_a_failed_assertion_that_asked_the_target_nothing_is_not_collected_for(run: Run) -> None:
    def pure(_target: Target) -> None:
        assert [1, 2] == [3], "nothing on the target explains this"

    def probes(target: Target) -> None:
        target.probes.append("ssh")
        assert target.name == "a"

    settings = Settings(budget=0.0)
    result = run.carry(replace(a_check("pure", pure), settings=settings))
    assert [check.outcome.value for check in result.checks] == ["failed", "failed"]
    assert run.asked == []
    run.carry(replace(a_check("probes", probes), settings=settings))
    assert run.asked == [("b", ["probes"], "")]


def test_an_interrupted_run_asks_nobody(run: Run) -> None:
    def interrupt(_target: Target) -> None:
        run.cancellation.cancel("interrupted by SIGINT")
        raise Never("bad")

    run.carry(a_check("one", interrupt))
    assert run.asked == []


def test_what_had_no_time_for_its_checks_is_asked(run: Run) -> None:
    def slow(target: Target) -> None:
        while not target.deadline.expired:
            time.sleep(0.01)
        raise Never("it took too long")

    run.carry(a_check("one", slow), a_check("two", fine), target_deadline=0.3, at_once=1)
    assert sorted(name for name, _, _ in run.asked) == ["a", "b"]


@pytest.mark.parametrize(
    ("error", "action"),
    [(UsageError("the folder cannot be made"), "collect.failed"), (ZeroDivisionError("a bug"), "internal.error")],
)
def test_what_goes_wrong_is_told_and_the_verdict_stays(run: Run, error: Exception, action: str) -> None:
    def collect(_failed: Failed) -> str:
        raise error

    run.collect = collect
    result = run.carry(a_check("one", bad_on_b))
    assert [check.outcome.value for check in result.checks] == ["passed", "failed"]
    assert len(run.of(action)) == 1
    assert str(error) in run.of(action)[0]
    assert [session.ended for session in run.sessions] == ["stopped", "stopped"]
