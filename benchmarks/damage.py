"""Commands over a line that damages what is typed and answered: is any answer wrong, and does any command run twice?

    python -m benchmarks.damage [--commands 100000] [--jobs 2] [--presets flip] [--shells dash,bash] [--seed 1]

Real shells on ptys, with a proxy that drops, flips, doubles or inserts bytes at a rate, towards the guest, from it, or
both. Each command has a known answer and leaves a mark of its own in a file, so that it shows how often it was run.
Printed for each preset and shell: right answers, typed errors, and what must never be: wrong answers, commands that ran
twice, commands that ran although ``may_have_run`` was false, and calls that ended later than their deadline.
Exit status 1 where there is any of those. With none seen in n commands, the rate is below 3 / n (at 95 %).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import HarnessError
from harness.events.emitter import NullEmitter
from harness.testing.pty_guest import PtyGuest
from harness.transport.errors import Timeout, TransportError
from harness.transport.serial.console import Console
from harness.transport.serial.spec import SerialSpec
from harness.transport.serial.transport import SerialTransport

SHELLS = {"dash": ["dash", "-i"], "bash": ["bash", "--norc", "-i"], "ash": ["busybox", "ash", "-i"]}
KINDS = ("drop", "flip", "double", "insert")
_LATE = 3.0  # seconds past its deadline that a call may end
_BATCH = 400  # commands of one login, unless it is lost


@dataclass(frozen=True, slots=True)
class Preset:
    """What is done to a byte (`kinds`, one of them at random), how often, and on which way."""

    name: str
    kinds: tuple[str, ...]
    rate: float
    to_guest: bool
    from_guest: bool


def presets() -> list[Preset]:
    """Return the 22 that make up a full run."""
    made = []
    for kind in KINDS:
        for rate in (0.002, 0.01):
            made.append(Preset(f"{kind} {rate:.1%} typed", (kind,), rate, True, False))
            made.append(Preset(f"{kind} {rate:.1%} answered", (kind,), rate, False, True))
        made.append(Preset(f"{kind} 0.5% both", (kind,), 0.005, True, True))
    made.append(Preset("all 0.2% both", KINDS, 0.002, True, True))
    made.append(Preset("all 1.0% both", KINDS, 0.01, True, True))
    return made


class Damager:
    """Damages bytes on one way, while it is armed."""

    def __init__(self, preset: Preset, seed: str) -> None:
        self._preset = preset
        self._random = random.Random(seed)
        self._intact = self._draw_intact()
        self.armed = False
        self.hits = 0

    def _draw_intact(self) -> int:
        """Return how many bytes arrive before the next damaged one. Each byte is damaged with the same probability, so
        the number has a geometric distribution, and is drawn once for each damage instead of once for each byte."""
        return int(math.log(1.0 - self._random.random()) / math.log1p(-self._preset.rate))

    def __call__(self, data: bytes) -> bytes:
        if not self.armed:
            return data
        out = bytearray()
        rng = self._random
        at = 0
        while at + self._intact < len(data):
            damaged = at + self._intact
            out += data[at:damaged]
            byte = data[damaged]
            at = damaged + 1
            self._intact = self._draw_intact()
            self.hits += 1
            kind = rng.choice(self._preset.kinds)
            if kind == "flip":
                out.append(byte ^ 1 << rng.randrange(8))
            elif kind == "double":
                out += bytes((byte, byte))
            elif kind == "insert":
                out += bytes((byte, rng.randrange(256)))
        self._intact -= len(data) - at
        out += data[at:]
        return bytes(out)


@dataclass(slots=True)
class Tally:
    """What came of the commands of one preset on one shell."""

    commands: int = 0
    right: int = 0
    hits: int = 0
    seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    not_run: set[int] = field(default_factory=set)
    """The commands of the present batch of which it was said that they cannot have run."""

    def add(self, other: Tally) -> None:
        self.commands += other.commands
        self.right += other.right
        self.hits += other.hits
        self.seconds += other.seconds
        self.errors += other.errors
        self.bad += other.bad


@dataclass(frozen=True, slots=True)
class Case:
    """A command, and what it answers. `marks`: it leaves its number in the file."""

    command: str
    stdout: bytes
    stderr: bytes = b""
    status: int = 0
    marks: bool = True


def case(number: int, rng: random.Random, marks: Path, *, slow: bool) -> Case:
    """Return the command of that number: quick ones, most of them without a process of their own."""
    mark = f"echo {number} >>{marks}; "
    kind = rng.randrange(20 if slow else 19)
    word = "".join(rng.choice("abcdefgh 0123;,.x") for _ in range(rng.randrange(4, 30))).strip()
    if kind < 6:
        return Case(f"echo '{word}'; echo {number} >&2; false", f"{word}\n".encode(), f"{number}\n".encode(), 1, False)
    if kind < 12:
        command = f"{mark}echo 'first  second {word}'; exit {number % 120}"
        return Case(command, f"first  second {word}\n".encode(), b"", number % 120)
    if kind < 15:
        return Case(f"{mark}echo {word.encode().hex()} >&2; exit 112", b"", f"{word.encode().hex()}\n".encode(), 112)
    if kind < 18:
        lines = [f"{number} {n} {word}" for n in range(10)]
        text = " ".join(f"'{line}'" for line in lines)
        return Case(f"{mark}printf '%s\\n' {text}", "".join(f"{line}\n" for line in lines).encode())
    if kind == 18:
        return Case(f"{mark}printf '\\000\\377{number}'", b"\x00\xff" + str(number).encode())
    return Case(f"{mark}sleep 0.5; echo done", b"done\n")


def run(preset: Preset, shell: str, seed: str, commands: int, *, deadline: float = 30.0, slow: bool = True) -> Tally:
    """Run so many commands on a shell of its own, and return what came of them."""
    tally = Tally()
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="damage-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        for at in range(0, commands, _BATCH):
            numbers = range(at, min(at + _BATCH, commands))
            _run_batch(preset, shell, rng, Path(folder), numbers, tally, deadline, slow=slow)
    return tally


def run_side_by_side(
    chosen: Mapping[tuple[Preset, str], int],
    seed: str,
    *,
    deadline: float,
    late: float = _LATE,
    consoles: int = 24,
    share: int = 40,
) -> dict[tuple[str, str], Tally]:
    """Run as many commands for each preset and shell as `chosen` says, and return what came of them.

    Most of a damaged exchange is waiting, so `consoles` of them run at a time, each in a thread, for up to `share`
    commands of one login. The presets that take longest begin first. `deadline` and `late` (how long after it a call
    may end) are in seconds; a busy machine needs longer ones.
    """
    tallies = {(preset.name, shell): Tally() for preset, shell in chosen}
    with tempfile.TemporaryDirectory(prefix="damage-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder

        def work(preset: Preset, shell: str, numbers: range) -> Tally:
            tally = Tally()
            rng = random.Random(f"{seed} {preset.name} {shell} {numbers.start}")
            own = Path(tempfile.mkdtemp(dir=folder))
            _run_batch(preset, shell, rng, own, numbers, tally, deadline, late=late, slow=False)
            return tally

        with concurrent.futures.ThreadPoolExecutor(consoles) as pool:
            running = {
                pool.submit(work, preset, shell, range(at, min(at + share, chosen[preset, shell]))): (
                    preset.name,
                    shell,
                )
                for preset, shell in sorted(chosen, key=lambda each: -each[0].rate * len(each[0].kinds))
                for at in range(0, chosen[preset, shell], share)
            }
            for done in concurrent.futures.as_completed(running):
                tallies[running[done]].add(done.result())
    return tallies


def _run_batch(
    preset: Preset,
    shell: str,
    rng: random.Random,
    folder: Path,
    numbers: range,
    tally: Tally,
    deadline: float,
    *,
    late: float = _LATE,
    slow: bool,
) -> None:
    tally.not_run.clear()
    marks = folder / f"m{numbers.start}"
    to_guest, from_guest = (Damager(preset, f"{rng.random()}") for _ in range(2))
    # A shell that a damaged byte has ended comes back, as one of a getty would.
    with PtyGuest(SHELLS[shell], folder / "console", respawn=True, to_guest=to_guest, to_client=from_guest) as guest:
        console = Console(str(guest.path), name="damage", events=NullEmitter())
        transport = SerialTransport(console, SerialSpec(str(guest.path)), events=NullEmitter())

        def arm(armed: bool) -> None:
            to_guest.armed = armed and preset.to_guest
            from_guest.armed = armed and preset.from_guest

        try:
            for number in numbers:
                if not _is_ready(transport, 3 * deadline):
                    break
                arm(True)
                _run_one(transport, case(number, rng, marks, slow=slow), number, marks, tally, deadline, late)
                arm(False)
        finally:
            arm(False)
            transport.close()
            console.close()
            tally.hits += to_guest.hits + from_guest.hits
    # What a shell that outlived its console, or a command whose answer was given up, may still have done.
    ran = Counter(_marks(marks))
    tally.bad += [f"ran {count} times: command {n}" for n, count in ran.items() if count > 1]
    tally.bad += [f"ran though may_have_run is false: command {n}" for n in tally.not_run if ran[str(n)]]


def arrives(preset: Preset, shell: str, size: int, folder: Path, *, seed: int, deadline: float) -> bool:
    """Return whether so many random bytes arrive over the line as they are. Raises AssertionError where others do."""
    data = random.Random(seed).randbytes(size)
    (folder / "data").write_bytes(data)
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    to_guest, from_guest = Damager(preset, f"{seed} typed"), Damager(preset, f"{seed} answered")
    with PtyGuest(SHELLS[shell], folder / "console", to_guest=to_guest, to_client=from_guest) as guest:
        console = Console(str(guest.path), name="damage", events=NullEmitter())
        transport = SerialTransport(console, SerialSpec(str(guest.path)), events=NullEmitter())
        try:
            transport.run("true", deadline=Deadline.after(60))
            to_guest.armed, from_guest.armed = preset.to_guest, preset.from_guest
            result = transport.run(f"cat {folder}/data", deadline=Deadline.after(deadline))
        except TransportError:
            return False
        finally:
            to_guest.armed = from_guest.armed = False
            transport.close()
            console.close()
    assert (result.stdout, result.stderr, result.exit_status) == (data, b"", 0), "silently wrong"
    return True


def _outputs(count: int, deadline: float) -> None:
    for size, rate in ((20_000, 0.002), (20_000, 0.005), (430, 0.02)):
        for kind in ("drop", "flip"):
            preset = Preset("", (kind,), rate, True, True)
            came, began = 0, time.monotonic()
            for seed in range(count):
                with tempfile.TemporaryDirectory(prefix="damage-") as folder:
                    shell = list(SHELLS)[seed % len(SHELLS)]
                    came += arrives(preset, shell, size, Path(folder), seed=seed, deadline=deadline)
            each = (time.monotonic() - began) / count
            print(
                f"{size:6} bytes, {kind} {rate:.1%} both ways: {came} of {count} arrived, {each:.1f} s each", flush=True
            )


def _is_ready(transport: SerialTransport, seconds: float) -> bool:
    """Return whether there is a shell to begin with. A line that damages nothing gets one in two tries of so many
    seconds, however busy the machine is that they are chosen for, unless its end is beyond repair."""
    for _ in range(2):
        try:
            return transport.run("true", deadline=Deadline.after(seconds)).exit_status == 0
        except HarnessError:
            continue
    return False


def _run_one(
    transport: SerialTransport, asked: Case, number: int, marks: Path, tally: Tally, deadline: float, late: float
) -> None:
    began = time.monotonic()
    tally.commands += 1
    try:
        result = transport.run(asked.command, deadline=Deadline.after(deadline))
    except TransportError as error:
        tally.errors[f"{type(error).__name__}/{error.cause}"] += 1
        if not error.may_have_run:
            tally.not_run.add(number)
        if isinstance(error, Timeout):
            tally.bad.append(f"a time-out of a command that had ended: {asked.command!r}: {error.message}")
    except HarnessError as error:
        tally.errors[type(error).__name__] += 1
        tally.not_run.add(number)
    else:
        wanted = (asked.stdout, asked.stderr, asked.status)
        # Only its own marks: an earlier command whose answer was given up may end meanwhile.
        ran = _marks(marks).count(str(number))
        if (result.stdout, result.stderr, result.exit_status) != wanted:
            tally.bad.append(f"wrong: {asked.command!r}: {result.stdout!r} {result.stderr!r} {result.exit_status}")
        elif ran != asked.marks:
            tally.bad.append(f"ran {ran} times: {asked.command!r}")
        else:
            tally.right += 1
    took = time.monotonic() - began
    tally.seconds += took
    if took > deadline + late:
        tally.bad.append(f"ended after {took:.1f} s, with a deadline of {deadline:.0f}: {asked.command!r}")


def _marks(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split("\n")[:-1]
    except FileNotFoundError:
        return []


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commands", type=int, default=100_000, help="in all, over all presets and shells")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--presets", default="", help="only those whose name holds this")
    parser.add_argument("--shells", default=",".join(SHELLS))
    parser.add_argument("--seed", default="1")
    parser.add_argument("--deadline", type=float, default=30.0, help="seconds of each command")
    parser.add_argument("--seconds", type=float, default=0.0, help="begin nothing more after so many")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--outputs", type=int, default=0, help="only carry so many larger outputs of each kind")
    given = parser.parse_args()
    if given.outputs:
        _outputs(given.outputs, given.deadline)
        return 0
    chosen = [preset for preset in presets() if given.presets in preset.name]
    shells = given.shells.split(",")
    each = max(1, given.commands // (len(chosen) * len(shells)))
    ends = time.monotonic() + given.seconds if given.seconds else float("inf")
    total: dict[tuple[str, str], Tally] = {(p.name, s): Tally() for p in chosen for s in shells}
    with concurrent.futures.ProcessPoolExecutor(given.jobs, initializer=_quiet) as pool:
        # In shares, so that a run that is cut short has had something of everything.
        waiting = {
            pool.submit(_share, ends, preset, shell, f"{given.seed}:{preset.name}:{shell}:{at}", min(100, each - at),
                        given.deadline): (preset.name, shell)
            for at in range(0, each, 100)
            for preset in chosen
            for shell in shells
        }  # fmt: skip
        for done in concurrent.futures.as_completed(waiting):
            tally = done.result()
            total[waiting[done]].add(tally)
            for bad in tally.bad:
                print(f"BAD {waiting[done]}: {bad}", flush=True)
    return _report(total, given.json)


def _share(ends: float, preset: Preset, shell: str, seed: str, commands: int, deadline: float) -> Tally:
    if time.monotonic() > ends:
        return Tally()
    return run(preset, shell, seed, commands, deadline=deadline)


def _quiet() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _report(total: dict[tuple[str, str], Tally], to: Path | None) -> int:
    print(f"{'preset':24}{'shell':6}{'commands':>9}{'hits':>8}{'right':>8}{'':>8}{'ms each':>9}{'bad':>5}  errors")
    whole = Tally()
    for (preset, shell), tally in total.items():
        _line(preset, shell, tally)
        whole.add(tally)
    _line("all", "", whole)
    if to is not None:
        to.write_text(json.dumps({f"{p} {s}": [t.commands, t.right, t.hits, t.seconds, t.errors, t.bad]
                                  for (p, s), t in total.items()}, indent=1))  # fmt: skip
    return 1 if whole.bad else 0


def _line(preset: str, shell: str, tally: Tally) -> None:
    if not tally.commands:
        return
    errors = ", ".join(f"{count} {name}" for name, count in tally.errors.most_common())
    print(
        f"{preset:24}{shell:6}{tally.commands:9}{tally.hits:8}{tally.right:8}{tally.right / tally.commands:8.2%}"
        f"{tally.seconds / tally.commands * 1e3:9.1f}{len(tally.bad):5}  {errors}"
    )


if __name__ == "__main__":
    sys.exit(main())
