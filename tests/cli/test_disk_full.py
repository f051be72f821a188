"""A disk that is full in the middle of a real run: it ends with the reason, and all that was recorded is whole."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.events.reader import RecordReader
from harness.testing.pty_guest import PtyGuest
from tests.patience import scaled

ROOT = Path(__file__).parents[2]
CHECKS = """
from harness import check

@check
def notes_much(target):
    for number in range(3000):
        target.note(f"note {number}", text="x" * 300)
    target.run("sleep 600", timeout=500)

@check
def waits_long(target):
    target.run("sleep 600", timeout=500)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "run").mkdir(mode=0o700)
    shell = shutil.which("bash") or "sh"
    with PtyGuest([shell, "--norc", "-i"], tmp_path / "run" / "console") as guest:
        (tmp_path / "mine.py").write_text(CHECKS)
        (tmp_path / "inv.ini").write_text(f"board serial_socket={guest.path} ansible_connection=serial settle=false\n")
        yield tmp_path


def run(place: Path, prefix: list[str], limit: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(place)}
    return subprocess.run(
        [*prefix, sys.executable, "-m", "harness", "run", "-i", "inv.ini", "--logs", "logs", "mine.py"],
        cwd=place, env=environment | {"XDG_RUNTIME_DIR": str(place / "run")}, preexec_fn=limit,
        capture_output=True, text=True, timeout=scaled(120), check=False,
    )  # fmt: skip


def holds(done: subprocess.CompletedProcess[str], folder: Path, reason: str) -> None:
    assert done.returncode == 5, done.stdout + done.stderr
    assert f"cannot write the record logs/{folder.name}/events.jsonl: {reason}" in done.stderr
    assert "What was recorded before is intact" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    data = (folder / "events.jsonl").read_bytes()
    assert data.endswith(b"\n")
    with RecordReader(folder) as reader:
        events = [line.event() for line in reader.read(1 << 30)]
        assert reader.read() == []
        assert reader.state.value == "left"
    assert [event["event.sequence"] for event in events] == list(range(1, len(events) + 1))
    assert len(events) > 50
    assert not (folder / "results.json").exists(), "a verdict on half a record"


def test_a_file_that_may_not_grow(place: Path) -> None:
    done = run(place, [], lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    (folder,) = [path for path in (place / "logs").iterdir() if not path.is_symlink()]
    holds(done, folder, "File too large")


def test_a_disk_without_room(place: Path) -> None:
    unshare = ["unshare", "-m", "--propagation=private"]
    probe = [*unshare, "mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    (place / "logs").mkdir()
    # What was written to the small disk is copied out before it goes away with its namespace.
    script = 'mount -t tmpfs -o size=200k tmpfs logs; "$@"; code=$?; cp -a logs left; exit $code'
    done = run(place, [*unshare, "sh", "-c", script, "sh"])
    (folder,) = [path for path in (place / "left").iterdir() if not path.is_symlink()]
    holds(done, folder, "No space left on device")


def test_a_scratch_disk_without_room_is_infrastructure_and_named(tmp_path: Path) -> None:
    """QEMU's tool cannot make the machine's disk: no guest is booted, and no verdict is given."""
    if shutil.which("qemu-img") is None or shutil.which("qemu-system-x86_64") is None:
        pytest.skip("QEMU is not installed")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    mount = f"mount -t tmpfs -o size=64k tmpfs '{scratch}'"
    unshare = ["unshare", "-m", "--propagation=private", "sh", "-c"]
    if subprocess.run([*unshare, mount], capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    (tmp_path / "kernel").write_bytes(bytes(4096))
    (tmp_path / "inv.ini").write_text(f"vm1 qemu_kernel={tmp_path}/kernel qemu_disks=64M\n")
    (tmp_path / "mine.py").write_text(CHECKS)
    script = f"""{mount}; head -c 60k /dev/zero > '{scratch}/fill'; exec "$@" """
    words = [sys.executable, "-m", "harness", "run", "-i", "inv.ini", "mine.py", "--logs", "logs"]
    done = subprocess.run(
        [*unshare, script, "sh", *words],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 7, said
    assert "a disk of this machine is full" in said
    assert f"{scratch}/" in said
    assert "boot_stall" not in said
    assert "Traceback" not in said
