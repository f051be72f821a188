"""The bytes that each kind of receiver gets, held against the official readers and the texts of the standards."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

from harness.events.reader import Position
from harness.ship.event import Event
from harness.ship.journal_fields import dumped, fields
from harness.ship.options import Options
from harness.ship.registry import open_sink
from harness.ship.sinks import elastic, journal_upload, loki, otlp
from harness.ship.sinks.syslog import FACILITIES, HEADER_MOST, Format
from tests.ship.receivers import HttpReceiver, Reply, serving
from tests.ship.runs import Run, ship

RFC5424 = re.compile(
    rb"<(?P<priority>\d{1,3})>1 (?P<time>\S{1,32}) (?P<host>[\x21-\x7e]{1,255}) (?P<app>[\x21-\x7e]{1,48}) "
    rb'(?P<process>[\x21-\x7e]{1,128}) (?P<kind>[\x21-\x7e]{1,32}) \[meta sequenceId="(?P<number>\d+)"\] (?P<text>.*)',
    re.DOTALL,
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
LEAF = (
    TEXT | st.integers(-(2**70), 2**64) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.none()
)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
KEY = st.from_regex(r"harness\.[a-z_]{1,12}", fullmatch=True)

FEW = settings(max_examples=30, deadline=None)


@st.composite
def made(draw: st.DrawFn) -> Event:
    """Any event that a record may have."""
    sequence = draw(st.integers(1, 2**40))
    record = {
        "@timestamp": draw(st.datetimes(max_value=datetime(2262, 1, 1))).isoformat(timespec="microseconds").zfill(26)
        + "Z",
        "log.level": draw(st.sampled_from(["debug", "info", "warning", "error"])),
        "message": draw(TEXT),
        "event.id": "01M83PYAR20SHYHHHK0TCDN0J8",
        "event.sequence": sequence,
        "event.action": "console.line",
        "cicd.pipeline.run.id": draw(TEXT),
        "host.name": draw(TEXT),
        **draw(st.dictionaries(KEY, VALUE, max_size=4)),
    }
    record = {key: value for key, value in record.items() if not _too_large(value)}
    return Event(orjson.dumps(record), record, Position(sequence))


def _too_large(value: object) -> bool:
    """orjson writes 64 bits, as the record does."""
    try:
        orjson.dumps(value)
    except TypeError:
        return True
    return False


def plain(value: AnyValue) -> object:
    """What a value of OpenTelemetry says."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {each.key: plain(each.value) for each in value.kvlist_value.values}
    return getattr(value, kind) if kind else None


def carried(value: object) -> object:
    """What OpenTelemetry can say of a value: its integers have 63 bits, greater ones are text."""
    if isinstance(value, list):
        return [carried(each) for each in value]
    if isinstance(value, dict):
        return {key: carried(each) for key, each in value.items()}
    return str(value) if isinstance(value, int) and value >= 2**63 else value


@FEW
@given(st.lists(made(), min_size=1, max_size=4))
def test_otlp_is_what_the_official_package_reads(events: list[Event]) -> None:
    request = json_format.Parse(otlp.request(events), ExportLogsServiceRequest(), ignore_unknown_fields=False)
    (resource,) = request.resource_logs
    (scope,) = resource.scope_logs
    assert {each.key: plain(each.value) for each in resource.resource.attributes}["service.name"] == "harness"
    assert len(scope.log_records) == len(events)
    for got, event in zip(scope.log_records, events, strict=True):
        attributes = {each.key: plain(each.value) for each in got.attributes}
        for key, value in event.record.items():
            if key not in ("@timestamp", "message", "log.level"):
                assert attributes[key] == carried(value)
        assert got.body.string_value == event.record["message"]
        assert got.event_name == "console.line"
        assert SeverityNumber.Name(got.severity_number).removeprefix("SEVERITY_NUMBER_") == got.severity_text
        assert got.time_unix_nano == event.microseconds * 1000


@FEW
@given(made())
def test_syslog_is_rfc_5424(event: Event) -> None:
    opened = open_sink("syslog+tcp://logs?facility=local3")
    message = Format(Options(opened.address)).message(event)
    match = RFC5424.fullmatch(message)
    assert match, message
    assert divmod(int(match["priority"]), 8) == (FACILITIES.index("local3"), event.severity)
    assert match["text"] == event.line
    assert not message.startswith(b"\xef\xbb\xbf")
    assert len(message) - len(event.line) <= HEADER_MOST
    assert 1 <= int(match["number"]) <= 2147483647


@FEW
@given(st.lists(made(), min_size=1, max_size=4))
def test_bulk_has_two_lines_an_event(events: list[Event]) -> None:
    lines = elastic.body(events, "tests").split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == 2 * len(events)
    for at, event in enumerate(events):
        assert json.loads(lines[2 * at]) == {"create": {"_index": "tests", "_id": event.id}}
        assert lines[2 * at + 1] == event.line


