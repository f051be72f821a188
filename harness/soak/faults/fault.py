"""A fault as a person writes it, and when it comes: pure, so that the same seed draws the same faults again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.inventory import Host
from harness.inventory.places import did_you_mean
from harness.target.spec import TargetSpec

VARIABLE = "soak_faults"

_CHANCE = 1.0
_LONGEST = 86400.0
_WITH_CHANCE = re.compile(r"(.*)@([\d.]+%?)")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_JUMP = re.compile(r"([+-])(\d+)(s|m|h|d)?")
_JUMP_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. `argument` is the pattern of what may stand behind its name (None: nothing may), `default` that
    argument where none is given (None: one must be). `seconds` is how long it lasts where nothing is said (None: it is
    done in a moment). `machine`: only a machine of ours can be treated so; all others need root's shell.
    """

    name: str
    meaning: str
    argument: str | None = None
    default: str | None = ""
    seconds: float | None = None
    machine: bool = False


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("link-down", "the network's link is down", seconds=5.0, machine=True),
        Kind("pause", "the machine stands still", seconds=5.0, machine=True),
        Kind("reset", "the machine is reset while its checks run", machine=True),
        Kind("sshd-kill", "sshd is killed with SIGKILL"),
        Kind("sshd-stop", "sshd is stopped", seconds=5.0),
        Kind("kill", "all processes of this name are killed", argument=r"[\w.@+-]{1,15}", default=None),
        Kind("disk-full", "the file system of this folder is filled", r"/[\w./@+-]*", "/var/tmp", 5.0),  # noqa: S108
        Kind("memory", "so much of the free memory is taken", r"[1-9]\d?%", "75%", 5.0),
        Kind("cpu", "so many busy loops run (0: one for each CPU)", r"\d{1,3}", "0", 5.0),
        Kind("clock-jump", "the clock jumps so far, and back in the end", r"[+-]\d{1,9}[smhd]?", "+1h", 5.0),
        Kind("console-noise", "so many lines a second are written to the console", r"[1-9]\d{0,3}", "50", 5.0),
    )
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that may befall a target in each iteration, with a `chance` from 0 to 1; it lasts `seconds`."""

    kind: Kind
    argument: str = ""
    seconds: float = 0.0
    chance: float = _CHANCE

    @property
    def name(self) -> str:
        """What it is called in the record: its kind, and its argument where the kind takes one."""
        return f"{self.kind.name}:{self.argument}" if self.argument else self.kind.name

    def __str__(self) -> str:
        lasts = f":{self.seconds:g}s" if self.kind.seconds is not None else ""
        return f"{self.name}{lasts}@{self.chance:g}"


@dataclass(frozen=True, slots=True)
class Due:
    """A fault that was drawn for an iteration, and the seconds after which it comes."""

    fault: Fault
    after: float


def parse_fault(text: str) -> Fault:
    """Reads `NAME[:ARGUMENT][:SECONDS][@CHANCE]`, such as `link-down:5s@0.2` or `kill:cron@10%`. Raises ValueError."""
    text = text.strip()
    match = _WITH_CHANCE.fullmatch(text)
    words, chance = (match[1], _chance(text, match[2])) if match else (text, _CHANCE)
    name, *rest = words.split(":")
    kind = KINDS.get(name.replace("_", "-"))
    if kind is None:
        hint = did_you_mean(name, KINDS)
        raise ValueError(f"{text!r}: no fault is called {name!r}{f' ({hint})' if hint else ''}: {', '.join(KINDS)}")
    seconds = kind.seconds or 0.0
    given = _SECONDS.fullmatch(rest[-1]) if rest and kind.seconds is not None else None
    # A number without a unit is an argument, where one is taken.
    if given is not None and (given[2] or kind.argument is None):
        rest.pop()
        seconds = float(given[1]) * _UNITS[given[2]]
        if not 0 < seconds <= _LONGEST:
            raise ValueError(f"{text!r}: it lasts more than nothing, and at most a day")
    argument = rest.pop(0) if rest and kind.argument is not None else kind.default
    if argument is None or rest or (kind.argument is not None and not re.fullmatch(kind.argument, argument)):
        raise ValueError(f"{text!r}: write {usage(kind)} ({kind.meaning})")
    return Fault(kind, argument, seconds, chance)


def usage(kind: Kind) -> str:
    """How a fault of this kind is written."""
    examples = {"kill": ":NAME", "disk-full": "[:/FOLDER]", "memory": "[:75%]", "cpu": "[:LOOPS]"}
    examples |= {"clock-jump": "[:+1h]", "console-noise": "[:LINES]"}
    return f"{kind.name}{examples.get(kind.name, '')}{'[:SECONDS]' if kind.seconds is not None else ''}[@CHANCE]"


def _chance(text: str, word: str) -> float:
    try:
        value = float(word.rstrip("%")) / (100 if word.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r}: a chance is from 0 to 1, or from 0% to 100%")
    return value


def faults_of(host: Host, spec: TargetSpec, given: Sequence[str]) -> tuple[Fault, ...]:
    """The faults of a host: its inventory's and those of the command line. Raises UsageError for one that cannot be
    done to it."""
    said = host.setting(VARIABLE)
    listed = [str(word) for word in said] if isinstance(said, list | tuple) else []

    def of_inventory(why: str) -> UsageError:
        return host.error(VARIABLE, why)

    def of_command(why: str) -> UsageError:
        return UsageError(f"--fault {why}")

    found: list[Fault] = []
    for words, error in ((listed, of_inventory), (given, of_command)):
        for word in words:
            try:
                fault = parse_fault(word)
            except ValueError as problem:
                raise error(str(problem)) from None
            if fault.kind.machine and spec.machine is None:
                why = f"{word!r}: takes a machine that we start (qemu_image, …), and {host.name} runs by itself"
                raise error(why)
            found.append(fault)
    return tuple(found)


def draw(faults: Iterable[Fault], *, seed: int, target: str, iteration: int, within: float) -> tuple[Due, ...]:
    """Which faults come in an iteration, and after how many seconds (up to `within`). It depends on nothing but what is
    given here, so a soak that is resumed draws what the killed one would have drawn."""
    drawn = []
    for place, fault in enumerate(faults):
        digest = hashlib.blake2b(
            f"{seed}:{target}:{iteration}:{place}:{fault.name}".encode("utf-8", "backslashreplace"), digest_size=16
        ).digest()
        share, when = int.from_bytes(digest[:8], "big") / 2**64, int.from_bytes(digest[8:], "big") / 2**64
        if share < fault.chance:
            drawn.append(Due(fault, when * within))
    return tuple(sorted(drawn, key=lambda due: due.after))


def jump_seconds(argument: str) -> int:
    """How far the clock jumps: `+1h`, `-90s`, `+2d`."""
    match = _JUMP.fullmatch(argument)
    if match is None:
        raise ValueError(f"{argument!r} is no jump")
    return int(match[2]) * _JUMP_UNITS[match[3]] * (-1 if match[1] == "-" else 1)
