"""The main job on a real machine, and what happens to it when things go wrong."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import scaled

from .conftest import INVENTORIES, RESTORED, ROOT, SSHD, Run, alive, gone

pytestmark = pytest.mark.guest

LOCAL = str(INVENTORIES / "local.ini")
BROKEN = str(INVENTORIES / "broken-sshd.ini")


def test_a_healthy_machine_passes(harness: Callable[..., Run]) -> None:
    run = harness("-i", LOCAL, SSHD)
    assert run.finish() == 0, run.stdout + run.stderr
    outcomes = run.outcomes()
    assert len(outcomes) == 17
    assert set(outcomes.values()) == {"passed"}, outcomes
    # Outside and inside, and what they saw is what is there.
    for words in ("sshd/outside::banner", "sshd/inside::unit_settled", "17 passed, 0 failed"):
        assert words in run.stdout
    assert "\x1b" not in run.stdout
    stages = [event["harness.stage"] for event in run.of("boot.stage")]
    assert stages == sorted(stages, key=["firmware", "kernel", "initrd", "userspace", "login"].index)
    assert {"kernel", "userspace", "login"} <= set(stages)
    # The record: complete, private, ordered.
    events = run.events
    assert [event["event.sequence"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["event.action"] == "run.start"
    assert events[-1]["event.action"] == "run.end"
    assert stat.S_IMODE(run.record.stat().st_mode) == 0o700
    console = next(run.record.glob("targets/vm1/console*.log"))
    assert b"login:" in console.read_bytes()
    assert any("Linux version" in event["harness.text"] for event in run.of("console.line"))
    root = ET.parse(run.record / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == (str(len(outcomes)), "0")
    # Both transports served, each where it should.
    used = {event["harness.transport"] for event in run.of("command")}
    assert used == {"ssh", "serial"}
    assert gone(run.machines())


def test_a_broken_sshd_is_explained_over_the_console(harness: Callable[..., Run]) -> None:
    run = harness("-i", BROKEN, SSHD, "--collect-recipe", "quick", collect=True)
    assert run.finish() == 1, run.stdout + run.stderr
    outcomes = run.outcomes()
    for check in ("tcp_answers", "banner", "key_exchange", "login_with_key", "wrong_key_refused"):
        assert outcomes[f"sshd/outside::{check}"] == "failed"
    assert outcomes["sshd/inside::unit_settled"] == "failed"
    assert outcomes["sshd/inside::host_keys_safe"] == "passed"
    assert outcomes["sshd/inside::no_job_queued"] == "passed"
    # The verdict names the unit, its result, and its own words; the outside checks give the same reason at once.
    by_name = {c["check"]: c for target in run.results["targets"] for c in target["checks"]}
    for check in ("unit_settled", "tcp_answers"):
        message = by_name[check]["message"]
        assert "ssh.service" in message
        assert re.search(r"Result=(exit-code|start-limit-hit)", message)
        assert "NoSuchSetting" in message or "nosuchsetting" in message.lower()
        assert by_name[check]["attempts"] == 1
    message = by_name["tcp_answers"]["message"]
    assert message.startswith("ssh.service failed"), "the cause comes first"
    assert "; seen from outside: " in message
    assert "NoSuchSetting" in run.stdout
    # It went over the console, loudly.
    assert {e["harness.transport"] for e in run.of("command") if "harness.exit_status" in e} == {"serial"}
    fallback = run.of("link.fallback")
    assert fallback
    # A forwarded port accepts and hangs up; one without a forwarder refuses.
    assert fallback[0]["harness.cause"] in ("refused", "banner")
    assert "repeat: harness run -i" in run.stdout
    # What it has to say was collected over the console, before the machine was ended.
    assert "targets/vm1/collected/summary.md" in run.stdout
    assert "NoSuchSetting" in (run.record / "targets" / "vm1" / "collected" / "sshd-test.err.txt").read_text()
    assert run.of("collect.end")[0]["event.sequence"] < run.of("machine.stopped")[0]["event.sequence"]
    # The password of the console login was typed, and is in no file that the run left, nor on its terminal.
    assert [event for event in run.of("console.input") if event["harness.text"] == "********"]
    secret = password_of_the_image()
    assert secret not in run.stdout + run.stderr
    for file in run.record.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file
    assert gone(run.machines())


def test_a_killed_run_leaves_no_machine(harness: Callable[..., Run]) -> None:
    run = harness("-i", LOCAL, SSHD)
    run.wait_for("boot.stage")
    machines = run.machines()
    assert machines
    assert all(alive(pid) for pid in machines)
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.communicate()
    assert gone(machines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_tells_what_it_learnt(harness: Callable[..., Run], number: signal.Signals) -> None:
    run = harness("-i", LOCAL, SSHD)
    run.wait_for("boot.stage")
    run.process.send_signal(number)
    assert run.finish(30) == 130
    assert gone(run.machines())
    assert run.results["interrupted"] is True
    assert set(run.outcomes().values()) == {"skipped"}
    assert (run.record / "junit.xml").exists()
    assert "Traceback" not in run.stdout + run.stderr


def password_of_the_image() -> str:
    found = subprocess.run(
        [sys.executable, "-m", "harness", "image", "path", "debian"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    password: str = json.loads((Path(found.stdout.strip()) / "manifest.json").read_text())["password"]
    assert len(password) > 8
    return password


MINE = """\
from harness import check

