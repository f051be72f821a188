"""Files that somebody else names or writes, read with a bound on size and time."""

from __future__ import annotations

import errno
import os
import select
import stat
import time

MOST = 64 << 20
"""Bytes of a file that a person writes."""
_PIPE_SECONDS = 30.0


def read_file(path: str | os.PathLike[str], *, most: int = MOST) -> bytes:
    """Return a file's content. Raises OSError, with words in `strerror`, for what is no file (a FIFO, a device) or
    holds more than `most` bytes. A pipe that this process was given (`/dev/fd/63`, a shell's `<(…)`) counts."""
    name = os.fspath(path)
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb", buffering=0) as file:
        kind = os.fstat(descriptor).st_mode
        given = name.startswith(("/dev/fd/", "/proc/self/fd/", "/dev/stdin"))
        if stat.S_ISDIR(kind):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if (
            not stat.S_ISREG(kind)
            and not (given and (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)))
            and os.path.realpath(name) != os.devnull
        ):
            raise OSError(errno.EINVAL, "it is no regular file", name)
        return _read(file.fileno(), most, name)


def _read(descriptor: int, most: int, name: str) -> bytes:
    """Read to the end. Some files of the kernel (`/proc/kmsg`) are regular by their type, and wait like a pipe."""
    end = time.monotonic() + _PIPE_SECONDS
    pieces: list[bytes] = []
    size = 0
    while True:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise OSError(errno.ETIMEDOUT, f"nothing came in {_PIPE_SECONDS:g} s", name)
        try:
            piece = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            continue
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > most:
            raise OSError(errno.EFBIG, f"it holds more than {most >> 20} MiB", name)
        pieces.append(piece)


def read_text(path: str | os.PathLike[str], *, encoding: str = "utf-8", most: int = MOST) -> str:
    """Return a text file's content, with `\\n` at each line's end. Raises OSError, UnicodeDecodeError."""
    return read_file(path, most=most).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
