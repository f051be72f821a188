"""Where a unit stands for someone who waits for it, judged from its properties. Pure.

The states and results are those of systemd's own tables (`src/basic/unit-def.c`, `service_result_table` and its like).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.target.units import UnitState


WINDOW = 3.0
"""Seconds for which a unit must have stayed the same to count as settled, where nobody says otherwise."""


class Standing(StrEnum):
    """Where a unit stands for someone who waits for it."""

    UP = "up"
    """Active, or a oneshot that has done its work."""
    COMING = "coming"
    """On its way: activating, reloading, restarting, a job is queued for it, or its device is not there yet."""
    IDLE = "idle"
    """Not started, and nothing has been asked of it yet."""
    NEVER = "never"
    """It will not come up by waiting."""


_RESULTS = {
    "timeout": "a step took longer than its time-out",
    "watchdog": "it did not report to its watchdog in time",
    "oom-kill": "killed by the OOM killer",
    "core-dump": "it crashed",
    "protocol": "it did not do what its Type= asks for",
    "resources": "something that it needs could not be had",
    "trigger-limit-hit": "it was triggered too often",
    "service-start-limit-hit": "the service that it starts was started too often",
}
# What became of the file of a unit that was loaded when it started.
_LOST = {"not-found": "; its unit file is gone since", "masked": "; it is masked since"}
_PASSING = frozenset({"activating", "reloading", "deactivating", "maintenance"})
# From systemd 254: what a restart passes through on its way to `auto-restart`.
_BEFORE_RESTART = frozenset({"dead-before-auto-restart", "failed-before-auto-restart"})

Judgement = tuple[Standing, str]


def judge(unit: UnitState) -> Judgement:
    """The standing, and why in words that follow the unit's name. What is decided first counts: a unit that runs is up
    although its file is gone, and one with a job is on its way whatever became of it before."""
    state = f"{unit.active_state} ({unit.sub_state})"
    if unit.job:
        return Standing.COMING, f"is {state} and has a job queued (job {unit.job})"
    if unit.active_state in ("active", "refreshing"):
        lost = {"not-found": ", although its file is gone", "masked": ", although it is masked"}
        return Standing.UP, f"is {state}{lost.get(unit.load_state, '')}"
    if unit.sub_state.startswith("auto-restart") or unit.sub_state in _BEFORE_RESTART:
        return Standing.COMING, f"is waiting for its automatic restart (Result={unit.result}, {restarts(unit)})"
    if unit.active_state in _PASSING:
        return Standing.COMING, f"is {state}"
    return _failed(unit) or _not_loaded(unit) or _inactive(unit, state)


def _not_loaded(unit: UnitState) -> Judgement | None:
    if unit.load_state == "not-found":
        return Standing.NEVER, "is not installed (LoadState=not-found)"
    if unit.load_state == "masked":
        return Standing.NEVER, "is masked"
    if unit.load_state == "error" and unit.file_state.startswith("masked"):
        # systemd cannot load it, because the file that it is a link to is masked: "File exists".
        return Standing.NEVER, "is masked, as an alias of a unit that is masked"
    if unit.load_state in ("bad-setting", "error"):
        words = f": {unit.load_error}" if unit.load_error else ""
        return Standing.NEVER, f"cannot be loaded (LoadState={unit.load_state}{words})"
    return None


def _failed(unit: UnitState) -> Judgement | None:
    if unit.result == "start-limit-hit":
        words = f"failed, and systemd gave up restarting it (Result=start-limit-hit, {restarts(unit)})"
        return Standing.NEVER, words + _LOST.get(unit.load_state, "")
    if unit.active_state != "failed":
        return None
    words = f": {_RESULTS[unit.result]}" if unit.result in _RESULTS else ""
    words = f"failed (Result={unit.result}{_exit(unit)}{words})"
    lost = _LOST.get(unit.load_state, "")
    if unit.restarts:
        return Standing.NEVER, f"{words} after {restarts(unit)}, and no other is pending{lost}"
    return Standing.NEVER, f"{words} and no restart is pending{lost}"


def _inactive(unit: UnitState, state: str) -> Judgement:
    ran = unit.inactive_exit_us > 0
    if unit.name.endswith(".device"):
        return Standing.COMING, f"is a device that is not there yet ({unit.device or 'of no known path'})"
    if unit.result == "exec-condition":
        return Standing.NEVER, "was not started because its ExecCondition= said no (Result=exec-condition)"
    if unit.type == "oneshot" and not unit.remains and ran and unit.result == "success":
        return Standing.UP, "is a oneshot that has done its work (Result=success)"
    if not unit.condition:
        return Standing.NEVER, "was not started because a condition of it is not met (ConditionResult=no)"
    if not unit.assertion:
        return Standing.NEVER, "was not started because an assertion of it does not hold (AssertResult=no)"
    if ran:
        return Standing.IDLE, f"is {state}: it ran before and has ended (Result={unit.result})"
    disabled = ", and it is disabled" if unit.file_state == "disabled" else ""
    return Standing.IDLE, f"is {state}: it has not been started, and no job is queued for it{disabled}"


def _exit(unit: UnitState) -> str:
    # ExecMainCode is si_code of waitid(2): 1 is an exit, 2 and 3 are signals.
    if unit.exec_code == 1:
        return f", exit status {unit.exec_status}"
    if unit.exec_code in (2, 3):
        return f", signal {unit.exec_status}"
    return ""


def restarts(unit: UnitState) -> str:
    """`3 restarts`: how often systemd has restarted it by itself since it was started."""
    return f"{unit.restarts} restart{'' if unit.restarts == 1 else 's'}"
