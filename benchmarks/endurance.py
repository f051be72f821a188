"""What a thousand openings, a thousand time-outs and a thousand losses leave behind: here, and on the other side.

    python -m benchmarks.endurance [--rounds N] [--warm-up N] [--ssh | --address PATH [--user NAME] [--password WORD]]

A console: without an address a real bash on a pty behind a Unix socket, in a process of its own; with one, that of a
machine that runs (`harness run --keep` tells its socket and its password). With --ssh: a real sshd. Each kind of round
is done a few times first, so that what is made once and kept is there before the counting begins. The exit status is 1
where anything has grown.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.ssh import Servers
from harness.deadline import Deadline
from harness.events.emitter import NullEmitter
from harness.testing.pty_guest import PtyGuest
from harness.transport.contract import Transport
from harness.transport.errors import Timeout, TransportError, TransportLost
from harness.transport.serial.console import Console
from harness.transport.serial.spec import SerialSpec
from harness.transport.serial.transport import SerialTransport
from harness.transport.ssh.hostkeys import parse_public_keys
from harness.transport.ssh.transport import SshSpec, SshTransport

# A descriptor that is about to be closed, a process that is about to be waited for: asked again before it counts.
PATIENCE = 10.0
_LONGEST_DEADLINE = 10.0
LOOK = "t=$(ps -o tty= -p $PPID); ps -o pid= -t $t | wc -l; ls -d /dev/shm/.harness-* /run/.harness-* /tmp/.harness-*"


@dataclass(frozen=True, slots=True)
class Counts:
    """Open descriptors, threads and memory (MiB) of this process; on the guest the processes of its terminal, the
    folders that we made and are still there, and the files in that of the present session."""

    descriptors: int
    threads: int
    memory: float
    processes: int
    folders: int
    files: int

    def grown_to(self, other: Counts) -> list[str]:
        """What is more than before. Memory may grow by a tenth; files are those of the last commands, for re-reads."""
        found = [n for n in ("descriptors", "threads", "processes", "folders") if getattr(other, n) > getattr(self, n)]
        if other.memory > self.memory * 1.1 + 5:
            found.append("memory")
        if other.files > 400:
            found.append("files")
        return found


def here() -> dict[str, float]:
    """What this process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "memory": pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20),
    }


class Bench(Protocol):
    """One machine, reached as often as is wanted."""

    def cycle(self) -> None:
        """A fresh transport: opened, one command, closed."""

    def time_out(self) -> None:
        """A command that does not end, ended at its deadline; and the next one, which works."""

    def lose(self) -> None:
        """The way to the machine breaks under an open transport; the next command has a new one."""

    def look(self) -> Counts:
        """What is there now, on both sides."""

    def close(self) -> None:
        """Leaves the machine, so that a cycle may have it."""


def runs_out(transport: Transport) -> None:
    """Runs a command into its deadline, and one after it."""
    seconds = 0.5
    while True:
        try:
            transport.run("sleep 1000 | cat", deadline=Deadline.after(seconds))
        except Timeout:
            break
        except TransportError as error:
            # A busy machine did not come to run it in that time.
            if error.may_have_run or seconds > _LONGEST_DEADLINE:
                raise
            seconds *= 2
        else:
            raise AssertionError("a command that does not end has ended")
    assert transport.run("echo next", deadline=Deadline.after(60)).stdout == b"next\n"


