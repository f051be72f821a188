"""Becoming another user, with real accounts on this machine; they are taken away again."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.deadline import Deadline
from harness.transport.contract import Window
from harness.transport.errors import Cause, Timeout, Unavailable
from harness.transport.ssh.spec import Become, SshSpec
from harness.transport.ssh.transport import SshTransport
from tests.patience import patient

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import Events, Sshd

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("useradd") or not shutil.which("chpasswd"), reason="needs root and useradd"
)


def soon(seconds: float = 30.0) -> Deadline:
    return Deadline.after(patient(seconds))


@pytest.fixture(scope="module")
def users() -> Iterator[tuple[str, str]]:
    """One who may use sudo with the password `first pw`, and another with the password `second pw`."""
    names = (f"hxa{os.getpid()}", f"hxb{os.getpid()}")
    group = ["-G", "sudo"] if subprocess.run(["getent", "group", "sudo"], capture_output=True).returncode == 0 else []
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", *group, names[0]], check=True)
    subprocess.run(["useradd", "-m", "-s", "/usr/sbin/nologin", names[1]], check=True)
    text = f"{names[0]}:first pw\n{names[1]}:second pw\n"
    subprocess.run(["chpasswd"], input=text, text=True, check=True)
    yield names
    for name in names:
        subprocess.run(["pkill", "-KILL", "-u", name], check=False)
        subprocess.run(["userdel", "-rf", name], check=False, capture_output=True)


def use(spec: SshSpec, events: Events, user: str) -> None:
    """All kinds of commands run as `user`, and end at their deadline."""
    ssh = SshTransport(spec, events=events)
    try:
        for _ in range(3):
            assert ssh.run("id -un", deadline=soon()).out == user
        result = ssh.run("echo err >&2; echo a | cat; exit 4", deadline=soon())
        assert (result.stdout, result.stderr, result.exit_status) == (b"a\n", b"err\n", 4)
        result = ssh.run("id -un; cat", deadline=soon(), stdin=b"given\n")
        assert (result.stdout, result.stderr) == (f"{user}\ngiven\n".encode(), b"")
        tag = f"66{os.getpid()}"
        with pytest.raises(Timeout) as caught:
            ssh.run(f"echo part; sleep {tag}", deadline=soon(1.0))
        assert caught.value.stdout == b"part\n"
        listing = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True).stdout
        assert not [line for line in listing.splitlines() if f"sleep {tag}" in line and line[0] != "Z"]
        assert ssh.run("id -un", deadline=soon()).out == user
        use_shell(ssh, user)
    finally:
        ssh.close()
    text = str(events.seen)
    assert "first pw" not in text
    assert "second pw" not in text


def use_shell(ssh: SshTransport, user: str) -> None:
    """A shell for a person is `user`'s too, with a terminal and without one."""
    for window in (Window("xterm", 33, 77), None):
        word = threading.Event()
        remote = ssh.interactive("", window, deadline=soon(), on_word=word.set)
        typed = b"echo is $(id -un) $(stty size 2>&1); exit 5\n"
        while typed:
            typed = typed[remote.send(typed) :]
        if window is None:
            remote.end_of_input()
        said, end = b"", soon()
        while not remote.ended:
            end.check(f"a shell was used; it said {said!r}")
            out, err = remote.take()
            said += out + err
            if not out + err:
                word.wait(0.1)
        assert f"is {user} ".encode() + (b"33 77" if window else b"stty: ") in said
        assert b"harness-become" not in said
        assert remote.exit_status() == 5
        remote.close()


@pytest.mark.parametrize("method", ["sudo", "su"])
def test_root_becomes_another_without_a_password(
    shared_sshd: Sshd, events: Events, users: tuple[str, str], method: str
) -> None:
    if not shutil.which(method):
        pytest.skip(f"no {method} here")
    become = Become("sudo" if method == "sudo" else "su", users[1])
    use(shared_sshd.spec(become=become), events, users[1])


