"""Commands and people that touch the terminal: nothing of ours, and nothing that a command started, stays stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.transport.errors import Eof, Timeout, TransportLost
from harness.transport.serial.transport import SerialTransport
from tests.patience import scaled

Within = Callable[..., Deadline]


@pytest.fixture(params=["dash", "bash", "busybox", "zsh"])
def transport(request: pytest.FixtureRequest, bench: Any, within: Within, tmp_path: Path) -> SerialTransport:
    """A session whose `sh` is this shell."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(shutil.which(request.param) or "")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    made: SerialTransport = bench.shell("bash", "--norc", "-i", env={"PATH": path})
    made.run("true", deadline=within())
    return made


def states_on(tty: str) -> dict[int, str]:
    """The process states (proc(5)) of all that have this terminal."""
    listed = subprocess.run(["ps", "-t", tty.removeprefix("/dev/"), "-o", "pid=,stat="], capture_output=True, text=True)
    return {int(pid): stat for pid, stat in (line.split() for line in listed.stdout.splitlines())}


def wait_until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    until = time.monotonic() + scaled(20)
    while not condition():
        assert time.monotonic() < until, what()
        time.sleep(0.02)


TOUCHES = ["read x </dev/tty", "stty sane </dev/tty", "head -c 1 /dev/tty"]
INNOCENT = ["find /dev/null", "echo fine", "cat /etc/hostname"]


def test_a_command_that_stops_itself_times_out_or_ends_by_itself(
    transport: SerialTransport, request: pytest.FixtureRequest, within: Within
) -> None:
    """zsh continues what it waits for and finds stopped, so the command ends with its own status; others wait."""
    command = "env sh -c 'kill -STOP $$; exit 5'"
    if request.node.callspec.params["transport"] == "zsh":
        assert transport.run(command, deadline=within()).exit_status == 5
    else:
        with pytest.raises(Timeout):
            transport.run(command, deadline=within(1.5))
    assert transport.run("echo next", deadline=within()).stdout == b"next\n"


def test_a_command_that_touches_the_terminal_costs_no_other_one(
    transport: SerialTransport, bench: Any, within: Within
) -> None:
    tty = bench.guests[0].tty
    for command in TOUCHES:
        with pytest.raises(Timeout):
            transport.run(command, deadline=within(1.5))
        for innocent in INNOCENT:
            assert transport.run(innocent, deadline=within()).exit_status == 0
    wait_until(lambda: not any("T" in stat for stat in states_on(tty).values()), lambda: str(states_on(tty)))


def test_a_command_that_stops_its_own_group(transport: SerialTransport, bench: Any, within: Within) -> None:
    """Ours waits for it in the same group, and is stopped with it."""
    tty = bench.guests[0].tty
    commands = ["kill -s STOP 0; find /dev/null", "find /dev/null; kill -s STOP $$"]
    if os.readlink(bench.folder / "bin" / "sh").endswith("zsh"):
        commands.pop()  # zsh takes a child that is stopped for one that has ended
    for command in commands:
        with pytest.raises(Timeout):
            transport.run(command, deadline=within(1.5))
        assert transport.run("sh -c 'echo fine'", deadline=within()).stdout == b"fine\n"
    wait_until(lambda: not any("T" in stat for stat in states_on(tty).values()), lambda: str(states_on(tty)))


def test_our_shell_is_not_stopped(transport: SerialTransport, bench: Any, within: Within) -> None:
    assert transport.guest is not None
    transport._console.write(b"\x1a", deadline=within())
    assert transport.run("sh -c 'echo fine'", deadline=within()).stdout == b"fine\n"
    for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        os.kill(transport.guest.pid, number)
        assert transport.run("sh -c 'echo fine'", deadline=within()).stdout == b"fine\n"


def test_our_shell_in_the_background_ends(transport: SerialTransport, bench: Any, within: Within) -> None:
    """Another process group has the terminal when something is typed: reading it may not stop our shell for good."""
    assert transport.guest is not None
    ours, guest = transport.guest.pid, bench.guests[0]
    script = bench.folder / "taker.py"  # only a process of the terminal's own session may give it to another group
    script.write_text(
        "import os, signal\n"
        "signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
        f"os.tcsetpgrp(os.open({guest.tty!r}, os.O_RDWR | os.O_NOCTTY), os.getpgid({guest.process.pid}))\n"
    )
    with suppress(TransportLost):  # the shell may be gone before it can answer
        transport.run(f"{sys.executable} {script}", deadline=within())
    with suppress(Eof):
        transport._console.write(b"\n", deadline=within())
    wait_until(lambda: not Path(f"/proc/{ours}").exists(), lambda: Path(f"/proc/{ours}/stat").read_text())


def test_a_command_finds_the_signals_as_the_login_left_them(
    transport: SerialTransport, bench: Any, within: Within
) -> None:
    """Ours ignores them, a command does not; not in any of the ways that a command may be run."""
    for command in (
        "grep SigIgn /proc/self/status",
        "grep SigIgn /proc/self/status; find /dev/null",
        "sh -c 'grep SigIgn /proc/self/status'",
    ):
        result = transport.run(command, deadline=within())
        ignored = int(result.stdout.split()[1], 16)
        assert not ignored & sum(1 << (number - 1) for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU))
