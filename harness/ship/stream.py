"""A byte stream to a receiver, plain or over TLS, that can tell what the peer's kernel has."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import Iterator

from harness.deadline import Deadline
from harness.ship.address import Address
from harness.ship.guard import guarded
from harness.ship.sink import Unavailable
from harness.ship.tls import reason

_CHUNK = 1 << 16
_FIRST_LOOK = 0.0005  # seconds; an acknowledgement on a LAN takes about that
_LONGEST_LOOK = 0.05
_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8  # where a reset and the peer's FIN leave a connection (include/net/tcp_states.h)


class Stream:
    """One connection over TCP. Each call raises Unavailable when the connection is no good (any more)."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None, name: str, deadline: Deadline) -> None:
        """Connects; `name` is the one that the peer's certificate must have."""
        self._address = address
        deadline.check(f"connecting to {address}")
        try:
            self._socket = socket.create_connection((address.host, address.port), timeout=deadline.remaining() or 0.001)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                plain = self._socket
                try:
                    with guarded(plain, deadline):
                        self._socket = tls.wrap_socket(plain, server_hostname=name or address.host)
                except BaseException:
                    plain.close()
                    raise
            # Guards end each wait; a socket with a time-out of its own would poll before each call.
            self._socket.settimeout(None)
        except OSError as error:
            deadline.cancellation.check()
            raise Unavailable(f"cannot connect to {address.authority}: {reason(error)}", sent=False) from error

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Gives all of it to the kernel."""
        with self._watched(deadline, "sending"):
            self._socket.sendall(data)

    def receive(self, deadline: Deadline) -> bytes:
        """The next bytes, at least one."""
        with self._watched(deadline, "waiting for an answer"):
            # A peer that gives small answers one by one keeps the next until the last is acknowledged (Nagle), which
            # our kernel puts off for 40 ms. It resets this option, so it is set each time.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            data = self._socket.recv(_CHUNK)
            if not data:
                raise ConnectionResetError("it closed the connection")
        return data

    def ended(self) -> str:
        """How the peer has ended the connection: `reset`, `closed`, or nothing while it stands.

        A kernel resets a connection whose program went away with bytes unread, and closes it where all were read.
        """
        return {_TCP_CLOSE: "reset", _TCP_CLOSE_WAIT: "closed"}.get(self._state(), "")

    def await_acknowledgement(self, deadline: Deadline) -> None:
        """Returns when the peer's kernel has acknowledged every byte that was sent (tcp(7), SIOCOUTQ).

        That is not the peer's program: what it had not read when it was killed is lost, and TCP does not tell.
        """
        pause = _FIRST_LOOK
        while True:
            waiting = struct.unpack("i", fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
            # A reset empties the queue as well; so it is asked for afterwards.
            if self._state() == _TCP_CLOSE:
                raise Unavailable(f"{self._address.authority} reset the connection")
            if not waiting:
                return
            if deadline.expired:
                raise Unavailable(f"{self._address.authority} did not acknowledge {waiting} bytes in time")
            deadline.sleep(pause)
            pause = min(pause * 2, _LONGEST_LOOK)

    def close(self) -> None:
        """Ends the connection in order, without waiting."""
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.setblocking(False)
            with contextlib.suppress(OSError, ValueError):
                self._socket.unwrap()  # says goodbye; what the peer says to that is nobody's business
        with contextlib.suppress(OSError):
            self._socket.close()

    def _state(self) -> int:
        return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]

    @contextlib.contextmanager
    def _watched(self, deadline: Deadline, doing: str) -> Iterator[None]:
        deadline.cancellation.check()
        try:
            with guarded(self._socket, deadline):
                yield
        except OSError as error:
            deadline.cancellation.check()
            why = "it does not answer in time" if deadline.expired else reason(error)
            raise Unavailable(
                f"the connection to {self._address.authority} was lost while {doing}: {why}", lost=not deadline.expired
            ) from error