@pytest.mark.skipif(not shutil.which("sudo"), reason="no sudo here")
def test_sudo_with_a_password(shared_sshd: Sshd, events: Events, users: tuple[str, str]) -> None:
    spec = shared_sshd.spec(user=users[0], key_files=(), password="first pw", become=Become("sudo", "root", "first pw"))
    use(spec, events, "root")


def test_su_with_a_password(shared_sshd: Sshd, events: Events, users: tuple[str, str]) -> None:
    spec = shared_sshd.spec(user=users[0], key_files=(), password="first pw", become=Become("su", "root", "x"))
    # su to an account whose shell is none asks for its password; only root may name a shell for it.
    other = replace(spec, become=Become("su", users[0], "first pw"))
    use(other, events, users[0])


@pytest.fixture
def doas(users: tuple[str, str]) -> Iterator[None]:
    """The first user becomes root without a password, root the second user too, and the second user nobody."""
    if not shutil.which("doas"):
        pytest.skip("no doas here")
    place = Path("/etc/doas.conf")
    before = place.read_bytes() if place.exists() else None
    place.write_text(
        f"permit nopass {users[0]} as root\npermit nopass root as {users[1]}\npermit {users[0]} as {users[1]}\n"
    )
    place.chmod(0o600)
    yield
    if before is None:
        place.unlink()
    else:
        place.write_bytes(before)


@pytest.mark.usefixtures("doas")
def test_doas(shared_sshd: Sshd, events: Events, users: tuple[str, str]) -> None:
    use(shared_sshd.spec(become=Become("doas", users[1])), events, users[1])
    spec = shared_sshd.spec(user=users[0], key_files=(), password="first pw", become=Become("doas"))
    use(spec, events, "root")


@pytest.mark.usefixtures("doas")
@pytest.mark.parametrize("password", [None, "first pw"])
def test_doas_takes_no_password_from_us_and_says_so(
    shared_sshd: Sshd, events: Events, users: tuple[str, str], password: str | None
) -> None:
    become = Become("doas", users[1], password)
    spec = shared_sshd.spec(user=users[0], key_files=(), password="first pw", become=become)
    ssh = SshTransport(spec, events=events)
    with pytest.raises(
        Unavailable, match=f"doas does not let us become {users[1]}: doas: Authentication required"
    ) as got:
        ssh.run("id", deadline=soon(15))
    ssh.close()
    assert got.value.cause is Cause.BECOME
    assert ("doas.conf must say `permit nopass`" in got.value.message) is (password is not None)
    assert "first pw" not in str(got.value) + str(events.seen)


@pytest.mark.skipif(not shutil.which("sudo"), reason="no sudo here")
def test_a_program_of_ones_own_with_flags(
    shared_sshd: Sshd, events: Events, users: tuple[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "my sudo"
    script.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/log\nexec sudo "$@"\n')
    script.chmod(0o755)
    variables = {
        "ansible_become": True,
        "ansible_become_user": users[1],
        "ansible_become_exe": str(script),
        "ansible_become_flags": "-H -S -n -k",
    }
    found = SshSpec.from_vars("box", variables)
    assert found is not None
    use(shared_sshd.spec(become=found.become), events, users[1])
    assert "-H -k -n -u " in (tmp_path / "log").read_text()


@pytest.mark.skipif(not shutil.which("sudo"), reason="no sudo here")
@pytest.mark.parametrize("password", [None, "wrong pw"])
def test_a_refusal_is_told_without_the_password(
    shared_sshd: Sshd, events: Events, users: tuple[str, str], password: str | None
) -> None:
    spec = shared_sshd.spec(user=users[0], key_files=(), password="first pw", become=Become("sudo", "root", password))
    ssh = SshTransport(spec, events=events)
    with pytest.raises(Unavailable) as caught:
        ssh.run("id", deadline=soon(15))
    ssh.close()
    assert caught.value.cause is Cause.BECOME
    assert "sudo does not let us become root" in caught.value.message
    assert "wrong pw" not in str(caught.value) + str(events.seen)
    assert events.of("ssh.unavailable")[-1]["cause"] == "become"
