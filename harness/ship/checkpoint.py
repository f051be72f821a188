"""How far a sink has acknowledged a record: one small file for each sink, in the run's folder."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import orjson

from harness.errors import HarnessError
from harness.events.reader import Position
from harness.ship.durable import write_durably

FOLDER = "ship"


class Busy(HarnessError):
    """Another process ships this record to this sink."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything up to `position` was acknowledged or refused for good; `refused` counts the latter."""

    sink: str
    position: Position = Position()  # noqa: RUF009 - it is frozen
    refused: int = 0

    def dumped(self) -> bytes:
        return orjson.dumps(
            {
                "sink": self.sink,
                "sequence": self.position.sequence,
                "segment": self.position.segment,
                "offset": self.position.offset,
                "refused": self.refused,
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )

    @classmethod
    def loaded(cls, data: bytes) -> Checkpoint:
        """Raises ValueError where it is none."""
        value = orjson.loads(data)
        try:
            numbers = [value[name] for name in ("sequence", "segment", "offset", "refused")]
            sink = value["sink"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"no checkpoint: {error}") from error
        if not isinstance(sink, str) or not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("no checkpoint")
        return cls(sink, Position(*numbers[:3]), numbers[3])


class CheckpointFile:
    """The file of one sink, held by one process at a time."""

    def __init__(self, run: Path, key: str) -> None:
        """`run` is the run's folder, `key` the sink's. Raises Busy, and OSError where the folder cannot be written."""
        folder = run / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        self.path = folder / f"{key}.json"
        # The lock is a file of its own: the checkpoint is replaced with each step. The kernel lets go of it at our end.
        self._lock = os.open(folder / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise Busy("another process ships this record there already", hint="Wait for its end.") from error

    def load(self, sink: str) -> Checkpoint:
        """What was acknowledged; nothing yet where there is no file. Raises HarnessError where it cannot be read."""
        try:
            return Checkpoint.loaded(self.path.read_bytes())
        except FileNotFoundError:
            return Checkpoint(sink)
        except ValueError as error:
            raise HarnessError(
                f"{self.path} is no checkpoint: {error}", hint="Remove it to ship the record from its beginning."
            ) from error

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
