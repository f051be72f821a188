"""`harness console` of machines that QEMU carries: one that is up, and one of a run that goes on. No QEMU is needed to
find them: what is told of them lies in files."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.events import EventLog
from harness.machine.up import Up, born, write
from harness.testing.pty_guest import PtyGuest
from tests.operate.person import Person, harness

People = Callable[..., Person]
CONSOLE = ("console", "-i", "inv.ini", "vm1")
RUN = "20261123T000000Z-abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of `vm1` in a run, with what its console has said so far."""
    (tmp_path / "live.iso").touch()
    (tmp_path / "inv.ini").write_text("vm1 qemu_iso=live.iso serial_user=root\n")
    made = tmp_path / "logs" / RUN / "targets" / "vm1"
    made.mkdir(parents=True)
    (made / "console.log").write_bytes(b"".join(b"line %d\r\n" % number for number in range(100)) + b"prompt> ")
    return made


@pytest.fixture
def machine(folder: Path, board: PtyGuest) -> Iterator[subprocess.Popen[bytes]]:
    """`vm1` is up, for as long as this process runs; its console is the board's."""
    (folder.parents[3] / "inv.ini").write_text("vm1 qemu_iso=live.iso serial_user=root\n")
    process = subprocess.Popen(["sleep", "1000"])
    up = Up(
        name="vm1",
        run=RUN,
        pid=process.pid,
        born=born(process.pid),
        supervisor=process.pid,
        ssh_port=1,
        ports={},
        console_address=str(board.path),
        qmp_address="/none",
        accel="tcg",
        persistent=False,
        folder=folder,
        image=None,
        started=time.time(),
        until=None,
    )
    write(up, folder.parents[2] / "up")
    yield process
    process.kill()
    process.wait()


def test_what_came_before_is_that_machines_own_log(
    folder: Path, machine: subprocess.Popen[bytes], person: People
) -> None:
    one = person(*CONSOLE, "--tail", "3")
    one.sees(str(folder / "console.log").encode())
    one.sees(b"line 97\r\nline 98\r\nline 99\r\nprompt> ")
    assert b"line 96" not in one.seen
    one.is_answered(b"echo so$((1))\r", b"so1")
    one.type(b"\x1d")
    assert one.finish() == 0
    whole = person(*CONSOLE)
    whole.sees(b"prompt> ")
    assert b"line 80" in whole.seen  # a window full
    assert b"line 60\r" not in whole.seen
    whole.type(b"\x1d")
    assert whole.finish() == 0


def test_commands_go_over_its_console(folder: Path, machine: subprocess.Popen[bytes]) -> None:
    done = harness(folder.parents[3], *CONSOLE, "-q", input=b"echo here\n")
    assert (done.returncode, done.stdout) == (0, b"here\n"), done.stderr


def test_a_prompt_that_stands_there_can_be_expected(folder: Path, machine: subprocess.Popen[bytes]) -> None:
    done = harness(folder.parents[3], *CONSOLE, "--expect", "^prompt> $", "--json")
    assert done.returncode == 0, done.stderr


def test_watching_ends_with_the_machine(folder: Path, machine: subprocess.Popen[bytes], person: People) -> None:
    eyes = person(*CONSOLE, "--watch", "--tail", "1")
    eyes.sees(b"prompt> ")
    with (folder / "console.log").open("ab") as log:
        log.write(b"its last words\r\n")
    eyes.sees(b"its last words")
    machine.kill()
    machine.wait()
    eyes.sees(b"what was watched has ended")
    assert eyes.finish() == 0
    assert eyes.is_as_before


def test_the_machine_of_a_run_that_goes_on_is_watched(folder: Path, person: People) -> None:
    record = EventLog(folder.parents[1] / "events.jsonl", run=RUN)
    record.emit("target.start", "vm1: 1 checks", target="vm1", check_count=1)
    try:
        eyes = person(*CONSOLE, "--tail", "1")
        eyes.sees(f"held by the run {RUN}; watching only".encode())
        eyes.sees(b"line 99\r\nprompt> ")
        with (folder / "console.log").open("ab") as log:
            log.write(b"it goes on\r\n")
        eyes.sees(b"it goes on")
        # A log that was turned over begins anew.
        os.truncate(folder / "console.log", 0)
        with (folder / "console.log").open("ab") as log:
            log.write(b"anew\r\n")
        eyes.sees(b"anew")
    finally:
        record.close()
    eyes.sees(b"what was watched has ended")
    assert eyes.finish() == 0


def test_a_machine_that_is_not_up_is_told(folder: Path) -> None:
    done = harness(folder.parents[3], *CONSOLE, input=b"true\n")
    assert done.returncode == 3
    assert b"the machine vm1 is not up" in done.stderr
    assert b"harness up -i inv.ini vm1" in done.stderr
