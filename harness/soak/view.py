"""What a person sees while a soak goes on: on a TTY a live table with a line for each target, else a line for each
iteration. It reads the record and the tally; it decides nothing."""

from __future__ import annotations

import threading
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.api.check import WHOLE_TARGET
from harness.events import Record
from harness.printing import styled
from harness.report.lasting import lasting
from harness.soak.soak import Soak
from harness.soak.words import counted, of, quantiles, remaining, span, summary

_STYLE = {"info": "dim", "debug": "dim", "warning": "yellow", "error": "bold red"}
_GOOD = ("passed", "skipped")
_TOLD = frozenset(
    (
        "boot.failed", "clock.drifted", "clock.stepped", "clock.suspended", "fault.failed", "fault.not_undone",
        "fault.unrecovered", "finding", "flake.known", "image.build.start", "image.progress", "internal.error",
        "iteration.lost", "machine.started", "record.trouble", "record.waited", "reset.clock_behind", "reset.refused",
        "snapshot.saved", "soak.inputs_changed", "soak.resume", "target.misconfigured", "target.stop_failed",
        "target.unanswered", "target.unreachable",
    )
)  # fmt: skip
_TOLD_VERBOSELY = frozenset(
    ("boot.stage", "fault.start", "fault.end", "fault.recovered", "link.fallback", "link.recovered", "reset.end")
)
_MOST_WARNINGS = 1000
_NANOSECONDS = 1_000_000_000


class SoakView:
    """Prints a soak. `verbosity` is -1 (nothing but the end) to 2."""

    def __init__(self, stream: IO[str], *, verbosity: int = 0, live: bool | None = None) -> None:
        self._stream = lasting(stream)
        self._console = Console(file=styled(self._stream), highlight=False, soft_wrap=True, emoji=False)
        self._verbosity = verbosity
        self._is_live = (self._console.is_terminal if live is None else live) and verbosity >= 0
        self._lock = threading.Lock()
        self._doing: dict[str, str] = {}
        self._warned: set[tuple[str, str]] = set()
        self._soak: Soak | None = None
        self._iterations: int | None = None
        self._seconds: float | None = None
        self._live: Live | None = None

    def watch(self, soak: Soak, iterations: int | None, seconds: float | None) -> None:
        """The soak whose figures are shown, and when it is to end."""
        self._soak, self._iterations, self._seconds = soak, iterations, seconds

    def __enter__(self) -> SoakView:
        if self._is_live:
            self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def abandon(self) -> None:
        """Gives the cursor back, for a process that leaves at once. May be called from a signal's handler."""
        if self._live is not None:
            self._console.file.write("\x1b[?25h\n")
            self._console.file.flush()

    def __call__(self, record: Record) -> None:
        """Takes one record; to be subscribed to the event log."""
        if self._stream.lost is not None:
            raise self._stream.lost  # nothing more can be printed
        action, target = record["event.action"], record.get("host.name", "")
        with self._lock:
            if action == "check.start":
                self._doing[target] = f"{record['test.suite.name']}::{record['test.case.name']}"
            elif action in ("boot.stage", "reset.start", "fault.start"):
                self._doing[target] = record["message"].removeprefix(f"{target}: ")
        if action == "iteration.end":
            self._iteration(record, target)
        elif (
            action == "check.end"
            and record["harness.outcome"] not in _GOOD
            and record["test.suite.name"] != WHOLE_TARGET
        ):
            self._say(target, record["harness.outcome"], record["message"], "error", least=0)
        elif action == "check.warning":
            self._warn_once(target, record)
        elif (
            (action in _TOLD and record["log.level"] != "debug")
            or (action in _TOLD_VERBOSELY and self._verbosity >= 1)
            or self._verbosity >= 2
        ):
            words = action.rpartition(".")[2].replace("_", " ")
            self._say(target, words, record["message"], record["log.level"], least=0)

    def end(self, folder: str, go_on: str) -> None:
        """What it came to; `go_on` is the command that goes on with it, where there is something left."""
        if self._soak is None:
            return
        for line in summary(self._soak.tally):
            self._print(Text(_shown(line)))
        self._print(Text(f"record: {folder}"))
        if go_on:
            self._print(Text(f"go on with: {go_on}"))

    def say(self, words: str, bad: bool) -> None:
        """Prints what is no event: what a person should know of something beside the soak. When quiet, what is bad."""
        if bad or self._verbosity >= 0:
            with self._lock:
                self._print(Text(_shown(f"shipping    {words}"), style="yellow" if bad else "dim"))

    # -- drawing -------------------------------------------------------------------------------------------------

    def _iteration(self, record: Record, target: str) -> None:
        if self._soak is None:
            return
        tally = self._soak.tally.targets[target]
        counts = counted(record["harness.counts"])
        flaky = f", {record['harness.flaky_count']} flaky" if record["harness.flaky_count"] else ""
        seconds = record["event.duration"] / _NANOSECONDS
        number = record.get("harness.iteration", 0)
        clean = f"{tally.iterations - tally.bad_iterations} of {tally.iterations} clean{of(tally.rate)}"
        told = f"{number}: {counts}{flaky} in {seconds:.1f} s; {clean}"
        self._say(target, "iteration", told, record["log.level"], least=0)

    def _warn_once(self, target: str, record: Record) -> None:
        """Print a check's warning the first time that it comes, not with each iteration."""
        key = (target, record["message"])
        if key not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add(key)
            self._say(target, "warning", record["message"], "warning", least=0)

    def _say(self, target: str, word: str, text: str, level: str, *, least: int) -> None:
        if self._verbosity < least:
            return
        line = Text()
        line.append(f"{target or 'soak'}  ", "bold")
        line.append(f"{word:<11} ", _STYLE.get(level, ""))
        line.append(_shown(_one_line(text.removeprefix(f"{target}: "))))
        self._print(line)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("target", "iteration", "clean", "settle p50 (p99)", "flaky", "faults", "fallbacks", "ETA", "now"):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        soak = self._soak
        if soak is None:
            return table
        left = remaining(soak.tally, self._iterations, self._seconds, soak.seconds)
        with self._lock:
            doing = dict(self._doing)
        for name, target in soak.tally.targets.items():
            most = f" of {self._iterations}" if self._iterations is not None else ""
            table.add_row(
                Text(_shown(name), "bold"),
                f"{target.iterations}{most}",
                of(target.rate).strip(" ()") or "-",
                quantiles(target.settle),
                str(target.flaky),
                str(sum(target.faults.values())),
                str(target.links["fallbacks"]),
                "-" if left is None else span(left),
                Text(_shown(_one_line(doing.get(name, ""))), "dim"),
            )
        return table

    def _print(self, text: Text) -> None:
        self._console.print(text)


def _one_line(text: str, longest: int = 240) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]}…"


def _shown(text: str) -> str:
    """What a machine says must not drive the person's terminal."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
