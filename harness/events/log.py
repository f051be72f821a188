"""The event log of a run: structlog in, one flushed JSON line out, in one total order."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from harness.clock import SYSTEM_CLOCK, Clock, SystemClock
from harness.errors import HarnessError
from harness.events.emitter import Emitter, Level
from harness.events.keeper import Acknowledged
from harness.events.long import LONG, LongTexts
from harness.events.patience import NO_PATIENCE, DiskPatience
from harness.events.pieces import PieceMask
from harness.events.record import ECS_VERSION, ENVELOPE, SCHEMA_VERSION, Record, Stamps, plain, to_record
from harness.events.redact import Redactor
from harness.events.ulid import UlidFactory
from harness.events.writer import RecordWriter, Rotation
from harness.imports import import_without

if TYPE_CHECKING:
    import structlog
else:
    # Its development console would bring rich, which takes longer to import than all else (56 of 157 ms, measured).
    structlog = import_without("structlog", "rich")

Subscriber = Callable[[Record], None]

_IN_PIECES = frozenset({"console.line"})
"""Events whose message (and `text`, which is the same) is a piece of a stream."""


class RecordWriteError(HarnessError):
    """The record cannot be written (disk full, folder gone). What was written before is intact."""


class EventLog:
    """Writes `events.jsonl`. Thread-safe: the order of lines is the order of `event.sequence`, without gaps.

    An event is on file before `emit` returns and before any subscriber sees it.
    """

    def __init__(
        self,
        path: Path,
        *,
        run: str,
        clock: Clock = SYSTEM_CLOCK,
        on_failure: Callable[[RecordWriteError], None] | None = None,
        rotation: Rotation | None = None,
        acknowledged: Acknowledged | None = None,
        patience: DiskPatience = NO_PATIENCE,
        used: Callable[[], int] | None = None,
    ) -> None:
        """A record that is there is gone on with: its last `event.sequence` is counted on from.

        `on_failure` is told once, from whichever thread it happens in, that the record cannot be written; nothing is
        written after that. Without it, `emit` raises. `acknowledged` gives the highest `event.sequence` that every sink
        has: nothing behind it is removed; `used` the highest that any sink has: no other event gets a number up to it.
        `patience` is had with a disk that takes nothing at present. Raises UsageError where another process writes this
        record."""
        self.path = path
        self._name = str(path)  # made once, and not with each event
        self._clock = clock
        self._lock = threading.RLock()
        # While a line is being written whoever has an event of his own waits: no deadline counts that.
        self._held = clock.held if isinstance(clock, SystemClock) else _not_held
        self._ulid = UlidFactory()
        self._stamp = Stamps()
        self._redact = Redactor()
        self._pieces: dict[object, PieceMask] = {}
        self._long = LongTexts(path.parent)
        self._subscribers: list[Subscriber] = []
        self._failed: RecordWriteError | None = None
        self._closed = False
        self._on_failure = on_failure
        self._patience = patience
        self._writer = RecordWriter(
            path, rotation, clock=clock, acknowledged=acknowledged, used=used, told=self._trouble
        )
        self._logger = structlog.wrap_logger(
            self,
            processors=[self._envelope, self._render],
            wrapper_class=structlog.BoundLoggerBase,
            cache_logger_on_first_use=True,
        ).bind(**to_record({"run": run}))
        if self._writer.torn:
            self.emit(
                "record.torn",
                f"the record ended in the middle of a line; that piece was set aside in {self._writer.torn.name}",
                level="warning",
            )

        if self._writer.lost:
            first, last = self._writer.lost
            self.emit(
                "record.gap",
                f"{last - first + 1} events ({first} to {last}) are no longer in the record: a power cut took them, or "
                "the file was put back; a sink has acknowledged them, so their numbers are not used again",
                level="error",
                first_missing=first,
                last_missing=last,
            )

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        """Records one event. Raises :class:`RecordWriteError` when it cannot be written whole."""
        self._emit(self._logger, action, message, level, fields, ())

    def bind(self, **fields: Any) -> Emitter:
        """An emitter that adds these fields to each of its events."""
        return _BoundEmitter(self, self._logger, (), fields)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Calls `subscriber` with each record after it was written, in order."""
        with self._lock:
            self._subscribers.append(subscriber)

    def add_secret(self, secret: str) -> None:
        """No event from now on shows this value."""
        with self._lock:
            self._redact.add(secret)

    @property
    def failed(self) -> RecordWriteError | None:
        """Why the record is not whole; None while it is."""
        return self._failed

    def redact(self, value: Any) -> Any:
        """The value with every known secret masked, in strings, lists, tuples, mappings and dataclasses alike."""
        with self._lock:
            return self._redact(value)

    def close(self) -> None:
        """Closes the file when all is compressed that was turned over; later events are refused."""
        if (error := sys.exc_info()[1]) is not None:
            # What ends the program with this error is printed and recorded without the known secrets.
            error.__dict__["redact"] = self.redact
        self._writer.settle()  # not under the lock: what goes wrong there is an event
        with self._lock:
            if self._failed is None and not self._closed:
                self._look_at_place()
            self._closed = True
            try:
                self._writer.close()
            except OSError as error:
                self._failed = self._failed or RecordWriteError(
                    f"the record {self.path} was written, but cannot be brought to the disk: {error.strerror}",
                    hint="Its last events may be lost in a power cut. Check the disk (`dmesg`), and run again.",
                )
                if self._on_failure is None:
                    raise self._failed from error
                self._on_failure(self._failed)

    def _emit(
        self, logger: Any, action: str, message: str, level: Level, fields: dict[str, Any], loose: tuple[str, ...]
    ) -> None:
        """`logger` is bound to what the record will hold, by its published keys; of those `loose` may hold secrets."""
        with self._lock:
            if self._failed is not None:
                if self._on_failure is None:
                    raise self._failed
                return  # it was reported; the run is ending
            with self._held():
                logger._proxy_to_logger(level, message, action=action, fields=fields, loose=loose)

    def _envelope(self, _logger: Any, level: str, bound: Any) -> Record:
        now = self._clock.time()
        action, message = bound.pop("action"), bound.pop("event")
        fields, loose = bound.pop("fields"), bound.pop("loose")
        if action in _IN_PIECES:
            message = fields["text"] = self._masked_piece(bound, fields, plain(message))
        else:
            message = self._redact(plain(message))
        record: Record = {
            "@timestamp": self._stamp(now),
            "log.level": level,
            "message": message,
            "ecs.version": ECS_VERSION,
            "event.id": self._ulid(now),
            "event.sequence": self._writer.last + 1,
            "event.action": action,
            "event.dataset": "harness.events",
            "harness.schema": SCHEMA_VERSION,
        }
        record.update(bound)
        for key in loose:
            record[key] = self._redact(record[key])
        return to_record(fields, self._redact, record)

    def _masked_piece(self, bound: Record, fields: dict[str, Any], piece: str) -> str:
        """What a console said may be the middle of a line, and a secret may have begun in the piece before."""
        stream = (bound.get("host.name"), fields.get("console", bound.get("harness.console")))
        mask = self._pieces.get(stream)
        if mask is None:
            mask = self._pieces[stream] = PieceMask(self._redact)
        return mask(piece)

    def _render(self, _logger: Any, _level: str, record: Any) -> tuple[tuple[Record], dict[str, Any]]:
        return (record,), {}

    def _write(self, record: Record) -> None:
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        waited = 0.0
        try:
            if len(line) > LONG:
                record, line, waited = self._cut(record)
            waited += self._patience.write(partial(self._writer.write, line, record["event.sequence"]), self._name)
        except OSError as error:
            self._failed = RecordWriteError(
                f"cannot write the record {self.path}: {error.strerror}",
                hint="What was recorded before is intact. Free some space (or check the folder) and run again.",
            )
            if self._on_failure is None:
                raise self._failed from error
            self._on_failure(self._failed)
            return
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(record)
            except (Exception, SystemExit) as error:
                # A reader must never change what it reads about: a closed pipe ends its reading, not the run.
                self._subscribers.remove(subscriber)
                self.emit(
                    "run.reader_lost",
                    f"a reader of the record has failed and is told no more: {type(error).__name__}: {error}",
                    level="warning",
                    error_type=type(error).__name__,
                )

        if waited:
            self.emit(
                "record.waited",
                f"the record could not be written for {waited:.1f} s; nothing of it is missing",
                level="warning",
                duration=waited,
            )
        if trouble := self._writer.trouble:
            self._writer.trouble = ""
            self._trouble(trouble)

    def _look_at_place(self) -> None:
        """Notice at the end, too, that the file is no longer where it was written."""
        try:
            self._writer.look_at_place()
        except OSError as error:
            self._failed = RecordWriteError(
                f"cannot write the record {self.path}: {error.strerror}", hint="Somebody else has changed its file."
            )
            if self._on_failure is not None:
                self._on_failure(self._failed)
            return
        if trouble := self._writer.trouble:
            self._writer.trouble = ""
            self._trouble(trouble)

    def _cut(self, record: Record) -> tuple[Record, bytes, float]:
        """Move long texts into files of their own; the record without them, its line, and the seconds waited."""
        shortened: list[Record] = []
        waited = self._patience.write(lambda: shortened.append(self._long.cut(record)), str(self.path.parent))
        return shortened[0], orjson.dumps(shortened[0], option=orjson.OPT_APPEND_NEWLINE), waited

    def _trouble(self, words: str) -> None:
        self.emit("record.trouble", words, level="warning")

    # The methods that structlog calls on the logger it wraps.
    debug = info = warning = error = _write


def _not_held() -> AbstractContextManager[None]:
    return contextlib.nullcontext()


class _BoundEmitter:
    """An emitter with fields of its own."""

    __slots__ = ("_log", "_logger", "_loose")

    def __init__(self, log: EventLog, logger: Any, loose: tuple[str, ...], fields: dict[str, Any]) -> None:
        """`logger` and `loose` are those of the emitter below; see :meth:`EventLog._emit`."""
        record = to_record(fields)  # once, and not with each event
        self._log = log
        self._logger = logger.bind(**record)
        self._loose = loose + tuple(key for key in record if key not in ENVELOPE)

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        self._log._emit(self._logger, action, message, level, fields, self._loose)

    def bind(self, **fields: Any) -> Emitter:
        return _BoundEmitter(self._log, self._logger, self._loose, fields)
