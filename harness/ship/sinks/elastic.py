"""Elasticsearch's and OpenSearch's `_bulk`
(https://www.elastic.co/guide/en/elasticsearch/reference/current/docs-bulk.html).

Each event is created under its `event.id`, so that one which arrives twice is there once: 409 says that it is there.
Acknowledged: the item's status is 201 or 409, which they give when the write is on disk in its shards' logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from harness.deadline import Deadline
from harness.ship.address import Address
from harness.ship.event import Event
from harness.ship.http import HttpClient, bounded_reason, json_object, not_an_answer, require_taken
from harness.ship.options import Options
from harness.ship.sink import TAKEN, Answer, Limits, Unavailable

_HEADERS = {"Content-Type": "application/x-ndjson"}
_BAD_EVENT = frozenset({400, 413, 422})
_THERE = 409


class ElasticSink:
    """Posts to `_bulk`; a data stream or an index takes the events."""

    def __init__(self, address: Address, options: Options) -> None:
        self.limits = Limits(options.count("batch", 500), options.size("batch_bytes", 4_000_000))
        self._index = options.text("index", "logs-harness-default", identity=True)
        self._path = f"{quote(address.path.rstrip('/'))}/_bulk"
        if pipeline := options.text("pipeline"):
            self._path += f"?pipeline={quote(pipeline, safe='')}"
        self._client = HttpClient(address, options)

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        response = self._client.post(self._path, body(events, self._index), _HEADERS, deadline)
        require_taken(response, self._client.address)
        document = json_object(response, self._client.address, "application/x-ndjson")  # tenzir calls it that
        try:
            errors = document["errors"]
            items = [next(iter(item.values())) for item in document.get("items", ())]
            statuses = [int(item["status"]) for item in items]
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, StopIteration) as error:
            raise not_an_answer(response, self._client.address, "an answer to _bulk") from error
        if errors is False and not any(map(_is_error, statuses)):
            return TAKEN  # some that speak this protocol do not list each item then
        if len(items) != len(events):
            raise Unavailable(f"{self._client.address.authority} answers for {len(items)} of {len(events)} events")
        return answer(statuses, items)

    def close(self) -> None:
        self._client.close()


def open_sink(address: Address, options: Options) -> ElasticSink:
    return ElasticSink(address, options)


def body(events: Sequence[Event], index: str) -> bytes:
    """Two lines for each event: what to do, and the event as it stands in the record. The index stands there too: some
    that speak this protocol know `/_bulk` only."""
    lines: list[bytes] = []
    for event in events:
        lines += (orjson.dumps({"create": {"_index": index, "_id": event.id}}), event.line)
    return b"\n".join(lines) + b"\n"


def answer(statuses: Sequence[int], items: Sequence[dict[str, Any]]) -> Answer:
    """What became of each: there, refused for what it is, or to be sent again (too busy, no index, full disk)."""
    refused = {at: _why(items[at]) for at, status in enumerate(statuses) if status in _BAD_EVENT}
    again = frozenset(at for at, status in enumerate(statuses) if _is_error(status) and status not in _BAD_EVENT)
    if not refused and not again:
        return TAKEN
    return Answer(refused, again, note=_why(items[min(again)]) if again else "")


def _is_error(status: int) -> bool:
    return not 200 <= status < 300 and status != _THERE


def _why(item: dict[str, Any]) -> str:
    error = item.get("error")
    if not isinstance(error, dict):
        return bounded_reason(f"status {item.get('status')}: {error}")
    cause = error.get("caused_by")
    words = f"status {item.get('status')}: {error.get('type')}: {error.get('reason')}"
    return bounded_reason(f"{words}; {cause.get('reason')}" if isinstance(cause, dict) else words)
