"""The whole way: a real console of a machine that already runs, heard from the start though no command goes over it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.api.check import Check, NotYet, Settings
from harness.deadline import Cancellation
from harness.engine.console import ConsoleTail
from harness.engine.findings.watch import Findings
from harness.engine.outcome import Outcome, RunResult
from harness.engine.plan import Options, make_plan
from harness.engine.scheduler import Scheduler
from harness.errors import Source
from harness.events import EventLog
from harness.inventory import load
from harness.target.session import TargetSession
from harness.testing.pty_guest import PtyGuest

CONSOLES = Path(__file__).parent / "consoles"
# What a UART does, and what a test's own time allows: bytes in small pieces, over and over, once the console is heard.
SAYS = """\
import os, sys, time
while not os.path.exists(sys.argv[2]): time.sleep(0.05)
while True: sys.stdout.write(open(sys.argv[1]).read()); sys.stdout.flush(); time.sleep(0.5)
"""


def carry(folder: Path, socket: Path, check: Check) -> RunResult:
    inventory = folder / "hosts"
    inventory.write_text(f"board ansible_host=127.0.0.1 ansible_port=1 serial_socket={socket}\n")
    log, findings = EventLog(folder / "events.jsonl", run="r"), Findings()
    log.subscribe(findings)
    plan = make_plan(load([str(inventory)]).select("all"), [check], Options(settle=False))
    scheduler = Scheduler(
        plan, run="r", events=log, console_tail=ConsoleTail(), cancellation=Cancellation(), findings=findings,
        open_session=lambda target, events, scale: TargetSession(
            target.host, target.spec.stretched(scale), folder=folder, events=events, run="r", secrets=log
        ),
    )  # fmt: skip
    return asyncio.run(scheduler.run())


def check(function: Any) -> Check:
    return Check("waits", "m", "m.py", function, Source(__file__, 1), Settings(budget=120, interval=0.2))


def recorded(folder: Path, action: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]
    return [record for record in records if record["event.action"] == action]


@pytest.mark.parametrize("trickle", [False, True])
def test_a_board_that_panics_is_heard_while_nothing_uses_its_console(tmp_path: Path, trickle: bool) -> None:
    reports = tmp_path / "reports"
    reports.write_bytes((CONSOLES / "reports.log").read_bytes())
    heard = tmp_path / "heard"
    guest = PtyGuest([sys.executable, "-c", SAYS, str(reports), str(heard)], tmp_path / "console", trickle=trickle)

    def waits(_target: object) -> None:
        heard.touch()
        raise NotYet("not yet")

    try:
        result = carry(tmp_path, guest.path, check(waits))
    finally:
        guest.close()
    assert result.checks[0].outcome is Outcome.FAILED
    assert "its kernel panicked: Kernel panic - not syncing: sysrq triggered crash" in result.checks[0].message
    assert recorded(tmp_path, "command") == []
    # The first of each name: the console begins anew, and may be cut off in the middle of the second one.
    whole = {finding.name: len(finding.text.splitlines()) for finding in reversed(result.targets[0].findings)}
    assert whole["panic"] == 36
    assert whole["oom_kill"] == 78


def test_a_console_that_cannot_be_had_is_told_and_ends_nothing(tmp_path: Path) -> None:
    result = carry(tmp_path, tmp_path / "nobody", check(lambda _target: "fine"))
    assert result.checks[0].outcome is Outcome.PASSED
    (event,) = recorded(tmp_path, "console.unheard")
    assert "not heard until it is needed" in event["message"]
