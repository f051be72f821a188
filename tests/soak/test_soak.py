"""A soak on targets that are none: what is counted, what is kept apart, and what a kill does not change."""

from __future__ import annotations

import asyncio
import datetime
import gc
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.api.check import Check, Never
from harness.deadline import Cancellation
from harness.engine.console import ConsoleTail
from harness.engine.findings.watch import Findings
from harness.engine.plan import Options, make_plan
from harness.errors import ExitCode, MachineError
from harness.events import EventLog
from harness.inventory import load
from harness.soak.befallen import Befallen
from harness.soak.ending import Ending
from harness.soak.faults.fault import parse_fault
from harness.soak.known import KnownFlake
from harness.soak.soak import Soak
from harness.soak.target_soak import Terms
from harness.soak.trial import Trial
from harness.soak.trials import NAME, TrialsFile, read_trials, stream_trials
from harness.target.reset import Reset, ResetKind, parse_reset
from harness.target.target import Target
from tests.patience import scaled
from tests.soak.fakes import FakeSession, World, a_check


class Place:
    """A run's folder, in which soaks are carried out one after the other, as after a kill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World()
        self.cancellation = Cancellation()

    def carry(
        self,
        *checks: Check,
        ending: Ending,
        hosts: str = "a,",
        reset: str = "none",
        faults: Sequence[str] = (),
        known: Sequence[KnownFlake] = (),
        retries: int = 0,
        on_progress: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> Soak:
        self.cancellation = Cancellation()
        log = EventLog(self.folder / "events.jsonl", run="r")
        findings, tail, befallen = Findings(), ConsoleTail(), Befallen()
        log.subscribe(findings)
        log.subscribe(befallen)
        log.subscribe(tail)
        plan = make_plan(load([hosts]).select("all"), checks, Options(settle=False, **options))
        terms = Terms(parse_reset(reset), tuple(parse_fault(text) for text in faults), 0.0)
        file = TrialsFile(self.folder)
        soak = Soak(
            plan,
            {target.host.name: terms for target in plan.targets},
            ending,
            file=file,
            had=stream_trials(self.folder),
            known=known,
            open_session=lambda target, _events, _scale: FakeSession(target.host.name, self.world),
            events=log,
            console_tail=tail,
            findings=findings,
            befallen=befallen,
            cancellation=self.cancellation,
            repeat=lambda target, check: f"again {target} {check.name}",
            retries=retries,
            on_progress=on_progress,
        )
        try:
            asyncio.run(soak.run())
        finally:
            log.close()
            file.close()
        return soak

    @property
    def trials(self) -> tuple[Trial, ...]:
        return read_trials(self.folder).finished

    def events(self, action: str) -> list[dict[str, Any]]:
        lines = (self.folder / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event.action"] == action]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def fine(_target: Target) -> str:
    return "fine"


def bad(_target: Target) -> None:
    raise Never("bad")


# -- iterations, resets, endings ---------------------------------------------------------------------------------------


def test_each_target_has_its_iterations_and_its_resets(place: Place) -> None:
    soak = place.carry(a_check("one", fine), ending=Ending(iterations=3), hosts="a,b,", reset="reboot")
    assert [(t.iteration, t.target) for t in place.trials if t.target == "a"] == [(1, "a"), (2, "a"), (3, "a")]
    assert sorted(place.world.done) == ["reset reboot"] * 4 + ["start"] * 2 + ["stop"] * 2
    assert soak.exit_code is ExitCode.PASSED
    ended = place.events("iteration.end")
    assert sorted((e["host.name"], e["harness.iteration"]) for e in ended) == [(t, n) for t in "ab" for n in (1, 2, 3)]
    assert all("harness.iteration" in event for event in place.events("check.end"))
    assert len(soak.tally.targets["a"].reset.plain()["classes"]) > 0


def test_targets_do_not_wait_for_each_other(place: Place) -> None:
    """`a` cannot end its first iteration before `b` has ended its third."""
    import threading

    b_is_done = threading.Event()
    count = {"b": 0}

    def look(target: Target) -> None:
        if target.name == "a":
            assert b_is_done.wait(scaled(20))
        count["b"] += target.name == "b"
        if count["b"] == 3:
            b_is_done.set()

    check = a_check("one", look, attempt_timeout=25.0, budget=30.0)
    soak = place.carry(check, ending=Ending(iterations=3), hosts="a,b,")
    assert soak.exit_code is ExitCode.PASSED


def test_a_snapshot_is_taken_before_the_first_iteration(place: Place) -> None:
    place.carry(a_check("one", fine), ending=Ending(iterations=2), reset="snapshot")
    assert place.world.done == ["start", "save", "reset snapshot", "reset snapshot", "stop"]


def test_it_ends_at_the_first_failure(place: Place) -> None:
    seen: list[int] = []

    def third(_target: Target) -> None:
        seen.append(1)
        if len(seen) == 3:
            raise Never("the third")

    soak = place.carry(a_check("one", third), ending=Ending(failures=1))
    assert len(place.trials) == 3
    assert soak.exit_code is ExitCode.FAILED
    assert place.trials[-1].repeat == "again a one"


def test_time_that_is_over_begins_no_iteration(place: Place) -> None:
    soak = place.carry(a_check("one", fine), ending=Ending(seconds=0.0))
    assert place.trials == ()
    assert soak.exit_code is ExitCode.PASSED


# -- outcomes ----------------------------------------------------------------------------------------------------------


def alternating(*outcomes: bool) -> Callable[[Target], str]:
    left = list(outcomes)

    def look(_target: Target) -> str:
        if not left.pop(0):
            raise Never("not this time")
        return "fine"

    return look


def test_a_pass_on_retry_is_never_just_a_pass(place: Place) -> None:
    soak = place.carry(a_check("one", alternating(False, True, True)), ending=Ending(iterations=2), retries=1)
    first, second = place.trials
    assert (first.outcome.value, first.flaky, first.attempts) == ("passed", True, 2)
    assert "not this time" in first.message
    assert first.signature == "not this time"
    assert (second.outcome.value, second.flaky) == ("passed", False)
    assert soak.exit_code is ExitCode.PASSED
    tally = soak.tally.targets["a"]
    assert (tally.iterations, tally.bad_iterations, tally.flaky) == (2, 1, 1)
    assert tally.checks["m::one"].rate.count == 1


def test_a_flaky_pass_fails_where_that_is_wanted(place: Place) -> None:
    ending = Ending(iterations=9, failures=1, flaky_fails=True)
    soak = place.carry(a_check("one", alternating(True, False, True)), ending=ending, retries=1)
    assert len(place.trials) == 2
    assert soak.exit_code is ExitCode.FLAKY


def test_what_fails_twice_has_failed(place: Place) -> None:
    soak = place.carry(a_check("one", alternating(False, False)), ending=Ending(iterations=1), retries=1)
    assert place.trials[0].outcome.value == "failed"
    assert not place.trials[0].flaky
    assert soak.exit_code is ExitCode.FAILED


def test_a_broken_machine_is_no_failure_of_the_target_and_is_replaced(place: Place) -> None:
    def look(_target: Target) -> None:
        if place.world.done.count("start") == 1:
            place.world.broken = "QEMU has ended by itself"
            raise Never("nothing answers")
        place.world.broken = ""

    soak = place.carry(a_check("one", look), ending=Ending(iterations=2), reset="power-cycle")
    assert [trial.outcome.value for trial in place.trials] == ["infrastructure", "passed"]
    assert "QEMU has ended by itself; nothing answers" in place.trials[0].message
    assert place.world.done == ["start", "stop", "start", "stop"]
    assert soak.exit_code is ExitCode.INFRASTRUCTURE


def test_a_start_that_fails_is_no_verdict_and_is_tried_again(place: Place) -> None:
    def start() -> None:
        if place.world.done.count("start") == 1:
            raise MachineError("no power")

    place.world.on_start = start
    soak = place.carry(a_check("one", fine), ending=Ending(iterations=2))
    assert [trial.outcome.value for trial in place.trials] == ["unreachable", "passed"]
    assert soak.exit_code is ExitCode.UNREACHABLE


def test_our_own_bug_is_ours(place: Place) -> None:
    def start() -> None:
        raise ZeroDivisionError("ours")

    place.world.on_start = start
    soak = place.carry(a_check("one", fine), ending=Ending(iterations=1))
    assert [trial.outcome.value for trial in place.trials] == ["internal"]
    assert soak.exit_code is ExitCode.INTERNAL


def test_known_flakes_do_not_fail_until_their_day(place: Place) -> None:
    today = datetime.date.today()
    flake = KnownFlake("m::o*", "https://example.org/1", snooze=today + datetime.timedelta(1), warn=True)
    soak = place.carry(a_check("one", bad), ending=Ending(iterations=2, failures=1), known=[flake])
    assert soak.exit_code is ExitCode.PASSED
    assert soak.tally.targets["a"].known == 2
    assert [trial.known for trial in read_trials(place.folder).finished if trial.check == "one"] == [
        "https://example.org/1",
        "https://example.org/1",
    ]
    assert ["https://example.org/1" in event["message"] for event in place.events("flake.known")] == [True, True]


def test_a_known_flake_counts_again_from_its_day_on(place: Place) -> None:
    flake = KnownFlake("m::one", "https://example.org/1", snooze=datetime.date.today())
    soak = place.carry(a_check("one", bad), ending=Ending(iterations=1), known=[flake])
    assert soak.exit_code is ExitCode.FAILED


# -- faults ------------------------------------------------------------------------------------------------------------


def test_faults_are_told_known_to_checks_and_undone(place: Place) -> None:
    from harness.api.check import NotYet

    def look(target: Target) -> str:
        if "cpu:0" not in target.faults:
            raise NotYet("no fault yet")
        return "seen"

    place.carry(a_check("one", look), ending=Ending(iterations=1), faults=["cpu:1h"])
    (trial,) = place.trials
    assert trial.outcome.value == "passed"
    assert trial.faults == ("cpu:0",)
    actions = [place.events(f"fault.{word}")[0]["event.sequence"] for word in ("start", "end", "recovered")]
    assert actions == sorted(actions)
    undone = [command for command in place.world.commands if "harness-fault-cpu" in command]
    assert len(undone) == 2
    assert "kill" in undone[1]
    marks = read_trials(place.folder).marks
    assert {mark.kind for mark in marks} == {"fault", "recovery", "iteration"}


def test_recovery_is_a_figure_of_its_own(place: Place) -> None:
    """The check passes only once the fault has ended."""
    from harness.api.check import NotYet

    had: list[str] = []

    def look(target: Target) -> str:
        had.extend(target.faults)
        if target.faults or not had:
            raise NotYet("it is being done, or is still to come")
        return "over"

    soak = place.carry(a_check("one", look), ending=Ending(iterations=1), faults=["cpu:100ms"])
    (trial,) = place.trials
    assert trial.faults == ("cpu:0",)
    assert trial.recovery is not None
    assert 0 <= trial.recovery < 5
    assert soak.tally.targets["a"].recovery.count == 1


def test_a_fault_is_undone_when_the_checks_fail(place: Place) -> None:
    from harness.api.check import NotYet

    def look(target: Target) -> None:
        if target.faults:
            raise ZeroDivisionError("the check's own mistake")
        raise NotYet("no fault yet")

    place.carry(a_check("one", look), ending=Ending(iterations=1), faults=["sshd-stop:1h"])
    assert place.trials[0].outcome.value == "error"
    assert any("systemctl start" in command for command in place.world.commands)


def test_a_fault_that_cannot_be_done_is_said(place: Place) -> None:
    place.world.answer = lambda command: (1, "") if "systemctl stop" in command else (0, "")
    place.carry(a_check("one", fine, window=0.2), ending=Ending(iterations=1), faults=["sshd-stop"])
    assert "sshd-stop could not be done" in place.events("fault.failed")[0]["message"]
    assert place.trials[0].faults == ()


# -- kills -------------------------------------------------------------------------------------------------------------


def test_a_resumed_soak_is_as_one_that_was_never_interrupted(tmp_path: Path) -> None:
    """Cancelled in the middle of each third iteration, and gone on with, until it is through."""
    faults = ["cpu:1ms@0.5", "memory:50%:1ms@0.5"]

    def draws(place: Place) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for mark in read_trials(place.folder).marks:
            if mark.kind == "fault":
                found.setdefault(mark.iteration, set()).add(mark.name)
        return found

    def checks() -> list[Check]:
        return [a_check("one", fine, window=0.05, interval=0.01), a_check("two", bad)]

    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = Place(tmp_path / "whole")
    soak = whole.carry(*checks(), ending=Ending(iterations=8), faults=faults, seed=3)
    parts = Place(tmp_path / "parts")
    legs = 0
    while True:
        legs += 1
        left = [3]

        def after(left: list[int] = left) -> None:
            left[0] -= 1

        def stop(_target: Target, left: list[int] = left) -> str:
            if left[0] == 0:
                parts.cancellation.cancel("killed")
            return "fine"

        two = checks()[1]
        resumed = parts.carry(
            a_check("one", stop, window=0.05, interval=0.01), two, ending=Ending(iterations=8), faults=faults, seed=3,
            on_progress=after,
        )  # fmt: skip
        if len(read_trials(parts.folder).ended) == 8:
            break
    assert legs == 3
    assert [(t.iteration, t.check, t.outcome) for t in parts.trials] == [
        (t.iteration, t.check, t.outcome) for t in whole.trials
    ]
    for name, tally in soak.tally.targets.items():
        again = resumed.tally.targets[name]
        assert again.iterations == tally.iterations
        assert again.outcomes == tally.outcomes
        assert again.bad_iterations == tally.bad_iterations
    assert draws(whole) == draws(parts)
    lines = (parts.folder / "events.jsonl").read_text().splitlines()
    sequences = [json.loads(line)["event.sequence"] for line in lines]
    assert sequences == list(range(1, len(sequences) + 1))


def test_what_cannot_be_written_down_ends_the_soak(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.soak.trials import TrialsError

    def full(*_: object, **__: object) -> None:
        raise TrialsError("cannot write trials.jsonl: No space left on device")

    monkeypatch.setattr(TrialsFile, "write", full)
    with pytest.raises(TrialsError, match="No space left"):
        place.carry(a_check("one", fine), ending=Ending(iterations=5), hosts="a,b,")
    assert read_trials(place.folder).ended == {}
    assert place.world.done.count("stop") == place.world.done.count("start")


def test_nothing_grows_with_iterations(place: Place) -> None:
    """A thousand iterations, and what is held in memory after the last is what was held after the hundredth."""
    place.world.remember = False
    held: list[int] = []
    count = [0]

    def measure() -> None:
        count[0] += 1
        place.world.commands.clear()
        if count[0] in (100, 1000):
            gc.collect()
            held.append(sys.getallocatedblocks())

    place.carry(a_check("one", fine), ending=Ending(iterations=1000), reset="power-cycle", on_progress=measure)
    assert count[0] == 1000
    # A trial that is kept is seven blocks or more; what comes and goes meanwhile (timers, threads) is some hundreds.
    assert held[1] - held[0] < 2700, held


# -- words -------------------------------------------------------------------------------------------------------------


def test_resets_are_read() -> None:
    assert parse_reset("unit:ssh.service") == Reset(ResetKind.UNIT, "ssh.service")
    assert str(parse_reset("power_cycle")) == "power-cycle"
    wrong = [("unit", "unit:NAME"), ("reboot:x", "unit:NAME"), ("snapshots", "did you mean 'snapshot'")]
    for text, words in (*wrong, ("unit:a;b", "no unit")):
        with pytest.raises(ValueError, match=re.escape(words)):
            parse_reset(text)


def test_the_file_is_private(place: Place) -> None:
    place.carry(a_check("one", fine), ending=Ending(iterations=1))
    assert (place.folder / NAME).stat().st_mode & 0o077 == 0


def test_a_disk_that_takes_its_time_does_not_hold_the_event_loop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    sync = os.fdatasync

    def slow(fd: int) -> None:
        synced.append(threading.current_thread() is threading.main_thread())
        sync(fd)

    monkeypatch.setattr("harness.soak.trials.os.fdatasync", slow)
    place.carry(a_check("one", fine), ending=Ending(iterations=3), hosts="a,b,")
    assert synced[:6] == [False] * 6, "each iteration's end, on a thread of its own"
