"""journald, by its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/).

Acknowledged: the datagram is in journald's socket, which is as far as the protocol goes. A full one makes us wait.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
from collections.abc import Sequence

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.ship.address import Address
from harness.ship.event import Event
from harness.ship.journal_fields import dumped, fields
from harness.ship.options import Options
from harness.ship.sink import TAKEN, Answer, Limits, Unavailable
from harness.ship.tls import reason

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_BUFFER = 8 << 20


class JournaldSink:
    """One datagram an event; what is larger than a datagram may be is handed over as a sealed file in memory."""

    def __init__(self, path: str, limits: Limits) -> None:
        self.limits = limits
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        try:
            sock = self._connected()
            for event in events:
                deadline.check(f"writing to {self._path}")
                sock.settimeout(deadline.remaining() or 0.001)
                self._give(sock, dumped(fields(event)))
        except OSError as error:
            self.close()
            deadline.cancellation.check()
            raise Unavailable(f"cannot write to journald at {self._path}: {reason(error)}") from error
        return TAKEN

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            made.connect(self._path)
            self._socket = made
        return self._socket

    def _give(self, sock: socket.socket, data: bytes) -> None:
        try:
            sock.send(data)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._give_file(sock, data)

    def _give_file(self, sock: socket.socket, data: bytes) -> None:
        fd = os.memfd_create("harness-event", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(data)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            sock.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        finally:
            os.close(fd)


def open_sink(address: Address, options: Options) -> JournaldSink:
    if address.host:
        raise UsageError(
            f"{address} names a host; journald is reached by a socket of this machine",
            hint="Write journald:, or journal+http://HOST for systemd-journal-remote.",
        )
    return JournaldSink(address.path, Limits(options.count("batch", 200), options.size("batch_bytes", 1_000_000)))
