"""A whole soak, or a run, in figures: what every report tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.soak.clusters import Cluster, clusters
from harness.soak.figures import Demand, Figures, figures
from harness.soak.statistics.many import holm
from harness.soak.statistics.outlier import Outlier, against_the_pool
from harness.soak.statistics.rates import Rate, wilson
from harness.soak.stored import TrialIndex
from harness.soak.tally import counted
from harness.soak.trial import JUDGED, Trial, TrialOutcome

UNLIKELY = 0.05
"""A p-value below it is reported; it is corrected for the number of tests."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Something that changed in the course of a soak, with its p-value corrected for the number of tests.

    `what` is `failing` or `settling`; `strength` from -1 (less, sooner) to 1 (more, later).
    """

    check: str
    target: str
    what: str
    strength: float
    p: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it in a word and a sentence. The word is an outcome's, or `flaky`, or `nothing`."""

    word: str
    sentence: str

    @property
    def good(self) -> bool:
        return self.word == "passed"


@dataclass(frozen=True, slots=True)
class Summary:
    """All figures of a soak.

    `rows` has one for each check on each target. `split` has one for each transport of those that more than one served,
    without a time between failures: nobody knows how long each would have served. `worst` are the targets that are
    worse than the others together, by check; an empty check means all of them. `clean_iterations` is the share of
    iterations of a target that passed, every trial a clean pass or skipped: trials of one iteration are not
    independent, iterations are.
    """

    verdict: Verdict
    total: Figures
    clean_iterations: Rate
    rows: tuple[Figures, ...]
    split: tuple[Figures, ...]
    clusters: tuple[Cluster, ...]
    drifts: tuple[Drift, ...]
    worst: tuple[tuple[str, Outlier], ...]
    iterations: dict[str, int]
    demand: Demand = field(default_factory=Demand)


def summarise(
    trials: Sequence[Trial], exposure: Mapping[str, float], iterations: Mapping[str, int], demand: Demand
) -> Summary:
    """The figures of these trials, which are gone through several times and not kept. `exposure` is the time that each
    target was in iterations, in seconds; `iterations` how many of each target were finished."""
    index = TrialIndex.of(trials)
    rows: list[Figures] = []
    split: list[Figures] = []
    for (check, target), members in index.rows.items():
        transports: Counter[str] = Counter()
        seen = (each for each in members if not transports.update((each.transport,)))
        rows.append(figures(seen, exposure.get(target, 0.0), demand, check=check, target=target))
        if len(transports) > 1:
            split += (
                figures(
                    (each for each in members if each.transport == transport), 0.0, demand, check=check, target=target,
                    transport=transport,
                )
                for transport in sorted(transports)
            )  # fmt: skip
    total = figures(counted(index), sum(exposure.values()), demand)
    return Summary(
        verdict=_verdict(total, rows, index.known),
        total=total,
        clean_iterations=_clean_iterations(index, demand),
        rows=tuple(rows),
        split=tuple(split),
        clusters=clusters(index),
        drifts=_drifts(rows),
        worst=_worst(rows),
        iterations=dict(iterations),
        demand=demand,
    )


def _clean_iterations(index: TrialIndex, demand: Demand) -> Rate:
    total, unclean = index.iterations
    return wilson(total - unclean, total, demand.confidence)


def _drifts(rows: Sequence[Figures]) -> tuple[Drift, ...]:
    asked = [
        Drift(row.check, row.target, what, trend.strength, trend.p)
        for row in rows
        for what, trend in (("failing", row.failing_trend), ("settling", row.settle_trend))
        if trend is not None
    ]
    corrected = holm([drift.p for drift in asked])
    found = [
        Drift(drift.check, drift.target, drift.what, drift.strength, p)
        for drift, p in zip(asked, corrected, strict=True)
        if p < UNLIKELY
    ]
    return tuple(sorted(found, key=lambda drift: (drift.p, -abs(drift.strength))))


def _worst(rows: Sequence[Figures]) -> tuple[tuple[str, Outlier], ...]:
    counts: dict[str, dict[str, tuple[int, int]]] = {"": {}}
    for row in rows:
        # A target that cannot be reached is no better than one that fails; errors of checks and of
        # harness are not its fault.
        lost = sum(row.outcomes[name] for name in ("unreachable", "infrastructure", "not_run"))
        failures, total = counts[""].get(row.target, (0, 0))
        counts.setdefault(row.check, {})[row.target] = (row.unclean + lost, row.judged + lost)
        counts[""][row.target] = (failures + row.unclean + lost, total + row.judged + lost)
    asked = [(check, outlier) for check, targets in counts.items() for outlier in against_the_pool(targets)]
    # Each is corrected for the targets; here once more for the checks.
    corrected = holm([outlier.p for _, outlier in asked])
    return tuple(pair for pair, p in zip(asked, corrected, strict=True) if p < UNLIKELY)


_WORDS = {
    "failed": "failed",
    "error": "ended in a mistake of the check",
    "internal": "ended in a fault of harness",
    "unreachable": "could not reach the target",
    "infrastructure": "were lost to the infrastructure",
    "not_run": "were not run",
}


def _verdict(total: Figures, rows: Sequence[Figures], known: int) -> Verdict:
    """The gravest thing first, the others behind it; `known` of them are known flakes."""
    if not total.trials:
        return Verdict("nothing", "No trial was finished, so there is nothing to tell.")
    told = [
        (name, f"{total.outcomes[name]:,} of {_many(total.trials, 'trial')} {words}")
        for name, words in _WORDS.items()
        if total.outcomes[name]
    ]
    if total.flaky.count:
        told.append(("flaky", f"{total.flaky.count:,} of {_many(total.judged, 'verdict')} flaky"))
    if known:
        told[-1] = (told[-1][0], f"{told[-1][1]}; {known:,} of what did not pass cleanly is known")
    if told:
        bad = [row for row in rows if row.unclean or any(row.outcomes[name] for name in _WORDS)]
        checks, targets = {row.check for row in rows}, {row.target for row in rows}
        where = f", in {len({row.check for row in bad})} of {len(checks)} checks" if len(checks) > 1 else ""
        where += f", on {len({row.target for row in bad})} of {len(targets)} targets" if len(targets) > 1 else ""
        return Verdict(told[0][0], "; ".join(sentence for _, sentence in told) + where + ".")
    if not any(total.outcomes[outcome.value] for outcome in JUDGED):
        return Verdict("skipped", f"All of {_many(total.trials, 'trial')} skipped: nothing was looked at.")
    skipped = total.outcomes[TrialOutcome.SKIPPED.value]
    also = f"; {skipped:,} skipped" if skipped else ""
    return Verdict("passed", f"{_many(total.judged, 'trial')} passed, none was flaky{also}.")


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
