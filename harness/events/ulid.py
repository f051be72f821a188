"""ULIDs: identifiers that sort by the time they were made (https://github.com/ulid/spec)."""

from __future__ import annotations

import os
import threading

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32, as the specification asks
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_RANDOM_BITS = 80


class UlidFactory:
    """Makes ULIDs that strictly grow within this factory, also inside one millisecond. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = -1
        self._random = 0
        self._time = ""

    def __call__(self, seconds: float) -> str:
        """The next ULID for a time in seconds since the epoch. A clock that steps back does not break the order."""
        with self._lock:
            milliseconds = int(seconds * 1000)
            if milliseconds <= self._last_ms:
                self._random += 1
            else:
                # The top bit is left free so that counting up can never overflow into the time.
                self._random = int.from_bytes(os.urandom(10), "big") >> 1
                self._last_ms = milliseconds
                self._time = _encode(milliseconds, 50)[-10:]
            return self._time + _encode(self._random, _RANDOM_BITS)


def encode(value: int) -> str:
    """The 26 characters of a 128-bit number."""
    return _encode(value, 130)


def _encode(value: int, bits: int) -> str:
    return "".join([_PAIRS[value >> shift & 0x3FF] for shift in range(bits - 10, -1, -10)])
