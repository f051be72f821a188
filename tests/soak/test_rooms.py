"""Soak and report stand side by side; what each needs of the other needs nothing back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.patience import scaled

FIGURES = "trial, trials, signature, figures, summary, clusters, compare, recovery"


@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        (
            f"from harness.soak import {FIGURES}",
            ("harness.report", "harness.soak.soak", "scipy", "numpy", "statsmodels"),
        ),
        ("import harness.report.folder", ("harness.soak",)),
        ("import harness.soak.statistics.survival", ("harness.engine", "harness.events", "orjson")),
    ],
)
def test_what_is_needed_needs_nothing_back(imported: str, unwanted: tuple[str, ...]) -> None:
    script = f"{imported}; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=scaled(60)
    )
    loaded = done.stdout.split()
    assert [name for name in loaded if any(name == each or name.startswith(f"{each}.") for each in unwanted)] == []
