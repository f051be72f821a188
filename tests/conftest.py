"""What all tests share: every event that any of them emits is held against the published schema."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import settings
from jsonschema import Draft202012Validator

from harness.events import EventLog, Record
from harness.events.reader import RecordReader


def _validator() -> Draft202012Validator:
    schema = json.loads(resources.files("harness.events").joinpath("event.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


VALIDATOR = _validator()

# A busy machine may let any example wait; that says nothing about the code.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# A job in the background of a script starts with Ctrl-C ignored, and hands that on to every program that it starts;
# the tests interrupt programs, so they begin as at a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _events_follow_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this process each record as it is written; of processes that a test starts, their files below tmp_path."""
    problems: list[str] = []
    write = EventLog._write

    def checked(self: EventLog, record: Record) -> None:
        problems.extend(f"{e.message} in {record}" for e in VALIDATOR.iter_errors(record))
        write(self, record)

    for level in ("debug", "info", "warning", "error"):
        monkeypatch.setattr(EventLog, level, checked)
    yield
    for folder in {file.parent for file in tmp_path.rglob("events*.jsonl*")}:
        with RecordReader(folder) as reader:
            while lines := reader.read():
                for line in lines:
                    record = line.event()
                    problems.extend(f"{folder}: {e.message} in {record}" for e in VALIDATOR.iter_errors(record))
    assert not problems, problems[:5]
