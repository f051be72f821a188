"""Whether an exception means that this process is short of something, and no target is to blame. Pure."""

from __future__ import annotations

import errno
import os

from harness.errors import InfrastructureError, MachineError

SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""The errors of descriptors and memory: see errno(3)."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NOT_LOADED = (
    "failed to map segment from shared object",
    "cannot allocate memory",
    "cannot create shared object descriptor",
    "out of memory",
)
"""What the dynamic linker (glibc, musl) says of a library for which there is no memory; in lower case."""


def disk_full(error: BaseException) -> str:
    """Return which disk of this machine is full, in words, for an error of starting a target; empty for another error.

    Not for what a check raises: that may be about the target's own disk.
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return f"a disk of this machine is full: {error}"
    if isinstance(error, MachineError) and os.strerror(errno.ENOSPC) in error.message:
        return f"a disk of this machine is full (see `df`): {error.message}"
    return ""


def shortage(error: BaseException) -> str:
    """Return what is missing, in words; empty where the error means something else."""
    if isinstance(error, InfrastructureError):
        return error.message
    if isinstance(error, MemoryError):
        return "this process got no more memory"
    if isinstance(error, ImportError):
        words = str(error).lower()
        if any(each in words for each in _NOT_LOADED):
            return f"this process got no more memory (see `ulimit -v`): {error}"
        if os.strerror(errno.EMFILE).lower() in words:
            return f"this process got no more file descriptors (see `ulimit -n`): {error}"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "this process got no more threads (see `ulimit -u`, and the container's pids limit)"
    if isinstance(error, RuntimeError) and "can't allocate lock" in str(error):
        return "this process got no more memory for a lock (see `ulimit -v`)"
    if isinstance(error, OSError) and error.errno in SHORT:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return f"this process got no more file descriptors: {error.strerror} (see `ulimit -n`)"
        return f"this process got no more memory: {error.strerror}"
    return ""


def raise_shortage(error: BaseException | None) -> None:
    """Raise InfrastructureError where the error of a library, or what it was raised for, is a shortage."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if words := shortage(error):
            raise InfrastructureError(words) from None
        seen.add(id(error))
        error = error.__cause__ or error.__context__
