"""From what a room emits to the flat record that aggregators take as it is.

The envelope is the Elastic Common Schema's (https://www.elastic.co/guide/en/ecs/current/), the names for tests and
pipelines are OpenTelemetry's (https://opentelemetry.io/docs/specs/semconv/), and what neither names stands
under ``harness.``. Keys are flat and dotted. ``event.schema.json`` beside this file is the published schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

Record = dict[str, Any]

ECS_VERSION = "8.17.0"
SCHEMA_VERSION = "2"

_NAMES = {
    "run": "cicd.pipeline.run.id",
    "target": "host.name",
    "check": "test.case.name",
    "module": "test.suite.name",
    "error_message": "error.message",
    "error_type": "error.type",
    "pid": "process.pid",
}

ENVELOPE = frozenset(
    {
        "@timestamp", "log.level", "ecs.version", "event.id", "event.sequence", "event.action", "event.dataset",
        "event.outcome", "event.duration", "harness.schema", "harness.outcome", "harness.transport",
        "harness.transports", "harness.attempt", "harness.stage", "harness.cause", "harness.finding",
        "harness.severity", "harness.ruling",
        *_NAMES.values(),
    }
    - {"error.message", "error.type"}
)  # fmt: skip
"""Keys that name things: they are never masked, since no secret's text is put there."""

# ECS knows only success, failure and unknown; the exact word stays in harness.outcome.
_ECS_OUTCOME = {"passed": "success", "failed": "failure", "error": "failure", "unreachable": "failure"}

_NANOSECONDS = 1_000_000_000
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
_AS_IT_IS = frozenset({type(None), bool, float})
_WITH_LETTERS = frozenset({str, list, dict})


class _Places(dict[str, tuple[str, bool]]):
    """By a field's name: its key, and whether a secret may stand there. Found once for each name."""

    def __missing__(self, name: str) -> tuple[str, bool]:
        key = _NAMES.get(name) or f"harness.{name}"
        self[name] = found = (key, key not in ENVELOPE)
        return found


_PLACES = _Places()


class _Fields(dict[type, tuple[str, ...] | None]):
    """The names of a dataclass's fields, None for another type. Found once for each type."""

    def __missing__(self, kind: type) -> tuple[str, ...] | None:
        self[kind] = found = tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None
        return found


_FIELDS = _Fields()


def to_record(
    fields: Mapping[str, Any], mask: Callable[[Any], Any] | None = None, record: Record | None = None
) -> Record:
    """Gives each field its published key and JSON's types, secrets masked by `mask`: durations in seconds become
    ``event.duration`` in nanoseconds. Where a `record` is given they are put into it; one that is None is taken out."""
    record = {} if record is None else record
    for name, value in fields.items():
        if value is None:
            record.pop(_PLACES[name][0], None)
        elif name == "duration":
            record["event.duration"] = round(value * _NANOSECONDS)
        elif name == "outcome":
            record["harness.outcome"] = str(value)
            record["event.outcome"] = _ECS_OUTCOME.get(str(value), "unknown")
        else:
            key, may_hold_secrets = _PLACES[name]
            if type(value) is not str or not value.isascii():
                value = plain(value)
            # A number and a truth hold no secret: what is left has letters somewhere in it.
            if mask is not None and may_hold_secrets and type(value) in _WITH_LETTERS:
                value = mask(value)
            record[key] = value
    return record


def plain(value: Any) -> Any:
    """The value in JSON's own types. Bytes that are no text are shown as ``\\xNN``, never dropped."""
    kind = type(value)
    if kind is str:
        # A lone surrogate is no JSON; it is shown as its escape.
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if kind in _AS_IT_IS:
        return value
    if kind is int:
        return value if _SMALLEST <= value <= _LARGEST else str(value)  # JSON has no bounds, but its readers have
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    if kind is dict:
        return {plain(str(key)): plain(item) for key, item in value.items()}
    names = _FIELDS[kind]
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    return _plain_of_another(value)


def _plain_of_another(value: Any) -> Any:
    """What is of none of the usual types, but may be of one derived from them."""
    if isinstance(value, str):
        return plain(str.__str__(value))
    if isinstance(value, int):
        return plain(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds, as ECS wants it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Stamps:
    """The same for many times that follow each other: a second is put into words once."""

    def __init__(self) -> None:
        self._second = -1
        self._words = ""

    def __call__(self, seconds: float) -> str:
        microseconds = int(seconds * 1_000_000)
        second, rest = divmod(microseconds, 1_000_000)
        if second != self._second:
            self._second, self._words = second, timestamp(second)[:20]
        return f"{self._words}{rest:06d}Z"
