"""Counts of a soak so far: they grow with targets and checks, never with iterations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.api.check import WHOLE_TARGET
from harness.soak.statistics.rates import Rate, wilson
from harness.soak.trial import JUDGED, Settling, Trial, TrialOutcome
from harness.soak.trials import Mark

FLAKY = "flaky"
"""How a flaky pass is counted among what is bad."""
ITERATION, RESET, FAULT, RECOVERY = "iteration", "reset", "fault", "recovery"
"""Kinds of marks that are counted here; each lasts from its `started` to its `ended`."""
FALLBACK, FINDING, MISSED, CLOCK = "fallback", "finding", "missed", "clock"
"""Kinds of marks that have no length."""
_FACTOR = 1.05
_LEAST = 0.001


class Spread:
    """How long something took, as counts in classes that are 5 % wide: quantiles to 2.5 %, whatever comes."""

    def __init__(self, classes: Mapping[int, int] | None = None, total: float = 0.0) -> None:
        self._classes: Counter[int] = Counter(classes or {})
        self.total = total
        """The sum of all."""

    def add(self, seconds: float) -> None:
        self.total += seconds
        self._classes[math.ceil(math.log(max(seconds, _LEAST) / _LEAST) / math.log(_FACTOR))] += 1

    @property
    def count(self) -> int:
        return sum(self._classes.values())

    def quantile(self, share: float) -> float | None:
        """The seconds that this share stayed below; None where there is nothing."""
        left = math.ceil(share * self.count)
        for place in sorted(self._classes):
            left -= self._classes[place]
            if left <= 0:
                return float(_LEAST * _FACTOR ** (place - 0.5))
        return None

    def plain(self) -> dict[str, Any]:
        """In JSON's own types."""
        return {"total": self.total, "classes": {str(place): count for place, count in self._classes.items()}}


@dataclass(slots=True)
class CheckTally:
    """One check on one target: its trials by outcome, and the flaky passes among them. `bad` has those that count
    against the target, by outcome and FLAKY; `known` is how many would, if they were no known flakes."""

    outcomes: Counter[str] = field(default_factory=Counter)
    flaky: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    known: int = 0

    @property
    def rate(self) -> Rate:
        """The share of clean passes in the verdicts."""
        judged = sum(self.outcomes[outcome.value] for outcome in JUDGED)
        return wilson(self.outcomes[TrialOutcome.PASSED.value] - self.flaky, judged)


@dataclass(slots=True)
class TargetTally:
    """One target. `bad_iterations` had a trial that fails the soak."""

    iterations: int = 0
    bad_iterations: int = 0
    seconds: float = 0.0
    checks: dict[str, CheckTally] = field(default_factory=dict)
    settle: Spread = field(default_factory=Spread)
    reset: Spread = field(default_factory=Spread)
    recovery: Spread = field(default_factory=Spread)
    faults: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    """Faults that were drawn and not injected, by name."""
    unrecovered: int = 0
    links: Counter[str] = field(default_factory=Counter)

    @property
    def outcomes(self) -> Counter[str]:
        """The trials by outcome, as `counted` counts them."""
        found: Counter[str] = Counter()
        for label, check in self.checks.items():
            found.update(check.outcomes)
            if label.startswith(f"{WHOLE_TARGET}::"):
                found[TrialOutcome.PASSED.value] -= check.outcomes[TrialOutcome.PASSED.value] - check.flaky
        return +found

    @property
    def flaky(self) -> int:
        return sum(check.flaky for check in self.checks.values())

    @property
    def known(self) -> int:
        return sum(check.known for check in self.checks.values())

    def mark(self, mark: Mark) -> None:
        """Count a mark of the target."""
        lasted = None if mark.ended is None else max(0.0, mark.ended - mark.started)
        if mark.kind == FAULT:
            self.faults[mark.name] += 1
        elif mark.kind == MISSED:
            self.missed[mark.name] += 1
        elif mark.kind == FALLBACK:
            self.links["fallbacks"] += 1
        elif lasted is None:
            self.unrecovered += mark.kind == RECOVERY
        elif mark.kind == ITERATION:
            self.seconds += lasted
        elif mark.kind == RESET:
            self.reset.add(lasted)
        elif mark.kind == RECOVERY:
            self.recovery.add(lasted)

    @property
    def rate(self) -> Rate:
        """The share of iterations in which nothing was wrong."""
        return wilson(self.iterations - self.bad_iterations, self.iterations)


