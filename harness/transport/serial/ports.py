"""One serial port, whatever its address; everything that pyserial does oddly is kept behind this class.

pyserial opens and sets up the line. Reading and writing are our own, by `poll`, in blocks: its `select` fails for
descriptors of 1,024 and more, and its `socket://` reads byte by byte. Only RFC 2217 is left to it, since it takes
telnet's words out of the stream; that has no descriptor to read from, cannot be woken, and knows no limit for writing.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
import time
from typing import Any

_BLOCK = 65536
_SLOW_BLOCK = 512  # with telnet's escapes less than a socket takes that says it is ready
_SLOW_POLL = 0.25  # seconds after which a reader that cannot be woken looks whether it should end
_NO_RFC2217 = "does not seem to support RFC2217"  # pyserial's words, before a list of its own state


def normalise(address: str) -> str:
    """The address as one URL: a bare path of a socket becomes ``unix://``; a device keeps its path."""
    import stat

    if re.match(r"[a-z0-9]+://", address):
        return address
    path = os.path.abspath(address)
    with contextlib.suppress(OSError):
        if stat.S_ISCHR(os.stat(path).st_mode):
            return path
        return f"unix://{path}"
    # It is not there yet: devices live in /dev, anything else is a socket that QEMU is about to make.
    return path if path.startswith("/dev/") else f"unix://{path}"


def explain(address: str, error: Exception) -> tuple[str, str]:
    """Why it could not be opened, and what to do about that, for a person."""
    if _NO_RFC2217 in str(error):
        server = address.removeprefix("rfc2217://").partition("?")[0]
        return "what answers there does not speak RFC 2217", f"a raw TCP port is written socket://{server}"
    return str(error), "is the machine running, and is the address in the inventory (serial_socket) the right one?"


class PortClosed(Exception):
    """The other end is gone; the text says how it showed."""


class Port:
    """An open port. `read` and `write` may be used from two threads; `wake` ends a `read` at once."""

    def __init__(self, address: str, baudrate: int) -> None:
        """Opens it. Raises OSError (pyserial's SerialException is one) where it cannot be had."""
        import serial

        if "harness.transport.serial.protocols" not in serial.protocol_handler_packages:
            serial.protocol_handler_packages.append("harness.transport.serial.protocols")
        self.address = normalise(address)
        if "logging=" in self.address.partition("?")[2]:
            # pyserial would have every byte, passwords too, printed on our stderr.
            raise ValueError(f"{address!r} would have pyserial print what is said on it; leave `logging=` out")
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._woken = False
        self._closed = False
        self._lock = threading.Lock()
        try:
            self._serial: Any = serial.serial_for_url(self.address, baudrate=baudrate, timeout=_SLOW_POLL)
            try:
                self._fd: int | None = self._serial.fileno()
            except (OSError, AttributeError, NotImplementedError):
                self._fd = None  # io.UnsupportedOperation is an OSError
            if self._fd is not None:
                os.set_blocking(self._fd, False)
        except BaseException:
            os.close(self._wake_read)
            os.close(self._wake_write)
            raise
        if self._fd is not None:
            self._read_poll = select.poll()
            self._read_poll.register(self._fd, select.POLLIN)
            self._read_poll.register(self._wake_read, select.POLLIN)

    def read(self, seconds: float | None = None) -> bytes:
        """What is there, as soon as there is something; nothing on time-out or `wake`. Raises PortClosed at the end."""
        if self._closed:
            raise PortClosed("it was closed here")
        if self._fd is None:
            return self._read_slowly(seconds)
        for fd, _ in self._read_poll.poll(None if seconds is None else seconds * 1000):
            if fd == self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 1024)
                continue
            try:
                data = os.read(self._fd, _BLOCK)
            except BlockingIOError:
                continue
            except OSError as error:
                raise PortClosed(f"reading failed: {error.strerror}") from error
            if not data:
                raise PortClosed("the other end closed it")
            return data
        return b""

    def _read_slowly(self, seconds: float | None) -> bytes:
        end = None if seconds is None else time.monotonic() + seconds
        while not self._woken and (end is None or time.monotonic() < end):
            try:
                first: bytes = self._serial.read(1)
                if first:
                    return first + bytes(self._serial.read(self._serial.in_waiting))
            except (OSError, TypeError) as error:
                raise PortClosed(f"reading failed: {error}") from error
        self._woken = False
        return b""

    def write(self, data: bytes, seconds: float) -> int:
        """Writes as much as goes within the time; returns how much. Raises PortClosed."""
        if self._closed:
            raise PortClosed("it was closed here")
        end = time.monotonic() + seconds
        if self._fd is None:
            return self._write_slowly(data, end)
        done = 0
        while True:
            try:
                done += os.write(self._fd, data[done:])
            except BlockingIOError:
                pass
            except OSError as error:
                raise PortClosed(f"writing failed: {error.strerror}") from error
            if done == len(data):
                return done
            left = end - time.monotonic()
            if left <= 0:
                return done
            poll = select.poll()
            poll.register(self._fd, select.POLLOUT)
            poll.poll(left * 1000)

    def _write_slowly(self, data: bytes, end: float) -> int:
        done = 0
        try:
            poll = select.poll()
            poll.register(self._serial._socket.fileno(), select.POLLOUT)
            while done < len(data) and poll.poll(max(0.0, end - time.monotonic()) * 1000):
                done += self._serial.write(data[done : done + _SLOW_BLOCK])
        except (OSError, AttributeError, ValueError) as error:  # its socket is gone, or closed
            raise PortClosed(f"writing failed: {error}") from error
        return done

    def wake(self) -> None:
        """Ends a `read` that waits in another thread."""
        with self._lock:
            if not self._closed:
                self._woken = True
                with contextlib.suppress(BlockingIOError):
                    os.write(self._wake_write, b"x")

    def close(self) -> None:
        """Gives the descriptors back. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.close(self._wake_read)
            os.close(self._wake_write)
        with contextlib.suppress(OSError):
            self._serial.close()
