"""Observations of any target: who listens, what was logged, what the console said. The kernel and syslogd are real."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api.check import NotYet, Skip
from harness.deadline import Deadline
from harness.events import NullEmitter
from harness.target.console import KEPT, ConsoleLines
from harness.target.observe import SOCKETS, Listener, parse_log, parse_sockets
from harness.target.target import Target
from harness.transport.contract import CommandResult
from tests.patience import scaled

from .answers import a_target


class Here:
    """This machine as a target."""

    def run(self, command: str, **_: Any) -> CommandResult:
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
        return CommandResult(command, done.stdout, done.stderr, done.returncode, "ssh", 0.0, 0.0, 0.0)

    def put(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no file is carried")

    get = put


def here(**changes: Any) -> Target:
    return Target("here", (), {}, Here(), Deadline.after(scaled(30)), NullEmitter(), **changes)


def test_the_kernel_tells_who_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "a socket")
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket() as silent,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(path)
        silent.bind(("127.0.0.1", 0))
        port, udp_port, silent_port = (each.getsockname()[1] for each in (four, udp, silent))
        assert here().listening(port) == (Listener("tcp", "127.0.0.1", port),)
        assert here().listening(udp_port, "udp") == (Listener("udp", "127.0.0.1", udp_port),)
        # Bound is not listening.
        with pytest.raises(NotYet, match=f"nobody listens on unix {path}"):
            here().listening(path)
        unix.listen()
        assert [str(each) for each in here().listening(path)] == [path]
        with pytest.raises(NotYet, match=rf"nobody listens on tcp {silent_port}; listening there: .*tcp://"):
            here().listening(silent_port)
    with pytest.raises(NotYet, match=f"nobody listens on tcp {port}"):
        here().listening(port)


@pytest.mark.skipif(not Path("/proc/net/tcp6").exists(), reason="this machine has no IPv6")
def test_ipv6_too() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        port = six.getsockname()[1]
        (found,) = here().listening(port)
        assert str(found) == f"tcp://[::1]:{port}"


def test_a_machine_with_its_bytes_the_other_way_round() -> None:
    row = "   0: {}:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0"
    little = parse_sockets("l\n== tcp\n" + row.format("0100007F"))
    big = parse_sockets("b\n== tcp\n" + row.format("7F000001"))
    assert little == big == (Listener("tcp", "127.0.0.1", 22),)
    assert subprocess.run(["sh", "-c", SOCKETS], capture_output=True, check=True).stdout[:1] in (b"l", b"b")


@given(st.text())
def test_whatever_proc_says_is_read_or_passed_over(text: str) -> None:
    assert isinstance(parse_sockets(f"l\n== tcp\n{text}"), tuple)


SYSLOGD = """\
mount -t tmpfs none {0} && mkdir {0}/dev && touch {0}/dev/null && mount --rbind {0}/dev /dev
busybox syslogd -n -O {0}/messages &
until [ -S /dev/log ]; do sleep 0.05; done
busybox logger -t 'sshd[77]' 'Server listening on :: port 22.'
until grep -q listening {0}/messages; do sleep 0.05; done
cat {0}/messages; kill $!
"""


def test_what_a_real_syslogd_writes_is_read(tmp_path: Path) -> None:
    """busybox's, in a mount namespace of its own, so that this machine's /dev/log stays as it is."""
    enter = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m", "bash", "-c", SYSLOGD.format(tmp_path)]
    said = subprocess.run(enter, capture_output=True, text=True, check=True, timeout=scaled(60)).stdout
    entries = [each for each in parse_log(said) if each.identifier == "sshd"]
    assert [(each.message, each.pid) for each in entries] == [("Server listening on :: port 22.", 77)]


@pytest.mark.parametrize(
    ("line", "who", "pid", "message"),
    [
        ("Nov 23 05:00:00 box daemon.info sshd[12]: Accepted key", "sshd", 12, "Accepted key"),
        ("Nov  3 05:00:00 box auth.notice su: + tty", "su", 0, "+ tty"),
        ("<30>Nov 23 05:00:00 udhcpc[9]: lease: 10.0.0.2", "udhcpc", 9, "lease: 10.0.0.2"),
        ("Nov 23 05:00:00 debian kernel: [    1.2] eth0: up", "kernel", 0, "[    1.2] eth0: up"),
        ("2026-11-23T05:00:00.123456+00:00 debian cron[5]: (root) CMD", "cron", 5, "(root) CMD"),
        ("something of its own", "unknown", 0, "something of its own"),
    ],
)
def test_forms_of_syslog(line: str, who: str, pid: int, message: str) -> None:
    (entry,) = parse_log(line)
    assert (entry.identifier, entry.pid, entry.message) == (who, pid, message)


def test_a_line_of_the_journal() -> None:
    lines = '{"MESSAGE": "first 1", "SYSLOG_IDENTIFIER": "a"}\n{"MESSAGE": "then 2", "SYSLOG_IDENTIFIER": "b"}\n'
    target, link = a_target(lines, lines, "")
    assert target.logged(r"^(first|then) \d", "a.service").message == "then 2"
    assert "-u a.service" in link.asked[0]
    with pytest.raises(NotYet, match=r"no line of the log holds 'third'; the newest is: b: then 2"):
        target.logged("third")
    with pytest.raises(NotYet, match="it is empty"):
        target.logged("third")


def test_where_there_is_no_journal_syslog_is_read() -> None:
    target, link = a_target((127, "", "sh: journalctl: not found"), "Nov 23 05:00:00 box sshd[12]: Accepted key\n")
    assert target.logged("Accepted", lines=50).identifier == "sshd"
    assert "tail -n 50" in link.asked[1]


def test_a_line_of_the_console() -> None:
    lines = ConsoleLines(NullEmitter())
    target = here(console=lines)
    with pytest.raises(NotYet, match=r"has not said 'login:'; its last line is ''"):
        target.console_said("login:")
    lines.emit("console.line", "boot 1", text="boot 1", console="vm1")
    lines.emit("console.line", "vm1 login: 2", text="vm1 login: 2", console="vm1")
    lines.emit("console.input", "login: mine", text="login: mine")
    assert target.console_said(r"login: \d") == "vm1 login: 2"
    with pytest.raises(NotYet, match=r"its last line is 'vm1 login: 2'"):
        target.console_said("login: mine")
    with pytest.raises(Skip, match="no console"):
        here().console_said("x")


def test_a_flood_of_lines_keeps_the_newest() -> None:
    lines = ConsoleLines(NullEmitter())
    for number in range(KEPT + 10):
        lines.emit("console.line", f"line {number}")
    assert lines.last("^line 9$") is None
    assert lines.last("^line 10$") == "line 10"
