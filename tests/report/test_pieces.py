"""Results and reports are written in pieces: memory does not grow with the number of targets."""

from __future__ import annotations

import json
import tracemalloc
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from harness.engine.outcome import CheckResult, Outcome, RunResult, TargetResult
from harness.report.folder import RunFolder
from harness.report.write import results_json, results_pieces, write_reports


def result(targets: int) -> RunResult:
    def check(name: str) -> CheckResult:
        return CheckResult(name, "c", "m", "m.py::c", Outcome.FAILED, "no\nnot at all", 1e9, 1.0, 1, output="o" * 2000)

    return RunResult("r", 1e9, 1.0, tuple(TargetResult(f"t{n}", (check(f"t{n}"),)) for n in range(targets)))


def test_the_pieces_are_one_document(tmp_path: Path) -> None:
    for count in (0, 1, 3):
        document = json.loads(results_json(result(count)))
        assert [target["target"] for target in document["targets"]] == [f"t{n}" for n in range(count)]
        assert (document["run"], document["counts"]["failed"]) == ("r", count)
        write_reports(result(count), RunFolder("r", tmp_path))
        assert json.loads((tmp_path / "results.json").read_text()) == document
        assert len(ET.parse(tmp_path / "junit.xml").getroot().findall("testsuite")) == count


def test_a_piece_is_no_larger_for_more_targets() -> None:
    def largest(pieces: Iterator[str]) -> int:
        return max(map(len, pieces))

    assert largest(results_pieces(result(500))) < 1.1 * largest(results_pieces(result(5)))


def test_memory_does_not_grow_with_the_targets(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        made = result(count)
        tracemalloc.start()
        write_reports(made, RunFolder("r", tmp_path))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2)
    assert peak(800) < 2 * peak(80)
