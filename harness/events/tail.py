"""The end of a file of events: its last event, and what stands behind it that is none."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from harness.events.segments import scan, sequence_of

_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Tail:
    """`sequence` is the last event's (0: there is none), `end` the byte behind its newline, `rest` what follows."""

    sequence: int
    end: int
    rest: bytes


def last_sequence(folder: Path) -> int:
    """The `event.sequence` of a record's last event that can be read; 0 where it has none."""
    for segment in reversed(scan(folder).segments):
        with contextlib.suppress(OSError):
            if found := tail_of(segment.path).sequence:
                return found
    return 0


def tail_of(path: Path) -> Tail:
    """The end of a segment, plain or compressed. Of a compressed one that is damaged or cut short it is the end of what
    can be read. Raises OSError."""
    if path.suffix == ".gz":
        return tail(_unpacked(path))
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, 2)
        back = _BLOCK
        while True:
            start = max(0, size - back)
            file.seek(start)
            data = read_exactly(file, size - start)
            # The first line of the block may be cut; all of the file is taken where nothing else tells an event.
            cut = data.find(b"\n") + 1 if start else 0
            found = tail(data[cut:])
            if found.sequence or not start:
                return Tail(found.sequence, start + cut + found.end, found.rest)
            back *= 4


def _unpacked(path: Path) -> bytes:
    data: list[bytes] = []
    with gzip.open(path, "rb") as packed, contextlib.suppress(EOFError, zlib.error, gzip.BadGzipFile):
        while more := packed.read1(1 << 20):  # `read` would lose what it had before the damage
            data.append(more)
    return b"".join(data)


def tail(data: bytes) -> Tail:
    """The same of bytes that begin with a line."""
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        if sequence := _event(data[start : end - 1]):
            return Tail(sequence, end, data[end:])
        end = start
    return Tail(0, 0, data)


def line_before(file: IO[bytes], offset: int) -> bytes:
    """The line that ends right before this byte, without its newline; nothing where none ends there. The file stands at
    that byte afterwards. A compressed one is read from its beginning, since nothing else can be done with it."""
    if isinstance(file, gzip.GzipFile):
        data = b""
        file.seek(0)
        left = offset
        while left > 0:
            more = file.read(min(left, 1 << 20))
            if not more:
                return b""
            left -= len(more)
            data = data[data.rfind(b"\n", 0, len(data) - 1) + 1 :] + more
        return _last_line(data)
    back = _BLOCK
    while True:
        start = max(0, offset - back)
        file.seek(start)
        data = read_exactly(file, offset - start)
        if len(data) < offset - start:
            return b""
        if not start or data.find(b"\n", 0, len(data) - 1) >= 0:
            return _last_line(data)
        back *= 4


def read_exactly(file: IO[bytes], size: int) -> bytes:
    """So many bytes; fewer only where the file ends."""
    data = b""
    while len(data) < size:
        more = file.read(size - len(data))
        if not more:
            break
        data += more
    return data


def _last_line(data: bytes) -> bytes:
    if not data.endswith(b"\n"):
        return b""
    return data[data.rfind(b"\n", 0, len(data) - 1) + 1 : -1]


def _event(line: bytes) -> int:
    sequence = sequence_of(line)
    if sequence is None:
        return 0
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return 0
    return sequence
