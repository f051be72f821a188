"""Units of every kind on a real guest: each has its verdict and its sentence, and so has the target as a whole."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness.api.check import Never, NotYet
from harness.deadline import Deadline
from harness.target import look as looks
from harness.target.queue import Knot
from harness.target.reset import Reset, ResetKind
from harness.target.settle import judge_target, settled
from harness.target.standing import Standing
from harness.target.target import Target
from harness.target.units import UnitState
from harness.target.why import Why, explain
from tests.patience import scaled

from .settling_units import busy as fill_the_queue
from .settling_units import quiet
from .test_link import Guest

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

T = TypeVar("T")
RECORD = os.environ.get("HARNESS_RECORD_LOOKS", "")
"""A folder: every unit is looked at, and each look written there, to be judged again by the tests without a guest."""
ALWAYS = (
    *("done.service", "worker@7.service", "lazy.service", "tick.service", "hidden.service", "broken.service"),
    *("unmet.service", "slow.service", "bound.service", "late.service", "left.service", "own-late.service"),
)
"""What is looked at on every guest; the rest is known from the record."""

UP, COMING, IDLE, NEVER = Standing.UP, Standing.COMING, Standing.IDLE, Standing.NEVER

# What stands after the unit's name; TIME is a length of time.
QUIET: list[tuple[Any, ...]] = [
    ("ssh.service", UP, r"is active \(running\)"),
    ("done.service", UP, r"is a oneshot that has done its work TIME ago"),
    ("remains.service", UP, r"is active \(exited\)"),
    ("worker@7.service", UP, r"is active \(running\)"),
    ("lazy.socket", UP, r"is active \(listening\)"),
    (
        "lazy.service",
        IDLE,
        r"is inactive \(dead\): it has not been started, and no job is queued for it; "
        r"lazy.socket is listening and starts it when something connects",
    ),
    ("tick.timer", UP, r"is active \(waiting\)"),
    (
        "tick.service",
        IDLE,
        r"is inactive \(dead\): it has not been started, and no job is queued for it; tick.timer starts it in TIME",
    ),
    (
        "watch.service",
        IDLE,
        r"is inactive \(dead\): it has not been started, and no job is queued for it; "
        r"watch.path is waiting and starts it when it is needed",
    ),
    ("mnt.mount", UP, r"is active \(mounted\)"),
    (
        "unasked.service",
        IDLE,
        r"is inactive \(dead\): it has not been started, and no job is queued for it, and it is disabled",
    ),
    ("stopped.service", IDLE, r"is inactive \(dead\): it was stopped TIME ago"),
    ("unbound.service", COMING, r"is bound to /dev/absent, which is not there yet"),
    ("dev-absent.device", COMING, r"is a device that is not there yet \(/dev/absent\)"),
    ("dev-vda.device", UP, r"is active \(plugged\)"),
    (
        "waiter.service",
        COMING,
        r"is waiting for its automatic restart \(Result=success, 0 restarts\); started TIME ago",
    ),
    ("nosuch.service", NEVER, r"is not installed \(LoadState=not-found\)"),
    ("hidden.service", NEVER, r"is masked"),
    (
        "bad.service",
        NEVER,
        r"cannot be loaded \(LoadState=bad-setting: Unit bad.service has a bad unit file setting.\); "
        r"systemd said: bad.service: Service has no ExecStart=.* Refusing.",
    ),
    (
        "broken.service",
        NEVER,
        r"failed \(Result=exit-code, exit status 3\) and no restart is pending; it said: the disk is on fire",
    ),
    ("killed.service", NEVER, r"failed \(Result=signal, signal 9\) and no restart is pending"),
    (
        "limited.service",
        NEVER,
        r"failed \(Result=exit-code, exit status 1\) after \d+ restarts, and no other is pending; "
        r"systemd gave up: its start limit is hit",
    ),
    (
        "unmet.service",
        NEVER,
        r"was not started because a condition of it is not met: ConditionPathExists=/nope",
    ),
    ("asserted.service", NEVER, r"was not started because an assertion of it does not hold"),
    ("refused.service", NEVER, r"was not started because its ExecCondition= said no"),
    (
        "needy.service",
        NEVER,
        r"was not started because a dependency failed: broken-oneshot.service failed "
        r"\(Result=exit-code, exit status 1\) and no restart is pending",
    ),
    (
        "one.service|two.service",
        NEVER,
        r"was not started: its job was deleted to break a cycle in the ordering \(\w+.service → \w+.service → "
        r"\w+.service\)",
    ),
]

SLOW = r"slow.service, whose start job has been running for TIME \(`/bin/sh -c sleep 600; true`, PID \d+, in it "
SLOW += r"`sleep 600`, PID \d+, for TIME\)"
SCRIPT = r"\(`/bin/sh -c echo preparing; systemctl reload-or-restart late; echo done`, PID \d+\)"

WAITING: list[tuple[Any, ...]] = [
    ("slow.service", COMING, None, SLOW.replace("slow.service, whose start job has been", "start job")),
    ("after-slow.service", COMING, None, rf"start job waiting; ordered after {SLOW}"),
    (
        "behind.service",
        COMING,
        None,
        rf"start job waiting; ordered after after-slow.service, whose start job is waiting; after-slow.service is "
        rf"ordered after {SLOW}",
    ),
    (
        "silent.service",
        COMING,
        None,
        r"start job running for TIME of at most 3 min \(`/bin/sleep 1000`, PID \d+, it has not said READY=1 yet\)",
    ),
    ("reloads.service", COMING, None, r"reload job running for TIME of at most 3 min \(`/bin/sleep 600`, PID \d+\)"),
    ("stops.service", COMING, None, r"stop job running for TIME of at most 90 s \(`/bin/sleep 600`, PID \d+\)"),
    (
        "bound.service",
        COMING,
        None,
        r"start job waiting; ordered after dev-absent.device, whose start job has been running for TIME of at most "
        r"3 min \(the device /dev/absent is not there yet\)",
    ),
    (
        "opt.mount",
        COMING,
        None,
        r"start job waiting; ordered after dev-disk-by\\x2dlabel-absent.device, whose start job has been running for "
        r"TIME of at most 3 min \(the device /dev/disk/by-label/absent is not there yet\)",
    ),
    (
        "late.service",
        NEVER,
        Knot.DEADLOCK,
        rf"start job waiting; ordered after pre-nixos.service, whose start job has been running for TIME {SCRIPT}; it "
        r"is itself waiting for `systemctl reload-or-restart late` \(PID \d+\), which waits for late.service's start "
        r"job: a deadlock, which nothing ends",
    ),
    (
        "pre-nixos.service",
        NEVER,
        Knot.DEADLOCK,
        rf"start job running for TIME {SCRIPT}; it is itself waiting for `systemctl reload-or-restart late` \(PID "
        r"\d+\), which waits for late.service's start job; that one is ordered after pre-nixos.service: a deadlock, "
        r"which nothing ends",
    ),
    (
        "later.service",
        COMING,
        Knot.DEADLOCK,
        r"start job waiting; ordered after background.service, .*: a deadlock, if background.service itself waits for "
        r"that process",
    ),
    (
        "last.service",
        COMING,
        Knot.DEADLOCK,
        r"start job waiting; ordered after finite.service, .*: a deadlock, unless the time-out of finite.service ends "
        r"it \(60 min\)",
    ),
    (
        "left.service",
        NEVER,
        Knot.CYCLE,
        r"start job waiting; ordered after right.service, whose start job is waiting; right.service is ordered after "
        r"left.service: a cycle in the ordering, which nothing ends",
    ),
]

USERS: list[tuple[Any, ...]] = [
    ("own-done.service", UP, None, r"is a oneshot that has done its work TIME ago"),
    (
        "own-broken.service",
        NEVER,
        None,
        r"failed \(Result=exit-code, exit status 2\) and no restart is pending; it said: no such file",
    ),
    (
        "own-late.service",
        NEVER,
        Knot.DEADLOCK,
        r"start job waiting; ordered after own-pre.service, .*; it is itself waiting for "
        r"`systemctl --user restart own-late` \(PID \d+\), which waits for own-late.service's start job: a deadlock, "
        r"which nothing ends",
    ),
]


class States:
    """One machine in three states, each made of the quiet one: so a test has what it needs, whatever ran before it."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._state = "quiet"
        made = guest.target(120).run("sh", stdin=quiet(every=bool(RECORD)).encode())
        assert made.ok, made.err
        until(lambda: guest.target().unit_settled("third.service", 2.0))
        guest.session.save(Deadline.after(scaled(120)))

    def quiet(self) -> Guest:
        """The queue is empty, and nothing flaps."""
        if self._state != "quiet":
            self._guest.session.reset(Reset(ResetKind.SNAPSHOT), Deadline.after(scaled(120)))
            self._state = "quiet"
        return self._guest

    def busy(self) -> Guest:
        """The queue is full of jobs that wait."""
        if self._state != "busy":
            guest = self.quiet()
            self._state = "busy"
            made = guest.target().run("sh", stdin=fill_the_queue(every=bool(RECORD)).encode())
            assert made.ok, made.err
            until(lambda: guest.target().run("systemctl list-jobs").out.count("waiting") >= 5 or None)
        return self._guest

    def flapping(self) -> Guest:
        """One of the units restarts again and again: that costs an emulated machine much."""
        if self._state != "flapping":
            guest = self.quiet()
            self._state = "flapping"
            assert guest.target().run("systemctl start flapper").ok
        return self._guest


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[States]:
    found = Guest(tmp_path_factory.mktemp("settling"))
    try:
        yield States(found)
    finally:
        found.session.stop()


