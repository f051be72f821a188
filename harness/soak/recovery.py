"""How long targets took to serve again after each kind of fault, and how long resets took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.soak.statistics.rates import CONFIDENCE
from harness.soak.statistics.survival import Quantile, Times, kaplan_meier, quantile
from harness.soak.trials import Mark


@dataclass(frozen=True, slots=True)
class Spell:
    """All marks of one kind and name: how many, how many of them had an end, and by when 50, 90 and 99 % had, in
    seconds. What had no end stays without one for ever."""

    name: str
    count: int
    ended: int
    quantiles: tuple[Quantile, ...]
    longest: float | None


def spells(marks: Iterable[Mark], kind: str, confidence: float = CONFIDENCE) -> tuple[Spell, ...]:
    """The marks of a kind (`recovery`, `reset`), by their names."""
    by_name: dict[str, list[Mark]] = {}
    for mark in marks:
        if mark.kind == kind:
            by_name.setdefault(mark.name, []).append(mark)
    return tuple(_spell(name, members, confidence) for name, members in sorted(by_name.items()))


def all_spells(marks: Iterable[Mark], kind: str, confidence: float = CONFIDENCE) -> Spell | None:
    """Return the marks of a kind together, whatever their names; None where there are none."""
    members = [mark for mark in marks if mark.kind == kind]
    return _spell("", members, confidence) if members else None


def _spell(name: str, marks: list[Mark], confidence: float) -> Spell:
    lasted = [max(0.0, mark.ended - mark.started) for mark in marks if mark.ended is not None]
    curve = kaplan_meier(Times(tuple(lasted), never=len(marks) - len(lasted)))
    quantiles = tuple(quantile(curve, share, confidence) for share in (0.5, 0.9, 0.99))
    return Spell(name, len(marks), len(lasted), quantiles, max(lasted, default=None))
