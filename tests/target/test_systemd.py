"""What a check is told of units: as states, as NotYet, as Never, as Skip; and by how many questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.api.check import Never, NotYet, Skip
from harness.target.look import RESTART_SCHEDULED, STARTED
from harness.target.standing import Standing

from .answers import Said, a_target

LOOKS = Path(__file__).parent / "looks"


def look(name: str) -> str:
    case: dict[str, Any] = json.loads((LOOKS / f"{name}.json").read_text())
    return "\n".join(case["output"])


def show(name: str) -> str:
    """What `systemctl show` said of the unit itself in a look."""
    return look(name).partition("== asked\n")[2].partition("== states")[0]


def flapping(*ago: float, restarts: int = 0, changed: float = 100, state: str = "running") -> str:
    """A look at a unit that was started so many seconds ago, and has changed its state then."""
    now = 1000.0
    entries = [(STARTED, since) for since in ago]
    entries += [(RESTART_SCHEDULED, since + 0.1) for since in ago[-restarts:]] if restarts else []
    lines = [
        json.dumps({"UNIT": "a.service", "MESSAGE": "x", "MESSAGE_ID": kind, "__MONOTONIC_TIMESTAMP": str(when)})
        for since, kind in sorted(((since, kind) for kind, since in entries), reverse=True)
        for when in [int((now - since) * 1e6)]
    ]
    values = {
        "Id": "a.service",
        "LoadState": "loaded",
        "ActiveState": "activating" if state == "auto-restart" else "active",
        "SubState": state,
        "Result": "success",
        "NRestarts": str(restarts),
        "StateChangeTimestampMonotonic": str(int((now - changed) * 1e6)),
    }
    block = "\n".join(f"{key}={value}" for key, value in values.items())
    journal = "\n".join(lines)
    return (
        f"== asked\n{block}\n== states\n== jobs\n== processes\n== entries\n{journal}\n== begun\n"
        f"== clock\n{int(now * 1e9)}\nup {now}\n"
    )


def test_a_unit_that_is_up_takes_one_question() -> None:
    target, link = a_target(show("ssh.service"))
    assert target.unit_up("ssh.service").name == "ssh.service"
    assert len(link.asked) == 1
    assert link.asked[0].startswith("systemctl --no-pager show -p Id,"), "plain words need no shell on the target"


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        (
            "broken.service",
            Never,
            "failed (Result=exit-code, exit status 3) and no restart is pending; it said: the disk",
        ),
        ("late.service", Never, "a deadlock, which nothing ends"),
        ("slow.service", NotYet, "slow.service: start job running for"),
        ("lazy.service", NotYet, "lazy.socket is listening"),
        ("unbound.service", NotYet, "/dev/absent, which is not there yet"),
    ],
)
def test_a_unit_that_is_not_up_takes_two_and_is_explained(name: str, error: type[Exception], words: str) -> None:
    target, link = a_target(show(name), look(name))
    with pytest.raises(error) as caught:
        target.unit_up(name)
    assert words in str(caught.value)
    assert len(link.asked) == 2


def test_what_systemd_has_forgotten_the_journal_remembers() -> None:
    """A oneshot that is done and to which nothing refers is unloaded: it looks as if it had never been started."""
    target, _ = a_target(show("done.service"), look("done.service"))
    assert target.unit("done.service").standing is Standing.IDLE
    target, _ = a_target(show("done.service"), look("done.service"))
    state = target.unit_up("done.service")
    assert state.standing is Standing.UP
    assert state.invocation


def test_why_is_one_question() -> None:
    target, link = a_target(look("late.service"))
    assert target.why("late.service").chain == ("late.service", "pre-nixos.service")
    assert len(link.asked) == 1


def test_settled_is_told_by_the_targets_own_clock_in_one_look() -> None:
    target, link = a_target(flapping(changed=3.5))
    assert target.unit_settled("a.service", 3.0).standing is Standing.UP
    assert len(link.asked) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            flapping(2.6, changed=2.6),
            "a.service is active (running), but for 2.6 s only (0 restarts); it has to hold for 3.0 s",
        ),
        (
            flapping(2.6, 1.5, 0.4, restarts=3, changed=0.4),
            "a.service is flapping (3 restarts; started 0.4 s, 1.5 s and 2.6 s ago); it has to hold for 3.0 s",
        ),
        (
            # Started anew by somebody else, with no automatic restart.
            flapping(2.6, 1.5, changed=1.5),
            "a.service is flapping (0 restarts; started 1.5 s and 2.6 s ago); it has to hold for 3.0 s",
        ),
        (
            flapping(2.6, 1.5, restarts=2, changed=0.2, state="auto-restart"),
            "a.service is waiting for its automatic restart (Result=success, 2 restarts); started 1.5 s and 2.6 s ago",
        ),
        (
            # The moment in which its restart is a job.
            flapping(2.6, 1.5, restarts=2).replace("== jobs\n", "== jobs\n7 a.service restart waiting\n"),
            "a.service: restart job waiting; nothing in the queue holds it back; "
            "it has had 2 restarts; started 1.5 s and 2.6 s ago",
        ),
        (
            flapping(9.0, 1.5, restarts=1, changed=1.5),
            "a.service is flapping (1 restart; started 1.5 s and 9.0 s ago); it has to hold for 3.0 s",
        ),
    ],
)
def test_what_has_not_held_for_the_window_is_told_with_the_times(answer: str, words: str) -> None:
    target, _ = a_target(answer)
    with pytest.raises(NotYet) as caught:
        target.unit_settled("a.service", 3.0)
    assert str(caught.value) == words


def test_restarts_that_are_long_past_do_not_count() -> None:
    target, _ = a_target(flapping(9.0, 8.0, 7.0, restarts=3, changed=7.0))
    assert target.unit_settled("a.service", 3.0).restarts == 3


@pytest.mark.parametrize("name", ["worker@.service", "", " ", "a@.socket"])
def test_a_template_is_told_before_the_target_is_asked(name: str) -> None:
    target, link = a_target()
    for ask in (target.unit, target.why, target.unit_up, target.unit_settled):
        with pytest.raises(Never, match=r"template|without a name"):
            ask(name)
    assert link.asked == []


NOT_BOOTED = "System has not been booted with systemd as init system (PID 1). Can't operate.\nFailed to connect to bus"


@pytest.mark.parametrize(
    ("said", "user", "error", "words"),
    [
        ((1, "", NOT_BOOTED), None, Skip, "not run by systemd"),
        ((127, "", "sh: systemctl: not found"), None, Skip, "not run by systemd"),
        ((1, "", "Failed to list jobs: Connection timed out"), None, NotYet, "Connection timed out"),
        (
            (1, "", "Failed to get properties: Unit name a!b is neither a valid invocation"),
            None,
            Never,
            "a!b cannot be",
        ),
        ((1, "", "id: 'joe': no such user"), "joe", Never, "the target has no user joe"),
        ((1, "", "Failed to connect to bus: No such file or directory"), "joe", NotYet, "joe has no systemd manager"),
        ("nothing that can be understood", None, NotYet, "came without its states, jobs, clock"),
        ("== asked\nId=a\n== states\n== jobs\n== clock\n", None, NotYet, "did not say LoadState"),
        ("== states\n== jobs\n== clock\nup 1\n== entries\n{half", None, NotYet, "did not answer for a.service"),
    ],
)
def test_what_no_verdict_can_be_made_of(said: Said, user: str | None, error: type[Exception], words: str) -> None:
    target, _ = a_target(said)
    manager = target.systemd if user is None else target.user_systemd(user)
    with pytest.raises(error) as caught:
        manager.why("a.service")
    assert words in str(caught.value)


def test_units_that_are_not_answered_for_are_asked_for_again() -> None:
    target, _ = a_target(show("ssh.service"))
    with pytest.raises(NotYet, match="1 of 2 units"):
        target.units("ssh.service", "cron.service")


def test_a_users_journal_and_jobs_are_asked_for_as_that_user() -> None:
    target, link = a_target("", '{"MESSAGE": "hi", "__REALTIME_TIMESTAMP": "1000000"}\n')
    manager = target.user_systemd("alice")
    assert manager.jobs() == ()
    (entry,) = manager.journal("a.service", "b.service")
    assert entry.message == "hi"
    assert all("y=alice" in command for command in link.asked)
    assert "list-jobs" in link.asked[0]
    assert """USER_UNIT=a.service "$m" + _SYSTEMD_USER_UNIT=a.service "$m" + USER_UNIT=b.service""" in link.asked[1]
