"""A program on a pty: its session, its terminal, and what happens when it cannot be started or ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from harness.testing.pty_guest import PtyGuest
from tests.patience import scaled

REPORT = ["dash", "-c", "ps -o pid=,sid=,pgid=,tpgid=,tty= -p $$; env; echo end; exec sleep 1000"]


def reported(client: socket.socket) -> tuple[list[str], list[str]]:
    """Return what `ps` printed, and the lines of `env`."""
    client.settimeout(scaled(30))
    text = b""
    while b"end\r\n" not in text:
        data = client.recv(4096)
        assert data, text
        text += data
    first, *lines = text.decode().lstrip().split("\r\n")  # what was typed is echoed first
    return first.split(), lines


def connected(guest: PtyGuest) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(guest.path))
    return client


@pytest.mark.parametrize("controlling", [True, False])
def test_the_program_leads_a_session_and_has_the_terminal_where_that_is_wanted(
    tmp_path: Path, controlling: bool
) -> None:
    wait = ["dash", "-c", f"read go; {REPORT[-1]}"]
    with PtyGuest(wait, tmp_path / "console", controlling=controlling) as guest, connected(guest) as client:
        client.sendall(b"\n")
        (pid, session, group, foreground, tty), _ = reported(client)
        assert {pid, session, group} == {str(guest.process.pid)}
        assert tty == (guest.tty.removeprefix("/dev/") if controlling else "?")
        assert foreground == (pid if controlling else "-1")


def test_a_program_that_is_started_again_has_the_terminal_again(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    program = ["dash", "-c", f"read go <{gate}; {REPORT[-1]}"]
    with PtyGuest(program, tmp_path / "console", respawn=True) as guest, connected(guest) as client:
        found = []
        for _ in range(2):
            opening = threading.Thread(target=gate.write_text, args=("go\n",), daemon=True)
            opening.start()
            (pid, *_, foreground, tty), _ = reported(client)
            opening.join()
            assert (foreground, tty) == (pid, guest.tty.removeprefix("/dev/"))
            found.append(pid)
            os.kill(int(pid), signal.SIGKILL)
        assert found[0] != found[1]


def test_the_environment_is_the_one_given(tmp_path: Path) -> None:
    given = {"MINE": "a 'b' $c"}
    wait = ["dash", "-c", f"read go; unset PWD; {REPORT[-1]}"]
    with PtyGuest(wait, tmp_path / "console", env=given) as guest, connected(guest) as client:
        client.sendall(b"\n")
        _, lines = reported(client)
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names == {"PATH", "HOME", "TERM", "MINE"}
    assert "MINE=a 'b' $c" in lines


@pytest.mark.parametrize("program", ["no-such-program", "./none", "/nonexistent/program"])
def test_a_program_that_does_not_exist_is_an_error_and_leaves_nothing(tmp_path: Path, program: str) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(FileNotFoundError, match=program):
        PtyGuest([program], tmp_path / "console")
    assert not (tmp_path / "console").exists()
    assert set(threading.enumerate()) == threads


def test_a_program_is_found_from_the_folder_of_the_socket(tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\nread go; echo found; exec sleep 1000\n")
    program.chmod(0o755)
    with PtyGuest(["./mine"], tmp_path / "console") as guest, connected(guest) as client:
        client.sendall(b"\n")
        client.settimeout(scaled(30))
        text = b""
        while b"found" not in text:
            text += client.recv(100)
