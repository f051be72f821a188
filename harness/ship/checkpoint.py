"""How far a sink has acknowledged a record: one small file for each sink, in the run's folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from harness.errors import HarnessError
from harness.events.identity import event_id_at
from harness.events.reader import Position
from harness.events.tail import last_sequence
from harness.ship.durable import write_durably

FOLDER = "ship"
_MOST_ANCHORS = 32


class Busy(HarnessError):
    """Another process ships this record to this sink."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything up to `position` was acknowledged, refused for good (`refused` counts that) or missing in the record
    (`lost` counts that).

    `anchors` are the sequence and the `event.id` of ends of acknowledged batches, oldest first; the last one is that of
    `position` where that is known. They show whether the record still has what was acknowledged, and the older they
    are the fewer are kept. `damage` says what made the record's end unreadable when it was reached.
    """

    sink: str
    position: Position = Position()  # noqa: RUF009 - it is frozen
    refused: int = 0
    lost: int = 0
    anchors: tuple[tuple[int, str], ...] = ()
    damage: str = ""

    def moved(self, position: Position, event_id: str, lost: int = 0) -> Checkpoint:
        """Return the checkpoint behind a later event; `lost` more events were missing on the way there."""
        kept = tuple(anchor for anchor in self.anchors if anchor[0] < position.sequence)
        if event_id:
            kept = (*kept, (position.sequence, event_id))
        if len(kept) > _MOST_ANCHORS:
            half = _MOST_ANCHORS // 2
            kept = (*kept[:half:2], *kept[half:])
        return replace(self, position=position, anchors=kept, lost=self.lost + lost, damage="")

    def dumped(self) -> bytes:
        return orjson.dumps(
            {
                "sink": self.sink,
                "sequence": self.position.sequence,
                "segment": self.position.segment,
                "offset": self.position.offset,
                "refused": self.refused,
                "lost": self.lost,
                "anchors": self.anchors,
                "damage": self.damage,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )

    @classmethod
    def loaded(cls, data: bytes) -> Checkpoint:
        """Raises ValueError where it is none. One without identities (of an older version) is taken as it is."""
        value = orjson.loads(data)
        try:
            numbers = [value[name] for name in ("sequence", "segment", "offset", "refused")]
            numbers.append(value.get("lost", 0))
            sink, damage = value["sink"], value.get("damage", "")
            anchors = tuple((sequence, name) for sequence, name in value.get("anchors", ()))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it has no {error}" if isinstance(error, KeyError) else str(error)) from error
        numbers += [sequence for sequence, _ in anchors]
        texts = [sink, damage, *(name for _, name in anchors)]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a text in it is none")
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("a number in it is none")
        return cls(sink, Position(*numbers[:3]), numbers[3], numbers[4], anchors, damage)


def confirmed(run: Path, checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint itself where the record still has what was acknowledged, else the last point up to which it
    has.

    A record that lost its end and was gone on with has other events under the numbers that were acknowledged, or does
    not reach them yet. Where the event itself is gone and later ones are there (it was removed as old, or its number
    stays unused) there is nothing to compare, and the checkpoint counts. Raises OSError.
    """
    sequence = checkpoint.position.sequence
    known = dict(checkpoint.anchors).get(sequence)
    if known is None:
        return checkpoint
    there = event_id_at(run, checkpoint.position)
    if there == known or (not there and last_sequence(run) >= sequence):
        return checkpoint
    kept = list(checkpoint.anchors[:-1])
    while kept and event_id_at(run, Position(kept[-1][0])) != kept[-1][1]:
        kept.pop()
    return replace(checkpoint, position=Position(kept[-1][0] if kept else 0), anchors=tuple(kept))


class CheckpointFile:
    """The file of one sink, held by one process at a time."""

    def __init__(self, run: Path, key: str) -> None:
        """`run` is the run's folder, `key` the sink's. Raises Busy, and OSError where the folder cannot be written."""
        folder = run / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        self.path = folder / f"{key}.json"
        self.damaged = ""
        # The lock is a file of its own: the checkpoint is replaced with each step. The kernel lets go of it at our end.
        self._lock = os.open(folder / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise Busy("another process ships this record there already", hint="Wait for its end.") from error

    def load(self, sink: str) -> Checkpoint:
        """What was acknowledged; nothing yet where there is no file, or none that can be read: `damaged` then says what
        is wrong with it. Raises OSError."""
        self.damaged = ""
        try:
            return Checkpoint.loaded(self.path.read_bytes())
        except FileNotFoundError:
            pass
        except ValueError as error:
            self.damaged = str(error) or "it is empty"
        return Checkpoint(sink)

    def set_damaged_aside(self) -> None:
        """Keeps a file that is no checkpoint under another name. Raises OSError."""
        self.path.rename(self.path.with_suffix(".damaged"))
        self.damaged = ""

    def save(self, checkpoint: Checkpoint) -> None:
        """Raises OSError where it cannot be kept; the one before is then still there."""
        write_durably(self.path, checkpoint.dumped())

    def close(self) -> None:
        """Lets another process have it."""
        os.close(self._lock)


def acknowledged(run: Path) -> int | None:
    """The highest `event.sequence` that every sink of this run has acknowledged; None where it is shipped to none."""
    lowest: int | None = None
    for path in (run / FOLDER).glob("*.json"):
        try:
            sequence = Checkpoint.loaded(path.read_bytes()).position.sequence
        except (OSError, ValueError):
            sequence = 0  # not known, so nothing may go
        lowest = sequence if lowest is None else min(lowest, sequence)
    return lowest


def highest(run: Path) -> int:
    """Return the highest `event.sequence` that any sink of this run has acknowledged; 0 where none has. A number up to
    it is never given to another event, whatever the record has lost."""
    found = 0
    for path in (run / FOLDER).glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            found = max(found, Checkpoint.loaded(path.read_bytes()).position.sequence)
    return found
