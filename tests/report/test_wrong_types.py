"""A record whose events have wrong types, in every field of every kind: it is shown, reported and shipped as far as it
can be, and never ends in an internal error."""

from __future__ import annotations

import contextlib
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli.main import main
from harness.events.fields import ENVELOPE
from harness.events.kinds import KINDS
from harness.events.publish import fields_of
from harness.events.typed import fits, typed

WRONG: list[Any] = [
    None, True, -1, 0, 2**70, 1e300, -0.5, "", "x", "\x1b[31m", "9999-99-99T99:99:99.000000Z",
    "0001-01-01T00:00:00.000000Z",
    [], [1, None], [[]], {}, {"a": []}, {"targets": [1, {"target": 3}]}, {"targets": [{"target": "vm1", "groups": 7}]},
]  # fmt: skip


def right(schema: Any) -> Any:
    """A value of the type that is published."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    return {
        "string": "x", "integer": max(1, schema.get("minimum", 1)), "number": 1.5, "boolean": True, "array": ["x"],
        "object": {"x": 1},
    }[schema.get("type", "string")]  # fmt: skip


def event(action: str, sequence: int) -> dict[str, Any]:
    found = {key: right(schema) for key, (schema, _) in ENVELOPE.items()}
    found |= {field.key: right(field.schema) for field in fields_of(KINDS[action])}
    found |= {
        "@timestamp": "2026-11-29T04:00:00.000000Z", "event.id": f"01M8JQJV8GF00MW128CJZ{sequence:05d}",
        "event.sequence": sequence, "event.action": action, "event.dataset": "harness.events", "harness.schema": "2",
    }  # fmt: skip
    return found


def record(folder: Path, events: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "events.jsonl").write_bytes(
        b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in events)
    )
    return folder


def asked(folder: Path, sequence: int) -> list[list[str]]:
    return [
        ["logs", str(folder)],
        ["logs", str(folder), "--json", "--since", "1h", "--level", "info"],
        ["logs", str(folder), "--target", "vm1", "--check", "x*"],
        ["logs", str(folder), "--explain", str(sequence)],
        ["report", str(folder), "-o", str(folder / "r.html")],
        ["report", str(folder), "--format", "junit", "-o", "-"],
        ["report", str(folder), "--format", "ctrf", "-o", "-"],
        ["report", str(folder), "--format", "json", "-o", "-"],
        ["report", str(folder), "--format", "markdown", "-o", "-"],
        ["ship", str(folder), "--to", f"file:{folder / 'shipped'}"],
        ["history", "--logs", str(folder.parent)],
        ["status", "--logs", str(folder.parent), folder.name],
        ["prune", "--logs", str(folder.parent), "--keep", "9", "--dry-run"],
    ]


def code_of(arguments: list[str]) -> int:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            return main(arguments)
        except SystemExit as left:
            return int(str(left.code))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "run"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)


def test_every_field_of_every_kind_with_wrong_values(folder: Path) -> None:
    """One record holds each kind with each of its fields wrong in one way or another."""
    drawn = random.Random(7)
    events = [event("run.start", 1)]
    for action in KINDS:
        for key in drawn.sample(sorted(event(action, 1)), 6):
            events.append({**event(action, len(events) + 1), key: drawn.choice(WRONG)})
    record(folder, [*events, event("run.end", len(events) + 1)])
    codes = {" ".join(each[:1] + each[2:4]): code_of(each) for each in asked(folder, 5)}
    assert 5 not in codes.values(), codes


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_events_with_wrong_values_at_random(folder: Path, data: st.DataObject) -> None:
    actions = ["run.start", *data.draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=6)), "check.end", "run.end"]
    events = [event(action, place) for place, action in enumerate(actions, 1)]
    for each in events:
        for key in data.draw(st.sets(st.sampled_from(sorted(each)), max_size=3)):
            each[key] = data.draw(st.sampled_from(WRONG))
    record(folder, events)
    arguments = data.draw(st.sampled_from(asked(folder, data.draw(st.integers(1, len(events))))))
    assert code_of(arguments) != 5, arguments


@pytest.mark.parametrize("name", ["results.json", "trials.jsonl", "status.json", "soak.json", "plan.jsonl"])
def test_other_files_with_wrong_types(folder: Path, name: str) -> None:
    record(folder, [event("run.start", 1), event("run.end", 2)])
    for value in WRONG:
        for document in (value, {"targets": value, "run": value, "started": 1, "duration": 1, "counts": value}):
            (folder / name).write_text(json.dumps(document) + "\n")
            for arguments in (["report", str(folder), "--format", "json", "-o", "-"], *asked(folder, 1)[-3:]):
                assert code_of(arguments) != 5, (document, arguments)
    (folder / name).unlink()


def test_a_well_formed_event_is_returned_as_it_is() -> None:
    for action in KINDS:
        well = event(action, 3)
        assert typed(well, 9) is well
    assert typed({}, 9)["event.sequence"] == 9
    assert fits(True, {"type": "integer"}) is False
