"""What a soak needs to be gone on with, and what others may see of it: two small files in the run's folder.

`soak.json` is written when it begins: what was typed, and where. `status.json` is written anew while the soak runs,
whole or not at all; it is for those who watch, and nothing is decided by it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from harness.errors import HarnessError, UsageError
from harness.events.patience import NO_PATIENCE, DiskPatience
from harness.events.record import plain
from harness.report.folder import write_private
from harness.soak.ending import Ending
from harness.soak.soak import Soak
from harness.soak.tally import Tally
from harness.soak.trials import stream_trials

NAME, STATUS = "soak.json", "status.json"
SCHEMA = "harness.soak/1"
STATUS_INTERVAL = 1.0
"""Seconds between two times that `status.json` is written."""
STATUS_SHARE = 50
"""And that many times as long as writing it took."""


class StateError(HarnessError):
    """The status of a soak cannot be written."""


@dataclass(frozen=True, slots=True)
class Begun:
    """How a soak was begun: what was typed behind `harness`, in which folder."""

    argv: tuple[str, ...]
    cwd: str
    version: str


def write_begun(folder: Path, begun: Begun) -> None:
    """Writes `soak.json`. What was typed may hold secrets, so only its owner reads it."""
    document = {"schema": SCHEMA, "argv": begun.argv, "cwd": begun.cwd, "version": begun.version}
    write_private(folder / NAME, json.dumps(document, indent=2) + "\n")


def read_begun(folder: Path) -> Begun:
    """How the soak of a run's folder was begun. Raises UsageError where it is none."""
    try:
        document = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return Begun(tuple(map(str, document["argv"])), str(document["cwd"]), str(document["version"]))
    except FileNotFoundError:
        raise UsageError(f"{folder} is no soak's folder: it has no {NAME}", hint="Look at logs/ for others.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / NAME} cannot be read: {error}") from None


def write_status(
    folder: Path, document: dict[str, Any], *, sync: bool = True, patience: DiskPatience = NO_PATIENCE
) -> None:
    """Write `status.json`. Raises StateError."""
    text = orjson.dumps(plain({**document, "written": time.time()}), option=orjson.OPT_INDENT_2).decode()
    try:
        patience.write(partial(write_private, folder / STATUS, text + "\n", sync=sync), str(folder / STATUS))
    except OSError as error:
        raise StateError(
            f"cannot write {folder / STATUS}: {error.strerror}",
            hint="The iterations before are intact. Free some space (or check the folder) and resume.",
        ) from error


class StatusWriter:
    """Keeps `status.json` up to date at a cost that does not grow with the number of iterations: it is written at most
    once a second, and so seldom that writing takes no more than a fiftieth of the time."""

    def __init__(
        self,
        folder: Path,
        document: Callable[[], dict[str, Any]],
        on_failure: Callable[[StateError], None],
        *,
        patience: DiskPatience = NO_PATIENCE,
    ) -> None:
        """`document` gives what is to be written. `on_failure` is called where it cannot be written."""
        self._patience = patience
        self._folder = folder
        self._document = document
        self._on_failure = on_failure
        self._next = 0.0
        self._scheduled: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """Write it now or, where that was done a moment ago, later. Call it in the event loop's thread."""
        left = self._next - time.monotonic()
        if left <= 0:
            self.write()
        elif self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_later(left, self.write)

    def write(self) -> None:
        """Write it now."""
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        began = time.monotonic()
        try:
            write_status(self._folder, self._document(), sync=False, patience=self._patience)
        except StateError as error:
            self._on_failure(error)
        ended = time.monotonic()
        self._next = ended + max(STATUS_INTERVAL, STATUS_SHARE * (ended - began))


def read_status(folder: Path) -> dict[str, Any] | None:
    """What `status.json` tells; None where there is none yet. Raises UsageError where it cannot be read."""
    try:
        document = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / STATUS} cannot be read: {error}") from None
    return document if isinstance(document, dict) else None


def tally_of_trials(folder: Path) -> Tally:
    """Return the counts of all finished iterations in `trials.jsonl`. Raises TrialsError."""
    tally = Tally()
    for each in stream_trials(folder):
        tally.add(each.target, ((trial, bool(trial.known)) for trial in each.trials), each.marks)
    return tally


def document_of(soak: Soak, ending: Ending, run: str, *, exit_code: int | None = None) -> dict[str, Any]:
    """Return the status of a soak as JSON types; with an exit code once it has ended."""
    return {
        "schema": SCHEMA,
        "run": run,
        "seconds": soak.seconds,
        "ending": {"iterations": ending.iterations, "seconds": ending.seconds, "failures": ending.failures},
        "exit_code": exit_code,
        "targets": soak.tally.plain(),
    }
