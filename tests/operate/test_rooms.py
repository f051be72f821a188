"""What is done by hand knows neither the engine nor how anything is printed."""

from __future__ import annotations

import subprocess
import sys

from tests.patience import scaled

ROOMS = ("harness.engine", "harness.soak", "harness.report", "harness.cli", "argparse", "rich", "paramiko")


def test_diagnostics_and_explanations_stand_on_targets_alone() -> None:
    script = "from harness.operate import explain; from harness.operate.collect import collector, replay; "
    script += "import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=scaled(60)
    )
    loaded = done.stdout.split()
    assert [name for name in loaded if any(name == room or name.startswith(f"{room}.") for room in ROOMS)] == []
