"""Writes a run's reports into its folder."""

from __future__ import annotations

import orjson

from harness.engine.outcome import RunResult, plain
from harness.report.folder import RunFolder, write_private
from harness.report.junit import render


def write_reports(result: RunResult, folder: RunFolder) -> None:
    """`results.json` and `junit.xml`, each whole or absent."""
    write_private(folder.path / "results.json", results_json(result))
    write_private(folder.path / "junit.xml", render(result))


def results_json(result: RunResult) -> str:
    """The whole result as one JSON document."""
    return orjson.dumps(plain(result), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
