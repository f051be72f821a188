"""Two soaks side by side: is the second one better, the same, or worse?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.soak.figures import Demand, Figures, figures
from harness.soak.statistics.difference import Difference, difference
from harness.soak.statistics.logrank import LogRank, log_rank
from harness.soak.statistics.many import holm
from harness.soak.stored import TrialIndex
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
    together.

    `rate` compares the pass rates, `judged` how often there was a verdict on the target at all, `settle` the times to
    settle; None where there is nothing to compare. Their p-values are corrected for all that was asked of all checks.
    """

    check: str
    target: str
    first: Figures
    second: Figures
    rate: Difference | None
    judged: Difference | None
    settle: LogRank | None
    rate_p: float = 1.0
    judged_p: float = 1.0
    settle_p: float = 1.0
    verdict: Change = Change.TOO_FEW
    why: str = ""


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
    """Compares each check's pass rates, and how often it was judged at all (Newcombe's interval, Fisher's exact test),
    and its times to settle (log-rank test). All p-values together are corrected by Holm's method, those left out that
    could not have been small with so many runs and failures (R. E. Tarone, A modified Bonferroni method for discrete
    data, Biometrics 46 (1990), 515-522).

    A check is `worse` or `better` where one of the three says so with the demanded confidence (worse wins), `same`
    where the intervals of both differences lie within the margin, and else there are too few data.
    """
    before, after = TrialIndex.of(first), TrialIndex.of(second)
    by_target = not set(before.targets).isdisjoint(after.targets)
    ours, theirs = _grouped(before, by_target), _grouped(after, by_target)
    asked = [_pair(key, ours[key], theirs[key], demand) for key in ours if key in theirs]
    unlikely = min(UNLIKELY, 1 - demand.confidence)
    pairs = [_judge(pair, unlikely, margin) for pair in _corrected(asked, unlikely)]
    order = [Change.WORSE, Change.BETTER, Change.TOO_FEW, Change.SAME]
    pairs.sort(key=lambda pair: (order.index(pair.verdict), min(pair.rate_p, pair.judged_p, pair.settle_p)))
    verdict, sentence = _overall(pairs)
    return Comparison(
        tuple(pairs),
        tuple(_named(key) for key in ours if key not in theirs),
        tuple(_named(key) for key in theirs if key not in ours),
        verdict,
        sentence,
        margin,
    )


def _pair(key: tuple[str, str], first: Iterable[Trial], second: Iterable[Trial], demand: Demand) -> Pair:
    a = figures(first, 0.0, demand, check=key[0], target=key[1])
    b = figures(second, 0.0, demand, check=key[0], target=key[1])
    return Pair(
        key[0],
        key[1],
        a,
        b,
        rate=difference((a.clean.count, a.judged), (b.clean.count, b.judged), demand.confidence),
        judged=difference((a.judged, a.applied), (b.judged, b.applied), demand.confidence),
        settle=log_rank(a.settle.times, b.settle.times),
    )


def _corrected(pairs: Sequence[Pair], unlikely: float) -> list[Pair]:
    """The pairs with their p-values. What could not have been found whatever happened is not asked, so that it costs
    the others nothing."""
    asked: list[tuple[int, str, float]] = []
    for index, pair in enumerate(pairs):
        asked += [
            (index, name, found.p)
            for name, found in (("rate_p", pair.rate), ("judged_p", pair.judged))
            if found is not None and found.least_p < unlikely
        ]
        if pair.settle is not None:
            asked.append((index, "settle_p", pair.settle.p))
    found_of: list[dict[str, float]] = [{} for _ in pairs]
    for (index, name, _), p in zip(asked, holm([p for _, _, p in asked]), strict=True):
        found_of[index][name] = p
    return [
        replace(
            pair,
            rate_p=found.get("rate_p", 1.0),
            judged_p=found.get("judged_p", 1.0),
            settle_p=found.get("settle_p", 1.0),
        )
        for pair, found in zip(pairs, found_of, strict=True)
    ]


def _grouped(index: TrialIndex, by_target: bool) -> dict[tuple[str, str], Iterable[Trial]]:
    return dict(index.rows) if by_target else {(label, ""): index.of_check(label) for label, _ in index.rows}


def _named(key: tuple[str, str]) -> str:
    return f"{key[0]} on {key[1]}" if key[1] else key[0]


def _judge(pair: Pair, unlikely: float, margin: float) -> Pair:
    said = [
        (Change.WORSE if value < 0 else Change.BETTER, words[value > 0])
        for p, value, words in (
            (pair.judged_p, pair.judged.value if pair.judged else 0.0, ("it could be judged less often",
                                                                       "it could be judged more often")),
            (pair.rate_p, pair.rate.value if pair.rate else 0.0, ("it passes less often", "it passes more often")),
            (pair.settle_p, pair.settle.sooner if pair.settle else 0.0, ("it settles later", "it settles sooner")),
        )
        if p < unlikely and value
    ]  # fmt: skip
    for change in (Change.WORSE, Change.BETTER):
        if any(verdict is change for verdict, _ in said):
            return replace(pair, verdict=change, why=", ".join(why for _, why in said))
    verdict, why = _unsaid(pair, margin)
    return replace(pair, verdict=verdict, why=why)


def _unsaid(pair: Pair, margin: float) -> tuple[Change, str]:
    """The verdict where no test found a difference: is that for want of one, or for want of data?"""
    if pair.rate is None or pair.judged is None:
        return Change.TOO_FEW, "one of the two has no verdict on the target"
    for name, found in (("the pass rate", pair.rate), ("how often it is judged", pair.judged)):
        bounds = f"{100 * found.low:+.1f} to {100 * found.high:+.1f} points"
        if found.low > 0 or found.high < 0:
            return Change.TOO_FEW, f"{name} would differ alone ({bounds}), among so many checks it may be luck"
        if found.low < -margin or found.high > margin:
            return Change.TOO_FEW, f"{name} may differ by {bounds}"
    return Change.SAME, f"the pass rates differ by less than {100 * margin:g} points"


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
