"""What a run left is found and read, whatever became of the run."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.engine.outcome import CheckResult, Observation, Outcome, RunResult, TargetResult
from harness.errors import UsageError
from harness.events import EventLog
from harness.report.ctrf import render
from harness.report.document import report_json
from harness.report.folder import create, find, folders
from harness.report.html import report_html
from harness.report.junit_cases import render_cases
from harness.report.markdown import report_markdown
from harness.report.read import read_run
from harness.report.write import results_json, write_reports
from harness.soak.figures import Demand
from harness.soak.summary import summarise
from harness.soak.trial import Settling, TrialOutcome
from harness.soak.trials import NAME, TrialsFile
from tests.soak.test_trials import some

RESULT = CheckResult(
    target="vm1", check="banner", module="sshd/outside", check_id="checks/sshd/outside.py::banner",
    outcome=Outcome.FAILED, message="refused", started=1e9 + 1, duration=1.5, attempts=2, transports=("serial",),
    observations=(Observation(1, 0.1, Outcome.FAILED, "refused"),), console=("panic",), timed_out=True,
)  # fmt: skip


def run(*checks: CheckResult) -> RunResult:
    target = TargetResult("vm1", checks, stages=(("kernel", 0.7),), settled="running", duration=4.0)
    return RunResult("r1", 1e9, 5.0, (target,))


def test_results_become_trials(tmp_path: Path) -> None:
    folder = create(tmp_path, 1e9)
    write_reports(run(RESULT, replace(RESULT, check="fine", outcome=Outcome.PASSED)), folder)
    read = read_run(folder.path)
    failed, passed = read.trials
    assert (failed.outcome, failed.settling, failed.console) == (TrialOutcome.FAILED, Settling.CENSORED, ("panic",))
    assert passed.clean
    assert (read.run, read.duration, read.iterations, read.exposure) == ("r1", 5.0, {"vm1": 1}, {"vm1": 4.0})
    assert read.stories[0].stages == (("kernel", 0.7),)
    assert not read.is_soak


def test_results_of_other_versions_are_read(tmp_path: Path) -> None:
    folder = create(tmp_path, 1e9)
    document = json.loads(results_json(run(RESULT)))
    check = document["targets"][0]["checks"][0]
    check["colour"] = "blue"
    for name in ("timed_out", "findings", "unreachable"):
        del check[name]
    (folder.path / "results.json").write_text(json.dumps(document))
    assert read_run(folder.path).trials[0].settling is Settling.NEVER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"targets": 3}',
        '{"targets": [{}], "run": 1, "started": 1}',
        "\0",
        '{"targets": [], "run": "r", "started": 1e300, "duration": 1}',
    ],
)
def test_what_are_no_results_is_told(tmp_path: Path, text: str) -> None:
    folder = create(tmp_path, 1e9)
    (folder.path / "results.json").write_text(text)
    with pytest.raises(UsageError, match="is no results of harness"):
        read_run(folder.path)


def leaves(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The ways to everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for key, item in inner for each in leaves(item, (*path, key)))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_results_that_somebody_changed_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    document = json.loads(results_json(run(RESULT, replace(RESULT, check="fine", outcome=Outcome.PASSED))))
    way = data.draw(st.sampled_from([each for each in leaves(document) if each]))
    place = document
    for key in way[:-1]:
        place = place[key]
    place[way[-1]] = data.draw(JSON)
    (tmp_path / "results.json").write_text(json.dumps(document))
    try:
        found = read_run(tmp_path)
    except UsageError:
        return
    summary = summarise(found.trials, found.exposure, found.iterations, Demand())
    report_html(found, summary)
    report_json(found, summary)
    report_markdown(found, summary)
    render_cases(found)
    render(found, summary, 1e9)


def record(folder: Path, *, end: bool) -> None:
    log = EventLog(folder / "events.jsonl", run="r1")
    log.emit(
        "run.start",
        "2 checks on 1 targets",
        argv=["/venv/bin/harness", "run", "a b.py"],
        version="0",
        plan={"targets": []},
    )
    target = log.bind(target="vm1")
    check = target.bind(module="m", check="c")
    check.emit("check.end", "m::c failed: it is down", outcome="failed", duration=2.0, attempts=3,
               transports=["ssh"], fallbacks=1, re_reads=2, flaky=False, check_id="m.py::c")  # fmt: skip
    target.emit("link.fallback", "ssh failed, falling back to serial: refused", cause="refused", from_transport="ssh",
                to_transport="serial", may_have_run=False)  # fmt: skip
    target.emit(
        "check.end", "(target)::settled passed", module="(target)", check="settled", outcome="passed", duration=1.0,
        attempts=1, check_id="(target)::settled",
    )  # fmt: skip
    if end:
        log.emit("run.end", "1 failed", duration=3.0, exit_code=1, counts={})
    log.close()


def test_a_killed_run_is_told_from_its_record(tmp_path: Path) -> None:
    folder = create(tmp_path, 1e9)
    record(folder.path, end=False)
    read = read_run(folder.path)
    (only,) = read.trials
    assert (only.label, only.outcome, only.message, only.attempts) == ("m::c", TrialOutcome.FAILED, "it is down", 3)
    assert (only.fallbacks, only.re_reads, only.transports) == (1, 2, ("ssh",))
    assert [(mark.kind, mark.name) for mark in read.marks] == [("fallback", "serial")]
    assert read.command == "harness run 'a b.py'"
    assert not read.ended
    assert "killed" in read.notes[0]


def test_a_soak_is_read_from_its_trials_and_whether_it_ended_from_its_record(tmp_path: Path) -> None:
    for end in (False, True):
        folder = create(tmp_path, 1e9)
        record(folder.path, end=end)
        file = TrialsFile(folder.path)
        for number in (1, 2):
            file.began(number, "vm1", 1e9 + 10 * number)
            file.add(some(number, started=1e9 + 10 * number + 1))
            file.ended(number, "vm1", 1e9 + 10 * number + 8)
        file.close()
        read = read_run(folder.path)
        assert read.ended is end
        assert read.is_soak
        assert (read.iterations, read.exposure) == ({"vm1": 2}, {"vm1": 16.0})
        assert read.command == "harness run 'a b.py'"


def test_what_is_told_only_where_it_fails_has_passed_elsewhere(tmp_path: Path) -> None:
    file = TrialsFile(tmp_path)
    for number in range(1, 6):
        file.add(some(number))
        if number == 3:
            file.add(some(number, suite="(target)", check="settled", outcome=TrialOutcome.FAILED))
        file.ended(number, "vm1", 1e9 + number)
    file.close()
    read = read_run(tmp_path)
    settled = [each.outcome.value for each in read.trials if each.suite == "(target)"]
    assert settled == ["passed", "passed", "failed", "passed", "passed"]


def test_lines_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"\0\0\n")
    assert "cannot be read" in read_run(tmp_path).notes[-1]


def test_runs_are_found_by_path_id_beginning_and_latest(tmp_path: Path) -> None:
    one, two = create(tmp_path, 1e9), create(tmp_path, 1.1e9)
    for folder in (one, two):
        write_reports(run(RESULT), folder)
    assert find(tmp_path, one.run) == one.path
    assert find(tmp_path, one.run[:8]) == one.path
    assert find(tmp_path, str(two.path)) == two.path
    assert find(tmp_path, str(two.path / "results.json")) == two.path
    assert find(tmp_path, "latest") == two.path
    assert folders(tmp_path) == [one.path, two.path]
    for name, words in (("20", "2 runs in"), ("none", "no run 'none'"), (str(tmp_path), "holds no record")):
        with pytest.raises(UsageError, match=words):
            find(tmp_path, name)
    with pytest.raises(UsageError, match="no record of a run in"):
        find(tmp_path / "nowhere", "latest")


def test_a_killed_run_keeps_its_warnings_and_its_duration_leaves_clock_steps_out(tmp_path: Path) -> None:
    folder = create(tmp_path, 1e9)
    log = EventLog(folder.events, run="r1")
    log.emit("run.start", "1 check", argv=[], version="0", plan={"targets": 1})
    check = log.bind(target="vm1", module="m", check="c")
    check.emit("check.warning", "m::c: `false` failed", level="warning", text="`false` failed")
    check.emit("check.end", "m::c passed", outcome="passed", duration=2.0, attempts=1, check_id="m.py::c")
    log.emit("clock.stepped", "set", level="warning", offset=-3600.0)
    log.emit("clock.suspended", "suspended", level="warning", duration=600.0)
    log.close()
    read = read_run(folder.path)
    assert [trial.warnings for trial in read.trials] == [("`false` failed",)]
    assert 3000.0 <= read.duration < 3100.0  # no time has passed, so what the record says of the clock is left
    (case,) = ET.fromstring(render_cases(read)).iter("testcase")
    assert case.findtext("system-err") == "warning: `false` failed"
    summary = summarise(read.trials, read.exposure, read.iterations, Demand())
    assert "`false` failed" in report_html(read, summary)
    assert "### Warnings" in report_markdown(read, summary)
    assert json.loads(render(read, summary, 1e9))["results"]["tests"][0]["extra"]["warnings"] == ["`false` failed"]