@FEW
@given(st.lists(made(), min_size=1, max_size=6))
def test_loki_has_few_labels_and_texts_as_metadata(events: list[Event]) -> None:
    streams = json.loads(loki.request(events, "harness"))["streams"]
    assert all(set(stream["stream"]) == {"service_name", "level"} for stream in streams)
    entries = [(int(time), line, meta) for stream in streams for time, line, meta in stream["values"]]
    assert len(entries) == len(events)
    for time, line, meta in entries:
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", key) and isinstance(meta[key], str) for key in meta)
        assert any(time // 1000 == event.microseconds and line == event.record["message"] for event in events)


def export_format(data: bytes) -> list[dict[bytes, bytes]]:
    """A reader of the Journal Export Format, from its text."""
    entries: list[dict[bytes, bytes]] = [{}]
    while data:
        line, _, data = data.partition(b"\n")
        if not line:
            entries.append({})
        elif b"=" in line:
            name, _, value = line.partition(b"=")
            entries[-1][name] = value
        else:
            size = int.from_bytes(data[:8], "little")
            entries[-1][line], end = data[8 : 8 + size], data[8 + size : 9 + size]
            assert end == b"\n"
            data = data[9 + size :]
    return [entry for entry in entries if entry]


@FEW
@given(st.lists(made(), min_size=1, max_size=4))
def test_journal_entries_are_read_back(events: list[Event]) -> None:
    body = b"\n".join(journal_upload.entry(event) for event in events)
    entries = export_format(body)
    assert len(entries) == len(events)
    for entry, event in zip(entries, events, strict=True):
        assert entry[b"MESSAGE"] == event.text("message").encode()
        assert entry[b"PRIORITY"] == str(event.severity).encode()
        assert entry[b"EVENT_ID"] == event.id.encode()
        assert all(re.fullmatch(rb"_{0,2}[A-Z][A-Z0-9_]{0,63}", name) for name in entry)
        assert {
            name.decode(): value.decode() for name, value in export_format(dumped(fields(event)))[0].items()
        } == fields(event)


def test_otlp_over_http(run: Run) -> None:
    run.say("one", "two")
    run.end()
    receiver = HttpReceiver()
    with serving(receiver):
        ship(run, f"otlp+http://me:pw@127.0.0.1:{receiver.port}?header.X-Lab=a")
    (request,) = receiver.taken
    assert request.path == "/v1/logs"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Content-Encoding"] == "gzip"
    assert request.headers["X-Lab"] == "a"
    assert request.headers["Authorization"].startswith("Basic ")
    parsed = json_format.Parse(request.body, ExportLogsServiceRequest(), ignore_unknown_fields=False)
    assert len(parsed.resource_logs[0].scope_logs[0].log_records) == 4


@pytest.mark.parametrize("kind", ["file", "stdout"])
def test_a_file_gets_the_record_as_it_is(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    run.say(*(f"line {number}" for number in range(50)))
    run.end()
    out = tmp_path / "out"
    ship(run, f"file:{out}?batch=7" if kind == "file" else "stdout:?batch=7")
    got = out.read_bytes() if kind == "file" else capfd.readouterr().out.encode()
    assert got.splitlines() == run.lines()


def test_elastic_takes_what_is_there_already(run: Run) -> None:
    run.say("one", "two", "three")
    run.end()
    statuses = {2: 409, 3: 400, 4: 429}
    seen: list[str] = []

    def decide(request: object) -> Reply:
        body = getattr(request, "body", b"")
        ids = [json.loads(line)["create"]["_id"] for line in body.splitlines()[::2]]
        events = [json.loads(line)["event.sequence"] for line in body.splitlines()[1::2]]
        items = []
        for name, sequence in zip(ids, events, strict=True):
            status = 201 if name in seen else statuses.get(sequence, 201)
            if body:
                seen.append(name)
            error = {"type": "document_parsing_exception", "reason": "no such date"}
            items.append({"create": {"status": status, "_id": name, **({"error": error} if status >= 400 else {})}})
        return Reply(200, json.dumps({"errors": True, "items": items}).encode())

    receiver = HttpReceiver(decide)
    with serving(receiver):
        trip = ship(run, f"opensearch+http://127.0.0.1:{receiver.port}?index=tests")
    assert receiver.taken[0].path == "/_bulk"
    assert [each["event.sequence"] for each in run.rejected()] == [3]
    assert "no such date" in str(run.rejected()[0]["reason"])
    assert trip.shipper.position.sequence == 5
    again = [json.loads(line)["event.sequence"] for line in receiver.taken[1].body.splitlines()[1::2]]
    assert again == [4]
