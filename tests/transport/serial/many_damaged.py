"""What the tests over many damaging lines share: 10,000 commands in all, over each preset and shell."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.damage import SHELLS, Preset, Tally, presets, run_side_by_side
from tests.patience import scaled

_TOTAL = 10_000
_LONGEST = 60.0
"""Seconds of a command at most: a console that says nothing any more is given up after half of them."""
_HEAVY_RATE = 0.01
_HEAVY_SHARE = 0.4
"""A preset that damages one byte in a hundred costs three times the processor time of the others, so it gets fewer."""


def shares() -> dict[tuple[Preset, str], int]:
    """Return how many commands each preset runs on each shell."""
    pairs = [(preset, shell) for preset in presets() for shell in SHELLS]
    weights = [_HEAVY_SHARE if preset.rate >= _HEAVY_RATE else 1.0 for preset, _ in pairs]
    return {pair: -int(-_TOTAL * weight // sum(weights)) for pair, weight in zip(pairs, weights, strict=True)}


def check_all(kinds: tuple[str, ...]) -> None:
    """Run the share of the presets whose names begin with `kinds`, side by side, and check every answer."""
    chosen = {pair: share for pair, share in shares().items() if pair[0].name.split()[0] in kinds}
    tallies = run_side_by_side(chosen, "many", deadline=min(scaled(20.0), _LONGEST), late=scaled(3.0))
    bad = [f"{preset}, {shell}: {what}" for (preset, shell), tally in tallies.items() for what in tally.bad]
    assert not bad, "\n".join(bad)
    short = list(_short(chosen, tallies))
    assert not short, "\n".join(short)


def _short(chosen: dict[tuple[Preset, str], int], tallies: dict[tuple[str, str], Tally]) -> Iterator[str]:
    for (preset, shell), share in chosen.items():
        tally = tallies[preset.name, shell]
        if tally.commands != share or tally.right <= share * 0.9:
            yield f"{preset.name}, {shell}: {tally.commands} of {share} run, {tally.right} right, errors {tally.errors}"
