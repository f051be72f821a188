"""A connection and its channels, shared by threads: it is made when it is wanted, and made anew when it was lost. Whose
turn it is to use a channel is decided in `turns.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from harness.deadline import Deadline
from harness.errors import Cancelled, DeadlineExpired, InfrastructureError
from harness.events.emitter import Emitter
from harness.transport.errors import Cause, TransportLost, Unavailable
from harness.transport.ssh import become as ssh_become
from harness.transport.ssh import config as ssh_config
from harness.transport.ssh.channel import ChannelClosedError, ChannelIO, PeerSilentError
from harness.transport.ssh.connect import connect
from harness.transport.ssh.connection import Connection, library_error
from harness.transport.ssh.hostcheck import UnknownHostKeyError
from harness.transport.ssh.hostkeys import HostKey
from harness.transport.ssh.keyring import Keyring
from harness.transport.ssh.shell import AnswerReader, AnswerTooLongError, end_program, fresh_nonce, opening
from harness.transport.ssh.spec import SshSpec
from harness.transport.ssh.turns import MOST_PATIENCE, ChannelTurns, Lease

STALE_AFTER = 1.0
"""Seconds of silence after which an idle connection is asked for a sign of life before a command is
entrusted to it.
"""
_LAST_WORDS = 4096
"""Bytes that are kept of what ends a command on the target says."""
_SHOWN = 300
"""Bytes of what came in a shell's place that an error's message quotes."""
CONNECT_BUDGET = 30.0
"""Seconds that setting a connection up may take beside an attempt's own time: connecting, logging in, starting a
shell. The connection itself is bounded by `ansible_timeout`."""
QUEUE_BUDGET = 600.0
"""Seconds that a command waits for one of the connection's channels, all of which other commands use."""

_SHELL_STARTS = 3
"""Times that a shell is started whose channel is closed without a word."""


class _ClosedAtOnceError(Exception):
    """The server closed a channel before anything was run on it."""


