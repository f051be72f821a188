"""A file's content on this side: what is put, and what was got so far."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.errors import UsageError

_BLOCK = 1 << 20


class Content:
    """What is put: bytes, or a file that is read as it goes and never held as a whole. To be closed."""

    def __init__(self, data: bytes | Path) -> None:
        """Raises UsageError for a file that cannot be read."""
        try:
            self._file: BinaryIO = io.BytesIO(data) if isinstance(data, bytes) else data.open("rb")
            self.size = self._file.seek(0, os.SEEK_END)
            self.digest = self.digest_of(self.size)
        except OSError as error:
            raise UsageError(
                f"the file {data!s} cannot be read: {error.strerror or error}", hint="It is what put() is to send."
            ) from None

    def digest_of(self, size: int) -> str:
        """The SHA-256 of the first `size` bytes, in hexadecimal."""
        digest = hashlib.sha256()
        for block in self.pieces(0, _BLOCK, size):
            digest.update(block)
        return digest.hexdigest()

    def pieces(self, start: int, most: int, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` on, in pieces of `most`; the last one may be shorter."""
        self._file.seek(start)
        left = (self.size if stop is None else stop) - start
        while left > 0:
            piece = self._file.read(min(most, left))
            if not piece:
                return  # The file was cut short meanwhile; its checksum will tell.
            left -= len(piece)
            yield piece

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Partial:
    """What was got so far, with its running checksum."""

    def __init__(self) -> None:
        self._data = io.BytesIO()
        self._digest = hashlib.sha256()
        self.size = 0

    def take(self, data: bytes) -> None:
        """Takes the bytes that follow."""
        self._data.write(data)
        self._digest.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        """The SHA-256 of what is there, in hexadecimal."""
        return self._digest.hexdigest()

    def content(self) -> bytes:
        """All of it. CPython hands out the buffer itself: nothing is copied."""
        return self._data.getvalue()

    def clear(self) -> None:
        """Forgets everything."""
        self.__init__()  # type: ignore[misc]
