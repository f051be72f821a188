"""What shipping has to say: to whoever listens, and to a file in the run's folder. Never into the record, which is what
is shipped: a word on each failure there would be one more event to ship."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from harness.events.record import timestamp
from harness.printing import printable
from harness.ship.checkpoint import FOLDER

NAME = "ship.log"


class Notes:
    """Adds each sentence to `ship/ship.log` with its time, and tells it on."""

    def __init__(self, run: Path, told: Callable[[str, bool], None]) -> None:
        self._path = run / FOLDER / NAME
        self._told = told

    def __call__(self, words: str, bad: bool = True) -> None:
        self.keep(words)
        self._told(words, bad)

    def keep(self, words: str) -> None:
        """Only writes it down."""
        line = f"{timestamp(time.time())} {printable(words)}\n".encode("utf-8", "backslashreplace")
        # A full disk must not suppress messages.
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, line)
            finally:
                os.close(fd)
