"""A stream that a person may walk away from: a terminal that is closed, a pipe whose reader ends."""

from __future__ import annotations

import contextlib
from typing import Any, TextIO, cast

from harness.printing import SafeStream


class LastingStream:
    """Write text for as long as somebody is there to read it; from the first failure on, write nothing.

    A run's verdicts do not depend on who watches: whoever draws or prints need not know that nobody is left. `lost` is
    the first failure. What is no stream method is the wrapped stream's own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | ValueError | None = None

    def write(self, text: str) -> int:
        """Write it; its length, in any case. What the stream's encoding does not have is shown as an escape."""
        if self.lost is None:
            try:
                try:
                    self._stream.write(text)
                except UnicodeEncodeError:
                    encoding = self._stream.encoding or "ascii"
                    self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            except (OSError, ValueError) as error:  # ValueError: it was closed
                self.lost = error
        return len(text)

    def flush(self) -> None:
        """Flush it."""
        if self.lost is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self.lost = error

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lasting(stream: Any) -> Any:
    """Return the stream as a lasting one. A safe stream stays safe, and styled text goes the same way."""
    if isinstance(stream, SafeStream):
        return stream.over(cast("TextIO", LastingStream(stream.unguarded)))
    return LastingStream(stream)
