"""The serial protocol over a line that damages anything: both sides as pure code, at a virtual clock.

    python -m benchmarks.serial_model [--conversations 1000000] [--jobs 2] [--seed 1]

Our side is the real one (`Dialogue`, `Exchange`). The guest's is a model of the program in guest.sh, which the test
suite holds against dash, bash, busybox and zsh on the same lines. Faults: every single one (a loss, each flipped bit, a
doubling, insertions, an exchange of neighbours) at every byte typed and answered, then double faults, bursts and rates
at random. What must never be: an answer that is believed and wrong, a command that ran twice or changed, and
``may_have_run`` false for one that ran, or a time-out of one that had ended. Exit status 1 where there is any.
"""

from __future__ import annotations

import argparse
import base64
import concurrent.futures
import hashlib
import heapq
import itertools
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from harness.transport.serial.dialogue import Dialogue, Failure, Send, Wait
from harness.transport.serial.frames import Answer, Exchange
from harness.transport.serial.guest import BLANK, digest
from harness.transport.serial.requests import Nonce, request

_LATENCY = 0.002
_GONE = 60.0  # seconds after which a conversation has to have ended
_LETTERS = "abcdefghijkmnopqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the model knows: what it writes, how it ends, how long it runs (seconds), and whether a child of
    it holds its output open for good."""

    stdout: bytes
    stderr: bytes = b""
    status: int = 0
    seconds: float = 0.0
    holds: bool = False


@dataclass(slots=True)
class _Run:
    """The latest command of the guest."""

    nonce: str
    mode: str
    known: Command
    ends: float
    killed: bool = False
    answered: bool = False
    forced: bool = False


def guest_digest(text: bytes) -> int | None:
    """Return the check as the guest works it out; None where it refuses the text."""
    try:
        # There, what stands for a blank passes for one.
        return digest(text.replace(BLANK.encode(), b" "))
    except ValueError:
        return None


class GuestModel:
    """The program in guest.sh, where it has a folder, `/proc` and all tools.

    `receive` takes one line as `read -r` gives it, without its newline, and returns what is said, with the times.
    """

    def __init__(self, hello: Nonce, commands: dict[str, Command], *, inline: int = 256, greeting: str = "") -> None:
        self.hello = hello
        self.ran: Counter[str] = Counter()
        self.unknown: list[str] = []
        self.ended = False
        self._commands = commands
        self._inline = inline
        self._greeting = greeting
        self._run: _Run | None = None
        self._lines: dict[str, list[str]] = {"p": [], "q": []}
        self._long = ""
        self._input = ""

    # -- saying ------------------------------------------------------------------------------------------------

    @staticmethod
    def say(nonce: str, body: str) -> bytes:
        """A message, as h_say has it."""
        text = f"{nonce}<{body}"
        return f"{text}|{digest(text)}>\n".encode()

    # -- hearing -----------------------------------------------------------------------------------------------

    def receive(self, line: bytes, now: float = 0.0) -> list[tuple[float, bytes]]:
        if self.ended:
            return []
        line = line.replace(b"\0", b"")
        said = self._answer_due(now)
        separator = line[:1]
        at = line.rfind(separator) if separator else 0
        check = guest_digest(line[:at])
        if at < 1 or check is None or str(check).encode() != line[at + 1 :]:
            return [*said, (now, self.say(self.hello.whole, "!"))]
        fields = line.decode("latin-1").split(separator.decode("latin-1"))
        verb, nonce = (fields[1:2] or [""])[0], "".join(fields[2:4])
        argument = fields[4] if len(fields) > 4 else ""
        rest = " ".join(fields[5:-1])
        run = self._run
        asked = run is not None and run.nonce == nonce
        if verb == "R" and not asked:
            return said + self._start(nonce, argument, rest, now)
        if verb in ("R", "S"):
            return said + self._state(nonce, now)
        if verb == "K":
            state = "-" if not asked else "e" if run is None or run.answered else "r"
            if state == "r" and run is not None:
                run.killed = True
                run.ends = min(run.ends, now)
                said += self._answer_due(now)
            return [*said, (now, self.say(nonce, f"K{state}"))]
        if verb == "F":
            if not asked or run is None or run.answered:
                return [*said, (now, self.say(nonce, "F-"))]
            run.forced = True
            return said + self._answer_due(now)
        if verb == "L":
            number, _, script = rest.partition(" ")
            if asked:
                for index in (int(word.rstrip("p")) for word in script.split(";") if word):
                    if index <= len(self._lines[argument]):
                        text = self._lines[argument][index - 1]
                        said.append((now, f"{text}|{digest(text)}.\n".encode()))
            return [*said, (now, self.say(nonce, f"L{number}"))]
        if verb == "E":
            return said + self._say_anew(nonce, argument, rest, now)
        if verb in ("A", "I"):
            return [*said, (now, self.say(nonce, f"{verb}{self._lay_down(verb, int(argument), rest)}"))]
        if verb == "D":
            data = re.sub(r"\\0([0-7]{3})", lambda found: chr(int(found[1], 8)), self._input).encode("latin-1")
            return [*said, (now, self.say(nonce, f"D{hashlib.sha256(data).hexdigest()}"))]
        if verb == "N":
            return [*said, (now, self.say(nonce, self._greeting))]
        if verb == "X":
            self.ended = True
            return [*said, (now, self.say(nonce, "Xbye"))]
        return [*said, (now, self.say(nonce, f"{verb}!"))]

    def _say_anew(self, nonce: str, first: str, rest: str, now: float) -> list[tuple[float, bytes]]:
        run = self._run
        if run is not None and run.nonce == nonce:
            return self._state(nonce, now)
        second, _, width = rest.partition(" ")
        if run is None or run.nonce != first + second:
            return [(now, self.say(nonce, "E-"))]
        if not run.answered or run.mode.startswith("b"):
            return [(now, self.say(nonce, "E0"))]
        run.nonce, run.mode, run.forced = nonce, f"fnk{width}", True
        return [(now, piece) for piece in self._answer(run, first=True)]

    def _lay_down(self, verb: str, at: int, piece: str) -> int:
        text = self._long if verb == "A" else self._input
        text = "" if at == 0 else text
        text = text + piece if len(text) == at else text
        if verb == "A":
            self._long = text
        else:
            self._input = text
        return len(text)

    # -- running -----------------------------------------------------------------------------------------------

    def _start(self, nonce: str, mode: str, command: str, now: float) -> list[tuple[float, bytes]]:
        text = self._long if "a" in mode else command
        known = self._commands.get(text)
        self.ran[text] += 1
        if known is None:
            self.unknown.append(text)
            known = Command(b"")
        self._lines = {"p": [], "q": []}
        self._run = _Run(nonce, mode, known, now + known.seconds)
        return self._answer_due(now)

    def _answer_due(self, now: float) -> list[tuple[float, bytes]]:
        """Answer the command that has ended by now, once."""
        run = self._run
        if run is None or run.answered or now < run.ends or (run.known.holds and not run.forced and not run.killed):
            return []
        run.answered = True
        return [(run.ends if not run.forced else now, piece) for piece in self._answer(run, first=True)]

    def next_time(self) -> float:
        """When it says something by itself."""
        run = self._run
        if run is None or run.answered or (run.known.holds and not run.killed):
            return float("inf")
        return run.ends

    def wake(self, now: float) -> list[tuple[float, bytes]]:
        return self._answer_due(now)

    def _state(self, nonce: str, now: float) -> list[tuple[float, bytes]]:
        run = self._run
        if run is None or run.nonce != nonce:
            return [(now, self.say(nonce, "S-"))]
        if run.answered:
            return [(now, piece) for piece in self._answer(run, first=False)]
        return [(now, self.say(nonce, "S*s" if now >= run.ends else "S*"))]

    def _answer(self, run: _Run, *, first: bool) -> Iterator[bytes]:
        status = f"{143 if run.killed else run.known.status}{'k' if run.killed else ''}"
        outputs = (run.known.stdout, run.known.stderr)
        inline = int(run.mode.partition("k")[2] or self._inline)
        texts = [output.decode("latin-1").replace("\n", "~") for output in outputs]
        plain = all(" " <= c <= "}" for output in outputs for c in output.decode("latin-1").replace("\n", ""))
        if plain and not run.forced and (sum(map(len, outputs)) <= inline or run.mode.startswith("b")):
            yield self.say(run.nonce, f"={status}:{len(outputs[0])}:{len(outputs[1])}:{''.join(texts)}")
            return
        kinds = []
        for stream, output in zip("pq", outputs, strict=True):
            lines, kind = self._encode(run, stream, output)
            if first:
                self._lines[stream] = lines
                for line in lines:
                    yield f"{line}|{digest(line)}.\n".encode() if "k" in run.mode else f"{line}.\n".encode()
            kinds.append(f"{kind}:{len(lines)}")
        yield self.say(run.nonce, f"+{status}:{':'.join(kinds)}")

    @staticmethod
    def _encode(run: _Run, stream: str, output: bytes) -> tuple[list[str], str]:
        if not output:
            return [], "-"
        width = int(run.mode.partition("k")[2] or 1216)
        coded = base64.b64encode(output).decode()
        tag = run.nonce[2:6]
        texts = [coded[at : at + width] for at in range(0, len(coded), width)]
        lines = [f"{tag}{stream}{number}:{text}" for number, text in enumerate(texts, 1)]
        return lines, "w" if "k" in run.mode else f"b{hashlib.sha256(output).hexdigest()}"


class Terminal:
    """What a terminal in canonical mode does to what is typed, as the program has set it. `gone` once it is ended."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._quoted = False
        self.gone = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are typed with these bytes."""
        for byte in data:
            if self.gone:
                return
            if self._quoted:
                self._quoted = False
                self._line.append(byte)
            elif byte in (10, 13):
                yield bytes(self._line)
                self._line.clear()
            elif byte in (3, 0x1A, 0x1C) or (byte == 4 and not self._line):
                self.gone = True
            elif byte in (0x08, 0x7F):
                del self._line[-1:]
            elif byte == 0x15:
                self._line.clear()
            elif byte == 0x17:
                while self._line and not chr(self._line[-1]).isalnum():
                    self._line.pop()
                while self._line and (chr(self._line[-1]).isalnum() or self._line[-1] == 0x5F):
                    self._line.pop()
            elif byte == 0x16:
                self._quoted = True
            elif byte not in (4, 0x12):
                self._line.append(byte)


# -- faults ------------------------------------------------------------------------------------------------------------

Fault = Callable[[bytes, int], bytes]
"""What a way does to bytes that begin at this place of all that was carried on it."""

INSERTED = b"\n\r\0\x04\x11\x13\x15\x7f 0a~|>.<!*\x80\xff"


def single_faults(at: int) -> Iterator[Fault]:
    """Every fault of the one byte at this place: its loss, doubling, each flipped bit, insertions, an exchange."""

    def edit(change: Callable[[bytes, int], bytes]) -> Fault:
        return lambda data, start: change(data, at - start) if 0 <= at - start < len(data) else data

    yield edit(lambda data, i: data[:i] + data[i + 1 :])
    yield edit(lambda data, i: data[: i + 1] + data[i:])
    yield edit(lambda data, i: data[:i] + data[i + 1 : i + 2] + data[i : i + 1] + data[i + 2 :])
    for bit in range(8):
        yield edit(lambda data, i, bit=bit: data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :])  # type: ignore[misc]
    for new in INSERTED:
        yield edit(lambda data, i, new=new: data[:i] + bytes([new]) + data[i:])  # type: ignore[misc]


def no_fault(data: bytes, start: int) -> bytes:
    del start
    return data


@dataclass(slots=True)
class RandomFaults:
    """Some faults at random places (`places`), a burst of changed bytes, or any byte at a rate."""

    rng: random.Random
    rate: float = 0.0
    places: tuple[int, ...] = ()
    burst: int = 1

    def __call__(self, data: bytes, start: int) -> bytes:
        out = bytearray()
        left = 0
        for at, byte in enumerate(data, start):
            if at in self.places:
                left = self.burst
            if left or (self.rate and self.rng.random() < self.rate):
                left = max(0, left - 1)
                out += self._damage(byte)
            else:
                out.append(byte)
        return bytes(out)

    def _damage(self, byte: int) -> bytes:
        kind = self.rng.randrange(5)
        if kind == 0:
            return b""
        if kind == 1:
            return bytes((byte, byte))
        if kind == 2:
            return bytes((byte, self.rng.randrange(256)))
        if kind == 3:
            return bytes((self.rng.randrange(256),))
        return bytes((byte ^ 1 << self.rng.randrange(8),))


# -- conversations -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command, how it is run, and the time it has (seconds)."""

    name: str
    text: str
    command: Command
    mode: str = "fn"
    deadline: float = 20.0
    checked: bool = False
    suspended: tuple[float, float] = (0.0, 0.0)
    """From when to when (seconds) the guest does nothing; what is typed meanwhile it has afterwards."""


