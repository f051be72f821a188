"""Which reset a host has, and which it cannot have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MachineError, UsageError
from harness.inventory import load
from harness.machine.snapshot import writable_nodes
from harness.target.reset import reset_of
from harness.target.spec import target_spec


def reset(folder: Path, line: str, given: str | None = None) -> str:
    (folder / "disk.qcow2").write_bytes(b"QFI\xfb")
    (folder / "live.iso").write_bytes(b"")
    (folder / "inv.ini").write_text(f"vm1 {line}\n")
    (host,) = load([str(folder / "inv.ini")]).select("all")
    return str(reset_of(host, target_spec(host), given))


@pytest.mark.parametrize(
    ("line", "given", "expected"),
    [
        ("qemu_image=debian", None, "snapshot"),
        ("qemu_image=disk.qcow2", None, "snapshot"),
        ("qemu_iso=live.iso", None, "none"),
        ("qemu_iso=live.iso qemu_disks=1G", None, "snapshot"),
        ("qemu_image=disk.qcow2 qemu_disk_mode=persistent", None, "none"),
        ("qemu_image=disk.qcow2 qemu_disk_mode=persistent", "cold-boot", "cold-boot"),
        ("qemu_image=debian soak_reset=power-cycle", None, "power-cycle"),
        ("qemu_image=debian soak_reset=power-cycle", "none", "none"),
        ("ansible_host=192.0.2.1", None, "none"),
        ("ansible_host=192.0.2.1 soak_reset=unit:ssh.service", None, "unit:ssh.service"),
        ("ansible_host=192.0.2.1", "reboot", "reboot"),
    ],
)
def test_the_reset_of_a_host(tmp_path: Path, line: str, given: str | None, expected: str) -> None:
    assert reset(tmp_path, line, given) == expected


@pytest.mark.parametrize(
    ("line", "given", "words"),
    [
        ("ansible_host=192.0.2.1", "snapshot", "--reset snapshot, for host 'vm1': it takes a machine that we start"),
        ("ansible_host=192.0.2.1 soak_reset=cold-boot", None, "inv.ini:1"),
        ("qemu_image=disk.qcow2 qemu_disk_mode=persistent", "snapshot", "throw-away disks"),
        ("qemu_iso=live.iso", "snapshot", "qemu_disks"),
        ("qemu_image=debian soak_reset=snapshto", None, "did you mean 'snapshot'"),
    ],
)
def test_what_a_host_cannot_have(tmp_path: Path, line: str, given: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        reset(tmp_path, line, given)


def block(name: str, driver: str, *, read_only: bool = False, empty: bool = False) -> dict[str, Any]:
    return {
        "device": name,
        **({} if empty else {"inserted": {"node-name": f"#{name}", "drv": driver, "ro": read_only}}),
    }


def test_all_that_a_guest_writes_to_is_saved() -> None:
    blocks = [block("disk0", "qcow2"), block("disk1", "raw", read_only=True), block("cd", "", empty=True)]
    assert writable_nodes([*blocks, block("disk2", "qcow2")]) == ("#disk0", "#disk2")


def test_what_could_not_be_put_back_is_refused() -> None:
    with pytest.raises(MachineError, match="pflash1 is raw and writable"):
        writable_nodes([block("disk0", "qcow2"), block("pflash1", "raw")])
    with pytest.raises(MachineError, match="no disk that a snapshot could be kept in"):
        writable_nodes([block("disk1", "raw", read_only=True)])
