"""The table of variables: types, defaults, misspelt names, and what two hosts cannot share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.inventory import Inventory, load
from harness.inventory.validate import problems
from harness.inventory.variables import BY_ANY_NAME, TABLE, VARIABLES, markdown

DOCS = Path(__file__).parents[2] / "docs" / "inventory.md"


def inventory(tmp_path: Path, text: str, *, validate: bool = True) -> Inventory:
    (tmp_path / "hosts.ini").write_text(text)
    return load([str(tmp_path / "hosts.ini")], validate=validate)


def test_the_documentation_holds_the_table() -> None:
    assert markdown() in DOCS.read_text(encoding="utf-8"), "run: python -m harness.inventory.variables"


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_defaults_and_examples_are_valid(variable: Any) -> None:
    import yaml

    if variable.default is not None:
        variable.read(variable.default)
    example = variable.example
    variable.read(yaml.safe_load(example) if example.startswith("[") else example)
    assert variable.meaning.endswith(".")


def test_no_name_stands_twice() -> None:
    assert len(TABLE) == len(VARIABLES)
    assert len(BY_ANY_NAME) == sum(1 + len(variable.aliases) for variable in VARIABLES)


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("qemu_memory=1G", 1024),
        ("qemu_memory=512M", 512),
        ("qemu_memory=256", 256),
        ("qemu_memory=1GiB", 1024),
        ("boot_timeout=5m", 300.0),
        ("boot_timeout=1h30m", 5400.0),
        ("boot_timeout=90", 90.0),
        ("boot_timeout=1.5", 1.5),
        ("settle=no", False),
        ("settle=True", True),
        ("harness_transports=serial", ["serial"]),
        ("harness_transports=\"['serial', 'ssh']\"", ["serial", "ssh"]),
        ("qemu_args='-device \"a b\" -x'", ["-device", "a b", "-x"]),
        ("qemu_ports=8080:80,2222:22", [(8080, 80), (2222, 22)]),
        ("qemu_disks=a.qcow2,8G", ["a.qcow2", "8G"]),
        ("ansible_port=2200", 2200),
        ("ansible_ssh_port=2201", 2201),
        ("check_window=0", 0.0),
        ("timeout_scale=2", 2.0),
        ("serial_socket=rfc2217://[::1]:4000", "rfc2217://[::1]:4000"),
        ("serial_socket=socket://10.0.0.1:4000", "socket://10.0.0.1:4000"),
    ],
)
def test_values_are_read_as_their_type(tmp_path: Path, pair: str, expected: object) -> None:
    name = pair.split("=")[0]
    host = inventory(tmp_path, f"h {pair}\n").host("h")
    assert host.setting(BY_ANY_NAME[name].name) == expected


def test_defaults(tmp_path: Path) -> None:
    host = inventory(tmp_path, "h\n").host("h")
    assert host.setting("qemu_memory") == 1024
    assert host.setting("harness_transports") == ["ssh", "serial"]
    assert host.setting("serial_socket") is None
    with pytest.raises(KeyError):
        host.setting("no_such_variable")


@pytest.mark.parametrize(
    "pair",
    [
        "qemu_memory=lots", "qemu_memory=0", "qemu_memory=-1", "qemu_memory=1.5",
        "qemu_memory=True", "qemu_cpus=0", "qemu_cpus=two",
        "ansible_port=0", "ansible_port=65536", "ansible_port=ssh", "ansible_port=True",
        "qemu_ssh_port=-1", "boot_timeout=soon",
        "boot_timeout=0", "boot_timeout=-1", "boot_timeout=''", "boot_timeout=[]", "settle=maybe",
        "harness_transports=telnet",
        "harness_transports=ssh,ssh", "harness_transports=''", "qemu_accel=xen", "qemu_disk_mode=copy", "qemu_ports=80",
        "qemu_ports=80:0", "qemu_ports=80:99999", "qemu_args=\"'open\"",
        "serial_socket=telnet://x:1", "serial_socket=socket://x",
        "serial_socket=socket://x:0", "serial_socket=''", "serial_baudrate=fast", "timeout_scale=0", "timeout_scale=x",
        "ansible_become=perhaps", "ansible_connection=winrm", "qemu_image=''", "qemu_image={}",
        "check_window=-1", "qemu_disks={}",
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_place(tmp_path: Path, pair: str) -> None:
    with pytest.raises(UsageError) as caught:
        inventory(tmp_path, f"good\nbad x=1 {pair}\n")
    error = caught.value
    assert error.source is not None
    assert error.source.line == 2
    assert error.source.text[error.source.column - 1 :].startswith(pair.split("=")[0])
    assert "expected" in str(error) or "cannot be split" in str(error)


def test_one_wrong_group_value_is_one_problem(tmp_path: Path) -> None:
    found = problems(inventory(tmp_path, "[g]\nh[1:99]\n[g:vars]\nqemu_memory=lots\n", validate=False))
    assert len(found) == 1
    assert found[0].source is not None
    assert found[0].source.line == 4


def test_all_problems_are_counted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 more: see them all with harness inventory check"):
        inventory(tmp_path, "a qemu_memory=lots\nb qemu_cpus=none\n")


def test_a_template_that_cannot_be_resolved_is_a_problem(tmp_path: Path) -> None:
    found = problems(inventory(tmp_path, 'h qemu_memory="{{ missing }}"\n', validate=False))
    assert "'missing' is undefined" in str(found[0])


def test_templates_are_checked_for_what_they_give(tmp_path: Path) -> None:
    assert inventory(tmp_path, 'h size=2 qemu_memory="{{ size }}G"\n').host("h").setting("qemu_memory") == 2048


def test_misspelt_names_are_pointed_out(tmp_path: Path) -> None:
    text = "h serial_sokcet=x qemu_memroy=1 boot_timout=3 my_own=1 qemu_mem=2\n[all:vars]\nharness_transport=ssh\n"
    warnings = "\n".join(str(notice) for notice in inventory(tmp_path, text).warnings)
    for wrong, right in (
        ("serial_sokcet", "serial_socket"),
        ("qemu_memroy", "qemu_memory"),
        ("boot_timout", "boot_timeout"),
    ):
        assert f"variable {wrong!r} has no meaning here; did you mean {right!r}?" in warnings
    assert "hosts.ini:3:1: variable 'harness_transport'" in warnings
    assert "my_own" not in warnings


def test_names_that_ansible_warns_of(tmp_path: Path) -> None:
    warnings = "\n".join(str(notice) for notice in inventory(tmp_path, "h port=1 bad-name=2\n").warnings)
    assert "'port' means something of its own" in warnings
    assert "'bad-name' is no valid name" in warnings


SHARED = [
    ("serial_socket=run/a.sock", "serial_socket=unix://run/a.sock", "socket"),
    ("serial_socket=socket://lab:4001", "serial_socket=socket://lab:4001", "socket"),
    ("serial_socket=socket://lab:4001", "serial_socket=rfc2217://LAB:4001/?x", "socket"),
    ("serial_socket=/dev/ttyUSB0", "serial_socket=/dev/ttyUSB0", "socket"),
    ("serial_socket=a.sock", "qemu_console_socket=a.sock", "socket"),
    ("qemu_qmp_socket=a.sock", "qemu_qmp_socket=./a.sock", "socket"),
    ("qemu_ssh_port=2222", "qemu_ssh_port=2222", "port 2222"),
    ("qemu_ssh_port=2222", "qemu_ports=80:8080,2222:22", "port 2222"),
    ("qemu_image=a.qcow2 qemu_disk_mode=persistent", "qemu_image=a.qcow2 qemu_disk_mode=persistent", "disk"),
    ("qemu_image=a.qcow2 qemu_disk_mode=persistent", "qemu_image=a.qcow2", "disk"),
    ("qemu_image=a.qcow2", "qemu_disks=a.qcow2 qemu_disk_mode=persistent", "disk"),
]


@pytest.mark.parametrize(("first", "second", "what"), SHARED)
def test_two_hosts_cannot_share(tmp_path: Path, first: str, second: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        inventory(tmp_path, f"one {first}\ntwo {second}\n")
    text = str(caught.value)
    assert "'one'" in text
    assert "'two'" in text
    assert "hosts.ini:2" in text
    assert "hosts.ini:1" in text
    assert what in text


def test_two_names_of_one_device_are_one_device(tmp_path: Path) -> None:
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "by-id").symlink_to("ttyUSB0")
    with pytest.raises(UsageError, match="two hosts cannot share it"):
        inventory(tmp_path, "one serial_socket=ttyUSB0\ntwo serial_socket=by-id\n")


@pytest.mark.parametrize(
    "words",
    ["qemu_ssh_port=2222 qemu_ports=2222:80", "qemu_ports=80:80,80:81", "qemu_console_socket=s qemu_qmp_socket=./s"],
)
def test_a_host_takes_each_port_and_socket_once(tmp_path: Path, words: str) -> None:
    with pytest.raises(UsageError, match="is taken twice by this host"):
        inventory(tmp_path, f"one {words}\n")


def test_the_place_is_that_of_the_whole_name(tmp_path: Path) -> None:
    for line in ("box settle_timeout=5 settle=maybe", "my_settle settle=maybe", "a x=settle settle=maybe"):
        with pytest.raises(UsageError) as caught:
            inventory(tmp_path, line + "\n")
        assert caught.value.source is not None
        assert caught.value.source.column == line.rindex("settle") + 1


def test_a_list_in_brackets_is_a_list_in_ini_too(tmp_path: Path) -> None:
    words = 'qemu_disks="[data.qcow2, 8G]" qemu_ports="[8080:80, \'81:81\']" harness_transports="[serial, ssh]"'
    host = inventory(tmp_path, f"h {words}\n").host("h")
    assert host.setting("qemu_disks") == ["data.qcow2", "8G"]
    assert host.setting("qemu_ports") == [(8080, 80), (81, 81)]
    assert host.setting("harness_transports") == ["serial", "ssh"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("serial_socket=a.sock", "serial_socket=b.sock"),
        ("serial_socket=a.sock qemu_console_socket=a.sock", "serial_socket=b.sock"),
        ("qemu_ssh_port=0", "qemu_ssh_port=0"),
        ("qemu_ports=0:80", "qemu_ports=0:80"),
        ("qemu_image=a.qcow2", "qemu_image=a.qcow2"),
        ("qemu_image=debian qemu_disk_mode=persistent", "qemu_image=debian"),
        ("qemu_disks=8G qemu_disk_mode=persistent", "qemu_disks=8G qemu_disk_mode=persistent"),
        ("qemu_ssh_port=2222", "qemu_ssh_port=2223"),
    ],
)
def test_what_two_hosts_may_have(tmp_path: Path, first: str, second: str) -> None:
    inventory(tmp_path, f"one {first}\ntwo {second}\n")


def test_a_group_value_that_is_the_same_for_all_is_shared(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two hosts cannot share it"):
        inventory(tmp_path, "one\ntwo\n[all:vars]\nserial_socket=run/x.sock\n")
    inventory(tmp_path, 'one\ntwo\n[all:vars]\nserial_socket="run/{{ inventory_hostname }}.sock"\n')


def test_paths_start_at_the_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab" / "group_vars").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", "/home/someone")
    (tmp_path / "lab" / "hosts").write_text(
        "h qemu_image=img/a.qcow2 ansible_ssh_private_key_file=~/.ssh/k serial_socket=unix://s qemu_iso=/abs/x.iso\n"
    )
    (tmp_path / "lab" / "group_vars" / "all.yml").write_text("qemu_kernel: ../k\n")
    host = load([str(tmp_path / "lab" / "hosts")], extra_vars=["qemu_seed=seed"]).host("h")
    assert host.path("qemu_image") == tmp_path / "lab/img/a.qcow2"
    assert host.path("serial_socket") == tmp_path / "lab/s"
    assert host.path("ansible_ssh_private_key_file") == Path("/home/someone/.ssh/k")
    assert host.path("qemu_iso") == Path("/abs/x.iso")
    assert host.path("qemu_kernel") == tmp_path / "k"
    assert host.path("qemu_seed") == tmp_path / "elsewhere/seed"
    with pytest.raises(UsageError, match="is not set"):
        host.path("qemu_initrd")


@settings(deadline=None)
@given(
    value=st.one_of(
        st.text(max_size=10),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.none(),
        st.lists(st.text(max_size=3), max_size=2),
    ),
    name=st.sampled_from(sorted(TABLE)),
)
def test_any_value_is_read_or_refused(value: object, name: str) -> None:
    try:
        TABLE[name].read(value)
    except ValueError as error:
        message = str(error)
    else:
        message = "expected"
    assert "expected" in message or "cannot be split" in message
