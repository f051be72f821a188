"""ULIDs: identifiers that sort by the time they were made (https://github.com/ulid/spec)."""

from __future__ import annotations

import os
import threading

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32, as the specification asks
_PAIRS = tuple(a + b for a in ALPHABET for b in ALPHABET)
_LAST = 20  # bits that grow from one ULID to the next of the same millisecond; the others are put into letters once
_RANDOM_BITS = 80
_RANDOM_BYTES = _RANDOM_BITS // 8
_AT_A_TIME = 64  # asking the kernel lets other threads in, who do not give the processor back at once


class UlidFactory:
    """Makes ULIDs that strictly grow within this factory, also inside one millisecond. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = -1
        self._random = 0
        self._fresh = b""
        self._head = ""
        self._head_of = -1

    def __call__(self, seconds: float) -> str:
        """The next ULID for a time in seconds since the epoch. A clock that steps back does not break the order."""
        with self._lock:
            milliseconds = int(seconds * 1000)
            if milliseconds <= self._last_ms:
                self._random += 1
            else:
                # The top bit is left free so that counting up can never overflow into the time.
                if not self._fresh:
                    self._fresh = os.urandom(_RANDOM_BYTES * _AT_A_TIME)
                self._random = int.from_bytes(self._fresh[:_RANDOM_BYTES], "big") >> 1
                self._fresh = self._fresh[_RANDOM_BYTES:]
                self._last_ms = milliseconds
                self._head_of = -1
            head, last = self._random >> _LAST, self._random & (1 << _LAST) - 1
            if head != self._head_of:
                self._head = _encode(self._last_ms << _RANDOM_BITS - _LAST | head, 130 - _LAST)
                self._head_of = head
            return f"{self._head}{_PAIRS[last >> 10]}{_PAIRS[last & 0x3FF]}"


def encode(value: int) -> str:
    """The 26 characters of a 128-bit number."""
    return _encode(value, 130)


def _encode(value: int, bits: int) -> str:
    return "".join([_PAIRS[value >> shift & 0x3FF] for shift in range(bits - 10, -1, -10)])
