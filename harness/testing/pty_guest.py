"""A program on a real pty behind a Unix socket, as QEMU's serial port stands behind one.

Public, so that checks and transports can be tried against real shells with no machine: the other end of the socket is a
console with a shell, a login program, or anything else that talks to a terminal.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import select
import shutil
import signal
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Damager = Callable[[bytes], bytes]
_TRICKLED = 120
"""Bytes of a text that trickle: each piece costs the machine that it runs on a sleep."""
_TAKE_TERMINAL = ("/bin/sh", "-c", 'unset PWD; exec "$@" <>/proc/self/fd/0 >&0 2>&0', "sh")
"""Runs a program on a terminal that becomes its controlling one: a session leader that opens a terminal gets it. With a
`preexec_fn` that did so, Popen would fork the whole process, in which other threads may hold any lock; for a process of
130 MB that takes 14 ms of processor time, and this takes 2 ms."""


def _same(data: bytes) -> bytes:
    return data


class PtyGuest:
    """Runs `argv` in a session of its own on a pty, served at `path`. One client at a time, as a chardev does.

    `to_client` and `to_guest` may change the bytes on their way (noise, loss). `respawn` starts the program again
    whenever it ends, as init does with a getty. `controlling=False` leaves it without a
    controlling terminal, as `init=/bin/sh` is. `trickle=True` carries what the terminal says a few bytes at a time, as
    a UART does, so that what `printk` says may stand between any two of them; a longer text goes on in longer pieces.
    The program starts in the folder of the socket: what a damaged command creates (``> file``) is not left in the
    caller's working directory.
    """

    def __init__(
        self,
        argv: Sequence[str],
        path: Path,
        *,
        env: Mapping[str, str] | None = None,
        respawn: bool = False,
        controlling: bool = True,
        to_client: Damager = _same,
        to_guest: Damager = _same,
        trickle: bool = False,
    ) -> None:
        self.path = path
        self.to_client = to_client
        self.to_guest = to_guest
        self._argv = list(argv)
        self._env = {"PATH": os.environ["PATH"], "HOME": "/root", "TERM": "vt220", **(env or {})}
        self._respawn = respawn
        self._controlling = controlling
        self._sizes = itertools.cycle((1, 3, 2, 4)) if trickle else None
        self._wire = threading.Lock()
        self._check_program()
        self._master, self._slave = os.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, b"\x18\x00\x50\x00\x00\x00\x00\x00")
        self._saved = termios.tcgetattr(self._slave)
        self._stop_read, self._stop_write = os.pipe()
        self._client: socket.socket | None = None
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen(1)
        self._closing = False
        self._ending = threading.Lock()
        self.process = self._start()
        self._threads = [threading.Thread(target=self._carry, daemon=True)]
        if respawn:
            self._threads.append(threading.Thread(target=self._keep_alive, daemon=True))
        for thread in self._threads:
            thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        termios.tcsetattr(self._slave, termios.TCSANOW, self._saved)
        return subprocess.Popen(
            [*_TAKE_TERMINAL, *self._argv] if self._controlling else self._argv,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=self._env,
            cwd=self.path.parent,
            close_fds=True,
            start_new_session=True,
        )

    def _check_program(self) -> None:
        """Raise FileNotFoundError where there is no such program, as Popen does: the shell that starts it cannot."""
        program = self._argv[0]
        if shutil.which(str(self.path.parent / program) if "/" in program else program, path=self._env["PATH"]) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)

    def _keep_alive(self) -> None:
        while not self._closing:
            self.process.wait()
            if not self._closing:
                self.process = self._start()

    def write(self, data: bytes) -> None:
        """Writes to the terminal as another process (a kernel, a daemon) would."""
        os.write(self._slave, data)

    def printk(self, line: bytes) -> None:
        """Says it past the terminal, as a kernel's console driver does: as a whole, wherever the terminal stands."""
        with self._wire:
            self._send(line)

    @property
    def tty(self) -> str:
        """The terminal's device."""
        return os.ttyname(self._slave)

    def drop_client(self) -> None:
        """Closes the connection, as a chardev does whose machine was stopped; the next client is served."""
        client = self._client
        if client is not None:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _carry(self) -> None:
        poll = select.poll()
        poll.register(self._server.fileno(), select.POLLIN)
        poll.register(self._master, select.POLLIN)
        poll.register(self._stop_read, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._stop_read:
                    return
                if fd == self._server.fileno() and self._client is None:
                    self._client = self._server.accept()[0]
                    poll.register(self._client.fileno(), select.POLLIN)
                    poll.unregister(self._server.fileno())
                elif fd == self._master:
                    self._out(os.read(self._master, 65536))
                elif self._client is not None and fd == self._client.fileno():
                    try:
                        data = self._client.recv(65536)
                    except OSError:
                        data = b""
                    if data:
                        with contextlib.suppress(OSError):
                            os.write(self._master, self.to_guest(data))
                    else:
                        poll.unregister(fd)
                        with self._wire:
                            self._client.close()
                            self._client = None
                        poll.register(self._server.fileno(), select.POLLIN)

    def _out(self, data: bytes) -> None:
        data = self.to_client(data)
        carried = 0
        while data:
            size = len(data) if self._sizes is None else next(self._sizes) * (1 if carried < _TRICKLED else 8)
            carried += size
            with self._wire:
                self._send(data[:size])
            data = data[size:]
            if data:
                time.sleep(0.0002)

    def _send(self, data: bytes) -> None:
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.sendall(data)

    def close(self) -> None:
        """Ends the program with its session, and the service. Safe to call twice, from any thread: it returns when
        all is ended."""
        with self._ending:
            if not self._closing:
                self._close()

    def _close(self) -> None:
        self._closing = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGHUP)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.write(self._stop_write, b"x")
        for thread in self._threads:
            thread.join()
        if self._client is not None:
            self._client.close()
        self._server.close()
        for fd in (self._master, self._slave, self._stop_read, self._stop_write):
            os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def __enter__(self) -> PtyGuest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
