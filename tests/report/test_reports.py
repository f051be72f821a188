"""What a run leaves behind, and what it prints."""

from __future__ import annotations

import io
import json
import os
import stat
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.outcome import CheckResult, Observation, Outcome, RunResult, TargetResult
from harness.errors import UsageError
from harness.report.folder import create, write_private
from harness.report.junit import clean, render
from harness.report.terminal import Terminal
from harness.report.write import results_json, write_reports


def check(outcome: Outcome, **changes: object) -> CheckResult:
    values: dict[str, object] = {
        "target": "vm1", "check": "banner", "module": "sshd/outside", "check_id": "checks/sshd/outside.py::banner",
        "outcome": outcome, "message": "refused; ssh.service failed", "started": 1e9, "duration": 1.5, "attempts": 2,
        "observations": (Observation(1, 0.1, Outcome.FAILED, "connection refused"),), "transports": ("serial",),
        "repeat": "harness run -i inv --limit vm1 checks/sshd/outside.py::banner", "console": ("[ 1.0] panic",),
    }  # fmt: skip
    return CheckResult(**{**values, **changes})  # type: ignore[arg-type]


def run(*checks: CheckResult, **target: object) -> RunResult:
    return RunResult("r1", 1e9, 3.0, (TargetResult("vm1", checks, **target),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (run(check(Outcome.PASSED)), 0),
        (run(check(Outcome.PASSED), check(Outcome.SKIPPED)), 0),
        (run(check(Outcome.PASSED), check(Outcome.FAILED)), 1),
        (run(check(Outcome.ERROR)), 1),
        (run(check(Outcome.UNREACHABLE)), 3),
        (run(check(Outcome.UNREACHABLE), check(Outcome.PASSED)), 1),
        (run(check(Outcome.UNREACHABLE), unreachable="no answer"), 3),
        (run(check(Outcome.ERROR), error="KeyError"), 5),
        (RunResult("r1", 1e9, 3.0, run(check(Outcome.FAILED)).targets, interrupted=True), 130),
    ],
)
def test_exit_codes(result: RunResult, code: int) -> None:
    assert result.exit_code == code
    assert json.loads(results_json(result))["exit_code"] == code


def test_junit_counts_and_details() -> None:
    root = ET.fromstring(
        render(
            run(
                check(Outcome.PASSED),
                check(Outcome.FAILED),
                check(Outcome.SKIPPED),
                check(Outcome.UNREACHABLE),
            )
        )
    )
    suite = root[0]
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == (
        "4",
        "1",
        "1",
        "1",
    )
    assert (suite.get("name"), suite.get("failures")) == ("vm1", "1")
    failure = suite.findall("testcase/failure")[0]
    assert failure.get("message") == "refused; ssh.service failed"
    for words in ("connection refused", "[ 1.0] panic", "repeat: harness run"):
        assert words in (failure.text or "")


def test_junit_tells_a_flaky_pass_apart_from_a_clean_one() -> None:
    clean, flaky = ET.fromstring(render(run(check(Outcome.PASSED), check(Outcome.PASSED, flaky=True)))).iter("testcase")
    assert clean.find("flakyFailure") is None
    assert "connection refused" in (flaky.findtext("flakyFailure/stackTrace") or "")


@given(st.text(st.characters()))
def test_any_text_makes_readable_xml(text: str) -> None:
    result = run(check(Outcome.FAILED, message=text.encode("utf-8", "backslashreplace").decode()))
    (failure,) = ET.fromstring(render(result)).iter("failure")
    assert failure.get("message") is not None
    assert clean("\x1b[1m") == "\\x1b[1m"


def test_a_run_has_a_private_folder_and_latest_points_at_it(tmp_path: Path) -> None:
    first, second = create(tmp_path, 1e9), create(tmp_path, 1e9)
    assert first.path != second.path
    assert (tmp_path / "latest").resolve() == second.path.resolve()
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o700
    write_reports(run(check(Outcome.FAILED)), second)
    for name in ("results.json", "junit.xml"):
        assert stat.S_IMODE((second.path / name).stat().st_mode) == 0o600
    assert sorted(os.listdir(second.path)) == ["junit.xml", "results.json"]


def test_a_target_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder = create(tmp_path, 1e9)
    names = ("../../etc", "a/b", "a_b", "a%2Fb", "..", ".", "", " ", "x", "x" * 300, "x" * 301, "\u00fc", "a\0b")
    folders = [folder.target(name).resolve() for name in names]
    assert len(set(folders)) == len(names), "each target has a folder of its own"
    assert {each.parent for each in folders} == {(folder.path / "targets").resolve()}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--logs"):
        create(tmp_path / "file" / "logs", 1e9)


def test_write_private_replaces_whole_files(tmp_path: Path) -> None:
    write_private(tmp_path / "x", "one")
    write_private(tmp_path / "x", "two \udcff")
    assert (tmp_path / "x").read_text() == "two \\udcff"


def printed(result: RunResult, verbosity: int = 0) -> str:
    stream = io.StringIO()
    Terminal(stream, verbosity=verbosity).summary(result, "logs/r1")
    return stream.getvalue()


def test_failures_stand_last_with_the_command_that_repeats_them() -> None:
    text = printed(run(check(Outcome.PASSED), check(Outcome.FAILED)))
    assert text.index("FAILED vm1  sshd/outside::banner") < text.index("refused; ssh.service failed")
    assert "repeat: harness run -i inv --limit vm1 checks/sshd/outside.py::banner" in text
    assert "1 passed, 1 failed, 1 target, 3.0 s" in text
    assert "\x1b" not in text


def test_quiet_prints_nothing_when_all_is_well() -> None:
    assert printed(run(check(Outcome.PASSED)), verbosity=-1) == ""
    assert "FAILED" in printed(run(check(Outcome.FAILED)), verbosity=-1)


def test_what_a_machine_printed_cannot_drive_the_terminal() -> None:
    text = printed(run(check(Outcome.FAILED, message="evil \x1b[2J\x07 [bold]text[/bold]")))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]text[/bold]" in text


@given(st.text(), st.text(), st.sampled_from(list(Outcome)), st.booleans())
def test_junit_is_read_back_as_it_was_written(name: str, message: str, outcome: Outcome, flaky: bool) -> None:
    root = ET.fromstring(render(run(check(outcome, check=name, message=message, flaky=flaky))))
    (case,) = root.iter("testcase")
    assert case.get("name") == clean(name)
    told = [each for each in case if each.tag in ("failure", "error", "skipped")]
    assert [each.get("message") for each in told] == ([] if outcome is Outcome.PASSED else [clean(message)])
    (text,) = [each.text or "" for each in told if each.tag != "skipped"] or [""]
    # A parser turns carriage returns that stand plain into newlines; ours do not.
    assert text.partition("\nattempt")[0].removesuffix("\n") == (clean(message).removesuffix("\n") if text else "")
