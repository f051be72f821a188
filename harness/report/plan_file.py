"""`plan.jsonl` in a run's folder: a line for each target with its groups and checks, written before the first event."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from harness.errors import UsageError
from harness.events.reader import DamagedRecord, RecordReader
from harness.events.record import plain

NAME = "plan.jsonl"


def write_plan(folder: Path, targets: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Write a line for each target, and return what `run.start` has of it: the counts, and the file's name and SHA-256.

    A resumed run writes it anew. Raises UsageError where it cannot be written."""
    digest = hashlib.sha256()
    count = checks = 0
    temporary = folder / f".{NAME}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb", buffering=1 << 16) as file:
            for target in targets:
                line = orjson.dumps(plain(target), option=orjson.OPT_APPEND_NEWLINE)
                file.write(line)
                digest.update(line)
                count += 1
                checks += len(target["checks"])
        temporary.replace(folder / NAME)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {folder / NAME}: {error.strerror}") from error
    return {"targets": count, "checks": checks, "file": NAME, "sha256": digest.hexdigest()}


def read_plan(folder: Path) -> list[dict[str, Any]]:
    """Return the targets of a run's plan with their names and groups, of records of earlier versions too; an empty list
    where there is none. What has a wrong type is left out."""
    found = []
    for each in _documents(folder):
        target, groups = (each.get("target"), each.get("groups")) if isinstance(each, dict) else (None, None)
        if isinstance(target, str):
            groups = groups if isinstance(groups, list) else []
            found.append({**each, "target": target, "groups": [name for name in groups if isinstance(name, str)]})
    return found


def _documents(folder: Path) -> Iterator[Any]:
    try:
        with (folder / NAME).open("rb") as file:
            for line in file:
                try:
                    yield orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
        return
    except OSError:
        pass
    try:
        with RecordReader(folder) as reader:
            first = next(iter(reader.read(1)), None)
        plan = first.event().get("harness.plan") if first and first.sequence == 1 else None
    except DamagedRecord:
        return
    targets = plan.get("targets") if isinstance(plan, dict) else None
    yield from targets if isinstance(targets, list) else ()
