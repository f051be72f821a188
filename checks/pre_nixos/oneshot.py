"""The oneshot itself: whether it came to its end, how long that took, and what it told on its way."""

from __future__ import annotations

from harness import Never, Target, check
from harness.target.values import seconds

from ._pre_nixos import ONESHOT, STEPS, not_there, read_status, read_steps

LONGEST = 120.0
"""Seconds that it may take, unless the host's `pre_nixos_longest` says otherwise: emulation is slow."""


@check(tags=["pre_nixos", "oneshot"])
def has_done_its_work(target: Target) -> str:
    """It ended well, and in the time that `pre_nixos_longest` allows."""
    unit = target.unit_up(ONESHOT)
    took = (unit.active_enter_us - unit.inactive_exit_us) / 1e6
    longest = float(str(target.vars.get("pre_nixos_longest", LONGEST)))
    if took > longest:
        raise Never(f"{ONESHOT} took {seconds(took)}; pre_nixos_longest allows {seconds(longest)}")
    return f"{ONESHOT} {unit.reason} (Result={unit.result}), and took {seconds(took)}"


@check(tags=["pre_nixos", "oneshot", "journal"])
def tells_its_steps(target: Target) -> str:
    """Each of its steps is a structured entry of the journal, in their order, and none of them failed."""
    steps = read_steps(target)
    failed = [step for step in steps if step.state == "failed"]
    if failed:
        raise Never("; ".join(f"its step `{step.name}` failed: {step.message}" for step in failed))
    there = [step.name for step in steps if step.name in STEPS]
    missing = [name for name in STEPS if name not in there]
    if missing:
        told = f"the journal has {', '.join(there) or 'none'} of its steps, and not {', '.join(missing)}"
        not_there(target, told)
    assert list(dict.fromkeys(there)) == list(STEPS), f"its steps stand in another order: {', '.join(there)}"
    shown = (step.name if step.state == "ok" else f"{step.name} ({step.state}: {step.message})" for step in steps)
    return f"told of {', '.join(dict.fromkeys(shown))}"


@check(tags=["pre_nixos", "oneshot"])
def tells_its_status(target: Target) -> str:
    """Its status file is of this run, and says that it is done."""
    status = read_status(target)
    if status.get("STATE") != "done":
        not_there(target, f"its status is {status.get('STATE') or 'not told'}, at its step {status.get('STEP')}")
    return ", ".join(f"{key}={value}" for key, value in status.items() if value and key != "INVOCATION")