@pytest.fixture
def guest(states: States) -> Guest:
    return states.quiet()


@pytest.fixture
def busy(states: States) -> Guest:
    return states.busy()


@pytest.fixture
def flapping(states: States) -> Guest:
    return states.flapping()


def until(look: Callable[[], T | None], seconds: float = 60) -> T:
    """The first answer that is one."""
    end = time.monotonic() + scaled(seconds)
    while True:
        try:
            found = look()
        except NotYet:
            if time.monotonic() > end:
                raise
            found = None
        if found is not None:
            return found
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.2)


def matches(told: str, pattern: str) -> bool:
    times = pattern.replace("TIME", r"\d[\d.]* (?:s|min(?: \d+ s)?)")
    return re.fullmatch(times, told) is not None


def checked(guest: Guest, units: str, standing: Standing, knot: Knot | None, pattern: str, user: str = "") -> None:
    """Looks at the first of some units (`a|b`) that stands as expected, and compares the sentence."""
    target = guest.target()
    for unit in units.split("|"):
        answer = ask(target, unit, user)
        if answer.standing is standing:
            break
    separator = " " if answer.sentence.startswith(f"{unit} ") else ": "
    assert answer.standing is standing, answer.sentence
    assert matches(answer.sentence, re.escape(unit) + separator + pattern), answer.sentence
    assert answer.knot is knot


