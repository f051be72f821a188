"""A soak's trials stay in their file: what reports keep of them is small, and what they read is what stands there."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import orjson
import pytest

from harness.errors import UsageError
from harness.report import document
from harness.report.junit_cases import case_pieces
from harness.report.read import Run, read_run
from harness.soak.figures import Demand
from harness.soak.stored import LinesAt, MarkIndex, TrialIndex
from harness.soak.summary import Summary, summarise
from harness.soak.trial import Trial, TrialOutcome
from harness.soak.trials import NAME, Mark, TrialsFile, read_trials


def of(run: Run) -> Summary:
    return summarise(run.trials, run.exposure, run.iterations, Demand())


def a_soak(folder: Path, iterations: int, *, warned: bool = False) -> None:
    """Write a soak of two targets, three checks each, with a failure in every tenth iteration."""
    folder.mkdir(exist_ok=True)
    file = TrialsFile(folder)
    lines = []
    for number in range(1, iterations + 1):
        for target in ("vm1", "vm2"):
            trials = [
                Trial(
                    number, target, "m", f"c{check}",
                    TrialOutcome.FAILED if check == 0 and number % 10 == 0 else TrialOutcome.PASSED,
                    1e9 + number, 0.5, seconds=0.1 * check + number / 1000, attempts=1, transports=("ssh",),
                    message="refused " * 20, signature="refused",
                    warnings=("no swap",) if warned and check == 1 else (),
                )
                for check in range(3)
            ]  # fmt: skip
            marks = [Mark(number, target, "reset", "snapshot", 1e9 + number, 1e9 + number + 0.5)]
            lines.append((number, target, trials, marks))
    for number, target, trials, marks in lines:
        for trial in trials:
            file.add(trial)
        for mark in marks:
            file.mark(mark)
        file.ended(number, target, 1e9 + number + 2)
    file.close()


def test_what_is_kept_of_a_trial_is_small(tmp_path: Path) -> None:
    def peak(iterations: int) -> int:
        folder = tmp_path / str(iterations)
        a_soak(folder, iterations)
        tracemalloc.start()
        run = read_run(folder)
        summary = of(run)
        for _ in case_pieces(run):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert summary.total.trials == 6 * iterations
        return found

    peak(5)  # imports
    few, many = peak(50), peak(250)
    assert (many - few) / (200 * 2 * 3) < 200, "a trial in memory takes 700 bytes and more"


def test_what_is_read_is_what_a_list_of_all_would_hold(tmp_path: Path) -> None:
    a_soak(tmp_path, 40)
    run, whole = read_run(tmp_path), read_trials(tmp_path)
    assert list(run.trials) == sorted(whole.finished, key=lambda each: each.iteration)
    assert list(run.marks) == list(whole.marks)
    index, listed = TrialIndex.of(run.trials), TrialIndex(list(run.trials))
    assert {key: list(row) for key, row in index.rows.items()} == {key: list(row) for key, row in listed.rows.items()}
    for one, other in (
        (index.unclean, listed.unclean),
        (index.of_target("vm2"), listed.of_target("vm2")),
        (index.of_check("m::c1"), listed.of_check("m::c1")),
    ):
        assert list(one) == list(other)
        assert list(one[-3:]) == list(other[-3:])
    assert (index.iterations, index.last_iteration) == (listed.iterations, listed.last_iteration) == ((80, 8), 40)
    assert of(run).total == summarise(list(run.trials), run.exposure, run.iterations, Demand()).total
    marks = MarkIndex.of(run.marks)
    assert marks.number_of("vm1", "reset") == len(marks.of_target("vm1")) == 40


def test_lines_of_any_length_are_read_in_any_order(tmp_path: Path) -> None:
    drawn = random.Random(1)
    lines = [b"x" * drawn.choice([0, 1, 300, 8191, 8192, 8193, 70_000]) + b"%d\n" % number for number in range(60)]
    (tmp_path / "f").write_bytes(b"".join(lines) + b"torn")
    places = [sum(map(len, lines[:number])) for number in range(60)]
    file = LinesAt(tmp_path / "f")
    for number in [*range(60), *drawn.sample(range(60), 60)]:
        assert file.line(places[number]) == lines[number]
    assert file.line(sum(map(len, lines))) == b"", "a line without its end is none"


def test_a_file_that_is_replaced_by_its_end_meanwhile_is_refused(tmp_path: Path) -> None:
    a_soak(tmp_path, 5)
    run = read_run(tmp_path)
    with (tmp_path / NAME).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(UsageError, match="was changed while it was read"):
        list(run.trials)


def test_trials_that_are_added_to_the_file_meanwhile_do_not_disturb(tmp_path: Path) -> None:
    a_soak(tmp_path, 5)
    run = read_run(tmp_path)
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"half a li')
    assert len(list(run.trials)) == 30


def test_warnings_of_passed_checks_are_in_the_json_report(tmp_path: Path) -> None:
    a_soak(tmp_path, 3, warned=True)
    run = read_run(tmp_path)
    made = orjson.loads(document.report_json(run, of(run)))
    assert made["warnings"] == [
        {"check": "m::c1", "target": target, "warning": "no swap", "count": 3} for target in ("vm1", "vm2")
    ]
