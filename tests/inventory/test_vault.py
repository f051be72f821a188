"""Vaulted values: made by the real ansible-vault, opened by ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.inventory import load
from harness.inventory.vault import Vault, VaultError

VAULT = Path(sys.executable).with_name("ansible-vault")
pytestmark = pytest.mark.skipif(not VAULT.exists(), reason="ansible-core is needed to make vaulted values")


def ansible_vault(*arguments: str, home: Path, stdin: str = "") -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "ANSIBLE_LOCAL_TEMP": str(home / "tmp")}
    done = subprocess.run(
        [str(VAULT), *arguments], input=stdin, capture_output=True, text=True, check=True, env=environment, cwd=home
    )
    return done.stdout


@pytest.fixture(scope="module")
def vaulted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory with one vaulted value, one vaulted with an id, and a vaulted file."""
    folder = tmp_path_factory.mktemp("vault")
    (folder / "password").write_text("swordfish\n")
    (folder / "wrong").write_text("halibut")
    one = ansible_vault(
        "encrypt_string", "--vault-password-file", "password", "--stdin-name", "secret", home=folder, stdin="s3cret é\n"
    )
    two = ansible_vault(
        "encrypt_string",
        "--vault-id",
        "prod@password",
        "--encrypt-vault-id",
        "prod",
        "--stdin-name",
        "labelled",
        home=folder,
        stdin="{{ n }}",
    )
    block = "\n".join("      " + line for line in (one + "\n" + two).splitlines())
    (folder / "hosts.yml").write_text(
        f'all:\n  hosts:\n    h:\n      n: 7\n      uses: "x{{{{ secret }}}}y"\n{block}\n    free: {{}}\n'
    )
    (folder / "group_vars").mkdir()
    sealed = folder / "group_vars" / "sealed.yml"
    sealed.write_text("from_file: hidden word\nport: 22\napi_token: 12345\n")
    ansible_vault("encrypt", "--vault-password-file", "password", str(sealed), home=folder)
    (folder / "more").write_text("[sealed]\ns ansible_password=plain\n")
    return folder


def test_values_are_opened_with_the_password(vaulted: Path) -> None:
    host = load([str(vaulted / "hosts.yml")], vault_password_file=str(vaulted / "password")).host("h")
    assert host.vars["secret"] == "s3cret é\n"
    assert host.vars["labelled"] == 7
    assert host.vars["uses"] == "xs3cret é\ny"
    assert host.secret_names == {"secret", "labelled"}
    assert "s3cret é\n" in host.secret_values


def test_files_are_opened_and_their_values_are_secret(vaulted: Path) -> None:
    inventory = load([str(vaulted / "more")], vault_password_file=str(vaulted / "password"))
    host = inventory.host("s")
    assert host.vars["from_file"] == "hidden word"
    assert host.secret_names >= {"from_file", "port", "api_token", "ansible_password"}
    assert host.secret_values == {"hidden word", "12345", "plain"}
    source = host.source("from_file")
    assert source is not None
    assert source.path.endswith("group_vars/sealed.yml")
    assert source.text == ""


def test_without_a_password_only_the_use_is_an_error(vaulted: Path) -> None:
    host = load([str(vaulted / "hosts.yml")]).host("h")
    assert host.vars["n"] == 7
    assert host.resolved({"n", "nothing"}) == {"n": 7}
    assert host.secret_names == {"secret", "labelled"}
    assert host.secret_values == frozenset()
    for name in ("secret", "uses"):
        with pytest.raises(UsageError, match="no password was given") as caught:
            host.vars[name]
        assert "--vault-password-file" in str(caught.value)
        assert caught.value.source is not None
        assert caught.value.source.line
    with pytest.raises(UsageError, match="no password was given"):
        load([str(vaulted / "more")])


def test_a_wrong_password_is_named(vaulted: Path) -> None:
    host = load([str(vaulted / "hosts.yml")], vault_password_file=str(vaulted / "wrong")).host("h")
    with pytest.raises(UsageError, match=r"password of .*wrong does not open"):
        host.vars["secret"]
    with pytest.raises(UsageError, match="does not open"):
        load([str(vaulted / "more")], vault_password_file=str(vaulted / "wrong"))


def test_password_scripts(vaulted: Path, tmp_path: Path) -> None:
    script = tmp_path / "ask"
    script.write_text("#!/bin/sh\necho swordfish\n")
    script.chmod(0o700)
    assert load([str(vaulted / "hosts.yml")], vault_password_file=str(script)).host("h").vars["labelled"] == 7
    script.write_text("#!/bin/sh\nexit 4\n")
    with pytest.raises(UsageError, match="ended with status 4"):
        load([str(vaulted / "hosts.yml")], vault_password_file=str(script))


@pytest.mark.parametrize("make", ["missing", "folder", "empty"])
def test_password_files_that_cannot_be_used(vaulted: Path, tmp_path: Path, make: str) -> None:
    path = tmp_path / "file"
    if make == "folder":
        path.mkdir()
    elif make == "empty":
        path.write_text("\n")
    with pytest.raises(UsageError, match=r"cannot use|is a folder|holds no password"):
        load([str(vaulted / "hosts.yml")], vault_password_file=str(path))


def test_damage_is_found(vaulted: Path) -> None:
    envelope = (vaulted / "group_vars" / "sealed.yml").read_bytes()
    vault = Vault(b"swordfish")
    assert vault.open(envelope).startswith(b"from_file")
    lines = envelope.splitlines()
    for damaged in (
        b"\n".join([*lines[:-1], lines[-1][:-1]]),
        b"\n".join([lines[0].replace(b"1.1", b"9.9"), *lines[1:]]),
        b"\n".join([lines[0].replace(b"AES256", b"AES"), *lines[1:]]),
        b"\n".join([lines[0], b"zz", *lines[1:]]),
        lines[0],
        b"$ANSIBLE_VAULT",
    ):
        with pytest.raises(VaultError):
            vault.open(damaged)


@settings(deadline=None)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(VaultError):
        Vault(b"x").open(b"$ANSIBLE_VAULT;1.1;AES256\n" + data)
