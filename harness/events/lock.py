"""The writer's mark on a record: who reads it can tell whether more may come, also after a kill or a power cut."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

from harness.errors import UsageError

NAME = "events.lock"
_WHOLE_FILE = (os.SEEK_SET, 0, 0, 0)
_FLOCK = "hhqqi0q"  # struct flock of Linux on 64 bits: type, whence, start, length, pid
_NO_LOCKS_HERE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class WriterLock:
    """Held as long as a record is open for writing; the kernel lets go of it when the process dies.

    It is a lock of the open file (`F_OFD_SETLK`, fcntl(2)): a reader can ask for it without ever taking it, so that
    readers cannot get into a writer's way. A file system that knows no locks lets the record be written without one.
    """

    def __init__(self, folder: Path) -> None:
        """Raises UsageError where another process writes this record, OSError where the file cannot be made."""
        self._fd = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, *_WHOLE_FILE))
        except OSError as error:
            if error.errno in _NO_LOCKS_HERE:
                return
            os.close(self._fd)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise UsageError(
                f"another process is writing the record in {folder}", hint="Wait for its end, or stop it first."
            ) from error

    def release(self) -> None:
        os.close(self._fd)


def has_writer(folder: Path) -> bool:
    """Whether a process is writing the record in this folder."""
    try:
        fd = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, *_WHOLE_FILE)
        kind: int = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0]
    except OSError as error:
        if error.errno in _NO_LOCKS_HERE:
            return False
        raise
    finally:
        os.close(fd)
    return kind != fcntl.F_UNLCK
