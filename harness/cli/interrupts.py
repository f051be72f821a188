"""Signals that end a verb: the first one ends all waits in order, the second one ends the process in any case."""

from __future__ import annotations

import contextlib
import ctypes
import signal
from collections.abc import Callable, Iterator
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _SigAction(ctypes.Structure):
    """`struct sigaction` of glibc and musl (x86, Arm, RISC-V, PowerPC)."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_byte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


_SA_RESETHAND = -0x80000000  # as a C int


def reset_after_one(number: int) -> None:
    """Have the kernel give the signal its default action back once it was delivered.

    Python runs a handler between two of its own instructions. Where a library, or a regular expression, does not come
    back, no handler ever runs: the kernel then ends the process at the next signal, which is the second one.
    """
    if number == signal.SIGHUP:
        return  # nobody sends it by hand: see below
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        action = _SigAction()
        if libc.sigaction(int(number), None, ctypes.byref(action)) == 0 and action.handler:
            action.flags |= _SA_RESETHAND
            libc.sigaction(int(number), ctypes.byref(action), None)


@contextlib.contextmanager
def ending_signals(first: Callable[[str], None], second: Callable[[], None]) -> Iterator[None]:
    """Call `first` with the name of the first signal that ends programs, and `second` for the next, which must not
    return; while this context lasts, in the main thread.

    Both are called between two instructions of the main thread: neither may wait for a lock that it may hold.
    """
    seen = False

    def interrupted(number: int, _frame: Any) -> None:
        nonlocal seen
        if seen and number == signal.SIGHUP:
            return  # of the same event: a shell whose terminal is closed sends it to its jobs once more
        if seen:
            second()
        seen = True
        for each in ENDING:
            signal.signal(each, interrupted)
            reset_after_one(each)
        first(signal.Signals(number).name)

    before = [signal.signal(number, interrupted) for number in ENDING]
    for number in ENDING:
        reset_after_one(number)
    try:
        yield
    finally:
        for number, handler in zip(ENDING, before, strict=True):
            signal.signal(number, handler)
