"""Which event stands at a place of a record: a number may be used again after a loss, an `event.id` never is."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import IO, cast

from harness.events.reader import Position, RecordReader
from harness.events.segments import scan, sequence_of
from harness.events.tail import line_before

_ID = re.compile(rb'"event\.id":"([0-9A-Z]{26})"')


def event_id_of(line: bytes) -> str:
    """Return the `event.id` of a line; empty where it has none."""
    match = _ID.search(line)
    return match[1].decode("ascii") if match else ""


def event_id_at(folder: Path, position: Position) -> str:
    """Return the `event.id` of the event that `position` is behind; empty where the record has no such event.

    The position's hint is tried first; without a right one the segment is read up to that event. Raises OSError."""
    if position.sequence < 1:
        return ""
    line = _hinted(folder, position)
    if sequence_of(line) == position.sequence:
        return event_id_of(line)
    with RecordReader(folder, Position(position.sequence - 1), salvage=True) as reader:
        while lines := reader.read():
            if lines[-1].sequence < position.sequence:
                continue
            return next((event_id_of(each.raw) for each in lines if each.sequence == position.sequence), "")
    return ""


def _hinted(folder: Path, position: Position) -> bytes:
    segment = scan(folder).holding(position.segment) if position.offset else None
    if segment is None:
        return b""
    try:
        if segment.compressed:
            with gzip.open(segment.path, "rb") as packed:
                return line_before(cast(IO[bytes], packed), position.offset)
        with segment.path.open("rb", buffering=0) as file:
            return line_before(file, position.offset)
    except (FileNotFoundError, EOFError, zlib.error, gzip.BadGzipFile):
        return b""
