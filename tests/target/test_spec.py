"""A host made concrete; and the one table of variables held against those who read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.inventory import Host, load
from harness.inventory.variables import TABLE
from harness.machine.spec import VARIABLES, MachineSpec
from harness.target.settle import WINDOW
from harness.target.spec import target_spec
from harness.transport.serial.spec import SerialSpec


def host(tmp_path: Path, line: str) -> Host:
    file = tmp_path / "inv.ini"
    file.write_text(line + "\n")
    return load([str(file)]).host("vm1")


@pytest.mark.parametrize(
    ("line", "transports"),
    [
        ("vm1 qemu_image=debian", ("ssh", "serial")),
        ("vm1 qemu_image=debian harness_transports=serial", ("serial",)),
        ("vm1 qemu_image=debian harness_transports=serial,ssh", ("serial", "ssh")),
        ("vm1 qemu_image=debian ansible_connection=serial", ("serial",)),
        ("vm1 ansible_host=192.0.2.7", ("ssh",)),
        ("vm1", ("ssh",)),
        ("vm1 serial_socket=/run/console", ("serial",)),
        ("vm1 serial_socket=/dev/ttyUSB0 ansible_host=192.0.2.7", ("ssh", "serial")),
    ],
)
def test_transports_follow_from_what_is_described(tmp_path: Path, line: str, transports: tuple[str, ...]) -> None:
    assert target_spec(host(tmp_path, line)).transports == transports


@pytest.mark.parametrize(
    "line",
    [
        "vm1 ansible_host=192.0.2.7 harness_transports=serial",
        "vm1 qemu_image=no-such-image",
        "vm1 qemu_kernel=/no/such/kernel",
        "vm1 qemu_seed=.",
        "vm1 qemu_image=debian qemu_disk_mode=persistent",
    ],
)
def test_what_cannot_be_used_is_told_before_anything_starts(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match="vm1"):
        target_spec(host(tmp_path, line))


def test_relative_paths_start_at_the_inventory(tmp_path: Path) -> None:
    spec = target_spec(host(tmp_path, "vm1 serial_socket=run/console ansible_host=a ansible_ssh_private_key_file=key"))
    assert spec.serial is not None
    assert spec.serial.address == str(tmp_path / "run/console")
    assert spec.ssh is not None
    assert spec.ssh.key_files == (str(tmp_path / "key"),)


def test_a_template_that_fails_in_an_unused_variable_does_no_harm(tmp_path: Path) -> None:
    assert target_spec(host(tmp_path, "vm1 ansible_host=a motd='{{ nobody_defined_this }}'")).ssh is not None


def test_the_table_of_variables_tells_the_defaults_that_hold() -> None:
    machine = MachineSpec("vm1")
    serial = SerialSpec("/x")
    told = {
        "qemu_memory": machine.memory,
        "qemu_cpus": machine.cpus,
        "qemu_machine": machine.machine,
        "qemu_accel": machine.accel,
        "qemu_binary": machine.binary,
        "qemu_ssh_port": machine.ssh_port,
        "boot_timeout": machine.boot_timeout,
        "boot_stall": machine.boot_stall,
        "serial_baudrate": serial.baudrate,
        "serial_login_timeout": serial.login_timeout,
        "settle_window": WINDOW,
    }
    assert {name: TABLE[name].read(TABLE[name].default) for name in told} == told


def test_every_variable_of_the_machine_is_in_the_table() -> None:
    assert set(VARIABLES) <= set(TABLE)
