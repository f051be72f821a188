"""The published forms of the table of events: the JSON Schema, and a page for each kind of event.

python -m harness.events.publish            writes harness/events/event.schema.json and docs/events
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.events.fields import CONTEXT, ENVELOPE, EVENT_OUTCOME, FIELDS, NOTE, Field
from harness.events.kinds import KINDS, Kind
from harness.events.record import SCHEMA_VERSION

_ALWAYS = ("run",)


def schema() -> dict[str, Any]:
    """The schema of all events (JSON Schema, draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:harness:event:{SCHEMA_VERSION}",
        "title": "harness event",
        "description": "One line of events.jsonl. The envelope is ECS; names for tests and pipelines are "
        "OpenTelemetry's; the rest is under harness. Made from harness/events/kinds.py.",
        **_envelope(),
        "allOf": [
            {"if": {"properties": {"event.action": {"const": action}}}, "then": _own(kind)}
            for action, kind in KINDS.items()
        ],
    }


def schema_of(action: str) -> dict[str, Any]:
    """The schema of one kind of event: as the whole says it, and a hundred times as quick to hold an event against."""
    return {**_envelope(), "allOf": [_own(KINDS[action])]}


def _envelope() -> dict[str, Any]:
    properties: dict[str, Any] = {key: {**what, "description": meaning} for key, (what, meaning) in ENVELOPE.items()}
    properties["event.action"] = {"enum": list(KINDS), "description": ENVELOPE["event.action"][1]}
    properties["event.outcome"] = {**EVENT_OUTCOME, "description": "ECS's word for harness.outcome"}
    for field in FIELDS.values():
        properties[field.key] = {**field.schema, "description": field.meaning}
    return {
        "type": "object",
        "required": [*ENVELOPE, *(FIELDS[name].key for name in _ALWAYS)],
        "properties": properties,
        "patternProperties": {f"^harness\\.{NOTE.replace('.', chr(92) + '.')}": {}},
        "additionalProperties": False,
    }


def _own(kind: Kind) -> dict[str, Any]:
    """What holds of one kind beside the envelope."""
    keys = [field.key for field in fields_of(kind)]
    own: dict[str, Any] = {}
    if kind.always:
        own["required"] = [FIELDS[name].key for name in kind.always]
    allowed: dict[str, Any] = {"enum": [*ENVELOPE, *(["event.outcome"] if "harness.outcome" in keys else []), *keys]}
    own["propertyNames"] = {"anyOf": [allowed, {"pattern": f"^harness.{NOTE}"}]} if kind.free else allowed
    return own


def fields_of(kind: Kind) -> list[Field]:
    """The fields that an event of this kind may have, its own first."""
    return [FIELDS[name] for name in dict.fromkeys([*kind.always, *kind.maybe, *CONTEXT])]


def page(kind: Kind) -> str:
    """The documentation of one kind of event."""
    lines = [f"# {kind.action}", "", kind.when, "", "| key | type | | meaning |", "|---|---|---|---|"]
    own = dict.fromkeys([*kind.always, *kind.maybe])
    for name in own:
        field = FIELDS[name]
        lines.append(
            f"| `{field.key}` | {_type(field)} | {'always' if name in kind.always else ''} | {field.meaning} |"
        )
        if name == "outcome":
            lines.append("| `event.outcome` | `success`, `failure`, `unknown` | | ECS's word for `harness.outcome` |")
    if kind.free:
        lines.append(f"| `harness.{NOTE}*` | any | | what the check gave by name |")
    if not own and not kind.free:
        lines = [*lines[:-2], "It has no fields of its own.", ""]
    else:
        lines.append("")
    context = [f"`{FIELDS[name].key}`" for name in CONTEXT if name not in own]
    lines += [f"Beside the [envelope](README.md), and where it belongs to one: {', '.join(context)}.", ""]
    return "\n".join(lines)


def contents() -> str:
    """The first page: what all events have, and all kinds of them."""
    lines = [
        "# Events",
        "",
        "Every line of `events.jsonl` is one event of one of these kinds (`event.action`). These pages and",
        "`harness/events/event.schema.json` are made from one table, `harness/events/kinds.py`, by",
        "`python -m harness.events.publish`; the tests hold the code, and every event that they see, against it.",
        "",
        f"The schema's version is {SCHEMA_VERSION} (`harness.schema`). It grows when a key is taken away or means",
        "something else; new kinds and new keys do not change it.",
        "",
        "## What every event has",
        "",
        "| key | meaning |",
        "|---|---|",
        *(f"| `{key}` | {meaning} |" for key, (_, meaning) in ENVELOPE.items()),
        *(f"| `{FIELDS[name].key}` | {FIELDS[name].meaning} |" for name in _ALWAYS),
        "",
        "## What an event has because of where it happened",
        "",
        "| key | meaning |",
        "|---|---|",
        *(f"| `{FIELDS[name].key}` | {FIELDS[name].meaning} |" for name in CONTEXT if name not in _ALWAYS),
        "",
        "## Kinds",
        "",
        "| event | when |",
        "|---|---|",
        *(f"| [{kind.action}]({kind.action}.md) | {kind.when} |" for kind in KINDS.values()),
        "",
    ]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """All pages, by the names of their files."""
    return {"README.md": contents(), **{f"{action}.md": page(kind) for action, kind in KINDS.items()}}


def _type(field: Field) -> str:
    if "enum" in field.schema:
        return ", ".join(f"`{value}`" for value in field.schema["enum"])
    kind = str(field.schema["type"])
    return "list of strings" if kind == "array" else kind


def write(root: Path) -> Iterable[Path]:
    """Writes all of it below the source's top folder; gives the files that were not as they should be."""
    folder = root / "docs" / "events"
    folder.mkdir(exist_ok=True)
    wanted = {folder / name: text for name, text in pages().items()}
    wanted[root / "harness" / "events" / "event.schema.json"] = json.dumps(schema(), indent=1) + "\n"
    for path in folder.glob("*.md"):
        if path not in wanted:
            path.unlink()
            yield path
    for path, text in wanted.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            yield path


if __name__ == "__main__":
    for changed in write(Path(__file__).parents[2]):
        print(changed)
