"""Whether a thread that is late has a machine without enough CPU time to blame, or is blocked."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

PRESSURE = Path("/proc/pressure/cpu")
"""How long anything on this machine has waited for a CPU: see Documentation/accounting/psi.rst of the kernel."""
STARVED = 0.5
"""Share of a time in which something waited for a CPU, from which on the machine is taken to have too few."""
COMPUTES = 0.2
"""Share of a time that a thread has run, from which on it is late because it computes: what waits for an answer of a
target needs next to nothing."""
LOADED = 2.0
"""Processes for each CPU, from which on the same holds where the kernel does not know the pressure."""
_SOME = re.compile(r"^some .*total=([0-9]+)", re.MULTILINE)
_SWITCHES = re.compile(r"^(?:non)?voluntary_ctxt_switches:\s*([0-9]+)", re.MULTILINE)


class StarvationProbe:
    """Compares now with the moment when it was made, for a thread of this process."""

    def __init__(self, thread: int) -> None:
        """`thread` is the number that the system knows it by (`threading.get_native_id`)."""
        self._thread = thread
        self._began = time.monotonic()
        self._waited = _waited()
        self._switches = _switches(thread)
        self._ran = _ran(thread)

    @property
    def is_starved(self) -> bool:
        """Whether the thread has run now and then since, but not much: it is neither blocked nor computing, on a
        machine where something waited for a CPU most of the time."""
        seconds = time.monotonic() - self._began
        if _switches(self._thread) == self._switches or _ran(self._thread) - self._ran > COMPUTES * seconds:
            return False
        waited = _waited()
        if self._waited is None or waited is None:
            return os.getloadavg()[0] > LOADED * (os.cpu_count() or 1)
        return waited - self._waited > STARVED * seconds


def _waited() -> float | None:
    """Return the seconds in which anything on this machine has waited for a CPU; None where nobody counts them."""
    try:
        found = _SOME.search(PRESSURE.read_text())
    except OSError:
        return None
    return int(found[1]) / 1e6 if found else None


def _switches(thread: int) -> int:
    """Return how often a thread was put on and off a CPU; 0 where that cannot be known."""
    try:
        text = Path(f"/proc/self/task/{thread}/status").read_text()
    except OSError:
        return 0
    return sum(map(int, _SWITCHES.findall(text)))


def _ran(thread: int) -> float:
    """Return the seconds of CPU time of a thread; 0 where that cannot be known."""
    try:
        fields = Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime, stime
