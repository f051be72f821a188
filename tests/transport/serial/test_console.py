"""Consoles: addresses, the record, the one owner, and what is left behind."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.events.emitter import NullEmitter
from harness.transport.errors import Cause, Eof, TransportError, Unavailable
from harness.transport.serial.console import Console, as_text
from harness.transport.serial.ports import normalise
from harness.transport.serial.signs import find_sign
from harness.transport.serial.spec import Become, SerialSpec
from harness.transport.serial.transport import SerialTransport
from tests.patience import scaled

Within = Callable[..., Deadline]
BASH = ["bash", "--norc", "-i"]


class Heard:
    def __init__(self) -> None:
        self.data = b""
        self.errors: list[TransportError] = []
        self.event = threading.Event()

    def feed(self, data: bytes, at: float) -> None:
        del at
        self.data += data
        self.event.set()

    def lost(self, error: TransportError) -> None:
        self.errors.append(error)
        self.event.set()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + scaled(20)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextlib.contextmanager
def tcp_relay(path: Path) -> Any:
    """TCP on loopback in front of a Unix socket: what a raw console server is."""
    server = socket.create_server(("127.0.0.1", 0))

    def pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            client = server.accept()[0]
            back = socket.socket(socket.AF_UNIX)
            back.connect(str(path))
            threading.Thread(target=pump, args=(client, back), daemon=True).start()
            pump(back, client)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


def test_raw_tcp(bench: Any, within: Within) -> None:
    guest = bench.guest(BASH)
    with tcp_relay(guest.path) as port:
        console = Console(f"socket://127.0.0.1:{port}", name="tcp", events=NullEmitter())
        transport = SerialTransport(console, SerialSpec(console.address), events=NullEmitter())
        assert transport.run("seq 1 20000 | tail -n 1", deadline=within()).stdout == b"20000\n"
        transport.close()
        console.close()


def test_a_pty_device(bench: Any, within: Within) -> None:
    """A device path: our end is a terminal itself, as with /dev/ttyUSB0."""
    guest = bench.guest(BASH)
    master, slave = os.openpty()
    relay = socket.socket(socket.AF_UNIX)
    relay.connect(str(guest.path))

    def pump(read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
        with contextlib.suppress(OSError):
            while data := read():
                write(data)

    for one, two in (
        (lambda: os.read(master, 4096), relay.sendall),
        (lambda: relay.recv(4096), lambda data: os.write(master, data)),
    ):
        threading.Thread(target=pump, args=(one, two), daemon=True).start()
    console = Console(os.ttyname(slave), name="device", events=NullEmitter())
    transport = SerialTransport(console, SerialSpec(console.address), events=NullEmitter())
    assert transport.run("echo over a device", deadline=within()).stdout == b"over a device\n"
    transport.close()
    console.close()
    relay.close()
    os.close(slave)


def test_descriptors_above_1023(bench: Any, within: Within) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("the limit on open files is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        transport = bench.shell(*BASH)
        assert transport.run("echo high", deadline=within()).stdout == b"high\n"
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_owner_at_a_time(bench: Any, within: Within) -> None:
    guest = bench.guest(BASH)
    first = bench.console(guest, owner="run-17")
    first.open(within())
    second = bench.console(guest)
    with pytest.raises(Unavailable) as caught:
        second.open(within())
    assert caught.value.cause is Cause.BUSY
    assert "run-17" in str(caught.value)
    assert str(os.getpid()) in str(caught.value)
    first.close()
    second.open(within())
    assert second.is_open


def test_nobody_at_the_other_end(tmp_path: Path, within: Within, bench: Any) -> None:
    console = Console(str(tmp_path / "nothing"), name="none", events=NullEmitter())
    with pytest.raises(Unavailable) as caught:
        console.open(within())
    assert caught.value.cause is Cause.REFUSED
    with pytest.raises(Unavailable):
        console.reopen(within(scaled(0.3)))
    guest_path = tmp_path / "nothing"

    def later() -> None:
        time.sleep(0.3)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(guest_path))
        server.listen(1)
        server.accept()[0].sendall(b"here\n")

    threading.Thread(target=later, daemon=True).start()
    heard = Heard()
    console.subscribe(heard)
    console.reopen(within())
    until(lambda: bool(heard.data))
    console.close()


def test_the_record_of_a_console(bench: Any, within: Within, tmp_path: Path) -> None:
    guest = bench.guest(["sh", "-c", "stty raw -echo; cat >/dev/null"])
    raw = tmp_path / "raw.log"
    console = bench.console(guest, raw_log=raw)
    heard = Heard()
    unsubscribe = console.subscribe(heard)
    console.open(within())
    time.sleep(0.3)
    said = b"\x1b[1;31mred\x1b[0m text\r\nbytes \xff\xfe\nprompt: "
    guest.write(said)
    until(lambda: heard.data.endswith(b"prompt: ") and "prompt: " in bench.events.lines())
    assert bench.events.lines() == ["red text", "bytes \\xff\\xfe", "prompt: "]
    assert raw.read_bytes().endswith(said)
    assert raw.stat().st_mode & 0o777 == 0o600
    console.write(b"hunter2\n", deadline=within(), secret=True)
    assert [f["text"] for f in bench.events.of("console.input")] == ["********"]
    guest.drop_client()
    until(lambda: bool(heard.errors))
    assert isinstance(heard.errors[0], Eof)
    unsubscribe()
    console.reopen(within())
    assert console.reconnects == 1


def test_a_thousand_openings_leave_nothing_behind(bench: Any, within: Within) -> None:
    guest = bench.guest(["sleep", "1000"])
    console = bench.console(guest)
    console.open(within())
    console.close()
    fds, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(1000):
        console.reopen(within())
        console.close()
    until(lambda: len(os.listdir("/proc/self/fd")) <= fds + 1)  # the guest's end may not have noticed the last one
    assert threading.active_count() == threads


def test_variables_of_a_host() -> None:
    assert SerialSpec.from_vars("h", {}) is None
    spec = SerialSpec.from_vars(
        "h",
        {
            "serial_socket": "/run/h.sock",
            "serial_baudrate": "9600",
            "ansible_user": "joe",
            "ansible_password": "pw",
            "serial_user": "root",
            "ansible_become": "yes",
        },
    )
    assert spec == SerialSpec("/run/h.sock", "root", "pw", 9600, 60.0, Become("sudo", "pw"))
    assert "pw" not in repr(spec)
    assert "pw" not in repr(spec.become) if spec else False
    for bad in (
        {"serial_baudrate": "fast"},
        {"serial_baudrate": 0},
        {"ansible_become": True, "ansible_become_method": "doas"},
    ):
        with pytest.raises(UsageError, match="host h"):
            SerialSpec.from_vars("h", {"serial_socket": "x", **bad})


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("/run/x.sock", "unix:///run/x.sock"),
        ("unix:///run/x", "unix:///run/x"),
        ("socket://127.0.0.1:4000", "socket://127.0.0.1:4000"),
        ("rfc2217://h:1", "rfc2217://h:1"),
        ("/dev/ttyUSB7", "/dev/ttyUSB7"),
        ("/dev/null", "/dev/null"),
    ],
)
def test_addresses(address: str, url: str) -> None:
    assert normalise(address) == url


def test_signs() -> None:
    panic = find_sign(b"[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs")
    assert panic is not None
    assert panic.cause is Cause.PANIC
    boot = find_sign(b"x\n[    0.000000] Linux version 6.1.0")
    assert boot is not None
    assert boot.cause is Cause.REBOOT
    login = find_sign(b"\nguest login: ")
    assert login is not None
    assert login.cause is Cause.NO_SHELL
    assert find_sign(b"the last login: yesterday\nfine") is None


def test_text_for_people() -> None:
    assert as_text(b"\x1b]0;title\x07\x1b[?2004h\x1b[01;32mroot\x1b[0m# \x08x\r") == "root# x"
