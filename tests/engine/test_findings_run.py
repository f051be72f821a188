"""Findings in a run: told in the record, put to the checks that ran then, and what they come to."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from harness.api.check import Check, Settings
from harness.deadline import Cancellation, Deadline
from harness.engine.console import ConsoleTail
from harness.engine.findings.watch import KEPT, Findings
from harness.engine.outcome import Outcome, RunResult
from harness.engine.plan import Options, make_plan
from harness.engine.scheduler import Scheduler
from harness.errors import MachineError, Source
from harness.events import Emitter, EventLog
from harness.inventory import load
from harness.report.junit import render
from harness.report.terminal import Terminal
from harness.report.write import results_json
from harness.target.target import Target
from tests.patience import scaled

from .reports import REPORTS
from .test_scheduler import FakeSession

LONG = 3600.0
PANIC = "Kernel panic - not syncing: sysrq triggered crash"
PANIC_REPORT = [
    f"[  106.089986] {PANIC}",
    "[  106.090346] CPU: 1 PID: 362 Comm: sh Not tainted 6.1.0-56-cloud-amd64 #1  Debian 6.1.192-2",
    "[  106.105760] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---",
]
OOM = "[   37.358936] Memory cgroup out of memory: Killed process 270 (tail) total-vm:22592kB"
SEGFAULT = "[   47.605678] perl[270]: segfault at 1 ip 00007fe15484ad76 sp 00007fff571b8868 error 4 in libc.so.6[7+1]"
WARNING = "[   50.302392] WARNING: CPU: 0 PID: 1 at kernel/made_up.c:12 nothing+0x1/0x2"


class Trial:
    """A run with fake targets that have a console."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = EventLog(folder / "events.jsonl", run="r")
        self.findings = Findings()
        self.log.subscribe(self.findings)
        self.cancellation = Cancellation()

    def say(self, *lines: str, target: str = "a") -> None:
        """What the target's console says, from a thread that is not the event loop's, as a console's reader does."""

        def tell() -> None:
            for line in lines:
                self.log.bind(target=target).emit("console.line", line, text=line, console=target)

        reader = threading.Thread(target=tell)
        reader.start()
        reader.join()

    def carry(
        self,
        checks: Sequence[Check],
        *,
        variables: str = "",
        hosts: str = "a",
        start: Callable[[Deadline], None] = lambda _deadline: None,
        stop: Callable[[], None] = lambda: None,
        options: Options | None = None,
    ) -> RunResult:
        (self.folder / "hosts").write_text("".join(f"{host} {variables}\n" for host in hosts.split(",")))
        plan = make_plan(load([str(self.folder / "hosts")]).select("all"), checks, options or Options(settle=False))

        def open_session(target: Any, _events: Emitter, _scale: float) -> FakeSession:
            session = FakeSession(target.host.name, start)
            session.stop = stop  # type: ignore[method-assign]
            return session

        scheduler = Scheduler(
            plan, run="r", open_session=open_session, events=self.log, console_tail=ConsoleTail(),
            cancellation=self.cancellation, findings=self.findings,
        )  # fmt: skip
        return asyncio.run(scheduler.run())

    def events(self, action: str) -> list[dict[str, Any]]:
        records = [json.loads(line) for line in (self.folder / "events.jsonl").read_bytes().splitlines()]
        return [record for record in records if record["event.action"] == action]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def check(name: str, function: Callable[[Target], Any], *, budget: float = LONG, alone: bool = True) -> Check:
    settings = Settings(budget=budget, attempt_timeout=budget, interval=LONG / 10, interval_max=LONG)
    return Check(name, "m", "m.py", function, Source(__file__, 1), settings, alone=alone)


def fine(_target: Target) -> str:
    return "fine"


def says(trial: Trial, *lines: str) -> Callable[[Target], Any]:
    return lambda _target: trial.say(*lines)


