"""Loki's push API, with structured metadata (https://grafana.com/docs/loki/latest/reference/loki-http-api/).

Acknowledged: 204, which Loki gives when the lines are in its ingesters' logs. A line that is there already, with the
same time, is dropped by Loki itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from harness.deadline import Deadline
from harness.ship.address import Address
from harness.ship.event import Event
from harness.ship.http import HttpClient, json_object, require_taken
from harness.ship.options import Options
from harness.ship.sink import TAKEN, Answer, Limits

_NO_NAME = re.compile(r"[^A-Za-z0-9_]")
_OF_THE_LINE = frozenset({"@timestamp", "message", "log.level", "ecs.version", "event.dataset"})
_NO_CONTENT = 204
_HEADERS = {"Content-Type": "application/json"}


class LokiSink:
    """Posts streams: one for each level, so that there are never more than four for a job."""

    def __init__(self, address: Address, options: Options) -> None:
        # 64 kB is what Loki takes as one line's structured metadata by default (max_structured_metadata_size).
        self.limits = Limits(
            options.count("batch", 500), options.size("batch_bytes", 1_000_000), options.size("max_bytes", 60_000)
        )
        self._path = address.path
        self._job = options.text("job", "harness", identity=True)
        self._headers = dict(_HEADERS)
        if tenant := options.text("tenant", identity=True):
            self._headers["X-Scope-OrgID"] = tenant
        self._client = HttpClient(address, options)

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        response = self._client.post(self._path, request(events, self._job), self._headers, deadline)
        require_taken(response, self._client.address)
        if response.status != _NO_CONTENT:
            json_object(response, self._client.address)  # a gateway's own 200; a web server's page is refused
        return TAKEN

    def close(self) -> None:
        self._client.close()


def open_sink(address: Address, options: Options) -> LokiSink:
    return LokiSink(address, options)


def request(events: Sequence[Event], job: str) -> bytes:
    """The body of a push: the message is the line, all else its structured metadata, as texts."""
    streams: dict[str, list[list[Any]]] = {}
    for event in events:
        entry = [str(_nanoseconds(event)), event.text("message"), _metadata(event)]
        streams.setdefault(event.text("log.level") or "unknown", []).append(entry)
    return orjson.dumps(
        {
            "streams": [
                {"stream": {"service_name": job, "level": level}, "values": values} for level, values in streams.items()
            ]
        }
    )


def _nanoseconds(event: Event) -> int:
    # Loki takes two lines of one time and text for one. The record's clock has microseconds: the digits below them
    # are free, and tell such lines apart.
    return event.microseconds * 1000 + event.sequence % 1000


def _metadata(event: Event) -> dict[str, str]:
    return {
        _NO_NAME.sub("_", key): value if isinstance(value, str) else orjson.dumps(value).decode()
        for key, value in event.record.items()
        if key not in _OF_THE_LINE
    }
