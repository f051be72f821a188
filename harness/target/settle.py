"""Whether a target as a whole has come up: asked before its checks begin."""

from __future__ import annotations

from pathlib import Path

from harness.api.check import Check, NotYet, Settings
from harness.errors import Source
from harness.target.target import Target
from harness.target.units import explain_jobs

MODULE = "(target)"
"""Stands for a check module where there is none; no file can have this name as a module's."""

WINDOW = 2.0
"""Seconds that the state must hold: a unit between two automatic restarts shows no job for at most RestartSec, 100
ms by default."""


def settled(target: Target) -> str:
    """No job is queued and the boot is finished; `degraded` is settled too, and names the failed units."""
    jobs = target.jobs()
    if jobs:
        first = jobs[0]
        (state,) = target.units(first.unit)
        others = f" (and {len(jobs) - 1} more jobs)" if len(jobs) > 1 else ""
        raise NotYet(
            (explain_jobs(first.unit, (state,), jobs) or f"{first.unit}: {first.type} job {first.state}") + others
        )
    state_word = target.run("systemctl is-system-running").out.strip()
    if state_word not in ("running", "degraded"):
        raise NotYet(f"the system is {state_word or 'not answering'}")
    if state_word == "running":
        return "running, no jobs queued"
    listing = target.run("systemctl list-units --failed --no-legend --plain --no-pager --full").out
    names = sorted(line.split()[0] for line in listing.splitlines() if line.split())
    return f"degraded ({', '.join(names) or 'no unit named'} failed), no jobs queued"


def settle_check(timeout: float) -> Check:
    """The wait for it, as a check like any other: attempts, window, events."""
    return Check(
        name="settled",
        module=MODULE,
        path=MODULE,
        function=settled,
        source=Source(str(Path(__file__))),
        settings=Settings(budget=timeout, attempt_timeout=30.0, interval=0.5, interval_max=2.0, window=WINDOW),
        description="no jobs queued, boot finished",
    )
