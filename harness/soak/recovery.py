"""How long targets took to serve again after each kind of fault, and how long resets took."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from harness.soak.statistics.rates import CONFIDENCE
from harness.soak.statistics.survival import Quantile, Times, quantile, steps_of
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
    by_name: dict[str, _Lengths] = {}
    for mark in marks:
        if mark.kind == kind:
            by_name.setdefault(mark.name, _Lengths()).add(mark)
    return tuple(_spell(name, lengths, confidence) for name, lengths in sorted(by_name.items()))


def all_spells(marks: Iterable[Mark], kind: str, confidence: float = CONFIDENCE) -> Spell | None:
    """Return the marks of a kind together, whatever their names; None where there are none."""
    lengths = _Lengths()
    for mark in marks:
        if mark.kind == kind:
            lengths.add(mark)
    return _spell("", lengths, confidence) if lengths.count else None


class _Lengths:
    """How long marks took, in seconds: of those that have an end."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = array("d")

    def add(self, mark: Mark) -> None:
        self.count += 1
        if mark.ended is not None:
            self.seconds.append(max(0.0, mark.ended - mark.started))


def _spell(name: str, lengths: _Lengths, confidence: float) -> Spell:
    lasted = lengths.seconds
    times = Times(lasted, never=lengths.count - len(lasted))
    quantiles = tuple(quantile(steps_of(times), share, confidence) for share in (0.5, 0.9, 0.99))
    return Spell(name, lengths.count, len(lasted), quantiles, max(lasted, default=None))
