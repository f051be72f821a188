"""A program on the target that goes on saying things: each time that it does, somebody here is told. No thread waits
for it: the connection's own thread rings."""

from __future__ import annotations

import threading
from collections.abc import Callable

from harness.deadline import Deadline
from harness.transport.ssh.pool import ChannelPool

_UNREAD = 1 << 20
"""Bytes after which what it said is thrown away; well below the channel's window."""


class Follower:
    """A followed program. What it says is not kept, only that it says something."""

    def __init__(self, pool: ChannelPool, command: str, deadline: Deadline, on_word: Callable[[], None]) -> None:
        """`on_word` is called in the connection's thread; it must be quick. Raises as the pool does."""
        # It ends with its stdin, which the server closes however this side goes away, and with the command. The server
        # has given it a process group of its own.
        program = f"exec sh -c '{{ {command}; kill 0; }} </dev/null & read -r x; kill 0'"
        self._pool = pool
        self._lease = pool.alone(program, deadline)
        self._channel = self._lease.io.channel
        self._channel.in_buffer.set_event(_Bell(on_word))

    @property
    def closed(self) -> bool:
        """It will say nothing more."""
        return self._lease.io.closed

    def forget(self) -> None:
        """Throws away what has gathered; to be called now and then."""
        while len(self._channel.in_buffer) > _UNREAD:
            self._channel.recv(_UNREAD)

    def close(self) -> None:
        """Ends it, on the target too."""
        self._pool.release(self._lease, keep=False)


class _Bell(threading.Event):
    """Rung when something came, and when the stream ends; it is never waited for."""

    def __init__(self, on_word: Callable[[], None]) -> None:
        super().__init__()
        self._on_word = on_word

    def set(self) -> None:
        self._on_word()
