"""Ships one record to one sink: in order, at least once, and never past what the sink has acknowledged."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled
from harness.events.identity import event_id_of
from harness.events.reader import DamagedRecord, Line, Position, RecordReader, State
from harness.ship.backoff import MOST_ASKED, Backoff
from harness.ship.checkpoint import CheckpointFile, confirmed
from harness.ship.cut import Cutter, TooLong
from harness.ship.event import Event
from harness.ship.gap import Gap
from harness.ship.pace import Pace
from harness.ship.rejected import NAME as REJECTED
from harness.ship.rejected import Rejected
from harness.ship.sink import TAKEN, Answer, Refused, Sink, Unavailable

_POLL = 0.2  # seconds between two reads of a record that grows
_TOLD_AT = 3  # failures in a row: a hiccup is nobody's business
_TOLD_LOST_AT = 6  # the same for broken connections: three in a row are common where every third one breaks
_SUSPECT_AT = 6  # failures in a row of one event by itself
_DOUBTED_AT = 8  # failures in a row of a batch that was sent: only then may the batch be the cause
_PAUSE_FOR_ALL = 2.0  # seconds before a batch of which all was put off is sent again; in proportion for a part
_TRIALS = 2
_MOST_HELD = 100
_MOST_READ = 1_000_000  # bytes of the record in memory at a time


class Shipper:
    """Carries the events of one run to one sink. Used by one thread.

    A batch that the receiver refuses is halved until the bad event stands alone, which then goes to `rejected.jsonl`.
    A batch that got no answer is sent again as it is; one that is sent again and again without an answer is halved too,
    to find the event that brings the receiver down. The checkpoint moves after each acknowledgement, and nothing more
    is sent until it is on disk: what is sent twice after a kill is one batch.
    """

    def __init__(
        self,
        run: Path,
        sink: Sink,
        *,
        name: str,
        key: str,
        told: Callable[[str], None],
        cancellation: Cancellation,
        timeout: float = 30.0,
        follow: bool = True,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """`run` is the run's folder, `name` the sink as a person may see it, `key` the name of its checkpoint; `told`
        is given the few sentences that are for a person; a batch is given `timeout` seconds. `sleep` is for tests.
        Raises Busy where another process does the same, OSError and HarnessError where the folder cannot be used."""
        self._sink = sink
        self._name = name
        self._told = told
        self._cancellation = cancellation
        self._timeout = timeout
        self._follow = follow
        self._sleep = sleep or self._rest
        self._backoff = Backoff(self._sleep, self._failed)
        self._file = CheckpointFile(run, key)
        try:
            self._checkpoint = self._file.load(name)
            found = confirmed(run, self._checkpoint)
        except BaseException:
            self._file.close()
            raise
        if found != self._checkpoint:
            told(
                f"event {self._checkpoint.position.sequence} of the record is not the one that {name} has "
                f"acknowledged: it gets all from event {found.position.sequence + 1} on. What it has already "
                "arrives twice; drop that by event.id"
            )
        self._checkpoint = found
        self._reader = RecordReader(run, self._checkpoint.position, salvage=True)
        self._expected = self._checkpoint.position.sequence + 1
        self._gaps: list[Gap] = []  # reported, and not yet passed by the checkpoint
        self._cutter = Cutter(run)
        self._rejected = Rejected(run, name)
        self._pace = Pace(sink.limits.events)
        self._last: Event | None = None
        self._strikes = 0
        self._unanswered = 0  # failures in a row of batches that were sent
        self._put_off = 0  # events at the head of those waiting that are sent again by themselves
        self._batch_end: Event | None = None  # the last event of the batch that those were put off from
        self._held: list[tuple[Event, str]] = []  # refused, with nothing taken since
        self._told_hint = ""
        self.sent = 0
        self.trouble = ""

    @property
    def position(self) -> Position:
        """Up to here all is acknowledged, or refused for good, and the checkpoint says so on disk."""
        return self._checkpoint.position

    @property
    def refused(self) -> int:
        """How many events of this record the sink has refused, in earlier calls too."""
        return self._checkpoint.refused

    @property
    def lost(self) -> int:
        """How many events of this record were missing in it when the sink could have had them, in earlier calls too."""
        return self._checkpoint.lost

    @property
    def damage(self) -> str:
        """What makes the end of the record unreadable; empty where nothing does."""
        return self._checkpoint.damage

    def ship(self) -> None:
        """Returns when the whole record was shipped: at its `run.end`, or at its last line where nobody writes it any
        more, or one follows it no further. What of it is missing or cannot be read is passed over: the sink gets a
        `record.gap` event in its place. Raises Cancelled."""
        self._backoff(self._kept, self._begin)
        while True:
            lines = self._reader.read(min(self._sink.limits.bytes, _MOST_READ))
            if lines:
                # Nothing leaves this machine that a power cut could still take from the record.
                self._backoff(self._kept, self._reader.sync)
                events = self._backoff(self._kept, self._events, lines)
                self._deliver(events)
                self._commit(lines[-1].position, event_id_of(lines[-1].raw))
            elif self._reader.state is State.GROWING and self._follow:
                self._sleep(_POLL)
            else:
                self._end()
                return

    def close(self) -> None:
        """Lets go of the sink, the record and the checkpoint."""
        self._sink.close()
        self._reader.close()
        self._file.close()

    def _begin(self) -> None:
        """Keeps the checkpoint as it was found: from here on the record's oldest segments are kept for this sink."""
        if self._file.damaged:
            self._told(
                f"{self._file.path} is no checkpoint ({self._file.damaged}): {self._name} gets the record from its "
                "beginning. What it has already arrives twice; drop that by event.id"
            )
            self._file.set_damaged_aside()
        self._file.save(self._checkpoint)

    def _end(self) -> None:
        """What is left to do behind the last line."""
        self._give_up_held()
        damage = self._reader.damage[-1] if self._reader.damage_at_end else ""
        if damage and damage != self._checkpoint.damage:
            position = self._checkpoint.position
            gap = Gap(position.sequence + 1, None, damage)
            self._told(f"{gap.words}; {self._name} gets what can be read")
            self._deliver([gap.event(self._reader.last, position)])
            self._checkpoint = replace(self._checkpoint, damage=damage)
            self._backoff(self._kept, self._file.save, self._checkpoint)

    def _gap_before(self, line: Line) -> Event | None:
        """Return the `record.gap` event for those that are missing before this line; None where none are."""
        expected, self._expected = self._expected, line.sequence + 1
        if line.sequence <= expected:
            return None
        gap = Gap(expected, line.sequence - 1, self._reader.damage[-1] if self._reader.damage else "")
        self._gaps.append(gap)
        self._told(f"{gap.words}; {self._name} gets the rest")
        return gap.event(line.raw, Position(line.sequence - 1))

    def _events(self, lines: list[Line]) -> list[Event]:
        """The lines taken apart, and cut to the sink's measure; what cannot be sent at all is put with the rejected."""
        events: list[Event] = []
        useless: list[tuple[Event, str]] = []
        for line in lines:
            if gap := self._gap_before(line):
                events.append(gap)
            event = Event(line.raw, {}, line.position)
            try:
                event = replace(event, record=line.event())
                events.append(self._cutter.fit(event, self._sink.limits.line))
            except (DamagedRecord, TooLong) as error:
                useless.append((event, str(error)))
        self._set_aside(useless)
        return events

    def _deliver(self, waiting: list[Event]) -> None:
        """Returns when each of them is acknowledged or refused; `waiting` is then empty."""
        while waiting:
            self._backoff(self._send, waiting)

    def _send(self, waiting: list[Event]) -> None:
        """Sends what the sink takes at once, and removes from `waiting` what it has answered for."""
        chunk = self._chunk(waiting)
        try:
            answer = self._ask(chunk)
        except Refused as error:
            if len(chunk) > 1:
                self._pace.failed(len(chunk))
            else:
                self._pace.explained()
                self._put_off = max(0, self._put_off - 1)
                self._held.append((waiting.pop(0), error.message))
                self._judge(waiting)
            return
        except Unavailable as error:
            self._unanswered += error.sent
            if error.sent and self._unanswered >= _DOUBTED_AT:
                self._pace.failed(len(chunk))
            tried = self._try_beside(chunk, waiting, error)
            if tried is None:
                raise
            self._pace.explained()
            answer = tried
        else:
            if not answer.again:
                self._pace.taken()
        self._recovered()
        self._give_up_held()
        if not self._put_off:
            self._batch_end = chunk[-1]
        self._settle(chunk, answer)
        waiting[: len(chunk)] = [event for index, event in enumerate(chunk) if index in answer.again]
        self._put_off = max(self._put_off, len(chunk)) - len(chunk) + len(answer.again)
        if len(answer.again) == len(chunk):
            raise Unavailable(answer.note or "the receiver takes no more for now", wait=answer.wait, sent=False)
        if answer.again:
            # It takes some: the rest is sent again soon, before anything else, so that the checkpoint follows.
            pause = random.uniform(0.0, _PAUSE_FOR_ALL) * len(answer.again) / len(chunk)  # noqa: S311 - no secret
            self._sleep(max(pause, min(answer.wait or 0.0, MOST_ASKED)))

    def _settle(self, chunk: list[Event], answer: Answer) -> None:
        """Keeps what became of a batch: first the refused events, then the checkpoint."""
        if answer is not TAKEN:
            self._backoff(self._kept, self._set_aside, [(chunk[at], why) for at, why in answer.refused.items()])
            if answer.unnamed:
                self._backoff(self._kept, self._rejected.add_unnamed, chunk, answer.unnamed, answer.note)
                self._checkpoint = replace(self._checkpoint, refused=self._checkpoint.refused + answer.unnamed)
                self._told(
                    f"{self._name} refused {answer.unnamed} of {len(chunk)} events, not saying which: {answer.note}"
                )
            elif answer.note and not answer.again:
                self._told(f"{self._name} says: {answer.note}")
        self.sent += len(chunk) - len(answer.refused) - len(answer.again) - answer.unnamed
        safe = min(answer.again, default=len(chunk))
        if safe:
            self._last = chunk[safe - 1]
            whole = not answer.again and len(chunk) >= self._put_off  # nothing of the batch is put off any more
            end = self._batch_end if whole and self._batch_end else self._last
            self._commit(end.position, end.id)

    def _judge(self, waiting: list[Event]) -> None:
        """Asks, after many refusals with nothing taken in between, whether the receiver takes anything: if not, it is
        not the events that are bad. They go back to where they stood."""
        if len(self._held) < _MOST_HELD:
            return
        try:
            taken = self._last is not None and not self._ask([self._last]).again
        except (Unavailable, Refused):
            taken = False
        if taken:
            self._give_up_held()
            return
        waiting[:0] = [event for event, _ in self._held]
        self._put_off = 0
        reason = self._held[-1][1]
        self._held.clear()
        raise Unavailable(f"it refuses one event after the other: {reason}", hint="Look at the URL, and what is there.")

    def _give_up_held(self) -> None:
        """What was refused was bad: something else is taken, or nothing else is left."""
        if self._held:
            self._backoff(self._kept, self._set_aside, self._held)
            last = self._held[-1][0]
            self._held = []
            self._commit(last.position, last.id)

    def _try_beside(self, chunk: list[Event], waiting: list[Event], error: Unavailable) -> Answer | None:
        """Whether it is the one event of this batch that brings the receiver down, and not the receiver that is down:
        another event is taken, and this one is not, and that again. None where nothing can be said."""
        if error.sent:
            self._strikes = self._strikes + 1 if len(chunk) == 1 else 0
        other = waiting[1] if len(waiting) > 1 else self._last
        if self._strikes < _SUSPECT_AT or other is None:
            return None
        try:
            for _ in range(_TRIALS):
                if self._ask([other]).again:
                    return None
                try:
                    return self._ask(chunk)
                except Unavailable:
                    continue
        except (Unavailable, Refused):
            return None
        return Answer({0: f"each time that it is sent: {error.message}"})

    def _ask(self, chunk: list[Event]) -> Answer:
        return self._sink.send(chunk, Deadline.after(self._timeout, cancellation=self._cancellation))

    def _chunk(self, waiting: list[Event]) -> list[Event]:
        limits = self._sink.limits
        chunk: list[Event] = []
        size = 0
        for event in waiting[: min(self._pace.size, self._put_off or self._pace.size)]:
            size += len(event.line)
            if chunk and size > limits.bytes:
                break
            chunk.append(event)
        return chunk

    def _set_aside(self, refused: list[tuple[Event, str]]) -> None:
        if not refused:
            return
        self._rejected.add(refused)
        if not self._checkpoint.refused:
            event, reason = refused[0]
            self._told(f"{self._name} refuses event {event.sequence}, which is now in {REJECTED}: {reason}")
        self._checkpoint = replace(self._checkpoint, refused=self._checkpoint.refused + len(refused))

    def _commit(self, position: Position, event_id: str) -> None:
        if position != self._checkpoint.position and not self._held:
            passed = [gap for gap in self._gaps if gap.last is not None and gap.last <= position.sequence]
            self._gaps = self._gaps[len(passed) :]
            self._checkpoint = self._checkpoint.moved(position, event_id, sum(gap.count for gap in passed))
            self._backoff(self._kept, self._file.save, self._checkpoint)

    def _kept(self, keep: Callable[..., Any], *arguments: Any) -> Any:
        """Calls what writes into the run's folder; a full disk is waited for as a receiver is."""
        try:
            return keep(*arguments)
        except OSError as error:
            where = error.filename or "the run's folder"
            raise Unavailable(f"cannot keep what was acknowledged in {where}: {error.strerror}", sent=False) from error

    def _failed(self, error: Unavailable, times: int) -> None:
        self.trouble = error.message
        if times == (_TOLD_LOST_AT if error.lost else _TOLD_AT) or (error.hint and error.hint != self._told_hint):
            self._told_hint = error.hint
            advice = f" ({error.hint})" if error.hint else ""
            self._told(f"{self._name}: {error.message}{advice}; it is tried again, and the record keeps everything")

    def _recovered(self) -> None:
        self._strikes = self._unanswered = 0
        self._told_hint = ""
        self.trouble = ""

    def _rest(self, seconds: float) -> None:
        if self._cancellation.wait(seconds):
            raise Cancelled(self._cancellation.reason)
