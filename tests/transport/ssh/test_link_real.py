"""The link over a real sshd, with a shell on this machine in the place of the serial console."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.deadline import Deadline
from harness.transport.contract import CommandResult, Progress, Transport
from harness.transport.errors import Cause, TransportLost
from harness.transport.link import Backoff, Link
from harness.transport.ssh.transport import SshTransport
from tests.patience import patient, scaled

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import Events, Sshd


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(patient(seconds))


class Local:
    """Runs commands on this machine; the sshd's own host key is where it says so."""

    name = "serial"

    def __init__(self, host_keys: Path) -> None:
        self._host_keys = host_keys

    def run(self, command: str, *, deadline: Deadline, stdin: bytes | None = None) -> CommandResult:
        if "ssh_host" in command:
            command = f"cat {self._host_keys}/host_*.pub"
        done = subprocess.run(
            ["sh", "-c", command], input=stdin or b"", capture_output=True, timeout=deadline.remaining(), check=False
        )
        return CommandResult(command, done.stdout, done.stderr, done.returncode, self.name, 0.0, 0.0, 0.0)

    def put(
        self,
        data: bytes | Path,
        path: str,
        *,
        deadline: Deadline,
        mode: int = 0o600,
        progress: Progress | None = None,
    ) -> None:
        del deadline, mode, progress
        Path(path).write_bytes(data if isinstance(data, bytes) else data.read_bytes())

    def get(self, path: str, *, deadline: Deadline, progress: Progress | None = None) -> bytes:
        del deadline, progress
        return Path(path).read_bytes()

    def close(self) -> None:
        pass


@pytest.fixture
def link(sshd: Sshd, events: Events) -> Iterator[Link]:
    sshd.start()
    spec = sshd.spec(alive_interval=0.3, alive_bound=0.5, connect_timeout=2.0)
    transports: list[Transport] = [SshTransport(spec, events=events), Local(sshd.folder)]
    made = Link(transports, events=events, name="box", backoff=Backoff(0.1, 1.5, 0.5))
    yield made
    made.close()


def test_sshd_stopped_started_and_taken_back(link: Link, sshd: Sshd, events: Events) -> None:
    assert link.run("echo 1", deadline=soon()).transport == "ssh"
    sshd.stop()
    result = link.run("echo 2", deadline=soon(), repeatable=True)
    assert (result.out, result.transport) == ("2", "serial")
    assert result.fallbacks[0].cause in (Cause.REFUSED, Cause.LOST)
    sshd.start()
    until = time.monotonic() + scaled(10)
    while link.current != "ssh":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert link.run("echo 3", deadline=soon()).transport == "ssh"
    assert len(events.of("link.fallback")) == 1
    assert len(events.of("link.recovered")) == 1


def test_killed_in_mid_command(link: Link, sshd: Sshd) -> None:
    link.run(":", deadline=soon())
    threading.Timer(0.3, sshd.kill_sessions).start()
    with pytest.raises(TransportLost):
        link.run("sleep 5; echo once", deadline=soon())
    assert link.current == "serial"
    until = time.monotonic() + scaled(10)
    while link.current != "ssh":
        assert time.monotonic() < until
        time.sleep(0.05)
    threading.Timer(0.3, sshd.kill_sessions).start()
    result = link.run("sleep 1; echo safe", deadline=soon(), repeatable=True)
    assert (result.out, result.transport, result.attempts) == ("safe", "serial", 2)


def test_a_stopped_machine_costs_a_bounded_share(link: Link, sshd: Sshd) -> None:
    link.run(":", deadline=soon())
    sshd.signal_all(signal.SIGSTOP)
    time.sleep(1.2)
    began = time.monotonic()
    result = link.run("echo here", deadline=soon(9))
    assert (result.out, result.transport) == ("here", "serial")
    assert time.monotonic() - began < 6
    sshd.signal_all(signal.SIGCONT)


def test_an_unknown_host_key_is_read_over_the_console(sshd: Sshd, events: Events) -> None:
    sshd.start()
    link = Link([SshTransport(sshd.spec(host_keys=()), events=events), Local(sshd.folder)], events=events, name="box")
    result = link.run("echo 1", deadline=soon())
    assert (result.transport, result.fallbacks) == ("ssh", ())
    [event] = events.of("link.host_key_pinned")
    assert sshd.host_key.fingerprint in str(event["host_keys"])
    link.close()


def test_a_key_that_is_not_the_machines_own_is_a_finding(sshd: Sshd, events: Events, tmp_path: Path) -> None:
    sshd.start()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "host_own")], check=True)
    link = Link([SshTransport(sshd.spec(host_keys=()), events=events), Local(tmp_path)], events=events, name="box")
    result = link.run("echo 1", deadline=soon())
    assert (result.transport, result.fallbacks[0].cause) == ("serial", Cause.HOST_KEY)
    [finding] = events.of("finding")
    assert sshd.host_key.fingerprint in finding["shown"]
    assert events.of("link.fallback")[0]["cause"] == "host_key"
    link.close()


def test_a_busy_connection_is_not_left(sshd: Sshd, events: Events) -> None:
    from concurrent.futures import ThreadPoolExecutor

    sshd.start()
    spec = sshd.spec(max_channels=2)
    link = Link([SshTransport(spec, events=events), Local(sshd.folder)], events=events, name="box")
    link.run(":", deadline=soon())
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda n: link.run(f"sleep 0.6; echo {n}", deadline=soon(5)), range(6)))
    assert [result.out for result in results] == [str(n) for n in range(6)]
    assert {result.transport for result in results} == {"ssh"}
    assert not events.of("link.fallback")
    link.close()
