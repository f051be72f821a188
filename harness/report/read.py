"""Reads what a run recorded: a soak, a run, and one that was killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from harness.api.check import WHOLE_TARGET
from harness.engine.outcome import GOOD, CheckResult, Observation, Outcome, diagnosis_lines
from harness.errors import UsageError
from harness.events import Record
from harness.events.reader import DamagedRecord, RecordReader, State
from harness.events.typed import typed
from harness.report.folder import RESULTS, TRIALS
from harness.report.soak_run import read_soak
from harness.soak.stored import TrialIndex
from harness.soak.tally import CLOCK
from harness.soak.trial import Settling, Trial, TrialOutcome, from_document, plausible, to_line, trial
from harness.soak.trials import Mark

_TOLD_AS_MARKS = {
    "link.fallback": "fallback", "link.recovered": "recovered", "finding": "finding", "fault.start": "fault",
    "target.unreachable": "unreachable", "boot.failed": "boot", "clock.stepped": "clock", "clock.drifted": "clock",
    "clock.suspended": "clock",
}  # fmt: skip
_NANOSECONDS = 1_000_000_000
_NAMED = 10


@dataclass(frozen=True, slots=True)
class TargetStory:
    """What is known of a target besides its trials. `stages` are the boot's with their seconds since power-on."""

    name: str
    settled: str = ""
    unreachable: str = ""
    stages: tuple[tuple[str, float], ...] = ()
    console_log: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its folder tells it. Times are in seconds, `started` since the epoch.

    `trials` are those of finished iterations (of a soak, they and the marks are read from their file when they are
    asked for); `unfinished` how many stand there of unfinished ones, and are not
    counted. `iterations` and `exposure` tell for each target how many were finished and how long they took together.
    `ended` is false while it goes on, or where it was killed. `notes` say what a reader should know of the data.
    """

    run: str
    folder: Path
    started: float
    duration: float
    trials: Sequence[Trial]
    iterations: dict[str, int]
    exposure: dict[str, float]
    unfinished: int = 0
    marks: Sequence[Mark] = ()
    stories: tuple[TargetStory, ...] = ()
    command: str = ""
    ended: bool = True
    notes: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.iterations, *TrialIndex.of(self.trials).targets]))

    @property
    def is_soak(self) -> bool:
        return max(self.iterations.values(), default=0) > 1


def read_run(folder: Path, *, marks: bool = True) -> Run:
    """All that a run's folder tells; without `marks` less of its record is read. Raises UsageError where nothing in it
    can be read."""
    try:
        if (folder / TRIALS).exists():
            return _of_trials(folder)
        if (folder / RESULTS).exists():
            return _of_results(folder, marks)
        return _of_events(folder, "It left no results: it was killed, or is still going on. This is what was recorded.")
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error


# -- a soak ------------------------------------------------------------------------------------------------------------


def _of_trials(folder: Path) -> Run:
    record = _record(folder, marks=False)
    read = read_soak(folder)
    notes = [*record.notes, *(f"{when(at)}: {text}" for at, text in read.clock), *read.notes]
    started = record.started or read.started
    return Run(
        run=record.run or folder.name,
        folder=folder,
        started=started,
        duration=max(read.last, started) - started if read.spent is None else read.spent,
        trials=read.trials,
        iterations=read.iterations,
        exposure=read.exposure,
        unfinished=read.unfinished,
        marks=read.marks,
        command=record.command,
        ended=record.ended,
        notes=tuple(notes),
    )


# -- a run -------------------------------------------------------------------------------------------------------------


def _of_results(folder: Path, marks: bool) -> Run:
    path = folder / RESULTS
    try:
        document = orjson.loads(path.read_bytes())
        targets = document["targets"]
        run, started, duration = str(document["run"]), plausible(document["started"]), plausible(document["duration"])
        # There and back as a line: what has the wrong type is found here, and not in the middle of a report.
        lines = (to_line(_with_target(each, target)) for target in targets for each in target["checks"])
        trials = tuple(from_document(orjson.loads(line)) for line in lines)
        stories = tuple(_story(target) for target in targets)
        lasted = {str(target["target"]): plausible(target.get("duration") or duration) for target in targets}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path} is no results of harness: {error}", hint="Is it a run's own file?") from error
    record = _record(folder, marks=marks)
    notes = [*record.notes]
    if document.get("interrupted"):
        notes.append("The run was interrupted.")
    return Run(
        run=run,
        folder=folder,
        started=started,
        duration=duration,
        trials=trials,
        iterations=dict.fromkeys(lasted, 1),
        exposure=lasted,
        marks=record.marks,
        stories=stories,
        command=record.command,
        notes=tuple(notes),
    )


_CHECK_FIELDS = {each.name for each in fields(CheckResult)}


def _with_target(document: Mapping[str, Any], target: Mapping[str, Any]) -> Trial:
    check = _check(document)
    return trial(check, collected=str(target.get("collected", "")) if check.outcome not in GOOD else "")


def _check(document: Mapping[str, Any]) -> CheckResult:
    """A check's result as `results.json` tells it; fields of later versions are left out."""
    values = {name: value for name, value in document.items() if name in _CHECK_FIELDS}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    values["outcome"] = Outcome(document["outcome"])
    values |= {name: plausible(document[name]) for name in ("started", "duration")}
    values["observations"] = tuple(
        Observation(each["attempt"], each["at"], Outcome(each["outcome"]), each["seen"])
        for each in document.get("observations", ())
    )
    return CheckResult(**values)


