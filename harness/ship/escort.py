"""Ships a run's record while the run goes on, from a process of its own.

A process, and not a thread: it lives on when the run is killed, and then ships the last lines, which are those that
somebody will want to read; the run's own threads never wait for it, not even for the interpreter's lock while it packs
a batch; and what a sink does wrong, it does elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.deadline import LONGEST_WAIT

_SILENT = 1.0  # seconds of waiting that need no word
_GRACE = 10.0  # seconds beyond the time allowed, for a batch on its way to be given up


class Escort:
    """The shipping process of one run."""

    def __init__(self, run: Path, sinks: Sequence[str], timeout: float, told: Callable[[str, bool], None]) -> None:
        """Starts it. `run` is the run's folder, `sinks` are URLs, and `timeout` is in seconds: how long it ships on
        after the run. `told` gets what a person should know, and whether it is bad, from another thread.
        Raises OSError."""
        self._timeout = timeout
        self._told = told
        # The URLs go over a pipe: anybody may read a process's arguments. A session of its own, so that Ctrl-C ends
        # the run, and the run's end is shipped.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.ship"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name="ship", daemon=True)
        self._listener.start()
        self._say({"run": str(run), "sinks": list(sinks), "timeout": timeout})

    def finish(self) -> None:
        """Wait until all is shipped or the time is over, and report what is left. Ctrl-C ends the waiting."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            if not self._ended(min(_SILENT, self._timeout)):
                self._told(f"not all is shipped yet; it has up to {self._timeout:g} s for that (Ctrl-C ends it)", False)
                if not self._ended(self._timeout + _GRACE):
                    self._told(f"shipping does not end; process {self._process.pid} is left to itself", True)
        except KeyboardInterrupt:
            self._process.terminate()
            self._ended(_GRACE)
        self._listener.join(1.0)

    def _ended(self, seconds: float) -> bool:
        try:
            self._process.wait(min(seconds, LONGEST_WAIT))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _say(self, order: dict[str, object]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone already; its exit says so
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            self._told(said["words"], said["bad"])
        code = self._process.wait()
        if code:
            self._told(f"shipping has ended with a fault of its own (exit code {code}); the record is whole", True)
