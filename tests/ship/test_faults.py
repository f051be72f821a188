"""Faults of every kind in any order, between a real shipper and real connections: what arrived, made distinct, is the
record."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import tempfile
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from harness.deadline import Deadline
from harness.events.writer import Rotation
from harness.ship import durable
from harness.ship.registry import open_sink
from harness.ship.sink import TAKEN
from tests.patience import scaled
from tests.ship.receivers import HttpReceiver, RelpReceiver, Reply, Request, serving
from tests.ship.runs import Run, Trip, ship

BATCH = 6
BAD = "this one is bad"


class Killed(BaseException):
    """Ends the shipper where it stands, as SIGKILL does."""


class Faults(RuleBasedStateMachine):
    """A run that writes (and turns its record over), a shipper that is ended and started, a receiver with faults."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.faults: list[str] = []
        self.most = 10**9
        self.harm = 0
        self.arrived: list[int] = []
        # A new segment every few events, each compressed in the background while the shipper reads.
        self.run = Run(self.place / "run", Rotation(size=4000))
        self.receiver, self.url = self.serve()

    def serve(self) -> tuple[Any, str]:
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.run.say("first")

    @rule(count=st.integers(1, 15), bad=st.booleans())
    def write(self, count: int, bad: bool) -> None:
        self.run.say(*(f"line {number}" for number in range(count)), *([BAD] if bad else []))

    @rule(faults=st.lists(st.sampled_from(["reset", "lost", "503", "429"]), min_size=1, max_size=4))
    def harm_it(self, faults: list[str]) -> None:
        self.faults += faults

    @rule(most=st.integers(1, BATCH))
    def take_less(self, most: int) -> None:
        self.most = most

    @rule(pauses=st.integers(1, 5))
    def ship(self, pauses: int) -> None:
        """To the end, or ended at a pause."""
        Trip(self.run, open_sink(self.url).sink, most=pauses).go()

    @rule(call=st.integers(1, 40))
    def kill(self, call: int) -> None:
        """Ended right before the so-many-th call that changes something on disk."""
        left = [call]

        def counted(name: str) -> Any:
            real = getattr(os, name)

            def wrapper(*arguments: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
                return real(*arguments)

            return wrapper

        trip = Trip(self.run, open_sink(self.url).sink, most=3)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(durable, "os", _Os({name: counted(name) for name in ("open", "write", "fsync", "rename")}))
            try:
                trip.go()
            except Killed:
                self.harm += 1

    def teardown(self) -> None:
        try:
            self.faults.clear()
            self.most = 10**9
            self.run.end()
            trip = Trip(self.run, open_sink(self.url).sink, most=500)
            assert trip.go(), trip.told
            rejected = {each["event.sequence"] for each in self.run.rejected()}
            expected = {event.sequence for event in self.run.events()}
            assert set(self.arrived) | rejected == expected
            assert expected - set(self.arrived) == {
                event.sequence for event in self.run.events() if event.text("message") == BAD
            }
            firsts = list(dict.fromkeys(self.arrived))
            assert firsts == sorted(firsts)
            assert len(self.arrived) - len(firsts) <= self.harm * BATCH
        finally:
            self.receiver.close()
            self.run.log.close()
            shutil.rmtree(self.place)

    def next_fault(self) -> str:
        fault = self.faults.pop(0) if self.faults else ""
        self.harm += bool(fault)
        return fault


class _Os:
    """The module os with some of its calls replaced."""

    def __init__(self, replaced: dict[str, Any]) -> None:
        self._replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced.get(name) or getattr(os, name)


class HttpFaults(Faults):
    def serve(self) -> tuple[Any, str]:
        receiver = HttpReceiver(self.decide)
        return receiver, f"otlp+http://127.0.0.1:{receiver.port}?batch={BATCH}"

    def decide(self, request: Request) -> Reply:
        if not request.body:
            return Reply()
        records = orjson.loads(request.body)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
        if len(records) > self.most:
            return Reply(413)
        fault = self.next_fault()
        if fault in ("503", "429"):
            return Reply(int(fault), headers={"Retry-After": "3"})
        if fault == "reset":
            return Reply(fault="reset")
        if any(record["body"]["stringValue"] == BAD for record in records):
            return Reply(400, b"no such thing")
        for record in records:
            values = {each["key"]: each["value"] for each in record["attributes"]}
            self.arrived.append(int(values["event.sequence"]["intValue"]))
        return Reply(fault=fault)


class RelpFaults(Faults):
    def serve(self) -> tuple[Any, str]:
        receiver = RelpReceiver(self.decide)
        return receiver, f"relp://127.0.0.1:{receiver.port}?batch={BATCH}&window=4"

    def decide(self, message: bytes) -> str:
        event = json.loads(message[message.index(b"] ") + 2 :])
        fault = self.next_fault()
        if fault == "reset":
            return "reset"
        if event["message"] == BAD:
            return "500 no such thing"
        self.arrived.append(event["event.sequence"])
        return "lost" if fault else ""


@pytest.mark.parametrize("machine", [HttpFaults, RelpFaults])
def test_whatever_happens_what_arrived_is_the_record(machine: type[Faults]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_a_receiver_that_never_answers_is_left_at_the_deadline(run: Run) -> None:
    run.end()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        for scheme in ("otlp+http", "relp"):
            sink = open_sink(f"{scheme}://127.0.0.1:{mute.getsockname()[1]}")
            trip = Trip(run, sink.sink, most=1)
            trip.shipper._timeout = 0.3
            assert not trip.go()
            assert "does not answer in time" in trip.shipper.trouble


def test_an_answer_that_comes_a_byte_at_a_time_does_not_hold_the_shipper(run: Run) -> None:
    run.end()
    with socket.create_server(("127.0.0.1", 0)) as dripping:
        done = threading.Event()

        def drip() -> None:
            connection, _ = dripping.accept()
            with connection:
                connection.recv(65536)
                for byte in b"HTTP/1.1 200 OK\r\n" + b"X-More: " + b"x" * 10_000:
                    try:
                        connection.send(bytes([byte]))
                    except OSError:
                        break
                    if done.wait(0.05):
                        break

        thread = threading.Thread(target=drip)
        thread.start()
        trip = Trip(run, open_sink(f"otlp+http://127.0.0.1:{dripping.getsockname()[1]}").sink, most=1)
        trip.shipper._timeout = 0.5
        assert not trip.go()
        done.set()
        thread.join()
        assert "does not answer in time" in trip.shipper.trouble


def test_a_refusal_before_the_body_was_read_is_heard(run: Run) -> None:
    """A server that answers 413 and closes while we still send: the kernel says `broken pipe`, the answer says why."""
    run.say(*(os.urandom(3000).hex() for _ in range(60)))
    run.end()

    def decide(request: Request) -> Reply:
        return Reply(413, fault="unread") if int(request.headers["Content-Length"]) > 50_000 else Reply()

    receiver = HttpReceiver(decide)
    with serving(receiver):
        trip = ship(run, f"otlp+http://127.0.0.1:{receiver.port}?gzip=no")
    assert trip.shipper.refused == 0
    assert run.rejected() == []
    assert sum(request.body.count(b'"eventName"') for request in receiver.taken) == 62


@pytest.mark.parametrize("status", [401, 403, 404, 500, 502, 302])
def test_what_is_wrong_with_the_receiver_is_not_the_events_fault(run: Run, status: int) -> None:
    run.say("one")
    run.end()
    answers = [Reply(status, b"said so")] * 3
    receiver = HttpReceiver(lambda request: answers.pop() if answers and request.body else Reply())
    with serving(receiver):
        trip = ship(run, f"otlp+http://127.0.0.1:{receiver.port}")
    assert run.rejected() == []
    assert len(trip.pauses) == 3
    assert f"answers {status}" in trip.told[0]
    assert "said so" in trip.told[0]


def test_partial_success(run: Run) -> None:
    run.say("one", "two")
    run.end()
    body = b'{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}'
    receiver = HttpReceiver(lambda request: Reply(200, body))
    with serving(receiver):
        trip = ship(run, f"otlp+http://127.0.0.1:{receiver.port}")
    assert len(receiver.taken) == 1, "the protocol forbids to send it again"
    assert {each["reason"] for each in run.rejected()} == {"too old"}
    assert "refused 1 of 4 events" in trip.told[0]


def test_a_syslog_receiver_that_hangs_up_at_once_has_acknowledged_nothing(run: Run) -> None:
    """Its kernel took the first batch; the program behind it did not want us."""
    run.end()
    with socket.create_server(("127.0.0.1", 0)) as rude:
        ended = threading.Event()

        def hang_up() -> None:
            while not ended.is_set():
                connection, _ = rude.accept()
                connection.recv(10)
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"syslog+tcp://127.0.0.1:{rude.getsockname()[1]}"
        trip = Trip(run, open_sink(url).sink, most=2)
        assert not trip.go()
        assert trip.shipper.position.sequence == 0
        ended.set()
        socket.create_connection(rude.getsockname()).close()
        thread.join()


def test_what_a_reset_syslog_receiver_had_not_read_is_sent_again(run: Run) -> None:
    """Over TCP there are no answers: after a reset the batch before it is sent once more, and nothing is missing."""
    run.say(*(f"line {number}" for number in range(40)))
    run.end()
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def receive() -> None:
            connection, _ = server.accept()
            first = connection.recv(1 << 16, socket.MSG_PEEK)  # seen by the kernel, never read by the program
            assert first
            stepped.wait(scaled(20))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            went.set()
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(1 << 16):
                    got.append(data)

        stepped, went = threading.Event(), threading.Event()
        thread = threading.Thread(target=receive)
        thread.start()
        sink = open_sink(f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}").sink
        events = run.events()
        deadline = Deadline.after(scaled(20))
        assert sink.send(events[:20], deadline) == TAKEN
        stepped.set()
        went.wait(scaled(20))
        assert sink.send(events[20:], deadline) == TAKEN
        sink.close()
        thread.join()
    frames = b"".join(got)
    assert [frames.count(event.id.encode()) for event in events] == [1] * len(events)
