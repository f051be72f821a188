"""The console's benchmark measures what it says that it measures; its numbers are nobody's to assert."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_everyone_takes_part_and_all_of_it_arrives() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serial", "--quick", "--passes", "1", "--rounds", "2", "--sizes", "1,2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    number = r" +[0-9.]+"
    for command, size in [("echo hello", 6), ("sh -c 'echo x'", 2), ("seq 1 150000", 938895)]:
        assert re.search(rf"^{re.escape(command)} +{size}({number}){{3}}", done.stdout, re.MULTILINE), done.stdout
    for size in (1, 2):
        assert re.search(rf"^{size} MB({number}){{5}}", done.stdout, re.MULTILINE), done.stdout
    for name in ("labgrid", "tbot"):
        assert re.search(rf"a command .*{name} ms", done.stdout)
        assert f"{name} failed" not in done.stdout
    folder = re.search(r"cat (/tmp/bench-serial-\d+)/1", done.stdout)
    assert folder is not None
    assert not Path(folder[1]).exists()
