"""Who runs commands on a console: each contender in a process of its own, which reads a load and prints its times.

    python -m benchmarks.console_contenders NAME SOCKET <LOAD >RESULT

A load is a list of ``{"command", "rounds", "warm"}``, a result ``{"setup", "rows": [{"took", "size"}], "rss"}``:
seconds for each round, bytes of the last answer as the contender handed it on, and the process's peak in bytes. A
shell stands on the console already. Only the contender that was named is imported, so that each may have an
environment of its own.
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

Run = Callable[[str], int]
"""Runs a command, and tells how many bytes it was answered with."""

_BLOCK = 65536
_LONGEST = 600.0  # seconds
PROMPT = r"\S*[#$] "


def connect(path: str) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(path)
    return link


@contextmanager
def bare(path: str) -> Iterator[Run]:
    """A marker exchange: types ``COMMAND; echo "MA""RK$?"`` and reads until the marker, with no check of any kind.

    stdout and stderr are mixed, the echo is inside. It is the lower limit, not something to be believed.
    """
    count = 0

    def run(command: str) -> int:
        nonlocal count
        count += 1
        mark = re.compile(f"MARK{os.getpid()}-{count}:(\\d+):\r?\n".encode())
        link.sendall(f'{command}; echo "MA""RK{os.getpid()}-{count}:$?:"\n'.encode())
        got: list[bytes] = []
        tail = b""
        while not mark.search(tail):
            data = link.recv(_BLOCK)
            if not data:
                raise EOFError("the console is gone")
            got.append(data)
            tail = tail[-200:] + data
        return len(b"".join(got))

    with connect(path) as link:
        yield run


@contextmanager
def harness(path: str) -> Iterator[Run]:
    """Us: each answer verified, exit status, stdout and stderr apart."""
    from harness.deadline import Deadline
    from harness.events.emitter import NullEmitter
    from harness.transport.serial.console import Console
    from harness.transport.serial.spec import SerialSpec
    from harness.transport.serial.transport import SerialTransport

    events = NullEmitter()
    console = Console(path, name="benchmark", events=events)
    transport = SerialTransport(console, SerialSpec(path, login_timeout=_LONGEST), events=events)
    try:
        yield lambda command: len(transport.run(command, deadline=Deadline.after(_LONGEST)).stdout)
    finally:
        transport.close()
        console.close()


@contextmanager
def labgrid(path: str) -> Iterator[Run]:
    """labgrid's ShellDriver over a console driver of the kind that its documentation tells to write.

    Its own QEMUDriver, which also reads a Unix socket, sleeps 10 ms before each read of 4,096 bytes; this one reads
    what is there, in blocks, so labgrid is no slower here than it has to be.
    """
    import attr
    from labgrid import Target  # type: ignore[import-not-found,unused-ignore]
    from labgrid.driver import Driver, ShellDriver  # type: ignore[import-not-found,unused-ignore]
    from labgrid.driver.consoleexpectmixin import (  # type: ignore[import-not-found,unused-ignore]
        ConsoleExpectMixin,
    )
    from labgrid.factory import target_factory  # type: ignore[import-not-found,unused-ignore]
    from labgrid.protocol import ConsoleProtocol  # type: ignore[import-not-found,unused-ignore]
    from pexpect import TIMEOUT  # type: ignore[import-untyped,import-not-found,unused-ignore]

    @target_factory.reg_driver  # type: ignore[untyped-decorator,misc,unused-ignore]
    @attr.s(eq=False)
    class SocketConsole(ConsoleExpectMixin, Driver, ConsoleProtocol):  # type: ignore[misc,unused-ignore]
        txdelay = 0.0

        def on_activate(self) -> None:
            self._link = connect(path)

        def on_deactivate(self) -> None:
            self._link.close()

        def _read(self, size: int = 1, timeout: float = 0.0, max_size: int | None = None) -> bytes:
            if not select.select([self._link], [], [], timeout)[0]:
                raise TIMEOUT(f"nothing came in {timeout} s")
            return self._link.recv(max_size or _BLOCK)

        def _write(self, data: bytes) -> int:
            self._link.sendall(data)
            return len(data)

    target = Target("benchmark")
    SocketConsole(target, "console")  # type: ignore[call-arg,unused-ignore]
    ShellDriver(target, "shell", prompt=PROMPT, login_prompt="login: ", username="root", await_login_timeout=1)
    shell = target.get_driver("ShellDriver")
    try:
        yield lambda command: len("\n".join(shell.run(command, timeout=_LONGEST)[0]))
    finally:
        target.cleanup()


@contextmanager
def tbot(path: str) -> Iterator[Run]:
    """tbot's Bash over a channel of the kind that its own PyserialConnector has, on the socket."""
    from tbot.machine import channel, connector, linux  # type: ignore[import-not-found,unused-ignore]

    class SocketIO(channel.ChannelIO):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            self._link = connect(path)

        def write(self, buf: bytes) -> int:
            return self._link.send(buf)

        def read(self, n: int, timeout: float | None = None) -> bytes:
            if not select.select([self._link], [], [], timeout)[0]:
                raise TimeoutError
            data = self._link.recv(n)
            if not data:
                raise channel.ChannelClosedException
            return data

        def close(self) -> None:
            self._link.close()

        def fileno(self) -> int:
            return self._link.fileno()

        @property
        def closed(self) -> bool:
            return self._link.fileno() < 0

        def update_pty(self, columns: int, lines: int) -> None:
            pass

    class Machine(connector.Connector, linux.Bash):  # type: ignore[misc,unused-ignore]
        def _connect(self) -> Any:
            return channel.Channel(SocketIO())

        def clone(self) -> Any:
            raise NotImplementedError("a console cannot be cloned")

    with Machine() as machine:
        yield lambda command: len(machine.exec(linux.Raw(command))[1])


CONTENDERS: dict[str, Callable[[str], AbstractContextManager[Run]]] = {
    "bare": bare,
    "harness": harness,
    "labgrid": labgrid,
    "tbot": tbot,
}


def carry_out(contender: AbstractContextManager[Run], load: list[dict[str, Any]]) -> dict[str, Any]:
    began = time.perf_counter()
    with contender as run:
        run("true")
        setup = time.perf_counter() - began
        rows = []
        for row in load:
            took, size = [], 0
            if row["warm"]:
                run(row["command"])
            for _ in range(row["rounds"]):
                start = time.perf_counter()
                size = run(row["command"])
                took.append(time.perf_counter() - start)
            rows.append({"took": took, "size": size})
    return {"setup": setup, "rows": rows, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main() -> None:
    name, path = sys.argv[1:]
    # What a library prints is no part of the result.
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        json.dump(carry_out(CONTENDERS[name](path), json.load(sys.stdin)), out)


if __name__ == "__main__":
    main()
