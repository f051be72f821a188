"""What all tests share: every event that any of them emits is held against the published schema."""

from __future__ import annotations

import gc
import os
import random
import secrets
import signal
import sys

# What pytest has made of a test file is kept, whatever the environment says to the processes that tests start: each
# worker reads all files, and took nine seconds for that instead of three. The same holds for the modules of Hypothesis,
# which is a plugin, so that pytest rewrites its assertions too: nothing of it may be imported before this.
sys.dont_write_bytecode = False

import time
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import pytest_timeout
from hypothesis import settings
from jsonschema_rs import Draft202012Validator

from harness.events import EventLog, Record
from harness.events.fields import ENVELOPE
from harness.events.kinds import KINDS
from harness.events.publish import schema_of
from harness.events.reader import RecordReader
from tests import patience
from tests.patience import PatientTimer
from tests.scheduling import has_guest

_LAST = 60.0
"""Seconds that a test has at least, when the time of the whole run is nearly over."""


@cache
def _validator(action: str) -> Draft202012Validator:
    """The one for a kind of event; `run.note` is what tests write that want any event. Compiled: some tests write
    thousands of events, and the tests took a tenth of their time to look at them."""
    free = {"properties": {key: what for key, (what, _) in ENVELOPE.items()}, "required": list(ENVELOPE)}
    return Draft202012Validator(free if action == "run.note" else schema_of(action))


def _problems(record: Record) -> list[str]:
    action = record.get("event.action", "")
    if action not in KINDS and action != "run.note":
        return [f"{action} is no kind of event in harness/events/kinds.py (then: python -m harness.events.publish)"]
    return [f"{error.message} in {record}" for error in _validator(action).iter_errors(record)]


# A busy machine may let any example wait; that says nothing about the code. The same tree is tried with the same
# examples, so that what fails fails again; `--hypothesis-profile explore` looks for new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("repeatable")

# A job in the background of a script starts with Ctrl-C and Ctrl-\ ignored, one under nohup with hang-ups ignored, and
# hands that on to every program that it starts; the tests interrupt programs, so they begin as at a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle",
        nargs="?",
        const="",
        metavar="SEED",
        help="run the tests of each module in random order, and the modules too; the seed is printed",
    )


def pytest_report_header(config: pytest.Config) -> str:
    seed = config.getoption("--shuffle")
    shuffled = "" if seed is None else f", shuffled by --shuffle={seed}"
    return f"patience: deadlines are multiplied by {patience.factor():.1f} now{shuffled}"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from the tests that are being collected, and later from looking through all of them
    again and again: they live as long as the session."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    from tests.scheduling import GuestScheduling  # xdist is wanted only where it is used

    return GuestScheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests with a guest come first, because they take longest, and may take longer than others."""
    for item in items:
        guest = item.get_closest_marker("guest") is not None
        if guest != has_guest(item.nodeid):
            raise pytest.UsageError(
                f"{item.nodeid}: the marker `guest` and the file's name must say the same (tests/scheduling.py)"
            )
        if guest and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))
    seed = config.getoption("--shuffle")
    if seed is None:
        items.sort(key=lambda item: not has_guest(item.nodeid))
        return
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.nodeid.partition("::")[0], []).append(item)
    shuffled = list(modules.values())
    generator = random.Random(seed)
    for module in (shuffled, *shuffled):
        generator.shuffle(module)  # type: ignore[arg-type]
    items[:] = [item for module in shuffled for item in module]


def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """A test may take longer on a machine that is busy, but not longer than the whole run."""
    if settings.method != "thread":
        return None
    end = item.config.stash.get(pytest_timeout.SESSION_EXPIRE_KEY, 0)
    timer = PatientTimer(
        settings.timeout,
        lambda: pytest_timeout.timeout_timer(item, settings),
        end=time.monotonic() + max(_LAST, end - time.time()) if end else None,
    )
    item.cancel_timeout = timer.cancel  # type: ignore[attr-defined]
    timer.start()
    return True


@pytest.fixture(autouse=True)
def _load_is_told(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Each report says how busy the machine was, at the test's beginning or its end, whichever was more."""
    before = patience.factor()
    yield
    record_property("load", round(max(before, patience.factor()), 1))


class _Teller:
    """Says at once which tests failed and which were slow, so that a run that is cut off has said it too."""

    SLOW = 30.0
    LOAD = 1.5

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter
        self._spent: dict[str, float] = {}
        self._for_load: list[tuple[float, float, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        spent = self._spent[report.nodeid] = self._spent.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            said = str(report.longrepr).splitlines()[-20:]
            self._reporter.write_line(
                "\n".join([f"\n{report.nodeid}: {report.when} failed after {spent:.0f} s", *said])
            )
        elif report.when == "teardown" and spent > self.SLOW:
            load = float(str(dict(report.user_properties).get("load", 1.0)))
            self._reporter.write_line(f"\n{report.nodeid}: {spent:.0f} s (load factor {load})")
            if load > self.LOAD:
                self._for_load.append((spent, load, report.nodeid))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Slow tests of which the machine's other work is a part of the reason."""
        if self._for_load:
            terminalreporter.section(f"slow under load: over {self.SLOW:.0f} s with a load factor over {self.LOAD}")
            for spent, load, nodeid in sorted(self._for_load, reverse=True):
                terminalreporter.write_line(f"{spent:7.1f} s  load factor {load:3.1f}  {nodeid}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--shuffle") == "":
        config.option.shuffle = secrets.token_hex(4)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Teller(reporter))


@pytest.fixture(autouse=True)
def _events_follow_the_schema(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this process each record as it is written; of processes that a test starts, their files below tmp_path, which
    is made only for tests that have it, themselves or by another fixture."""
    folder: Path | None = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    problems: list[str] = []
    write = EventLog._write

    def checked(self: EventLog, record: Record) -> None:
        problems.extend(_problems(record))
        write(self, record)

    for level in ("debug", "info", "warning", "error"):
        monkeypatch.setattr(EventLog, level, checked)
    yield
    for run in _folders_with_events(folder) if folder else ():
        with RecordReader(run) as reader:
            while lines := reader.read():
                for line in lines:
                    problems.extend(f"{run}: {problem}" for problem in _problems(line.event()))
    assert not problems, problems[:5]


def _folders_with_events(top: Path) -> list[Path]:
    """Return the folders below `top` in which there are files of events."""
    return [
        Path(folder)
        for folder, _, names in os.walk(top)
        if any(name.startswith("events") and ".jsonl" in name for name in names)
    ]
