"""The processes below a unit, and what they wait for. Pure: lines of /proc in, values out (proc(5))."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from harness.tolerant import count

_TICK = 100.0
"""USER_HZ, the unit of a process's start time: 100 on every Linux but a few that are gone."""
# Where the kernel keeps a process that waits for its children.
_IN_WAIT = frozenset({"do_wait", "__do_wait"})
_LONGEST = 100
_HEADING = re.compile(r"^==> /proc/([0-9]{1,10})/cmdline <==\n", re.MULTILINE)
# What makes systemctl wait for a job, and what does it only with `--now`.
_VERBS = frozenset(
    {
        *("start", "restart", "stop", "reload", "try-restart", "reload-or-restart", "try-reload-or-restart"),
        *("force-reload", "condrestart", "condreload", "isolate"),
    }
)
_NOW_VERBS = frozenset({"enable", "disable", "reenable", "mask"})
_WITH_VALUE = frozenset(
    {
        *("-t", "-p", "-P", "-s", "-n", "-o", "-H", "-M", "--type", "--property", "--signal", "--lines", "--output"),
        *("--host", "--machine", "--state", "--job-mode", "--kill-who", "--kill-whom", "--root", "--what", "--message"),
    }
)
_ELSEWHERE = ("-H", "--host", "-M", "--machine", "--root")


@dataclass(frozen=True, slots=True)
class Process:
    """`started` is in seconds since the boot, `waits_in` is the kernel's function where it sleeps (empty: not told)."""

    pid: int
    parent: int
    started: float
    waits_in: str
    argv: tuple[str, ...]

    @property
    def command(self) -> str:
        """Its words, shortened for people."""
        line = " ".join(" ".join(self.argv).split())
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


@dataclass(frozen=True, slots=True)
class Request:
    """What a waiting systemctl has asked of its manager: jobs for these units (globs too), or the end of the boot."""

    units: tuple[str, ...]
    user: bool = False
    boot: bool = False

    def wants(self, names: Iterable[str]) -> bool:
        """Whether a unit of these names is among them."""
        return any(fnmatch.fnmatchcase(name, unit) for name in names for unit in self.units)


@dataclass(frozen=True, slots=True)
class Waiter:
    """A systemctl below a unit. `certain` means that everything above it, up to the unit's own process, does nothing
    but wait for it."""

    process: Process
    request: Request
    certain: bool


def parse_processes(stats: str, commands: str) -> tuple[Process, ...]:
    """Reads lines of /proc/PID/stat, a tab, and /proc/PID/wchan; and the files /proc/PID/cmdline as `head` prints
    several, with tabs for their NULs.

    A line that is none (a process that ended while it was read) is passed over.
    """
    pieces = _HEADING.split(commands)
    texts = zip(pieces[1::2], pieces[2::2], strict=True)
    arguments = {count(pid): text.strip("\n").rstrip("\t") for pid, text in texts}
    found: list[Process] = []
    for line in stats.split("\n"):
        stat, _, where = line.partition("\t")
        head, _, tail = stat.rpartition(")")
        pid, _, name = head.partition(" (")
        fields = tail.split()
        if not count(pid) or len(fields) < 20:
            continue
        words = arguments.get(count(pid), "")
        argv = tuple(words.split("\t")) if words else (f"[{name}]",)
        waits_in = "" if where == "0" else where
        found.append(Process(count(pid), count(fields[1]), count(fields[19]) / _TICK, waits_in, argv))
    return tuple(found)


def request_of(argv: Sequence[str]) -> Request | None:
    """What a systemctl of these arguments waits for; None where it is none or does not wait."""
    if not argv or argv[0].rpartition("/")[2] != "systemctl":
        return None
    plain: list[str] = []
    options: set[str] = set()
    rest = iter(argv[1:])
    for word in rest:
        if not word.startswith("-") or word == "-":
            plain.append(word)
            continue
        options.add(word.partition("=")[0])
        if word in _WITH_VALUE:
            next(rest, None)
    if not plain or "--no-block" in options or options.intersection(_ELSEWHERE):
        return None
    verb, names = plain[0], plain[1:]
    user = "--user" in options
    if verb == "is-system-running" and "--wait" in options:
        return Request((), user, boot=True)
    if names and (verb in _VERBS or (verb in _NOW_VERBS and "--now" in options)):
        return Request(tuple(_unit_name(name) for name in names), user)
    return None


def waiters(processes: Iterable[Process], root: int) -> tuple[Waiter, ...]:
    """The waiting systemctls at or below a process."""
    tree = _Tree(processes)
    return tuple(
        Waiter(process, request, certain)
        for process, certain in tree.below(root)
        if (request := request_of(process.argv)) is not None
    )


def innermost(processes: Iterable[Process], root: int) -> Process | None:
    """The last of a line of processes, each the only child of the one before; None where `root` is not there."""
    tree = _Tree(processes)
    process = tree.by_pid.get(root)
    while process is not None and len(children := tree.children.get(process.pid, [])) == 1:
        process = children[0]
    return process


_SESSION = re.compile(r"sshd(?:-session|-auth)?: ")
"""The titles that OpenSSH gives to the processes of its connections (`setproctitle` in session.c)."""


def without_sessions(processes: Sequence[Process], own: int, mains: Collection[int]) -> tuple[Process, ...]:
    """Return the processes without those of login sessions: `own` (our shell on the target) with all above it, up to
    the main or control process of a unit, and the connections of sshd; each with what was started below it.

    A session runs in the unit that accepted it where no PAM module moves it, and is no part of what the unit does.
    """
    tree = _Tree(processes)
    tops = {process.pid for process in processes if process.argv and _SESSION.match(process.argv[0])} - set(mains)
    top = tree.by_pid.get(own)
    if top is not None and own not in mains:
        while (parent := tree.by_pid.get(top.parent)) is not None and parent.pid not in mains and parent.pid != top.pid:
            top = parent
        tops.add(top.pid)
    if not tops:
        return tuple(processes)
    left_out: set[int] = set()
    todo = list(tops)
    while todo:
        pid = todo.pop()
        if pid not in left_out:
            left_out.add(pid)
            todo += [child.pid for child in tree.children.get(pid, []) if child.pid not in mains]
    return tuple(process for process in processes if process.pid not in left_out)


class _Tree:
    def __init__(self, processes: Iterable[Process]) -> None:
        self.by_pid = {process.pid: process for process in processes}
        self.children: dict[int, list[Process]] = {}
        for process in self.by_pid.values():
            self.children.setdefault(process.parent, []).append(process)

    def below(self, root: int) -> list[tuple[Process, bool]]:
        """A process and all below it, each with whether all above it only wait for it."""
        found: list[tuple[Process, bool]] = []
        todo = [(self.by_pid[root], True)] if root in self.by_pid else []
        while todo:
            process, certain = todo.pop()
            found.append((process, certain))
            children = self.children.get(process.pid, [])
            only = certain and len(children) == 1 and process.waits_in in _IN_WAIT
            todo.extend((child, only) for child in children)
        return found


_SUFFIXES = (
    *(".service", ".socket", ".target", ".timer", ".path", ".mount", ".automount", ".swap"),
    *(".device", ".slice", ".scope"),
)


def _unit_name(word: str) -> str:
    """As systemctl completes what it is given: `ssh` is ssh.service; a path is a mount or a device."""
    if word.startswith("/"):
        stem = word.strip("/").replace("-", "\\x2d").replace("/", "-") or "-"
        return f"{stem}.device" if word.startswith(("/dev/", "/sys/")) else f"{stem}.mount"
    return word if word.endswith(_SUFFIXES) else f"{word}.service"
