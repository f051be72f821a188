"""The folders of one QEMU: they stay while their maker or their supervisor lives, however old they are."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from harness.machine.runtime import Folders, make_folders
from harness.machine.supervisor import LOCK


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, folder in (("XDG_RUNTIME_DIR", "run"), ("TMPDIR", "disks")):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(name, str(tmp_path / folder))
    # A socket's path has a length; the fallback would be /tmp.
    monkeypatch.setattr("harness.machine.runtime._LONGEST", 1000)
    return tmp_path


def age(folders: Folders) -> None:
    for folder in (folders.sockets, folders.scratch):
        os.utime(folder, (1.0, 1.0))


def test_a_long_preparation_is_not_swept_away_by_another_start(base: Path) -> None:
    preparing = make_folders()
    age(preparing)
    another = make_folders()
    assert preparing.sockets.is_dir()
    assert preparing.scratch.is_dir()
    another.remove()
    preparing.remove()
    assert not list((base / "run").iterdir())
    assert not list((base / "disks").iterdir())


def test_what_a_killed_start_left_is_removed_at_once(base: Path) -> None:
    killed = make_folders()
    os.close(killed.lock)  # as the kernel does
    another = make_folders()
    assert not killed.sockets.exists()
    assert not killed.scratch.exists()
    another.remove()


def test_a_supervisor_that_outlives_its_starter_keeps_its_folders(base: Path) -> None:
    kept = make_folders()
    fd = os.open(kept.sockets / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.close(kept.lock)
    age(kept)
    make_folders().remove()
    assert kept.scratch.is_dir()
    os.close(fd)
    make_folders().remove()
    assert not kept.scratch.exists()