class ChannelPool:
    """Connects when it is first asked, and again when the connection was lost. All methods may be called
    from any thread.
    """

    def __init__(self, spec: SshSpec, *, events: Emitter, keyring: Keyring) -> None:
        self._given = spec
        self._events = events
        self._keyring = keyring
        self._lock = threading.RLock()
        self._connecting = threading.Lock()
        self._spec: SshSpec | None = None
        self._connection: Connection | None = None
        self._turns = ChannelTurns(spec.max_channels)
        self._closed = False
        self.pinned = spec.host_keys
        self.unknown_host_key: HostKey | None = None
        self._reconnects = 0
        self.counts = {"connects": 0, "channels": 0, "late_answers": 0}

    # -- the connection

    def connected(self, deadline: Deadline) -> Connection:
        """A connection that is alive as far as one can know. Raises Unavailable, TransportLost (closed),
        Cancelled, UsageError. No deadline with an allowance counts a set-up that succeeds.
        """
        if self._connecting.acquire(blocking=False):
            # Nobody connects. Most often there is a connection, and nothing is to be set up.
            try:
                connection = self._connection
                if connection is not None and not self._closed and connection.silence() < STALE_AFTER:
                    self._check(deadline, "a connection is wanted")
                    if connection.alive:
                        return connection
            finally:
                self._connecting.release()
        with deadline.apart("connecting", CONNECT_BUDGET) as until:
            return self._connect(until)

    def _connect(self, deadline: Deadline) -> Connection:
        with self._turn(deadline):
            connection = self._connection
            if connection is not None:
                if self._usable(connection, deadline):
                    return connection
                self.drop(connection, "it was found dead before use")
            try:
                self._spec = self._spec or ssh_config.resolve(self._given, deadline=deadline)
                connection = connect(
                    self._spec, deadline=deadline, events=self._events, keyring=self._keyring, pinned=self.pinned
                )
            except UnknownHostKeyError as unknown:
                self.unknown_host_key = unknown.key
                raise self._told(unknown.error) from None
            except Unavailable as error:
                raise self._told(error) from None
            except DeadlineExpired as error:
                raise self._told(self._too_late(str(error))) from None
            return self._adopt(connection)

    def _usable(self, connection: Connection, deadline: Deadline) -> bool:
        if not connection.alive:
            return False
        if connection.silence() < STALE_AFTER or connection.probe(deadline.clamp(connection.spec.alive_bound)):
            return True
        if deadline.expired and connection.alive and connection.silence() < connection.spec.alive_bound:
            # Too little time to tell a dead peer from a slow one.
            raise self._too_late("its sign of life was waited for")
        return False

    def _adopt(self, connection: Connection) -> Connection:
        with self._lock:
            closed = self._closed
            if not closed:
                self._connection = connection
                self._turns.begin(connection, connection.spec.max_channels)
                self._reconnects += self.counts["connects"] > 0  # the first connection of all is none anew
                self.counts["connects"] += 1
        if closed:
            connection.close()
            raise self._was_closed()
        transport, spec = connection.transport, connection.spec
        shown = HostKey.from_blob(transport.get_remote_server_key().asbytes())
        self._events.emit(
            "ssh.connected",
            f"connected to {spec.address} ({transport.remote_version})",
            host=spec.host,
            port=spec.port,
            user=spec.login,
            banner=transport.remote_version,
            host_key=str(shown),
            certificate=None if connection.certificate is None else str(connection.certificate),
        )
        return connection

    def take_reconnects(self) -> int:
        """Return how often it was connected anew since this was last called."""
        with self._lock:
            taken, self._reconnects = self._reconnects, 0
        return taken

    def drop(self, connection: Connection, why: str) -> None:
        """Forgets a dead connection and gives it back; the next command connects anew."""
        with self._lock:
            ours = self._connection is connection
            if ours:
                self._connection = None
                self._turns.end(connection)
        if ours:
            text = f"the SSH connection to {connection.spec.address} was lost: {why}"
            self._events.emit("ssh.lost", text, level="warning", cause=str(Cause.LOST))
        connection.close()

    def close(self) -> None:
        """Gives everything back; waits of other threads end with TransportLost."""
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
            self._turns.end()
        if connection is not None:
            connection.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def _told(self, error: Unavailable) -> Unavailable:
        self._events.emit("ssh.unavailable", error.message, level="warning", cause=str(error.cause))
        return error

    def _too_late(self, doing: str) -> Unavailable:
        return Unavailable(
            f"{self._given.name}: the deadline passed before {self._given.address} could be used: {doing}",
            cause=Cause.TIMEOUT,
            transport="ssh",
        )

    def _was_closed(self) -> TransportLost:
        return TransportLost(f"{self._given.name}: the SSH transport was closed", cause=Cause.LOST, transport="ssh")

    @contextmanager
    def _turn(self, deadline: Deadline) -> Iterator[None]:
        """One thread connects, the others wait for what it finds."""
        # A lock cannot be waited for together with a cancellation; short waits for it can.
        while not self._connecting.acquire(timeout=min(0.05, max(0.001, deadline.remaining()))):
            self._check(deadline, "another command connects")
        try:
            self._check(deadline, "a connection is wanted")
            if self._closed:
                raise self._was_closed()
            yield
        finally:
            self._connecting.release()

    def _check(self, deadline: Deadline, doing: str) -> None:
        try:
            deadline.check(doing)
        except DeadlineExpired:
            raise self._too_late(doing) from None

    # -- channels

    def shell(self, deadline: Deadline) -> Lease:
        """A persistent shell with nothing pending on its channel. Raises as :meth:`connected` does."""
        return self._anew_once(self._shell, deadline)

    def alone(self, program: str, deadline: Deadline) -> Lease:
        """A channel that runs `program`. Raises as :meth:`connected` does."""
        return self._anew_once(partial(self._alone, lambda lease: self._execute(lease, program, deadline)), deadline)

    def begun(self, begin: Callable[[Lease], None], deadline: Deadline) -> Lease:
        """A channel on which `begin` asks for what is wanted. Raises as :meth:`connected` does."""
        return self._anew_once(partial(self._alone, begin), deadline)

    def subsystem(self, name: str, deadline: Deadline) -> Lease:
        """A channel to a subsystem; a server that has none closes it. Raises as :meth:`connected` does."""
        return self._anew_once(partial(self._alone, lambda lease: lease.io.subsystem(name, deadline)), deadline)

    def _anew_once(self, start: Callable[[Deadline], Lease], deadline: Deadline) -> Lease:
        """A connection that dies before anything was entrusted to it is made anew, once."""
        try:
            return start(deadline)
        except TransportLost:
            if self._closed or deadline.expired or deadline.cancellation.cancelled:
                raise
            return start(deadline)

    def _shell(self, deadline: Deadline) -> Lease:
        """Return a shell. One whose channel was closed without a word is started anew: nothing was run on it. dropbear
        does so where another channel's process ends before it has got the request."""
        tries = 0
        while True:
            connection, lease = self._right(deadline)
            if lease is not None:
                if not lease.io.pending and not lease.io.closed:
                    return lease
                self.note_late(sum(map(len, lease.io.drain())))
                self.release(lease, keep=False)
                continue
            opened = None
            with deadline.apart("connecting", CONNECT_BUDGET) as until:
                try:
                    opened = self._open_channel(connection, until)
                finally:
                    if opened is None:
                        self._turns.no_shell(connection)
                if opened is not None:
                    opened.is_shell = True
                    tries += 1
                    try:
                        return self._start_shell(opened, until, is_last=tries == _SHELL_STARTS)
                    except _ClosedAtOnceError:
                        continue

    def _alone(self, begin: Callable[[Lease], None], deadline: Deadline) -> Lease:
        while True:
            connection, lease = self._right(deadline, new=True)
            if lease is not None:
                lease.io.close()  # It makes room: shells are cheap, channels are bounded.
            with deadline.apart("connecting", CONNECT_BUDGET) as until:
                opened = self._open_channel(connection, until)
            if opened is not None:
                with self._starting(opened, deadline):
                    begin(opened)
                return opened

    @property
    def ready(self) -> bool:
        """The connection was heard just now, and a shell waits for work; or all are busy, which is no fault."""
        with self._lock:
            connection = self._connection
            return (
                connection is not None
                and self._turns.is_ready
                and connection.silence() < STALE_AFTER
                and connection.alive
            )

    def release(self, lease: Lease, *, keep: bool) -> None:
        """Gives the right to a channel back; a shell that is kept serves the next command."""
        if not keep:
            lease.io.close()
        self._turns.give_back(lease, keep=keep)

    def end_remote(self, lease: Lease, deadline: Deadline) -> int | None:
        """Ends what runs on a lease's channel, on the target. How many processes still live; None when
        nobody answered.
        """
        if not lease.pid:
            return None
        try:
            io = ChannelIO(lease.connection.open_channel(deadline), lease.connection)
        except (library_error(), TransportLost, DeadlineExpired, Cancelled):
            return None
        out = b""
        try:
            ender = Lease(lease.connection, io)
            self._execute(ender, f"exec sh -c '{end_program(lease.pid)}'", deadline)
            while b"left " not in out or not out.endswith(b"\n"):
                deadline.check("ending a command on the target")
                out = (out + io.read(deadline)[0])[-_LAST_WORDS:]
            return int(out.rpartition(b"left ")[2][:10])
        except (
            ChannelClosedError,
            PeerSilentError,
            DeadlineExpired,
            Cancelled,
            Unavailable,
            ValueError,
            library_error(),
            EOFError,
        ):
            return None
        finally:
            io.close()

    def note_late(self, size: int) -> None:
        """Records bytes that belong to no command."""
        if size:
            self.counts["late_answers"] += 1
            text = f"{size} bytes came that belong to no command; they were not believed"
            self._events.emit("ssh.late_output", text, level="warning", bytes=size)

    def _right(self, deadline: Deadline, *, new: bool = False) -> tuple[Connection, Lease | None]:
        """The right to one channel of a live connection, with an idle shell if there is one: in the order in which they
        came. For a `new` channel only where there is no other room."""
        while True:
            connection = self.connected(deadline)
            if not new and (lease := self._turns.take_idle(connection)) is not None:
                return connection, lease
            with self._queued(deadline) as until:
                got = self._turns.wait(connection, until, is_new=new)
            if got is not None:
                return got

    @contextmanager
    def _queued(self, deadline: Deadline) -> Iterator[Deadline]:
        """Waiting for a channel that other commands of ours use is not the target's time."""
        with deadline.apart("channel", QUEUE_BUDGET) as until:
            try:
                yield until
            except DeadlineExpired:
                if deadline.allowance is None or until.end >= deadline.allowance.hard:
                    raise self._too_late("all channels of the connection were in use") from None
                raise InfrastructureError(
                    f"{self._given.name}: all channels of its SSH connection were in use by other commands",
                    hint="Fewer checks side by side (--at-once) leave each a channel.",
                ) from None

    def _open_channel(self, connection: Connection, deadline: Deadline) -> Lease | None:
        """A channel; None when the server has no more to give while others of ours are open: wait for
        one of them.
        """
        import paramiko

        try:
            io = ChannelIO(connection.open_channel(deadline), connection)
        except paramiko.ChannelException as error:
            if self._turns.lower_limit(connection):
                return None
            self._turns.give_back_room(connection)
            no_channel = Unavailable(
                f"{self._given.name}: {connection.spec.address} gives no channel: {error}",
                cause=Cause.BUSY,
                transport="ssh",
                hint="Its MaxSessions may be 0, or the account may be allowed no shell.",
            )
            raise self._told(no_channel) from None
        except TransportLost as error:
            self.drop(connection, "while a channel was opened")
            raise error from None
        except DeadlineExpired:
            self._turns.give_back_room(connection)
            raise self._too_late("a channel was opened") from None
        except BaseException:
            self._turns.give_back_room(connection)
            raise
        self.counts["channels"] += 1
        return Lease(connection, io)

    def _execute(self, lease: Lease, program: str, deadline: Deadline) -> None:
        become = lease.connection.spec.become
        if become is None:
            lease.io.execute(program, deadline)
        else:
            lease.io.execute(ssh_become.wrap(become, program), deadline)
            ssh_become.pass_gate(lease.io, become, name=self._given.name, deadline=deadline)

    def _start_shell(self, lease: Lease, deadline: Deadline, *, is_last: bool) -> Lease:
        """Start a shell on the channel. Raises _ClosedAtOnceError where it was closed without a word, but `is_last`."""
        nonce = fresh_nonce()
        began = time.monotonic()
        reader = AnswerReader(nonce)
        with self._starting(lease, deadline, reader, may_be_anew=not is_last):
            self._execute(lease, "exec sh", deadline)
            greeting = lease.io.exchange(reader, deadline=deadline, stdin=opening(nonce))
        self._turns.patience = min(2 * (time.monotonic() - began), MOST_PATIENCE)
        lease.pid, lease.tells = greeting.number, bool(greeting.flags)
        return lease

    @contextmanager
    def _starting(
        self, lease: Lease, deadline: Deadline, reader: AnswerReader | None = None, *, may_be_anew: bool = False
    ) -> Iterator[None]:
        """Raise what went wrong before a command was sent: the command cannot have run. `reader` has what was received
        instead of an answer; nothing at all is a _ClosedAtOnceError where it `may_be_anew`."""
        try:
            yield
        except BaseException as error:
            self.release(lease, keep=False)
            if isinstance(error, PeerSilentError) or not lease.connection.alive:
                self.drop(lease.connection, "while a shell was started")
                raise lease.connection.lost("while a shell was started") from None
            if isinstance(error, ChannelClosedError | AnswerTooLongError | ValueError | library_error() | EOFError):
                seen = reader.give_up() if reader is not None else b""
                text = seen[-_SHOWN:].decode("utf-8", "backslashreplace").strip()
                if may_be_anew and not seen:
                    raise _ClosedAtOnceError from None
                no_shell = Unavailable(
                    f"{self._given.name}: {self._given.address} accepted the login but did not start a shell"
                    + (f": {error} before it answered" if isinstance(error, AnswerTooLongError) else "")
                    + (f"; the last that it sent is {text!r}" if text else ""),
                    cause=Cause.NO_SHELL,
                    transport="ssh",
                    seen=seen,
                    hint="The account's login shell, or a ForceCommand, gives no POSIX sh.",
                )
                raise self._told(no_shell) from None
            if isinstance(error, Unavailable):
                raise self._told(error) from None
            if isinstance(error, DeadlineExpired):
                raise self._too_late("a shell was started") from None
            raise
