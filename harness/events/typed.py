"""An event read from a record that nobody vouches for: each field has the type that is published, or is left out.

A record may be damaged, edited, or of another version. Those who read it rely on types, and must not have to check each
field themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from harness.events.fields import ENVELOPE, EVENT_OUTCOME, FIELDS, Schema
from harness.events.record import Record

NO_TIME = "1970-01-01T00:00:00.000000Z"
_LARGEST = 2**63 - 1
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,),
}  # fmt: skip


def typed(record: Record, sequence: int) -> Record:
    """Return the event with all fields of the envelope (`sequence` where its own is none), and of the others those that
    have their published type. An event that is well-formed is returned as it is."""
    schemas = _schemas()
    wrong = [key for key, value in record.items() if key in schemas and not fits(value, schemas[key])]
    missing = [key for key in ENVELOPE if key not in record]
    if not wrong and not missing and _is_time(record["@timestamp"]):
        return record
    found = {key: value for key, value in record.items() if key not in wrong}
    if not _is_time(found.get("@timestamp", "")):
        found["@timestamp"] = NO_TIME
    # Words that cannot be read as such are still shown.
    message = record.get("message")
    found["message"] = message if isinstance(message, str) else "" if message is None else str(message)
    for key in ("log.level", "ecs.version", "event.id", "event.action", "event.dataset", "harness.schema"):
        found.setdefault(key, "")
    found.setdefault("event.sequence", sequence)
    return found


def fits(value: Any, schema: Schema) -> bool:
    """Return whether a value has the type, and is one of the values, that a schema of the table of fields gives."""
    if "const" in schema:
        return bool(value == schema["const"])
    if "enum" in schema:
        return isinstance(value, str) and value in schema["enum"]
    kind = schema.get("type")
    if kind is None:
        return True
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return False
    if isinstance(value, int | float):
        return bool(schema.get("minimum", -_LARGEST) <= value <= schema.get("maximum", _LARGEST))
    if isinstance(value, list):
        return all(fits(item, schema.get("items", {})) for item in value)
    if isinstance(value, dict):
        each = schema.get("additionalProperties")
        return not isinstance(each, Mapping) or all(fits(item, each) for item in value.values())
    return True


@cache
def _schemas() -> Mapping[str, Schema]:
    found = {key: schema for key, (schema, _) in ENVELOPE.items()}
    found.update((field.key, field.schema) for field in FIELDS.values())
    found["event.outcome"] = EVENT_OUTCOME
    return found


def _is_time(text: Any) -> bool:
    try:
        return isinstance(text, str) and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