def _story(document: Mapping[str, Any]) -> TargetStory:
    return TargetStory(
        name=str(document["target"]),
        settled=str(document.get("settled", "")),
        unreachable=str(
            document.get("unreachable", "") or document.get("error", "") or document.get("infrastructure", "")
        ),
        stages=tuple((str(name), plausible(at)) for name, at in document.get("stages", ())),
        console_log=str(document.get("console_log", "")),
    )


# -- the record --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Told:
    """What the record tells of a run."""

    run: str = ""
    started: float = 0.0
    last: float = 0.0
    shifted: float = 0.0
    """Seconds by which the wall clock was moved, or the machine suspended, as far as the record says."""
    command: str = ""
    ended: bool = True
    checks: list[Trial] = field(default_factory=list)
    warnings: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    """Of checks that have not ended yet, by target, suite and check."""
    marks: tuple[Mark, ...] = ()
    notes: list[str] = field(default_factory=list)


def _record(folder: Path, *, marks: bool = True) -> _Told:
    """Reads the record: its beginning only, where neither marks nor checks are wanted."""
    told = _Told()
    found: list[Mark] = []
    unreadable = 0
    with RecordReader(folder) as reader:
        while lines := reader.read(1 << 20 if marks else 1 << 14):
            for line in lines:
                # Only what is wanted is parsed: most of a record is console lines and commands.
                if not any(word in line.raw for word in _WANTED):
                    continue
                try:
                    _take(told, typed(line.event(), line.sequence), found)
                except (ValueError, KeyError, TypeError, AttributeError, OverflowError, DamagedRecord):
                    unreadable += 1
                    if unreadable <= _NAMED:
                        told.notes.append(f"event {line.sequence} of the record cannot be read and is left out")
            if not marks:
                told.ended = _has_ended(folder)
                return told
        told.ended = reader.state is State.ENDED
    if unreadable > _NAMED:
        told.notes.append(f"{unreadable - _NAMED} more events cannot be read and are left out")
    told.marks = tuple(found)
    return told


_WANTED = tuple(
    f'"event.action":"{action}"'.encode()
    for action in ("run.start", "check.warning", "check.end", "run.end", *_TOLD_AS_MARKS)
)


