"""The order of things: what is sent, what is sent again, what is given up, and when the checkpoint moves."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.events.reader import Position
from harness.ship.checkpoint import Busy, Checkpoint, CheckpointFile, acknowledged
from harness.ship.durable import append_durably
from harness.ship.event import Event
from harness.ship.sink import TAKEN, Answer, Limits, Refused, Unavailable
from tests.ship.runs import Run, Trip


class Scripted:
    """A sink that answers as it is told to: one word for each call, and then it takes everything.

    `bad` are sequences that it refuses whatever is with them, `poison` those that it never answers for.
    """

    def __init__(self, *script: object, bad: Sequence[int] = (), poison: Sequence[int] = (), batch: int = 8) -> None:
        self.limits = Limits(batch, 1_000_000)
        self.script = list(script)
        self.bad, self.poison = set(bad), set(poison)
        self.calls: list[list[int]] = []
        self.taken: list[int] = []

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        sequences = [event.sequence for event in events]
        self.calls.append(sequences)
        step = self.script.pop(0) if self.script else TAKEN
        if isinstance(step, Exception):
            raise step
        if step == "lost":  # taken, and the answer is lost
            self.taken += sequences
            raise Unavailable("the connection was reset")
        if self.poison & set(sequences):
            raise Unavailable("it fell over")
        if self.bad & set(sequences):
            raise Refused("400 Bad Request")
        assert isinstance(step, Answer)
        self.taken += [each for at, each in enumerate(sequences) if at not in step.refused and at not in step.again]
        return step

    def close(self) -> None:
        return


def finished(run: Run, count: int) -> list[int]:
    run.say(*(f"line {number}" for number in range(count - 2)))
    run.end()
    return list(range(1, count + 1))


def test_everything_once_and_in_order(run: Run) -> None:
    everything = finished(run, 20)
    sink = Scripted()
    trip = Trip(run, sink)
    assert trip.go()
    assert sink.taken == everything
    assert [len(call) for call in sink.calls] == [8, 8, 4]
    assert (trip.shipper.sent, trip.told, trip.pauses) == (20, [], [])


def test_nothing_is_sent_again_by_the_next_call(run: Run) -> None:
    finished(run, 5)
    assert Trip(run, Scripted()).go()
    later = Scripted()
    assert Trip(run, later).go()
    assert later.calls == []


def test_a_lost_answer_costs_one_batch(run: Run) -> None:
    everything = finished(run, 20)
    sink = Scripted(TAKEN, "lost")
    assert Trip(run, sink).go()
    assert sorted(set(sink.taken)) == everything
    assert len(sink.taken) - len(everything) == 8


def test_one_bad_event_is_alone_in_the_end(run: Run) -> None:
    everything = finished(run, 30)
    sink = Scripted(bad=[5, 21], batch=16)
    trip = Trip(run, sink)
    assert trip.go()
    assert sink.taken == [each for each in everything if each not in (5, 21)]
    assert [each["event.sequence"] for each in run.rejected()] == [5, 21]
    first = run.rejected()[0]
    assert first["reason"] == "400 Bad Request"
    assert first["event"] == orjson.loads(run.lines()[4])
    assert len(trip.told) == 1
    assert "refuses event 5" in trip.told[0]
    assert trip.shipper.refused == 2
    assert (run.folder / "rejected.jsonl").stat().st_mode & 0o777 == 0o600


def test_the_batch_grows_again_after_a_bad_event(run: Run) -> None:
    finished(run, 200)
    sink = Scripted(bad=[1], batch=64)
    assert Trip(run, sink).go()
    assert max(len(call) for call in sink.calls[-4:]) == 64


def test_events_refused_by_name_do_not_hold_up_the_others(run: Run) -> None:
    everything = finished(run, 8)
    sink = Scripted(Answer(refused={2: "no such field", 7: "too deep"}))
    assert Trip(run, sink).go()
    assert sink.taken == [each for each in everything if each not in (3, 8)]
    assert [(each["event.sequence"], each["reason"]) for each in run.rejected()] == [
        (3, "no such field"),
        (8, "too deep"),
    ]


def test_events_refused_without_a_name_are_not_sent_again(run: Run) -> None:
    finished(run, 8)
    sink = Scripted(Answer(unnamed=2, note="bad attributes"))
    trip = Trip(run, sink)
    assert trip.go()
    assert len(sink.calls) == 1
    assert {each["refused"] for each in run.rejected()} == {2}
    assert len(run.rejected()) == 8
    assert "2 of 8" in trip.told[0]
    assert trip.shipper.refused == 2


def test_what_is_to_be_sent_again_is_and_the_checkpoint_waits_for_it(run: Run) -> None:
    everything = finished(run, 8)
    sink = Scripted(Answer(again=frozenset({3, 5}), note="busy", wait=7.0))
    trip = Trip(run, sink)
    seen: list[int] = []
    trip.at_pause = lambda number: seen.append(trip.shipper.position.sequence)
    assert trip.go()
    assert sorted(sink.taken) == everything
    assert sink.calls[1][0] == 4
    assert seen == [3]
    assert trip.pauses[0] >= 7.0


def test_retry_after_is_kept_and_pauses_grow_to_half_a_minute(run: Run) -> None:
    finished(run, 3)
    sink = Scripted(*[Unavailable("503", wait=wait) for wait in [None, None, None, 120.0, 1e9]])
    trip = Trip(run, sink)
    assert trip.go()
    assert all(0.1 <= pause <= 0.1 + 0.4 * 2**number for number, pause in enumerate(trip.pauses[:3]))
    assert trip.pauses[3:] == [120.0, 3600.0]


def test_pauses_stay_below_half_a_minute(run: Run) -> None:
    finished(run, 3)
    trip = Trip(run, Scripted(*[Unavailable("503")] * 100))
    assert not trip.go()
    assert len(trip.pauses) == 50
    assert max(trip.pauses) <= 30.1


def test_an_outage_is_told_once_in_one_line(run: Run) -> None:
    finished(run, 3)
    trip = Trip(run, Scripted(*[Unavailable("connection refused")] * 20))
    assert trip.go()
    assert len(trip.told) == 1
    assert "connection refused" in trip.told[0]
    assert "\n" not in trip.told[0]


def test_a_hiccup_is_not_told(run: Run) -> None:
    finished(run, 3)
    trip = Trip(run, Scripted(Unavailable("reset"), Unavailable("reset")))
    assert trip.go()
    assert trip.told == []


def test_an_event_that_brings_the_receiver_down_is_set_aside(run: Run) -> None:
    everything = finished(run, 12)
    sink = Scripted(poison=[4])
    trip = Trip(run, sink)
    assert trip.go()
    assert sorted(set(sink.taken)) == [each for each in everything if each != 4]
    assert [each["event.sequence"] for each in run.rejected()] == [4]
    assert "it fell over" in str(run.rejected()[0]["reason"])


def test_a_receiver_that_refuses_everything_is_at_fault_and_not_the_events(run: Run) -> None:
    finished(run, 300)
    trip = Trip(run, Scripted(bad=range(1, 301)), most=5)
    assert not trip.go()
    assert run.rejected() == []
    assert trip.shipper.position.sequence == 0
    assert "it refuses one event after the other: 400 Bad Request" in trip.told[0]


def test_many_bad_events_do_not_block_the_rest(run: Run) -> None:
    finished(run, 300)
    sink = Scripted(bad=range(20, 280))
    trip = Trip(run, sink, most=5)
    assert trip.go()
    assert sorted(set(sink.taken)) == [*range(1, 20), *range(280, 301)]
    assert [each["event.sequence"] for each in run.rejected()] == list(range(20, 280))


def test_what_is_refused_at_the_end_is_set_aside(run: Run) -> None:
    finished(run, 20)
    trip = Trip(run, Scripted(bad=[19, 20]))
    assert trip.go()
    assert [each["event.sequence"] for each in run.rejected()] == [19, 20]
    assert trip.shipper.position.sequence == 20


@pytest.mark.parametrize("last", [False, True])
def test_no_event_is_set_aside_while_the_receiver_is_down(run: Run, last: bool) -> None:
    finished(run, 1 if last else 12)
    sink = Scripted(*[Unavailable("down")] * 40)
    assert Trip(run, sink).go()
    assert run.rejected() == []
    assert sorted(set(sink.taken)) == [event.sequence for event in run.events()]


def test_full_disk_stops_at_the_batch_that_it_met(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = finished(run, 30)
    sink = Scripted()
    trip = Trip(run, sink)
    real, full = CheckpointFile.save, [False]

    def save(self: CheckpointFile, checkpoint: Checkpoint) -> None:
        if full[0] and checkpoint.position.sequence:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        real(self, checkpoint)

    def pause(number: int) -> None:
        assert len(sink.calls) == 1, "nothing more is sent before the checkpoint is on disk"
        full[0] = number < 5

    monkeypatch.setattr(CheckpointFile, "save", save)
    full[0] = True
    trip.at_pause = pause
    assert trip.go()
    assert sink.taken == everything
    assert len(trip.pauses) == 5
    assert "No space left" in trip.told[0]


def test_a_line_that_is_no_event_is_set_aside(run: Run) -> None:
    run.say("a", "b")
    with (run.folder / "events.jsonl").open("ab") as file:
        file.write(b'{"half of an event\n')
    run.say("c")
    run.end()
    sink = Scripted()
    assert Trip(run, sink).go()
    assert sink.taken == [1, 2, 3, 4, 5]
    assert [each["event"] for each in run.rejected()] == [{"raw": '{"half of an event'}]
    path = run.folder / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"half of an event\n', b""))  # the record's own checks look at it too


def test_two_processes_do_not_ship_the_same_to_the_same(run: Run) -> None:
    finished(run, 3)
    first = Trip(run, Scripted())
    with pytest.raises(Busy, match="already"):
        Trip(run, Scripted())
    first.shipper.close()
    assert Trip(run, Scripted()).go()


@pytest.mark.parametrize("content", [b"", b"{}\n", b"\0" * 100, b'{"sequence": 3', b"[1]", b'{"sink": 5}', b"null"])
def test_a_checkpoint_that_is_none_is_told_and_the_record_shipped_anew(run: Run, content: bytes) -> None:
    everything = finished(run, 3)
    assert Trip(run, Scripted()).go()
    (run.folder / "ship" / "sink.json").write_bytes(content)
    sink = Scripted()
    trip = Trip(run, sink)
    assert trip.go()
    assert sink.taken == everything
    assert "sink.json is no checkpoint" in trip.told[0]
    assert "drop that by event.id" in trip.told[0]
    assert (run.folder / "ship" / "sink.damaged").read_bytes() == content
    again = Trip(run, Scripted())
    assert again.go()
    assert again.told == []


def test_what_every_sink_has_is_the_lowest_checkpoint(run: Run) -> None:
    assert acknowledged(run.folder) is None
    finished(run, 10)
    assert Trip(run, Scripted()).go()
    assert acknowledged(run.folder) == 10
    other = CheckpointFile(run.folder, "other")
    other.save(Checkpoint("other"))
    other.close()
    assert acknowledged(run.folder) == 0


numbers = st.integers(0, 2**53)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


@given(st.text(), numbers, numbers, numbers, numbers)
def test_a_checkpoint_comes_back_as_it_was(sink: str, sequence: int, segment: int, offset: int, refused: int) -> None:
    sink = sink.encode("utf-8", "replace").decode("utf-8")
    made = Checkpoint(sink, Position(sequence, segment, offset), refused)
    assert Checkpoint.loaded(made.dumped()) == made
    moved = made.moved(Position(sequence + 1), "0" * 26, 5)
    assert Checkpoint.loaded(moved.dumped()) == moved


@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["sink", "sequence", "segment", "offset", "refused", "lost", "anchors", "damage"]),
                inner,
            )
        ),
    ).map(as_json)
)
@settings(max_examples=50)
def test_what_is_no_checkpoint_is_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        Checkpoint.loaded(data)


@given(st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"")), max_size=5), st.binary(max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_lines_are_added_behind_the_last_whole_one(tmp_path: Path, lines: list[bytes], torn: bytes) -> None:
    path = tmp_path / "file"
    torn = torn.replace(b"\n", b"")
    whole = b"".join(line + b"\n" for line in lines)
    path.write_bytes(whole + torn)
    append_durably(path, b"new\n")
    assert path.read_bytes() == whole + b"new\n"


STEPS = st.one_of(
    st.just(TAKEN),
    st.just("lost"),
    st.builds(Unavailable, st.just("503"), wait=st.none() | st.floats(0, 10)),
    st.just(Refused("413")),
)


@given(
    script=st.lists(STEPS, max_size=12),
    bad=st.sets(st.integers(1, 40), max_size=3),
    batch=st.integers(1, 17),
    kills=st.lists(st.integers(1, 6), max_size=4),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_whatever_happens_nothing_is_missing(
    tmp_path_factory: pytest.TempPathFactory, script: list[object], bad: set[int], batch: int, kills: list[int]
) -> None:
    """Faults in any order, and the shipper ended in the midst of them: with the next one everything is there."""
    run = Run(tmp_path_factory.mktemp("run") / "run")
    everything = finished(run, 40)
    lost = sum(step == "lost" for step in script)
    sink = Scripted(*script, bad=sorted(bad), batch=batch)
    for pauses in kills:
        if Trip(run, sink, most=pauses).go():
            break
    assert Trip(run, sink, most=500).go()
    refused = {each["event.sequence"] for each in run.rejected()}
    assert set(sink.taken) | refused == set(everything)
    # A lone event that met a made-up 413 is refused as well: that is an answer, and the receiver's to give.
    assert bad <= refused
    # Six losses in a row of one event bring it under suspicion, and another one is sent beside it, twice at most.
    assert len(sink.taken) - len(set(sink.taken)) <= lost * batch + 2 * (lost // 6)


def test_a_lost_connection_shrinks_no_batch(run: Run) -> None:
    finished(run, 400)
    lot = random.Random(7)
    script = [Unavailable("reset", lost=True) if lot.random() < 0.3 else TAKEN for _ in range(100)]
    sink = Scripted(*script, batch=8)
    trip = Trip(run, sink, most=1000)
    assert trip.go()
    assert {len(call) for call in sink.calls} == {8}
    assert sum(trip.pauses) < 50 * 0.08, "a broken connection is made again at once"


@pytest.mark.parametrize("error", [Unavailable("refused", sent=False), Unavailable("503", sent=False, wait=1.0)])
def test_an_outage_shrinks_no_batch(run: Run, error: Unavailable) -> None:
    finished(run, 40)
    sink = Scripted(*[error] * 30)
    assert Trip(run, sink).go()
    assert {len(call) for call in sink.calls} == {8}


def test_too_large_shrinks_the_batch(run: Run) -> None:
    everything = finished(run, 40)
    sink = Scripted(Refused("413"), Refused("413"))
    assert Trip(run, sink).go()
    assert [len(call) for call in sink.calls[:3]] == [8, 4, 2]
    assert sink.taken == everything


def test_what_is_put_off_is_sent_alone_and_then_the_checkpoint_is_behind_the_whole_batch(run: Run) -> None:
    finished(run, 24)
    sink = Scripted(Answer(again=frozenset({0, 4}), note="busy"), Answer(again=frozenset({0}), note="busy"))
    trip = Trip(run, sink)
    seen: list[int] = []
    trip.at_pause = lambda number: seen.append(trip.shipper.position.sequence)
    assert trip.go()
    assert sink.calls[:4] == [list(range(1, 9)), [1, 5], [1], list(range(9, 17))]
    assert seen == [0, 0]


def test_a_sink_that_puts_everything_off_is_waited_for_longer_and_longer(run: Run) -> None:
    finished(run, 8)
    sink = Scripted(*[Answer(again=frozenset(range(8)), note="busy")] * 9)
    trip = Trip(run, sink)
    assert trip.go()
    assert {len(call) for call in sink.calls} == {8}
    assert len(trip.told) == 1
    assert "busy" in trip.told[0]
