"""Findings of a run: console lines of the record in; `finding` events and what they come to for each target out.

A subscriber of the record runs in whichever thread has written, while the record waits: it must not write itself, nor
end waits. So lines are only laid down there; they are read on the event loop, which waits for the reports' ends too.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from harness.deadline import Cancellation
from harness.engine.findings.finding import Finding, Ruling, Severity, without_variables
from harness.engine.findings.rules import FindingRules
from harness.events import Emitter, Level, Record

# What reads a console is loaded with its first line.
if TYPE_CHECKING:
    from harness.engine.findings.kinds import FindingKind
    from harness.engine.findings.reader import Line, Report, ReportReader

KEPT = 20
"""Findings of one kind and ruling that are told in full for a target; more of them are counted."""
LAG = 0.25
"""Seconds by which a console may lag behind a command's answer: a check that ended so long ago may be the cause."""
_MOST_WAITING = 20_000
"""Lines that wait to be read; a console that says more, faster than they are read, is not kept in memory."""
_LONGEST = 4096
"""Characters of a line that are searched."""
_AT_ONCE = 500
"""Lines read before others have their turn on the event loop."""


@dataclass(frozen=True, slots=True)
class TargetFindings:
    """What a target's console said in a run. `counts` has all of them by name, `missed` what was required and not seen,
    `died` why nothing answers on it any more."""

    found: tuple[Finding, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    missed: tuple[str, ...] = ()
    died: str = ""


class Findings:
    """Reads a run's record for findings; to be subscribed to the event log."""

    def __init__(self) -> None:
        self._watches: dict[str, TargetWatch] = {}

    def __call__(self, record: Record) -> None:
        """Takes one record."""
        watch = self._watches.get(record.get("host.name", ""))
        if watch is not None:
            watch.hear(record)

    def watch(self, target: str, rules: FindingRules, events: Emitter, cancellation: Cancellation) -> TargetWatch:
        """Watches a target until it is closed; `cancellation` is the run's. To be called on the event loop."""
        watch = TargetWatch(rules, events, cancellation, forget=lambda: self._watches.pop(target, None))
        self._watches[target] = watch
        return watch


class TargetWatch:
    """The findings of one target. Its `cancellation` ends with the run's, and when the target's kernel panics."""

    def __init__(
        self, rules: FindingRules, events: Emitter, cancellation: Cancellation, *, forget: Callable[[], object]
    ) -> None:
        self.cancellation = Cancellation()
        self.died = ""
        self._rules = rules
        self._events = events
        self._forget = (forget, cancellation.on_cancel(lambda: self.cancellation.cancel(cancellation.reason)))
        self._loop = asyncio.get_running_loop()
        self._reader: ReportReader | None = None
        self._heard: deque[tuple[Line, FindingKind | None, float]] = deque()
        self._running: dict[str, None] = {}
        self._ended: dict[str, float] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._awake = False
        self._skipped = 0
        self._timer: asyncio.TimerHandle | None = None
        self._found: list[Finding] = []
        self._same: dict[tuple[str, Ruling, str], int] = {}
        self._counts: Counter[str] = Counter()
        self._kept: Counter[tuple[str, Ruling]] = Counter()
        self._unmet = list(rules.required)

    @property
    def forbidden(self) -> bool:
        """Whether what is forbidden was seen until now."""
        return any(finding.ruling is Ruling.FORBIDDEN for finding in self._found)

    def hear(self, record: Record) -> None:
        """Takes a record of this target, in any thread."""
        action = record["event.action"]
        if action == "console.line":
            self._lay_down(record["harness.text"], record, None)
        elif action == "finding" and "harness.ruling" not in record:
            from harness.engine.findings.kinds import BY_NAME

            if record["harness.finding"] in BY_NAME:
                self._lay_down(record["message"], record, BY_NAME[record["harness.finding"]])
        elif action == "check.start":
            check_id = record.get("harness.check_id", "")
            self._running[check_id] = None
            self._names[check_id] = (record["test.suite.name"], record["test.case.name"])
        elif action == "check.end" and record.get("harness.check_id", "") in self._running:
            del self._running[record["harness.check_id"]]
            self._ended[record["harness.check_id"]] = self._loop.time()

    def _lay_down(self, text: str, record: Record, seen: FindingKind | None) -> None:
        """`seen`: what it is, where another room has seen and told it already."""
        from harness.engine.findings.reader import Line

        if len(self._heard) >= _MOST_WAITING:
            self._skipped += 1
            return
        now = self._loop.time()
        self._ended = {check: at for check, at in self._ended.items() if now - at <= LAG}
        self._heard.append((Line(text[:_LONGEST], record["event.sequence"], (*self._ended, *self._running)), seen, now))
        if not self._awake:
            self._awake = True
            self._loop.call_soon_threadsafe(self._read)

    def close(self) -> TargetFindings:
        """Reads what was heard until now, and watches no more. To be called on the event loop."""
        for forget in self._forget:
            forget()
        if self._timer is not None:
            self._timer.cancel()
        while self._heard:
            self._read_one()
        if self._reader is not None:
            self._tell(self._reader.flush())
        missed = tuple(selector.word for selector in self._unmet)
        return TargetFindings(tuple(self._found), dict(self._counts), missed, self.died)

    def _read(self) -> None:
        self._awake = False  # first: what is heard from here on wakes us again
        for _ in range(_AT_ONCE):
            if not self._heard:
                break
            self._read_one()
        if self._heard:
            self._loop.call_soon(self._read)
        elif self._skipped:
            skipped, self._skipped = self._skipped, 0
            words = f"the console says more than can be searched for findings: {skipped} lines were skipped"
            self._events.emit("finding.lines_skipped", words, level="warning")
        self._wait()

    def _read_one(self) -> None:
        from harness.engine.findings.reader import Report, ReportReader

        line, seen, at = self._heard.popleft()
        if self._reader is None:
            self._reader = ReportReader()
        if seen is None:
            self._tell(self._reader.feed(line, at))
        else:
            self._judge(Report(seen, line.text, (line.text,), line, line), told=True)

    def _wait(self) -> None:
        """Has the open report ended in time, should nothing more come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._reader.due if self._reader is not None else None
        if due is not None:
            self._timer = self._loop.call_at(due, self._silent)

    def _silent(self) -> None:
        assert self._reader is not None, "a report is open"
        self._tell(self._reader.tick(self._loop.time()))
        self._wait()

    def _tell(self, reports: Iterable[Report]) -> None:
        for report in reports:
            self._judge(report)

    def _judge(self, report: Report, *, told: bool = False) -> None:
        kind, text = report.kind, report.text
        ruling = self._rules.ruling(kind, text)
        self._unmet = [selector for selector in self._unmet if not selector.picks(kind, text)]
        self._counts[kind.name] += 1
        same = kind.name, ruling, without_variables(report.title)
        if (index := self._same.get(same)) is not None:
            first = self._found[index]
            checks = tuple(dict.fromkeys((*first.checks, *report.first.checks)))
            last = max(first.last_line, report.last.sequence)
            self._found[index] = replace(first, count=first.count + 1, checks=checks, last_line=last)
            return
        self._kept[kind.name, ruling] += 1
        count = self._kept[kind.name, ruling]
        if count <= KEPT:
            finding = Finding(
                kind.name, kind.severity, ruling, report.title, text, report.first.checks,
                report.first.sequence, report.last.sequence,
            )  # fmt: skip
            self._same[same] = len(self._found)
            self._found.append(finding)
            if not told:
                self._record(finding, kind.reference)
        elif count == KEPT + 1:
            words = f"{kind.name}: more than {KEPT} findings; from now on they are only counted"
            self._events.emit("finding.more", words, level="warning", finding=kind.name)
        if kind.ends_target and ruling is not Ruling.EXPECTED and not self.died:
            self.died = f"its kernel panicked: {report.title}"
            self.cancellation.cancel(self.died)

    def _record(self, finding: Finding, reference: str) -> None:
        events = self._events
        if len(finding.checks) == 1:
            module, check = self._names[finding.checks[0]]
            events = events.bind(module=module, check=check)
        events.emit(
            "finding", finding.short, level=_level(finding), finding=finding.name, severity=finding.severity.value,
            ruling=finding.ruling.value, text=finding.text, checks=list(finding.checks), first_line=finding.first_line,
            last_line=finding.last_line, reference=reference,
        )  # fmt: skip


def _level(finding: Finding) -> Level:
    if finding.ruling is Ruling.EXPECTED:
        return "info"
    if finding.ruling is Ruling.FORBIDDEN:
        return "error"
    return "warning" if finding.severity is Severity.WARNING else "error"
