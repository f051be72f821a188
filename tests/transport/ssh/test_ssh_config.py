"""What inventories and ssh configurations say, as a spec."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled, DeadlineExpired, UsageError
from harness.events.emitter import NullEmitter
from harness.transport.errors import Cause, Unavailable
from harness.transport.ssh.config import expand_tokens, jumps, parse_dash_g, resolve
from harness.transport.ssh.options import apply_arguments
from harness.transport.ssh.spec import Become, SshSpec
from harness.transport.ssh.transport import SshTransport
from tests.patience import patient, scaled


def soon(seconds: float = 30.0) -> Deadline:
    return Deadline.after(patient(seconds))


def of(**variables: Any) -> SshSpec:
    spec = SshSpec.from_vars("box", variables)
    assert spec is not None
    return spec


def test_a_name_alone_is_an_address() -> None:
    spec = of()
    assert (spec.name, spec.host, spec.port, spec.user) == ("box", "box", 22, "")
    assert spec.host_key_policy == "strict"


def test_a_host_with_nothing_but_a_console_has_no_ssh() -> None:
    assert SshSpec.from_vars("box", {"serial_socket": "/run/box.sock"}) is None
    assert SshSpec.from_vars("box", {"serial_socket": "/run/box.sock", "ansible_host": "192.0.2.1"}) is not None


def test_ansibles_variables() -> None:
    spec = of(
        ansible_host="192.0.2.1",
        ansible_port="2222",
        ansible_user="admin",
        ansible_password="pw",
        ansible_ssh_private_key_file="~/key",
        ansible_timeout=7,
        ansible_host_key_checking="False",
        ansible_become="yes",
        ansible_become_method="community.general.doas",
        ansible_become_user="ops",
        ansible_become_password="bpw",
    )
    assert (spec.host, spec.port, spec.user, spec.password) == ("192.0.2.1", 2222, "admin", "pw")
    assert spec.key_files == (str(Path.home() / "key"),)
    assert (spec.connect_timeout, spec.host_key_policy) == (7.0, "off")
    assert spec.become == Become("doas", "ops", "bpw")
    assert "pw" not in repr(spec).replace("'ops'", ""), "secrets are not shown"


def test_more_of_ansibles_variables() -> None:
    spec = of(
        ansible_host="[2001:db8::1]",
        ansible_ssh_private_key="a key",
        ansible_private_key_passphrase="a phrase",
        ansible_ssh_args="-o User=first -o Port=1",
        ansible_ssh_common_args="-o User=second",
        ansible_ssh_retries=3,
        ansible_shell_executable="/bin/bash",
        ansible_become=True,
        ansible_become_exe="/opt/sudo",
        ansible_become_flags="-i '-g wheel'",
    )
    assert (spec.host, spec.user, spec.port) == ("2001:db8::1", "first", 1)
    assert (spec.key, spec.passphrase) == ("a key", "a phrase")
    assert (spec.retries, spec.shell) == (3, "/bin/bash")
    assert spec.become == Become(program="/opt/sudo", flags=("-i", "-g wheel"))
    assert "a phrase" not in repr(spec)


def test_older_names() -> None:
    spec = of(ansible_ssh_host="h", ansible_ssh_port=23, ansible_ssh_user="u", ansible_ssh_pass="p")
    assert (spec.host, spec.port, spec.user, spec.password) == ("h", 23, "u", "p")
    assert of(ansible_become=False, ansible_become_user="x").become is None


def test_ssh_arguments() -> None:
    spec = of(
        ansible_ssh_common_args="-o ProxyJump=hop -oUserKnownHostsFile=/tmp/k -o 'StrictHostKeyChecking no' -C -q",
        ansible_ssh_extra_args='-i ~/a -i /b -p 2200 -l me -F /cfg -6 -o ControlPath="~/x" -o ServerAliveInterval=3',
    )
    assert spec.proxy_jump == "hop"
    assert spec.known_hosts == ("/tmp/k",)
    assert spec.host_key_policy == "off"
    assert spec.key_files == (str(Path.home() / "a"), "/b")
    assert (spec.port, spec.user, spec.config_file, spec.address_family) == (2200, "me", "/cfg", "inet6")
    assert (spec.alive_interval, spec.alive_bound) == (3.0, 9.0)


def test_the_first_option_counts_as_with_ssh() -> None:
    assert of(ansible_port=1, ansible_ssh_extra_args="-o Port=2").port == 1
    assert of(ansible_ssh_common_args="-o User=a -o User=b").user == "a"


@pytest.mark.parametrize(
    "variables",
    [
        {"ansible_port": "ssh"},
        {"ansible_port": 70000},
        {"ansible_timeout": "soon"},
        {"ansible_timeout": -1},
        {"ansible_host_key_checking": "perhaps"},
        {"ansible_become": True, "ansible_become_method": "magic"},
        {"ansible_ssh_common_args": "-o"},
        {"ansible_ssh_common_args": "-o Port"},
        {"ansible_ssh_common_args": "-z"},
        {"ansible_ssh_common_args": "host"},
        {"ansible_ssh_common_args": "-o 'unclosed"},
        {"ansible_ssh_common_args": "-p x"},
        {"ansible_ssh_args": "-z"},
        {"ansible_ssh_retries": "many"},
        {"ansible_become": True, "ansible_become_flags": "'unclosed"},
    ],
)
def test_what_cannot_be_used_is_said_and_never_passed_over(variables: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="box"):
        SshSpec.from_vars("box", variables)


def test_a_machine_of_ours() -> None:
    spec = of(ansible_ssh_common_args="-J hop", ansible_password="pw").with_endpoint("127.0.0.1", 4022)
    assert (spec.host, spec.port, spec.proxy_jump, spec.use_config) == ("127.0.0.1", 4022, None, False)
    keyed = spec.with_key(path="/k")
    assert (keyed.key_files, keyed.use_agent, keyed.default_keys, keyed.password) == (("/k",), False, False, None)
    assert spec.with_key(text="secret").key == "secret"
    assert "secret" not in repr(spec.with_key(text="secret"))


def test_addresses_for_people() -> None:
    assert of(ansible_user="u", ansible_host="fe80::1").address == "u@[fe80::1]:22"


def test_tokens_of_a_proxy_command() -> None:
    spec = of(ansible_host="h", ansible_port=5, ansible_user="u")
    assert expand_tokens("nc %h %p # %r %n 100%%", spec) == "nc h 5 # u box 100%"
    with pytest.raises(UsageError, match="%Z"):
        expand_tokens("nc %Z", spec)


def test_jump_hosts() -> None:
    spec = apply_arguments(of(), "-J me@a:23,ssh://b,[fe80::1]:24")
    assert [(hop.user, hop.host, hop.port) for hop in jumps(spec)] == [
        ("me", "a", 23),
        ("", "b", 22),
        ("", "fe80::1", 24),
    ]
    with pytest.raises(UsageError):
        jumps(apply_arguments(of(), "-J me@"))


def test_dash_g_is_read() -> None:
    assert parse_dash_g("user u\nidentityfile a\nidentityfile b\nempty\n") == {
        "user": ["u"],
        "identityfile": ["a", "b"],
    }


@pytest.fixture(params=["openssh", "paramiko"])
def config(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "openssh" and shutil.which("ssh") is None:
        pytest.skip("no OpenSSH client here")
    if request.param == "paramiko":
        monkeypatch.setenv("PATH", str(tmp_path))
    file = tmp_path / "config"
    file.write_text(
        "Host box\n HostName 192.0.2.7\n Port 2200\n User someone\n IdentityFile /keys/%h\n HostKeyAlias alias\n"
        " ConnectTimeout 3\n ProxyJump hop\n IdentitiesOnly yes\n"
        "Host *\n Port 99\n"
    )
    return file


def test_a_users_configuration_is_applied(config: Path) -> None:
    spec = resolve(apply_arguments(of(), f"-F {config}"), deadline=soon())
    assert (spec.host, spec.port, spec.user) == ("192.0.2.7", 2200, "someone")
    assert spec.host_key_alias == "alias"
    assert spec.connect_timeout == 3
    assert spec.proxy_jump == "hop"
    assert spec.key_files == ("/keys/192.0.2.7",)
    assert not spec.use_agent


def test_the_inventory_wins_over_it(config: Path) -> None:
    spec = resolve(
        apply_arguments(of(ansible_port=1, ansible_user="me", ansible_ssh_private_key_file="/k"), f"-F {config}"),
        deadline=soon(),
    )
    assert (spec.port, spec.user, spec.key_files) == (1, "me", ("/k",))
    assert spec.host == "192.0.2.7"


def test_it_is_not_for_machines_of_ours(config: Path) -> None:
    spec = apply_arguments(of(), f"-F {config}").with_endpoint("127.0.0.1", 1)
    assert resolve(spec, deadline=soon()) == spec
    assert resolve(apply_arguments(of(), "-F none"), deadline=soon()).host == "box"


def test_a_broken_configuration_is_the_persons_to_mend(tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("no OpenSSH client here")
    (tmp_path / "config").write_text("Nonsense yes\n")
    with pytest.raises(UsageError, match="ssh configuration cannot be used"):
        resolve(apply_arguments(of(), f"-F {tmp_path / 'config'}"), deadline=soon())


def test_include_and_match_are_followed(tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("no OpenSSH client here")
    (tmp_path / "more").write_text("Match host box user root\n Port 4444\n")
    (tmp_path / "config").write_text(f"Include {tmp_path / 'more'}\n")
    assert resolve(apply_arguments(of(ansible_user="root"), f"-F {tmp_path / 'config'}"), deadline=soon()).port == 4444


@pytest.fixture
def hanging(tmp_path: Path) -> tuple[SshSpec, Path]:
    """A configuration with a program that does not end, and the file into which it writes its process id."""
    if shutil.which("ssh") is None:
        pytest.skip("no OpenSSH client here")
    (tmp_path / "config").write_text(f'Match exec "echo $$ >{tmp_path}/pid; sleep 1000"\n Port 4444\n')
    return apply_arguments(of(), f"-F {tmp_path / 'config'}"), tmp_path / "pid"


def ended(pid: Path) -> bool:
    until = time.monotonic() + scaled(10)
    while time.monotonic() < until:
        stat = Path(f"/proc/{int(pid.read_text())}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_configuration_that_hangs_keeps_to_the_deadline(hanging: tuple[SshSpec, Path]) -> None:
    spec, pid = hanging
    with pytest.raises(DeadlineExpired, match="Match exec"):
        resolve(spec, deadline=soon(1.0))
    assert ended(pid)


def test_a_configuration_that_hangs_is_left_when_cancelled(hanging: tuple[SshSpec, Path]) -> None:
    spec, pid = hanging
    cancellation = Cancellation()
    timer = threading.Timer(1.0, cancellation.cancel, ["enough"])
    timer.start()
    with pytest.raises(Cancelled, match="enough"):
        resolve(spec, deadline=Deadline.after(scaled(100), cancellation=cancellation))
    assert ended(pid)


def test_a_command_over_it_is_unavailable_by_then(hanging: tuple[SshSpec, Path]) -> None:
    transport = SshTransport(hanging[0], events=NullEmitter())
    with pytest.raises(Unavailable, match="Match exec") as caught:
        transport.run("echo", deadline=soon(1.0))
    assert caught.value.cause is Cause.TIMEOUT
    transport.close()
