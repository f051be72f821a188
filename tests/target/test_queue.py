"""Ways through the job queue: every graph, every knot, and what a process has to do with it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.target.jobs import Job, parse_jobs
from harness.target.look import Look
from harness.target.processes import Process, Request, innermost, parse_processes, request_of, waiters
from harness.target.queue import Knot, Queue, limit
from harness.target.standing import Standing
from harness.target.units import UnitState
from harness.target.why import explain, explain_queue

JOBS = """\
  123 sshd.service        start waiting
  100 pre-nixos.service   start running
"""

# systemd 252, and one before 246, whose label says the contrary of what is meant.
BEFORE = """\
● 3929 zdead.service                                 start running
4045 cya.service                                      start waiting
└─   \twaiting for job 3929 (zdead.service/start)      -     -
└─   \twaiting for job 3987 (later.service/start)      -     -
`-   \tblocking job 12 (x.service/start)               -     -
"""


def test_jobs() -> None:
    assert parse_jobs(JOBS) == (
        Job(123, "sshd.service", "start", "waiting"),
        Job(100, "pre-nixos.service", "start", "running"),
    )
    assert parse_jobs(BEFORE) == (
        Job(3929, "zdead.service", "start", "running"),
        Job(4045, "cya.service", "start", "waiting", (3929, 3987, 12)),
    )
    assert parse_jobs("No jobs running.\n") == ()


# -- ordering ---------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Job, ...]:
    count = draw(st.integers(1, 9))
    ids = st.integers(1, count)
    return tuple(
        Job(number, f"u{number}.service", "start", "waiting", tuple(draw(st.lists(ids, max_size=3, unique=True))))
        if draw(st.booleans())
        else Job(number, f"u{number}.service", "start", "running")
        for number in range(1, count + 1)
    )


def reach(jobs: tuple[Job, ...], start: Job) -> set[int]:
    """All that a job waits for, itself only where it does so in a circle."""
    by_id = {job.id: job for job in jobs}
    found: set[int] = set()
    todo = list(start.after)
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo.extend(by_id[each].after)
    return found


@given(graphs())
def test_a_way_leads_to_a_knot_where_there_is_one_and_else_to_a_root(jobs: tuple[Job, ...]) -> None:
    queue = Queue(Look(jobs=jobs))
    by_id = {job.id: job for job in jobs}
    for job in jobs:
        way = queue.way(job)
        reached = reach(jobs, job)
        circles = {each for each in {job.id, *reached} if each in reach(jobs, by_id[each])}
        assert (way.knot is Knot.CYCLE) == bool(circles)
        here = job
        for step in way.steps:
            assert step.job == here
            assert step.to.id in here.after
            here = step.to
        if circles:
            assert way.root.id in circles
            assert way.root in [way.start, *(step.to for step in way.steps[:-1])]
        else:
            assert not way.root.after
        assert {other.id for other in queue.behind(job)} == {
            other.id for other in jobs if job.id in reach(jobs, other) and other != job
        }
    root = queue.root
    assert root is not None
    knotted = {job.id for job in jobs if job.id in reach(jobs, job)}
    if knotted:
        assert root.id in knotted
    else:
        assert root.running or not any(job.running for job in jobs)


@given(graphs())
def test_every_queue_is_told(jobs: tuple[Job, ...]) -> None:
    look = Look(jobs=jobs, now_us=1_000_000, up=1.0)
    told = explain_queue(look)
    assert told is not None
    assert told.standing in (Standing.COMING, Standing.NEVER)
    for job in jobs:
        why = explain(look, UnitState(job.unit, "loaded", "inactive", "dead"))
        assert why.sentence.startswith(f"{job.unit}: start job ")
        assert why.chain[0] == job.unit


def test_a_long_queue_is_no_trouble() -> None:
    jobs = tuple(
        Job(n, f"u{n}.service", "start", "waiting" if n > 1 else "running", tuple(range(max(1, n - 20), n)))
        for n in range(1, 1500)
    )
    told = explain_queue(Look(jobs=jobs))
    assert told is not None
    assert told.sentence == "u1.service: start job running; behind it wait " + (
        "u2.service, u3.service, u4.service, u5.service, u6.service and 1493 more"
    )
    assert len(Queue(Look(jobs=jobs)).way(jobs[-1]).steps) == 75


def test_of_several_that_hold_a_job_those_that_run_are_told() -> None:
    jobs = (
        Job(1, "a.service", "start", "waiting", (2, 3, 4)),
        Job(2, "b.target", "start", "waiting", (3,)),
        Job(3, "c.service", "start", "running"),
        Job(4, "d.service", "stop", "running"),
    )
    why = explain(Look(jobs=jobs), UnitState("a.service", "loaded", "inactive", "dead", job="1"))
    assert why.sentence == (
        "a.service: start job waiting; ordered after c.service, whose start job is running (and after d.service)"
    )


def test_a_job_that_nothing_holds_is_about_to_run() -> None:
    look = Look(jobs=(Job(1, "a.service", "start", "waiting", (77,)),))
    why = explain(look, UnitState("a.service", "loaded", "inactive", "dead", job="1"))
    assert why.sentence == "a.service: start job waiting; nothing in the queue holds it back"


# -- processes --------------------------------------------------------------------------------------------------


def a_process(pid: int, parent: int, *argv: str, waits_in: str = "do_wait") -> Process:
    return Process(pid, parent, 1.0, waits_in, argv)


def a_unit(name: str, **changes: Any) -> UnitState:
    return UnitState(name, "loaded", "activating", "start", **changes)


def a_deadlock(
    *processes: Process, verb: str = "restart", unit: str = "late", timeout: float = math.inf, of_user: bool = False
) -> Look:
    """pre.service runs, and below it a systemctl; late.service waits for pre.service."""
    line = a_process(3, 2, "systemctl", verb, unit, waits_in="do_sys_poll")
    return Look(
        states={
            "pre.service": a_unit("pre.service", main_pid=1, start_timeout=timeout),
            "late.service": a_unit("late.service", names=("late.service", "alias.service")),
        },
        jobs=(Job(1, "pre.service", "start", "running"), Job(2, "late.service", "start", "waiting", (1,))),
        processes=processes or (a_process(1, 0, "/bin/sh", "x"), a_process(2, 1, "bash"), line),
        of_user=of_user,
    )


def test_a_deadlock_is_certain_where_everything_above_only_waits() -> None:
    why = explain_queue(a_deadlock())
    assert why is not None
    assert (why.knot, why.standing, why.chain) == (Knot.DEADLOCK, Standing.NEVER, ("pre.service", "late.service"))
    assert why.sentence == (
        "pre.service: start job running (`/bin/sh x`, PID 1); it is itself waiting for `systemctl restart late` "
        "(PID 3), which waits for late.service's start job; that one is ordered after pre.service: a deadlock, which "
        "nothing ends"
    )


@pytest.mark.parametrize(
    "processes",
    [
        # Another child may be what is waited for.
        (a_process(1, 0, "sh"), a_process(2, 1, "systemctl", "start", "late"), a_process(3, 1, "sleep", "9")),
        # The one above does something of its own, or the kernel does not tell.
        (a_process(1, 0, "sudo", waits_in="do_sys_poll"), a_process(2, 1, "systemctl", "start", "late")),
        (a_process(1, 0, "sh", waits_in=""), a_process(2, 1, "systemctl", "start", "late")),
    ],
)
def test_a_deadlock_is_not_certain_where_something_else_may_be_waited_for(processes: tuple[Process, ...]) -> None:
    why = explain_queue(a_deadlock(*processes))
    assert why is not None
    assert (why.knot, why.standing) == (Knot.DEADLOCK, Standing.COMING)
    assert why.sentence.endswith(": a deadlock, if pre.service itself waits for that process")


def test_a_deadlock_that_a_time_out_ends_is_waited_for() -> None:
    why = explain_queue(a_deadlock(timeout=90))
    assert why is not None
    assert (why.knot, why.standing) == (Knot.DEADLOCK, Standing.COMING)
    assert why.sentence.endswith(": a deadlock, unless the time-out of pre.service ends it (90 s)")


def test_a_time_out_that_is_not_known_is_no_reason_to_give_up() -> None:
    why = explain_queue(a_deadlock(timeout=math.nan))
    assert why is not None
    assert (why.knot, why.standing) == (Knot.DEADLOCK, Standing.COMING)
    assert why.sentence.endswith(": a deadlock")


@pytest.mark.parametrize("unit", ["late.service", "alias", "la*"])
def test_the_job_that_is_waited_for_may_be_named_in_other_ways(unit: str) -> None:
    why = explain_queue(a_deadlock(unit=unit))
    assert why is not None
    assert why.knot is Knot.DEADLOCK


@pytest.mark.parametrize(
    "processes",
    [
        (a_process(1, 0, "systemctl", "start", "other"),),
        (a_process(1, 0, "systemctl", "--no-block", "start", "late"),),
        (a_process(1, 0, "systemctl", "--user", "start", "late"),),
        (a_process(1, 0, "systemctl", "is-active", "late"),),
        (a_process(1, 0, "sh"), a_process(2, 77, "systemctl", "start", "late")),
    ],
)
def test_other_processes_make_no_deadlock(processes: tuple[Process, ...]) -> None:
    why = explain_queue(a_deadlock(*processes))
    assert why is not None
    assert (why.knot, why.standing) == (None, Standing.COMING)


def test_who_waits_for_the_end_of_the_boot_waits_for_itself() -> None:
    why = explain_queue(a_deadlock(a_process(1, 0, "systemctl", "is-system-running", "--wait")))
    assert why is not None
    assert why.sentence == (
        "pre.service: start job running (`systemctl is-system-running --wait`, PID 1); it is itself waiting for "
        "`systemctl is-system-running --wait` (PID 1), which waits for the end of the boot, to which its own job "
        "belongs: a deadlock, which nothing ends; behind it waits late.service"
    )


def test_a_users_manager_has_a_queue_of_its_own() -> None:
    mine = a_process(1, 0, "systemctl", "--user", "start", "late")
    for of_user, knot in ((True, Knot.DEADLOCK), (False, None)):
        why = explain_queue(a_deadlock(mine, of_user=of_user))
        assert why is not None
        assert why.knot is knot


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        ("systemctl start a", Request(("a.service",))),
        ("/usr/bin/systemctl -q reload-or-restart a.socket b", Request(("a.socket", "b.service"))),
        ("systemctl -t service --job-mode replace stop a", Request(("a.service",))),
        ("systemctl --job-mode=replace isolate rescue.target", Request(("rescue.target",))),
        ("systemctl enable --now a", Request(("a.service",))),
        ("systemctl start /data /dev/sda1", Request(("data.mount", "dev-sda1.device"))),
        ("systemctl start /", Request(("-.mount",))),
        ("systemctl --user restart a@1", Request(("a@1.service",), user=True)),
        ("systemctl is-system-running --wait", Request((), boot=True)),
        ("systemctl enable a", None),
        ("systemctl is-system-running", None),
        ("systemctl --no-block start a", None),
        ("systemctl -M guest start a", None),
        ("systemctl --root=/mnt start a", None),
        ("systemctl start", None),
        ("systemctl", None),
        ("sleep start a", None),
        ("", None),
    ],
)  # fmt: skip
def test_what_a_systemctl_waits_for(argv: str, wanted: Request | None) -> None:
    assert request_of(argv.split()) == wanted


STATS = """\
596 (sh) S 1 596 596 0 -1 4194560 154 0 0 0 7 7 0 0 20 0 1 0 72895 2646016 221 0\tdo_wait
597 (a) b (c) S 596 596 596 0 -1 4194560 321 0 0 0 26 22 0 0 20 0 1 0 72920 14241792 1423 0\t0
598 (kworker/0:1) I 2 0 0 0 -1 4194560 321 0 0 0 26 22 0 0 20 0 1 0 100 0 0 0\t
half a li
"""
COMMANDS = """\
==> /dev/null <==

==> /proc/596/cmdline <==
/bin/sh\t-c\techo one
systemctl restart two\t
==> /proc/597/cmdline <==
systemctl\trestart\ttwo\t
==> /proc/598/cmdline <==

"""


def test_processes_are_read() -> None:
    first, second, kernel = parse_processes(STATS, COMMANDS)
    assert (first.pid, first.parent, first.waits_in, first.started) == (596, 1, "do_wait", 728.95)
    assert first.argv == ("/bin/sh", "-c", "echo one\nsystemctl restart two")
    assert first.command == "/bin/sh -c echo one systemctl restart two"
    assert (second.parent, second.waits_in, second.command) == (596, "", "systemctl restart two")
    assert kernel.command == "[kworker/0:1]"
    assert innermost((first, second, kernel), 596) == second
    assert innermost((first, second), 999) is None
    (waiter,) = waiters((first, second), 596)
    assert (waiter.process, waiter.certain) == (second, True)


@given(st.text(), st.text())
def test_whatever_stands_in_proc_is_read_or_passed_over(stats: str, commands: str) -> None:
    assert all(process.argv for process in parse_processes(stats, commands))


def test_a_long_command_is_shortened() -> None:
    process = a_process(1, 0, "sh", "-c", "x" * 500)
    assert len(process.command) == 101
    assert process.command.endswith("…")


def test_limits() -> None:
    unit = a_unit("a.service", start_timeout=90, stop_timeout=30, job_timeout=1000, job_running_timeout=500)
    device = UnitState("dev-a.device", "loaded", "inactive", "dead", start_timeout=math.nan, job_running_timeout=180)
    assert limit(unit, Job(1, "a.service", "start", "running")) == 90
    assert limit(unit, Job(1, "a.service", "stop", "running")) == 30
    assert limit(unit, Job(1, "a.service", "start", "waiting")) == 1000
    assert limit(device, Job(1, "dev-a.device", "start", "running")) == 180
    assert math.isnan(limit(None, Job(1, "a.service", "start", "running")))
