"""The folder that a collection goes to: private, each file whole, and nothing in it that is known to be a secret."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from harness.errors import HarnessError, UsageError
from harness.operate.collect.index import NAME, Index, Stream, plain

Mask = Callable[[str], str]
"""Takes the known secrets out of a text."""
_LONGEST = 120


class CollectError(HarnessError):
    """What was collected cannot be written; what was written before is there."""


class Store:
    """Writes one target's folder. Every file is readable by its owner only (0600, in a folder with 0700)."""

    def __init__(self, folder: Path, mask: Mask) -> None:
        """Makes the folder. Raises UsageError where it cannot be made, or holds something already."""
        self.folder = folder
        self._mask = mask
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            taken = any(folder.iterdir())
            folder.chmod(0o700)
        except OSError as error:
            raise UsageError(f"cannot make the folder {folder}: {error.strerror}", hint="Name another one.") from error
        if taken:
            raise UsageError(
                f"{folder} holds something already, and two collections must not be mixed",
                hint="Name another folder, or take this one away.",
            )

    def masked(self, data: bytes) -> bytes:
        """The bytes without the known secrets; all others stay as they are."""
        text = data.decode("utf-8", "surrogateescape")
        clean = self._mask(text)
        return data if clean == text else clean.encode("utf-8", "surrogateescape")

    def text(self, text: str) -> str:
        """The text without the known secrets."""
        return self._mask(text)

    def add(self, file: str, data: bytes, *, cut: bool = False) -> Stream:
        """Writes a file that was masked already. Raises CollectError."""
        self._write(file, data)
        return Stream(file, len(data), cut)

    def save(self, index: Index) -> None:
        """Writes the index as it stands. Raises CollectError."""
        text = json.dumps(plain(index), indent=1, ensure_ascii=True)
        self._write(NAME, f"{text}\n".encode())

    def write_text(self, file: str, text: str) -> None:
        """Writes a text that was masked already. Raises CollectError."""
        self._write(file, text.encode("utf-8", "backslashreplace"))

    def _write(self, file: str, data: bytes) -> None:
        path = self.folder / file
        temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}")
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "wb") as stream:
                    stream.write(data)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise CollectError(
                f"cannot write {path}: {error.strerror}", hint="What was collected before is there. Is the disk full?"
            ) from error


def file_name(word: str) -> str:
    """A unit's name as a file's."""
    safe = quote(word, safe="@:+ ")
    if safe.startswith(".") or len(safe) > _LONGEST:
        safe = f"{safe.replace('.', '%2E')[:_LONGEST]}-{hashlib.sha256(word.encode()).hexdigest()[:12]}"
    return safe
