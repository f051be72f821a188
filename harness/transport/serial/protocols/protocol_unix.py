"""``unix://PATH`` for pyserial: a stream socket in the file system, as QEMU's ``-chardev socket,path=…`` makes one.

A socket has no line: baud rate and modem lines are accepted and mean nothing. `Port` does the reading and writing.
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import unquote

from serial.serialutil import PortNotOpenError, SerialBase, SerialException

_CONNECT_SECONDS = 5.0


class Serial(SerialBase):
    """A client of a Unix stream socket that looks like a serial port."""

    _socket: socket.socket | None = None

    def open(self) -> None:
        """Connects. Raises SerialException, which is an OSError, with the errno of the reason."""
        path = unquote(str(self.portstr).removeprefix("unix://"))
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(_CONNECT_SECONDS)
        try:
            sock.connect(path)
        except OSError as error:
            sock.close()
            raise SerialException(error.errno, f"could not connect to {path}: {error.strerror or error}") from error
        self._socket = sock
        self._reconfigure_port()
        self.is_open = True

    def _reconfigure_port(self) -> None:
        """Nothing to set on a socket."""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self.is_open = False

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._opened().fileno()

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise PortNotOpenError()
        return self._socket

    @property
    def in_waiting(self) -> int:
        """1 where a byte can be read, else 0; the sum is not known."""
        import select

        poll = select.poll()
        poll.register(self._opened().fileno(), select.POLLIN)
        return int(bool(poll.poll(0)))

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes, as soon as some are there."""
        sock = self._opened()
        sock.settimeout(self.timeout)
        try:
            data = sock.recv(size)
        except (TimeoutError, BlockingIOError):
            return b""
        if not data:
            raise SerialException("the other end closed the socket")
        return data

    def write(self, b: Any, /) -> int:
        """Writes all of it."""
        data = bytes(b)
        sock = self._opened()
        sock.settimeout(self.write_timeout)
        sock.sendall(data)
        return len(data)

    def reset_input_buffer(self) -> None:
        """A socket keeps no buffer of its own."""

    def reset_output_buffer(self) -> None:
        """A socket keeps no buffer of its own."""

    def _update_break_state(self) -> None:
        """There is no line to break."""

    def _update_rts_state(self) -> None:
        """There is no such line."""

    def _update_dtr_state(self) -> None:
        """There is no such line."""

    @property
    def cts(self) -> bool:
        return True

    @property
    def dsr(self) -> bool:
        return True

    @property
    def ri(self) -> bool:
        return False

    @property
    def cd(self) -> bool:
        return True
