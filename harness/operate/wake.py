"""Something that a `select` can wait for and any thread, or a signal handler, can set."""

from __future__ import annotations

import contextlib
import os
import weakref


class Wake:
    """Set or not. Its descriptor lives as long as anybody holds it, so that a late thread sets nobody else's."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._descriptor)

    def fileno(self) -> int:
        """For `select`: it can be read while it is set."""
        return self._descriptor

    def set(self) -> None:
        """Ends a `select` that waits for it, or the next one."""
        with contextlib.suppress(BlockingIOError):  # it is set, some 2**64 times
            os.eventfd_write(self._descriptor, 1)

    def clear(self) -> None:
        """To be called before one looks at what it was set for."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._descriptor)