def test_a_finding_is_an_event_and_stands_with_the_check_that_ran_then(trial: Trial) -> None:
    result = trial.carry([check("hog", says(trial, "hello", OOM, SEGFAULT)), check("two", fine)])
    first, second = trial.events("finding")
    assert first["host.name"] == "a"
    assert (first["test.suite.name"], first["test.case.name"]) == ("m", "hog")
    assert (first["harness.finding"], first["harness.severity"], first["harness.ruling"]) == (
        "oom_kill", "error", "reported",
    )  # fmt: skip
    assert first["harness.text"] == OOM
    assert first["harness.checks"] == ["m.py::hog"]
    assert first["log.level"] == "error"
    lines = {record["event.sequence"]: record["harness.text"] for record in trial.events("console.line")}
    assert lines[first["harness.first_line"]] == lines[first["harness.last_line"]] == OOM
    assert second["harness.finding"] == "segfault"
    target = result.targets[0]
    assert [finding.name for finding in target.findings] == ["oom_kill", "segfault"]
    assert target.finding_counts == {"oom_kill": 1, "segfault": 1}
    assert [len(each.findings) for each in target.checks] == [2, 0]
    # Told, and no more: it is not forbidden.
    assert [each.outcome for each in target.checks] == [Outcome.PASSED] * 2
    assert result.exit_code == 0


@pytest.mark.parametrize(("lag", "named"), [(LONG, ["m.py::before", "m.py::runs"]), (-1.0, ["m.py::runs"])])
def test_a_check_that_has_just_ended_is_named_too(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, lag: float, named: list[str]
) -> None:
    """The console lags behind: what a check did may be printed when the next one runs."""
    monkeypatch.setattr("harness.engine.findings.watch.LAG", lag)
    result = trial.carry([check("before", fine), check("runs", says(trial, OOM)), check("after", fine)])
    assert list(result.targets[0].findings[0].checks) == named
    assert ("test.case.name" in trial.events("finding")[0]) is (len(named) == 1)


def test_checks_that_run_side_by_side_all_have_it(trial: Trial) -> None:
    together = threading.Barrier(2)

    def one(_target: Target) -> None:
        together.wait(scaled(60))
        trial.say(OOM)
        together.wait(scaled(60))

    def other(_target: Target) -> None:
        together.wait(scaled(60))
        together.wait(scaled(60))

    result = trial.carry([check("one", one, alone=False), check("other", other, alone=False)])
    (event,) = trial.events("finding")
    assert sorted(event["harness.checks"]) == ["m.py::one", "m.py::other"]
    assert "test.case.name" not in event
    assert [len(each.findings) for each in result.checks] == [1, 1]


