"""The table of events, the code that emits them, the published schema and the pages cannot disagree."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from harness.events import EventLog, Level
from harness.events.fields import CONTEXT, ENVELOPE, FIELDS
from harness.events.kinds import KINDS
from harness.events.publish import fields_of, pages, schema, schema_of
from harness.events.record import to_record

ROOT = Path(__file__).parents[2]
# Those who hand on what somebody else emits, and the ledger, whose action is `file.put` or `file.get`.
HAND_ON = {"harness/events/log.py", "harness/events/emitter.py", "harness/target/console.py"}
HAND_ON |= {"harness/pytest/moment.py", "harness/soak/moving.py"}
LEDGER = "harness/transport/link_ledger.py"


class Emit(NamedTuple):
    place: str
    action: str
    fields: frozenset[str]
    open: bool


@cache
def emits() -> tuple[Emit, ...]:
    """Every call of `emit` in the code."""
    return tuple(_emits())


def _emits() -> Iterator[Emit]:
    for path in sorted((ROOT / "harness").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit"):
                continue
            action = node.args[0] if node.args else None
            given = frozenset(each.arg for each in node.keywords if each.arg) - {"level"}
            is_open = any(each.arg is None for each in node.keywords)
            place = f"{name}:{node.lineno}"
            if isinstance(action, ast.Constant):
                yield Emit(place, str(action.value), given, is_open)
            elif name == LEDGER:
                yield from (Emit(place, each, given, is_open) for each in ("file.put", "file.get"))
            else:
                assert name in HAND_ON, f"{place}: an event's action must be written out"


def test_every_event_in_the_code_is_in_the_table_with_its_fields() -> None:
    assert len(emits()) > 70
    for emit in emits():
        assert emit.action in KINDS, f"{emit.place}: {emit.action} is not in harness/events/kinds.py"
        kind = KINDS[emit.action]
        known = {field.name for field in fields_of(kind)}
        assert emit.fields <= known, f"{emit.place}: {emit.action} has no {sorted(emit.fields - known)} in the table"
        assert kind.free or not emit.open, f"{emit.place}: the fields of {emit.action} must be written out"


def test_every_kind_is_emitted_with_all_that_it_always_has() -> None:
    assert {emit.action for emit in emits()} == KINDS.keys()
    for action, kind in KINDS.items():
        given = [emit.fields for emit in emits() if emit.action == action]
        own = {name for name in kind.always if name not in CONTEXT}
        assert all(own <= fields for fields in given), f"{action}: one emit leaves out {own} of the table"
        unused = {name for name in kind.maybe if name not in CONTEXT} - frozenset().union(*given)
        assert not unused, f"{action}: nobody gives {unused}"


def test_every_field_belongs_to_an_event_and_has_one_key() -> None:
    used = {name for kind in KINDS.values() for name in (*kind.always, *kind.maybe)} | set(CONTEXT)
    assert used == FIELDS.keys()
    keys = [field.key for field in FIELDS.values()]
    assert len(keys) == len(set(keys))
    assert not set(keys) & ENVELOPE.keys()
    for name, field in FIELDS.items():
        if name not in ("duration", "outcome"):
            assert list(to_record({name: "x"})) == [field.key]
    assert list(to_record({"duration": 1.0})) == ["event.duration"]
    assert list(to_record({"outcome": "passed"})) == ["harness.outcome", "event.outcome"]


def test_what_is_published_is_made_from_the_table() -> None:
    published = json.loads(resources.files("harness.events").joinpath("event.schema.json").read_text())
    assert published == schema(), "run python -m harness.events.publish"
    Draft202012Validator.check_schema(published)
    folder = ROOT / "docs" / "events"
    assert {path.name: path.read_text() for path in folder.iterdir()} == pages(), "run python -m harness.events.publish"


def test_each_kind_has_a_page_with_all_its_fields() -> None:
    for action, kind in KINDS.items():
        text = pages()[f"{action}.md"]
        assert kind.when in text
        for name in (*kind.always, *kind.maybe):
            assert f"`{FIELDS[name].key}`" in text
            assert FIELDS[name].meaning in text


WHOLE = Draft202012Validator(schema())


def example(what: Any) -> st.SearchStrategy[Any]:
    """Values that a field's schema takes."""
    if "enum" in what:
        return st.sampled_from(what["enum"])
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "string": st.sampled_from(["word", "two words"]),
        "integer": st.integers(what.get("minimum", 0), what.get("maximum", 10**6)),
        "number": st.floats(what.get("minimum", 0), what.get("maximum", 10**6)),
        "boolean": st.booleans(),
        "array": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "object": st.just({"targets": []}) if "required" in what else st.just({"some": 1}),
    }
    if what.get("pattern") == FIELDS["finding"].schema["pattern"]:
        return st.just("kernel_oops")
    return kinds[what["type"]]


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    """An event of any kind, as it should be or with a mistake."""
    kind = draw(st.sampled_from(list(KINDS.values())))
    record: dict[str, Any] = {
        "@timestamp": "2026-11-23T07:00:00.000000Z", "log.level": draw(st.sampled_from(get_args(Level))),
        "message": draw(st.text(max_size=5)), "ecs.version": "8.17.0", "event.id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "event.sequence": draw(st.integers(1, 10)), "event.action": kind.action, "event.dataset": "harness.events",
        "harness.schema": "2", "cicd.pipeline.run.id": "r",
    }  # fmt: skip
    for field in fields_of(kind):
        if field.name in kind.always or draw(st.booleans()):
            record[field.key] = draw(example(field.schema))
    mistake = draw(st.sampled_from(["none", "left out", "unknown", "of another kind", "of another type"]))
    if mistake == "left out":
        del record[draw(st.sampled_from(sorted(record)))]
    elif mistake == "unknown":
        record["harness.nobody_knows"] = 1
    elif mistake == "of another kind":
        record[draw(st.sampled_from([field.key for field in FIELDS.values()]))] = "x"
    elif mistake == "of another type":
        record[draw(st.sampled_from(sorted(record)))] = 1.5
    return record


