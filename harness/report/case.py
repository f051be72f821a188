"""A test case as CI systems know it: all trials of one check on one target together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from harness.soak.trial import Trial, TrialOutcome

_ORDER = (
    TrialOutcome.FAILED, TrialOutcome.ERROR, TrialOutcome.INTERNAL, TrialOutcome.UNREACHABLE,
    TrialOutcome.INFRASTRUCTURE, TrialOutcome.NOT_RUN, TrialOutcome.PASSED, TrialOutcome.SKIPPED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """The trials of one check on one target, in their order; never none. Its outcome is the gravest of theirs."""

    trials: tuple[Trial, ...]

    @property
    def first(self) -> Trial:
        return self.trials[0]

    @property
    def outcome(self) -> TrialOutcome:
        return min((trial.outcome for trial in self.trials), key=_ORDER.index)

    @property
    def worst(self) -> tuple[Trial, ...]:
        """The trials that its outcome comes from."""
        outcome = self.outcome
        return tuple(trial for trial in self.trials if trial.outcome is outcome)

    @property
    def flaky(self) -> tuple[Trial, ...]:
        """The passes that were flaky."""
        return tuple(each for each in self.trials if each.outcome is TrialOutcome.PASSED and each.flaky)

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
    def warnings(self) -> Counter[str]:
        """The warnings of all trials, each with how often it was given."""
        return Counter(warning for trial in self.trials for warning in trial.warnings)

    @property
    def duration(self) -> float:
        return sum(trial.duration for trial in self.trials)

    @property
    def path(self) -> str:
        """The check's file."""
        return self.first.check_id.partition("::")[0]


def cases(trials: Iterable[Trial]) -> tuple[Case, ...]:
    """One for each check on each target, in the order in which they came."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        found.setdefault((trial.target, trial.label), []).append(trial)
    return tuple(Case(tuple(members)) for members in found.values())


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
