"""Failures that say the same, put together."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.soak.stored import Selection, TrialIndex
from harness.soak.trial import Trial, TrialOutcome


@dataclass(frozen=True, slots=True)
class Cluster:
    """Trials with one outcome and one signature, the first of them first.

    `outcome` is `flaky` for passes that were. `example` is the last of those that kept console lines, else the last.
    `checks`, `targets`, `transports`, `faults` and `iterations` are those of its trials; `known` are the trackers of
    those that are known flakes.
    """

    outcome: str
    signature: str
    trials: Sequence[Trial]
    example: Trial = field(init=False)
    checks: tuple[str, ...] = field(init=False)
    targets: tuple[str, ...] = field(init=False)
    transports: tuple[str, ...] = field(init=False)
    faults: tuple[str, ...] = field(init=False)
    known: tuple[str, ...] = field(init=False)
    iterations: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        checks: dict[str, None] = {}
        targets: dict[str, None] = {}
        transports: dict[str, None] = {}
        faults: dict[str, None] = {}
        known: dict[str, None] = {}
        iterations: dict[int, None] = {}
        example: Trial | None = None
        for trial in self.trials:
            checks[trial.label] = targets[trial.target] = transports[trial.transport] = None
            faults.update(dict.fromkeys(trial.faults))
            known.update(dict.fromkeys((trial.known,) if trial.known else ()))
            iterations[trial.iteration] = None
            if example is None or trial.console or not example.console:
                example = trial
        found: dict[str, Any] = {
            "example": example, "checks": tuple(checks), "targets": tuple(targets), "transports": tuple(transports),
            "faults": tuple(faults), "known": tuple(known), "iterations": tuple(iterations),
        }  # fmt: skip
        for name, value in found.items():
            object.__setattr__(self, name, value)


_GRAVITY = {
    name: rank
    for rank, name in enumerate(("failed", "error", "internal", "unreachable", "infrastructure", "not_run", "flaky"))
}


def clusters(trials: Sequence[Trial]) -> tuple[Cluster, ...]:
    """What did not pass cleanly, by outcome and signature: gravest outcome first, then the most frequent."""
    unclean = TrialIndex.of(trials).unclean
    found: dict[tuple[str, str], array[int]] = {}
    for place, trial in enumerate(unclean):
        outcome = "flaky" if trial.outcome is TrialOutcome.PASSED else trial.outcome.value
        found.setdefault((outcome, trial.signature), array("q")).append(place)
    made = [Cluster(outcome, signature, Selection(unclean, places)) for (outcome, signature), places in found.items()]
    return tuple(sorted(made, key=lambda each: (_GRAVITY[each.outcome], -len(each.trials))))
