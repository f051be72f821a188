"""A shell or program for a person, on a channel of its own; with a terminal, or with its streams apart."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from harness.deadline import Deadline
from harness.transport.contract import Window
from harness.transport.errors import Cause, Unavailable
from harness.transport.ssh import become as ssh_become
from harness.transport.ssh.channel import ChannelClosedError, PeerSilentError
from harness.transport.ssh.connection import library_error
from harness.transport.ssh.pool import ChannelPool
from harness.transport.ssh.shell import quote
from harness.transport.ssh.spec import SshSpec
from harness.transport.ssh.turns import Lease

_GIVING = 5.0
"""Seconds that handing a few bytes to the connection may take."""
_FULL = 0.01
"""A window that opens rings no bell: look again so soon."""
_LAST_WORD = 5.0
"""Seconds within which the exit status follows the end of the output."""
_LOGIN_SHELL = 'case ${SHELL:-} in ""|*/nologin|*/false) exec sh -l;; *) exec "$SHELL" -l;; esac'
"""The other user's; a service's account has none."""


class RemoteShell:
    """See :class:`~harness.transport.contract.Interactive`."""

    def __init__(
        self,
        pool: ChannelPool,
        spec: SshSpec,
        command: str,
        window: Window | None,
        *,
        deadline: Deadline,
        on_word: Callable[[], None],
    ) -> None:
        """`on_word` is called in the connection's thread; it must be quick. Raises as the pool does."""
        self._pool = pool
        self._spec = spec
        self._cancellation = deadline.cancellation
        self._first = b""
        self._full = False
        self._closed = False
        self._lease = pool.begun(lambda lease: self._begin(lease, command, window, deadline), deadline)
        self._io = self._lease.io
        channel = self._io.channel
        bell = _Bell(on_word)
        channel.in_buffer.set_event(bell)
        channel.in_stderr_buffer.set_event(bell)
        on_word()  # for what came before there was a bell

    def _begin(self, lease: Lease, command: str, window: Window | None, deadline: Deadline) -> None:
        io, become = lease.io, lease.connection.spec.become
        if window is not None:
            try:
                io.terminal(window.term, window.rows, window.columns, deadline)
            except library_error():
                if not lease.connection.alive:
                    raise
                raise Unavailable(
                    f"{self._spec.name}: {self._spec.address} accepted the login but allocated no terminal",
                    cause=Cause.NO_SHELL,
                    transport="ssh",
                    hint="Its sshd may say `PermitTTY no`. `harness exec` needs no terminal.",
                ) from None
        if become is not None:
            program = f"exec {quote(self._spec.shell)} -c {quote(command)}" if command else _LOGIN_SHELL
            io.execute(ssh_become.wrap(become, program), deadline)
            self._first = ssh_become.pass_gate(io, become, name=self._spec.name, deadline=deadline)
        elif command:
            io.execute(command, deadline)
        else:
            io.shell(deadline)

    def take(self) -> tuple[bytes, bytes]:
        out, err = self._io.drain()
        first, self._first = self._first, b""
        return first + out, err

    @property
    def ended(self) -> bool:
        return self._io.closed and not self._io.pending and not self._first

    def send(self, data: bytes) -> int:
        try:
            sent = self._io.write(data, self._soon())
        except ChannelClosedError:
            return len(data)  # nobody reads it any more; how it ended is told at its end
        self._full = sent < len(data)
        return sent

    def end_of_input(self) -> None:
        self._io.end_of_input(self._soon())

    def resize(self, window: Window) -> None:
        with contextlib.suppress(library_error(), OSError, EOFError), self._io.connection.wire.bounded(self._soon()):
            self._io.channel.resize_pty(window.columns, window.rows)

    def rest(self) -> float:
        try:
            patience = self._io.patience(self._soon())
        except (PeerSilentError, OSError, EOFError) as error:
            self._pool.drop(self._lease.connection, str(error))
            raise self._lease.connection.lost(str(error), may_have_run=True) from None
        return _FULL if self._full else patience

    def exit_status(self) -> int | None:
        channel, connection = self._io.channel, self._lease.connection
        channel.status_event.wait(_LAST_WORD)
        if channel.exit_status >= 0:
            return min(int(channel.exit_status), 255)  # what is more is no status of any program
        if connection.alive:
            return None
        why = connection.cause_of_death() or "the other side hung up"
        self._pool.drop(connection, f"while a shell was open: {why}")
        raise connection.lost(f"({why})", may_have_run=True)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pool.release(self._lease, keep=False)

    def _soon(self) -> Deadline:
        return Deadline.after(_GIVING, cancellation=self._cancellation)


class _Bell(threading.Event):
    """Rung when something came, and when a stream ends; it is never waited for."""

    def __init__(self, on_word: Callable[[], None]) -> None:
        super().__init__()
        self._on_word = on_word

    def set(self) -> None:
        self._on_word()
