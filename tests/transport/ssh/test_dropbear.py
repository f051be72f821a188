"""dropbear instead of OpenSSH's server: it makes no process group for a command, and has one host key."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from harness.deadline import Deadline
from harness.transport.errors import Unavailable
from harness.transport.ssh.spec import SshSpec
from harness.transport.ssh.transport import SshTransport
from harness.transport.ssh.turns import Lease
from tests.patience import patient, scaled
from tests.transport.ssh.conftest import Events, Sshd, eventually, free_port

DROPBEAR = shutil.which("dropbear") or "/usr/sbin/dropbear"
pytestmark = [
    pytest.mark.skipif(not Path(DROPBEAR).exists(), reason="needs dropbear (Debian: dropbear-bin)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the user's home is another folder for this server"),
]


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(patient(seconds))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with an authorized key; the server sees it in the place of root's."""
    folder = tmp_path_factory.mktemp("dropbear")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "client"], check=True)
    (folder / "home/.ssh").mkdir(parents=True, mode=0o700)
    shutil.copy(folder / "client.pub", folder / "home/.ssh/authorized_keys")
    for file in ("home", "home/.ssh", "home/.ssh/authorized_keys"):
        (folder / file).chmod(0o700)
    return folder


@pytest.fixture(scope="module", params=["ed25519", "ecdsa", "rsa"])
def server(home: Path, request: pytest.FixtureRequest) -> Iterator[SshSpec]:
    kind: str = request.param
    key = home / kind
    subprocess.run([shutil.which("dropbearkey") or "/usr/bin/dropbearkey", "-t", kind, "-f", key], check=True,
                   capture_output=True)  # fmt: skip
    port = free_port()
    served = f'mount --bind {home}/home "$HOME" && exec {DROPBEAR} -F -E -s -r {key} -p 127.0.0.1:{port}'
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", served], stderr=log, env={**os.environ, "HOME": "/root"}
        )
    spec = Sshd(home, port)
    scan = ["ssh-keyscan", "-t", kind, "-p", str(port), "127.0.0.1"]
    scanned: list[str] = []

    def answers() -> bool:
        scanned[:] = subprocess.run(scan, capture_output=True, text=True, check=False).stdout.split()
        return bool(scanned)

    eventually(answers)
    (home / "host_ed25519.pub").write_text(" ".join(scanned[1:3]) + "\n")
    yield spec.spec()
    process.terminate()
    process.wait(scaled(10))


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def ssh(server: SshSpec, events: Events) -> Iterator[SshTransport]:
    transport = SshTransport(server, events=events)
    yield transport
    transport.close()


def test_commands_and_files(ssh: SshTransport, tmp_path: Path) -> None:
    result = ssh.run("cat; echo err >&2; exit 3", deadline=soon(), stdin=b"a\0b")
    assert (result.stdout, result.stderr, result.exit_status) == (b"a\0b", b"err\n", 3)
    data = os.urandom(100_000)
    ssh.put(data, f"{tmp_path}/file", deadline=soon())
    assert ssh.get(f"{tmp_path}/file", deadline=soon()) == data


@pytest.mark.parametrize("by_itself", [True, False], ids=["by itself", "by us"])
def test_the_end_of_what_is_followed_ends_nothing_else(
    ssh: SshTransport, events: Events, tmp_path: Path, by_itself: bool
) -> None:
    log, go = tmp_path / "journal", tmp_path / "go"
    log.touch()
    ssh.run("true", deadline=soon())
    heard = threading.Event()
    waits = f"while [ ! -e {go} ]; do sleep 0.1; done"
    beside = threading.Thread(target=lambda: ssh.run(waits, deadline=soon(60)))
    beside.start()
    command = f"echo once; cat {log}" if by_itself else f"tail -n 0 -f {log}"
    followed = ssh.follow(command, deadline=soon(), on_word=heard.set)
    if by_itself:
        eventually(lambda: followed.closed)
        assert heard.is_set()
    else:
        while not heard.wait(0.2):
            with log.open("a") as file:
                file.write("word\n")
        followed.close()
        eventually(lambda: subprocess.run(["pgrep", "-f", f"^tail -n 0 -f {log}"], check=False).returncode != 0)
    assert ssh.run("echo beside", deadline=soon()).out == "beside"
    assert beside.is_alive()
    go.touch()
    beside.join(scaled(20))
    assert not beside.is_alive()
    assert [action for action, _, _ in events.seen if action in ("ssh.lost", "ssh.connected")] == ["ssh.connected"]


@pytest.mark.parametrize(("closed", "opened"), [(1, True), (4, True), (5, False)])
def test_a_channel_that_the_server_closes_at_once_is_opened_anew(
    ssh: SshTransport, monkeypatch: pytest.MonkeyPatch, closed: int, opened: bool
) -> None:
    ssh.run("true", deadline=soon())
    connection = ssh._pool.connected(soon())
    open_session = connection.transport.open_session
    tries: list[float] = []

    def closes_some(timeout: float) -> paramiko.Channel:
        tries.append(timeout)
        if len(tries) <= closed:
            raise paramiko.SSHException("Unable to open channel.")
        return open_session(timeout=timeout)

    monkeypatch.setattr(connection.transport, "open_session", closes_some)
    if opened:
        connection.open_channel(soon()).close()
        assert len(tries) == closed + 1
    else:
        with pytest.raises(paramiko.ChannelException, match="Unable to open channel"):
            connection.open_channel(soon())
        assert len(tries) == 5


@pytest.mark.parametrize(("closed", "served"), [(1, True), (2, True), (3, False)])
def test_a_shell_whose_channel_is_closed_before_it_starts_is_started_anew(
    ssh: SshTransport, events: Events, monkeypatch: pytest.MonkeyPatch, closed: int, served: bool
) -> None:
    execute = ssh._pool._execute
    tries: list[str] = []

    def is_closed(lease: Lease, program: str, deadline: Deadline) -> None:
        tries.append(program)
        if len(tries) <= closed:
            raise paramiko.SSHException("Channel closed.")
        execute(lease, program, deadline)

    monkeypatch.setattr(ssh._pool, "_execute", is_closed)
    if served:
        assert ssh.run("echo fine", deadline=soon()).out == "fine"
        assert events.of("ssh.unavailable") == []
    else:
        with pytest.raises(Unavailable, match="accepted the login but did not start a shell"):
            ssh.run("echo fine", deadline=soon())
        assert len(events.of("ssh.unavailable")) == 1
    assert len(tries) == min(closed + 1, 3)
