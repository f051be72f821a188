"""Looking up a host's addresses, within a deadline."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.deadline import Deadline

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""As getaddrinfo(3) gives them; the last is what connect(2) takes."""


@dataclass(slots=True)
class _LookUp:
    """What the C library finds; it knows no time-out, so it is asked by a thread that can be left behind."""

    found: Sequence[Address] = ()
    error: OSError | UnicodeError | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def ask(self, host: str, port: int, family: int) -> None:
        try:
            self.found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self.error = error
        self.done.set()


def look_up(host: str, port: int, family: int, deadline: Deadline) -> Sequence[Address]:
    """The addresses of a name. Raises OSError (socket.gaierror) or UnicodeError for a name that has none,
    DeadlineExpired, Cancelled; a thread that still waits for a name server then ends when the C library gives up.
    """
    try:
        # An address asks nobody.
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        pass
    asked = _LookUp()
    threading.Thread(target=asked.ask, args=(host, port, family), daemon=True, name=f"look up {host}").start()
    forget = deadline.cancellation.on_cancel(asked.done.set)
    try:
        asked.done.wait(deadline.remaining())
    finally:
        forget()
    if asked.error is not None:
        raise asked.error
    if not asked.found:
        deadline.check(f"the name {host!r} was looked up")
    return asked.found
