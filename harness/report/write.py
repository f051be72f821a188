"""Writes a run's reports into its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import orjson

from harness.engine.outcome import RunResult, plain
from harness.errors import HarnessError
from harness.events.patience import NO_PATIENCE, DiskPatience
from harness.events.record import plain as plain_json
from harness.report.folder import RunFolder, write_private
from harness.report.junit import pieces


class ReportError(HarnessError):
    """A report cannot be written; the record is what is left."""


def write_reports(result: RunResult, folder: RunFolder, *, patience: DiskPatience = NO_PATIENCE) -> ReportError | None:
    """Write `results.json` and `junit.xml`, each whole or absent, the one also where the other cannot be written;
    return the first error."""
    trouble: ReportError | None = None
    for name, made in (("results.json", results_pieces), ("junit.xml", pieces)):
        try:
            # Made anew for each try.
            write = partial(_write, folder.path / name, result, made)
            patience.write(write, str(folder.path / name))
        except OSError as error:
            trouble = trouble or ReportError(
                f"cannot write {folder.path / name}: {error.strerror}",
                hint=f"What was recorded before is intact: {folder.events}",
            )
    return trouble


def _write(path: Path, result: RunResult, made: Callable[[RunResult], Iterator[str]]) -> None:
    write_private(path, made(result))


def results_json(result: RunResult) -> str:
    """The whole result as one JSON document."""
    return "".join(results_pieces(result))


def results_pieces(result: RunResult) -> Iterator[str]:
    """Yield the same in pieces: one target at a time is in memory as text."""
    document = plain(result)
    targets = document.pop("targets")
    yield '{\n  "targets": ['
    for place, target in enumerate(targets):
        text = orjson.dumps(plain_json(target), option=orjson.OPT_INDENT_2).decode()
        yield f"{',' if place else ''}\n    " + text.replace("\n", "\n    ")
    yield "\n  ],\n" if targets else "],\n"
    yield orjson.dumps(plain_json(document), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()[2:]