class Tally:
    """The counts of a soak's targets. An iteration is added once, when it is finished."""

    def __init__(self, targets: Iterable[str] = ()) -> None:
        self.targets: dict[str, TargetTally] = {name: TargetTally() for name in targets}

    def add(self, target: str, trials: Iterable[tuple[Trial, bool]], marks: Iterable[Mark] = ()) -> Counter[str]:
        """One finished iteration: its trials, each with whether it is a known flake, and its marks.
        Returns what was bad in it, by outcome and FLAKY."""
        tally = self.targets.setdefault(target, TargetTally())
        tally.iterations += 1
        bad: Counter[str] = Counter()
        for trial, known in trials:
            word = _bad(trial)
            check = tally.checks.setdefault(trial.label, CheckTally())
            check.outcomes[trial.outcome.value] += 1
            check.flaky += word == FLAKY
            check.known += bool(word) and known
            if word and not known:
                check.bad[word] += 1
                bad[word] += 1
            tally.links.update(commands=trial.commands, re_reads=trial.re_reads, reconnects=trial.reconnects)
            if trial.suite == WHOLE_TARGET and trial.settling is Settling.SETTLED and trial.seconds is not None:
                tally.settle.add(trial.seconds)
        for mark in marks:
            tally.mark(mark)
        tally.bad_iterations += bool(bad)
        return bad

    @property
    def bad_iterations(self) -> int:
        return sum(target.bad_iterations for target in self.targets.values())

    @property
    def outcomes(self) -> Counter[str]:
        """The trials of all targets by outcome."""
        found: Counter[str] = Counter()
        for target in self.targets.values():
            found.update(target.outcomes)
        return found

    @property
    def bad(self) -> Counter[str]:
        """What counts against the targets, by outcome and FLAKY."""
        found: Counter[str] = Counter()
        for target in self.targets.values():
            for check in target.checks.values():
                found.update(check.bad)
        return found

    @property
    def flaky(self) -> int:
        return sum(target.flaky for target in self.targets.values())

    def plain(self) -> dict[str, Any]:
        """In JSON's own types, for those who watch from outside."""
        return {
            name: {
                "iterations": target.iterations,
                "bad_iterations": target.bad_iterations,
                "seconds": target.seconds,
                "outcomes": dict(target.outcomes),
                "flaky": target.flaky,
                "known": target.known,
                "faults": dict(target.faults),
                "missed": dict(target.missed),
                "unrecovered": target.unrecovered,
                "links": dict(target.links),
                "settle": target.settle.plain(),
                "reset": target.reset.plain(),
                "recovery": target.recovery.plain(),
                "checks": {
                    label: {
                        "outcomes": dict(check.outcomes),
                        "flaky": check.flaky,
                        "bad": dict(check.bad),
                        "known": check.known,
                    }
                    for label, check in target.checks.items()
                },
            }
            for name, target in self.targets.items()
        }


def counted(trials: Iterable[Trial]) -> Iterator[Trial]:
    """Yield the trials that count among the checks: that a target settled, or had no finding, is no check of its own,
    and is counted only where it went wrong, as in the results of a run."""
    return (trial for trial in trials if trial.suite != WHOLE_TARGET or not trial.clean)


def _bad(trial: Trial) -> str:
    """In which way a trial is bad; empty where it is not."""
    if trial.outcome is TrialOutcome.PASSED:
        return FLAKY if trial.flaky else ""
    return "" if trial.outcome is TrialOutcome.SKIPPED else trial.outcome.value


def tally_of(document: Mapping[str, Any]) -> Tally:
    """The tally that `plain` wrote."""
    found = Tally()
    for name, values in document.items():
        found.targets[name] = TargetTally(
            iterations=values["iterations"],
            bad_iterations=values["bad_iterations"],
            seconds=values["seconds"],
            checks={
                label: CheckTally(Counter(check["outcomes"]), check["flaky"], Counter(check["bad"]), check["known"])
                for label, check in values["checks"].items()
            },
            settle=_spread(values["settle"]),
            reset=_spread(values["reset"]),
            recovery=_spread(values["recovery"]),
            faults=Counter(values["faults"]),
            missed=Counter(values.get("missed", {})),
            unrecovered=values["unrecovered"],
            links=Counter(values["links"]),
        )
    return found


def _spread(document: Mapping[str, Any]) -> Spread:
    return Spread({int(place): count for place, count in document["classes"].items()}, document["total"])
