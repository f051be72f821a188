"""Makes an event fit into what a receiver takes: its longest fields are cut, and the whole of each is kept."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from harness.events.long import FOLDER, LongTexts
from harness.events.record import Record
from harness.ship.event import Event

_NEVER_CUT = frozenset(
    {"@timestamp", "log.level", "ecs.version", "event.id", "event.sequence", "event.action", "event.dataset",
     "event.outcome", "event.duration", "harness.schema", "harness.outcome", "cicd.pipeline.run.id"}
)  # fmt: skip
_SHORTEST = 130  # bytes of a value below which cutting it gains nothing: its mark is longer


class TooLong(ValueError):
    """The event does not fit, even with everything cut that can be."""


def cut(record: Record, limit: int) -> tuple[Record, list[str]]:
    """The record with its longest fields cut until its line has at most `limit` bytes, and the whole of each cut field.
    A field that is no text is cut as its JSON. Raises TooLong."""
    excess = len(orjson.dumps(record)) - limit
    if excess <= 0:
        return record, []
    fitting = dict(record)
    wholes: list[str] = []
    sizes = {key: len(orjson.dumps(value)) for key, value in record.items() if key not in _NEVER_CUT}
    for key in sorted(sizes, key=lambda each: (-sizes[each], each)):
        if excess <= 0:
            break
        if sizes[key] < _SHORTEST:
            continue
        whole = _text(record[key])
        fitting[key] = shortened(whole, sizes[key] - excess)
        wholes.append(whole)
        excess = len(orjson.dumps(fitting)) - limit
    if excess > 0:
        raise TooLong(f"it has {excess} bytes more than the {limit} that the receiver takes, with all fields cut")
    return fitting, wholes


def shortened(whole: str, size: int) -> str:
    """The beginning of a text and the mark, in at most `size` bytes of JSON, or the mark alone where that is longer."""
    place = f"{FOLDER}/{hashlib.sha256(whole.encode()).hexdigest()}.txt"

    def kept(count: int) -> str:
        return f"{whole[:count]}… [{count} of {len(whole)} characters; the whole is in {place}]"

    least, most = 0, max(0, min(size, len(whole)))
    while least < most:  # a character takes one to six bytes, so the number is searched for
        middle = (least + most + 1) // 2
        if len(orjson.dumps(kept(middle))) <= size:
            least = middle
        else:
            most = middle - 1
    return kept(least)


class Cutter:
    """Cuts events for one run, and keeps what was cut where the record keeps its own long texts."""

    def __init__(self, folder: Path) -> None:
        self._long = LongTexts(folder)

    def fit(self, event: Event, limit: int) -> Event:
        """The event in at most `limit` bytes; itself where it fits. Raises TooLong, and OSError where the whole cannot
        be kept."""
        if not limit or len(event.line) <= limit:
            return event
        record, wholes = cut(event.record, limit)
        for whole in wholes:
            self._long.keep(whole)
        return replace(event, record=record, line=orjson.dumps(record))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
