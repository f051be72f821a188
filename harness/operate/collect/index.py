"""What a collected folder holds, as its `index.json` says: one entry for each command, had or not, and why.

Every value is described by `index.schema.json` beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.operate.questions import Kind, Question

SCHEMA = "harness.collected/1"
NAME = "index.json"
SUMMARY = "summary.md"


class State(StrEnum):
    """What became of a command."""

    HAD = "had"
    """It ended, with whatever exit status."""
    PARTIAL = "partial"
    """It did not end in its time; what it had said until then is there."""
    NOT_HAD = "not_had"
    """There is no answer."""
    LEFT_OUT = "left_out"
    """It does not apply to this target, and was not asked."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Standard output or standard error: a file in the folder and its size in bytes. `cut`: there was more of it."""

    file: str
    size: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. `why` says what is amiss where it was not simply had. `started` is in seconds since the epoch,
    `duration` in seconds. `question` is set where it is one that an explanation asks."""

    name: str
    about: str
    command: str
    state: State
    why: str = ""
    exit_status: int | None = None
    transport: str = ""
    fell_back_from: tuple[str, ...] = ()
    started: float = 0.0
    duration: float = 0.0
    stdout: Stream | None = None
    stderr: Stream | None = None
    question: Question | None = None

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Its files."""
        return tuple(stream for stream in (self.stdout, self.stderr) if stream is not None)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long it may take and how much it may bring: seconds and bytes, of the whole, and of one command."""

    seconds: float = 120.0
    command_seconds: float = 20.0
    total_bytes: int = 8 << 20
    file_bytes: int = 256 << 10


@dataclass(frozen=True, slots=True)
class Index:
    """One target's collection. `ended_early` says what ended it before all was asked; `standing` and `sentence` where
    the target stood (empty: not known), `expected_failed_units` what may fail of it. `because` is what it was collected
    for."""

    target: str
    recipe: str
    harness: str
    started: float
    bounds: Bounds
    duration: float = 0.0
    because: str = ""
    ended_early: str = ""
    standing: str = ""
    sentence: str = ""
    sentences: tuple[str, ...] = ()
    expected_failed_units: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()

    def of(self, *states: State) -> tuple[Entry, ...]:
        """The entries in these states."""
        return tuple(entry for entry in self.entries if entry.state in states)

    @property
    def complete(self) -> bool:
        """No command that was to be asked is without an answer."""
        return not self.of(State.NOT_HAD)

    @property
    def reached(self) -> bool:
        """The target answered at all."""
        return bool(self.of(State.HAD, State.PARTIAL))

    @property
    def transports(self) -> tuple[str, ...]:
        """Those that served, in the order in which they first did."""
        return tuple(dict.fromkeys(entry.transport for entry in self.entries if entry.transport))

    @property
    def files(self) -> int:
        """How many files with answers there are."""
        return sum(len(entry.streams) for entry in self.entries)

    @property
    def size(self) -> int:
        """Their bytes."""
        return sum(stream.size for entry in self.entries for stream in entry.streams)

    def with_entry(self, entry: Entry) -> Index:
        """The same and one entry more."""
        return replace(self, entries=(*self.entries, entry))


# -- as JSON --------------------------------------------------------------------------------------------------------


def plain(index: Index) -> dict[str, Any]:
    """The document that `index.json` holds."""
    bounds = index.bounds
    return {
        "schema": SCHEMA,
        "harness": index.harness,
        "target": index.target,
        "recipe": index.recipe,
        "because": index.because,
        "started": index.started,
        "duration": index.duration,
        "complete": index.complete,
        "ended_early": index.ended_early,
        "standing": index.standing,
        "sentence": index.sentence,
        "sentences": list(index.sentences),
        "expected_failed_units": list(index.expected_failed_units),
        "bounds": {
            "seconds": bounds.seconds,
            "command_seconds": bounds.command_seconds,
            "total_bytes": bounds.total_bytes,
            "file_bytes": bounds.file_bytes,
        },
        "entries": [_plain_entry(entry) for entry in index.entries],
    }


def _plain_entry(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "about": entry.about,
        "command": entry.command,
        "state": entry.state.value,
        "why": entry.why,
        "exit_status": entry.exit_status,
        "transport": entry.transport,
        "fell_back_from": list(entry.fell_back_from),
        "started": entry.started,
        "duration": entry.duration,
        "stdout": _plain_stream(entry.stdout),
        "stderr": _plain_stream(entry.stderr),
        "question": {"kind": entry.question.kind.value, "name": entry.question.name} if entry.question else None,
    }


def _plain_stream(stream: Stream | None) -> dict[str, Any] | None:
    return {"file": stream.file, "bytes": stream.size, "cut": stream.cut} if stream is not None else None


def read_index(folder: Path) -> Index:
    """The index of a collected folder. Raises UsageError where there is none, or it is none of ours."""
    path = folder / NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise UsageError(
                f"{path} is of the schema {document['schema']!r}, and this version reads {SCHEMA!r}",
                hint="Read it with the version of harness that it names.",
            )
        return _index(document)
    except OSError as error:
        hint = "Is it a folder of `harness collect`?"
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=hint) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is no index of `harness collect`: {type(error).__name__}: {error}", hint="Collect anew."
        ) from None


def _index(document: Mapping[str, Any]) -> Index:
    return Index(
        target=str(document["target"]),
        recipe=str(document["recipe"]),
        harness=str(document["harness"]),
        started=float(document["started"]),
        bounds=Bounds(**document["bounds"]),
        duration=float(document["duration"]),
        because=str(document["because"]),
        ended_early=str(document["ended_early"]),
        standing=str(document["standing"]),
        sentence=str(document["sentence"]),
        sentences=_texts(document["sentences"]),
        expected_failed_units=_texts(document["expected_failed_units"]),
        entries=tuple(_entry(each) for each in document["entries"]),
    )


def _entry(document: Mapping[str, Any]) -> Entry:
    question = document["question"]
    return Entry(
        name=str(document["name"]),
        about=str(document["about"]),
        command=str(document["command"]),
        state=State(document["state"]),
        why=str(document["why"]),
        exit_status=document["exit_status"],
        transport=str(document["transport"]),
        fell_back_from=_texts(document["fell_back_from"]),
        started=float(document["started"]),
        duration=float(document["duration"]),
        stdout=_stream(document["stdout"]),
        stderr=_stream(document["stderr"]),
        question=Question(Kind(question["kind"]), str(question["name"])) if question else None,
    )


def _stream(document: Mapping[str, Any] | None) -> Stream | None:
    if document is None:
        return None
    file = str(document["file"])
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise ValueError(f"{file!r} leads out of the folder")
    return Stream(file, int(document["bytes"]), bool(document["cut"]))


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
