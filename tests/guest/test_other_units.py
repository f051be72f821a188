"""sshd under its other names and ways of starting: by its socket, and as sshd.service. One machine, kept and
attached to."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import RESTORED, SSHD, Run, gone

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

BY_SOCKET = """\
from harness import check

@check(alone=True, transport="serial", attempt_timeout=90, budget=200)
def start_by_socket(target):
    assert target.run("systemctl disable --now ssh.service && systemctl enable --now ssh.socket").ok
    assert target.unit_up("ssh.socket").sub_state == "listening"
"""

# It looks again after 96 s at the soonest, unless it is woken.
COMES_LATER = """\
from harness import check

@check(transport="ssh", interval=120, interval_max=120, attempt_timeout=60, budget=250)
def noticed(target):
    start = "systemd-run --quiet --unit=later --on-active=15 sleep 1000"
    assert target.run(f"test -e /run/later || {{ touch /run/later; {start}; }}").ok
    return target.unit_up("later.service").identity
"""

AS_SSHD = """\
from harness import check

@check(alone=True, transport="serial", attempt_timeout=90, budget=200)
def start_as_sshd(target):
    commands = (
        "systemctl disable --now ssh.socket",
        "systemctl stop ssh.service",
        "cp /lib/systemd/system/ssh.service /tmp/unit",
        "systemctl mask ssh.service",
        "rm -f /etc/systemd/system/sshd.service",
        "grep -v Alias= /tmp/unit > /etc/systemd/system/sshd.service",
        "systemctl daemon-reload",
        "systemctl start sshd.service",
    )
    for command in commands:
        result = target.run(command)
        assert result.ok, result.err
    assert target.unit_up("sshd.service").active_state == "active"
"""


def attach(reach: list[str], file: Path) -> str:
    """An inventory that attaches to a kept machine by what the run printed."""
    text = "\n".join(reach)
    found = {
        name: re.search(pattern, text)
        for name, pattern in {
            "ansible_port": r"-p (\d+)",
            "ansible_ssh_private_key_file": r"-i (\S+)",
            "serial_socket": r"UNIX-CONNECT:(\S+)",
            "known": r"UserKnownHostsFile=(\S+)",
            "manifest": r"password in (\S+)",
        }.items()
    }
    values = {name: match[1] for name, match in found.items() if match}
    assert set(values) == set(found), text
    password = re.search(r'"password": "([^"]+)"', Path(values.pop("manifest")).read_text())
    assert password
    known = values.pop("known")
    words = " ".join(f"{name}={value}" for name, value in values.items())
    file.write_text(
        f"vm1 ansible_host=127.0.0.1 ansible_user=root {words} serial_password={password[1]} "
        f"ansible_ssh_common_args='-o UserKnownHostsFile={known}'\n"
    )
    return password[1]


def test_socket_activation_and_the_other_name(harness: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "by_socket.py").write_text(BY_SOCKET)
    (tmp_path / "as_sshd.py").write_text(AS_SSHD)
    (tmp_path / "comes_later.py").write_text(COMES_LATER)
    mine = (str(tmp_path / "by_socket.py"), str(tmp_path / "comes_later.py"))
    first = harness("-i", str(RESTORED), "--keep", *mine, SSHD)
    code = first.finish(400)
    (pid,) = first.machines()
    try:
        assert code == 0, first.stdout + first.stderr
        by_name = {check["check"]: check for check in first.results["targets"][0]["checks"]}
        assert by_name["listening_sockets"]["observations"][-1]["seen"].startswith("systemd listens on")
        assert "ssh.socket" in by_name["unit_settled"]["observations"][-1]["seen"]
        # The manager itself said so, and nobody waited for the pause to be over.
        *_, before, last = by_name["noticed"]["observations"]
        assert last["outcome"] == "passed"
        assert last["at"] - before["at"] < 96
        password = attach(first.results["targets"][0]["reach"], tmp_path / "attach.ini")
        second = harness("-i", str(tmp_path / "attach.ini"), str(tmp_path / "as_sshd.py"), SSHD)
        assert second.finish(400) == 0, second.stdout + second.stderr
        by_name = {check["check"]: check for check in second.results["targets"][0]["checks"]}
        assert "sshd.service" in by_name["unit_settled"]["observations"][-1]["seen"]
        assert by_name["listening_sockets"]["observations"][-1]["seen"].startswith("sshd listens on")
        # The console's password was typed, and stands in no file that either run left.
        for run in (first, second):
            for file in run.record.rglob("*"):
                if file.is_file():
                    assert password.encode() not in file.read_bytes(), file
    finally:
        os.kill(pid, signal.SIGTERM)
    assert gone([pid])
