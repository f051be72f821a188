"""What systemd says of a unit, and what that means for someone who waits for it.

Pure: text in, values out. The properties are those of `org.freedesktop.systemd1(5)`, as `systemctl show` prints them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

PROPERTIES = (
    "Id",
    "Names",
    "LoadState",
    "LoadError",
    "ActiveState",
    "SubState",
    "Result",
    "Type",
    "Job",
    "NRestarts",
    "InvocationID",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "ExecMainStatus",
    "ExecMainCode",
    "MainPID",
    "ControlPID",
    "Restart",
    "StateChangeTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
    "InactiveExitTimestampMonotonic",
    "TriggeredBy",
    "Triggers",
    "After",
)


class Standing(StrEnum):
    """Where a unit stands for someone who waits for it."""

    UP = "up"
    """Active, or a oneshot that has done its work."""
    COMING = "coming"
    """On its way: activating, reloading, restarting, or a job is queued for it."""
    IDLE = "idle"
    """Not started, and nothing has been asked of it yet."""
    NEVER = "never"
    """It will not come up by waiting."""


@dataclass(frozen=True, slots=True)
class UnitState:
    """One look at a unit. Timestamps are microseconds of the target's monotonic clock; 0 means never."""

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
    exec_status: int = 0
    exec_code: int = 0
    main_pid: int = 0
    control_pid: int = 0
    load_error: str = ""
    restart: str = ""
    changed_us: int = 0
    active_enter_us: int = 0
    inactive_exit_us: int = 0
    triggered_by: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        """See :class:`Standing`; the reason is in :attr:`reason`."""
        return self._judge()[0]

    @property
    def reason(self) -> str:
        """The standing in words, naming the property that decided it."""
        return self._judge()[1]

    @property
    def identity(self) -> tuple[str, str, int, str]:
        """What must not change while a unit is settled: its state, its invocation, its restarts."""
        return (self.active_state, self.invocation, self.restarts, self.sub_state)

    def _judge(self) -> tuple[Standing, str]:
        state = f"{self.active_state} ({self.sub_state})"
        if self.load_state == "not-found":
            return Standing.NEVER, "is not installed (LoadState=not-found)"
        if self.load_state == "masked":
            return Standing.NEVER, "is masked"
        if self.load_state in ("bad-setting", "error"):
            return (
                Standing.NEVER,
                f"cannot be loaded (LoadState={self.load_state}{f': {self.load_error}' if self.load_error else ''})",
            )
        if self.job:
            return Standing.COMING, f"is {state} and has a job queued (job {self.job})"
        if self.active_state in ("active", "refreshing"):
            return Standing.UP, f"is {state}"
        if self.active_state == "activating" and self.sub_state == "auto-restart":
            return (
                Standing.COMING,
                f"is waiting for its automatic restart (Result={self.result}, {self._restarts()})",
            )
        if self.active_state in ("activating", "reloading", "deactivating", "maintenance"):
            return Standing.COMING, f"is {state}"
        if self.result == "start-limit-hit":
            return (
                Standing.NEVER,
                f"failed, and systemd gave up restarting it (Result=start-limit-hit, {self._restarts()})",
            )
        if self.active_state == "failed":
            return Standing.NEVER, f"failed (Result={self.result}{self._exit()}) and no restart is pending"
        if not self.condition:
            return Standing.NEVER, "was not started because a condition of it is not met (ConditionResult=no)"
        if self.type == "oneshot" and self.inactive_exit_us and self.result == "success":
            return Standing.UP, "is a oneshot that has done its work (Result=success)"
        if self.inactive_exit_us:
            return Standing.IDLE, f"is {state}: it ran before and was stopped (Result={self.result})"
        return Standing.IDLE, f"is {state}: it has not been started, and no job is queued for it"

    def _exit(self) -> str:
        # ExecMainCode is si_code of waitid(2): 1 is an exit, 2 and 3 are signals.
        if self.exec_code == 1:
            return f", exit status {self.exec_status}"
        if self.exec_code in (2, 3):
            return f", signal {self.exec_status}"
        return ""

    def _restarts(self) -> str:
        return f"{self.restarts} restart{'' if self.restarts == 1 else 's'}"


