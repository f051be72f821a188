"""Saved machines in the cache: found again for the same machine only, whole or not there, and removed when unused."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MachineError, UsageError
from harness.machine import saved as saves
from harness.machine.argv import TCG_APPEND
from harness.machine.image import MANIFEST, Image
from harness.machine.layout import machine_layout
from harness.machine.runtime import Folders
from harness.machine.spec import DiskSpec, MachineSpec, PortForward


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    saves.saved_folder().mkdir(parents=True)
    return saves.saved_folder()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    folder = tmp_path / "image"
    folder.mkdir()
    for name in ("disk.raw", "vmlinuz", "initrd.img", "client_key", MANIFEST):
        (folder / name).write_text(name)
    return Image(
        "debian", folder, folder / "disk.raw", folder / "vmlinuz", folder / "initrd.img", "console=ttyS0", "root",
        "secret", folder / "client_key", (), "hash",
    )  # fmt: skip


def spec(tmp_path: Path, **variables: Any) -> MachineSpec:
    found = MachineSpec.from_vars("vm1", {"qemu_image": "debian", "qemu_start": "snapshot", **variables}, base=tmp_path)
    assert found is not None
    return found


def key(of: MachineSpec, image: Image | None, name: str = "vm1", accel: Any = "tcg") -> str:
    return saves.machine_key(of, name=name, accel=accel, image=image)


def test_the_key_changes_with_whatever_makes_another_machine(tmp_path: Path, image: Image) -> None:
    seed = tmp_path / "seed"
    (seed / "etc").mkdir(parents=True)
    (seed / "etc" / "motd").write_text("a")
    (tmp_path / "data.qcow2").write_bytes(b"QFI\xfbdata")
    (tmp_path / "other-qemu").write_text("")
    base = spec(tmp_path)
    seeded = replace(base, seed=seed)
    with_disk = replace(base, disks=(DiskSpec(tmp_path / "data.qcow2"),))
    keys = {
        "as it is": key(base, image),
        "its name": key(base, image, name="vm2"),
        "kvm": key(base, image, accel="kvm"),
        "memory": key(replace(base, memory=512), image),
        "cpus": key(replace(base, cpus=4), image),
        "append": key(replace(base, append="quiet"), image),
        "arguments": key(replace(base, args=("-device", "virtio-balloon")), image),
        "console": key(replace(base, console="virtio"), image),
        "ports": key(replace(base, ports=(PortForward(0, 80),)), image),
        "an empty disk": key(replace(base, disks=(DiskSpec(None, 1 << 30),)), image),
        "a disk": key(with_disk, image),
        "qemu": key(replace(base, binary=str(tmp_path / "other-qemu")), image),
        "seed": key(seeded, image),
    }
    (seed / "etc" / "motd").write_text("b")
    keys["content of the seed"] = key(seeded, image)
    (seed / "etc" / "motd").chmod(0o755)
    keys["mode in the seed"] = key(seeded, image)
    (seed / "etc" / "link").symlink_to("motd")
    keys["link in the seed"] = key(seeded, image)
    (seed / "etc" / "link").unlink()
    (seed / "etc" / "link").symlink_to("passwd")
    keys["where a link leads"] = key(seeded, image)
    (tmp_path / "data.qcow2").write_bytes(b"QFI\xfbmore data")
    keys["content of a disk"] = key(with_disk, image)
    os.utime(image.path / MANIFEST, (1, 1))
    keys["another build of the image"] = key(base, image)
    assert len(set(keys.values())) == len(keys), keys


def test_the_key_is_the_same_for_the_same_machine(tmp_path: Path, image: Image) -> None:
    assert key(spec(tmp_path), image) == key(spec(tmp_path), image)
    # How long it may take is no part of the machine.
    assert key(replace(spec(tmp_path), boot_timeout=7.0), image) == key(spec(tmp_path), image)


def test_a_file_that_is_not_there_is_told(tmp_path: Path, image: Image) -> None:
    with pytest.raises(MachineError, match=r"gone\.qcow2 cannot be read"):
        key(replace(spec(tmp_path), disks=(DiskSpec(tmp_path / "gone.qcow2"),)), image)


def keep(cache: Path, tmp_path: Path, name: str = "0123") -> saves.SavedMachine:
    disk, log = tmp_path / "disk0.qcow2", tmp_path / "console.log"
    disk.write_bytes(os.urandom(3 << 20))
    log.write_text("login: ")
    return saves.keep_saved(
        cache / f".{name}.1", cache / name, disks=[disk], logs=[log], boot_id="b", lines=("one", "two")
    )


def test_what_is_kept_is_found_again_and_private(cache: Path, tmp_path: Path) -> None:
    saved = keep(cache, tmp_path)
    assert saves.load_saved(cache / "0123") == saved
    assert saved.disks[0].read_bytes() == (tmp_path / "disk0.qcow2").read_bytes()
    assert (saved.path / "console.log").read_text() == "login: "
    assert (saved.boot_id, saved.lines) == ("b", ("one", "two"))
    assert abs(saved.at - time.time()) < 600
    assert [stat.S_IMODE(path.stat().st_mode) for path in sorted(saved.path.iterdir())] == [0o600] * 3
    assert stat.S_IMODE(saved.path.stat().st_mode) == 0o700
    assert [path.name for path in cache.iterdir()] == ["0123"]
    # Another one takes its place.
    assert saves.load_saved(cache / "0123") != keep(cache, tmp_path)


def test_what_is_not_whole_is_not_there(cache: Path, tmp_path: Path) -> None:
    assert saves.load_saved(cache / "none") is None
    saved = keep(cache, tmp_path)
    saved.disks[0].unlink()
    assert saves.load_saved(cache / "0123") is None
    for text in ("", "{", "[]", "{}", '{"disks": 1}'):
        keep(cache, tmp_path)
        (cache / "0123" / "saved.json").write_text(text)
        assert saves.load_saved(cache / "0123") is None, text


def test_what_nobody_uses_is_removed(cache: Path, tmp_path: Path) -> None:
    keep(cache, tmp_path, "old")
    keep(cache, tmp_path, "used")
    (cache / "used.lock").touch()
    for name in ("old", "used"):
        os.utime(cache / name, (0, time.time() - saves.UNUSED - 60))
    assert saves.load_saved(cache / "used") is not None
    saves.remove_unused(time.time())
    assert sorted(path.name for path in cache.iterdir()) == ["used", "used.lock"]


def test_a_copy_is_the_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for data in (b"", b"a", os.urandom(5_000_001)):
        source.write_bytes(data)
        target = tmp_path / f"copy{len(data)}"
        saves.copy_disk(source, target)
        assert target.read_bytes() == data
    with pytest.raises(MachineError, match="cannot be copied"):
        saves.copy_disk(source, target)
    with pytest.raises(MachineError, match="cannot be copied"):
        saves.copy_disk(tmp_path / "none", tmp_path / "other")


@pytest.mark.parametrize(
    "variables",
    [
        {"qemu_image": "", "qemu_iso": "boot.iso"},
        {"qemu_image": "disk.raw", "qemu_disk_mode": "persistent"},
    ],
)
def test_one_that_keeps_no_snapshot_cannot_be_restored(tmp_path: Path, variables: dict[str, str]) -> None:
    for name in ("boot.iso", "disk.raw"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="qemu_start='snapshot' needs throw-away disks"):
        spec(tmp_path, **variables)
    with pytest.raises(UsageError, match="qemu_start='resume' is none of boot, snapshot"):
        spec(tmp_path, qemu_start="resume")


@pytest.mark.parametrize(("accel", "there"), [("tcg", True), ("kvm", False)])
def test_an_emulated_guest_of_ours_does_not_test_its_timer(
    tmp_path: Path, image: Image, accel: Any, there: bool
) -> None:
    folders = Folders(Path("/s"), Path("/d"))
    ours = machine_layout(spec(tmp_path), name="vm1", accel=accel, image=image, logs=tmp_path, folders=folders)
    assert (TCG_APPEND in ours.append.split()) is there
    # What somebody else boots gets the command line that they wrote.
    theirs = replace(spec(tmp_path), recipe=None, kernel=image.kernel, append="console=ttyS0")
    assert (
        machine_layout(theirs, name="vm1", accel=accel, image=None, logs=tmp_path, folders=folders).append
        == "console=ttyS0"
    )
