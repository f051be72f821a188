"""Looking up names, and an agent that says nothing: waits that others do not bound."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled
from harness.transport.errors import Cause, Unavailable
from harness.transport.ssh.names import look_up
from harness.transport.ssh.transport import SshTransport
from tests.patience import patient, scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.transport.ssh.conftest import Events, Sshd

ROOT = Path(__file__).parents[3]


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(patient(seconds))


def test_an_address_asks_nobody() -> None:
    before = threading.active_count()
    [found] = look_up("192.0.2.1", 22, socket.AF_UNSPEC, Deadline.after(-1))
    assert found[4] == ("192.0.2.1", 22)
    [found] = look_up("2001:db8::1", 22, socket.AF_UNSPEC, Deadline.after(-1))
    assert found[4][:2] == ("2001:db8::1", 22)
    assert threading.active_count() == before


def test_a_name() -> None:
    assert any(found[4][0] == "127.0.0.1" for found in look_up("localhost", 22, socket.AF_INET, soon()))
    for name in ("no-such-host.invalid", "a" * 70 + ".example", ""):
        with pytest.raises((OSError, UnicodeError)):
            look_up(name, 22, socket.AF_INET6 if not name else socket.AF_UNSPEC, soon())


_MUTE_NAME_SERVER = """
import socket, sys, threading, time
from harness.deadline import Cancellation, Deadline
from harness.events.emitter import NullEmitter
from harness.transport.ssh.transport import SshSpec, SshTransport

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
cancellation = Cancellation()
transport = SshTransport(SshSpec("box", "box.example", use_config=False), events=NullEmitter())
if sys.argv[1] == "cancel":
    threading.Timer(0.5, cancellation.cancel, ["enough"]).start()
try:
    transport.run("echo", deadline=Deadline.after(1.0 if sys.argv[1] == "wait" else 600.0, cancellation=cancellation))
except Exception as error:
    print(type(error).__name__, getattr(error, "cause", ""), error.message)
print(bool(server.recv(1000)), flush=True)
transport.close()
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("wait", "Unavailable unresolved box: the deadline passed while the name 'box.example' was looked up"),
        ("cancel", "Cancelled  enough"),
    ],
)
def test_a_name_server_that_says_nothing(tmp_path: Path, how: str, said: str) -> None:
    """In name spaces of its own: the C library asks the first server for five seconds, and again."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
    (tmp_path / "ask.py").write_text(_MUTE_NAME_SERVER)
    setup = "ip link set lo up && " + "".join(
        f"mount --bind {tmp_path}/{name} /etc/{name} && " for name in ("resolv.conf", "nsswitch.conf")
    )
    done = subprocess.run(
        ["unshare", "-mn", "sh", "-c", f"{setup} exec {sys.executable} {tmp_path}/ask.py {how}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=scaled(25),
        check=False,
    )
    assert done.stdout.splitlines() == [said, "True"], done.stderr


@pytest.fixture
def mute_agent(tmp_path: Path) -> Iterator[Path]:
    """Takes connections, and says nothing."""
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(50)
        yield path


def test_an_agent_that_says_nothing_is_done_without(sshd: Sshd, events: Events, mute_agent: Path) -> None:
    sshd.start()
    spec = sshd.spec(use_agent=True, agent_socket=str(mute_agent), connect_timeout=2.0)
    transport = SshTransport(spec, events=events)
    assert transport.run("echo in", deadline=soon()).out == "in"
    transport.close()
    transport = SshTransport(sshd.spec(use_agent=True, agent_socket=str(mute_agent), key_files=()), events=events)
    with pytest.raises(Unavailable) as caught:
        transport.run("echo in", deadline=soon(1.0))
    transport.close()
    assert caught.value.cause is Cause.AUTH


def test_an_agent_that_says_nothing_keeps_nobody_from_cancelling(sshd: Sshd, events: Events, mute_agent: Path) -> None:
    sshd.start()
    spec = sshd.spec(use_agent=True, agent_socket=str(mute_agent), connect_timeout=1000.0)
    transport = SshTransport(spec, events=events)
    cancellation = Cancellation()
    timer = threading.Timer(0.5, cancellation.cancel, ["enough"])
    timer.start()
    with pytest.raises(Cancelled, match="enough"):
        transport.run("echo in", deadline=Deadline.after(scaled(1000), cancellation=cancellation))
    transport.close()
    assert [one.name for one in threading.enumerate() if "paramiko" in one.name.lower()] == []
