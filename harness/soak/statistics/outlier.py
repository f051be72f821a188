"""Whether one target of many is worse than the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.soak.statistics.distributions import hypergeometric_tail
from harness.soak.statistics.many import holm


@dataclass(frozen=True, slots=True)
class Outlier:
    """A target's failures against those of all others together. `p` is the chance that one of so many targets does so
    badly by luck alone: it is corrected for their number."""

    target: str
    failures: int
    total: int
    others_failures: int
    others_total: int
    p: float


def against_the_pool(counts: Mapping[str, tuple[int, int]]) -> tuple[Outlier, ...]:
    """Each target's (failures, total) against the sum of the others', worst first; nothing below two targets, or
    without any failure.

    Fisher's exact test, one-sided (the chance of at least so many failures among its runs, the sum of all failures
    given), corrected by Holm's method.
    """
    counts = {target: count for target, count in counts.items() if count[1]}
    if len(counts) < 2:
        return ()
    failures, total = sum(count[0] for count in counts.values()), sum(count[1] for count in counts.values())
    if not failures:
        return ()
    corrected = holm([hypergeometric_tail(own, runs, failures, total) for own, runs in counts.values()])
    found = [
        Outlier(target, own, runs, failures - own, total - runs, p)
        for (target, (own, runs)), p in zip(counts.items(), corrected, strict=True)
    ]
    return tuple(sorted(found, key=lambda each: (each.p, -each.failures / each.total, each.target)))
