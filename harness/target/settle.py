"""Whether a target as a whole has come up: asked before its checks begin."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.api.check import WHOLE_TARGET, Check, Never, NotYet, Settings
from harness.errors import Source
from harness.inventory.variables import TABLE
from harness.target.look import RESTART_SCHEDULED, SSHD_UNITS, STARTED, Look
from harness.target.space import space_remark
from harness.target.standing import Standing
from harness.target.target import Target
from harness.target.units import IncompleteAnswer, UnitState
from harness.target.values import listed, seconds
from harness.target.why import explain_queue, is_after_logout, is_getty, restarted_within, restarts_told

WINDOW = 2.0
"""Seconds that the state must hold: a unit between two automatic restarts shows no job for at most RestartSec, 100
ms by default."""

EXPLAINED = 3
"""So many failed units are asked for their own last words, one question each; of more, only results are reported."""

_UNFINISHED = {
    "initializing": "the boot has just begun",
    "starting": "the boot is not finished",
    "stopping": "it is shutting down",
}


def judge_target(
    look: Look, expected: Sequence[str] = (), window: float = WINDOW, *, lacks_ssh: bool = False
) -> tuple[Standing, str]:
    """Where a target stands, in words. `expected` are patterns of units that may fail, or restart again and again.
    `lacks_ssh`: it should serve SSH and does not, so a masked sshd is a fault.

    Pure. Raises :class:`~harness.target.units.IncompleteAnswer` where the manager did not tell its state.
    """
    word = look.system.get("SystemState", "")
    if not word:
        raise IncompleteAnswer("systemctl show did not say SystemState")
    look = without_logouts(look)
    pending = explain_queue(look)
    if pending is not None:
        return pending.standing, str(pending)
    if word in _UNFINISHED:
        return Standing.COMING, f"the system is {word}: {_UNFINISHED[word]}"
    if word == "maintenance":
        return Standing.NEVER, "the system is in maintenance: in its rescue or emergency mode"
    others = [state for state in _distinct(look) if not is_expected(state.name, expected)]
    passing = [state for state in others if state.standing is Standing.COMING]
    if passing:
        return Standing.COMING, listed(
            [f"{state.name} {state.reason}{restarts_told(look, state.name)}" for state in passing], 3
        )
    flapping = _flapping(look, expected, window)
    if flapping:
        units = listed([f"{name} is flapping{restarts_told(look, name)}" for name in flapping], 3)
        return Standing.COMING, f"{units}; all has to hold for {seconds(window)}"
    failed = [state for state in others if state.active_state == "failed"]
    if lacks_ssh and (masked := masked_sshd(look)):
        others_failed = "".join(f"; {state.name} {state.reason}" for state in failed)
        return Standing.NEVER, f"{masked} is masked, so nothing serves SSH{others_failed}"
    if failed:  # `systemctl reset-failed` or a start by somebody else may yet come, for a window's time
        summary = "; ".join(f"{state.name} {state.reason}" for state in failed)
        lately = [since for state in failed if (since := look.since(state.changed_us)) is not None and since < window]
        return Standing.COMING if lately else Standing.NEVER, summary
    if word not in ("running", "degraded"):
        return Standing.COMING, f"the system is {word}"
    names = sorted(state.name for state in _distinct(look) if state.active_state == "failed")
    if names:
        return Standing.UP, f"{word} ({listed(names)} failed, as expected), no jobs queued"
    if word != "running":
        return Standing.COMING, "the system is degraded, but names no unit that failed"
    return Standing.UP, "running, no jobs queued"


def lacks_ssh(target: Target) -> bool:
    """Return whether the target's link has left SSH for another transport."""
    return "ssh" in getattr(target.link, "left", ())


def masked_sshd(look: Look) -> str:
    """Return the unit of sshd that is masked, where none of its units is up or on its way; else nothing."""
    states = {state.name: state for name in SSHD_UNITS if (state := look.states.get(name)) is not None}.values()
    if any(state.standing in (Standing.UP, Standing.COMING) for state in states):
        return ""
    return next((state.name for state in states if state.load_state == "masked"), "")


def without_logouts(look: Look) -> Look:
    """Return the look without what the end of a login on a console causes: its getty, which is started anew, and that
    one's job."""
    states = {
        name: state
        for name, state in look.states.items()
        if state.standing is not Standing.COMING or not is_after_logout(look, state)
    }
    gone = {state.name for name, state in look.states.items() if name not in states}
    jobs = tuple(
        job for job in look.jobs if job.unit not in gone and not (is_getty(job.unit) and job.unit not in look.states)
    )
    if len(states) == len(look.states) and len(jobs) == len(look.jobs):
        return look
    return replace(look, states=states, jobs=jobs)


def settled(target: Target) -> str:
    """No job is queued, the boot is finished, nothing restarts, and no unit has failed but those of the inventory's
    `expected_failed_units`. One round trip, and where units have failed for good one more for each, and
    one for filesystems that are full.

    Raises NotYet with what is waited for, Never where that is in vain.
    """
    return settled_for(WINDOW)(target)


def settled_for(window: float) -> Callable[[Target], str]:
    """The same with another window, in seconds."""

    def settled(target: Target) -> str:
        expected = expected_to_fail(target.vars)
        look = target.systemd.look_at_all()
        try:
            standing, summary = judge_target(look, expected, window, lacks_ssh=lacks_ssh(target))
        except IncompleteAnswer as error:
            raise NotYet(str(error)) from error
        if standing is Standing.NEVER:
            failed = [state.name for state in _distinct(look) if state.active_state == "failed"]
            unexpected = [name for name in failed if not is_expected(name, expected)]
            is_masked = lacks_ssh(target) and masked_sshd(look)
            if look.jobs or is_masked or not 0 < len(unexpected) <= EXPLAINED:
                raise Never(summary)
            raise Never("; ".join(str(target.why(name)) for name in unexpected) + space_remark(target))
        if standing is not Standing.UP:
            raise NotYet(summary)
        return summary

    return settled


def settle_check(timeout: float, window: float = WINDOW) -> Check:
    """The wait for it, as a check like any other: attempts, window, events."""
    return Check(
        name="settled",
        module=WHOLE_TARGET,
        path=WHOLE_TARGET,
        function=settled_for(window),
        source=Source(str(Path(__file__))),
        settings=Settings(budget=timeout, attempt_timeout=30.0, interval=0.5, interval_max=2.0, window=window),
        description="no jobs queued, boot finished, nothing restarts, nothing failed that was not expected to",
    )


def expected_to_fail(variables: Mapping[str, object]) -> list[str]:
    """The patterns of units that may fail, of a host's variables."""
    value = variables.get("expected_failed_units")
    patterns = [] if value is None else TABLE["expected_failed_units"].read(value)
    assert isinstance(patterns, list), "it is a list in the table of variables"
    return patterns


def _distinct(look: Look) -> list[UnitState]:
    return list({state.name: state for state in look.states.values()}.values())


def _flapping(look: Look, expected: Sequence[str], window: float) -> list[str]:
    """The units that the journal tells to have been restarted in the window."""
    names = dict.fromkeys(
        name for entry in look.entries if entry.message_id in (RESTART_SCHEDULED, STARTED) for name in entry.units
    )
    return [name for name in names if not is_expected(name, expected) and restarted_within(look, name, window)]


def is_expected(name: str, patterns: Sequence[str]) -> bool:
    """Whether a unit may fail, or restart again and again."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
