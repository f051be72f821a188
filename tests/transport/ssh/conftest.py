"""A real OpenSSH server on loopback, and a proxy in front of it that can misbehave."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Cancellation, Deadline
from harness.events.emitter import Emitter, Level
from harness.transport.ssh.hostkeys import HostKey, parse_public_keys
from harness.transport.ssh.transport import SshSpec, SshTransport
from tests.patience import patient, scaled

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def within(seconds: float = 20.0, *, cancellation: Cancellation | None = None) -> Deadline:
    return Deadline.after(patient(seconds), cancellation=cancellation)


def eventually(what: Callable[[], object], seconds: float = 10.0) -> None:
    until = time.monotonic() + scaled(seconds)
    while not what():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    """All processes below `pid`."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                stat = Path(f"/proc/{entry}/stat").read_text()
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


@dataclass
class Events:
    """Keeps what is emitted."""

    seen: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    bound: dict[str, Any] = field(default_factory=dict)

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        self.seen.append((action, message, {**self.bound, **fields, "level": level}))

    def bind(self, **fields: Any) -> Emitter:
        return Events(self.seen, {**self.bound, **fields})

    def of(self, action: str) -> list[dict[str, Any]]:
        return [{"message": text, **fields} for name, text, fields in self.seen if name == action]


@dataclass
class Sshd:
    """One sshd with keys of its own. It must be stopped; that ends its sessions as well."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    extra: tuple[str, ...] = ()
    sftp: str = "internal-sftp"
    """The `Subsystem sftp`; empty for none."""
    environment: str = ""
    """More for `SetEnv`, of which the first line counts."""

    @property
    def host_key(self) -> HostKey:
        return parse_public_keys((self.folder / "host_ed25519.pub").read_text())[0]

    @property
    def client_key(self) -> Path:
        return self.folder / "client"

    def spec(self, **changes: Any) -> SshSpec:
        base = SshSpec(
            name="box",
            host="127.0.0.1",
            port=self.port,
            user="root",
            key_files=(str(self.client_key),),
            use_agent=False,
            default_keys=False,
            use_config=False,
            known_hosts=(),
            host_keys=(self.host_key,),
        )
        return replace(base, **changes)

    def start(self, *extra: str) -> None:
        self.extra = extra or self.extra
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder / 'host_ed25519'}",
            f"AuthorizedKeysFile {self.folder / 'authorized'}",
            "StrictModes no",
            "PidFile none",
            "UsePAM no",
            "PermitRootLogin yes",
            # bash reads ~/.bashrc when sshd starts it, unless it is no first shell. This machine's is not ours to read.
            f"SetEnv SHLVL=3 {self.environment}",
            *([f"Subsystem sftp {self.sftp}"] if self.sftp else []),
            *self.extra,
        ]
        config = self.folder / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(config)], stderr=(self.folder / "log").open("ab"), start_new_session=True
        )
        eventually(self.answers)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as sock:
            sock.settimeout(1)
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def sessions(self) -> list[int]:
        return descendants(self.process.pid) if self.process else []

    def signal_all(self, number: int) -> None:
        assert self.process is not None
        for pid in [*self.sessions(), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill_sessions(self) -> None:
        """As a crash of the machine would: the connections end, the listener stays."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        if self.process is not None:
            self.signal_all(signal.SIGCONT)
            self.signal_all(signal.SIGKILL)
            self.process.wait()
            self.process = None


def make_sshd(folder: Path) -> Sshd:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host_ed25519", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "client.pub", folder / "authorized")
    Path("/run/sshd").mkdir(exist_ok=True)
    return Sshd(folder, free_port())


@pytest.fixture(scope="session")
def shared_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """For tests that do it no harm."""
    server = make_sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """For tests that do it harm. To be started by them."""
    server = make_sshd(tmp_path / "sshd")
    yield server
    server.stop()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def ssh(shared_sshd: Sshd, events: Events) -> Iterator[SshTransport]:
    transport = SshTransport(shared_sshd.spec(), events=events)
    yield transport
    transport.close()


class FaultProxy:
    """Forwards a loopback port to another, until told to misbehave. `mode` may be changed at any time:

    pass; hole (takes bytes, gives none on); reset (every connection is reset); mute (accepts, says nothing);
    drop (closes at once, as a forwarded port does with nobody behind it); drop-once; slow (a banner a byte at a time);
    narrow (about 3 MB/s). `cut_after` many more bytes, of both directions, all connections are reset; once, or again
    after each `cut_every`.
    """

    def __init__(self, port: int) -> None:
        self.mode = "pass"
        self.drops = 0
        self.slow_pause = 0.02
        self._counting = threading.Lock()
        self.carried = 0
        self.cut_after: int | None = None
        self.cut_every: int | None = None
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._stop = False
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode in ("drop", "drop-once"):
                self.drops += 1
                self.mode = "drop" if self.mode == "drop" else "pass"
                client.close()
                continue
            if self.mode == "reset":
                _reset(client)
                continue
            server = socket.create_connection(("127.0.0.1", self._to))
            self._pairs.append((client, server))
            self._spawn(self._copy, client, server, False)
            self._spawn(self._copy, server, client, True)

    def _copy(self, source: socket.socket, sink: socket.socket, downstream: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while self.mode in ("hole", "mute") and not self._stop:
                    time.sleep(0.02)
                self._count(len(data))
                if self.mode == "slow" and downstream:
                    for byte in data:
                        sink.sendall(bytes((byte,)))
                        time.sleep(self.slow_pause)
                else:
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _count(self, size: int) -> None:
        self.carried += size
        if self.mode == "narrow":
            time.sleep(size / 3e6)
        with self._counting:
            if self.cut_after is None:
                return
            self.cut_after -= size
            if self.cut_after <= 0:
                self.cut_after = self.cut_every
                self.reset_all()

    def reset_all(self) -> None:
        # Taken out first: a client that connects anew while we are at it is not to be cut a second time.
        pairs, self._pairs = self._pairs, []
        for client, server in pairs:
            _reset(client)
            _reset(server)

    def close(self) -> None:
        self._stop = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset_all()
        for thread in self._threads:
            thread.join(5)


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A thread that is blocked in recv() would keep a plain close from ending the connection.
        sock.shutdown(socket.SHUT_RD)
    sock.close()


@pytest.fixture
def proxy(shared_sshd: Sshd) -> Iterator[FaultProxy]:
    faulty = FaultProxy(shared_sshd.port)
    yield faulty
    faulty.close()