SCENARIOS = (
    Scenario("inline", "echo first  second; exit 112", Command(b"first  second\n", b"", 112)),
    Scenario("builtin", "echo 0; echo err >&2; false", Command(b"0\n", b"err\n", 1), "b"),
    Scenario("slow", "sleep 1.5; echo done", Command(b"done\n", seconds=1.5)),
    Scenario("ended", "sleep 50", Command(b"", seconds=50.0), deadline=2.0),
    Scenario("held", "sleep 50 & echo out", Command(b"out\n", b"e\n", seconds=0.2, holds=True)),
    Scenario("lines", "cat binary", Command(bytes(range(256)) * 4, b"\0\1", 3)),
    Scenario("checked lines", "cat binary", Command(bytes(range(256)), b"\0\1", 3), "fnk48", checked=True),
)


@dataclass(slots=True)
class Outcome:
    """What came of a conversation, and how many bytes each way carried."""

    verdict: Answer | Failure
    seconds: float
    typed: int
    answered: int
    bad: str = ""


def converse(scenario: Scenario, seed: int, to_guest: Fault = no_fault, from_guest: Fault = no_fault) -> Outcome:
    """Have one conversation at a virtual clock, and judge what came of it."""
    rng = random.Random(seed)

    def nonce() -> Nonce:
        text = "".join(rng.choices(_LETTERS, k=8))
        return Nonce(text[:4], text[4:])

    hello = nonce()
    guest = GuestModel(hello, {scenario.text: scenario.command})
    terminal = Terminal()
    now = heard = 100.0
    deadline = now + scenario.deadline
    stopped, resumed = (now + seconds for seconds in scenario.suspended)
    dialogue = Dialogue(
        lambda tries: (scenario.mode, scenario.text),
        lambda new, checked: Exchange(new, guest=hello, checked=checked or scenario.checked),
        now=now,
        reserve=min(1.0, scenario.deadline * 0.1),
        deadline=deadline,
        patience=0.05,
        new_nonce=nonce,
    )
    typed = answered = 0
    order = itertools.count()
    coming: list[tuple[float, int, bytes]] = []
    while True:
        step = dialogue.step(now, heard)
        if isinstance(step, Answer | Failure):
            return _judged(step, scenario, guest, dialogue, Outcome(step, now - 100.0, typed, answered))
        if isinstance(step, Send):
            assert dialogue.exchange is not None
            data = request(step.verb, dialogue.exchange.nonce, *step.arguments)
            hurt = to_guest(data, typed)
            typed += len(data)
            there = max(now, resumed) if now >= stopped else now
            said = [one for line in terminal.feed(hurt) for one in guest.receive(line, there)]
            for at, piece in said:
                heapq.heappush(coming, (max(at, there) + _LATENCY, next(order), piece))
            continue
        assert isinstance(step, Wait)
        due = min(coming[0][0] if coming else float("inf"), guest.next_time() + _LATENCY, step.until)
        now = max(now, due) if due > now else now + 1e-6
        for at, piece in guest.wake(now - _LATENCY):
            there = max(at, resumed) if at >= stopped else at
            heapq.heappush(coming, (max(there + _LATENCY, now), next(order), piece))
        while coming and coming[0][0] <= now:
            piece = heapq.heappop(coming)[2]
            hurt = from_guest(piece, answered)
            answered += len(piece)
            if dialogue.exchange is not None and hurt:
                dialogue.exchange.feed(hurt)
                heard = now
        if now > 100.0 + scenario.deadline + 1.0:
            return Outcome(Failure.DEAD, now - 100.0, typed, answered, "no end at the deadline")


