"""A run's folder: `logs/<run id>/`, and `logs/latest` that points at the newest."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from harness.errors import UsageError
from harness.events.segments import LIVE, scan

RESULTS = "results.json"
UP = "up"
"""The folder in `logs/` with a link for each machine that is up."""
TRIALS = "trials.jsonl"
OPERATED = ".operate"
"""The folder in `logs/` with the records of verbs that are no runs (`exec`, `up`, `why`, …)."""
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run leaves what it saw. Files in it may hold what a console printed, so it is private (0700)."""

    run: str
    path: Path

    @property
    def events(self) -> Path:
        return self.path / LIVE

    def target(self, name: str) -> Path:
        """The folder of a target's own files."""
        folder = self.path / "targets" / folder_name(name)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def folder_name(name: str) -> str:
    """What a target's folder is called: one for each name, whatever characters it is made of."""
    safe = quote(name, safe=" ", errors="backslashreplace")
    if not safe.strip(". ") or safe != safe.strip() or len(safe) > _LONGEST_NAME:
        digest = hashlib.sha256(safe.encode()).hexdigest()[:12]
        safe = f"{safe.replace('.', '%2E')[:_LONGEST_NAME]}-{digest}"
    return safe


def create(logs: Path, now: float) -> RunFolder:
    """Make a new run's folder, and point `logs/latest` at it. `now` is in seconds since the epoch. Raises UsageError
    where it cannot be made."""
    folder = _made(logs, now)
    try:
        _point(logs / "latest", folder.run)
    except OSError as error:
        raise _not_made(folder.path, error) from error
    return folder


def create_operated(logs: Path, now: float, *, visible: bool = False) -> RunFolder:
    """Make the folder of a verb that is no run, apart from the runs; `visible` puts it beside these, for a verb whose
    purpose is the files in it. Raises UsageError where it cannot be made."""
    if visible:
        return _made(logs, now)
    try:
        (logs / OPERATED).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _not_made(logs / OPERATED, error) from error
    return _made(logs / OPERATED, now)


def _made(parent: Path, now: float) -> RunFolder:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    run = f"{stamp}-{secrets.token_hex(3)}"
    path = parent / run
    try:
        path.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise _not_made(path, error) from error
    return RunFolder(run, path)


def _not_made(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot make the run's folder {path}: {error.strerror}", hint="Name another one with --logs DIR."
    )


def find(logs: Path, run: str) -> Path:
    """The folder of a run that is there: its id, the beginning of one that no other has, `latest`, or a path to the
    folder or to a file in it. Raises UsageError."""
    try:
        return _find(logs, run)
    except OSError as error:
        raise UsageError(f"cannot look for the run {run[:100]!r}: {error.strerror}") from error


def _find(logs: Path, run: str) -> Path:
    path = Path(run)
    if os.sep in run or (path.exists() and not (run and is_run(logs / run))):
        folder = path if path.is_dir() else path.parent
        if path.exists() and is_run(folder):
            return folder
        raise UsageError(
            f"{run or path} holds no record" if path.exists() else f"there is no {run}",
            hint=f"Expected a run's folder, with {LIVE} in it.",
        )
    if is_run(logs / run):
        return (logs / run).resolve()
    runs = folders(logs)
    found = [folder.name for folder in runs]
    # The records of other verbs are found too, but a beginning of an id means a run where there is one.
    for among in (runs, folders(logs / OPERATED)):
        matching = [folder for folder in among if folder.name.startswith(run)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            names = [folder.name for folder in matching]
            raise UsageError(f"{len(names)} runs in {logs} begin with {run!r}", hint=f"They are: {_some(names)}")
    if not found:
        raise UsageError(
            f"there is no record of a run in {logs}", hint="Name a run's folder, or where they are with --logs DIR."
        )
    raise UsageError(f"there is no run {run!r} in {logs}", hint=f"There are: {_some(found)}")


_LARGEST_RESULTS = 64 << 20  # bytes


def last_failure(logs: Path, target: str) -> tuple[str, str]:
    """Return the newest run's id, and in a line why that run did not reach a target at all (its machine did not start,
    it panicked, no transport served); both empty where there is no such run, or it did reach the target."""
    import json

    file = logs / "latest" / RESULTS
    try:
        if file.stat().st_size > _LARGEST_RESULTS:
            return "", ""
        document = json.loads(file.read_bytes())
        for each in document["targets"]:
            reason = each.get("infrastructure") or each.get("error") or each.get("unreachable")
            if each["target"] == target and isinstance(reason, str):
                return str(document["run"]), reason.partition("\n")[0]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", ""  # a damaged file costs the caller this remark, and not its own message
    return "", ""


def folders(logs: Path) -> list[Path]:
    """The folders of all runs, oldest first (their ids begin with the time). Raises UsageError where `logs` cannot be
    read."""
    try:
        found = [path for path in logs.iterdir() if not path.is_symlink() and is_run(path)] if logs.exists() else []
    except OSError as error:
        raise UsageError(f"cannot read {logs}: {error.strerror}", hint="Name another one with --logs DIR.") from error
    return sorted(found, key=lambda path: path.name)


def is_run(folder: Path) -> bool:
    """Whether something lies there that a run left."""
    return bool(scan(folder).segments) or any((folder / name).exists() for name in (RESULTS, TRIALS))


def _some(names: list[str], most: int = 10) -> str:
    """The newest of them."""
    return ("… " if len(names) > most else "") + ", ".join(names[-most:])


def write_private(path: Path, text: str | Iterable[str], *, sync: bool = True) -> None:
    """Write a whole file or none, readable by its owner only; `text` may come in pieces. `sync` says whether it is on
    the disk then."""
    # In a folder that others may write to, nothing of theirs is followed or written over.
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines((text,) if isinstance(text, str) else text)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _point(link: Path, run: str) -> None:
    """Swaps the link in one step, so that it never points nowhere, with two runs at once too."""
    temporary = link.with_name(f".latest.{os.getpid()}.{secrets.token_hex(3)}")
    temporary.symlink_to(run)
    temporary.replace(link)