def ask(target: Target, unit: str, user: str = "") -> Why:
    """`why`, with the look written down where that is wanted."""
    manager = target.user_systemd(user) if user else target.systemd
    if not RECORD:
        return manager.why(unit)
    command = looks.unit_command(unit, user or None)
    output = target.read(command)
    look = looks.parse_look(output, of_user=bool(user))
    answer = explain(look)
    if len(look.jobs) > 2 and unit not in ("late.service", "left.service", "slow.service"):
        return answer  # a queue is long, and the look at all of it is kept
    case: dict[str, object] = {"command": f"look at {unit}", "user": user, "knot": answer.knot, "chain": answer.chain}
    case |= {"standing": answer.standing, "sentence": answer.sentence}
    keep(f"{user}-{unit}" if user else unit, case, output)
    return answer


def keep(name: str, case: dict[str, object], output: str) -> None:
    folder = Path(RECORD)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**case, "output": output.split("\n")}, indent=1)
    (folder / f"{name}.json").write_text(text + "\n")


def some(cases: list[tuple[Any, ...]]) -> list[Any]:
    return [pytest.param(*case, id=case[0]) for case in cases if RECORD or case[0] in ALWAYS]


@pytest.mark.parametrize(("unit", "standing", "pattern"), some(QUIET))
def test_a_unit_without_a_job(guest: Guest, unit: str, standing: Standing, pattern: str) -> None:
    checked(guest, unit, standing, None, pattern)


def test_a_template_is_never_started(guest: Guest) -> None:
    with pytest.raises(Never, match=r"worker@.service is a template, .* \(worker@NAME.service\)"):
        guest.target().unit_up("worker@.service")
    with pytest.raises(Never, match=r"cannot be the name of a unit"):
        guest.target().unit_up("a@b@.service!")