def _has_ended(folder: Path) -> bool:
    """Whether the last line of the record is its end, without reading all of it."""
    live = folder / "events.jsonl"
    if not live.exists():
        return False
    with live.open("rb") as file:
        file.seek(max(0, live.stat().st_size - (1 << 16)))
        lines = file.read().splitlines()
    return bool(lines) and b'"event.action":"run.end"' in lines[-1]


def _take(told: _Told, event: Record, marks: list[Mark]) -> None:
    action, at = event["event.action"], plausible(datetime.fromisoformat(event["@timestamp"]).timestamp())
    told.last = at
    if action == "run.start" and not told.run:
        import shlex

        told.run, told.started = event.get("cicd.pipeline.run.id", ""), at
        argv = [str(word) for word in event.get("harness.argv", [])]
        told.command = shlex.join(["harness", *argv[1:]]) if argv else ""
    elif action == "check.end" and event.get("test.suite.name") != WHOLE_TARGET:
        told.checks.append(replace(_trial_of(event, at), warnings=tuple(told.warnings.pop(_check_of(event), ()))))
    elif action == "check.warning":
        told.warnings.setdefault(_check_of(event), []).append(str(event["harness.text"]))
    elif action in _TOLD_AS_MARKS:
        if _TOLD_AS_MARKS[action] == CLOCK:
            slept = action == "clock.suspended"
            moved = event["event.duration"] / _NANOSECONDS if slept else event["harness.offset"]
            told.shifted += plausible(moved)
            told.notes.append(f"{when(at)}: {event['message']}")
        name = event.get("harness.finding") or event.get("harness.to_transport") or event.get("harness.fault") or ""
        first = event["message"].partition("\n")[0]
        marks.append(Mark(1, event.get("host.name", ""), _TOLD_AS_MARKS[action], str(name), at, text=first))


def _check_of(event: Record) -> tuple[str, str, str]:
    return event["host.name"], event["test.suite.name"], event["test.case.name"]


def _trial_of(event: Record, at: float) -> Trial:
    duration = event["event.duration"] / _NANOSECONDS
    outcome = TrialOutcome(event["harness.outcome"])
    label = f"{event['test.suite.name']}::{event['test.case.name']} {outcome.value}"
    settled = outcome is TrialOutcome.PASSED
    delays = {cause: milliseconds / 1000 for cause, milliseconds in event.get("harness.delays", {}).items()}
    return Trial(
        iteration=1,
        target=event["host.name"],
        suite=event["test.suite.name"],
        check=event["test.case.name"],
        outcome=outcome,
        started=at - duration - sum(delays.values()),
        duration=duration,
        check_id=event.get("harness.check_id", ""),
        transports=tuple(event.get("harness.transports", ())),
        flaky=bool(event.get("harness.flaky")),
        attempts=event["harness.attempts"],
        seconds=duration if settled else None,
        settling=Settling.SETTLED if settled else Settling.UNKNOWN,
        fallbacks=int(event.get("harness.fallbacks", 0)),
        re_reads=int(event.get("harness.re_reads", 0)),
        message=event["message"].removeprefix(label).removeprefix(": "),
        location=event.get("harness.location", ""),
        delays=delays,
        diagnosis=diagnosis_lines(event.get("harness.diagnosis")),
    )


def _of_events(folder: Path, note: str) -> Run:
    told = _record(folder)
    if not told.started:
        raise UsageError(
            f"{folder} holds no run: its record has no run.start", hint="Was it killed before it began, or moved?"
        )
    seconds = max(0.0, told.last - told.started - told.shifted)
    targets = list(dict.fromkeys(each.target for each in told.checks))
    return Run(
        run=told.run,
        folder=folder,
        started=told.started,
        duration=seconds,
        trials=tuple(told.checks),
        iterations=dict.fromkeys(targets, 1),
        exposure=dict.fromkeys(targets, seconds),
        marks=told.marks,
        command=told.command,
        ended=False,
        notes=(note, *told.notes),
    )


def when(seconds: float) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
