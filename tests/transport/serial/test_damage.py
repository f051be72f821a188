"""Real shells behind a line that drops, flips, doubles and inserts bytes; see `benchmarks/damage.py`.

The 10,000 commands are in test_damage_drop_flip.py and test_damage_double_insert.py, which two workers share.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.damage import Preset, arrives, presets, run

PRESETS = presets()
pytestmark = pytest.mark.usefixtures("runtime_dir")


@pytest.mark.parametrize(("preset", "shell"), [(PRESETS[4], "bash"), (PRESETS[9], "dash"), (PRESETS[21], "ash")])
def test_some_commands_over_a_damaging_line(preset: Preset, shell: str) -> None:
    tally = run(preset, shell, "some", 20, deadline=60.0, slow=False)
    assert tally.bad == []
    assert tally.commands == 20
    assert tally.hits > 10
    assert tally.right >= 18, tally.errors


@pytest.mark.parametrize(
    ("size", "rate", "shell"), [(20_000, 0.005, "dash"), (430, 0.02, "bash")], ids=["20 kB at 0.5 %", "430 B at 2 %"]
)
def test_an_output_arrives_over_a_line_that_loses_bytes(tmp_path: Path, size: int, rate: float, shell: str) -> None:
    """Lines are read again, not answers. `python -m benchmarks.damage --outputs 20` has twenty of each."""
    assert arrives(Preset("loss", ("drop",), rate, True, True), shell, size, tmp_path, seed=1, deadline=100.0)