def _judged(
    verdict: Answer | Failure, scenario: Scenario, guest: GuestModel, dialogue: Dialogue, outcome: Outcome
) -> Outcome:
    command, runs = scenario.command, guest.ran[scenario.text]
    if guest.unknown:
        outcome.bad = f"ran something else: {guest.unknown[0]!r}"
    elif runs > 1:
        outcome.bad = f"ran {runs} times"
    elif isinstance(verdict, Answer):
        wanted = Answer(command.status, command.stdout, command.stderr)
        ended_by_us = Answer(143, command.stdout, command.stderr, ended=True)
        may_be_ended = command.seconds > scenario.deadline - 1.5 or command.holds
        if verdict != wanted and not (may_be_ended and verdict == ended_by_us):
            outcome.bad = f"believed {verdict}"
        elif runs != 1:
            outcome.bad = "an answer of a command that was not run"
    elif runs and not dialogue.may_have_run:
        outcome.bad = f"it ran, and may_have_run is false ({verdict})"
    elif verdict is Failure.TIMEOUT and command.seconds < scenario.deadline - 1.5 and not command.holds:
        outcome.bad = "a time-out of a command that had ended"
    return outcome


# -- running many ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Figures:
    """What came of many conversations."""

    conversations: int = 0
    answers: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def note(self, what: str, outcome: Outcome) -> None:
        self.conversations += 1
        if isinstance(outcome.verdict, Answer):
            self.answers += 1
        else:
            self.failures[outcome.verdict] += 1
        if outcome.bad:
            self.bad.append(f"{what}: {outcome.bad}")

    def add(self, other: Figures) -> None:
        self.conversations += other.conversations
        self.answers += other.answers
        self.failures += other.failures
        self.bad += other.bad


