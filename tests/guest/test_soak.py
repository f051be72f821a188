"""A soak of a real machine: put back to a snapshot each time, with a fault each time, killed, and gone on with."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.soak.trials import read_trials
from tests.patience import scaled

from .conftest import INVENTORIES, Run, alive, gone

pytestmark = pytest.mark.guest

CHECKS = """\
import time

from harness import check

@check(budget=60)
def disk_and_memory_are_put_back(target):
    uptime, boot_id = target.read("cat /proc/uptime /proc/sys/kernel/random/boot_id").split("\\n")
    target.note("boot", uptime=float(uptime.split()[0]), boot_id=boot_id)
    assert target.run("test -e /root/mark -o -e /run/mark", timeout=20).exit_status == 1
    target.run("touch /root/mark /run/mark; sync")

@check(budget=60)
def the_clock_is_right(target):
    before = time.time()
    assert before - 5 < float(target.read("date +%s")) < time.time() + 5

@check(budget=60, transport="serial")
def the_console_serves(target):
    assert target.read("echo hello") == "hello"

@check(budget=60, window=2)
def meets_the_fault(target):
    target.note("faults", names=list(target.faults))
    return "looked"
"""


@pytest.mark.timeout(900)
def test_killed_and_gone_on_with(harness: Callable[..., Run], tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(CHECKS)
    first = harness(
        "-i", str(INVENTORIES / "local.ini"), str(mine), "--iterations", "4", "--fault", "pause:1s",
        "-e", "soak_fault_within=0.5", verb="soak",
    )  # fmt: skip
    end = time.monotonic() + scaled(400)
    # In the third iteration, and not between two QEMUs: each restore has one of its own.
    while len(first.of("reset.end")) < 3 and time.monotonic() < end:
        assert first.process.poll() is None, first.process.communicate()
        time.sleep(0.05)
    machines = first.machines()
    assert sum(alive(pid) for pid in machines) == 1
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.communicate()
    assert gone(machines)

    second = harness("--resume", "latest", verb="soak", folder=first.folder)
    assert second.finish(400) == 0, second.stdout + second.stderr
    assert gone(second.machines())

    trials = read_trials(second.record)
    assert sorted({iteration for iteration, _ in trials.ended}) == [1, 2, 3, 4]
    assert len(trials.finished) == 4 * 5  # the settling and four checks
    assert {trial.outcome.value for trial in trials.finished} == {"passed"}
    # The record is one: no sequence is missing, and whatever happened in an iteration says so.
    events = second.events
    assert [event["event.sequence"] for event in events] == list(range(1, len(events) + 1))
    assert len(second.of("soak.resume")) == 1
    ends = second.of("check.end")
    assert all("harness.iteration" in event for event in ends)
    # Each leg is one boot, wound back each time: time goes on for the guest from where it was saved.
    notes = [event for event in second.of("check.note") if "harness.note.uptime" in event]
    boots: dict[str, list[float]] = {}
    for note in notes:
        boots.setdefault(note["harness.note.boot_id"], []).append(note["harness.note.uptime"])
    assert len(boots) == 2
    for uptimes in boots.values():
        assert max(uptimes) - min(uptimes) < 15, boots
    assert not [event for event in second.of("finding") if event["harness.finding"] == "rcu_stall"]
    # The same fault in each iteration: told, ended, and the target served again.
    faults = [mark for mark in trials.marks if mark.kind == "fault"]
    assert sorted(mark.iteration for mark in faults) == [1, 2, 3, 4]
    recoveries = [mark for mark in trials.marks if mark.kind == "recovery" and mark.ended is not None]
    assert len(recoveries) == 4
    told = {name for event in second.of("check.note") for name in event.get("harness.note.names", ())}
    assert told <= {"pause"}
    assert "4 iterations" in second.stdout
