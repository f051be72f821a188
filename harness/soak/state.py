"""What a soak needs to be gone on with, and what others may see of it: two small files in the run's folder.

`soak.json` is written when it begins: what was typed, and where. `status.json` is written anew after each iteration,
whole or not at all; it is for those who watch, and nothing is decided by it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.events.patience import NO_PATIENCE, DiskPatience
from harness.events.record import plain
from harness.report.folder import write_private
from harness.soak.ending import Ending
from harness.soak.soak import Soak

NAME, STATUS = "soak.json", "status.json"
SCHEMA = "harness.soak/1"


class StateError(HarnessError):
    """What a soak has come to cannot be written for others to see."""


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


def write_status(folder: Path, document: dict[str, Any], *, patience: DiskPatience = NO_PATIENCE) -> None:
    """Writes `status.json`. Raises StateError."""
    text = json.dumps(plain({**document, "written": time.time()}), indent=1)
    try:
        patience.write(partial(write_private, folder / STATUS, text + "\n"), str(folder / STATUS))
    except OSError as error:
        raise StateError(
            f"cannot write {folder / STATUS}: {error.strerror}",
            hint="The iterations before are intact. Free some space (or check the folder) and resume.",
        ) from error


def read_status(folder: Path) -> dict[str, Any] | None:
    """What `status.json` tells; None where there is none yet. Raises UsageError where it cannot be read."""
    try:
        document = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / STATUS} cannot be read: {error}") from None
    return document if isinstance(document, dict) else None


def document_of(soak: Soak, ending: Ending, run: str, *, exit_code: int | None = None) -> dict[str, Any]:
    """What a soak has come to, in JSON's own types; with an exit code once it has ended."""
    return {
        "schema": SCHEMA,
        "run": run,
        "seconds": soak.seconds,
        "ending": {"iterations": ending.iterations, "seconds": ending.seconds, "failures": ending.failures},
        "exit_code": exit_code,
        "targets": soak.tally.plain(),
    }
