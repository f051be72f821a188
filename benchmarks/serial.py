"""How long a command takes on a console: a bare marker exchange, us, labgrid and tbot on the same console in one run.

    python -m benchmarks.serial [--quick] [--address SOCKET --password WORD] [--sizes 1,10,100]

Without an address a real bash on a pty behind a Unix socket is used, in a process of its own. A console serves one
client at a time, so the contenders take turns: in each pass everyone runs the same commands, in a process of its own.
A ratio is worked out within each pass, where the machine's load was the same, and the median of all passes is printed.
labgrid and tbot run where `python -m benchmarks.peers` has installed them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.console_contenders import bare, connect
from benchmarks.peers import PYTHON as PEERS
from harness.deadline import Deadline
from harness.events.emitter import NullEmitter
from harness.testing.pty_guest import PtyGuest
from harness.transport.serial.console import Console
from harness.transport.serial.login import Credentials, Login
from harness.transport.serial.reader import Reader
from harness.transport.serial.sieve import Sieved

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "true",
    "echo hello",
    "echo a; echo b; true",
    "uname -r",
    "cat /etc/hostname",
    "systemctl is-active ssh",
    "find /etc/hostname",  # nothing is known of it: it goes through named pipes
    "sh -c 'echo x'",
)
BULK = ("seq 1 150000", "head -c 1000000 /dev/zero | tr '\\0' a", "cat {folder}/1")
_LONGEST = 300  # seconds for all that a contender does in one pass
LIMIT, BULK_LIMIT = 1.5, 2.0
"""What a round trip, and what bulk output, may cost in terms of the bare exchange."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One who takes part: the interpreter that has it. `missing` says why it cannot."""

    name: str
    python: str
    missing: str = ""

    def carry_out(self, path: str, load: list[dict[str, Any]]) -> dict[str, Any]:
        """Runs the load in a process of its own. Raises Failed, with the last thing that it said."""
        try:
            done = subprocess.run(
                [self.python, "-m", "benchmarks.console_contenders", self.name, path],
                input=json.dumps(load),
                capture_output=True,
                text=True,
                timeout=_LONGEST,
                check=False,
                cwd=ROOT,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.name} did not end in {_LONGEST} s") from error
        if done.returncode:
            raise Failed(f"{self.name} failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result


class Failed(Exception):
    """A contender's process did not come to its end."""


def contenders() -> list[Contender]:
    found = [Contender("bare", sys.executable), Contender("harness", sys.executable)]
    for name, module in (("labgrid", "labgrid"), ("tbot", "tbot.machine")):
        there = PEERS.exists() and subprocess.run([PEERS, "-c", f"import {module}"], capture_output=True, check=False)
        found.append(Contender(name, str(PEERS), "" if there and there.returncode == 0 else "not installed"))
    return found


# -- the console


def _serve(path: str, ours: Connection, theirs: Connection) -> None:
    theirs.close()
    with PtyGuest(["bash", "--norc", "-i"], Path(path)):
        ours.send("ready")
        with contextlib.suppress(EOFError):
            ours.recv()  # until whoever started us closes it, or ends


@contextlib.contextmanager
def pty_console() -> Iterator[str]:
    """A bash on a pty, and the path of the socket that it is served at."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/console"
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(target=_serve, args=(path, theirs, ours))
        process.start()
        theirs.close()
        try:
            ours.recv()
            yield path
        finally:
            ours.close()
            process.join()


def log_in(path: str, password: str | None) -> None:
    """Leaves a shell on the console, for all who take part."""
    events = NullEmitter()
    console = Console(path, name="benchmark", events=events)
    heard = Sieved(Reader())
    console.open(Deadline.after(10))
    try:
        unsubscribe = console.subscribe(heard)
        Login(console, heard, Credentials("root", password), events=events).get_shell(Deadline.after(200))
        unsubscribe()
    finally:
        console.close()


def fresh_shell(path: str) -> None:
    """Undoes what a contender has set up in the shell: tbot turns its line editing off, for one."""
    with bare(path) as run:
        run("stty sane cols 80 rows 24")
    with connect(path) as link:
        link.sendall(b'[ -z "$BASH" ] || exec "$BASH" --norc -i\n')
    log_in(path, None)


@contextlib.contextmanager
def texts(path: str, sizes: list[int]) -> Iterator[str]:
    """Files of so many MB in the guest, called by that number: base64, half of it repeated soon enough for gzip."""
    folder = f"/tmp/bench-serial-{os.getpid()}"
    part, unit = f"{folder}/part", f"{folder}/1"
    with bare(path) as run:
        run(f"mkdir -m 700 {folder}")
        run(
            f"for i in $(seq 35); do head -c 11400 /dev/urandom >{part}; cat {part} {part}; done"
            f" | base64 | head -c 1000000 >{unit}"
        )
        for size in sizes:
            if size > 1:
                run(f"for i in $(seq {size}); do cat {unit}; done >{folder}/{size}")
    try:
        yield folder
    finally:
        with bare(path) as run:
            run(f"rm -r {folder}")


# -- measuring


Rows = dict[str, list[dict[str, Any]]]
"""Of one pass: each contender's rows."""


class Table:
    """The times of all contenders for some commands."""

    def __init__(self, title: str, limit: float, commands: list[str]) -> None:
        self._title = title
        self._limit = limit
        self._commands = commands
        self._passes: list[Rows] = []

    def add(self, rows: Rows) -> None:
        self._passes.append(rows)

    def print(self, others: list[Contender]) -> None:
        heads = "".join(f"{other.name + ' ms':>14}{'to bare':>9} " for other in others)
        print(f"\n{self._title:41}{'bytes':>8}{'bare ms':>9}{heads}")
        for row, command in enumerate(self._commands):
            shown = command if len(command) <= 40 else command[:39] + "…"
            size = self._passes[0]["harness"][row]["size"]
            print(f"{shown:41}{size:8}{self._milliseconds('bare', row):9.2f}", end="")
            for other in others:
                print(f"{other.missing:>24}" if other.missing else self._cell(other.name, row), end="")
            print()
        print(f"(! where ours is above {self._limit} x bare)")

    def _cell(self, name: str, row: int) -> str:
        ratio = statistics.median(
            statistics.median(rows[name][row]["took"]) / statistics.median(rows["bare"][row]["took"])
            for rows in self._passes
        )
        over = "!" if name == "harness" and ratio > self._limit else " "
        return f"{self._milliseconds(name, row):14.2f}{ratio:9.2f}{over}"

    def _milliseconds(self, name: str, row: int) -> float:
        return float(statistics.median(t for rows in self._passes for t in rows[name][row]["took"])) * 1e3


def compare(path: str, folder: str, taking_part: list[Contender], passes: int, rounds: int, bulk_rounds: int) -> None:
    """Short commands and a megabyte of output, everyone in turn. One of the others that fails is out."""
    bulky = [command.format(folder=folder) for command in BULK if bulk_rounds]
    load = [{"command": c, "rounds": rounds, "warm": True} for c in COMMANDS]
    load += [{"command": c, "rounds": bulk_rounds, "warm": True} for c in bulky]
    short = Table("a command", LIMIT, list(COMMANDS))
    bulk = Table("output, from the second time on", BULK_LIMIT, bulky)
    setup: dict[str, list[float]] = {}
    for _ in range(passes):
        fresh_shell(path)
        rows: Rows = {}
        for place, contender in enumerate(taking_part):
            if contender.missing:
                continue
            print(f"pass {len(setup.get(contender.name, [])) + 1} of {passes}: {contender.name}", file=sys.stderr)
            try:
                result = contender.carry_out(path, load)
            except Failed as failed:
                if contender.name in ("bare", "harness"):
                    raise
                print(failed)
                taking_part[place] = replace(contender, missing="failed")
                log_in(path, None)  # the shell may be left in anything
                continue
            setup.setdefault(contender.name, []).append(result["setup"])
            rows[contender.name] = result["rows"]
        short.add({name: all_of[: len(COMMANDS)] for name, all_of in rows.items()})
        bulk.add({name: all_of[len(COMMANDS) :] for name, all_of in rows.items()})
    print("\nuntil the first answer: " + ", ".join(f"{n} {statistics.median(s):.2f} s" for n, s in setup.items()))
    short.print(taking_part[1:])
    if bulky:
        bulk.print(taking_part[1:])


def grow(path: str, folder: str, taking_part: list[Contender], sizes: list[int]) -> None:
    """Output of growing size, twice in a session: how fast the line is, and so whether to compress, is known then.

    Each measurement has a process of its own, for its peak.
    """
    print(f"\n{'output':8}{'bare s':>9}{'MB/s':>7}{'first s':>10}{'MB/s':>7}{'to bare':>9}", end="")
    print(f"{'second s':>11}{'MB/s':>7}{'to bare':>9}{'s/MB to the smallest':>22}{'our peak MB':>13}")
    unit = 0.0
    for size in sizes:
        rows: dict[str, list[list[float]]] = {"bare": [], "harness": []}
        peak = 0
        for _ in range(5 if size < 10 else 3):
            for contender in taking_part[:2]:
                load = [{"command": f"cat {folder}/{size}", "rounds": 2, "warm": False}]
                result = contender.carry_out(path, load)
                rows[contender.name].append(result["rows"][0]["took"])
                peak = max(peak, result["rss"])
        plain = statistics.median(t for took in rows["bare"] for t in took)
        print(f"{f'{size} MB':8}{plain:9.3f}{size / plain:7.1f}", end="")
        for time in (0, 1):
            ours = statistics.median(took[time] for took in rows["harness"])
            ratio = statistics.median(
                took[time] / statistics.mean(bare) for took, bare in zip(rows["harness"], rows["bare"], strict=True)
            )
            print(f"{ours:{10 + time}.3f}{size / ours:7.1f}{ratio:8.2f}{'!' if ratio > BULK_LIMIT else ' '}", end="")
        unit = unit or ours / size
        print(f"{ours / size / unit:22.2f}{peak / 1e6:13.0f}")


def load_line(when: str) -> str:
    return f"load {when}: {' '.join(f'{n:.2f}' for n in os.getloadavg())} on {os.cpu_count()} processors"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--address", help="a console's Unix socket; without it a bash on a pty")
    parser.add_argument("--password", help="of root on that console")
    parser.add_argument("--quick", action="store_true", help="few rounds, and no 100 MB")
    parser.add_argument("--passes", type=int, help="0 leaves the short commands and the megabytes out")
    parser.add_argument("--rounds", type=int, help="of each command in a pass")
    parser.add_argument("--bulk", type=int, default=2, help="rounds of each megabyte, after one to warm up; 0: none")
    parser.add_argument(
        "--sizes", help="MB of growing output, 1,10,100; the guest has to keep 2.4 times that for a while"
    )
    given = parser.parse_args()
    passes = given.passes if given.passes is not None else 2 if given.quick else 5
    rounds = given.rounds or (5 if given.quick else 20)
    sizes = given.sizes if given.sizes is not None else "1,10" if given.quick else "1,10,100"
    megabytes = [int(size) for size in sizes.split(",") if size]
    taking_part = contenders()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and clean up on the way
    print(load_line("before"), flush=True)
    with contextlib.ExitStack() as stack:
        path = given.address or stack.enter_context(pty_console())
        log_in(path, given.password)
        folder = stack.enter_context(texts(path, megabytes))
        if passes:
            compare(path, folder, taking_part, passes, rounds, given.bulk)
        if megabytes:
            grow(path, folder, taking_part, megabytes)
    print(f"\n{load_line('after')}")


if __name__ == "__main__":
    main()