@given(records())
def test_the_schema_of_a_kind_says_what_the_whole_says(record: dict[str, Any]) -> None:
    action = record.get("event.action")
    one = Draft202012Validator(schema_of(action)).is_valid(record) if action in KINDS else False
    assert WHOLE.is_valid(record) == one


@given(records())
def test_a_mistake_is_found(record: dict[str, Any]) -> None:
    """A record that is taken has all that it must have, and nothing that its kind does not have."""
    if WHOLE.is_valid(record):
        kind = KINDS[record["event.action"]]
        keys = {field.key for field in fields_of(kind)} | ENVELOPE.keys()
        assert record.keys() <= keys | {"event.outcome"}
        assert {FIELDS[name].key for name in kind.always} <= record.keys()
        assert not any(value == 1.5 for value in record.values())


def test_what_a_check_notes_cannot_be_taken_for_ours(tmp_path: Path) -> None:
    from harness.target.target import Target

    log = EventLog(tmp_path / "events.jsonl", run="r")
    target = object.__new__(Target)
    object.__setattr__(target, "events", log.bind(target="vm1", module="m", check="c"))
    target.note("sizes", duration="long", target="other", level=3, size=[1, {"a": None}])
    (record,) = [json.loads(line) for line in log.path.read_bytes().splitlines()]
    assert record["host.name"] == "vm1"
    assert record["log.level"] == "info"
    assert {key: value for key, value in record.items() if key.startswith("harness.note.")} == {
        "harness.note.duration": "long", "harness.note.target": "other", "harness.note.level": 3,
        "harness.note.size": [1, {"a": None}],
    }  # fmt: skip
    assert WHOLE.is_valid(record)


@pytest.mark.parametrize("action", KINDS)
def test_an_action_is_a_name(action: str) -> None:
    pattern = ENVELOPE["event.action"][0]["pattern"]
    assert Draft202012Validator({"pattern": pattern}).is_valid(action)
