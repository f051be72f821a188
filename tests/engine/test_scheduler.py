"""A plan carried out on targets that are none: what is run, what is counted, and what is never left behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.api.check import Check, Never, Settings
from harness.deadline import Cancellation, Deadline
from harness.engine.console import ConsoleTail
from harness.engine.outcome import Outcome, RunResult
from harness.engine.plan import Options, make_plan
from harness.engine.scheduler import Scheduler
from harness.errors import MachineError, Source
from harness.events import Emitter, EventLog
from harness.inventory import load
from harness.target.target import Target
from harness.transport.contract import CommandResult, Result
from harness.transport.errors import Cause, Contact, Unavailable
from tests.patience import scaled


class FakeSession:
    """A target's life without a target."""

    start_timeout = 5.0
    stages = (("login", 1.0),)
    counts: dict[str, int] = {}  # noqa: RUF012 - it is never written to
    console_log = ""
    broken = ""

    def __init__(self, name: str, start: Callable[[Deadline], None]) -> None:
        self.name = name
        self._start = start
        self.ended = ""

    def start(self, deadline: Deadline) -> None:
        self._start(deadline)

    def target(self, deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target:
        del on_result
        return Target(self.name, (), {}, None, deadline, events)  # type: ignore[arg-type]

    def follow(self, deadline: Deadline, on_word: Callable[[], None]) -> None:
        del deadline, on_word

    def stop(self) -> None:
        self.ended = "stopped"

    def keep(self, seconds: float | None = None) -> tuple[str, ...]:
        self.ended = "kept"
        return (f"{self.name} is kept",)


def a_check(name: str, function: Callable[[Target], Any]) -> Check:
    def named(target: Target) -> Any:
        return function(target)

    return Check(name, "m", "m.py", named, Source(__file__, 1), Settings(budget=5, interval=0.01))


class Trial:
    """One run of the scheduler, with what it started."""

    def __init__(self, folder: Path) -> None:
        self.log = EventLog(folder / "events.jsonl", run="r")
        self.sessions: list[FakeSession] = []
        self.cancellation = Cancellation()

    def carry(
        self,
        hosts: str,
        *checks: Check,
        start: Callable[[Deadline], None] = lambda _deadline: None,
        options: Options | None = None,
    ) -> RunResult:
        inventory = load([hosts])
        plan = make_plan(inventory.select("all"), checks, options or Options(settle=False))

        def open_session(target: Any, _events: Emitter, _scale: float) -> FakeSession:
            self.sessions.append(FakeSession(target.host.name, start))
            return self.sessions[-1]

        scheduler = Scheduler(
            plan,
            run="r",
            open_session=open_session,
            events=self.log,
            console_tail=ConsoleTail(),
            cancellation=self.cancellation,
            repeat=lambda target, check: f"again {target} {check.name}",
        )
        return asyncio.run(scheduler.run())


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def fine(_target: Target) -> str:
    return "fine"


def bad(_target: Target) -> None:
    raise Never("bad")


def test_every_check_runs_on_every_target_in_order(trial: Trial) -> None:
    result = trial.carry("a,b,", a_check("one", fine), a_check("two", bad))
    assert [(c.target, c.check, c.outcome.value) for c in result.checks] == [
        ("a", "one", "passed"),
        ("a", "two", "failed"),
        ("b", "one", "passed"),
        ("b", "two", "failed"),
    ]
    assert result.checks[1].repeat == "again a two"
    assert [session.ended for session in trial.sessions] == ["stopped", "stopped"]
    assert result.exit_code == 1


def test_a_machine_that_does_not_start_is_unreachable_and_the_others_go_on(trial: Trial) -> None:
    def start(_deadline: Deadline) -> None:
        if trial.sessions[-1].name == "a" and len(trial.sessions) == 1:
            raise MachineError("QEMU died: no such device")

    result = trial.carry("a,b,", a_check("one", fine), start=start, options=Options(settle=False, forks=1))
    first, second = result.targets
    assert "no such device" in first.unreachable
    assert [check.outcome for check in first.checks] == [Outcome.UNREACHABLE]
    assert [check.outcome for check in second.checks] == [Outcome.PASSED]
    assert [session.ended for session in trial.sessions] == ["stopped", "stopped"]
    assert result.exit_code == 3


def test_our_own_fault_is_told_as_one_and_the_machine_still_ends(trial: Trial) -> None:
    def start(_deadline: Deadline) -> None:
        raise RuntimeError("a bug of ours")

    result = trial.carry("a,", a_check("one", fine), start=start)
    assert result.targets[0].error == "RuntimeError: a bug of ours"
    assert result.exit_code == 5
    assert trial.sessions[0].ended == "stopped"


def test_max_fail_runs_no_more_and_says_so(trial: Trial) -> None:
    checks = [a_check("one", bad), a_check("two", fine), a_check("three", fine)]
    result = trial.carry("a,", *checks, options=Options(settle=False, max_fail=1, at_once=1))
    assert [check.outcome.value for check in result.checks] == ["failed", "skipped", "skipped"]
    assert "--max-fail" in result.checks[1].message
    assert result.exit_code == 1


def test_keep_keeps(trial: Trial) -> None:
    result = trial.carry("a,", a_check("one", fine), options=Options(settle=False, keep=True))
    assert trial.sessions[0].ended == "kept"
    assert result.targets[0].reach == ("a is kept",)


def test_an_interrupt_ends_a_wait_at_once_and_every_check_has_an_outcome(trial: Trial) -> None:
    def pending(_target: Target) -> None:
        trial.cancellation.cancel("interrupted by SIGINT")
        raise AssertionError("not yet")

    result = trial.carry("a,b,", a_check("one", pending), a_check("two", fine), options=Options(settle=False, forks=1))
    assert result.interrupted
    assert result.exit_code == 130
    assert len(result.checks) == 4
    assert {session.ended for session in trial.sessions} == {"stopped"}


def test_an_interrupt_ends_a_boot_at_once(trial: Trial) -> None:
    def start(deadline: Deadline) -> None:
        threading.Timer(0.05, trial.cancellation.cancel, args=("interrupted by SIGTERM",)).start()
        deadline.sleep(3600)

    began = time.monotonic()
    result = trial.carry("a,", a_check("one", fine), start=start)
    assert time.monotonic() - began < 60  # not the hour that the boot was ready to wait
    assert result.checks[0].outcome is Outcome.SKIPPED
    assert "SIGTERM" in result.checks[0].message


PANIC = b"[ 0.0] Linux version 6.1\r\n[ 9.1] \x1b[1mKernel panic - not syncing: sysrq triggered crash\x1b[m\r\n"


@pytest.mark.parametrize(
    ("logged", "first"),
    [
        (PANIC, "the kernel has panicked: sysrq triggered crash (the console shows "),
        (PANIC + b"[ 0.0] Linux version 6.1\r\n", "a refuses"),
        (b"[ 1.0] usb 1-1: new device\r\n", "a refuses"),
        (None, "a refuses"),
    ],
)
def test_what_the_console_had_shown_before_the_run_is_the_cause(
    trial: Trial, tmp_path: Path, logged: bytes | None, first: str
) -> None:
    class Nobody:
        def run(self, command: str, **_: Any) -> CommandResult:
            raise Unavailable("a refuses", cause=Cause.REFUSED, transport="serial", contact=Contact.NO_SHELL)

    def target(_self: FakeSession, deadline: Deadline, events: Emitter, _on_result: Callable[[Result], None]) -> Target:
        return Target("a", (), {}, Nobody(), deadline, events)  # type: ignore[arg-type]

    log = tmp_path / "console.log"
    if logged is not None:
        log.write_bytes(logged)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeSession, "target", target)
        patch.setattr(FakeSession, "console_log", str(log))
        result = trial.carry("a,", a_check("one", fine), options=Options(settle=True, timeout_scale=0.001))
    unreachable = result.targets[0].unreachable
    assert unreachable.startswith(first) or (first == "a refuses" and unreachable.startswith("no shell answers"))
    assert "a refuses" in unreachable


