"""Restarts within a run are a finding of it, whatever the window was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.engine.plan import Options
from harness.events import Emitter
from harness.target.look import RESTART_SCHEDULED
from harness.target.target import Target
from harness.transport.contract import CommandResult, Result
from harness.transport.errors import Cause, TransportLost

from .test_findings_run import Trial, check, fine
from .test_scheduler import FakeSession

NOW = 1000.0
SETTLED = "== system\nSystemState=running\n== states\n== jobs\n== clock\nup 1000.0\n"


def restarts(*ago: float, unit: str = "ssh.service") -> str:
    fields = {"UNIT": unit, "MESSAGE_ID": RESTART_SCHEDULED, "_PID": "1"}
    entries = [json.dumps({**fields, "__MONOTONIC_TIMESTAMP": str(int((NOW - each) * 1e6))}) for each in ago]
    return "\n".join(["== clock", f"up {NOW}", "== entries", *entries, ""])


class AnsweringLink:
    """Answers the look at the system, and the question for restarts."""

    def __init__(self, said: str | Exception, on_result: Callable[[Result], None]) -> None:
        self.said = said
        self.on_result = on_result

    def run(self, command: str, **_: Any) -> CommandResult:
        said: str | Exception = SETTLED if "list-jobs" in command else self.said
        if isinstance(said, Exception):
            raise said
        result = CommandResult(command, said.encode(), b"", 0, "ssh", 0.0, 0.0, 0.0)
        self.on_result(result)
        return result


@pytest.fixture
def run_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trial]:
    def carry(said: str | Exception, *, variables: str = "", settle: bool = True) -> Trial:
        def target(
            self: FakeSession, deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]
        ) -> Target:
            vars_ = {"expected_failed_units": "ssh.service"} if variables else {}
            return Target(self.name, (), vars_, AnsweringLink(said, on_result), deadline, events)  # type: ignore[arg-type]

        monkeypatch.setattr(FakeSession, "target", target)
        trial = Trial(tmp_path)
        options = Options(settle=settle, window=0.0)
        trial.result = trial.carry([check("one", fine)], variables="settle_window=0", options=options)  # type: ignore[attr-defined]
        return trial

    return carry


def test_a_restart_in_the_run_is_a_finding_though_all_checks_passed(run_with: Callable[..., Trial]) -> None:
    trial = run_with(restarts(42, 21, 0.1))
    (found,) = trial.result.targets[0].findings  # type: ignore[attr-defined]
    assert found.name == "unit_restarted"
    assert "ssh.service was restarted" in found.title
    assert trial.result.exit_code == 0  # type: ignore[attr-defined]
    (event,) = trial.events("finding")
    assert event["harness.finding"] == "unit_restarted"


@pytest.mark.parametrize("said", [restarts(), restarts(500.0), restarts(0.1, unit="serial-getty@ttyS0.service")])
def test_no_restart_and_one_long_ago_and_a_logout_are_none(run_with: Callable[..., Trial], said: str) -> None:
    assert run_with(said).result.targets[0].findings == ()  # type: ignore[attr-defined]


def test_what_may_restart_and_what_was_not_waited_for_is_not_told(run_with: Callable[..., Trial]) -> None:
    assert run_with(restarts(0.1), variables="x").result.targets[0].findings == ()  # type: ignore[attr-defined]


def test_without_settling_it_is_not_asked(run_with: Callable[..., Trial]) -> None:
    assert run_with(restarts(0.1), settle=False).result.targets[0].findings == ()  # type: ignore[attr-defined]


@pytest.mark.parametrize("said", ["nothing", TransportLost("gone", cause=Cause.LOST, transport="ssh")])
def test_a_question_that_gets_no_answer_is_no_verdict(run_with: Callable[..., Trial], said: str | Exception) -> None:
    trial = run_with(said)
    assert trial.result.exit_code == 0  # type: ignore[attr-defined]
    assert len(trial.events("target.restarts_unknown")) == 1
