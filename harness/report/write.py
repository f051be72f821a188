"""Writes a run's reports into its folder."""

from __future__ import annotations

from functools import partial

import orjson

from harness.engine.outcome import RunResult, plain
from harness.errors import HarnessError
from harness.events.patience import NO_PATIENCE, DiskPatience
from harness.events.record import plain as plain_json
from harness.report.folder import RunFolder, write_private
from harness.report.junit import render


class ReportError(HarnessError):
    """A report cannot be written; the record is what is left."""


def write_reports(result: RunResult, folder: RunFolder, *, patience: DiskPatience = NO_PATIENCE) -> ReportError | None:
    """Write `results.json` and `junit.xml`, each whole or absent, the one also where the other cannot be written;
    return the first error."""
    trouble: ReportError | None = None
    for name, text in (("results.json", results_json(result)), ("junit.xml", render(result))):
        try:
            patience.write(partial(write_private, folder.path / name, text), str(folder.path / name))
        except OSError as error:
            trouble = trouble or ReportError(
                f"cannot write {folder.path / name}: {error.strerror}",
                hint=f"What was recorded before is intact: {folder.events}",
            )
    return trouble


def results_json(result: RunResult) -> str:
    """The whole result as one JSON document."""
    return orjson.dumps(plain_json(plain(result)), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
