"""Every standing that a unit can have, from what systemctl really prints."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.target.standing import Standing
from harness.target.units import IncompleteAnswer, UnitState, parse_show
from harness.target.values import listed, path_of, seconds, span, words

BASE = {
    "Id": "ssh.service",
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "SubState": "dead",
    "Result": "success",
    "Type": "notify",
}

# Each case stands in one line, as a table. Recorded guests, with their sentences, are in looks/; these are the states that
# one guest does not have: newer systemd, rarer results.
# ruff: noqa: E501
CASES = [
    ({"ActiveState": "active", "SubState": "running"}, Standing.UP, "is active (running)"),
    ({"ActiveState": "active", "SubState": "exited", "Type": "oneshot"}, Standing.UP, "is active (exited)"),
    ({"ActiveState": "active", "SubState": "running", "Job": "12"}, Standing.COMING, "job 12"),
    ({"ActiveState": "active", "SubState": "running", "Job": "(12, /org/x)"}, Standing.COMING, "job 12"),
    ({"ActiveState": "active", "SubState": "running", "LoadState": "not-found"}, Standing.UP, "although its file is gone"),
    ({"ActiveState": "active", "SubState": "running", "LoadState": "masked"}, Standing.UP, "although it is masked"),
    ({"ActiveState": "refreshing", "SubState": "refresh"}, Standing.UP, "is refreshing"),
    ({"ActiveState": "reloading", "SubState": "reload"}, Standing.COMING, "reloading"),
    ({"ActiveState": "activating", "SubState": "start-pre", "Job": "7"}, Standing.COMING, "activating (start-pre)"),
    ({"ActiveState": "deactivating", "SubState": "stop-post"}, Standing.COMING, "deactivating (stop-post)"),
    ({"ActiveState": "maintenance", "SubState": "cleaning"}, Standing.COMING, "maintenance (cleaning)"),
    ({"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code", "NRestarts": "1"}, Standing.COMING, "1 restart)"),
    ({"ActiveState": "activating", "SubState": "auto-restart-queued", "NRestarts": "2"}, Standing.COMING, "2 restarts)"),
    ({"ActiveState": "failed", "SubState": "failed-before-auto-restart", "Result": "signal"}, Standing.COMING, "automatic restart (Result=signal"),
    ({"ActiveState": "inactive", "SubState": "dead-before-auto-restart"}, Standing.COMING, "automatic restart"),
    ({"LoadState": "not-found"}, Standing.NEVER, "not installed"),
    ({"LoadState": "not-found", "ActiveState": "failed", "SubState": "failed"}, Standing.NEVER, "its unit file is gone since"),
    ({"LoadState": "masked"}, Standing.NEVER, "masked"),
    ({"LoadState": "bad-setting", "LoadError": 'org.x "no ExecStart"'}, Standing.NEVER, "LoadState=bad-setting: no ExecStart)"),
    ({"LoadState": "error", "LoadError": "plain"}, Standing.NEVER, "LoadState=error: plain)"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "255"}, Standing.NEVER, "exit status 255"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "9"}, Standing.NEVER, "signal 9"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "core-dump", "ExecMainCode": "3", "ExecMainStatus": "11"}, Standing.NEVER, "signal 11: it crashed"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "timeout"}, Standing.NEVER, "longer than its time-out"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "protocol"}, Standing.NEVER, "Type="),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "oom-kill"}, Standing.NEVER, "OOM killer"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "watchdog"}, Standing.NEVER, "watchdog in time"),
    ({"Id": "a.socket", "ActiveState": "failed", "SubState": "failed", "Result": "trigger-limit-hit"}, Standing.NEVER, "triggered too often"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "NRestarts": "5"}, Standing.NEVER, "after 5 restarts"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "start-limit-hit", "NRestarts": "5"}, Standing.NEVER, "5 restarts"),
    ({"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "Job": "9"}, Standing.COMING, "job 9"),
    ({"ConditionResult": "no", "ConditionTimestampMonotonic": "123"}, Standing.NEVER, "condition"),
    ({"ConditionResult": "no", "ConditionTimestampMonotonic": "0"}, Standing.IDLE, "has not been started"),
    ({"AssertResult": "no", "AssertTimestampMonotonic": "123"}, Standing.NEVER, "assertion"),
    ({"AssertResult": "no", "AssertTimestampMonotonic": "0"}, Standing.IDLE, "has not been started"),
    ({"Result": "exec-condition", "InactiveExitTimestampMonotonic": "55"}, Standing.NEVER, "ExecCondition="),
    ({"Type": "oneshot", "InactiveExitTimestampMonotonic": "55"}, Standing.UP, "done its work"),
    ({"Type": "oneshot", "InactiveExitTimestampMonotonic": "55", "ConditionResult": "no", "ConditionTimestampMonotonic": "99"}, Standing.UP, "done its work"),
    ({"Type": "oneshot", "InactiveExitTimestampMonotonic": "55", "RemainAfterExit": "yes"}, Standing.IDLE, "has ended"),
    ({"Type": "oneshot"}, Standing.IDLE, "has not been started"),
    ({"InactiveExitTimestampMonotonic": "55"}, Standing.IDLE, "has ended"),
    ({"UnitFileState": "disabled"}, Standing.IDLE, "and it is disabled"),
    ({"Id": "dev-ttyUSB0.device", "Type": ""}, Standing.COMING, "not there yet (/dev/ttyUSB0)"),
    ({"Id": "dev-ttyUSB0.device", "ActiveState": "activating", "SubState": "tentative"}, Standing.COMING, "activating (tentative)"),
    ({"Id": "data.mount", "ActiveState": "activating", "SubState": "mounting", "Type": "ext4"}, Standing.COMING, "mounting"),
    ({"Id": "tick.timer", "ActiveState": "active", "SubState": "elapsed"}, Standing.UP, "elapsed"),
]  # fmt: skip


def block(values: dict[str, str]) -> str:
    return "\n".join(f"{key}={value}" for key, value in {**BASE, **values}.items())


@pytest.mark.parametrize(("values", "standing", "words"), CASES)
def test_standing(values: dict[str, str], standing: Standing, words: str) -> None:
    (state,) = parse_show(block(values))
    assert state.standing is standing
    assert words in state.reason


ACTIVE = ("active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance", "refreshing")
LOADED = ("stub", "loaded", "not-found", "bad-setting", "error", "merged", "masked")
SUB = ("dead", "running", "auto-restart", "failed-before-auto-restart", "plugged", "failed", "start")
RESULTS = ("success", "exit-code", "signal", "timeout", "start-limit-hit", "exec-condition", "resources", "")
TYPES = ("simple", "oneshot", "")


def test_whatever_a_unit_says_has_one_standing_that_follows_the_rules() -> None:
    """All states with all results, jobs, conditions and pasts: 200,000 and more."""
    names = ("a.service", "dev-a.device")
    times = (0, 5)
    for name, load, active, sub, result, kind in itertools.product(names, LOADED, ACTIVE, SUB, RESULTS, TYPES):
        for job, holds, ran, remains in itertools.product(("", "7"), (True, False), times, (True, False)):
            unit = UnitState(
                name, load, active, sub, result, kind, job, condition=holds, inactive_exit_us=ran, remains=remains
            )
            standing = unit.standing
            told = (name, load, active, sub, result, kind, job, holds, ran, standing)
            assert unit.reason, told
            if job:
                assert standing is Standing.COMING, told
            elif active in ("active", "refreshing"):
                assert standing is Standing.UP, told
            elif active in ("activating", "reloading", "deactivating", "maintenance") or "auto-restart" in sub:
                assert standing is Standing.COMING, told
            elif load in ("not-found", "masked", "bad-setting", "error") or active == "failed":
                assert standing is Standing.NEVER, told
            elif standing is Standing.UP:
                assert (kind, ran, remains, result) == ("oneshot", 5, False, "success"), told
            elif standing is Standing.COMING:
                assert name.endswith(".device"), told


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


def test_names_with_backslashes_are_read_as_they_are() -> None:
    """`systemctl show` puts such a name in quotes in a list, and doubles its backslashes; alone it does not."""
    (state,) = parse_show(
        block(
            {
                "Id": r"dev-disk-by\x2dlabel-a.device",
                "Names": r'"dev-disk-by\\x2dlabel-a.device" dev-sda1.device',
                "BindsTo": r'x.mount "y\\x2dz.service"',
                "Requires": r'"y\\x2dz.service" w.socket',
            }
        )
    )
    assert state.names == (r"dev-disk-by\x2dlabel-a.device", "dev-sda1.device")
    assert state.device == "/dev/disk/by-label/a"
    assert state.bound_to == ("x.mount", r"y\x2dz.service")
    assert state.requires == (r"y\x2dz.service", "w.socket", "x.mount")


def test_times_and_commands() -> None:
    (state,) = parse_show(
        block(
            {
                "TimeoutStartUSec": "1min 30s",
                "JobTimeoutUSec": "infinity",
                "ExecStart": "{ path=/bin/sh ; argv[]=/bin/sh -c a ; b ; ignore_errors=no ; start_time=[n/a] ; pid=0 }",
            }
        )
    )
    assert (state.start_timeout, state.job_timeout, state.job_running_timeout) == (90.0, math.inf, math.inf)
    assert state.command == "/bin/sh -c a ; b"
    assert math.isnan(state.stop_timeout), "not told is neither finite nor infinite"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("infinity", math.inf),
        ("0", 0.0),
        ("100ms", 0.1),
        ("1min 30s", 90.0),
        ("1h 17min 17.057331s", 4637.057331),
        ("2w 3d", 17 * 86400.0),
        ("1y 1month", (365.25 + 30.4375) * 86400),
        ("5us", 5e-6),
    ],
)
def test_spans(text: str, value: float) -> None:
    assert span(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "n/a", "Mon 2026-11-23 05:13:49 UTC", "5 apples"])
def test_what_is_no_span(text: str) -> None:
    assert math.isnan(span(text))


@given(st.floats(0, 10_000_000))
def test_lengths_of_time_read_back_as_what_they_were(value: float) -> None:
    read = span(seconds(value).replace(" h", "h").replace(" min", "min").replace(" s", "s"))
    assert read == pytest.approx(value, rel=0.06, abs=0.06)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        *((0.04, "0.0 s"), (-0.1, "0.0 s"), (1.23, "1.2 s"), (9.96, "10 s"), (41.2, "41 s"), (119.4, "119 s")),
        *((120, "2 min"), (3 * 60 + 5, "3 min 5 s"), (7199, "119 min 59 s"), (7200, "2 h"), (9000, "2 h 30 min")),
    ],
)
def test_lengths_of_time(value: float, told: str) -> None:
    assert seconds(value) == told


@given(st.lists(st.text("abc-:_.\\@", min_size=1), max_size=5))
def test_words_are_what_systemctl_made_of_them(names: list[str]) -> None:
    written = " ".join(f'"{name.replace(chr(92), chr(92) * 2)}"' if "\\" in name else name for name in names)
    assert words(written) == tuple(names)


def test_paths_and_lists() -> None:
    assert path_of("-.mount") == "/"
    assert path_of(r"home-a\x2db.mount") == "/home/a-b"
    assert [listed(list("abcdefg"[:count]), 3) for count in (0, 1, 2, 3, 5)] == [
        "", "a", "a and b", "a, b and c", "a, b, c and 2 more",
    ]  # fmt: skip
