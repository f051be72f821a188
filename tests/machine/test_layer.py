"""Files laid over a real ext4 file system that nobody has mounted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import Cancelled, MachineError
from harness.machine.layer import lay_files
from harness.machine.recipe import RecipeFile
from harness.machine.tool import need
from tests.patience import scaled


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A small file system with a file, a folder and a link in it."""
    root = tmp_path / "root"
    (root / "etc/kept").mkdir(parents=True)
    (root / "etc/who").write_text("before" * 1000)
    (root / "etc/kept/file").write_text("kept")
    (root / "sbin").symlink_to("etc")
    made = tmp_path / "disk.raw"
    with made.open("wb") as stream:
        stream.truncate(16 << 20)
    argv = [need("mke2fs", to="to test"), "-q", "-F", "-t", "ext4", "-d", str(root), str(made)]
    subprocess.run(argv, check=True, capture_output=True)
    return made


def ask(disk: Path, command: str) -> str:
    """What debugfs answers."""
    argv = [need("debugfs", to="to test"), "-R", command, str(disk)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def lay(disk: Path, *files: RecipeFile) -> None:
    lay_files(disk, files, disk.with_name("scratch"), deadline=Deadline.after(scaled(120)))


def test_files_are_laid_over_those_that_are_there(disk: Path) -> None:
    odd = "etc/new/de ep/a \"b\" 'c' $d"
    lay(
        disk,
        RecipeFile("etc/who", b"after", 0o644),
        RecipeFile("etc/kept/more", bytes(range(256)) * 100, 0o644),
        RecipeFile(odd, b"#!/bin/sh\n", 0o755),
        RecipeFile("etc/new/empty", b"", 0o644),
        RecipeFile("usr/local/bin/x", b"x", 0o755),
        RecipeFile("at-the-top", b"top", 0o644),
    )
    assert ask(disk, "cat /usr/local/bin/x") + ask(disk, "cat /at-the-top") == "xtop"
    assert ask(disk, "cat /etc/who") == "after"
    assert ask(disk, "cat /etc/kept/file") == "kept"
    escaped = odd.replace('"', '""')
    assert ask(disk, f'cat "/{escaped}"') == "#!/bin/sh\n"
    for path, mode in (("etc/who", "0644"), (escaped, "0755"), ("etc/new", "0755"), ("etc/new/empty", "0644")):
        told = " ".join(ask(disk, f'stat "/{path}"').split())
        assert f"Mode: {mode}" in told
        assert "User: 0 Group: 0" in told
    assert not disk.with_name("scratch").exists()


def test_the_same_again_is_the_same(disk: Path) -> None:
    file = RecipeFile("etc/new/file", b"once", 0o644)
    lay(disk, file)
    lay(disk, file)
    assert ask(disk, "cat /etc/new/file") == "once"


@pytest.mark.parametrize("path", ["etc/who/below", "sbin/through/a/link"])
def test_what_could_not_be_laid_is_told(disk: Path, path: str) -> None:
    with pytest.raises(MachineError, match=rf"/{path} could not be laid over disk.raw; debugfs's own words") as caught:
        lay(disk, RecipeFile(path, b"x", 0o644))
    assert "name the real folder" in (caught.value.hint or "")


def test_a_full_file_system_is_told(disk: Path) -> None:
    with pytest.raises(MachineError, match="could not be laid"):
        lay(disk, RecipeFile("etc/big", b"x" * (20 << 20), 0o644))


def test_a_path_that_no_script_can_hold_is_told(disk: Path) -> None:
    with pytest.raises(MachineError, match="no newline"):
        lay(disk, RecipeFile("etc/a\nrm who", b"x", 0o644))
    assert ask(disk, "cat /etc/who").startswith("before")


def test_it_can_be_cancelled(disk: Path) -> None:
    from harness.deadline import Cancellation

    cancellation = Cancellation()
    cancellation.cancel("enough")
    with pytest.raises(Cancelled):
        lay_files(
            disk,
            [RecipeFile("etc/x", b"x", 0o644)],
            disk.with_name("scratch"),
            deadline=Deadline.after(scaled(60), cancellation=cancellation),
        )
