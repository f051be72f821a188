"""An SSH server that does to its client whatever it is told: one connection after the other, each in a thread."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import paramiko
from paramiko.common import cMSG_CHANNEL_DATA

from harness.transport.ssh.hostkeys import HostKey
from tests.patience import scaled

_GREETING = re.compile(rb"printf '%s %s %s\\n' ([0-9a-f]{32})")
_COMMAND = re.compile(rb"_h_end ([0-9a-f]{32})")
Attack = Callable[["HostileSshd", paramiko.Channel, bytes], None]
"""What is done with a command: the server, its channel, and the nonce that the client waits for."""


class HostileSshd:
    """Listens on the loopback. `attack` answers commands, `sftp` each SFTP session; `raw` takes bare connections."""

    def __init__(
        self,
        *,
        attack: Attack | None = None,
        sftp: Callable[[paramiko.Channel], None] | None = None,
        raw: Callable[[socket.socket], None] | None = None,
        program: Callable[[paramiko.Channel], None] | None = None,
    ) -> None:
        self.key = paramiko.ECDSAKey.generate()
        self.passwords: list[str] = []
        self.stop = threading.Event()
        self.attack, self.sftp, self.raw, self.program = attack, sftp, raw, program
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def host_key(self) -> HostKey:
        return HostKey.from_blob(self.key.asbytes())

    def __enter__(self) -> HostileSshd:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self.stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(Exception):
            if self.raw is not None:
                self.raw(sock)
                return
            transport = paramiko.Transport(sock)
            transport.add_server_key(self.key)
            transport.start_server(server=_Session(self))

    def run(self, channel: paramiko.Channel) -> None:
        """A login shell that speaks as the client expects, until the first command is there."""
        with contextlib.suppress(Exception):
            if self.program is not None:
                self.program(channel)
                return
            heard = b""
            while not self.stop.is_set():
                more = channel.recv(65536)
                if not more:
                    return
                heard += more
                if greeting := _GREETING.search(heard):
                    nonce, heard = greeting[1], heard[greeting.end() :]
                    channel.sendall(nonce + b" 4711 1\n")
                    channel.sendall_stderr(nonce + b"\n")
                elif (command := _COMMAND.search(heard)) and self.attack is not None:
                    heard = heard[command.end() :]
                    self.attack(self, channel, command[1])


class _Session(paramiko.ServerInterface):
    def __init__(self, sshd: HostileSshd) -> None:
        self._sshd = sshd

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        self._sshd.passwords.append(password)
        return int(paramiko.AUTH_SUCCESSFUL)  # type: ignore[attr-defined]

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)  # type: ignore[attr-defined]

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._sshd.run, args=(channel,), daemon=True).start()
        return True

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        if self._sshd.sftp is None:
            return False
        threading.Thread(target=self._guarded, args=(channel,), daemon=True).start()
        return True

    def _guarded(self, channel: paramiko.Channel) -> None:
        with contextlib.suppress(Exception):
            assert self._sshd.sftp is not None
            self._sshd.sftp(channel)


# -- what is done to the client ----------------------------------------------------------------------------------


def _transport(channel: paramiko.Channel) -> Any:
    return channel.transport


def endless_output(sshd: HostileSshd, channel: paramiko.Channel, nonce: bytes) -> None:
    while not sshd.stop.is_set():
        channel.sendall(b"x" * 65536)


def long_output(size: int) -> Attack:
    """An honest answer of so many bytes."""

    def answer(sshd: HostileSshd, channel: paramiko.Channel, nonce: bytes) -> None:
        for at in range(0, size, 1 << 16):
            channel.sendall(b"x" * min(1 << 16, size - at))
        channel.sendall(nonce + b" 0 0\n")
        channel.sendall_stderr(nonce + b"\n")

    return answer


def beyond_the_window(sshd: HostileSshd, channel: paramiko.Channel, nonce: bytes) -> None:
    """Pays no heed to how much the client has room for."""
    piece = b"x" * 32000
    while not sshd.stop.is_set() and _transport(channel).is_active():
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_DATA)
        message.add_int(channel.remote_chanid)
        message.add_string(piece)
        _transport(channel)._send_user_message(message)


def status(number: bytes) -> Attack:
    def answer(sshd: HostileSshd, channel: paramiko.Channel, nonce: bytes) -> None:
        channel.sendall(nonce + b" " + number + b" 0\n")
        channel.sendall_stderr(nonce + b"\n")

    return answer


def flood(channel: paramiko.Channel) -> None:
    """A profile, or sudo, that prints without end."""
    while _transport(channel).is_active():
        channel.sendall(b"y\n" * 16384)
        channel.sendall_stderr(b"z" * 4096)


def endless_banner(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(b"x" * 65536)


def endless_preamble(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(b"no version yet\n" * 1000)


def huge_packet(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.sendall(b"SSH-2.0-hostile\r\n" + struct.pack(">I", 0x7FFFFFF4))
        while True:
            sock.sendall(b"x" * 65536)


def unasked_sftp(channel: paramiko.Channel) -> None:
    """Answers what nobody has asked for, as fast as it is taken."""
    for packet in _packets(channel):
        if packet[0] == 1:
            name = b"posix-rename@openssh.com"
            body = struct.pack(">BI", 2, 3) + struct.pack(">I", len(name)) + name + struct.pack(">I", 1) + b"1"
            channel.sendall(struct.pack(">I", len(body)) + body)
            continue
        for number in range(10**6, 10**7):
            body = struct.pack(">BII", 103, number, 200_000) + b"d" * 200_000
            channel.sendall(struct.pack(">I", len(body)) + body)


def _packets(channel: paramiko.Channel) -> Iterator[bytes]:
    heard = b""
    while True:
        more: Any = channel.recv(65536)
        if not more:
            return
        heard += more
        while len(heard) >= 4 and len(heard) >= 4 + int.from_bytes(heard[:4], "big"):
            size = int.from_bytes(heard[:4], "big")
            yield heard[4 : 4 + size]
            heard = heard[4 + size :]


def wait(seconds: float, what: Callable[[], bool]) -> bool:
    end = time.monotonic() + scaled(seconds)
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.02)
    return False
