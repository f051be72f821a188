"""One SSH channel in use: what it reads is waited for against a deadline, with both streams drained."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from harness.deadline import SYSTEM_CLOCK, Deadline
from harness.errors import Cancelled, DeadlineExpired
from harness.transport.ssh.shell import Answer, AnswerReader

if TYPE_CHECKING:
    import paramiko

    from harness.transport.ssh.connection import Connection

_PIECE = 262144
_STDIN_PIECE = 32768
_MOST_AT_ONCE = 1048576
"""Bytes that are sent before the time, and what came in meanwhile, are looked at again."""


class PeerSilentError(Exception):
    """Inside this room: the peer gave no sign of life within its bound."""


class ChannelClosedError(Exception):
    """Inside this room: the channel ended before the answer did."""


class Bell(threading.Event):
    """Rung by the connection's thread whenever a stream has more, or has ended. A ring lasts until one waiter took it.

    An event by its name only, which is what paramiko asks for, and a bare lock within: threading.Event takes three
    locks for each ring and each wait, on a path that each packet goes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._silent = threading.Lock()
        self._silent.acquire()

    def set(self) -> None:
        """Rings. Once is enough, however often it is called."""
        with contextlib.suppress(RuntimeError):  # it is released: nobody has heard the last ring yet
            self._silent.release()

    def clear(self) -> None:
        """paramiko clears when one buffer was emptied; that would lose the other's ring."""

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for a ring, so many seconds or for ever, and takes it; whether there was one."""
        return self._silent.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))


class ChannelIO:
    """A channel's streams. One thread at a time."""

    def __init__(self, channel: paramiko.Channel, connection: Connection) -> None:
        self.channel = channel
        self.connection = connection
        self._bell = Bell()
        self._probed_at = 0.0
        channel.settimeout(0.0)
        channel.in_buffer.set_event(self._bell)
        channel.in_stderr_buffer.set_event(self._bell)

    @property
    def pending(self) -> bool:
        """Bytes have come that nobody asked for."""
        return bool(self.channel.recv_ready() or self.channel.recv_stderr_ready())

    @property
    def closed(self) -> bool:
        """No more bytes will come than are there."""
        return bool(self.channel.closed or self.channel.eof_received) or not self.connection.alive

    def terminal(self, term: str, rows: int, columns: int, deadline: Deadline) -> None:
        """Asks for a terminal of that size for what is executed then (RFC 4254, 6.2). Raises paramiko's SSHException
        where there is none, or the channel was closed."""
        with self.connection.wire.bounded(deadline):
            self.channel.get_pty(term, columns, rows)

    def shell(self, deadline: Deadline) -> None:
        """Asks for the login shell. A no closes the channel."""
        self._request("shell", None, deadline)

    def execute(self, program: str, deadline: Deadline) -> None:
        """Asks for `program` to be run by the login shell. A no closes the channel, which every reader notices."""
        self._request("exec", program, deadline)

    def subsystem(self, name: str, deadline: Deadline) -> None:
        """Asks for a subsystem (sshd_config(5), `Subsystem`). A no closes the channel."""
        self._request("subsystem", name, deadline)

    def _request(self, kind: str, what: str | None, deadline: Deadline) -> None:
        # The server's yes is not waited for: so a round trip is saved.
        import paramiko
        from paramiko.common import cMSG_CHANNEL_REQUEST

        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(self.channel.remote_chanid)
        message.add_string(kind)
        message.add_boolean(True)
        if what is not None:
            message.add_string(what.encode("utf-8", "surrogateescape"))
        with self.connection.wire.bounded(deadline):
            self.connection.send(message)

    def write(self, data: bytes | memoryview, deadline: Deadline) -> int:
        """Sends what the server's window takes now, at most a megabyte. How much it was. Raises ChannelClosedError."""
        if self.channel.closed or not self.connection.alive:
            raise ChannelClosedError("the channel was closed")
        sent, most = 0, min(len(data), _MOST_AT_ONCE)
        try:
            with self.connection.wire.bounded(deadline):
                while sent < most and self.channel.send_ready():
                    size = self.channel.send(bytes(data[sent : sent + _STDIN_PIECE]))
                    if not size:
                        break
                    sent += size
        except TimeoutError:
            pass  # The window closed between the two calls.
        except (OSError, EOFError) as error:
            raise ChannelClosedError(str(error) or "the channel was closed") from None
        return sent

    @property
    def window_is_full(self) -> bool:
        """The peer takes no more for now."""
        return not self.channel.send_ready()

    def write_all(self, data: bytes, deadline: Deadline) -> None:
        """Sends all of a small piece of data. Raises ChannelClosedError, DeadlineExpired, Cancelled."""
        rest = memoryview(data)
        while rest:
            deadline.check("writing to an SSH channel")
            sent = self.write(rest, deadline)
            rest = rest[sent:]
            if not sent:
                deadline.sleep(0.005)

    def end_of_input(self, deadline: Deadline) -> None:
        """Closes the program's stdin. The program may be gone already; its answer, or its absence, tells."""
        with contextlib.suppress(OSError, EOFError), self.connection.wire.bounded(deadline):
            self.channel.shutdown_write()

    def drain(self) -> tuple[bytes, bytes]:
        """What is there now of both streams."""
        out = err = b""
        if self.channel.recv_ready():
            out = self.channel.recv(_PIECE)
        if self.channel.recv_stderr_ready():
            err = self.channel.recv_stderr(_PIECE)
        if len(out) == _PIECE or len(err) == _PIECE:
            self._bell.set()  # more may be there, for which nobody will ring again
        return out, err

    def read(self, deadline: Deadline, *, longest: float = 3600.0) -> tuple[bytes, bytes]:
        """What comes next of both streams; both are empty only after `longest` seconds.

        Raises ChannelClosedError at their end, DeadlineExpired, Cancelled; PeerSilentError when the peer
        did not answer a probe.
        """
        forget = deadline.cancellation.on_cancel(self._bell.set)
        try:
            return self._read(deadline, longest)
        finally:
            forget()

    def _read(self, deadline: Deadline, longest: float) -> tuple[bytes, bytes]:
        try:
            while True:
                # Whatever came since the last look has rung, and the ring is kept.
                pause = min(self.patience(deadline), deadline.remaining())
                rung = self._bell.wait(min(pause, longest))
                ended = self.closed
                out, err = self.drain()
                if out or err:
                    if ended:
                        self._bell.set()  # the end rang together with this, and nobody will ring for it again
                    return out, err
                if deadline.cancellation.cancelled:
                    raise Cancelled(deadline.cancellation.reason)
                if ended:
                    raise ChannelClosedError("the channel was closed")
                if deadline.expired:
                    raise DeadlineExpired("reading from an SSH channel")
                if not rung and longest <= pause:
                    return b"", b""
        except (EOFError, OSError) as error:
            raise ChannelClosedError(str(error) or "the connection was closed") from None

    def patience(self, deadline: Deadline) -> float:
        """How long to wait before the peer's silence needs another look, in seconds; it is asked for a sign of life
        when that is due. Raises PeerSilentError."""
        connection, spec = self.connection, self.connection.spec
        silence = connection.silence()
        if self._probed_at and connection.wire.heard > self._probed_at:
            self._probed_at = 0.0
        if silence < spec.alive_interval:
            return spec.alive_interval - silence
        if not self._probed_at:
            self._probed_at = SYSTEM_CLOCK.monotonic()
            with connection.wire.bounded(deadline):
                connection.send_probe()
            return min(spec.alive_interval, spec.alive_bound)
        left = spec.alive_bound - (SYSTEM_CLOCK.monotonic() - self._probed_at)
        if left <= 0:
            raise PeerSilentError(f"after {silence:.1f} s of silence")
        return min(left, spec.alive_interval)

    def pause(self, *, more: bool) -> float:
        """How long to wait for bytes, in seconds, with or without `more` to send."""
        if not more:
            return 3600.0
        # A window that opens rings no bell: look again soon.
        return 0.01 if self.window_is_full else 0.0

    def exchange(self, reader: AnswerReader, *, deadline: Deadline, stdin: bytes = b"", eof: bool = False) -> Answer:
        """Sends `stdin`, reads until the answer is whole.

        Raises DeadlineExpired, Cancelled, PeerSilentError, ChannelClosedError; `reader.partial` then
        holds what came so far.
        """
        rest = memoryview(stdin)
        forget = deadline.cancellation.on_cancel(self._bell.set)
        try:
            while True:
                if rest:
                    try:
                        rest = rest[self.write(rest, deadline) :]
                    except ChannelClosedError:
                        # It stopped reading; that is its right, and what it answered is still to be read.
                        rest = memoryview(b"")
                    if not rest and eof:
                        self.end_of_input(deadline)
                reader.feed(*self._read(deadline, self.pause(more=bool(rest))))
                answer = reader.answer
                if answer is not None:
                    return answer
                # What floods us must not keep us from looking at the time.
                deadline.check("reading a command's answer")
        finally:
            forget()

    def close(self) -> None:
        """Closes the channel; the peer's part is not waited for, and it may be gone already."""
        with contextlib.suppress(EOFError, OSError):
            self.channel.close()
