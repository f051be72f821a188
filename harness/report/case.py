"""A test case as CI systems know it: all trials of one check on one target together."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.soak.stored import Selection, TrialIndex
from harness.soak.trial import Trial, TrialOutcome

_ORDER = (
    TrialOutcome.FAILED, TrialOutcome.ERROR, TrialOutcome.INTERNAL, TrialOutcome.UNREACHABLE,
    TrialOutcome.INFRASTRUCTURE, TrialOutcome.NOT_RUN, TrialOutcome.PASSED, TrialOutcome.SKIPPED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """The trials of one check on one target, in their order; never none. Its outcome is the gravest of theirs.

    `worst` are the trials that its outcome comes from, `flaky` the passes that were. `totals` has the sums of their
    `attempts`, `fallbacks`, `re_reads` and `reconnects`; `warnings` how often each was given; `duration` is in seconds.
    """

    trials: Sequence[Trial]
    first: Trial = field(init=False)
    last: Trial = field(init=False)
    outcome: TrialOutcome = field(init=False)
    worst: Sequence[Trial] = field(init=False)
    flaky: Sequence[Trial] = field(init=False)
    transports: tuple[str, ...] = field(init=False)
    totals: Counter[str] = field(init=False)
    warnings: Counter[str] = field(init=False)
    duration: float = field(init=False)

    def __post_init__(self) -> None:
        places: dict[TrialOutcome, array[int]] = {}
        flaky = array("q")
        transports: dict[str, None] = {}
        totals: Counter[str] = Counter()
        warnings: Counter[str] = Counter()
        first: Trial | None = None
        duration = 0.0
        for place, trial in enumerate(self.trials):
            first = first or trial
            places.setdefault(trial.outcome, array("q")).append(place)
            if trial.outcome is TrialOutcome.PASSED and trial.flaky:
                flaky.append(place)
            transports.update(dict.fromkeys(trial.transports))
            for name in _SUMMED:
                totals[name] += getattr(trial, name)
            warnings.update(trial.warnings)
            duration += trial.duration
        outcome = min(places, key=_ORDER.index)
        found: dict[str, Any] = {
            "first": first, "last": trial, "outcome": outcome, "worst": Selection(self.trials, places[outcome]),
            "flaky": Selection(self.trials, flaky), "transports": tuple(transports), "totals": totals,
            "warnings": warnings, "duration": duration,
        }  # fmt: skip
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def message(self) -> str:
        """Why, in a sentence; how often, where it was tried more than once."""
        worst = self.worst
        said = worst[-1].message
        if len(self.trials) == 1 or self.outcome in (TrialOutcome.PASSED, TrialOutcome.SKIPPED):
            return said
        words = "failed" if self.outcome is TrialOutcome.FAILED else f"ended as {self.outcome.value}"
        return f"{len(worst)} of {len(self.trials)} trials {words}; the last: {said}"

    @property
    def path(self) -> str:
        """The check's file."""
        return self.first.check_id.partition("::")[0]


_SUMMED = ("attempts", "fallbacks", "re_reads", "reconnects")


def cases(trials: Sequence[Trial]) -> tuple[Case, ...]:
    """One for each check on each target, in the order in which they came."""
    return tuple(map(Case, TrialIndex.of(trials).rows.values()))


def warnings_of(trials: Sequence[Trial]) -> Counter[tuple[str, str, str]]:
    """Return how often each warning was given, by (check, target, warning)."""
    warned = TrialIndex.of(trials).warned
    return Counter((trial.label, trial.target, warning) for trial in warned for warning in trial.warnings)


def details(trial: Trial) -> str:
    """All that is known of a trial that did not pass cleanly, as text."""
    lines = [trial.message] if trial.message else []
    if trial.location:
        lines.append(f"at {trial.location}")
    lines += [f"attempt {seen.attempt} after {seen.at:.1f} s: {seen.seen}" for seen in trial.observations]
    if trial.faults:
        lines.append(f"faults active: {', '.join(trial.faults)}")
    lines += [f"finding: {finding}" for finding in trial.findings]
    lines += [f"warning: {warning}" for warning in trial.warnings]
    if trial.console:
        lines += ["console:", *(f"  {line}" for line in trial.console)]
    if trial.repeat:
        lines.append(f"repeat: {trial.repeat}")
    if trial.known:
        lines.append(f"known: {trial.known}")
    if trial.collected:
        lines.append(f"collected: {trial.collected}")
    return "\n".join(lines)
