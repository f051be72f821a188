"""How long a command takes on a console: a bare marker exchange, and ours, on the same console in one run.

    python -m benchmarks.serial [--address PATH --password WORD] [--rounds N]

Without an address a real bash on a pty behind a Unix socket is used, in a process of its own. The bare exchange types
``COMMAND; echo "MA""RK$?"`` and reads until the marker: no check of any kind, stdout and stderr mixed, the echo
inside. It is the lower limit, not something to be believed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness.deadline import Deadline
from harness.events.emitter import NullEmitter
from harness.testing.pty_guest import PtyGuest
from harness.transport.serial.console import Console
from harness.transport.serial.transport import SerialSpec, SerialTransport

COMMANDS = (
    "true",
    "echo hello",
    "echo a; echo b; true",
    "uname -r",
    "cat /etc/hostname",
    "systemctl is-active ssh",
    "python3 -c 1",
    "sh -c 'echo x'",
)
BULK = ("seq 1 150000", "head -c 1000000 /dev/zero | tr '\\0' a", "head -c 700000 /tmp/bench-random | base64")


class Bare:
    """A marker exchange on a shell that is there."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._count = 0

    def run(self, command: str) -> bytes:
        self._count += 1
        self._socket.sendall(f'{command}; echo "MA""RK{self._count}:$?:"\n'.encode())
        mark = re.compile(f"MARK{self._count}:(\\d+):\r?\n".encode())
        got: list[bytes] = []
        tail = b""
        while True:
            data = self._socket.recv(65536)
            got.append(data)
            tail = (tail + data)[-200:]
            if mark.search(tail):
                return b"".join(got)

    def close(self) -> None:
        self._socket.close()


def timed(call: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def serve(path: str, ready: object, stop: object) -> None:
    with PtyGuest(["bash", "--norc", "-i"], Path(path)):
        ready.set()  # type: ignore[attr-defined]
        stop.wait()  # type: ignore[attr-defined]


def measure(path: str, password: str | None, rounds: int, bulk: int) -> None:
    console = Console(path, name="benchmark", events=NullEmitter())
    ours = SerialTransport(console, SerialSpec(path, password=password, login_timeout=150), events=NullEmitter())
    start = time.perf_counter()
    ours.run("true", deadline=Deadline.after(200))
    print(f"login and set-up: {time.perf_counter() - start:.2f} s")
    ours.run("head -c 700000 /dev/urandom >/tmp/bench-random", deadline=Deadline.after(60))
    ours_took = [timed(lambda c=c: ours.run(c, deadline=Deadline.after(100)), rounds) for c in COMMANDS]  # type: ignore[misc]
    sizes = [len(ours.run(c, deadline=Deadline.after(300)).stdout) for c in BULK]
    ours_bulk = [timed(lambda c=c: ours.run(c, deadline=Deadline.after(300)), bulk) for c in BULK]  # type: ignore[misc]
    data = random.randbytes(100_000)
    upload = timed(lambda: ours.run("cat >/dev/null", stdin=data, deadline=Deadline.after(100)), 1)
    # The shell itself stays logged in, for the bare exchange.
    ours._logged_in = False
    ours.close()
    console.close()
    bare = Bare(path)
    bare.run("true")
    print(f"{'command':48} {'bare ms':>9} {'ours ms':>9} {'ratio':>6}")
    for command, took in zip(COMMANDS, ours_took, strict=True):
        plain = timed(lambda c=command: bare.run(c), rounds)  # type: ignore[misc]
        print(f"{command:48} {plain * 1e3:9.2f} {took * 1e3:9.2f} {took / plain:6.2f}")
    for command, took, size in zip(BULK, ours_bulk, sizes, strict=True):
        plain = timed(lambda c=command: bare.run(c), bulk)  # type: ignore[misc]
        print(f"{command:40}{size:8} {plain * 1e3:9.1f} {took * 1e3:9.1f} {took / plain:6.2f}")
    print(f"100,000 random bytes into the guest: {upload:.2f} s")
    bare.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--address", help="a console's Unix socket; without it a bash on a pty")
    parser.add_argument("--password")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--bulk", type=int, default=3)
    given = parser.parse_args()
    if given.address:
        measure(given.address, given.password, given.rounds, given.bulk)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/console"
        ready, stop = multiprocessing.Event(), multiprocessing.Event()
        process = multiprocessing.Process(target=serve, args=(path, ready, stop))
        process.start()
        try:
            ready.wait()
            measure(path, None, given.rounds, given.bulk)
        finally:
            stop.set()
            process.join()


if __name__ == "__main__":
    main()
