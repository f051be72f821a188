"""Ends what a socket waits for when a deadline has passed or was cancelled."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from harness.deadline import Deadline


@contextlib.contextmanager
def guarded(sock: socket.socket, deadline: Deadline) -> Iterator[None]:
    """Within it, each call on the socket fails at the latest when the deadline is over.

    A socket's own time-out counts anew for each call, so a peer that gives a byte at a time would never meet it.
    """

    def cut() -> None:
        # The plain socket's call: TLS would first say goodbye, and wait.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(deadline.remaining(), cut)
    timer.daemon = True
    timer.start()
    forget = deadline.cancellation.on_cancel(cut)
    try:
        yield
    finally:
        forget()
        timer.cancel()
