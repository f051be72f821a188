"""An authenticated SSH connection: its channels, its peer's signs of life, and its end."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from harness.deadline import SYSTEM_CLOCK, Deadline
from harness.errors import Cancelled, DeadlineExpired
from harness.events.emitter import Emitter
from harness.shortage import raise_shortage, shortage
from harness.transport.errors import Cause, TransportLost
from harness.transport.ssh.certificates import SUFFIX, Certificate
from harness.transport.ssh.spec import SshSpec
from harness.transport.ssh.wire import Wire

if TYPE_CHECKING:
    import paramiko


_MOST_WORDS, _LONGEST_WORDS = 200, 1000
"""What is recorded of what the library says of one connection: a peer can have it say the same without end."""


_OPENINGS = 5
"""Times that a channel is opened which the server closes at once."""


class LibraryLog(logging.Logger):
    """Stands in for paramiko's logger: what it has to say is an event, never a traceback on stderr."""

    def __init__(self, events: Emitter) -> None:
        super().__init__("harness.paramiko", logging.INFO)
        self._events = events
        self.preamble = ""
        self._count = 0

    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        """paramiko's call. Its debugging chatter (twenty lines a connection) is left out."""
        del kwargs
        text = str(msg)
        if level < logging.INFO:
            if text.startswith("Banner: "):
                self.preamble = text.removeprefix("Banner: ")[:_LONGEST_WORDS]
            return
        if text.startswith(("Traceback", "  File", "    ")) or not text.strip():
            return
        with contextlib.suppress(TypeError, ValueError):
            text = text % args if args else text
        self._count += 1
        if self._count < _MOST_WORDS:
            self._events.emit("ssh.library", f"paramiko: {text.strip()[:_LONGEST_WORDS]}", level="debug")
        elif self._count == _MOST_WORDS:
            self._events.emit("ssh.library", "paramiko has more to say, which is left out", level="debug")


class Connection:
    """An authenticated connection. `heard` tells when the peer last sent anything (monotonic seconds)."""

    def __init__(
        self,
        transport: paramiko.Transport,
        wire: Wire,
        spec: SshSpec,
        log: LibraryLog,
        below: Connection | None,
    ) -> None:
        self.transport = transport
        self.wire = wire
        self.spec = spec
        self.log = log
        self._below = below
        self._opening = threading.Lock()
        self._close_lock = threading.Lock()
        self._disposed = False
        self.shortage = ""
        """What this process lacked when the connection ended, in words; empty where something else ended it."""

    @property
    def certificate(self) -> Certificate | None:
        """What the host showed with its key. None for a bare key; or an unreadable one, which counts for nothing."""
        blob = self.transport.get_remote_server_key().public_blob
        if blob is None or not blob.key_type.endswith(SUFFIX):
            return None
        try:
            return Certificate.from_blob(blob.key_blob)
        except ValueError:
            return None

    @property
    def alive(self) -> bool:
        """Whether nobody has found it dead yet."""
        return bool(self.transport.is_active()) and not self.wire._closed

    def silence(self) -> float:
        """Seconds since the peer was last heard."""
        return SYSTEM_CLOCK.monotonic() - self.wire.heard

    def send_probe(self) -> None:
        """Asks the peer for a sign of life (any bytes will do as the answer); does not wait."""
        import paramiko
        from paramiko.common import cMSG_GLOBAL_REQUEST

        message = paramiko.Message()
        message.add_byte(cMSG_GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)
        self.send(message)

    def send(self, message: paramiko.Message) -> None:
        """Sends a message that paramiko has no call for."""
        self.transport._send_user_message(message)  # type: ignore[attr-defined]

    def probe(self, deadline: Deadline) -> bool:
        """Whether the peer answers before the deadline. Raises Cancelled."""
        if not self.alive:
            return False
        started = SYSTEM_CLOCK.monotonic()
        try:
            with self.wire.bounded(deadline):
                self.send_probe()
        except (EOFError, OSError, library_error()):
            return False
        pause = 0.0005
        while self.wire.heard <= started:
            if not self.alive or deadline.expired:
                return False
            deadline.sleep(pause)
            pause = min(pause * 2, 0.05)
        return True

    def open_channel(self, deadline: Deadline) -> paramiko.Channel:
        """A session channel. Raises paramiko's ChannelException when the server has no more to give,
        TransportLost, Cancelled,
        DeadlineExpired."""
        import paramiko

        # One at a time: the server's no is kept in one place for all that ask.
        while not self._opening.acquire(timeout=min(0.05, max(0.001, deadline.remaining()))):
            deadline.check("opening an SSH channel")
        forget = deadline.cancellation.on_cancel(self.wire.close)
        try:
            deadline.check("opening an SSH channel")
            with self.wire.bounded(deadline):
                channel = self._open_session(deadline)
        except paramiko.ChannelException:
            raise
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise_shortage(error)
            if deadline.cancellation.cancelled:
                raise Cancelled(deadline.cancellation.reason) from None
            if deadline.expired and self.alive:
                raise DeadlineExpired("opening an SSH channel") from None
            if self.alive and isinstance(error, paramiko.SSHException):
                raise paramiko.ChannelException(0, str(error)) from None
            raise self.lost("while a channel was opened") from None
        finally:
            forget()
            self._opening.release()
        channel.logger = self.log
        return channel

    def _open_session(self, deadline: Deadline) -> paramiko.Channel:
        """Open a session. dropbear may close one again before it has got a command for it, when another one's process
        ends meanwhile; nothing was run on it, so another one is opened."""
        import paramiko

        for tries in range(_OPENINGS):
            try:
                return self.transport.open_session(timeout=max(0.05, deadline.remaining()))
            except paramiko.ChannelException:
                raise
            except paramiko.SSHException:
                if tries == _OPENINGS - 1 or not self.alive or deadline.expired:
                    raise
        raise AssertionError("the last try returns or raises")

    def lost(self, why: str, *, may_have_run: bool = False, seen: bytes = b"") -> TransportLost:
        """The error for a connection that went away."""
        return TransportLost(
            f"{self.spec.name}: the SSH connection to {self.spec.address} was lost {why}",
            cause=Cause.LOST,
            transport="ssh",
            may_have_run=may_have_run,
            seen=seen[-2048:],
            hint="The machine may have rebooted, or its network or sshd went away; its console tells more.",
        )

    def cause_of_death(self) -> str:
        """What ended the connection, if the library knows."""
        error = self.transport.get_exception()
        if error is not None:
            self.shortage = shortage(error)
        return "" if error is None else str(error) or type(error).__name__

    def close(self) -> None:
        """Ends the connection, its thread and its descriptor. Safe to call twice, from any thread."""
        with self._close_lock:
            if self._disposed:
                return
            self._disposed = True
        self.transport.close()
        self.wire.close()
        if self.transport.is_alive() and self.transport is not threading.current_thread():
            self.transport.join(5.0)
        # The handshake's timer thread lives on when a handshake failed in the middle.
        self.transport.packetizer.complete_handshake()
        self.wire.dispose()
        if self._below is not None:
            self._below.close()


def library_error() -> type[Exception]:
    """paramiko's base of errors; a call, since paramiko is imported only where it is used."""
    import paramiko

    exception: type[Exception] = paramiko.SSHException
    return exception
