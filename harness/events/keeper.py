"""What becomes of the segments that are full: compressed, and at last removed."""

from __future__ import annotations

import gzip
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.events.segments import Index, Segment, scan
from harness.events.sync import sync_folder

Acknowledged = Callable[[], int | None]
"""The highest `event.sequence` that every sink has; None where there is no sink."""

_LEVEL = 1  # 4 µs of CPU an event; the level that gzip takes by itself costs three times that for a fifth less on disk


class Keeper:
    """Tends the full segments of one record in a thread of its own: who writes events does not wait for it."""

    def __init__(
        self,
        folder: Path,
        *,
        compress: bool = True,
        keep: int | None = None,
        acknowledged: Acknowledged | None = None,
        told: Callable[[str], None] | None = None,
    ) -> None:
        """`keep` is in bytes, None for all; `told` is called with error messages. See `Rotation`."""
        self._folder = folder
        self._compress = compress
        self._keep = keep
        self._acknowledged = acknowledged or (lambda: None)
        self._told = told or (lambda words: None)
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._wanted = self._closed = False

    def has_work(self) -> bool:
        """Whether a run that ended early has left something to do."""
        return self._compress and any(_plain(segment) for segment in scan(self._folder).segments)

    def wake(self) -> None:
        """Looks through the segments soon. After `close` it is left to who opens the record next."""
        with self._lock:
            if self._closed or self._wanted:
                return
            self._wanted = True
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="record")
            self._pool.submit(self._tend)

    def close(self) -> None:
        """Returns when all is done."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)

    def _tend(self) -> None:
        with self._lock:
            self._wanted = False  # what is turned over from now on wants another look
        try:
            tend(self._folder, compressing=self._compress, keep=self._keep, acknowledged=self._acknowledged())
        except OSError as error:
            # The segment stays as it is, whole and readable, and is tried again after the next one.
            self._told(f"a full segment of the record in {self._folder} could not be tended: {error}")


def tend(folder: Path, *, compressing: bool = True, keep: int | None = None, acknowledged: int | None = None) -> None:
    """Compresses what is not yet, and then removes the oldest beyond `keep` bytes. Raises OSError."""
    if compressing:
        for left in folder.glob(".events.*.jsonl.gz"):
            left.unlink(missing_ok=True)
        for segment in scan(folder).segments:
            if _plain(segment):
                compress(segment.path)
    if keep is not None:
        found = scan(folder)
        sizes = {segment: segment.path.stat().st_size for segment in found.segments}
        for segment in removable(found, sizes, keep, acknowledged):
            segment.path.unlink()


def compress(path: Path) -> None:
    """Turns `NAME` into `NAME.gz`, which is whole or absent; killed half-way, `NAME` is still there."""
    temporary = path.with_name(f".{path.name}.gz")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as raw:
            with path.open("rb") as source, gzip.GzipFile(path.name, "wb", _LEVEL, raw) as packed:
                # After a power cut both may be there, and the uncompressed one counts: it must be whole too.
                os.fsync(source.fileno())
                shutil.copyfileobj(source, packed, 1 << 20)
            raw.flush()
            os.fsync(raw.fileno())
        os.rename(temporary, path.with_name(f"{path.name}.gz"))
        sync_folder(path.parent)  # the name must be on disk before the other one goes
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    os.unlink(path)


def removable(found: Index, sizes: dict[Segment, int], keep: int, acknowledged: int | None) -> list[Segment]:
    """The oldest segments that must go for the rest to fit into `keep` bytes: never the one being written, and none
    with an event that a sink has not acknowledged (None: there is no sink)."""
    total = sum(sizes.values())
    going: list[Segment] = []
    for segment in found.segments:
        last = found.last(segment)
        if total <= keep or segment.live or last is None or (acknowledged is not None and last > acknowledged):
            break
        going.append(segment)
        total -= sizes[segment]
    return going


def _plain(segment: Segment) -> bool:
    return not segment.live and not segment.compressed
