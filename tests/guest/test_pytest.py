"""Somebody's pytest suite on a real machine: booted once, settled, looked at over SSH and console, and gone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import scaled

from .conftest import INVENTORIES, ROOT, alive, gone

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

SUITE = """
import pytest

@pytest.fixture(scope="module")
def slow_unit(harness_target):
    "A unit that comes up once there is a file."
    start = "/bin/sh -c 'until test -e /run/go; do sleep 0.2; done'"
    unit = f"[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart={start}\\n"
    harness_target.put(unit.encode(), "/run/systemd/system/slow.service", mode=0o644)
    harness_target.read("systemctl daemon-reload && systemctl start --no-block slow.service")
    yield "slow"
    harness_target.read("systemctl stop slow.service")

@pytest.mark.harness(interval=0.2)
def test_comes_up(target, slow_unit):
    running = target.host.service(slow_unit).is_running
    target.run("touch /run/go")
    assert running

@pytest.mark.parametrize("transport", ["ssh", "serial"])
def test_resources(target, transport):
    host = target.over(transport).host
    assert host.backend.get_pytest_id() == "harness://vm1"
    ssh = host.service("ssh")
    assert ssh.is_running
    assert ssh.is_enabled
    assert not ssh.is_masked
    assert ssh.systemd_properties["ActiveState"] == "active"
    assert not host.service("no-such-unit").is_running
    shadow = host.file("/etc/shadow")
    assert (shadow.user, shadow.group, shadow.mode) == ("root", "shadow", 0o640)
    assert host.file("/etc/os-release").contains("^ID=debian$")
    assert host.file("/etc/passwd").content == target.get("/etc/passwd")
    assert host.socket("tcp://0.0.0.0:22").is_listening
    assert not host.socket("tcp://0.0.0.0:2222").is_listening
    root = host.user("root")
    assert (root.uid, root.home, root.exists) == (0, "/root", True)
    assert not host.user("nobody-of-that-name").exists
    assert host.package("openssh-server").is_installed
    assert host.mount_point("/").filesystem
    assert host.sysctl("kernel.osrelease") == target.read("uname -r")
    assert "lo" in host.interface.names()
    assert host.process.get(pid=1).comm == "systemd"
    assert host.system_info.distribution == "debian"

def test_what_is_not_so_is_told(target):
    assert target.host.service("no-such.timer").is_enabled
"""

README = re.findall(r"```python\n(import pytest\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
"""Its example works as it stands."""


class Session:
    """One run of pytest in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        (folder / "test_mine.py").write_text(SUITE)
        (folder / "test_readme.py").write_text(README)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", f"--harness-inventory={INVENTORIES / 'local.ini'}", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""

    def finish(self) -> int:
        self.output = self.process.communicate(timeout=scaled(400))[0]
        return self.process.returncode

    def of(self, action: str) -> list[dict[str, Any]]:
        file = self.folder / "logs" / "latest" / "events.jsonl"
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        return [event for event in map(json.loads, lines) if event["event.action"] == action]

    def machines(self) -> list[int]:
        return [event["process.pid"] for event in self.of("machine.started")]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for file in tmp_path.rglob("events.jsonl"):
        for line in file.read_text().splitlines():
            event = json.loads(line)
            if event["event.action"] == "machine.started" and alive(event["process.pid"]):
                os.kill(event["process.pid"], signal.SIGKILL)


def test_a_suite_on_a_machine(folder: Path) -> None:
    session = Session(folder, "-v")
    assert session.finish() == pytest.ExitCode.TESTS_FAILED, session.output
    results = json.loads((folder / "logs/latest/results.json").read_text())
    (target,) = results["targets"]
    checks = {check["check"]: check for check in target["checks"]}
    assert {name: check["outcome"] for name, check in checks.items()} == {
        "test_comes_up[vm1]": "passed",
        "test_resources[vm1-ssh]": "passed",
        "test_resources[vm1-serial]": "passed",
        "test_what_is_not_so_is_told[vm1]": "failed",
        "test_users[vm1]": "passed",
        "test_sshd[vm1]": "passed",
    }, session.output
    assert checks["test_resources[vm1-ssh]"]["transports"] == ["ssh"]
    # `get` goes over the transport of the target itself.
    assert set(checks["test_resources[vm1-serial]"]["transports"]) == {"serial", "ssh"}
    assert checks["test_comes_up[vm1]"]["attempts"] > 1
    assert "Does this service exist?" in checks["test_what_is_not_so_is_told[vm1]"]["message"]
    assert "Does this service exist?" in session.output
    # Booted once, settled before the first test, stopped after the last.
    assert len(session.machines()) == 1
    assert "vm1: running, no jobs queued" in session.output
    first = session.of("check.start")
    assert [event["test.case.name"] for event in first][:2] == ["settled", "test_comes_up[vm1]"]
    assert target["settled"].startswith("running")
    assert [stage for stage, _ in target["stages"]][-1] == "login"
    assert gone(session.machines())


def test_an_interrupt_ends_the_machine_too(folder: Path) -> None:
    session = Session(folder)
    end = time.monotonic() + scaled(300)
    while not any(event["harness.stage"] == "kernel" for event in session.of("boot.stage")):
        assert session.process.poll() is None, session.process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    session.process.send_signal(signal.SIGINT)
    assert session.finish() == pytest.ExitCode.INTERRUPTED, session.output
    assert gone(session.machines())
    assert session.of("run.end")
    assert "INTERNALERROR" not in session.output
