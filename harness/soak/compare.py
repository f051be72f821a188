"""Two soaks side by side: is the second one better, the same, or worse?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.soak.figures import Demand, Figures, figures, times
from harness.soak.statistics.difference import Difference, difference
from harness.soak.statistics.logrank import LogRank, log_rank
from harness.soak.statistics.many import holm
from harness.soak.summary import UNLIKELY
from harness.soak.trial import Trial

MARGIN = 0.05
"""Pass rates that surely differ by less are called the same."""


class Change(StrEnum):
    """The second against the first."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"
    TOO_FEW = "too few data"


@dataclass(frozen=True, slots=True)
class Pair:
    """One check on one target in both soaks. `target` is empty where the soaks have none in common, and all are taken
    together. `rate_p` and `settle_p` are corrected for all checks; `settle` is None where no times can be compared."""

    check: str
    target: str
    first: Figures
    second: Figures
    rate: Difference | None
    rate_p: float
    settle: LogRank | None
    settle_p: float
    verdict: Change
    why: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All checks that both soaks have, worst first, and those that only one of them has."""

    pairs: tuple[Pair, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    verdict: Change
    sentence: str
    margin: float


def compare(first: Sequence[Trial], second: Sequence[Trial], demand: Demand, margin: float = MARGIN) -> Comparison:
    """Compares the pass rates (Newcombe's interval, Fisher's exact test) and the times to settle (log-rank test) of
    each check; all p-values together are corrected by Holm's method, those left out that could not have been small with
    so many runs and failures (R. E. Tarone, A modified Bonferroni method for discrete data, Biometrics 46 (1990),
    515-522).

    A check is `worse` or `better` where one of the two says so with the demanded confidence (worse wins), `same` where
    the interval of the difference lies within the margin, and else there are too few data.
    """
    by_target = bool({trial.target for trial in first} & {trial.target for trial in second})
    ours, theirs = _grouped(first, by_target), _grouped(second, by_target)
    common = [key for key in ours if key in theirs]
    rates: list[Difference | None] = []
    ranks: list[LogRank | None] = []
    made: list[tuple[Figures, Figures]] = []
    for key in common:
        a = figures(ours[key], 0.0, demand, check=key[0], target=key[1])
        b = figures(theirs[key], 0.0, demand, check=key[0], target=key[1])
        made.append((a, b))
        rates.append(difference((a.clean.count, a.judged), (b.clean.count, b.judged), demand.confidence))
        ranks.append(log_rank(times(ours[key]), times(theirs[key])))
    unlikely = min(UNLIKELY, 1 - demand.confidence)
    # What could not have been found whatever happened is not asked, so that it costs the others nothing.
    askable = [found if found is not None and found.least_p < unlikely else None for found in rates]
    corrected = iter(holm([found.p for found in (*askable, *ranks) if found is not None]))
    rate_ps = [next(corrected) if found is not None else 1.0 for found in askable]
    rank_ps = [next(corrected) if found is not None else 1.0 for found in ranks]
    pairs = []
    for key, (a, b), rate, rate_p, rank, rank_p in zip(common, made, rates, rate_ps, ranks, rank_ps, strict=True):
        verdict, why = _judge(rate, rate_p, rank, rank_p, unlikely, margin)
        pairs.append(Pair(key[0], key[1], a, b, rate, rate_p, rank, rank_p, verdict, why))
    order = [Change.WORSE, Change.BETTER, Change.TOO_FEW, Change.SAME]
    pairs.sort(key=lambda pair: (order.index(pair.verdict), min(pair.rate_p, pair.settle_p)))
    verdict, sentence = _overall(pairs)
    return Comparison(
        tuple(pairs),
        tuple(_named(key) for key in ours if key not in theirs),
        tuple(_named(key) for key in theirs if key not in ours),
        verdict,
        sentence,
        margin,
    )


def _grouped(trials: Sequence[Trial], by_target: bool) -> dict[tuple[str, str], list[Trial]]:
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        found.setdefault((trial.label, trial.target if by_target else ""), []).append(trial)
    return found


def _named(key: tuple[str, str]) -> str:
    return f"{key[0]} on {key[1]}" if key[1] else key[0]


def _judge(
    rate: Difference | None, rate_p: float, rank: LogRank | None, rank_p: float, unlikely: float, margin: float
) -> tuple[Change, str]:
    said: list[tuple[Change, str]] = []
    if rate is not None and rate_p < unlikely and rate.value:
        worse = rate.value < 0
        said.append((Change.WORSE if worse else Change.BETTER, f"it passes {'less' if worse else 'more'} often"))
    if rank is not None and rank_p < unlikely and rank.sooner:
        later = rank.sooner < 0
        said.append((Change.WORSE if later else Change.BETTER, f"it settles {'later' if later else 'sooner'}"))
    for change in (Change.WORSE, Change.BETTER):
        if any(verdict is change for verdict, _ in said):
            return change, ", ".join(why for _, why in said)
    if rate is None:
        return Change.TOO_FEW, "one of the two has no verdict on the target"
    if -margin <= rate.low and rate.high <= margin:
        return Change.SAME, f"the pass rates differ by less than {100 * margin:g} points"
    bounds = f"{100 * rate.low:+.1f} to {100 * rate.high:+.1f} points"
    if rate.low > 0 or rate.high < 0:
        return Change.TOO_FEW, f"alone it would differ ({bounds}), among so many checks it may be luck"
    return Change.TOO_FEW, f"the difference may be from {bounds}"


def _overall(pairs: Sequence[Pair]) -> tuple[Change, str]:
    counts = {change: sum(pair.verdict is change for pair in pairs) for change in Change}
    told = ", ".join(f"{count} {change.value}" for change, count in counts.items() if count)
    if not pairs:
        return Change.TOO_FEW, "The two have no check in common."
    for change in (Change.WORSE, Change.BETTER, Change.TOO_FEW):
        if counts[change]:
            break
    else:
        change = Change.SAME
    return change, f"Of {len(pairs)} check{'s' if len(pairs) != 1 else ''}: {told}."
