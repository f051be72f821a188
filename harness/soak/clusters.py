"""Failures that say the same, put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.soak.trial import Trial, TrialOutcome


@dataclass(frozen=True, slots=True)
class Cluster:
    """Trials with one outcome and one signature, the first of them first.

    `outcome` is `flaky` for passes that were. `example` is the last of those that kept console lines, else the last.
    """

    outcome: str
    signature: str
    trials: tuple[Trial, ...]

    @property
    def example(self) -> Trial:
        return next((trial for trial in reversed(self.trials) if trial.console), self.trials[-1])

    @property
    def checks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(trial.label for trial in self.trials))

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(trial.target for trial in self.trials))

    @property
    def transports(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(trial.transport for trial in self.trials))

    @property
    def faults(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(fault for trial in self.trials for fault in trial.faults))

    @property
    def known(self) -> tuple[str, ...]:
        """Where those of them that are known flakes are being worked on."""
        return tuple(dict.fromkeys(trial.known for trial in self.trials if trial.known))

    @property
    def iterations(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(trial.iteration for trial in self.trials))


_GRAVITY = {
    name: rank
    for rank, name in enumerate(("failed", "error", "internal", "unreachable", "infrastructure", "not_run", "flaky"))
}


def clusters(trials: Iterable[Trial]) -> tuple[Cluster, ...]:
    """What did not pass cleanly, by outcome and signature: gravest outcome first, then the most frequent."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.outcome is TrialOutcome.SKIPPED or trial.clean:
            continue
        outcome = "flaky" if trial.outcome is TrialOutcome.PASSED else trial.outcome.value
        found.setdefault((outcome, trial.signature), []).append(trial)
    made = [Cluster(outcome, signature, tuple(members)) for (outcome, signature), members in found.items()]
    return tuple(sorted(made, key=lambda each: (_GRAVITY[each.outcome], -len(each.trials))))
