"""Which evidence counts: the unit's last start, what the machine does by itself, and every entry that can be read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.api.check import Never, NotYet
from harness.target.jobs import Job
from harness.target.journal import parse_journal
from harness.target.look import (
    RESTART_SCHEDULED,
    STARTED,
    Entry,
    Look,
    jobs_command,
    journal_command,
    parse_look,
    restarts_command,
    show_command,
    system_command,
    unit_command,
)
from harness.target.processes import Process, without_sessions
from harness.target.settle import judge_target, masked_sshd
from harness.target.settle import settled as settled_check
from harness.target.standing import Standing
from harness.target.units import IncompleteAnswer, UnitState, parse_show
from harness.target.why import explain, restarted_within

from .answers import a_target

NOW = 1000.0
GETTY = "serial-getty@ttyS0.service"
QUIET = Look(now_us=int(NOW * 1e6), up=NOW, system={"SystemState": "running"})


def at(ago: float) -> int:
    return int((NOW - ago) * 1e6)


def said(message: str, *, ago: float, start: str = "", priority: int = 6) -> Entry:
    return Entry(message, at(ago), False, priority=priority, invocation=start)


def broken(**changes: Any) -> UnitState:
    state = UnitState("ssh.service", "loaded", "failed", "failed", "exit-code", "notify", exec_code=1, exec_status=255)
    return replace(state, invocation="new", inactive_exit_us=at(30), changed_us=at(29), **changes)


def words(*entries: Entry, state: UnitState | None = None) -> str:
    """What the unit is quoted with."""
    unit = state or broken()
    return str(explain(replace(QUIET, asked=(unit,), entries=entries))).partition("; it said: ")[2]


# -- the unit's words are those of its last start


def test_words_of_an_earlier_start_are_not_quoted() -> None:
    healed = said("fatal: no hostkeys available", ago=500, start="old", priority=2)
    own = said("error: Bind to port 22 failed: Address already in use.", ago=30, start="new", priority=3)
    assert words(healed, own) == own.message
    assert words(healed) == ""


def test_without_an_invocation_the_time_of_the_start_counts() -> None:
    healed = said("fatal: no hostkeys available", ago=500, priority=2)
    own = said("fatal: Cannot bind any address.", ago=30, priority=2)
    assert words(healed, own) == own.message


def test_errors_stand_before_what_was_said_after_them() -> None:
    error = said("error: Bind to port 22 on 0.0.0.0 failed: Address already in use.", ago=30, start="new", priority=3)
    chat = [said(f"Server listening on :: port {port}.", ago=29, start="new") for port in range(22, 32)]
    assert words(error, *chat) == f"{error.message} | {chat[-1].message}"


def test_an_error_without_a_priority_is_known_by_its_words() -> None:
    lines = ["starting", "cannot open /etc/daemon.conf: No such file or directory", "cleaning up", "bye", "a", "b", "c"]
    entries = [said(line, ago=30, start="new") for line in lines]
    assert words(*entries) == "cannot open /etc/daemon.conf: No such file or directory | c"


def test_of_many_errors_the_first_ones_and_the_last_one_are_quoted() -> None:
    entries = [said(f"error {number}", ago=30, start="new", priority=3) for number in range(9)]
    assert words(*entries) == "error 0 | error 1 | error 2 | error 8"


def test_a_start_limit_of_an_earlier_start_is_not_told() -> None:
    early = Entry("ssh.service: Start request repeated too quickly.", at(500), True, ("ssh.service",))
    assert "start limit" not in str(explain(replace(QUIET, asked=(broken(),), entries=(early,))))
    late = replace(early, at_us=at(29))
    assert "start limit" in str(explain(replace(QUIET, asked=(broken(),), entries=(late,))))


def test_the_errors_of_the_last_start_are_read_beside_the_last_entries() -> None:
    unit = "Id=a.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nInvocationID=new\n"
    error = {
        "MESSAGE": "the disk is on fire",
        "PRIORITY": "3",
        "_SYSTEMD_INVOCATION_ID": "new",
        "__MONOTONIC_TIMESTAMP": "1",
    }
    chat = {"MESSAGE": "tick", "_SYSTEMD_INVOCATION_ID": "new", "__MONOTONIC_TIMESTAMP": "2"}
    text = f"== asked\n{unit}== states\n== jobs\n== clock\nup 9\n== entries\n{json.dumps(chat)}\n"
    look = parse_look(f"{text}== errors\n{json.dumps(error)}\n{json.dumps(chat)}\n")
    assert [entry.message for entry in look.entries] == ["the disk is on fire", "tick"]
    assert str(explain(look)).endswith("; it said: the disk is on fire | tick")


# -- what harness causes itself


def restart(ago: float, unit: str = GETTY) -> tuple[Entry, Entry]:
    return (
        Entry("", at(ago), True, (unit,), RESTART_SCHEDULED),
        Entry("", at(ago), True, (unit,), STARTED),
    )


@pytest.mark.parametrize("unit", [GETTY, "getty@tty1.service", "console-getty.service", "container-getty@1.service"])
def test_a_logout_is_no_flapping(unit: str) -> None:
    once = replace(QUIET, entries=restart(0.5, unit))
    assert not restarted_within(once, unit, 2.0)
    assert judge_target(once) == (Standing.UP, "running, no jobs queued")
    often = replace(QUIET, entries=tuple(entry for ago in (1.8, 1.2, 0.6, 0.1) for entry in restart(ago, unit)))
    assert restarted_within(often, unit, 2.0)
    assert judge_target(often)[0] is Standing.COMING


def test_another_unit_flaps_after_one_restart() -> None:
    assert restarted_within(replace(QUIET, entries=restart(0.5, "a.service")), "a.service", 2.0)


@pytest.mark.parametrize(
    ("active", "sub", "job"),
    [("activating", "auto-restart", ""), ("inactive", "dead", "7"), ("deactivating", "stop-sigterm", "")],
)
def test_a_getty_that_is_started_anew_after_a_logout_keeps_nothing_waiting(active: str, sub: str, job: str) -> None:
    state = UnitState(GETTY, "loaded", active, sub, "success", "idle", job=job)
    jobs = (Job(7, GETTY, "restart", "running"),) if job else ()
    look = replace(QUIET, states={GETTY: state}, jobs=jobs, entries=restart(0.2))
    assert judge_target(look) == (Standing.UP, "running, no jobs queued")
    assert judge_target(replace(look, states={GETTY: replace(state, result="exit-code")}))[0] is Standing.COMING


def process(pid: int, parent: int, *argv: str) -> Process:
    return Process(pid, parent, 10.0, "", argv)


def test_our_own_shell_is_no_part_of_what_a_start_job_runs() -> None:
    main = process(100, 1, "/usr/sbin/sshd", "-D")
    ours = [process(200, 100, "sshd: root@notty"), process(201, 200, "sh"), process(202, 201, "sh", "-c", "look")]
    own = process(300, 100, "/usr/lib/openssh/helper")
    for title in ("sshd: root@notty", "sshd-session: root@notty", "renamed"):
        ours[0] = replace(ours[0], argv=(title,))
        assert without_sessions([main, own, *ours], 201, {100}) == (main, own)
    assert without_sessions([main, own, *ours[1:]], 0, {100}) == (main, own, *ours[1:])


def test_a_shell_that_is_the_units_own_process_stays() -> None:
    sulogin = [process(50, 1, "sulogin"), process(51, 50, "bash"), process(52, 51, "sh", "-c", "look")]
    assert without_sessions(sulogin, 51, {50}) == (sulogin[0],)
    assert without_sessions(sulogin, 50, {50}) == tuple(sulogin)


def test_a_listener_that_names_itself_sshd_stays_while_its_sessions_go() -> None:
    listener = process(100, 1, "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups")
    session = process(200, 100, "sshd: alice@pts/0")
    assert without_sessions([listener, session, process(201, 200, "-bash")], 0, {100}) == (listener,)


# -- a masked unit behind an alias, and a failed one whose file is gone

MASKED = "Id=ssh.service\nLoadState=masked\nActiveState=inactive\nSubState=dead\nUnitFileState=masked\n"
ALIAS = (
    "Id=sshd.service\nLoadState=error\nActiveState=inactive\nSubState=dead\nUnitFileState=masked\n"
    'LoadError=org.freedesktop.DBus.Error.FileExists "Unit sshd.service failed to load properly, please adjust/correct '
    'and reload service manager: File exists"\n'
)
NO_SOCKET = "Id=ssh.socket\nLoadState=loaded\nActiveState=inactive\nSubState=dead\n"


def masked_look() -> str:
    return f"== system\nSystemState=running\n== states\n{MASKED}\n{ALIAS}\n{NO_SOCKET}== jobs\n== clock\nup 900\n"


def test_an_alias_of_a_masked_unit_is_masked() -> None:
    (state,) = parse_show(ALIAS)
    assert (state.standing, state.reason) == (Standing.NEVER, "is masked, as an alias of a unit that is masked")


def test_a_masked_sshd_keeps_a_target_that_lacks_ssh_from_settling() -> None:
    target, link = a_target(masked_look(), masked_look())
    link.left = {"ssh": "refused"}  # type: ignore[attr-defined]
    with pytest.raises(Never, match=r"ssh\.service is masked, so nothing serves SSH"):
        settled_check(target)
    link.left = {}  # type: ignore[attr-defined]
    assert settled_check(target) == "running, no jobs queued"  # something else serves it


def test_a_failed_unit_is_explained_where_ssh_is_lacking_too() -> None:
    failed = "Id=ssh.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\n"
    entry = json.dumps({"MESSAGE": "Bad configuration option: Protokoll", "PRIORITY": "3"})
    whole = f"== system\nSystemState=degraded\n== states\n{failed}== jobs\n== clock\nup 900\n"
    target, link = a_target(whole, f"== asked\n{failed}== states\n== jobs\n== clock\nup 900\n== entries\n{entry}\n", "")
    link.left = {"ssh": "refused"}  # type: ignore[attr-defined]
    with pytest.raises(Never, match="it said: Bad configuration option: Protokoll"):
        settled_check(target)


def test_a_masked_name_of_sshd_is_no_fault_where_another_one_serves() -> None:
    up = MASKED.replace("ssh.service", "sshd.service").replace("masked", "loaded").replace("=inactive", "=active")
    look = parse_look(f"== states\n{MASKED}\n{up}== jobs\n== clock\nup 900\n")
    assert masked_sshd(look) == ""
    assert masked_sshd(parse_look(masked_look())) == "ssh.service"


def test_a_failed_unit_whose_file_is_gone_has_failed() -> None:
    state = broken(load_state="not-found")
    assert "failed (Result=exit-code, exit status 255)" in state.reason
    assert state.reason.endswith("its unit file is gone since")
    assert "not installed" not in state.reason


# -- a log's fields may hold anything

FIELDS = """
MESSAGE MESSAGE_ID UNIT USER_UNIT JOB_ID JOB_TYPE JOB_RESULT UNIT_RESULT INVOCATION_ID _SYSTEMD_INVOCATION_ID PRIORITY
_PID _COMM __MONOTONIC_TIMESTAMP __REALTIME_TIMESTAMP
"""
FIELD = st.sampled_from(FIELDS.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("9" * 400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
UNIT = "Id=a.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nInvocationID=x\n"


@given(st.lists(st.dictionaries(FIELD, JSON, max_size=6) | st.text(max_size=10), max_size=4))
@settings(deadline=None, max_examples=60)
def test_no_field_of_a_log_costs_the_cause(entries: list[dict[str, object] | str]) -> None:
    lines = "\n".join(entry.replace("\n", " ") if isinstance(entry, str) else json.dumps(entry) for entry in entries)
    lines = lines.replace("\n== ", "\n")
    text = f"== asked\n{UNIT}== system\nSystemState=degraded\n== states\n== jobs\n== clock\nup 9\n== entries\n{lines}\n"
    look = parse_look(text)
    assert "failed (Result=exit-code)" in str(explain(look))
    assert judge_target(look)[1].startswith("a.service failed")


@given(st.lists(st.dictionaries(FIELD, JSON, max_size=6), max_size=3))
@settings(deadline=None, max_examples=60)
def test_no_field_of_a_log_is_an_internal_error(entries: list[dict[str, object]]) -> None:
    parsed = parse_journal("\n".join(json.dumps(entry) for entry in entries))
    assert len([str(entry) for entry in parsed]) == len(entries)


def test_a_unit_of_which_nothing_was_answered_is_asked_again() -> None:
    target, _ = a_target("== states\n== jobs\n== clock\nup 1\n")
    with pytest.raises(NotYet, match=r"did not answer for a\.service"):
        target.why("a.service")
    with pytest.raises(IncompleteAnswer):
        parse_look("== jobs\n")


@pytest.mark.parametrize("user", [None, "alice"])
def test_what_is_read_of_a_target_is_asked_for_in_no_language(user: str | None) -> None:
    commands = [unit_command("a.service", user), system_command(user), restarts_command(user)]
    if user is not None:  # its id is asked for, and `id` says in the target's language that there is no such user
        commands += [show_command(["a.service"], user), jobs_command(user), journal_command(["a.service"], 3, 9, user)]
    assert all("export LC_ALL=C" in command for command in commands)
