"""Files that are there whole after a kill or a power cut, or not at all; readable by their owner only."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from harness.events.sync import sync_folder


def write_durably(path: Path, data: bytes) -> None:
    """Writes, syncs, renames, and syncs the folder; what stood there before stays until the rename. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def append_durably(path: Path, lines: bytes) -> None:
    """Adds whole lines behind the last whole line, and syncs. Where that fails (disk full), the file is as it was.
    Raises OSError."""
    fresh = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # let go of with the file: several sinks may add to one
        size = whole_lines(fd)
        try:
            os.ftruncate(fd, size)
            os.lseek(fd, size, os.SEEK_SET)
            write_all(fd, lines)
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)
    if fresh:
        sync_folder(path.parent)


def whole_lines(fd: int) -> int:
    """How many bytes at the beginning of a file are whole lines; behind them stands what a killed writer left."""
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - 65536)
        at = os.pread(fd, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def write_all(fd: int, data: bytes) -> None:
    """Writes all of it. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
