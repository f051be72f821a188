"""IPv6, over the loopback's ::1: the address itself, in brackets, in known hosts, and on the way to another host."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.deadline import Deadline
from harness.transport.errors import Cause, Unavailable
from harness.transport.ssh import probe
from harness.transport.ssh.spec import SshSpec
from harness.transport.ssh.transport import SshTransport
from tests.patience import scaled

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import Events, Sshd


def soon() -> Deadline:
    return Deadline.after(scaled(20))


@pytest.fixture
def six(sshd: Sshd) -> Sshd:
    """Listens on ::1 as well."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    sshd.start("ListenAddress ::1")
    return sshd


def known(sshd: Sshd, file: Path) -> Path:
    key = sshd.host_key
    file.write_text(f"[::1]:{sshd.port} {key.type} {key.base64}\n")
    return file


def log_in(spec: SshSpec, events: Events) -> str:
    transport = SshTransport(spec, events=events)
    try:
        return transport.run("echo $SSH_CONNECTION", deadline=soon()).out
    finally:
        transport.close()


@pytest.mark.parametrize("written", ["::1", "[::1]", "0:0:0:0:0:0:0:1"])
@pytest.mark.parametrize("name", ["box", "::1"])
def test_as_an_inventory_has_it(six: Sshd, events: Events, tmp_path: Path, written: str, name: str) -> None:
    variables = {
        "ansible_host": written,
        "ansible_port": six.port,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(six.client_key),
        "ansible_ssh_common_args": f"-F none -o IdentityAgent=none -o HostKeyAlias=[::1]:{six.port} "
        f"-o UserKnownHostsFile={known(six, tmp_path / 'known')} -6",
    }
    spec = SshSpec.from_vars(name, variables)
    assert spec is not None
    assert log_in(spec, events).startswith("::1 ")


def test_known_hosts_have_it_in_brackets_with_the_port(six: Sshd, events: Events, tmp_path: Path) -> None:
    file = known(six, tmp_path / "known")
    for _ in range(2):
        assert log_in(six.spec(host="::1", host_keys=(), known_hosts=(str(file),)), events).startswith("::1 ")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    file.write_text("")
    with pytest.raises(Unavailable) as caught:
        log_in(six.spec(host="::1", host_keys=(), known_hosts=(str(file),)), events)
    assert caught.value.cause is Cause.HOST_KEY
    assert f"root@[::1]:{six.port} shows the host key" in caught.value.message
    # The hint's command is one that works.
    command = caught.value.hint.partition("add the key: ")[2].partition(" >>")[0]
    scanned = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
    file.write_text(scanned)
    assert log_in(six.spec(host="::1", host_keys=(), known_hosts=(str(file),)), events).startswith("::1 ")


@pytest.mark.parametrize("jump", ["root@[::1]:{port}", "ssh://root@[::1]:{port}"])
def test_over_a_jump_host_and_to_one(six: Sshd, shared_sshd: Sshd, events: Events, tmp_path: Path, jump: str) -> None:
    file = known(six, tmp_path / "known")
    far = shared_sshd.host_key
    with file.open("a") as lines:
        lines.write(f"[127.0.0.1]:{shared_sshd.port} {far.type} {far.base64}\n")
    config = tmp_path / "config"
    config.write_text(f"Host *\n IdentityFile {six.client_key}\n UserKnownHostsFile {file}\n IdentityAgent none\n")
    common = {"host_keys": (), "known_hosts": (str(file),), "config_file": str(config), "use_config": True}
    near = jump.format(port=six.port)
    assert log_in(shared_sshd.spec(proxy_jump=near, **common), events).startswith("127.0.0.1 ")
    # From there on to itself, by its IPv6 address.
    assert log_in(six.spec(host="::1", proxy_jump=near, **common), events).startswith("::1 ")


def test_the_family_that_is_asked_for_is_kept_to(six: Sshd, events: Events) -> None:
    assert log_in(six.spec(host="::1", address_family="inet6"), events).startswith("::1 ")
    for host, family in (("::1", "inet"), ("127.0.0.1", "inet6")):
        with pytest.raises(Unavailable) as caught:
            log_in(six.spec(host=host, address_family=family), events)
        assert caught.value.cause is Cause.UNRESOLVED


def test_sshd_is_seen_from_outside(six: Sshd) -> None:
    assert probe.read_banner("::1", six.port, soon()).software.startswith("OpenSSH")
    assert probe.host_keys("::1", six.port, soon())["ssh-ed25519"] == six.host_key
    assert "publickey" in probe.auth_methods("::1", six.port, "root", soon())
