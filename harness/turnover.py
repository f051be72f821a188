"""Turning a raw log over: what it holds goes into a compressed file beside it, and it begins anew, in place."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

MOST = 16 << 20
"""Bytes that a raw log may have before it is turned over."""


def is_due(log: Path, most: int = MOST) -> bool:
    """Whether it has grown large."""
    try:
        return log.stat().st_size > most
    except FileNotFoundError:
        return False


def turn_over(log: Path) -> Path:
    """`console.log` becomes `console.1.log.gz`, then `console.2.log.gz`, …; returns the new file. Nobody may write to
    the log meanwhile; whoever has it open must append (O_APPEND).

    A kill on the way loses nothing: the compressed file is whole and on the disk before the log is emptied; at worst
    the next one begins with the same bytes. Raises OSError.
    """
    count = 1
    while (packed := log.with_name(f"{log.stem}.{count}{log.suffix}.gz")).exists():
        count += 1
    half = packed.with_name(f".{packed.name}")
    try:
        fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb") as out, log.open("rb") as source:
                shutil.copyfileobj(source, out)
            raw.flush()
            os.fsync(raw.fileno())
        half.replace(packed)
    finally:
        half.unlink(missing_ok=True)
    os.truncate(log, 0)
    return packed
