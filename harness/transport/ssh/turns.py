"""Whose turn it is to use a connection's channels: which shells are idle, how many channels may still be opened, and
the queue of those who wait.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.transport.ssh.channel import ChannelIO
from harness.transport.ssh.connection import Connection

FIRST_PATIENCE = 0.05
"""Seconds that a command waits for a busy shell, before it is known how long a new one takes to start."""
MOST_PATIENCE = 0.5


@dataclass(slots=True)
class Lease:
    """The right to one channel, and the channel. For a shell: its process id, and whether it can tell
    what commands leave behind.
    """

    connection: Connection
    io: ChannelIO
    pid: int = 0
    tells: bool = False
    used: float = 0.0
    is_shell: bool = False


class ChannelTurns:
    """Gives the channels of one connection at a time to threads, in the order in which they ask.

    A further shell costs the target a process, and more time than most commands take: who finds all shells at work
    waits for one of them for twice the time that a new one takes to start, and only then starts it.

    What a thread gives back counts only where its connection is still the present one.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is how many channels a connection has."""
        self._lock = threading.RLock()
        self._connection: Connection | None = None
        self._idle: list[Lease] = []
        self._open = 0
        self._at_work = 0
        self._queue: deque[threading.Condition] = deque()
        self._limit = max(1, limit)
        self.patience = FIRST_PATIENCE
        """Seconds that a command waits for a busy shell."""

    def begin(self, connection: Connection, limit: int) -> None:
        """Start over with a new connection, of which nothing is open yet."""
        with self._lock:
            self._reset(connection)
            self._limit = max(1, limit)

    def end(self, connection: Connection | None = None) -> None:
        """Forget the connection (where it is the present one), and wake all who wait."""
        with self._lock:
            if connection is None or self._connection is connection:
                self._reset(None)
                self.wake()

    def _reset(self, connection: Connection | None) -> None:
        self._connection = connection
        self._idle.clear()
        self._open = self._at_work = 0

    @property
    def at_work(self) -> int:
        """How many shells are used, or being started."""
        return self._at_work

    @property
    def is_ready(self) -> bool:
        """Whether a shell waits for work; or all channels are in use, which is not a fault."""
        with self._lock:
            return bool(self._idle) or self._open >= self._limit

    # -- taking a turn

    def take_idle(self, connection: Connection) -> Lease | None:
        """Return an idle shell, where nobody waits for one."""
        with self._lock:
            if self._connection is connection and self._idle and not self._queue:
                self._at_work += 1
                return self._idle.pop()
        return None

    def wait(
        self, connection: Connection, deadline: Deadline, *, is_new: bool
    ) -> tuple[Connection, Lease | None] | None:
        """Wait for the right to a channel, with an idle shell if there is one; for a channel that `is_new` only where
        there is no other room. Returns None where the connection is not the present one by now. Raises
        DeadlineExpired, Cancelled."""
        forget = deadline.cancellation.on_cancel(self.wake)
        patient_until = time.monotonic() + self.patience
        turn = threading.Condition(self._lock)
        try:
            with self._lock:
                self._queue.append(turn)
                while self._connection is connection:
                    has_room = self._open < self._limit
                    if self._idle and self._queue[0] is turn and not (is_new and has_room):
                        self._at_work += not is_new
                        return connection, self._idle.pop()
                    is_due = not is_new and bool(self._at_work or self._idle)
                    patience = patient_until - time.monotonic() if is_due else 0.0
                    if has_room and patience <= 0:
                        self._open += 1
                        self._at_work += not is_new
                        return connection, None
                    deadline.check("all channels of the connection were in use")
                    turn.wait(min(patience, deadline.remaining()) if has_room else deadline.remaining())
        finally:
            forget()
            with self._lock:
                self._queue.remove(turn)
                if self._idle and self._queue:
                    self._queue[0].notify()
        return None

    # -- giving it back

    def give_back(self, lease: Lease, *, keep: bool) -> None:
        """Give back a channel: an idle shell, where it is to be kept, or the room for another channel."""
        with self._lock:
            if self._connection is lease.connection:
                self._at_work -= lease.is_shell
                if keep:
                    self._idle.append(lease)
                    if self._queue:
                        self._queue[0].notify()
                else:
                    self._open -= 1
                    self.wake()

    def give_back_room(self, connection: Connection) -> None:
        """Give back the right to a channel that could not be opened."""
        with self._lock:
            if self._connection is connection:
                self._open -= 1
                self.wake()

    def no_shell(self, connection: Connection) -> None:
        """Note that no shell was started with the right to one."""
        with self._lock:
            if self._connection is connection:
                self._at_work -= 1
                self.wake()

    def lower_limit(self, connection: Connection) -> bool:
        """Take a channel that the server refused for one too many. Returns whether others are open, so that it is a
        bound of the server's (sshd's MaxSessions) and no fault."""
        with self._lock:
            if self._connection is not connection or self._open <= 1:
                return False
            self._open -= 1
            self._limit = self._open
            return True

    def wake(self) -> None:
        """Wake all who wait."""
        with self._lock:
            for turn in self._queue:
                turn.notify()
