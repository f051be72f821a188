"""Which faults are being done to a target, for those who look at it meanwhile."""

from __future__ import annotations

import threading


class ActiveFaults:
    """The faults of one target that are active now. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are active, the oldest first."""
        with self._lock:
            return tuple(self._names)

    def began(self, name: str) -> None:
        """From now on it is active."""
        with self._lock:
            self._names.append(name)

    def ended(self, name: str) -> None:
        """It is active no more."""
        with self._lock:
            if name in self._names:
                self._names.remove(name)
