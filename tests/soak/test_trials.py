"""Trials: from a check's result to a line of `trials.jsonl` and back, whatever happens to the file."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.engine.outcome import CheckResult, Observation, Outcome
from harness.soak.trial import Settling, Trial, TrialOutcome, from_document, to_line, trial
from harness.soak.trials import NAME, Mark, TrialsError, TrialsFile, parse_trials, read_trials

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(0, 1e10)
COUNT = st.integers(0, 10**6)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
OBSERVATION = st.builds(Observation, COUNT, NUMBER, st.sampled_from(Outcome), TEXT)
TRIAL = st.builds(
    Trial, iteration=st.integers(1, 10**6), target=TEXT, suite=TEXT, check=TEXT, outcome=st.sampled_from(TrialOutcome),
    started=NUMBER, duration=NUMBER, check_id=TEXT, transports=TEXTS, flaky=st.booleans(), attempts=COUNT,
    seconds=st.none() | NUMBER, settling=st.sampled_from(Settling), commands=COUNT, fallbacks=COUNT, re_reads=COUNT,
    reconnects=COUNT, faults=TEXTS, recovery=st.none() | NUMBER, message=TEXT, signature=TEXT,
    observations=st.lists(OBSERVATION, max_size=3).map(tuple), console=TEXTS, findings=TEXTS, location=TEXT,
    repeat=TEXT, collected=TEXT, known=TEXT, diagnosis=TEXTS,
)  # fmt: skip


def result(outcome: object, **changes: object) -> CheckResult:
    values: dict[str, object] = {
        "target": "vm1", "check": "banner", "module": "sshd/outside", "check_id": "checks/sshd/outside.py::banner",
        "outcome": outcome, "message": "vm1: 127.0.0.1:44283 refuses (after 30 s and 12 attempts)", "started": 1e9,
        "duration": 1.5, "attempts": 2, "transports": ("ssh",), "commands": 3, "fallbacks": ("ssh: banner: gone",),
        "re_reads": 1, "console": ("[ 1.0] panic",), "repeat": "harness run …",
        "observations": (Observation(1, 0.5, Outcome.FAILED, "port 44283 refuses"),
                         Observation(2, 1.5, Outcome.PASSED, "")),
    }  # fmt: skip
    return CheckResult(**{**values, **changes})  # type: ignore[arg-type]


def some(iteration: int = 1, **changes: object) -> Trial:
    plain = Trial(iteration, "vm1", "suite", "check", TrialOutcome.PASSED, 1e9, 1.0)
    return replace(plain, **changes)  # type: ignore[arg-type]


@given(TRIAL)
def test_a_trial_survives_its_line(value: Trial) -> None:
    line = to_line(value)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert from_document(json.loads(line)) == value


@given(TRIAL, st.sampled_from(["iteration", "outcome", "duration", "transports", "flaky", "seconds", "observations"]))
def test_a_line_with_a_wrong_type_is_told_with_its_key(value: Trial, key: str) -> None:
    document = {**json.loads(to_line(value)), key: {"no": "such"}}
    with pytest.raises(ValueError, match=key):
        from_document(document)


def test_keys_of_a_later_version_are_no_error() -> None:
    assert from_document({**json.loads(to_line(some())), "colour": "blue"}) == some()


@pytest.mark.parametrize(
    ("changes", "outcome", "settling", "seconds"),
    [
        ({"outcome": Outcome.PASSED}, TrialOutcome.PASSED, Settling.SETTLED, 1.5),
        ({"outcome": Outcome.FAILED, "timed_out": True}, TrialOutcome.FAILED, Settling.CENSORED, 1.5),
        ({"outcome": Outcome.FAILED}, TrialOutcome.FAILED, Settling.NEVER, 1.5),
        ({"outcome": Outcome.FAILED, "attempts": 0}, TrialOutcome.FAILED, Settling.UNKNOWN, None),
        ({"outcome": Outcome.SKIPPED}, TrialOutcome.SKIPPED, Settling.UNKNOWN, None),
        ({"outcome": Outcome.UNREACHABLE}, TrialOutcome.UNREACHABLE, Settling.UNKNOWN, None),
        ({"outcome": Outcome.ERROR}, TrialOutcome.ERROR, Settling.UNKNOWN, None),
    ],
)
def test_what_a_result_tells_of_the_time_to_settle(
    changes: dict[str, object], outcome: TrialOutcome, settling: Settling, seconds: float | None
) -> None:
    made = trial(result(**changes))
    assert (made.outcome, made.settling, made.seconds) == (outcome, settling, seconds)


def test_a_failure_keeps_what_was_seen_and_a_pass_does_not() -> None:
    failed, passed = trial(result(Outcome.FAILED)), trial(result(Outcome.PASSED))
    assert failed.signature == "<target>: <address> refuses"
    assert failed.console == ("[ 1.0] panic",)
    assert len(failed.observations) == 2
    assert (failed.fallbacks, failed.re_reads, failed.commands) == (1, 1, 3)
    assert (passed.signature, passed.console, passed.observations, passed.message) == ("", (), (), "")
    assert passed.clean


def test_a_flaky_pass_is_no_clean_pass_and_keeps_the_words_of_its_failure() -> None:
    flaky = trial(result(Outcome.PASSED), flaky=True)
    assert not flaky.clean
    assert flaky.signature == "port <n> refuses"
    assert len(flaky.observations) == 2


def test_the_soak_knows_better_whose_fault_it_was() -> None:
    made = trial(result(Outcome.FAILED), outcome=TrialOutcome.INFRASTRUCTURE, faults=("link_down",), recovery=2.0)
    assert (made.outcome, made.settling, made.faults, made.recovery) == (
        TrialOutcome.INFRASTRUCTURE, Settling.UNKNOWN, ("link_down",), 2.0,
    )  # fmt: skip


# -- the file ------------------------------------------------------------------------------------------------------


def write(folder: Path, *, iterations: int = 2, finish_last: bool = True) -> None:
    file = TrialsFile(folder)
    for number in range(1, iterations + 1):
        file.began(number, "vm1", float(number))
        file.add(some(number))
        file.mark(Mark(number, "vm1", "fault", "link_down", 1.0, 2.0, "the link is down"))
        if number < iterations or finish_last:
            file.ended(number, "vm1", number + 0.5)
    file.close()


def test_an_unfinished_iteration_is_told_apart(tmp_path: Path) -> None:
    write(tmp_path, iterations=3, finish_last=False)
    read = read_trials(tmp_path)
    assert [each.iteration for each in read.finished] == [1, 2]
    assert [each.iteration for each in read.unfinished] == [3]
    assert [mark.iteration for mark in read.marks] == [1, 2]
    assert read.began == {(1, "vm1"): 1.0, (2, "vm1"): 2.0}
    assert read.ended == {(1, "vm1"): 1.5, (2, "vm1"): 2.5}
    assert read.last_iteration("vm1") == 2
    assert read.last_iteration("vm2") == 0
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_iterations_of_different_targets_do_not_wait_for_each_other(tmp_path: Path) -> None:
    file = TrialsFile(tmp_path)
    file.add(some(1))
    file.add(some(1, target="vm2"))
    file.ended(1, "vm2", 2.0)
    file.close()
    read = read_trials(tmp_path)
    assert [each.target for each in read.finished] == ["vm2"]
    assert [each.target for each in read.unfinished] == ["vm1"]


def test_a_resumed_soak_counts_nothing_twice(tmp_path: Path) -> None:
    file = TrialsFile(tmp_path)
    file.began(1, "vm1", 1.0)
    file.add(some(1, check="gone"))
    file.add(some(1, outcome=TrialOutcome.FAILED))
    file.close()
    again = TrialsFile(tmp_path)
    again.began(1, "vm1", 2.0)
    again.add(some(1))
    again.ended(1, "vm1", 3.0)
    again.close()
    assert read_trials(tmp_path).finished == (some(1),)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(cut=st.integers(0, 10**6))
def test_a_file_cut_anywhere_is_read_and_gone_on_with(tmp_path: Path, cut: int) -> None:
    path = tmp_path / NAME
    path.unlink(missing_ok=True)
    write(tmp_path, iterations=3)
    whole = path.read_bytes()
    cut %= len(whole) + 1
    os.truncate(path, cut)
    read = read_trials(tmp_path)
    assert read.unreadable == ()
    assert len(read.finished) == len(read.ended) == sum(b'"ended":' in line and b'"mark"' not in line
                                                        for line in whole[:cut].splitlines(True)
                                                        if line.endswith(b"\n"))  # fmt: skip
    following = read.last_iteration("vm1") + 1
    file = TrialsFile(tmp_path)
    for number in range(following, 4):
        file.began(number, "vm1", 9.0)
        file.add(some(number))
        file.ended(number, "vm1", 9.5)
    file.close()
    after = read_trials(tmp_path)
    assert [each.iteration for each in after.finished] == [1, 2, 3]
    assert (after.unfinished, after.unreadable) == ((), ())


def test_lines_that_are_not_ours_are_numbered_not_swallowed() -> None:
    good = to_line(some()) + b'{"iteration":1,"target":"vm1","ended":2.0}\n'
    far = b'{"iteration":1,"target":"vm1","ended":1e300}\n'
    assert parse_trials([far, b'{"iteration":1,"target":"vm1","began":"now"}\n']).unreadable == (1, 2)
    read = parse_trials([b"\0\0\0\n", *good.splitlines(True), b"[]\n", b'{"iteration":2}\n', b'{"iter'])
    assert read.finished == (some(),)
    assert read.unreadable == (1, 4, 5)


def test_a_full_disk_is_told_and_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = TrialsFile(tmp_path)
    file.add(some(1))
    before = (tmp_path / NAME).read_bytes()
    real, calls = os.write, []

    def full(fd: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) == 1:
            return real(fd, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TrialsError, match="No space left"):
        file.add(some(2))
    monkeypatch.undo()
    assert (tmp_path / NAME).read_bytes() == before
    file.add(some(3))
    file.close()
    assert [each.iteration for each in read_trials(tmp_path).unfinished] == [1, 3]


def test_no_file_is_no_trial_and_an_unreadable_one_is_told(tmp_path: Path) -> None:
    assert read_trials(tmp_path).finished == ()
    (tmp_path / NAME).mkdir()
    with pytest.raises(TrialsError, match=NAME):
        read_trials(tmp_path)