def test_what_recovers_at_the_third_try_is_up_and_settles(guest: Guest) -> None:
    state = until(lambda: guest.target().unit_settled("third.service", 2.0))
    assert (state.standing, state.restarts) == (UP, 2)


def test_what_flaps_is_told_with_the_times_and_does_not_settle(flapping: Guest) -> None:
    guest = flapping
    # It is up at some looks, all the same: one look is not enough.
    assert isinstance(until(lambda: guest.target().unit_up("flapper.service")), UnitState)
    until(lambda: "restart counter is at 3" in guest.target().run("journalctl -b -u flapper").out or None)
    told: set[str] = set()
    end = time.monotonic() + scaled(60)
    while len(told - {"job"}) < 2 and time.monotonic() < end:
        with pytest.raises(NotYet) as caught:
            guest.target().unit_settled("flapper.service", 2.0)
        kind = re.match(r"flapper.service(?: (is [a-z ]+)|: \w+ (job))", str(caught.value))
        assert kind, str(caught.value)
        told.add((kind[1] or kind[2]).strip())
        assert re.search(r"\d+ restarts?\)?; started [\d.]+ s, [\d.]+ s and [\d.]+ s ago", str(caught.value))
    assert told - {"job"} == {"is flapping", "is waiting for its automatic restart"}
    # The target as a whole does not settle for it either, unless it is expected.
    target = replace(guest.target(), vars={"expected_failed_units": "waiter.service"})
    with pytest.raises(NotYet) as caught:
        settled(target)
    assert re.match(r"flapper.service(: restart job| is flapping| is waiting for its automatic)", str(caught.value))


def test_the_target_as_a_whole_names_what_failed(guest: Guest) -> None:
    target = guest.target()
    with pytest.raises(NotYet, match=r"waiter.service is waiting for its automatic restart"):
        settled(target)
    calm = replace(target, vars={"expected_failed_units": ["waiter.service", "flapper.*"]})
    with pytest.raises(Never) as failed:
        settled(calm)
    assert "broken.service failed (Result=exit-code, exit status 3)" in str(failed.value)
    expected = ["waiter.service", "*broken*", "killed.service", "limited.service"]
    told = settled(replace(target, vars={"expected_failed_units": expected}))
    assert re.fullmatch(r"degraded \(.*broken.service.* failed, as expected\), no jobs queued", told)


@pytest.mark.parametrize(("unit", "standing", "knot", "pattern"), some(USERS))
def test_a_users_unit(guest: Guest, unit: str, standing: Standing, knot: Knot | None, pattern: str) -> None:
    checked(guest, unit, standing, knot, pattern, user="alice")


def test_a_user_without_a_manager_and_one_that_is_none(guest: Guest) -> None:
    with pytest.raises(NotYet, match="nobody has no systemd manager that answers"):
        guest.target().user_systemd("nobody").why("x.service")
    with pytest.raises(Never, match="the target has no user zacharias"):
        guest.target().user_systemd("zacharias").up("x.service")


@pytest.mark.parametrize(("unit", "standing", "knot", "pattern"), some(WAITING))
def test_a_unit_whose_job_waits(busy: Guest, unit: str, standing: Standing, knot: Knot | None, pattern: str) -> None:
    checked(busy, unit, standing, knot, pattern)


def test_over_the_console_it_is_told_the_same(busy: Guest) -> None:
    late = next(case for case in WAITING if case[0] == "late.service")
    answer = busy.target().over("serial").why("late.service")
    assert matches(answer.sentence, rf"late.service: {late[3]}"), answer.sentence
    with pytest.raises(Never, match=r"(a deadlock|a cycle in the ordering), which nothing ends"):
        settled(busy.target().over("serial"))


def test_the_queue_as_a_whole_names_what_nothing_ends(busy: Guest) -> None:
    output = busy.target().read(looks.system_command())
    standing, told = judge_target(looks.parse_look(output))
    assert standing is NEVER
    assert re.search(r"(a deadlock|a cycle in the ordering), which nothing ends.* \(and \d+ more jobs\)$", told), told
    if RECORD:
        look = looks.parse_look(output)
        units = {job.unit: str(explain(look, look.states[job.unit])) for job in look.jobs}
        keep("(target)", {"command": "look at all", "standing": standing, "sentence": told, "units": units}, output)
