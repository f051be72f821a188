"""Lines of standard input as they come, however it stands: a pipe, a file, a terminal, nothing at all."""

from __future__ import annotations

import os
import select
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.deadline import Deadline

PATIENCE = 2.0
"""Seconds after which it is told that stdin is waited for."""


def lines_of_stdin(deadline: Deadline, what: str) -> Iterator[bytes]:
    """Each line as soon as it is there, so that a program can talk with us. `what` is told where nothing comes for a
    while. Raises Cancelled, DeadlineExpired."""
    from harness.cli.ends import descriptor, is_terminal
    from harness.operate.wake import Wake

    source = descriptor(sys.stdin)
    if source is None:
        return
    wake = Wake()
    forget = deadline.cancellation.on_cancel(wake.set)
    told = stat.S_ISREG(os.fstat(source).st_mode)
    rest = b""
    try:
        if is_terminal(sys.stdin):
            print(f"harness: stdin: {what}; Ctrl-D ends them", file=sys.stderr)
            told = True
        while True:
            deadline.check("stdin was read")
            ready, _, _ = select.select([source, wake.fileno()], [], [], deadline.remaining() if told else PATIENCE)
            if source not in ready:
                if not ready and not told:
                    print(f"harness: waiting for stdin: {what}, and its end", file=sys.stderr)
                    told = True
                continue
            try:
                piece = os.read(source, 1 << 16)
            except BlockingIOError:
                continue
            except OSError:
                piece = b""  # a terminal that was hung up
            told = True
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            if not piece:
                if rest:
                    yield rest
                return
    finally:
        forget()
