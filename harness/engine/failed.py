"""A target that failed, while it is still up: the moment to keep what it has to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.deadline import Cancellation
from harness.engine.life import Session
from harness.engine.outcome import CheckResult
from harness.events import Emitter
from harness.inventory import Host


@dataclass(frozen=True, slots=True)
class Failed:
    """What there is to ask, and what for. `failures` did not pass (none: its time was over before they could);
    `cancellation` ends the run; `scale` stretches the times allowed; `iteration` is that of a soak, else 0."""

    host: Host
    session: Session
    failures: tuple[CheckResult, ...]
    events: Emitter
    cancellation: Cancellation
    scale: float = 1.0
    iteration: int = 0


Collect = Callable[[Failed], str]
"""Asks the target, on a worker's thread, and keeps what it says; returns the folder, relative to the run's, or nothing
where nothing was to be kept. Bounded by itself; it raises nothing that it can tell otherwise."""