def every_single_fault(scenario: Scenario, *, every: int = 1, first: int = 0) -> Figures:
    """Every single fault at every byte of the conversation, typed and answered; or of each `every`th byte only."""
    figures = Figures()
    clean = converse(scenario, 1)
    figures.note(f"{scenario.name}, clean", clean)
    for way, size in (("typed", clean.typed), ("answered", clean.answered)):
        for at in range(first, size, every):
            for number, fault in enumerate(single_faults(at)):
                ways = (fault, no_fault) if way == "typed" else (no_fault, fault)
                outcome = converse(scenario, 1, *ways)
                figures.note(f"{scenario.name}, byte {at} {way}, fault {number}", outcome)
    return figures


def random_faults(seeds: Iterable[int]) -> Figures:
    """Two faults, bursts, or any byte at a rate, on either way or both."""
    figures = Figures()
    for seed in seeds:
        rng = random.Random(seed)
        scenario = rng.choice(SCENARIOS)
        ways: list[Fault] = []
        for _ in range(2):
            kind = rng.randrange(4)
            if kind == 0:
                ways.append(RandomFaults(rng, rate=rng.choice((0.001, 0.003, 0.01, 0.03))))
            elif kind == 1:
                ways.append(RandomFaults(rng, places=(rng.randrange(120), rng.randrange(120))))
            elif kind == 2:
                ways.append(RandomFaults(rng, places=(rng.randrange(150),), burst=rng.randrange(2, 12)))
            else:
                ways.append(no_fault)
        figures.note(f"seed {seed}, {scenario.name}", converse(scenario, seed, *ways))
    return figures


