"""From host vars to QEMU's command line, with nothing started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.machine.argv import Drive, Layout, escape, joined_append, qemu_argv
from harness.machine.machine import parse_usernet
from harness.machine.recipe import parse_size
from harness.machine.spec import MachineSpec, PortForward


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("disk.qcow2", "boot.iso", "kernel", "initrd"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "seed").mkdir()
    return tmp_path


def spec(base: Path, **variables: Any) -> MachineSpec:
    found = MachineSpec.from_vars("h", variables, base=base)
    assert found is not None
    return found


def test_a_host_without_a_boot_source_is_no_machine(base: Path) -> None:
    assert MachineSpec.from_vars("h", {"ansible_host": "x", "qemu_memory": "1G", "qemu_image": ""}, base=base) is None


ORPHANS: dict[str, object] = {
    "qemu_binary": "qemu-system-x86_64", "qemu_machine": "q35", "qemu_args": "-drive file=x", "qemu_memory": "1G",
    "qemu_ports": "80", "qemu_console": "virtio", "qemu_start": "snapshot",
}  # fmt: skip


@pytest.mark.parametrize("name", ORPHANS)
def test_settings_of_a_machine_that_boots_nothing_are_an_error(base: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}=.* has no machine to belong to; give one of qemu_image"):
        MachineSpec.from_vars("h", {name: ORPHANS[name]}, base=base)
    for where in ({"ansible_host": "box"}, {"serial_socket": "/dev/ttyUSB0"}, {"ansible_port": 2222}):
        assert MachineSpec.from_vars("h", {name: ORPHANS[name], **where}, base=base) is None
    with pytest.raises(UsageError, match=r"qemu_disks=.* has no machine"):
        MachineSpec.from_vars("h", {name: ORPHANS[name], "qemu_disks": "1G", "ansible_host": "box"}, base=base)


def test_a_recipe_is_told_from_a_file(base: Path) -> None:
    assert spec(base, qemu_image="debian").recipe == "debian"
    assert spec(base, qemu_image="disk.qcow2").image == base / "disk.qcow2"


def test_values_as_text_and_as_numbers(base: Path) -> None:
    text = spec(
        base,
        qemu_kernel="kernel",
        qemu_initrd="initrd",
        qemu_append=" quiet ",
        qemu_memory="1.5G",
        qemu_cpus="4",
        qemu_disks="10G, disk.qcow2",
        qemu_ports="8080:80,0:443",
        qemu_args="-device 'a b'",
        qemu_ssh_port="2222",
        boot_timeout="5m",
        boot_stall="30",
        qemu_accel="TCG",
    )
    lists = spec(
        base,
        qemu_kernel="kernel",
        qemu_initrd="initrd",
        qemu_append="quiet",
        qemu_memory=1536,
        qemu_cpus=4,
        qemu_disks=["10G", "disk.qcow2"],
        qemu_ports=["8080:80", 443],
        qemu_args=["-device", "a b"],
        qemu_ssh_port=2222,
        boot_timeout=300,
        boot_stall=30.0,
        qemu_accel="tcg",
    )
    assert text == lists
    assert text.memory == 1536
    assert text.ports == (PortForward(8080, 80), PortForward(0, 443))
    assert [disk.size for disk in text.disks] == [10 << 30, 0]


@pytest.mark.parametrize(
    ("variables", "word"),
    [
        ({"qemu_image": "nothing.qcow2"}, "neither an image recipe nor a disk image"),
        ({"qemu_image": "seed"}, "neither"),
        ({"qemu_iso": "none.iso"}, "not there"),
        ({"qemu_iso": "boot.iso", "qemu_memory": "lots"}, "qemu_memory='lots'"),
        ({"qemu_iso": "boot.iso", "qemu_memory": 4}, "16 MiB"),
        ({"qemu_iso": "boot.iso", "qemu_cpus": 0}, "between 1 and 255"),
        ({"qemu_iso": "boot.iso", "qemu_cpus": True}, "whole number"),
        ({"qemu_iso": "boot.iso", "qemu_accel": "hax"}, "none of auto, kvm, tcg"),
        ({"qemu_iso": "boot.iso", "qemu_console": "vga"}, "qemu_console='vga' is none of serial, virtio"),
        ({"qemu_iso": "boot.iso", "qemu_disks": "100"}, "write a unit"),
        ({"qemu_iso": "boot.iso", "qemu_disks": "gone.img"}, "no such file"),
        ({"qemu_iso": "boot.iso", "qemu_ports": "80:"}, "HOST:GUEST"),
        ({"qemu_iso": "boot.iso", "qemu_ports": "70000:80"}, "HOST:GUEST"),
        ({"qemu_iso": "boot.iso", "qemu_ssh_port": 70000}, "65535"),
        ({"qemu_iso": "boot.iso", "qemu_args": "-a 'b"}, "quotation"),
        ({"qemu_iso": "boot.iso", "boot_timeout": "soon"}, "no time"),
        ({"qemu_iso": "boot.iso", "boot_timeout": 0}, "no time"),
        ({"qemu_iso": "boot.iso", "qemu_append": "quiet"}, "needs qemu_kernel"),
        ({"qemu_iso": "boot.iso", "qemu_initrd": "initrd"}, "needs qemu_kernel"),
        ({"qemu_iso": "boot.iso", "qemu_console_socket": "x" * 120}, "107 bytes"),
        ({"qemu_image": "disk.qcow2", "qemu_seed": "seed"}, "only with an image of ours"),
        ({"qemu_image": "debian", "qemu_seed": "kernel"}, "no folder"),
        ({"qemu_image": "debian", "qemu_disk_mode": "persistent"}, "cached image"),
        ({"qemu_seed": "seed"}, "no machine to belong to"),
    ],
)
def test_what_cannot_be_used_is_named(base: Path, variables: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError) as caught:
        MachineSpec.from_vars("web1", variables, base=base)
    assert word in str(caught.value)
    assert "'web1'" in str(caught.value)


def layout(**changes: Any) -> Layout:
    values: dict[str, Any] = {
        "binary": "qemu",
        "name": "alpha",
        "accel": "tcg",
        "machine": "q35",
        "cpu_model": None,
        "cpus": 2,
        "memory": 512,
        "console_socket": Path("/r/console"),
        "console_log": Path("/l/console.log"),
        "qmp_socket": Path("/r/qmp"),
    }
    return Layout(**(values | changes))


def after(argv: list[str], option: str) -> list[str]:
    return [argv[at + 1] for at, word in enumerate(argv) if word == option]


def test_the_plain_command_line() -> None:
    argv = qemu_argv(layout(forwards=(PortForward(0, 22), PortForward(8080, 80))))
    assert after(argv, "-machine") == ["q35,accel=tcg,graphics=off"]
    assert after(argv, "-cpu") == ["Nehalem"]
    assert after(argv, "-m") == ["512M"]
    assert "-S" in argv
    assert "-nodefaults" in argv
    assert after(argv, "-netdev") == [
        "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:8080-:80"
    ]
    assert "socket,id=console,path=/r/console,server=on,wait=off,logfile=/l/console.log,logappend=on" in argv


def test_the_console_is_a_uart_or_a_virtio_one() -> None:
    assert after(qemu_argv(layout()), "-serial") == ["chardev:console"]
    argv = qemu_argv(layout(uart_log=Path("/l/uart,1.log")))
    assert after(argv, "-serial") == ["chardev:uart"]
    assert "file,id=uart,path=/l/uart,,1.log,append=on" in after(argv, "-chardev")
    assert after(argv, "-device")[:2] == ["virtio-serial-pci", "virtconsole,chardev=console"]


def test_choices_of_the_person_win() -> None:
    argv = qemu_argv(layout(accel="kvm", machine="pc,accel=tcg", cpu_model="max", extra=("-device", "x")))
    assert after(argv, "-machine") == ["pc,accel=tcg,graphics=off"]
    assert after(argv, "-cpu") == ["max"]
    assert argv[-2:] == ["-device", "x"]
    assert after(qemu_argv(layout(accel="kvm")), "-cpu") == ["host"]


def test_boot_order_is_cd_then_disks_and_a_seed_has_no_place_in_it() -> None:
    drives = (Drive(Path("/d0"), "qcow2"), Drive(Path("/d1"), "raw"), Drive(Path("/s"), "raw", True, "harness-seed"))
    devices = after(qemu_argv(layout(iso=Path("/a,b.iso"), drives=drives)), "-device")
    assert "ide-cd,drive=cd,bus=ide.0,bootindex=0" in devices
    assert "virtio-blk-pci,drive=disk0,bootindex=1" in devices
    assert "virtio-blk-pci,drive=disk1,bootindex=2" in devices
    assert "virtio-blk-pci,drive=disk2,serial=harness-seed" in devices
    given = after(qemu_argv(layout(iso=Path("/a,b.iso"), drives=drives)), "-drive")
    assert given[0].endswith("file=/a,,b.iso")
    assert "readonly=on" in given[3]
    # QEMU gives a kernel the first place.
    direct = after(qemu_argv(layout(kernel=Path("/k"), drives=drives)), "-device")
    assert "virtio-blk-pci,drive=disk0,bootindex=1" in direct


@given(st.text(st.characters(exclude_characters="\0")))
def test_escaping_can_be_undone_and_leaves_no_single_comma(text: str) -> None:
    assert escape(text).replace(",,", ",") == text
    assert "," not in escape(text).replace(",,", "")


def test_appends_are_joined_in_order() -> None:
    assert joined_append("a b", "", " c ") == "a b c"


@pytest.mark.parametrize(
    ("text", "size"),
    [("512M", 512 << 20), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("7", 7), (10, 10), ("1 T", 1 << 40), ("5b", 5)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "1X", "0x10", "1G2"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


def test_the_ports_that_qemu_bound_are_read() -> None:
    # As QEMU 7.2 prints it.
    text = (
        "Hub -1 (net):\r\n"
        "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
        "  TCP[ESTABLISHED]   20       127.0.0.1 50000       10.0.2.15    22     0     0\r\n"
        "  TCP[HOST_FORWARD]  13       127.0.0.1 41234       10.0.2.15    22     0     0\r\n"
        "  TCP[HOST_FORWARD]  12       127.0.0.1  8080       10.0.2.15    80     0     0\r\n"
    )
    assert parse_usernet(text) == {22: 41234, 80: 8080}
