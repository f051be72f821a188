"""This process's standard streams: there from the beginning, able to print anything, and given up when nobody reads."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import IO


def open_streams() -> None:
    """Gives us those of the three standard streams that we were started without. Each takes the lowest descriptor that
    is free, which is its own: so no file of ours is ever taken for one of them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as we live
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a terminal cannot show is shown as an escape: a name with an umlaut is no reason to fail.
            stream.reconfigure(errors="backslashreplace")


def give_up_streams(*others: IO[str]) -> None:
    """Let whatever is still to be written go nowhere: Python must not complain of it at exit. `others` are streams
    beside the standard ones."""
    for stream in (sys.stdout, sys.stderr, *others):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def complain(words: str) -> None:
    """Tell a person, if there is still somebody to be told."""
    try:
        print(words, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        give_up_streams()


def tell_waiting(words: str) -> None:
    """Tell a person what everything waits for. It goes past the live view, whose record is what cannot be written."""
    complain(f"harness: {words}")