def test_what_is_said_while_it_boots_or_goes_down_belongs_to_no_check(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engine.findings.watch.LAG", -1.0)
    result = trial.carry(
        [check("one", fine)],
        start=lambda _deadline: trial.say("[FAILED] Failed to start bad.service - Bad.", "See 'systemctl status bad'"),
        stop=lambda: trial.say(OOM),
    )
    assert [(each.name, each.checks) for each in result.targets[0].findings] == [("unit_failed", ()), ("oom_kill", ())]
    assert result.targets[0].findings[0].text.endswith("See 'systemctl status bad'")


def test_a_forbidden_one_fails_the_target_but_not_the_check(trial: Trial) -> None:
    result = trial.carry([check("one", says(trial, "[    1.000000] BUG: Bad rss-counter state mm:1"))])
    one, verdict = result.checks
    assert one.outcome is Outcome.PASSED
    assert (verdict.label, verdict.outcome) == ("(target)::findings", Outcome.FAILED)
    assert "bug (critical, forbidden): BUG: Bad rss-counter" in verdict.message
    assert result.exit_code == 1
    assert trial.events("check.end")[-1]["test.case.name"] == "findings"
    assert trial.events("finding")[0]["log.level"] == "error"


def test_an_inventory_forbids_expects_and_requires(trial: Trial) -> None:
    variables = "findings_forbidden=warning findings_expected=oom_kill findings_required='~perl.*segfault'"
    result = trial.carry([check("one", says(trial, OOM, SEGFAULT))], variables=variables)
    assert [each.ruling.value for each in result.targets[0].findings] == ["expected", "expected"]
    assert result.exit_code == 0
    assert {event["log.level"] for event in trial.events("finding")} == {"info"}


def test_what_is_required_and_not_seen_fails(trial: Trial) -> None:
    result = trial.carry([check("one", says(trial, OOM))], variables="findings_required=[watchdog_reset,oom_kill]")
    assert result.targets[0].findings_missed == ("watchdog_reset",)
    assert "'watchdog_reset' is required" in result.checks[-1].message
    assert result.exit_code == 1


def test_a_panic_ends_the_waits_of_its_target_and_of_no_other(trial: Trial) -> None:
    """A check's second look would be six minutes later."""
    trials: list[str] = []

    def not_yet(target: Target) -> None:
        if target.name == "a":
            if not trials:
                trial.say(*PANIC_REPORT)
            trials.append(target.name)
            raise AssertionError("not yet")

    def never_run(target: Target) -> None:
        assert target.name == "b"

    result = trial.carry([check("waits", not_yet), check("after", never_run)], hosts="a,b")
    a, b = result.targets
    assert [(each.outcome, each.attempts) for each in a.checks] == [
        (Outcome.FAILED, 1), (Outcome.UNREACHABLE, 0), (Outcome.FAILED, 0),
    ]  # fmt: skip
    assert a.checks[0].message == f"its kernel panicked: {PANIC} (while this check ran)"
    assert a.checks[1].message == f"not run: its kernel panicked: {PANIC}"
    assert a.findings[0].text == "\n".join(PANIC_REPORT)
    assert [each.outcome for each in b.checks] == [Outcome.PASSED, Outcome.PASSED]
    assert result.exit_code == 1
    assert not result.interrupted


def test_a_panic_ends_a_command_that_hangs(trial: Trial) -> None:
    def hangs(target: Target) -> None:
        trial.say(*PANIC_REPORT)
        target.deadline.sleep(LONG)

    result = trial.carry([check("hangs", hangs)])
    assert result.checks[0].outcome is Outcome.FAILED
    assert PANIC in result.checks[0].message


def test_a_panic_without_an_end_is_believed_when_it_falls_silent(trial: Trial) -> None:
    def hangs(target: Target) -> None:
        trial.say(*PANIC_REPORT[:-1])
        target.deadline.sleep(LONG)

    result = trial.carry([check("hangs", hangs)])
    assert PANIC in result.checks[0].message
    assert result.targets[0].findings[0].text == "\n".join(PANIC_REPORT[:-1])


def test_an_expected_panic_ends_nothing(trial: Trial) -> None:
    result = trial.carry(
        [check("crash", says(trial, *PANIC_REPORT)), check("after", fine)], variables="findings_required=panic"
    )
    assert [each.outcome for each in result.checks] == [Outcome.PASSED, Outcome.PASSED]
    assert result.exit_code == 0


def test_a_panic_while_it_boots_is_told_by_who_watches_the_boot(trial: Trial) -> None:
    def start(_deadline: Deadline) -> None:
        trial.say(*PANIC_REPORT)
        time.sleep(0.2)
        _deadline.check("booting")
        raise MachineError("a did not boot: its kernel panicked; the console's last lines: …")

    result = trial.carry([check("one", fine)], start=start)
    assert "did not boot" in result.targets[0].unreachable
    assert [each.name for each in result.targets[0].findings] == ["panic"]
    assert result.exit_code == 3


def test_an_interrupt_is_an_interrupt(trial: Trial) -> None:
    def waits(_target: Target) -> None:
        trial.cancellation.cancel("interrupted by SIGINT")
        raise AssertionError("not yet")

    result = trial.carry([check("waits", waits)])
    assert result.checks[0].message == "interrupted: interrupted by SIGINT"
    assert result.exit_code == 130


def test_a_flood_is_counted_and_bounded_and_hides_nothing(trial: Trial) -> None:
    lines = [f"[{n:5d}.000000] perl-{n}[{n}]: segfault at 1 ip 1 sp 1 error 4 in x[1+1]" for n in range(1, 501)]
    lines.insert(300, "[  300.500000] init[1]: segfault at 1 ip 1 sp 1 error 4 in x[1+1]")
    result = trial.carry([check("one", says(trial, *lines))], variables="findings_forbidden='~init'")
    target = result.targets[0]
    assert target.finding_counts == {"segfault": 501}
    assert len(target.findings) == KEPT + 1
    assert [each.title.split("[")[0] for each in target.findings if each.ruling.value == "forbidden"] == ["init"]
    assert len(trial.events("finding.more")) == 1


def test_what_another_room_has_found_is_counted_and_not_told_twice(trial: Trial) -> None:
    def connects(target: Target) -> None:
        target.events.emit("finding", "a shows another host key", level="error", finding="host_key_changed", shown="x")

    result = trial.carry([check("one", connects)], variables="findings_forbidden=host_key_changed")
    assert len(trial.events("finding")) == 1
    assert [(each.name, each.ruling.value) for each in result.targets[0].findings] == [
        ("host_key_changed", "forbidden")
    ]
    assert result.exit_code == 1


def test_secrets_on_the_console_are_masked_in_its_findings(trial: Trial) -> None:
    trial.log.add_secret("hunter2secret")
    result = trial.carry([check("one", says(trial, f"{OOM} hunter2secret"))])
    assert "hunter2secret" not in results_json(result)
    assert "hunter2secret" not in (trial.folder / "events.jsonl").read_text()


def test_reports_tell_them(trial: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    oops = next(text for name, text in REPORTS if name == "oops").split("\n")
    stamped = [f"[   12.{n:06d}] {line}" for n, line in enumerate(oops)]
    result = trial.carry([check("one", says(trial, *stamped)), check("two", says(trial, WARNING, OOM))])
    document = json.loads(results_json(result))
    target = document["targets"][0]
    assert [each["name"] for each in target["findings"]] == ["oops", "kernel_warning", "oom_kill"]
    assert target["findings"][0]["severity"] == "critical"
    assert target["findings"][0]["ruling"] == "forbidden"
    assert target["checks"][1]["findings"][0].startswith("kernel_warning (warning): WARNING: CPU: 0")
    xml = render(result)
    assert 'tests="3" failures="1"' in xml
    assert "<system-out>Findings on the console" in xml
    assert all(escape(line) in xml for line in oops)
    Terminal(sys.stdout).summary(result, "logs/r")
    printed = capsys.readouterr().out
    assert "FAILED a  (target)::findings" in printed
    assert "FINDING a  oops (critical, forbidden)" in printed
    assert "    while m.py::one ran\n" in printed
    assert "FINDING a  oom_kill (error): Memory cgroup out of memory" in printed
    assert "3 findings on the console" in printed
    assert "0 attempts" not in printed
    Terminal(sys.stdout, verbosity=-1).summary(result, "logs/r")
    assert "FINDING a  oops" in capsys.readouterr().out


def test_the_same_again_is_one_finding_with_a_count(trial: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"[{n:5d}.000000] sshd[{n}]: segfault at 1 ip 1 sp 1 error 4 in sshd[1+1]" for n in range(1, 15)]
    lines += ["[   20.000000] cron[99]: segfault at 1 ip 1 sp 1 error 4 in cron[1+1]"]
    result = trial.carry([check("one", says(trial, *lines[:7])), check("two", says(trial, *lines[7:]))])
    found = result.targets[0].findings
    assert [each.count for each in found if each.name == "segfault"] == [14, 1]
    assert found[0].checks == ("m.py::one", "m.py::two")
    assert len([each for each in trial.events("finding") if each["harness.finding"] == "segfault"]) == 2
    Terminal(sys.stdout).summary(result, "logs/r")
    printed = capsys.readouterr().out
    assert printed.count("FINDING a  segfault") == 2
    assert "error 4 in sshd[1+1] (14 times)" in printed


def test_units_and_devices_that_differ_by_a_number_are_not_the_same(trial: Trial) -> None:
    lines = [f"[    1.000000] systemd[1]: getty@tty{n}.service: Failed with result 'exit-code'." for n in range(1, 4)]
    result = trial.carry([check("one", says(trial, *lines))])
    assert [each.count for each in result.targets[0].findings] == [1, 1, 1]
