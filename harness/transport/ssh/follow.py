"""Follow a program on the target that goes on writing: whenever it does, a callback is called, in the connection's own
thread. No thread waits for it."""

from __future__ import annotations

import shlex
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
        self._pool = pool
        self._lease = pool.alone(_program(command), deadline)
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


def _program(command: str) -> str:
    """Return what runs `command` until its stdin ends, which the server closes however this side goes away, or until
    the command ends.

    The command gets a session of its own, where the target has `setsid`, and its process group is ended. Our own group
    is not: a server need not have made one for us (dropbear has not), and it may be the server's.
    """
    followed = f'{command}; kill "$1"'
    watched = (
        "exec 2>/dev/null; s=; command -v setsid >/dev/null && s=setsid; "
        '$s sh -c "$1" sh $$ </dev/null & p=$!; read -r x; '
        "kill -s TERM -- -$p || kill -s TERM $p"
    )
    return f"exec sh -c {shlex.quote(watched)} sh {shlex.quote(followed)}"


class _Bell(threading.Event):
    """Rung when something came, and when the stream ends; it is never waited for."""

    def __init__(self, on_word: Callable[[], None]) -> None:
        super().__init__()
        self._on_word = on_word

    def set(self) -> None:
        self._on_word()
