"""One system call that lets no other thread in."""

from __future__ import annotations

import ctypes
import errno
import os

_LIBC = ctypes.PyDLL(None, use_errno=True)
_WRITE = _LIBC.write
_WRITE.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_WRITE.restype = ctypes.c_ssize_t


def write_at_once(fd: int, data: bytes) -> int:
    """`os.write` for a regular file: bytes written; raises OSError. The interpreter's lock is held meanwhile.

    Into a file's cache a line is written in microseconds. `os.write` lets others in for that, who then keep the
    interpreter for up to a thousand times as long, while the writer holds the lock that all the others come to want:
    with fifty threads that was a fifth of all that an attempt costs.
    """
    while True:
        written: int = _WRITE(fd, data, len(data))
        if written >= 0:
            return written
        number = ctypes.get_errno()
        if number != errno.EINTR:  # a signal, on a file system that lets itself be interrupted (NFS, FUSE): PEP 475
            raise OSError(number, os.strerror(number))
