"""Which folders in `logs/` go, by age, size and number; never one that somebody is using."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from harness.errors import UsageError
from harness.events.lock import WriterLock, has_writer
from harness.events.segments import LIVE, scan
from harness.printing import typed_path
from harness.report.folder import OPERATED, UP, folders
from harness.ship.checkpoint import acknowledged

OPERATED_KEPT = 50
"""Folders of verbs that are no runs (`exec`, `up`, `why`, …) that stay; older ones are removed by the next one."""
_TAIL = 1 << 16
_REMOVING = ".removing-"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept: folders no older than `age` seconds, the newest `count`, the newest that have `size` bytes.
    None sets no bound. `keep_failures` keeps runs that failed or were killed, whatever the bounds are."""

    age: float | None = None
    size: int | None = None
    count: int | None = None
    keep_failures: bool = False

    @property
    def bounded(self) -> bool:
        return self.age is not None or self.size is not None or self.count is not None


@dataclass(frozen=True, slots=True)
class Kept:
    """One folder of `logs/`. `ended` is in seconds since the epoch, `size` in bytes. `failed`: a run that failed, was
    killed, or cannot be read. `busy` says why it must stay; empty where it may go. `run` is False for a verb that is no
    run."""

    path: Path
    ended: float
    size: int
    failed: bool
    busy: str = ""
    run: bool = True


def removable(found: Iterable[Kept], policy: Policy, now: float) -> list[Kept]:
    """Return the folders that go, oldest first. Pure."""
    kept: list[Kept] = sorted(found, key=lambda each: (each.ended, each.path.name), reverse=True)
    going: list[Kept] = []
    total = 0
    for place, each in enumerate(kept):
        over = (
            (policy.count is not None and place >= policy.count)
            or (policy.age is not None and now - each.ended > policy.age)
            or (policy.size is not None and total + each.size > policy.size)
        )
        stays = each.busy or (policy.keep_failures and each.failed and each.run)
        if over and not stays:
            going.append(each)
        else:
            total += each.size
    return going[::-1]


def look_at(logs: Path) -> list[Kept]:
    """Return what is known of each folder in `logs`. Raises UsageError where that cannot be read."""
    used = _machines(logs)
    found = [*folders(logs), *folders(logs / OPERATED)]
    return [each for path in found if (each := _look(path, used)) is not None]


def _look(path: Path, used: frozenset[Path]) -> Kept | None:
    """None where it goes away meanwhile."""
    try:
        first, last = _line(path, first=True), _line(path, first=False)
        code = last.get("harness.exit_code")
        ended = last.get("event.action") in ("run.end", "operate.end")
        size, newest = _size(path)
        busy = ""
        if has_writer(path):
            busy = "it is being written"
        elif path.resolve() in used:
            busy = "a machine of it is up"
        elif ended and (sent := acknowledged(path)) is not None and sent < _sequence(last):
            busy = f"its record is not shipped yet (harness ship {shlex.quote(typed_path(path))})"
        return Kept(path, newest, size, not ended or code != 0, busy, first.get("event.action") != "operate.start")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot look at {path}: {error.strerror}") from error


def is_operated(path: Path) -> bool:
    """Return whether a folder is of a verb that is no run."""
    try:
        return _line(path, first=True).get("event.action") == "operate.start"
    except OSError:
        return False


def remove(each: Kept) -> bool:
    """Remove a folder; False where somebody has begun to use it. Raises UsageError where it cannot be removed."""
    away = each.path.with_name(f"{_REMOVING}{each.path.name}")
    try:
        lock = WriterLock(each.path)
    except UsageError:
        return False
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"cannot remove {each.path}: {error.strerror}") from error
    try:
        # One step: nobody finds half a run, also where this is killed.
        os.rename(each.path, away)
        shutil.rmtree(away)
    except OSError as error:
        raise UsageError(f"cannot remove {each.path}: {error.strerror}") from error
    finally:
        lock.release()
    return True


def tidy(logs: Path) -> None:
    """Finish what a killed removal left, and point `latest` at the newest run that is there. Raises UsageError."""
    try:
        for place in (logs, logs / OPERATED):
            for left in place.glob(f"{_REMOVING}*"):
                shutil.rmtree(left, ignore_errors=True)
        latest = logs / "latest"
        if latest.is_symlink() and not latest.exists():
            runs = [path for path in folders(logs) if not is_operated(path)]
            latest.unlink()
            if runs:
                latest.symlink_to(runs[-1].name)
    except OSError as error:
        raise UsageError(f"cannot tidy {logs}: {error.strerror}") from error


def forget_operated(logs: Path, most: int = OPERATED_KEPT) -> None:
    """Remove the oldest folders of verbs that are no runs, beyond the newest `most`. What cannot be removed stays."""
    with contextlib.suppress(UsageError):
        # Earlier versions left them among the runs.
        mine = [*(path for path in folders(logs) if is_operated(path)), *folders(logs / OPERATED)]
        mine.sort(key=lambda path: path.name)
        used = _machines(logs)
        for path in mine[: max(0, len(mine) - most)]:
            found = _look(path, used)
            if found is not None and not found.busy and not _holds_more(path):
                remove(found)


def _holds_more(path: Path) -> bool:
    """Whether a folder has something besides its record: diagnostics, or what a console said."""
    consoles = path.glob("targets/*/console.log*")
    return any(path.glob("targets/*/collected")) or any(each.stat().st_size for each in consoles)


def _machines(logs: Path) -> frozenset[Path]:
    """The run folders with a machine that is up."""
    found: set[Path] = set()
    with contextlib.suppress(OSError):
        for link in (logs / UP).iterdir():
            found.update(link.resolve().parents)
    return frozenset(found)


def _line(path: Path, *, first: bool) -> dict[str, object]:
    """The first or the last event of a record; empty where there is none that can be read."""
    segments = scan(path).segments
    if not segments:
        return {}
    segment = segments[0 if first else -1]
    if segment.path.suffix == ".gz":
        import gzip

        try:
            with gzip.open(segment.path) as file:
                lines: Sequence[bytes] = [file.readline(_TAIL)]
        except (EOFError, gzip.BadGzipFile):
            return {}
        if not first:
            return {}
    else:
        with segment.path.open("rb") as file:
            if not first:
                file.seek(max(0, segment.path.stat().st_size - _TAIL))
            lines = file.read(_TAIL).splitlines()
    try:
        document = orjson.loads(lines[0 if first else -1])
    except (orjson.JSONDecodeError, IndexError):
        return {}
    return document if isinstance(document, dict) else {}


def _sequence(event: dict[str, object]) -> int:
    number = event.get("event.sequence")
    return number if isinstance(number, int) else 0


def _size(path: Path) -> tuple[int, float]:
    """The bytes on disk of all files in a folder, and the newest time of the record."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    live = path / LIVE
    return total, (live if live.exists() else path).stat().st_mtime
