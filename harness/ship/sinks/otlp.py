"""OpenTelemetry's protocol over HTTP, with JSON (https://opentelemetry.io/docs/specs/otlp/).

Acknowledged: the receiver has answered 200 with a whole ExportLogsServiceResponse. What it refuses within a batch it
only counts (partial success), and the protocol forbids to send such a batch again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from harness import __version__
from harness.deadline import Deadline
from harness.ship.address import Address
from harness.ship.event import Event
from harness.ship.http import HttpClient, Response, bounded_reason, json_object, not_an_answer, require_taken
from harness.ship.options import Options
from harness.ship.sink import TAKEN, Answer, Limits

_SEVERITIES = {"debug": (5, "DEBUG"), "info": (9, "INFO"), "warning": (13, "WARN"), "error": (17, "ERROR")}
"""opentelemetry/proto/logs/v1/logs.proto, SeverityNumber."""
_OF_THE_LINE = frozenset({"@timestamp", "message", "log.level", "ecs.version"})
_RUN = "cicd.pipeline.run.id"
_INT64 = range(-(1 << 63), 1 << 63)
_HEADERS = {"Content-Type": "application/json"}


class OtlpSink:
    """Posts `ExportLogsServiceRequest`s."""

    def __init__(self, address: Address, options: Options) -> None:
        self.limits = Limits(options.count("batch", 500), options.size("batch_bytes", 1_000_000))
        self._path = address.path
        self._client = HttpClient(address, options)

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        response = self._client.post(self._path, request(events), _HEADERS, deadline)
        require_taken(response, self._client.address)
        return _answer(response, self._client.address, len(events))

    def close(self) -> None:
        self._client.close()


def open_sink(address: Address, options: Options) -> OtlpSink:
    return OtlpSink(address, options)


def request(events: Sequence[Event]) -> bytes:
    """An `ExportLogsServiceRequest` as JSON: numbers of 64 bits are texts, keys in camelCase."""
    run = events[0].text(_RUN)
    resource = {"service.name": "harness", "service.version": __version__, _RUN: run}
    return orjson.dumps(
        {
            "resourceLogs": [
                {
                    "resource": {"attributes": _attributes({key: value for key, value in resource.items() if value})},
                    "scopeLogs": [
                        {"scope": {"name": "harness", "version": __version__}, "logRecords": [*map(_record, events)]}
                    ],
                }
            ]
        }
    )


def _record(event: Event) -> dict[str, Any]:
    number, word = _SEVERITIES.get(event.text("log.level"), (0, ""))
    nanoseconds = str(event.microseconds * 1000)
    attributes = {key: value for key, value in event.record.items() if key not in _OF_THE_LINE}
    return {
        "timeUnixNano": nanoseconds,
        "observedTimeUnixNano": nanoseconds,
        "severityNumber": number,
        "severityText": word,
        "eventName": event.text("event.action"),
        "body": {"stringValue": event.text("message")},
        "attributes": _attributes(attributes),
    }


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)} if value in _INT64 else {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes(value)}}
    return {}


def _answer(response: Response, address: Address, count: int) -> Answer:
    """Return what an `ExportLogsServiceResponse` says. Raises Unavailable where the answer is none."""
    document = json_object(response, address)
    partial = document.get("partialSuccess")
    if partial is None:
        return TAKEN
    try:
        refused = int(partial.get("rejectedLogRecords") or 0)
        words = bounded_reason(str(partial.get("errorMessage") or ""))
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise not_an_answer(response, address, "an ExportLogsServiceResponse") from error
    if refused >= count:
        return Answer(dict.fromkeys(range(count), words or "partial success: refused"))
    if refused > 0:
        return Answer(unnamed=refused, note=words or "no reason was given")
    return Answer(note=words) if words else TAKEN
