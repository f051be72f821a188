"""Reads reports out of console lines: pure, fed with lines and times, never waits.

A line may hold two: what a program wrote, and behind it, from its time stamp on, what the kernel wrote past the
terminal. Between a report's lines may stand anybody's.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.engine.findings.kinds import CUT_HERE, WARNED, FindingKind, begins

# printk's time stamp, with its priority (as early consoles print it) and its caller (CONFIG_PRINTK_CALLER).
_STAMP = re.compile(r"(?:<\d{1,3}>)?\[ *(\d+\.\d{6})\](?:\[ *[TC]\d+\])? ?")
_HEADING = 5
"""Lines between `cut here` and the line that says what it is."""
_STRANGERS = 50
"""Lines of others, one after another, after which a report has ended."""
_HEAD, _TAIL = 150, 50
_LONGEST = 1000
_LONGEST_TITLE = 240
# systemd shortens what does not fit on the console's line in its middle.
_DOTS = re.compile(r"(?:…|\.\.\.)")
_SAID_BY = re.compile(r"\[ ?[A-Z]+ ?\] |systemd\[1\]: ")


@dataclass(frozen=True, slots=True)
class Line:
    """A console line: its text, its place in the record (`event.sequence`), and the ids of the checks that ran then."""

    text: str
    sequence: int
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All the lines of one report, and the line that said what it is (`title`, without its time stamp)."""

    kind: FindingKind
    title: str
    lines: tuple[str, ...]
    first: Line
    last: Line

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one speaker said in a line; `text` is without the time stamp, which is `stamp` in seconds."""

    text: str
    whole: str
    stamp: float | None = None

    @property
    def stamped(self) -> bool:
        return self.stamp is not None


@dataclass(slots=True, eq=False)
class _Open:
    """A report that may go on. Until it is `named`, only `cut here` and what the programmer had to say were seen."""

    kind: FindingKind
    named: bool
    title: str
    stamp: float | None
    first: Line
    last: Line
    at: float
    heading: int = 0
    strangers: int = 0
    head: list[str] = field(default_factory=list)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL))
    kept: int = 0

    @property
    def due(self) -> float:
        """When it has ended if nothing more comes."""
        return self.at + self.kind.quiet

    def belongs(self, part: _Part, found: FindingKind | None) -> bool:
        """Whether a line is part of this report; `found` is the kind that it would begin."""
        kind = self.kind
        stamps = kind.printk and self.stamp is not None
        if stamps and (part.stamp is None or part.stamp - (self.stamp or 0.0) > kind.quiet):
            return False
        if not self.named:
            if found is not None and found.body is not None:
                self.kind, self.named, self.title = found, True, part.text[:_LONGEST_TITLE]
                self.heading = 2
                return True
            if self.kept <= _HEADING:
                self.title = part.text[:_LONGEST_TITLE] if self.kept == 1 else self.title
                return True
            self.named = True
        if self.ends(part):
            return True
        if found is not None and found.ends_target:
            return False
        if kind.own is not None and kind.own.match(part.text):
            return True
        if found is None and self.heading == self.kept:
            return True  # before 4.14 the programmer's words came after the WARNING
        if found is None:
            return kind.body is not None and kind.body.match(part.text) is not None
        return found is kind and not kind.printk and _says_the_same(part.text, self.title)

    def ends(self, part: _Part) -> bool:
        """Whether this is its last line."""
        return self.kind.end is not None and self.kind.end.match(part.text) is not None

    def keep(self, part: _Part, line: Line, at: float) -> None:
        self.last, self.at, self.stamp, self.strangers = line, at, part.stamp, 0
        self.kept += 1
        (self.head if len(self.head) < _HEAD else self.tail).append(part.whole[:_LONGEST])

    def report(self) -> Report:
        left_out = self.kept - len(self.head) - len(self.tail)
        between = [f"… {left_out} lines left out …"] if left_out else []
        return Report(self.kind, self.title, (*self.head, *between, *self.tail), first=self.first, last=self.last)


class ReportReader:
    """Feed it a console's lines with times of one monotonic clock, and `tick` it when it is `due`."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._stamps = False

    @property
    def due(self) -> float | None:
        """When the first open report has ended if nothing more comes; None where none is open."""
        return min((report.due for report in self._open), default=None)

    def feed(self, line: Line, at: float) -> list[Report]:
        """The next line; returns the reports that have ended by now."""
        done = self.tick(at)
        for part in _parts(line.text):
            done += self._take(part, line, at)
        return done

    def tick(self, now: float) -> list[Report]:
        """Lets time pass."""
        return self._end([report for report in self._open if now >= report.due])

    def flush(self) -> list[Report]:
        """Ends whatever is open."""
        return self._end(list(self._open))

    def _take(self, part: _Part, line: Line, at: float) -> list[Report]:
        self._stamps |= part.stamped
        found = begins(part.text)
        if found is not None and found.printk and self._stamps and not part.stamped:
            found = None  # some program's words: this kernel stamps its lines
        cut_here = part.stamped >= self._stamps and CUT_HERE.match(part.text) is not None
        if not cut_here:
            for report in reversed(self._open):
                if report.belongs(part, found):
                    report.keep(part, line, at)
                    return self._end([report]) if report.ends(part) else []
        for report in self._open:
            report.strangers += 1
        done = self._end([report for report in self._open if report.strangers > _STRANGERS])
        kind = WARNED if cut_here else found
        if kind is None:
            return done
        if kind.body is not None:
            done += self._end([report for report in self._open if kind.ends_target or report.kind.body is not None])
        begun = _Open(kind, not cut_here, part.text[:_LONGEST_TITLE], part.stamp, first=line, last=line, at=at)
        begun.keep(part, line, at)
        self._open.append(begun)
        return done + (self._end([begun]) if _is_whole(begun, part) else [])

    def _end(self, reports: list[_Open]) -> list[Report]:
        self._open = [report for report in self._open if report not in reports]
        return [report.report() for report in reports]


def _is_whole(report: _Open, part: _Part) -> bool:
    """Whether its first line is its last one too. What systemd says may come a second time, shortened."""
    kind = report.kind
    return report.ends(part) or (kind.printk and kind.own is None and kind.body is None)


def _parts(text: str) -> Iterator[_Part]:
    stamp = _STAMP.search(text)
    head = text if stamp is None else text[: stamp.start()]
    if head.strip() or stamp is None:
        yield _Part(head, head)
    if stamp is not None:
        yield _Part(text[stamp.end() :], text[stamp.start() :], float(stamp[1]))


def _says_the_same(text: str, before: str) -> bool:
    """Whether two of systemd's lines say one thing: once to the kernel's log, once, shortened, to the console."""
    short, long = sorted((_SAID_BY.sub("", text, count=1).strip(), _SAID_BY.sub("", before, count=1).strip()), key=len)
    return _shortened(_DOTS.split(short), long)


def _shortened(pieces: list[str], long: str) -> bool:
    """Whether `pieces` stand in `long` in this order, the first at its start and the last at its end; in linear time,
    since both are the target's words."""
    first, *between = pieces
    if not between:
        return long == first
    last = between.pop()
    if len(first) + len(last) > len(long) or not long.startswith(first) or not long.endswith(last):
        return False
    at, end = len(first), len(long) - len(last)
    for piece in between:
        at = long.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True
