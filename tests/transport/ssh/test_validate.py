"""What is known to be wrong of an SSH connection before anything is connected to."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from harness.errors import UsageError
from harness.transport.ssh import validate
from harness.transport.ssh.spec import SshSpec

HOP = "ansible_ssh_common_args"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, where nothing is configured, and no agent."""
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


def _spec(**variables: Any) -> SshSpec:
    spec = SshSpec.from_vars("box", {"ansible_host": "192.0.2.1", "ansible_user": "root", **variables})
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({HOP: "-F /nonexistent"}, "/nonexistent"),
        ({HOP: "-F {home}/bad"}, "badoption"),
        ({HOP: "-o Badoption=1"}, "badoption"),
        ({HOP: "-o ServerAliveInterval=soon"}, "invalid"),
        ({HOP: "-J a,b,c,d,e,f,g,h,i"}, "more than 8 jump hosts"),
        ({HOP: "-J a,,b"}, "ProxyJump"),
        ({HOP: "-J a:notaport"}, "ProxyJump"),
        ({HOP: "-o 'ProxyCommand=nc %z'"}, "%z"),
        ({HOP: "-o UserKnownHostsFile={home}"}, "known hosts cannot be read"),
        ({"ansible_ssh_private_key_file": "/nonexistent"}, "is not there"),
        ({"ansible_ssh_private_key_file": "{home}"}, "is no file"),
        ({"ansible_ssh_private_key_file": "{home}/garbage"}, "cannot be used"),
        ({"ansible_ssh_private_key": "no key"}, "cannot be used"),
    ],
)
def test_what_cannot_work_is_a_usage_error(home: Path, variables: dict[str, str], said: str) -> None:
    (home / "bad").write_text("Host *\n  BadOption yes\n")
    (home / "garbage").write_bytes(b"\x00\xff\x00 what is this\n")
    given = {name: value.format(home=home) for name, value in variables.items()}
    with pytest.raises(UsageError) as caught:
        validate.resolve_checked(_spec(**given))
    assert said in str(caught.value)
    assert "box" in str(caught.value)


def test_a_jump_host_that_names_itself_in_the_configuration_is_found(home: Path) -> None:
    (home / ".ssh/config").write_text("Host hop\n  ProxyJump hop2\nHost hop2\n  ProxyJump hop\n")
    # ssh reads the file of the user's entry in the password database, not that of HOME.
    spec = _spec(ansible_ssh_common_args=f"-F {home}/.ssh/config -J hop")
    with pytest.raises(UsageError, match="more than 8 jump hosts"):
        validate.resolve_checked(spec)


@pytest.mark.parametrize("hops", [1, 5, 8])
def test_up_to_eight_jump_hosts_are_fine(home: Path, hops: int) -> None:
    del home
    jump = ",".join(f"hop{number}" for number in range(hops))
    assert validate.resolve_checked(_spec(ansible_ssh_common_args=f"-J {jump}")).proxy_jump == jump


def test_what_works_is_resolved_once(home: Path) -> None:
    config = home / "config"
    config.write_text("Host *\n  Port 2222\n  ConnectTimeout 7\n")
    resolved = validate.resolve_checked(_spec(ansible_ssh_common_args=f"-F {config}"))
    assert (resolved.port, resolved.connect_timeout, resolved.use_config) == (2222, 7.0, False)


@pytest.mark.parametrize("other", ["password", "agent", "locked", "one of two"])
def test_a_useless_key_beside_another_way_in_is_no_error(
    home: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    variables = {"ansible_ssh_private_key_file": "/nonexistent"}
    key = home / "key"
    if other == "password":
        variables["ansible_password"] = "secret"
    elif other == "agent":
        monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))
    else:
        phrase = "phrase" if other == "locked" else ""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", str(key)], check=True)
        if other == "locked":
            variables["ansible_ssh_private_key_file"] = str(key)
        else:
            variables[HOP] = f"-i {key}"
    validate.resolve_checked(_spec(**variables))


def test_paths_with_blanks_are_given_to_ssh_as_one(home: Path) -> None:
    folder = home / "a b"
    folder.mkdir()
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    resolved = validate.resolve_checked(_spec(ansible_ssh_common_args=f"-o 'IdentityFile={key}'"))
    assert str(key) in resolved.key_files


def test_all_hosts_are_resolved_in_their_order_and_the_first_fault_ends_it(home: Path) -> None:
    config = home / "config"
    config.write_text("Host 192.0.2.2\n  Port 22222\n")
    specs = [_spec(ansible_host=f"192.0.2.{n}", ansible_ssh_common_args=f"-F {config}") for n in (1, 2, 3)]
    assert [spec.port for spec in validate.resolve_all(specs)] == [22, 22222, 22]
    (home / "hangs").write_text('Match exec "sleep 1000"\n  Port 1\n')
    bad, hanging = (_spec(ansible_ssh_common_args=f"-F {file}") for file in ("/nonexistent", home / "hangs"))
    with pytest.raises(UsageError, match="/nonexistent"):
        validate.resolve_all([*specs, bad, hanging])  # which would last 60 s else, and fail for that


def test_hosts_are_resolved_one_after_the_other_where_there_are_no_more_threads(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    specs = [_spec(ansible_host=f"192.0.2.{n}") for n in (1, 2, 3)]
    assert [spec.host for spec in validate.resolve_all(specs)] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