def _share(seeds: tuple[int, int]) -> Figures:
    return random_faults(range(*seeds))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conversations", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0, help="begin nothing more after so many")
    given = parser.parse_args()
    began = time.monotonic()
    total = Figures()
    with concurrent.futures.ProcessPoolExecutor(given.jobs) as pool:
        for scenario, figures in zip(SCENARIOS, pool.map(every_single_fault, SCENARIOS), strict=True):
            print(f"every single fault, {scenario.name:15}: {_line(figures)}", flush=True)
            total.add(figures)
        left = max(0, given.conversations - total.conversations)
        shares = [(given.seed + at, given.seed + min(at + 1000, left)) for at in range(0, left, 1000)]
        many, waiting = Figures(), set()
        for share in shares:
            if given.seconds and time.monotonic() - began > given.seconds:
                break
            waiting.add(pool.submit(_share, share))
            if len(waiting) >= given.jobs * 2:
                done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    many.add(future.result())
        for future in waiting:
            many.add(future.result())
        print(f"two faults, bursts, rates, at random: {_line(many)}")
        total.add(many)
    print(f"all: {_line(total)}, in {time.monotonic() - began:.0f} s")
    for bad in total.bad[:50]:
        print(f"BAD {bad}")
    return 1 if total.bad else 0


def _line(figures: Figures) -> str:
    failures = ", ".join(f"{count} {name}" for name, count in figures.failures.most_common())
    return (
        f"{figures.conversations} conversations, {figures.answers} answered right, {failures or 'no failure'}; "
        f"{len(figures.bad)} bad"
    )


if __name__ == "__main__":
    sys.exit(main())
