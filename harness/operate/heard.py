"""What a console says, kept until the main thread takes it."""

from __future__ import annotations

import threading

from harness.operate.wake import Wake
from harness.transport.errors import TransportError


class Heard:
    """A listener of a console that sets a `wake` at each word. `error` is why nothing comes any more."""

    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self.error: TransportError | None = None

    def feed(self, data: bytes, at: float) -> None:
        """The next bytes."""
        del at
        with self._lock:
            self._pieces.append(data)
        self._wake.set()

    def lost(self, error: TransportError) -> None:
        """Nothing more will come."""
        self.error = error
        self._wake.set()

    def take(self) -> bytes:
        """What has come since the last call."""
        with self._lock:
            data = b"".join(self._pieces)
            self._pieces.clear()
        return data