class IncompleteAnswer(ValueError):
    """`systemctl show` left out what a verdict needs (it does so at times, and on errors): ask again."""


def parse_show(text: str) -> tuple[UnitState, ...]:
    """Reads `systemctl show -p … A B C`: blocks of `Key=Value`, one for each unit, with an empty line between.

    Raises :class:`IncompleteAnswer` when a block lacks its name or its states.
    """
    states: list[UnitState] = []
    for block in text.strip("\n").split("\n\n"):
        if not block.strip():
            continue
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        missing = [key for key in ("Id", "LoadState", "ActiveState", "SubState") if not values.get(key)]
        if missing:
            raise IncompleteAnswer(f"systemctl show did not say {', '.join(missing)} of {values.get('Id') or 'a unit'}")
        states.append(
            UnitState(
                name=values["Id"],
                load_state=values["LoadState"],
                active_state=values["ActiveState"],
                sub_state=values["SubState"],
                result=values.get("Result", ""),
                type=values.get("Type", ""),
                # 0 or empty where there is none, else "ID" or (newer) "(ID, path)".
                job="" if values.get("Job", "") in ("", "0") else values["Job"].strip("()").split(",")[0].split()[0],
                restarts=_number(values.get("NRestarts")),
                invocation=values.get("InvocationID", ""),
                condition=values.get("ConditionResult", "yes") != "no" or not _condition_was_tested(values),
                exec_status=_number(values.get("ExecMainStatus")),
                exec_code=_number(values.get("ExecMainCode")),
                main_pid=_number(values.get("MainPID")),
                control_pid=_number(values.get("ControlPID")),
                load_error=values.get("LoadError", "").strip('" '),
                restart=values.get("Restart", ""),
                changed_us=_number(values.get("StateChangeTimestampMonotonic")),
                active_enter_us=_number(values.get("ActiveEnterTimestampMonotonic")),
                inactive_exit_us=_number(values.get("InactiveExitTimestampMonotonic")),
                triggered_by=tuple(values.get("TriggeredBy", "").split()),
                triggers=tuple(values.get("Triggers", "").split()),
                after=tuple(values.get("After", "").split()),
                names=tuple(values.get("Names", "").split()),
            )
        )
    return tuple(states)


def _condition_was_tested(values: dict[str, str]) -> bool:
    """ConditionResult is `no` also before the condition was ever looked at; then it means nothing."""
    return _number(values.get("ConditionTimestampMonotonic")) > 0


def _number(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0  # "[not set]", or the largest unsigned number in words


@dataclass(frozen=True, slots=True)
class Job:
    """An entry of the manager's queue: `state` is `waiting` or `running`."""

    id: int
    unit: str
    type: str
    state: str


def parse_jobs(text: str) -> tuple[Job, ...]:
    """Reads `systemctl list-jobs --no-legend`: columns JOB UNIT TYPE STATE; what is no job line is passed over."""
    jobs: list[Job] = []
    for line in text.splitlines():
        parts = line.replace("●", " ").split()
        if len(parts) >= 4 and parts[0].isdigit():
            jobs.append(Job(int(parts[0]), parts[1], parts[2], parts[3]))
    return tuple(jobs)


def explain_jobs(name: str, states: Iterable[UnitState], jobs: Iterable[Job]) -> str:
    """Why a unit's job waits, by its ordering: the running job of a unit that it comes after. Empty when it has no
    job."""
    queue = {job.unit: job for job in jobs}
    known = {state.name: state for state in states}
    job = queue.get(name)
    if job is None:
        return ""
    if job.state == "running":
        return f"{name}: its {job.type} job is running"
    sentence = f"{name}: its {job.type} job is waiting"
    holders = [queue[other] for other in known[name].after if other in queue] if name in known else []
    running = [holder for holder in holders if holder.state == "running"]
    if running:
        return sentence + "; it comes after " + ", ".join(f"{h.unit}, whose {h.type} job is running" for h in running)
    if holders:
        return sentence + "; it comes after " + ", ".join(f"{h.unit} ({h.type} job {h.state})" for h in holders)
    return sentence
