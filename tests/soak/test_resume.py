"""What a soak continues with after a kill: whole iterations only, counted once, and the time that it has spent."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import AnchoredClock
from harness.errors import MachineError
from harness.report.read import read_run
from harness.soak.ending import Ending
from harness.soak.state import StateError, StatusWriter, tally_of_trials
from harness.soak.trial import Trial, TrialOutcome, to_line
from harness.soak.trials import NAME, Finished, Mark, TrialsFile, TrialsReader, read_trials, stream_trials
from harness.soak.words import summary
from tests.soak.fakes import a_check
from tests.soak.test_soak import Place, fine


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def lines_of(folder: Path) -> list[bytes]:
    return (folder / NAME).read_bytes().splitlines(keepends=True)


def is_end(line: bytes, number: int) -> bool:
    document = json.loads(line)
    return "lasted" in document and document["iteration"] == number


@pytest.mark.parametrize("damage", ["end missing", "end damaged", "trial damaged", "trial missing", "all zeroed"])
def test_an_iteration_that_cannot_be_read_whole_is_run_again_and_no_other(place: Place, damage: str) -> None:
    checks = [a_check("one", fine), a_check("two", fine)]
    place.carry(*checks, ending=Ending(iterations=4))
    kept: list[bytes] = []
    for line in lines_of(place.folder):
        document = json.loads(line)
        mine = document["iteration"] == 2
        trial = document.get("check") == "two"
        if mine and ((is_end(line, 2) and damage.startswith("end")) or (trial and damage.startswith("trial"))):
            if damage.endswith("damaged"):
                kept.append(b'{"iter\xff' + line[8:])
        elif mine and damage == "all zeroed":
            kept.append(b"\0" * (len(line) - 1) + b"\n")
        else:
            kept.append(line)
    (place.folder / NAME).write_bytes(b"".join(kept))
    had = stream_trials(place.folder)
    assert [each.number for each in had] == [1, 3, 4]
    assert had.lost() == [("a", 2)]
    assert any("2 of a" in note for note in read_run(place.folder).notes)
    soak = place.carry(*checks, ending=Ending(iterations=4))
    assert soak.tally.targets["a"].iterations == 4
    again = read_trials(place.folder)
    assert again.lost == ()
    assert sorted((trial.iteration, trial.check) for trial in again.finished) == [
        (number, check) for number in (1, 2, 3, 4) for check in ("one", "two")
    ]
    begun = [
        json.loads(line)["iteration"] for line in lines_of(place.folder) if line.startswith(b"{") and b"began" in line
    ]
    assert begun[-1] == 2


@given(st.lists(st.integers(1, 40)), st.integers(0, 60))
def test_numbers_of_finished_iterations(numbers: list[int], last: int) -> None:
    finished = Finished()
    for number in numbers:
        finished.add(number)
    finished.last = max(finished.last, last)
    had, highest = set(numbers), max([*numbers, last], default=0)
    wanted = [number for number in range(1, 200) if number not in had and number <= highest] + [highest + 1]
    missing = [number for each in finished.missing() for number in each]
    if highest in had or highest == 0:
        assert [*missing, highest + 1] == wanted
    else:
        assert missing == wanted[:-1]
    assert all((number in finished) is (number in had) for number in range(1, 60))
    assert list(islice(finished.following(), len(missing) + 1)) == [*missing, highest + 1]


def test_a_number_from_a_damaged_line_takes_no_time_and_no_memory() -> None:
    line = b'{"iteration":1099511627000,"target":"a","ended":2.0}\n'
    reader = TrialsReader([line])
    assert [each.number for each in reader] == [1099511627000]
    assert len(reader.lost()) == 1000


def test_reading_for_a_resume_holds_one_iteration_of_each_target() -> None:
    trial = Trial(1, "vm1", "suite", "check", TrialOutcome.PASSED, 1e9, 1.0)

    def lines(count: int) -> Iterator[bytes]:
        for number in range(1, count + 1):
            yield b'{"iteration":%d,"target":"vm1","began":1.0,"spent":1.0}\n' % number
            yield to_line(replace(trial, iteration=number))
            yield (
                b'{"iteration":%d,"target":"vm1","ended":2.0,"lasted":1.0,"spent":2.0,"trials":1,"marks":0}\n' % number
            )

    def peak(count: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in TrialsReader(lines(count))) == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # The least of three: what the interpreter itself caches for later use counts for the first of them only.
    few, many = (min(peak(count) for _ in range(3)) for count in (400, 4000))
    assert many < 2 * few


def test_time_spent_goes_on_from_what_was_spent_and_not_from_the_longest_target(place: Place) -> None:
    """Four targets that take turns on one fork: each was busy for a quarter of the time only."""
    file = TrialsFile(place.folder)
    for count, name in enumerate("abcd", 1):
        trial = Trial(1, name, "m", "one", TrialOutcome.PASSED, 1e9, 1.0)
        file.began(1, name, 1e9, spent=10.0 * (count - 1))
        file.write(
            1, name, [trial], [Mark(1, name, "iteration", "none", 1e9, 1e9 + 10)], 1e9, lasted=10.0, spent=10.0 * count
        )
    file.began(2, "a", 1e9, spent=47.0)
    file.close()
    soak = place.carry(a_check("one", fine), ending=Ending(seconds=47.0), hosts="a,b,c,d,", forks=1)
    assert [len(each) for each in stream_and_finish(place.folder)] == [1, 1, 1, 1]
    assert 47.0 <= soak.seconds < 60.0


def stream_and_finish(folder: Path) -> list[Finished]:
    reader = stream_trials(folder)
    for _ in reader:
        pass
    return list(reader.finished.values())


class SteppingClock:
    """A clock whose wall time is set forwards or back while its monotonic time goes on."""

    def __init__(self) -> None:
        self.now, self.wall = 0.0, 1e9

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall + self.now


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_changes_no_duration(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    clock = SteppingClock()
    anchored = AnchoredClock(clock)
    before = anchored.time()
    clock.wall += step
    clock.now += 2.0
    assert anchored.time() - before == 2.0

    import time

    real, moved = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + moved[0])
    seen: list[int] = []

    def look(_target: object) -> str:
        seen.append(1)
        if len(seen) % 2:
            moved[0] += step
            raise AssertionError("once more")
        return "fine"

    check = a_check("one", look, budget=0.02, interval=0.03)
    soak = place.carry(check, ending=Ending(iterations=2), reset="reboot", retries=1, faults=["cpu:1ms"])
    assert soak.seconds < 100
    assert all(0 <= trial.duration < 100 for trial in place.trials)
    assert all(trial.seconds is None or 0 <= trial.seconds < 100 for trial in place.trials)
    found = read_trials(place.folder)
    assert all(0 <= lasted < 100 for lasted in found.lasted.values())
    assert all(mark.ended is None or 0 <= mark.ended - mark.started < 100 for mark in found.marks)
    assert 0 < read_run(place.folder).exposure["a"] < 100
    assert 0 < read_run(place.folder).duration < 100


def test_a_fault_that_was_drawn_and_missed_is_counted_everywhere(place: Place) -> None:
    place.world.answer = lambda command: (1, "") if "systemctl stop" in command else (0, "")
    check = a_check("one", fine, window=0.2)
    soak = place.carry(check, ending=Ending(iterations=2), faults=["sshd-stop"])
    assert soak.tally.targets["a"].missed == {"sshd-stop": 2}
    assert soak.tally.targets["a"].faults == {}
    assert any("2 faults missed (2 sshd-stop)" in line for line in summary(soak.tally))
    assert tally_of_trials(place.folder).plain() == soak.tally.plain()
    assert "2 faults were drawn and not injected: 2 times sshd-stop on a" in read_run(place.folder).notes


def test_what_settles_is_no_check_and_all_counts_agree(place: Place) -> None:
    """Five checks and the settling of the target are five checks everywhere."""
    from harness.api.check import WHOLE_TARGET
    from harness.soak.figures import Demand
    from harness.soak.summary import summarise
    from harness.soak.tally import Tally

    def trial(suite: str, check: str, outcome: TrialOutcome = TrialOutcome.PASSED) -> Trial:
        return Trial(1, "a", suite, check, outcome, 1e9, 1.0)

    trials = [trial(WHOLE_TARGET, "settles"), *(trial("m", f"c{number}") for number in range(5))]
    for changed, wanted in (
        (trials, {"passed": 5}),
        ([trial(WHOLE_TARGET, "settles", TrialOutcome.FAILED), *trials[1:]], {"passed": 5, "failed": 1}),
    ):
        tally = Tally()
        tally.add("a", [(each, False) for each in changed])
        assert tally.outcomes == wanted
        total = summarise(changed, {"a": 1.0}, {"a": 1}, Demand()).total
        assert {name: count for name, count in total.outcomes.items() if count} == wanted


def test_the_status_is_not_written_for_each_iteration(place: Place) -> None:
    failures: list[StateError] = []
    writer = StatusWriter(place.folder, lambda: {"written": 0}, failures.append)
    counted: list[int] = []
    real = writer.write

    def write() -> None:
        counted.append(1)
        real()

    writer.write = write  # type: ignore[method-assign]
    place.carry(a_check("one", fine), ending=Ending(iterations=30), on_progress=writer.changed)
    assert len(counted) < 30
    (place.folder / "status.json").unlink()
    StatusWriter(place.folder / "gone", dict, failures.append).write()
    assert len(failures) == 1


def test_the_faults_of_a_target_that_did_not_come_up_are_missed(place: Place) -> None:
    def fails() -> None:
        raise MachineError("no machine")

    place.world.on_start = fails
    soak = place.carry(a_check("one", fine), ending=Ending(iterations=1), faults=["sshd-stop"])
    assert soak.tally.targets["a"].missed == {"sshd-stop": 1}
    (missed,) = place.events("fault.missed")
    assert missed["harness.fault"] == "sshd-stop"
    assert missed["host.name"] == "a"
    assert missed["message"].endswith("the target did not come up")
    assert tally_of_trials(place.folder).plain() == soak.tally.plain()
