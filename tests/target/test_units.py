"""Every standing that a unit can have, from what systemctl really prints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.target.units import IncompleteAnswer, Job, Standing, explain_jobs, parse_jobs, parse_show

BASE = {
    "Id": "ssh.service",
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "SubState": "dead",
    "Result": "success",
    "Type": "notify",
}

# Each case stands in one line, as a table.
# ruff: noqa: E501
CASES = [
    ({"ActiveState": "active", "SubState": "running"}, Standing.UP, "is active (running)"),
    ({"ActiveState": "active", "SubState": "exited", "Type": "oneshot"}, Standing.UP, "is active (exited)"),
    ({"ActiveState": "active", "SubState": "running", "Job": "12"}, Standing.COMING, "job 12"),
    ({"ActiveState": "active", "SubState": "running", "Job": "(12, /org/x)"}, Standing.COMING, "job 12"),
    ({"ActiveState": "reloading", "SubState": "reload"}, Standing.COMING, "reloading"),
    ({"ActiveState": "activating", "SubState": "start-pre", "Job": "7"}, Standing.COMING, "activating (start-pre)"),
    ({"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code", "NRestarts": "1"}, Standing.COMING, "1 restart)"),
    ({"LoadState": "not-found"}, Standing.NEVER, "not installed"),
    ({"LoadState": "masked"}, Standing.NEVER, "masked"),
    ({"LoadState": "bad-setting", "LoadError": "org.x \"no ExecStart\""}, Standing.NEVER, "no ExecStart"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "255"}, Standing.NEVER, "exit status 255"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "9"}, Standing.NEVER, "signal 9"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "start-limit-hit", "NRestarts": "5"}, Standing.NEVER, "5 restarts"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "Job": "9"}, Standing.COMING, "job 9"),
    ({"ConditionResult": "no", "ConditionTimestampMonotonic": "123"}, Standing.NEVER, "condition"),
    ({"ConditionResult": "no", "ConditionTimestampMonotonic": "0"}, Standing.IDLE, "has not been started"),
    ({"Type": "oneshot", "InactiveExitTimestampMonotonic": "55"}, Standing.UP, "done its work"),
    ({"Type": "oneshot"}, Standing.IDLE, "has not been started"),
    ({"InactiveExitTimestampMonotonic": "55"}, Standing.IDLE, "was stopped"),
]  # fmt: skip


def block(values: dict[str, str]) -> str:
    return "\n".join(f"{key}={value}" for key, value in {**BASE, **values}.items())


@pytest.mark.parametrize(("values", "standing", "words"), CASES)
def test_standing(values: dict[str, str], standing: Standing, words: str) -> None:
    (state,) = parse_show(block(values))
    assert state.standing is standing
    assert words in state.reason


@pytest.mark.parametrize("missing", ["Id", "LoadState", "ActiveState", "SubState"])
def test_a_missing_property_is_asked_for_again(missing: str) -> None:
    text = "\n".join(line for line in block({}).splitlines() if not line.startswith(f"{missing}="))
    with pytest.raises(IncompleteAnswer, match=missing):
        parse_show(text)


@given(st.sets(st.sampled_from(["Result", "Type", "Job", "NRestarts", "InvocationID"])))
def test_any_optional_property_may_be_missing(missing: set[str]) -> None:
    full = block({"ActiveState": "active", "SubState": "running", "Job": "0", "NRestarts": "0", "InvocationID": "ab"})
    text = "\n".join(line for line in full.splitlines() if line.partition("=")[0] not in missing)
    assert parse_show(text)[0].standing is Standing.UP


def test_many_units_keep_their_order() -> None:
    states = parse_show(block({"Id": "b.service"}) + "\n\n" + block({"Id": "a.service"}) + "\n")
    assert [state.name for state in states] == ["b.service", "a.service"]


JOBS = """\
  123 sshd.service        start waiting
  100 pre-nixos.service   start running
"""


def test_jobs() -> None:
    assert parse_jobs(JOBS) == (
        Job(123, "sshd.service", "start", "waiting"),
        Job(100, "pre-nixos.service", "start", "running"),
    )
    assert parse_jobs("No jobs running.\n") == ()


def test_the_blocking_job_is_named() -> None:
    states = parse_show(block({"Id": "sshd.service", "After": "basic.target pre-nixos.service", "Job": "123"}))
    sentence = explain_jobs("sshd.service", states, parse_jobs(JOBS))
    assert (
        sentence
        == "sshd.service: its start job is waiting; it comes after pre-nixos.service, whose start job is running"
    )
    assert explain_jobs("pre-nixos.service", states, parse_jobs(JOBS)) == "pre-nixos.service: its start job is running"
    assert explain_jobs("other.service", states, parse_jobs(JOBS)) == ""
