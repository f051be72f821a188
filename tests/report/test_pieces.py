"""Results and reports are written in pieces: memory does not grow with the number of targets."""

from __future__ import annotations

import json
import tracemalloc
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from harness.engine.outcome import CheckResult, Outcome, RunResult, TargetResult
from harness.report import ctrf, document, html
from harness.report.folder import RunFolder
from harness.report.json_pieces import json_pieces
from harness.report.junit_cases import case_pieces
from harness.report.read import Run
from harness.report.write import results_json, results_pieces, write_reports
from harness.soak.figures import Demand
from harness.soak.summary import Summary, summarise
from harness.soak.trial import Trial, TrialOutcome


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


def a_soak(targets: int) -> tuple[Run, Summary]:
    """Return a run of two iterations of two checks, one of which fails on each target in words of its own."""
    names = [f"t{number}" for number in range(targets)]
    trials = tuple(
        Trial(number, name, "m", check, outcome, 1e9, 1.0, message=f"{name} said {'m' * 500}", signature=name)
        for name in names
        for number in (1, 2)
        for check, outcome in (("good", TrialOutcome.PASSED), ("bad", TrialOutcome.FAILED))
    )
    counts = dict.fromkeys(names, 2)
    run = Run("r", Path("r"), 1e9, 2.0, trials, counts, dict.fromkeys(names, 2.0))
    return run, summarise(trials, run.exposure, counts, Demand())


def test_each_piece_of_a_report_is_small_however_many_targets_there_are() -> None:
    def largest(targets: int) -> dict[str, int]:
        run, summary = a_soak(targets)
        made = {
            "junit": case_pieces(run),
            "ctrf": ctrf.pieces(run, summary, 1e9),
            "json": document.report_pieces(run, summary),
        }
        return {name: max(map(len, pieces)) for name, pieces in made.items()}

    few, many = largest(3), largest(60)
    assert all(many[name] < 1.2 * few[name] for name in few), (few, many)


def test_a_page_comes_in_pieces() -> None:
    pieces = list(html.report_pieces(*a_soak(30)))
    assert len(pieces) > 10
    assert max(map(len, pieces)) < 0.7 * sum(map(len, pieces))


def test_iterators_in_a_document_are_arrays() -> None:
    made: dict[str, object] = {
        "none": iter(()), "two": iter([{"a": [1, "x\ny"]}, 2]), "in": {"deep": iter("ab"), "not": {}}, "list": [],
    }  # fmt: skip
    text = "".join(json_pieces(made))
    assert json.loads(text) == {
        "none": [], "two": [{"a": [1, "x\ny"]}, 2], "in": {"deep": ["a", "b"], "not": {}}, "list": [],
    }  # fmt: skip
    assert text == json.dumps(json.loads(text), indent=2) + "\n"
    assert "".join(json_pieces({})) == "{}\n"
