"""What the tests over many damaging lines share: 10,000 commands in all, over each preset and shell."""

from __future__ import annotations

from benchmarks.damage import SHELLS, presets, run_side_by_side
from tests.patience import scaled

_ALL = [(preset, shell) for preset in presets() for shell in SHELLS]
_EACH = -(-10_000 // len(_ALL))


def check_all(kinds: tuple[str, ...]) -> None:
    """Run the share of the presets whose names begin with `kinds`, side by side, and check every answer."""
    chosen = [(preset, shell) for preset, shell in _ALL if preset.name.split()[0] in kinds]
    tallies = run_side_by_side(chosen, "many", _EACH, deadline=scaled(20.0), late=scaled(3.0))
    bad = [f"{preset}, {shell}: {what}" for (preset, shell), tally in tallies.items() for what in tally.bad]
    assert not bad, "\n".join(bad)
    assert {key: tally.commands for key, tally in tallies.items() if tally.commands != _EACH} == {}
    assert {key: tally.errors for key, tally in tallies.items() if tally.right <= _EACH * 0.9} == {}
