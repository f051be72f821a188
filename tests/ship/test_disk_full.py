"""A real file system without space: nothing is sent beyond the checkpoint, and it goes on when there is room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import scaled
from tests.ship.daemons import program
from tests.ship.runs import Run

SCRIPT = """
mount -t tmpfs -o size=256k tmpfs {disk} && cp -r {run} {disk}/run || exit 77
dd if=/dev/zero of={disk}/filler bs=4k > /dev/null 2>&1
{python} -m harness ship {disk}/run --to 'file:{out}?batch=10' --timeout 100 2> {said} &
shipper=$!
for _ in $(seq 600); do grep -q 'No space left' {said} && break; sleep 0.1; done
wc -c < {out} > {before}
rm {disk}/filler
wait $shipper
"""


def test_it_waits_for_room(run: Run, tmp_path: Path) -> None:
    run.say(*(f"line {number}" for number in range(40)))
    run.end()
    unshare = [program("unshare"), "--mount", "--propagation", "private"]
    if os.geteuid() or subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False).returncode:
        pytest.skip("no namespace of mounts can be made here")
    disk, out, said, before = (tmp_path / name for name in ("disk", "out", "said", "before"))
    disk.mkdir()
    out.touch()
    script = SCRIPT.format(disk=disk, run=run.folder, out=out, said=said, before=before, python=sys.executable)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([*unshare, "bash", "-c", script], env=environment, timeout=scaled(200), check=False)
    assert done.returncode == 0, said.read_text()
    assert before.read_text() == "0\n"
    assert said.read_text().count("No space left") == 1
    assert out.read_bytes().splitlines() == run.lines()
