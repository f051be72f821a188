"""What all tests share: every event that any of them emits is held against the published schema."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from jsonschema import Draft202012Validator

from harness.events import EventLog, Record
from harness.events.fields import ENVELOPE
from harness.events.kinds import KINDS
from harness.events.publish import schema_of
from harness.events.reader import RecordReader


def _validators() -> dict[str, Draft202012Validator]:
    """One for each kind of event; `run.note` is what tests write that want any event."""
    made = {action: Draft202012Validator(schema_of(action)) for action in KINDS}
    free = {"properties": {key: what for key, (what, _) in ENVELOPE.items()}, "required": list(ENVELOPE)}
    return {**made, "run.note": Draft202012Validator(free)}


VALIDATORS = _validators()


def _problems(record: Record) -> list[str]:
    action = record.get("event.action", "")
    if action not in VALIDATORS:
        return [f"{action} is no kind of event in harness/events/kinds.py (then: python -m harness.events.publish)"]
    return [f"{error.message} in {record}" for error in VALIDATORS[action].iter_errors(record)]


# A busy machine may let any example wait; that says nothing about the code.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# A job in the background of a script starts with Ctrl-C ignored, and hands that on to every program that it starts;
# the tests interrupt programs, so they begin as at a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Before xdist looks: with `-n 2 --dist loadgroup` the tests of a file stay together, and all with a guest do.

    So there is one guest at a time, and what is saved of it is saved once. They come first, because they take longest.
    """
    for item in items:
        guest = item.get_closest_marker("guest") is not None
        item.add_marker(pytest.mark.xdist_group("guest" if guest else str(item.path)))
    items.sort(key=lambda item: item.get_closest_marker("guest") is None)
    return (yield)


@pytest.fixture(autouse=True)
def _events_follow_the_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this process each record as it is written; of processes that a test starts, their files below tmp_path."""
    problems: list[str] = []
    write = EventLog._write

    def checked(self: EventLog, record: Record) -> None:
        problems.extend(_problems(record))
        write(self, record)

    for level in ("debug", "info", "warning", "error"):
        monkeypatch.setattr(EventLog, level, checked)
    yield
    for folder in {file.parent for file in tmp_path.rglob("events*.jsonl*")}:
        with RecordReader(folder) as reader:
            while lines := reader.read():
                for line in lines:
                    problems.extend(f"{folder}: {problem}" for problem in _problems(line.event()))
    assert not problems, problems[:5]
