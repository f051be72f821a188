"""Real shells behind a line that drops, flips, doubles and inserts bytes; see `benchmarks/damage.py`.

The 10,000 commands take minutes of processor time: they carry the mark `damage`, and `-m "not damage"` leaves them out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.damage import SHELLS, Preset, arrives, presets, run

PRESETS = presets()
ALL = [(preset, shell) for preset in PRESETS for shell in SHELLS]
EACH = -(-10_000 // len(ALL))


@pytest.fixture(autouse=True)
def runtime() -> Iterator[None]:
    """`run` sets where the owner of a console is noted."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    yield
    if before is None:
        os.environ.pop("XDG_RUNTIME_DIR", None)
    else:
        os.environ["XDG_RUNTIME_DIR"] = before


@pytest.mark.parametrize(("preset", "shell"), [(PRESETS[4], "bash"), (PRESETS[9], "dash"), (PRESETS[21], "ash")])
def test_some_commands_over_a_damaging_line(preset: Preset, shell: str) -> None:
    tally = run(preset, shell, "some", 20, deadline=60.0, slow=False)
    assert tally.bad == []
    assert tally.commands == 20
    assert tally.hits > 10
    assert tally.right >= 18, tally.errors


@pytest.mark.damage
@pytest.mark.parametrize(("preset", "shell"), ALL, ids=lambda value: getattr(value, "name", value))
def test_ten_thousand_commands_over_damaging_lines(preset: Preset, shell: str) -> None:
    tally = run(preset, shell, "many", EACH, deadline=60.0, slow=False)
    assert tally.bad == []
    assert tally.commands == EACH
    assert tally.right > EACH * 0.9, tally.errors


@pytest.mark.parametrize(
    ("size", "rate", "shell"), [(20_000, 0.005, "dash"), (430, 0.02, "bash")], ids=["20 kB at 0.5 %", "430 B at 2 %"]
)
def test_an_output_arrives_over_a_line_that_loses_bytes(tmp_path: Path, size: int, rate: float, shell: str) -> None:
    """Lines are read again, not answers. `python -m benchmarks.damage --outputs 20` has twenty of each."""
    assert arrives(Preset("loss", ("drop",), rate, True, True), shell, size, tmp_path, seed=1, deadline=100.0)
