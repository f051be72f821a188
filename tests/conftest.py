"""What all tests share: every event that any of them emits is held against the published schema."""

from __future__ import annotations

import signal
from collections.abc import Iterator
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


# A busy machine may let any example wait; that says nothing about the code. The same tree is tried with the same
# examples, so that what fails fails again; `--hypothesis-profile explore` looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeatable")

# A job in the background of a script starts with Ctrl-C ignored, and hands that on to every program that it starts;
# the tests interrupt programs, so they begin as at a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests with a guest come first, because they take longest, and may take longer than others."""
    items.sort(key=lambda item: item.get_closest_marker("guest") is None)
    for item in items:
        if item.get_closest_marker("guest") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


class _Teller:
    """Says at once which tests failed and which were slow, so that a run that is cut off has said it too."""

    SLOW = 30.0

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._spent: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        spent = self._spent[report.nodeid] = self._spent.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            said = str(report.longrepr).splitlines()[-20:]
            self._reporter.write_line(
                "\n".join([f"\n{report.nodeid}: {report.when} failed after {spent:.0f} s", *said])
            )
        elif report.when == "teardown" and spent > self.SLOW:
            self._reporter.write_line(f"\n{report.nodeid}: {spent:.0f} s")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Teller(reporter))


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
