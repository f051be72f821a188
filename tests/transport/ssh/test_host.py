"""`target.host` over a real sshd and over a real console: the whole command, as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.testing.pty_guest import PtyGuest
from tests.patience import scaled

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import Sshd

ROOT = Path(__file__).parents[3]

CHECKS = """
import os
from harness import check

FOLDER = os.environ["TEST_FOLDER"]

@check
def looks(target):
    host = target.host
    assert host.file("/etc/passwd").user == "root"
    assert host.file("/etc/passwd").mode == 0o644
    assert host.file(f"{FOLDER}/odd").content == bytes(range(256)) + "é".encode()
    assert host.file(f"{FOLDER}/odd").content_string.endswith("\\\\xffé")
    assert not host.file("/no/such").exists
    assert host.user("root").uid == 0
    assert host.group("root").gid == 0
    assert host.mount_point("/").exists
    assert host.package("openssh-server").is_installed
    assert not host.package("no-such-package").is_installed
    assert host.sysctl("kernel.ostype") == "Linux"
    assert "127.0.0.1" in host.interface("lo").addresses
    assert host.socket(f"tcp://127.0.0.1:{os.environ['TEST_PORT']}").is_listening
    assert not host.socket("tcp://127.0.0.1:1").is_listening
    assert [each for each in host.process.filter(comm="sshd") if each.ppid]
    assert host.run("printf %s; exit 7", "a'b").stdout == "a'b"
    assert host.run("exit 7").rc == 7
    return host.system_info.distribution

@check(interval=0.05, budget=60)
def waits_for_a_file(target):
    "testinfra raises RuntimeError where there is none."
    word = target.host.file(f"{FOLDER}/late").content_string
    assert word == "here"

@check(budget=4, interval=0.05)
def says_what_it_saw(target):
    target.host.check_output("ls /no/such/folder")

@check
def has_a_mistake(target):
    target.host.serivce("ssh")
"""


@pytest.fixture
def console(tmp_path: Path) -> Iterator[PtyGuest]:
    with PtyGuest(["bash", "--norc", "-i"], tmp_path / "console") as guest:
        yield guest


@pytest.mark.parametrize("transport", ["ssh", "serial"])
def test_testinfra_over_our_link(shared_sshd: Sshd, console: PtyGuest, tmp_path: Path, transport: str) -> None:
    (tmp_path / "odd").write_bytes(bytes(range(256)) + "é".encode())
    (tmp_path / "mine.py").write_text(CHECKS)
    (tmp_path / "inv.ini").write_text(
        f"box ansible_host=127.0.0.1 ansible_port={shared_sshd.port} ansible_user=root settle=false "
        f"ansible_ssh_private_key_file={shared_sshd.client_key} ansible_host_key_checking=false "
        f"serial_socket={console.path}\n"
    )
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", "-i", "inv.ini", "--no-collect", "--transport", transport, "mine.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TEST_FOLDER": str(tmp_path),
            "TEST_PORT": str(shared_sshd.port),
            "XDG_RUNTIME_DIR": str(runtime),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    # The file comes once it was looked for at least twice.
    watch = threading.Thread(target=_write_late, args=(tmp_path, process), daemon=True)
    watch.start()
    printed = process.communicate(timeout=scaled(120))[0]
    results = _results(tmp_path)
    assert results["looks"]["outcome"] == "passed", printed
    assert results["looks"]["transports"] == [transport]
    assert results["waits_for_a_file"]["outcome"] == "passed", printed
    assert results["waits_for_a_file"]["attempts"] > 1
    seen = [each["seen"] for each in results["waits_for_a_file"]["observations"] if each["seen"]]
    assert "No such file" in seen[0]
    failed = results["says_what_it_saw"]
    assert failed["outcome"] == "failed"
    assert failed["attempts"] > 1
    assert "Unexpected exit code 2 for `ls /no/such/folder` (exit status 2: ls: cannot access" in failed["message"]
    mistake = results["has_a_mistake"]
    assert (mistake["outcome"], mistake["attempts"]) == ("error", 1)
    assert "'TargetHost' object has no attribute 'serivce'" in mistake["message"]
    # All of it is in the record, attempt by attempt, and counted.
    events = [json.loads(line) for line in (tmp_path / "logs/latest/events.jsonl").read_text().splitlines()]
    commands = [event for event in events if event["event.action"] == "command"]
    assert len(commands) == sum(each["commands"] for each in results.values())
    assert {event["harness.attempt"] for event in commands} >= {1, 2}


def _write_late(folder: Path, process: subprocess.Popen[str]) -> None:
    record = folder / "logs" / "latest" / "events.jsonl"
    while process.poll() is None:
        if record.exists() and record.read_text().count(f"cat -- {folder}/late") > 2:
            (folder / "late").write_text("here")
            return


def _results(folder: Path) -> dict[str, dict[str, Any]]:
    document = json.loads((folder / "logs" / "latest" / "results.json").read_text())
    return {check["check"]: check for target in document["targets"] for check in target["checks"]}