@check
def answers_to_its_name(target):
    assert target.run("hostname").out == target.name

@check
def is_another_machine(target):
    target.run(f"echo {target.vars['mark']} > /root/mark")
    assert target.read("cat /root/mark") == target.vars["mark"]
"""


def test_two_runs_at_once_with_a_check_of_ones_own(harness: Callable[..., Run], tmp_path: Path) -> None:
    mine = tmp_path / "elsewhere" / "mine.py"
    mine.parent.mkdir()
    mine.write_text(MINE)
    runs = [harness("-i", LOCAL, "-e", f"mark=run{number}", str(mine)) for number in range(2)]
    assert [run.finish() for run in runs] == [0, 0], [run.stdout + run.stderr for run in runs]
    for run in runs:
        assert set(run.outcomes().values()) == {"passed"}
        assert gone(run.machines())
    assert set(runs[0].machines()).isdisjoint(runs[1].machines())


def test_a_kept_machine_can_be_attached_to(harness: Callable[..., Run], tmp_path: Path) -> None:
    first = harness("-i", str(RESTORED), "--keep", f"{SSHD}/outside.py::tcp_answers")
    assert first.finish() == 0, first.stdout + first.stderr
    (pid,) = first.machines()
    assert alive(pid)
    try:
        (reach,) = [target["reach"] for target in first.results["targets"]]
        text = "\n".join(reach)
        assert text in first.stdout
        command = next(line for line in reach if "ssh " in line)
        port = re.search(r"-p (\d+)", command)
        key = re.search(r"-i (\S+)", command)
        known = re.search(r"UserKnownHostsFile=(\S+)", command)
        socket = re.search(r"UNIX-CONNECT:(\S+)", text)
        assert port
        assert key
        assert known
        assert socket
        printed = shlex.split(command.partition("ssh:")[2])
        typed = subprocess.run(
            [*printed, "id", "-un"], stdin=subprocess.DEVNULL, capture_output=True, timeout=scaled(60), check=False
        )
        assert (typed.returncode, typed.stdout) == (0, b"root\n"), typed.stderr
        inventory = tmp_path / "attach.ini"
        inventory.write_text(
            f"vm1 ansible_host=127.0.0.1 ansible_port={port[1]} ansible_user=root "
            f"ansible_ssh_private_key_file={key[1]} serial_socket={socket[1]} "
            f"ansible_ssh_common_args='-o UserKnownHostsFile={known[1]}'\n"
        )
        second = harness("-i", str(inventory), f"{SSHD}/outside.py", "--no-settle")
        assert second.finish(120) == 0, second.stdout + second.stderr
        assert second.machines() == []
        assert alive(pid), "an attached machine must not be stopped"
    finally:
        os.kill(pid, signal.SIGTERM)
    assert gone([pid])
