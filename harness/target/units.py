"""What systemd says of a unit.

Pure: text in, values out. The properties are those of `org.freedesktop.systemd1(5)`, as `systemctl show` prints them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.target.standing import Standing, judge
from harness.target.values import path_of, span, words
from harness.tolerant import count

PROPERTIES = (
    "Id",
    "Names",
    "Description",
    "LoadState",
    "LoadError",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Result",
    "Type",
    "RemainAfterExit",
    "Job",
    "JobTimeoutUSec",
    "JobRunningTimeoutUSec",
    "TimeoutStartUSec",
    "TimeoutUSec",
    "TimeoutStopUSec",
    "NRestarts",
    "Restart",
    "InvocationID",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "AssertResult",
    "AssertTimestampMonotonic",
    "ExecMainStatus",
    "ExecMainCode",
    "MainPID",
    "ControlPID",
    "ControlGroup",
    "ExecStart",
    "ExecMount",
    "StateChangeTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
    "InactiveExitTimestampMonotonic",
    "InactiveEnterTimestampMonotonic",
    "Requires",
    "Requisite",
    "BindsTo",
    "TriggeredBy",
    "Triggers",
    "After",
    "NextElapseUSecRealtime",
    "NextElapseUSecMonotonic",
)

_ARGV = re.compile(r"argv\[\]=(.*?) ; ignore_errors=")


@dataclass(frozen=True, slots=True)
class UnitState:
    """One look at a unit. Timestamps are microseconds of the target's monotonic clock, 0 where it never was; time-outs
    are seconds, infinite where there is none. `command` is what it runs, or mounts with.
    """

    name: str
    load_state: str
    active_state: str
    sub_state: str
    result: str = ""
    type: str = ""
    job: str = ""
    restarts: int = 0
    invocation: str = ""
    condition: bool = True
    assertion: bool = True
    exec_status: int = 0
    exec_code: int = 0
    main_pid: int = 0
    control_pid: int = 0
    load_error: str = ""
    file_state: str = ""
    restart: str = ""
    remains: bool = False
    changed_us: int = 0
    active_enter_us: int = 0
    inactive_exit_us: int = 0
    inactive_enter_us: int = 0
    start_timeout: float = math.inf
    stop_timeout: float = math.inf
    job_timeout: float = math.inf
    job_running_timeout: float = math.inf
    command: str = ""
    description: str = ""
    next_elapse: str = ""
    control_group: str = ""
    triggered_by: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    bound_to: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        """See :class:`~harness.target.standing.Standing`; the reason is in :attr:`reason`."""
        return judge(self)[0]

    @property
    def reason(self) -> str:
        """The standing in words, naming the property that decided it."""
        return judge(self)[1]

    @property
    def identity(self) -> tuple[str, str, int, str]:
        """What must not change while a unit is settled: its state, its invocation, its restarts."""
        return (self.active_state, self.invocation, self.restarts, self.sub_state)

    @property
    def device(self) -> str:
        """The path of the device that a device unit stands for; empty for other units."""
        return path_of(self.name) if self.name.endswith(".device") else ""


class IncompleteAnswer(ValueError):
    """`systemctl show` left out what a verdict needs (it does so at times, and on errors): ask again."""


def parse_show(text: str) -> tuple[UnitState, ...]:
    """Reads `systemctl show -p … A B C`: blocks of `Key=Value`, one for each unit, with an empty line between.

    Raises :class:`IncompleteAnswer` when a block lacks its name or its states.
    """
    return tuple(_state(block) for block in text.strip("\n").split("\n\n") if block.strip())


def parse_block(block: str) -> dict[str, str]:
    """One block of `Key=Value` lines; of a key that is given twice (`ExecStart`), the first."""
    values: dict[str, str] = {}
    for line in block.split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            values.setdefault(key, value)
    return values


def _state(block: str) -> UnitState:
    values = parse_block(block)
    missing = [key for key in ("Id", "LoadState", "ActiveState", "SubState") if not values.get(key)]
    if missing:
        raise IncompleteAnswer(f"systemctl show did not say {', '.join(missing)} of {values.get('Id') or 'a unit'}")

    def text(key: str) -> str:
        return values.get(key, "")

    def several(*keys: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word for key in keys for word in words(text(key))))

    return UnitState(
        name=values["Id"],
        load_state=values["LoadState"],
        active_state=values["ActiveState"],
        sub_state=values["SubState"],
        result=text("Result"),
        type=text("Type"),
        # 0 or empty where there is none, else "ID" or (newer) "(ID, path)".
        job="" if text("Job") in ("", "0") else re.split(r"[,\s]", text("Job").strip("() "))[0],
        restarts=_number(text("NRestarts")),
        invocation=text("InvocationID"),
        condition=_holds(values, "Condition"),
        assertion=_holds(values, "Assert"),
        exec_status=_number(text("ExecMainStatus")),
        exec_code=_number(text("ExecMainCode")),
        main_pid=_number(text("MainPID")),
        control_pid=_number(text("ControlPID")),
        load_error=_told(text("LoadError")),
        file_state=text("UnitFileState"),
        restart=text("Restart"),
        remains=text("RemainAfterExit") == "yes",
        changed_us=_number(text("StateChangeTimestampMonotonic")),
        active_enter_us=_number(text("ActiveEnterTimestampMonotonic")),
        inactive_exit_us=_number(text("InactiveExitTimestampMonotonic")),
        inactive_enter_us=_number(text("InactiveEnterTimestampMonotonic")),
        start_timeout=_limit(values, "TimeoutStartUSec", "TimeoutUSec"),
        stop_timeout=_limit(values, "TimeoutStopUSec", "TimeoutUSec"),
        job_timeout=_limit(values, "JobTimeoutUSec"),
        # Systemd before 232 knows no such time-out.
        job_running_timeout=span(values.get("JobRunningTimeoutUSec", "infinity")),
        command=_command(text("ExecStart") or text("ExecMount")),
        description=text("Description"),
        next_elapse=text("NextElapseUSecRealtime") or text("NextElapseUSecMonotonic"),
        control_group=text("ControlGroup"),
        triggered_by=several("TriggeredBy"),
        triggers=several("Triggers"),
        after=several("After"),
        requires=several("Requires", "Requisite", "BindsTo"),
        bound_to=several("BindsTo"),
        names=several("Names"),
    )


def _holds(values: Mapping[str, str], what: str) -> bool:
    """The result is `no` also before the condition was ever looked at; then it means nothing."""
    return values.get(f"{what}Result", "yes") != "no" or not _number(values.get(f"{what}TimestampMonotonic", ""))


def _limit(values: Mapping[str, str], *keys: str) -> float:
    """The first of some time-outs that is told; NaN, which is neither finite nor infinite, where none is."""
    return next((span(values[key]) for key in keys if key in values), math.nan)


def _command(text: str) -> str:
    match = _ARGV.search(text)
    return match[1] if match else ""


def _told(error: str) -> str:
    """The words of a D-Bus error, which stand in quotes behind its name."""
    return error.partition('"')[2].rstrip('"') or error


def _number(text: str) -> int:
    return count(text)  # 0 also for "[not set]", and for the largest unsigned number in words