class SshBench:
    """One sshd, connected to as often as is wanted. `processes` are the server's; there are no folders of ours."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self._spec = SshSpec(
            name="endurance",
            host=servers.addresses[0],
            port=servers.port,
            user="root",
            key_files=(str(folder / "client"),),
            host_keys=parse_public_keys((folder / "host.pub").read_text()),
            use_agent=False,
            default_keys=False,
            use_config=False,
        )
        self._transport = self._fresh()

    def _fresh(self) -> SshTransport:
        return SshTransport(self._spec, events=NullEmitter())

    def cycle(self) -> None:
        transport = self._fresh()
        assert transport.run("echo in", deadline=Deadline.after(60)).stdout == b"in\n"
        transport.close()

    def time_out(self) -> None:
        runs_out(self._transport)

    def lose(self) -> None:
        try:
            self._transport.run("kill -9 $(ps -o ppid= -p $PPID) $PPID; sleep 9", deadline=Deadline.after(60))
        except TransportLost:
            pass
        else:
            raise AssertionError("a connection whose server was killed is still there")
        assert self._transport.run("echo back", deadline=Deadline.after(60)).stdout == b"back\n"

    def look(self) -> Counts:
        there = self._transport.run("ps -e -o pid= | wc -l", deadline=Deadline.after(60)).out
        return Counts(**here(), processes=int(there), folders=0, files=0)  # type: ignore[arg-type]

    def close(self) -> None:
        self._transport.close()
        self._transport = self._fresh()


class ConsoleBench:
    """One console, opened as often as is wanted."""

    def __init__(self, spec: SerialSpec) -> None:
        self._spec = spec
        self._console = Console(spec.address, name="endurance", events=NullEmitter())
        self._transport = SerialTransport(self._console, spec, events=NullEmitter())
        self._folders: set[str] = set()

    def cycle(self) -> None:
        """A console and transport of its own: opened, logged in, one command, logged out, closed."""
        console = Console(self._spec.address, name="endurance", events=NullEmitter())
        transport = SerialTransport(console, self._spec, events=NullEmitter())
        result = transport.run("echo in", deadline=Deadline.after(120))
        assert result.stdout == b"in\n"
        self._note(transport)
        transport.close()
        console.close()

    def time_out(self) -> None:
        runs_out(self._transport)

    def lose(self) -> None:
        """The console goes away under an open session; the next command logs in anew."""
        self._transport.run("true", deadline=Deadline.after(120))
        self._note(self._transport)
        self._console.close()
        assert self._transport.run("echo back", deadline=Deadline.after(120)).stdout == b"back\n"

    def _note(self, transport: SerialTransport) -> None:
        assert transport.guest is not None
        self._folders.add(transport.guest.folder.rstrip("/"))

    def look(self) -> Counts:
        processes, *there = self._transport.run(LOOK, deadline=Deadline.after(120)).out.split()
        self._note(self._transport)
        assert self._transport.guest is not None
        files = self._transport.run(f"ls -A {self._transport.guest.folder}", deadline=Deadline.after(120)).out
        return Counts(
            **here(),  # type: ignore[arg-type]
            processes=int(processes),
            folders=len(self._folders.intersection(there)),
            files=len(files.split()),
        )

    def close(self) -> None:
        self._transport.close()
        self._console.close()
        self._transport = SerialTransport(self._console, self._spec, events=NullEmitter())


def repeat(bench: Bench, name: str, once: Callable[[], None], warm_up: int, rounds: int, *, alone: bool) -> list[str]:
    """Does it so often and prints a line of the table; what has grown. `alone`: it opens the console by itself."""

    def look() -> Counts:
        found = bench.look()
        if alone:
            bench.close()
        return found

    if alone:
        bench.close()
    for _ in range(warm_up):
        once()
    before = look()
    start = time.monotonic()
    for _ in range(rounds):
        once()
    took = time.monotonic() - start
    after = look()
    end = time.monotonic() + PATIENCE
    while before.grown_to(after) and time.monotonic() < end:
        time.sleep(0.5)
        after = look()
    keys = ("descriptors", "threads", "memory", "processes", "folders", "files")
    cells = [f"{getattr(before, key):.0f} {getattr(after, key):.0f}" for key in keys]
    print(f"{name:28}{rounds:7}{took / max(1, rounds):9.2f}" + "".join(f"{cell:>13}" for cell in cells), flush=True)
    return [f"{name}: {what} have grown" for what in before.grown_to(after)]


def serve(path: str, ready: object, stop: object) -> None:
    with PtyGuest(["bash", "--norc", "-i"], Path(path), respawn=True):
        ready.set()  # type: ignore[attr-defined]
        stop.wait()  # type: ignore[attr-defined]


def measure(bench: Bench, warm_up: int, rounds: int) -> int:
    heads = ("descriptors", "threads", "MiB", "processes", "folders", "files")
    print(f"{'before and after':28}{'rounds':>7}{'s each':>9}" + "".join(f"{head:>13}" for head in heads))
    grown = repeat(bench, "open, command, close", bench.cycle, warm_up, rounds, alone=True)
    grown += repeat(bench, "time-out, next command", bench.time_out, warm_up, rounds, alone=False)
    grown += repeat(bench, "lost, and back", bench.lose, warm_up, rounds, alone=False)
    bench.close()
    for line in grown:
        print(line)
    return 1 if grown else 0


def over_ssh(warm_up: int, rounds: int) -> int:
    with tempfile.TemporaryDirectory() as text:
        servers = Servers(Path(text), 1)
        try:
            return measure(SshBench(servers, Path(text)), warm_up, rounds)
        finally:
            servers.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--warm-up", type=int, default=5, help="rounds before the counting begins")
    parser.add_argument("--ssh", action="store_true", help="an sshd")
    parser.add_argument("--address", help="a console's Unix socket; without it a bash on a pty")
    parser.add_argument("--user", default="root")
    parser.add_argument("--password")
    given = parser.parse_args()
    if given.address:
        spec = SerialSpec(given.address, user=given.user, password=given.password)
        sys.exit(measure(ConsoleBench(spec), given.warm_up, given.rounds))
    if given.ssh:
        sys.exit(over_ssh(given.warm_up, given.rounds))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/console"
        ready, stop = multiprocessing.Event(), multiprocessing.Event()
        process = multiprocessing.Process(target=serve, args=(path, ready, stop))
        process.start()
        try:
            ready.wait()
            status = measure(ConsoleBench(SerialSpec(path)), given.warm_up, given.rounds)
        finally:
            stop.set()
            process.join()
    sys.exit(status)


if __name__ == "__main__":
    main()
