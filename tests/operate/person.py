"""A person at a terminal of their own, with one command in it; and the same command with no terminal at all."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import forked
from tests.forked import Forked
from tests.patience import scaled

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds after which a test gives up; nothing is expected to take that long."""


def environment(folder: Path) -> dict[str, str]:
    """Of a command: our code, and locks of its own."""
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return {**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(runtime), "TERM": "xterm"}


def harness(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """`harness …` without a terminal, to its end."""
    options = {"stdin": subprocess.DEVNULL, "timeout": PATIENCE, **options}
    options["timeout"] = scaled(options["timeout"])
    if "input" in options:
        del options["stdin"]
    start: Callable[..., subprocess.CompletedProcess[bytes]] = forked.run
    if "preexec_fn" in options:
        start = subprocess.run
    return start(
        [sys.executable, "-m", "harness", *arguments],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        check=False,
        **options,
    )


def close(descriptors: Sequence[int]) -> None:
    """What a process is started without."""
    for number in descriptors:
        os.close(number)


class Person:
    """A terminal of 30 rows and 100 columns, and `harness …` in it as its foreground process."""

    def __init__(self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._master, self.slave = os.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self._place = 0
        self._gone = False
        slave = self.slave

        self.process = Forked(
            [sys.executable, "-m", "harness", *arguments],
            cwd=folder,
            env={**environment(folder), **(env or {})},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            controlling_terminal=True,
        )

    def resize(self, rows: int, columns: int) -> None:
        """Gives the window another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Presses keys."""
        os.write(self._master, keys)

    def sees(self, wanted: bytes) -> None:
        """Waits until it stands behind what was seen last."""
        end = time.monotonic() + scaled(PATIENCE)
        while (place := self.seen.find(wanted, self._place)) < 0:
            assert time.monotonic() < end, f"{wanted!r} never came; seen: {self.seen[self._place :]!r}"
            assert self._read() or self.process.poll() is None, f"it has ended before {wanted!r}: {self.seen!r}"
        self._place = place + len(wanted)

    def is_answered(self, keys: bytes, wanted: bytes) -> None:
        """Presses keys until that is seen: a shell that is not ready yet throws away what is typed."""
        end = time.monotonic() + scaled(PATIENCE)
        while self.seen.find(wanted, self._place) < 0:
            assert time.monotonic() < end, f"{wanted!r} never came; seen: {self.seen[self._place :]!r}"
            self.type(keys)
            again = time.monotonic() + 3.0
            while time.monotonic() < again and self.seen.find(wanted, self._place) < 0:
                assert self._read() or self.process.poll() is None, f"it has ended before {wanted!r}: {self.seen!r}"
        self.sees(wanted)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 0.2)[0]:
            return False
        self.seen += os.read(self._master, 65536)
        return True

    def finish(self) -> int:
        """Reads on until the command has ended; its exit status."""
        end = time.monotonic() + scaled(PATIENCE)
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end; seen: {self.seen!r}"
            self._read()
        while self._read():
            pass
        return self.process.returncode

    @property
    def is_raw(self) -> bool:
        """Whether the terminal hands on each key as it is typed."""
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal has the modes that it had at first."""
        return termios.tcgetattr(self.slave) == self.before

    def hang_up(self) -> None:
        """Closes the window, with the command in it."""
        os.close(self.slave)
        os.close(self._master)
        self._gone = True

    def close(self) -> None:
        """Ends whatever is left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        if not self._gone:
            os.close(self._master)
            os.close(self.slave)
