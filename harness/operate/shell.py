"""A person, or a pipe, and a shell on a target: what is typed goes there, what comes is shown, until it ends."""

from __future__ import annotations

import os
import select
from typing import Protocol

from harness.deadline import Deadline
from harness.operate.wake import Wake
from harness.transport.contract import Interactive, Window

_MOST = 65536


class Ends(Protocol):
    """Our ends of a shell's streams."""

    source: int | None
    """What is read for its standard input; None for nothing."""

    def show(self, out: bytes, err: bytes) -> None:
        """What came of standard output and standard error. May raise; that ends it."""

    def resized(self) -> Window | None:
        """The window, where it has another size than before."""


def carry(remote: Interactive, ends: Ends, *, wake: Wake, deadline: Deadline) -> int | None:
    """Until the shell ends; its exit status, None where it has none. `wake` is set at each of its words. It is closed
    in any case.

    Raises TransportLost, Cancelled, DeadlineExpired.
    """
    forget = deadline.cancellation.on_cancel(wake.set)
    try:
        return _carry(remote, ends, wake, deadline)
    finally:
        forget()
        remote.close()


def _carry(remote: Interactive, ends: Ends, wake: Wake, deadline: Deadline) -> int | None:
    source, pending = ends.source, b""
    if source is None:
        remote.end_of_input()
    while True:
        wake.clear()
        while any(piece := remote.take()):
            ends.show(*piece)
            deadline.check("a shell was open")
        if remote.ended:
            return remote.exit_status()
        deadline.check("a shell was open")
        window = ends.resized()
        if window is not None:
            remote.resize(window)
        if pending:
            pending = pending[remote.send(pending) :]
        watched = [wake.fileno()] if pending or source is None else [wake.fileno(), source]
        ready, _, _ = select.select(watched, [], [], min(remote.rest(), deadline.remaining()))
        if source is not None and source in ready:
            try:
                data = os.read(source, _MOST)
            except BlockingIOError:
                continue
            except OSError:
                data = b""  # a terminal that was hung up
            if data:
                pending = data
            else:
                source = None
                remote.end_of_input()
