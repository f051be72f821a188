"""Consoles behind every kind of address: RFC 2217, raw TCP, a terminal device; each with a login, and coming back."""

from __future__ import annotations

import os
import random
import socket
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.testing.pty_guest import PtyGuest
from harness.transport.errors import Cause, Eof, Timeout, Unavailable
from harness.transport.serial.console import Console
from tests.patience import scaled

from .rfc2217_server import Rfc2217Server
from .test_login import BASH, GETTY

Within = Callable[..., Deadline]


class TcpRelay:
    """Raw TCP in front of a console, one client after the other."""

    def __init__(self, guest: PtyGuest) -> None:
        self._path = str(guest.path)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client = self._server.accept()[0]
                back = socket.socket(socket.AF_UNIX)
                back.connect(self._path)
                there = threading.Thread(target=self._pump, args=(client, back))
                there.start()
                self._pump(back, client)
                there.join()
                client.close()
                back.close()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


class Terminal:
    """A terminal device whose other end is a console: what /dev/ttyUSB0 is to a board."""

    def __init__(self, guest: PtyGuest) -> None:
        self._master, self._slave = os.openpty()
        self.url = os.ttyname(self._slave)
        self._back = socket.socket(socket.AF_UNIX)
        self._back.connect(str(guest.path))
        self._pumps = [
            threading.Thread(target=self._pump, args=(lambda: os.read(self._master, 4096), self._back.sendall)),
            threading.Thread(
                target=self._pump, args=(lambda: self._back.recv(4096), lambda data: os.write(self._master, data))
            ),
        ]
        for pump in self._pumps:
            pump.start()

    @staticmethod
    def _pump(read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
        with suppress(OSError):
            while data := read():
                write(data)

    @property
    def speed(self) -> int:
        return int(termios.tcgetattr(self._slave)[4])

    def close(self) -> None:
        self._back.shutdown(socket.SHUT_RDWR)
        os.close(self._slave)
        for pump in self._pumps:
            pump.join()
        self._back.close()
        os.close(self._master)


@pytest.fixture
def rfc2217(bench: Any) -> Callable[[PtyGuest], Rfc2217Server]:
    made: list[Rfc2217Server] = []

    def serve(guest: PtyGuest) -> Rfc2217Server:
        made.append(Rfc2217Server(guest.path))
        bench._closing.append(made[-1].close)
        return made[-1]

    return serve


def console(bench: Any, address: str, **options: Any) -> Console:
    found = Console(address, name="guest", events=bench.events, **options)
    bench._closing.append(found.close)
    return found


def test_a_login_over_rfc2217(bench: Any, within: Within, rfc2217: Any) -> None:
    server = rfc2217(bench.guest([*GETTY, "plain", *BASH], respawn=True))
    transport = bench.transport(console(bench, server.url, baudrate=38400), password="secret")
    assert transport.run("echo in", deadline=within(60)).stdout == b"in\n"
    assert server.line.baudrate == 38400
    # Byte 255 is telnet's own (IAC), and is doubled on the line.
    assert transport.run(r"printf 'a\377\377b\000\r\n'", deadline=within()).stdout == b"a\xff\xffb\0\r\n"
    data = random.Random(4).randbytes(60_000)
    assert transport.run("cat", stdin=data, deadline=within(60)).stdout == data
    with pytest.raises(Timeout):
        transport.run("sleep 100", deadline=within(2))
    assert transport.run("echo next", deadline=within()).stdout == b"next\n"


def test_a_console_server_that_hangs_up(bench: Any, within: Within, rfc2217: Any) -> None:
    server = rfc2217(bench.guest(BASH))
    transport = bench.transport(console(bench, server.url))
    transport.run("true", deadline=within(60))
    threading.Timer(0.5, server.drop_client).start()
    with pytest.raises(Eof) as caught:
        transport.run("sleep 30", deadline=within(60))
    assert caught.value.cause is Cause.EOF
    assert transport.run("echo back", deadline=within(60)).stdout == b"back\n"
    assert server.clients == 2


def test_a_console_server_that_is_away(bench: Any, within: Within, rfc2217: Any) -> None:
    server = rfc2217(bench.guest(BASH))
    server.close()
    bench._closing.remove(server.close)
    with pytest.raises(Unavailable) as caught:
        console(bench, server.url).open(within(20))
    assert caught.value.cause is Cause.REFUSED


def test_a_server_that_speaks_no_rfc2217(bench: Any, within: Within) -> None:
    """A raw TCP port: the person is told, and which address would do."""
    server = socket.create_server(("127.0.0.1", 0))
    bench._closing.append(server.close)
    port = server.getsockname()[1]
    with pytest.raises(Unavailable, match="RFC 2217") as caught:
        console(bench, f"rfc2217://127.0.0.1:{port}").open(within(30))
    assert f"socket://127.0.0.1:{port}" in caught.value.hint


@pytest.mark.parametrize("baudrate", [9600, 115200])
def test_a_terminal_device_with_its_speed(bench: Any, within: Within, baudrate: int) -> None:
    terminal = Terminal(bench.guest([*GETTY, "plain", *BASH], respawn=True))
    bench._closing.append(terminal.close)
    transport = bench.transport(console(bench, terminal.url, baudrate=baudrate), password="secret")
    assert transport.run("echo in", deadline=within(60)).stdout == b"in\n"
    assert terminal.speed == {9600: termios.B9600, 115200: termios.B115200}[baudrate]
    data = random.Random(5).randbytes(30_000)
    assert transport.run("cat", stdin=data, deadline=within(60)).stdout == data


def test_a_device_that_is_not_there(bench: Any, within: Within) -> None:
    with pytest.raises(Unavailable, match="ttyUSB99") as caught:
        console(bench, "/dev/ttyUSB99").open(within())
    assert caught.value.cause is Cause.REFUSED


def test_a_speed_that_no_line_has(bench: Any, within: Within) -> None:
    _, slave = os.openpty()
    with pytest.raises(Unavailable, match="baud") as caught:
        console(bench, os.ttyname(slave), baudrate=-5).open(within())
    assert caught.value.cause is Cause.CONFIG


def test_raw_tcp_comes_back(bench: Any, within: Within) -> None:
    guest = bench.guest([*GETTY, "plain", *BASH], respawn=True)
    relay = TcpRelay(guest)
    bench._closing.append(relay.close)
    transport = bench.transport(console(bench, relay.url), password="secret")
    assert transport.run("echo in", deadline=within(60)).stdout == b"in\n"
    threading.Timer(0.3, guest.drop_client).start()
    with pytest.raises(Eof):
        transport.run("sleep 30", deadline=within(60))
    assert transport.run("echo back", deadline=within(60)).stdout == b"back\n"


def test_nothing_is_left_of_them(bench: Any, within: Within, rfc2217: Any) -> None:
    server = rfc2217(bench.guest(["sleep", "1000"]))
    one = console(bench, server.url)
    one.open(within(20))
    one.close()
    time.sleep(0.5)
    fds, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(5):
        one.reopen(within(20))
        one.close()
    end = time.monotonic() + scaled(20)
    while (len(os.listdir("/proc/self/fd")), threading.active_count()) != (fds, threads):
        assert time.monotonic() < end
        time.sleep(0.05)
