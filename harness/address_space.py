"""How this process uses an address space that is bounded (`ulimit -v`)."""

from __future__ import annotations

import resource

_M_ARENA_MAX = -8  # mallopt(3)


def share_arena() -> bool:
    """Have all threads allocate from one arena where the address space is bounded; return whether that was set.

    glibc reserves 64 MiB of address space for an arena of each thread, twice that for a moment: a few threads then take
    what others need for their stacks, though hardly any memory is used. Call it before threads are started.
    """
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    except (OSError, AttributeError):  # another C library
        return False