def test_a_target_that_nothing_reaches_has_no_verdicts(trial: Trial) -> None:
    class Nobody:
        def run(self, command: str, **_: Any) -> CommandResult:
            raise Unavailable("refused", cause=Cause.REFUSED, transport="ssh")

    def target(_self: FakeSession, deadline: Deadline, events: Emitter, _on_result: Callable[[Result], None]) -> Target:
        return Target("a", (), {}, Nobody(), deadline, events)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeSession, "target", target)
        inventory_options = Options(settle=True, timeout_scale=0.001)
        result = trial.carry("a,", a_check("one", fine), options=inventory_options)
    assert "refused" in result.targets[0].unreachable
    assert result.checks[0].outcome is Outcome.UNREACHABLE
    assert result.exit_code == 3


def test_outcomes_do_not_depend_on_forks(tmp_path: Path) -> None:
    seen = []
    for forks in (1, 2, 8):
        folder = tmp_path / str(forks)
        folder.mkdir()
        result = Trial(folder).carry(
            "a,b,c,d,e,", a_check("one", fine), a_check("two", bad), options=Options(settle=False, forks=forks)
        )
        seen.append([(c.target, c.check, c.outcome, c.message) for c in result.checks])
    assert seen[0] == seen[1] == seen[2]


def test_checks_that_do_not_return_take_no_place_from_the_others(trial: Trial) -> None:
    release = threading.Event()

    def stuck(_target: Target) -> None:
        release.wait(scaled(120))

    checks = [
        Check(f"stuck{n}", "m", "m.py", stuck, Source(__file__, 1), Settings(budget=0.1, attempt_timeout=0.1))
        for n in range(4)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.engine.attempts.GRACE", 0.05)
        result = trial.carry("a,", *checks, a_check("fine", fine), options=Options(settle=False, forks=1))
    assert [check.outcome.value for check in result.checks] == ["error"] * 4 + ["passed"]
    assert trial.sessions[0].ended == "stopped"
    assert not release.is_set()
    release.set()
