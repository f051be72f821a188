"""The target as a whole: what has settled, what has not, and what never will."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.api.check import Never, NotYet
from harness.target.jobs import Job
from harness.target.look import RESTART_SCHEDULED, STARTED, Entry, Look
from harness.target.settle import WINDOW, judge_target, settle_check, settled
from harness.target.standing import Standing
from harness.target.units import IncompleteAnswer, UnitState

from .answers import a_target

NOW = 1000.0
QUIET = Look(now_us=int(NOW * 1e6), up=NOW, system={"SystemState": "running"})


def a_look(*units: UnitState, word: str = "degraded", **changes: Any) -> Look:
    return replace(QUIET, system={"SystemState": word}, states={unit.name: unit for unit in units}, **changes)


def failed(name: str, ago: float = 60.0) -> UnitState:
    changed = int((NOW - ago) * 1e6)
    return UnitState(name, "loaded", "failed", "failed", "exit-code", "simple", changed_us=changed)


def event(unit: str, kind: str, ago: float) -> Entry:
    return Entry("x", int((NOW - ago) * 1e6), True, (unit,), kind)


RESTARTING = UnitState("w.service", "loaded", "activating", "auto-restart", "success")


@pytest.mark.parametrize(
    ("look", "expected", "standing", "told"),
    [
        (QUIET, (), Standing.UP, "running, no jobs queued"),
        (
            a_look(failed("a.service")),
            (),
            Standing.NEVER,
            "a.service failed (Result=exit-code) and no restart is pending",
        ),
        (
            # It may be on its way to a restart by something else: a window's time is left to it.
            a_look(failed("a.service", ago=0.5)),
            (),
            Standing.COMING,
            "a.service failed (Result=exit-code) and no restart is pending",
        ),
        (
            a_look(failed("a.service")),
            ("a.*",),
            Standing.UP,
            "degraded (a.service failed, as expected), no jobs queued",
        ),
        (
            a_look(failed("a.service"), failed("b.service")),
            ("a.service",),
            Standing.NEVER,
            "b.service failed (Result=exit-code) and no restart is pending",
        ),
        (
            a_look(jobs=(Job(1, "a.service", "start", "running"),), word="starting"),
            (),
            Standing.COMING,
            "a.service: start job running",
        ),
        (
            # The queue comes before what failed: it may yet be mended.
            a_look(failed("b.service"), jobs=(Job(1, "a.service", "start", "running"),)),
            (),
            Standing.COMING,
            "a.service: start job running",
        ),
        (a_look(word="starting"), (), Standing.COMING, "the system is starting: the boot is not finished"),
        (a_look(word="initializing"), (), Standing.COMING, "the system is initializing: the boot has just begun"),
        (a_look(word="stopping"), (), Standing.COMING, "the system is stopping: it is shutting down"),
        (a_look(word="offline"), (), Standing.COMING, "the system is offline"),
        (
            a_look(word="maintenance"),
            (),
            Standing.NEVER,
            "the system is in maintenance: in its rescue or emergency mode",
        ),
        (
            a_look(RESTARTING, word="running", entries=(event("w.service", STARTED, 4.0),)),
            (),
            Standing.COMING,
            "w.service is waiting for its automatic restart (Result=success, 0 restarts); started 4.0 s ago",
        ),
        (a_look(RESTARTING, word="running"), ("w.service",), Standing.UP, "running, no jobs queued"),
        (
            a_look(
                word="running", entries=(event("f.service", RESTART_SCHEDULED, 1.5), event("f.service", STARTED, 1.4))
            ),
            (),
            Standing.COMING,
            "f.service is flapping; started 1.4 s ago; all has to hold for 2.0 s",
        ),
        (
            a_look(word="running", entries=(event("f.service", STARTED, 1.5), event("f.service", STARTED, 0.4))),
            (),
            Standing.COMING,
            "f.service is flapping; started 0.4 s and 1.5 s ago; all has to hold for 2.0 s",
        ),
        (
            a_look(word="running", entries=(event("f.service", STARTED, 2.5), event("f.service", STARTED, 0.4))),
            (),
            Standing.UP,
            "running, no jobs queued",
        ),
        (
            a_look(word="running", entries=(event("f.service", RESTART_SCHEDULED, 1.5),)),
            ("f.*",),
            Standing.UP,
            "running, no jobs queued",
        ),
        (
            a_look(word="running", entries=(event("f.service", RESTART_SCHEDULED, 2.1),)),
            (),
            Standing.UP,
            "running, no jobs queued",
        ),
        (a_look(), (), Standing.COMING, "the system is degraded, but names no unit that failed"),
    ],
)
def test_where_a_target_stands(look: Look, expected: tuple[str, ...], standing: Standing, told: str) -> None:
    assert judge_target(look, expected) == (standing, told)


def test_a_manager_that_does_not_tell_its_state_is_asked_again() -> None:
    with pytest.raises(IncompleteAnswer, match="SystemState"):
        judge_target(replace(QUIET, system={}))


def answer(word: str, units: str = "") -> str:
    return f"== system\nSystemState={word}\n== states\n{units}\n== jobs\n== clock\nup 1000.0\n"


OWN = '{"MESSAGE": "no remote", "_SYSTEMD_UNIT": "lirc.service"}'
FAILED = "Id=lirc.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code"


def test_a_check_is_told_in_one_question() -> None:
    target, link = a_target(answer("running"))
    assert settled(target) == "running, no jobs queued"
    assert len(link.asked) == 1


@pytest.mark.parametrize("expected", ["lirc.service", ["wait-*", "lirc.*"], "wait-*, lirc.service"])
def test_the_inventory_says_what_may_fail(expected: object) -> None:
    target, _ = a_target(answer("degraded", FAILED), vars={"expected_failed_units": expected})
    assert settled(target) == "degraded (lirc.service failed, as expected), no jobs queued"


@pytest.mark.parametrize(
    ("priorities", "words"),
    [
        ((6, 6, 6), "a | b | c"),
        ((6, 3, 6), "b | c"),
        ((2, 6, 3), "a | c"),
        ((6, 6, 3), "c"),
        ((None, None, None), "a | b | c"),
    ],
)
def test_what_a_unit_calls_an_error_is_told_with_its_last_word(priorities: tuple[int | None, ...], words: str) -> None:
    own = [{"MESSAGE": word, "PRIORITY": priority} for word, priority in zip("abc", priorities, strict=True)]
    entries = "\n".join(json.dumps({key: str(it) for key, it in entry.items() if it is not None}) for entry in own)
    said = f"== asked\n{FAILED}\n== states\n== jobs\n== entries\n{entries}\n== clock\nup 1000.0\n"
    target, _ = a_target(said)
    assert str(target.why("lirc.service")).endswith(f"; it said: {words}")


def test_what_will_not_settle_is_told_at_once_and_what_may_is_waited_for() -> None:
    said = f"== asked\n{FAILED}\n== states\n== jobs\n== entries\n{OWN}\n== clock\nup 1000.0\n"
    full = "/dev/vda 2000000 1990000 0 100% /\n==\n/dev/vda / ext4 rw 0 0\n"
    for space, remark in (("", "$"), (full, r"; the filesystem / is full \(0 kB left\)$")):
        target, link = a_target(answer("degraded", FAILED), said, space)
        words = r"lirc\.service failed \(Result=exit-code\) .* pending; it said: no remote"
        with pytest.raises(Never, match=words + remark):
            settled(target)
        assert len(link.asked) == 3
    many = "\n\n".join(FAILED.replace("lirc", f"lirc{number}") for number in range(4))
    target, link = a_target(answer("degraded", many))
    with pytest.raises(Never, match=r"lirc0\.service failed .*; lirc3\.service failed"):
        settled(target)
    assert len(link.asked) == 1
    target, _ = a_target(answer("starting"))
    with pytest.raises(NotYet, match="the boot is not finished"):
        settled(target)
    target, _ = a_target(answer(""))
    with pytest.raises(NotYet, match="did not say SystemState"):
        settled(target)


def test_the_wait_is_a_check_with_a_window() -> None:
    check = settle_check(77.0)
    assert (check.settings.budget, check.settings.window) == (77.0, WINDOW)
    longer = settle_check(77.0, window=30.0)
    entries = answer("running") + (
        f'== entries\n{{"UNIT": "f.service", "MESSAGE_ID": "{RESTART_SCHEDULED}", '
        '"__MONOTONIC_TIMESTAMP": "980000000"}\n'
    )
    target, _ = a_target(entries, entries)
    assert check.function(target) == "running, no jobs queued"
    with pytest.raises(NotYet, match=r"f\.service is flapping; all has to hold for 30 s"):
        longer.function(target)
