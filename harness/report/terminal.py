"""What a person sees while a run goes on, and at its end. It reads the record; it decides nothing."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from harness.api.check import WHOLE_TARGET
from harness.engine.findings.finding import Finding, Ruling, Severity, without_variables
from harness.engine.outcome import CheckResult, Outcome, RunResult, TargetResult
from harness.events import Record
from harness.printing import styled
from harness.report.lasting import lasting
from harness.report.lines import Lines, Part, PlainLines, may_be_styled
from harness.report.reasons import WORTH_NAMING, by_name

if TYPE_CHECKING:
    from rich.live import Live

    from harness.report.live import Row, StyledLines

_STYLE = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "bold red",
    Outcome.SKIPPED: "yellow",
    Outcome.UNREACHABLE: "bold magenta",
    Outcome.ERROR: "bold red",
    Outcome.INFRASTRUCTURE: "bold magenta",
    Outcome.NOT_RUN: "bold yellow",
}
_WITHOUT_ATTEMPTS = (Outcome.UNREACHABLE, Outcome.INFRASTRUCTURE, Outcome.NOT_RUN)
"""Outcomes that many checks of a target have for one reason, which is printed once."""
_AT_THE_TERMINAL = ("ssh.passphrase_wanted", "ssh.passphrase_done")
_NANOSECONDS = 1_000_000_000
_REASONS = 40
"""Reasons for waiting that are printed for a target; the record has all of them."""
# A wait's reason is the same as before where only its times, counters and process ids differ.
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?: (?:min|s|ms|h|d)\b)?(?: \d+ s\b)?")


@dataclass
class _Row:
    """A target's line in the live view."""

    stage: str = "waiting"
    check: str = ""
    attempt: int = 0
    transport: str = ""
    passed: int = 0
    bad: int = 0
    total: int = 0
    seen: str = ""
    began: float = field(default=0.0)


class Terminal:
    """Prints a run. On a TTY one live line for each target, else plain lines; `verbosity` -1 (quiet) to 2."""

    def __init__(self, given: IO[str], *, verbosity: int = 0) -> None:
        self._stream = stream = lasting(given)
        self._verbosity = verbosity
        self._lines: Lines = PlainLines(stream)
        self._styled: StyledLines | None = None
        if may_be_styled(stream):
            from harness.report.live import StyledLines

            styled_lines = StyledLines(stream)
            if styled_lines.is_terminal:
                self._lines = self._styled = styled_lines
        self._lock = threading.Lock()
        self._rows: dict[str, _Row] = {}
        self._findings: set[tuple[str, str]] = set()
        self._waiting: dict[str, set[str]] = {}
        self._live: Live | None = None

    def __enter__(self) -> Terminal:
        if self._styled is not None and self._verbosity >= 0:
            self._live = self._styled.live(self._table)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def abandon(self) -> None:
        """Gives the cursor back, for a process that leaves at once. May be called from a signal's handler."""
        if self._live is not None:
            styled(self._stream).write("\x1b[?25h\n")
            self._stream.flush()

    def __call__(self, record: Record) -> None:
        """Takes one record; to be subscribed to the event log."""
        handler = _HANDLERS.get(record["event.action"])
        if self._stream.lost is not None:
            raise self._stream.lost  # nothing more can be printed
        if record["event.action"] in _AT_THE_TERMINAL:
            self._make_room(record["event.action"] == "ssh.passphrase_wanted")
        with self._lock:
            target = record.get("host.name", "")
            row = self._rows.setdefault(target, _Row()) if target else _Row()
            if handler is not None:
                handler(self, target, row, record)
            elif self._verbosity >= 2 and record["event.action"] != "command":
                self._line(target, record["event.action"], record["message"], "dim")

    def say(self, words: str, bad: bool) -> None:
        """Prints what is no event: what a person should know of something beside the run. When quiet, what is bad."""
        if bad or self._verbosity >= 0:
            with self._lock:
                self._write((f"shipping    {words}", "yellow" if bad else "dim"))

    def _make_room(self, asking: bool) -> None:
        """A live view would be drawn over what somebody is asked. Not under our lock: drawing takes it."""
        if self._live is not None and asking:
            self._live.stop()
        elif self._live is not None:
            self._live.start()

    # -- one method for each kind of event that a person wants to see ----------------------------------------

    def _target_start(self, target: str, row: _Row, record: Record) -> None:
        row.stage, row.total = "starting", record.get("harness.check_count", 0)

    def _machine(self, target: str, row: _Row, record: Record) -> None:
        row.stage = record["event.action"].partition(".")[2]
        self._line(target, "machine", record["message"], "dim", 1 if record["log.level"] == "debug" else 0)

    def _stage(self, target: str, row: _Row, record: Record) -> None:
        row.stage = f"boot: {record['harness.stage']}"
        self._line(target, "boot", f"{record['harness.stage']} after {_seconds(record)}", "dim")

    def _settled(self, target: str, row: _Row, record: Record) -> None:
        row.stage = "settled"
        via = ", ".join(record.get("harness.transports", []))
        text = record["message"].removeprefix(f"{target}: ")
        self._line(
            target,
            "settled",
            f"{text}{f' (over {via})' if via else ''}",
            "yellow" if record["log.level"] == "warning" else "dim",
        )

    def _check_start(self, _target: str, row: _Row, record: Record) -> None:
        row.check, row.attempt = f"{record['test.suite.name']}::{record['test.case.name']}", 1
        row.stage = "settling" if record["test.suite.name"] == WHOLE_TARGET else "checking"

    def _attempt(self, target: str, row: _Row, record: Record) -> None:
        row.attempt, row.seen = record["harness.attempt"] + 1, record["harness.seen"]
        if self._verbosity >= 1 and not record.get("harness.final"):
            self._line(
                target,
                "attempt",
                f"{record['test.case.name']} {row.attempt - 1}: {_short(row.seen) or 'holds so far'}",
                "dim",
            )
        elif not record.get("harness.final") and record.get("harness.answered"):
            self._why_not_yet(target, record)

    def _why_not_yet(self, target: str, record: Record) -> None:
        """Print why a check has to wait: at its first answer, and whenever another reason comes. Each reason is printed
        once for all checks of a target that wait for it."""
        if record["harness.outcome"] != Outcome.FAILED.value or not record["harness.seen"]:
            return
        seen = _short(record["harness.seen"])
        printed = self._waiting.setdefault(target, set())
        if (same := _NUMBER.sub("#", seen)) in printed or len(printed) >= _REASONS:
            return
        printed.add(same)
        self._line(target, "waiting", f"{record['test.suite.name']}::{record['test.case.name']}: {seen}", "yellow")

    def _command(self, target: str, row: _Row, record: Record) -> None:
        row.transport = record.get("harness.transport", "")
        if self._verbosity >= 2:
            self._line(
                target,
                "command",
                f"[{row.transport}] {record['harness.command']} → {record.get('harness.exit_status', '-')}",
                "dim",
            )

    def _check_end(self, target: str, row: _Row, record: Record) -> None:
        row.check = row.seen = ""
        if record["test.suite.name"] == WHOLE_TARGET:
            return
        outcome = Outcome(record["harness.outcome"])
        if outcome in _WITHOUT_ATTEMPTS and not record["harness.attempts"] and self._verbosity < 1:
            return  # the target itself was reported as unreachable
        row.passed += outcome is Outcome.PASSED
        row.bad += outcome not in (Outcome.PASSED, Outcome.SKIPPED)
        name = f"{record['test.suite.name']}::{record['test.case.name']}"
        attempts = record["harness.attempts"]
        notes = [_seconds(record)] if attempts else []
        if attempts > 1:
            notes.append(f"{attempts} attempts")
        notes.extend(record.get("harness.transports", []))
        if record.get("harness.fallbacks"):
            notes.append("fell back")
        message = record["message"].partition(f" {outcome.value}: ")[2]
        words = f": {_short(message)}" if message and (outcome is not Outcome.PASSED or self._verbosity >= 1) else ""
        self._line(target, outcome.value, _check_line(name, notes, words), _STYLE[outcome])

    def _check_warning(self, target: str, _row: _Row, record: Record) -> None:
        name = f"{record['test.suite.name']}::{record['test.case.name']}"
        self._line(target, "warning", f"{name}: {record['harness.text']}", "yellow")

    def _collect(self, target: str, row: _Row, record: Record) -> None:
        row.stage = "collecting"
        if record["event.action"] == "collect.end":
            row.stage = "collected"
            self._line(
                target, "collected", f"{record['message'].removeprefix(f'{target}: ')} ({_seconds(record)})", "dim"
            )

    def _warn(self, target: str, row: _Row, record: Record) -> None:
        words = record["event.action"].rpartition(".")[2].replace("_", " ")
        self._line(target, words, record["message"].partition("\n")[0].removeprefix(f"{target}: "), "yellow")

    def _finding(self, target: str, row: _Row, record: Record) -> None:
        told = record["message"].partition("\n")[0].removeprefix(f"{target}: ")
        same = target, without_variables(told)
        if same in self._findings and self._verbosity < 2:
            return  # the summary has it with its count
        self._findings.add(same)
        if record["log.level"] == "error":
            self._line(target, "finding", told, "bold red")
        else:
            self._line(target, "finding", told, "yellow" if record["log.level"] == "warning" else "dim")

    def _console_line(self, target: str, _row: _Row, record: Record) -> None:
        if self._verbosity >= 2:
            self._line(target, "console", record["harness.text"], "dim")

    # -- drawing ---------------------------------------------------------------------------------------------

    def _line(self, target: str, word: str, text: str, style: str, least: int = 0) -> None:
        if self._verbosity < least or (self._verbosity < 0):
            return
        self._write((f"{target or 'run'}  ", "bold"), (f"{word:<11} ", style), text)

    def _table(self) -> list[Row]:
        with self._lock:
            return [(name, _cells(row)) for name, row in self._rows.items()]

    def summary(self, result: RunResult, folder: str) -> None:
        """Counts, then what did not pass with what was seen, last: it is what the eye falls on."""
        write = self._write
        if self._verbosity >= 0 or result.exit_code:
            write("")
        for target in result.targets:
            for line in target.reach:
                write(line)
        bad = [check for check in result.checks if check.outcome not in (Outcome.PASSED, Outcome.SKIPPED)]
        unreachable = [target for target in result.targets if target.unreachable or target.error]
        reported = {target.target for target in unreachable}
        for target in unreachable:
            self._target_failure(target)
        told: dict[str, str] = {}
        not_run: dict[tuple[str, str, Outcome], list[CheckResult]] = {}
        for check in bad:
            if check.target in reported:
                continue
            if check.outcome in _WITHOUT_ATTEMPTS and not check.attempts:
                not_run.setdefault((check.target, check.message, check.outcome), []).append(check)
            else:
                self._failure(check, told)
        for (name, why, outcome), checks in not_run.items():
            self._write((f"{_shown(outcome)} ", _STYLE[outcome]), (name, "bold"))
            self._write(f"    {why}")
            self._write(f"    no verdict: {', '.join(check.label for check in checks)}")
            self._write("")
        for target in result.targets:
            for finding in target.findings:
                if finding.ruling is Ruling.FORBIDDEN or (
                    finding.ruling is Ruling.REPORTED and (self._verbosity >= 0 or result.exit_code)
                ):
                    self._told_finding(target, finding)
        if self._verbosity >= 0 or result.exit_code:
            self._totals(result, folder)

    def _target_failure(self, target: TargetResult) -> None:
        word = "ERROR (a fault of harness)" if target.error else "UNREACHABLE"
        if target.misconfigured:
            word = "ERROR (usage or configuration)"
        self._write((f"{word} ", "bold magenta"), (target.target, "bold"))
        for line in (target.error or target.unreachable).splitlines():
            self._write(f"    {line}")
        if target.console_log:
            self._write(f"    console: {target.console_log}")
        without = [check.label for check in target.checks if check.outcome is not Outcome.FAILED]
        self._write(f"    no verdict: {', '.join(without)}")
        self._write("")

    def _failure(self, check: CheckResult, told: dict[str, str]) -> None:
        self._write((f"{_shown(check.outcome)} ", _STYLE[check.outcome]), (f"{check.target}  {check.label}", "bold"))
        message = by_name(check.message, told)
        if len(check.message) >= WORTH_NAMING:
            told.setdefault(check.message, f"{check.target} {check.label}")
        for line in message.splitlines():
            self._write(f"    {line}")
        seen = [
            observation
            for observation in check.observations
            if observation.seen and observation.seen not in check.message
        ]
        for observation in seen:
            self._write((f"    attempt {observation.attempt} ({observation.at:.1f} s): {observation.seen}", "dim"))
        for fallback in check.fallbacks:
            self._write((f"    fell back from {fallback}", "yellow"))
        for finding in check.findings:
            self._write((f"    finding: {finding}", "yellow"))
        for warning in check.warnings:
            self._write((f"    warning: {warning}", "yellow"))
        facts = [f"{check.attempts} attempt{'s' if check.attempts != 1 else ''}", f"{check.duration:.1f} s"]
        if check.delays:
            facts[-1] += f" and {sum(check.delays.values()):.1f} s of harness's own ({', '.join(check.delays)})"
        if check.transports:
            facts.append("over " + ", ".join(check.transports))
        if check.attempts:
            self._write((f"    {', '.join(facts)}{f'; {_near(check.location)}' if check.location else ''}", "dim"))
        if check.repeat:
            self._write(f"    repeat: {check.repeat}")
        self._write("")

    def _told_finding(self, target: TargetResult, finding: Finding) -> None:
        """A forbidden one with its whole report, another one with its first line."""
        style = "yellow" if finding.severity is Severity.WARNING else "bold red"
        self._write(("FINDING ", style), (f"{target.target}  ", "bold"), finding.short)
        if finding.checks:
            self._write((f"    while {', '.join(finding.checks)} ran", "dim"))
        lines = finding.text.splitlines()
        if finding.ruling is Ruling.FORBIDDEN and len(lines) > 1:
            for line in lines:
                self._write(f"    {line}")
        elif len(lines) > 1:
            self._write((f"    {len(lines)} lines, whole in results.json", "dim"))
        self._write("")

    def _totals(self, result: RunResult, folder: str) -> None:
        counts = result.counts
        for target in result.targets:
            if target.settled and any(check.outcome is Outcome.FAILED for check in target.checks):
                self._write((target.target, "bold"), f" as a whole: {target.settled}")
        for target in result.targets:
            if target.collected:
                where = f"{folder}/{target.collected}"
                self._write((target.target, "bold"), f" diagnostics: {where}/summary.md")
        line: list[Part] = []
        for outcome in Outcome:
            if counts[outcome.value] or outcome in (Outcome.PASSED, Outcome.FAILED):
                style = _STYLE[outcome] if counts[outcome.value] else "dim"
                line += [(f"{counts[outcome.value]} {outcome.value.replace('_', ' ')}", style), ", "]
        fallbacks = sum(target.counts.get("fallbacks", 0) for target in result.targets)
        re_reads = sum(target.counts.get("re_reads", 0) for target in result.targets)
        line.append(f"{len(result.targets)} target{'s' if len(result.targets) != 1 else ''}, {result.duration:.1f} s")
        if fallbacks or re_reads:
            line.append((f" ({fallbacks} fallbacks, {re_reads} re-reads)", "yellow"))
        found = sum(sum(target.finding_counts.values()) for target in result.targets)
        if found:
            line.append((f"; {found} finding{'s' if found != 1 else ''} on the console", "yellow"))
        if stalled := sum(result.stalls.values()):
            line.append((f"; harness itself was stalled for {stalled:.1f} s ({', '.join(result.stalls)})", "yellow"))
        warnings = sum(len(check.warnings) for check in result.checks)
        if warnings:
            line.append((f"; {warnings} warning{'s' if warnings != 1 else ''}", "yellow"))
        if result.interrupted:
            line.append(("; interrupted", "bold yellow"))
        self._write(*line)
        self._write(f"record: {folder}")

    def _write(self, *parts: Part) -> None:
        self._lines.write(*parts)


def _cells(row: _Row) -> tuple[str, ...]:
    """What the live view shows of a target, beside its name."""
    doing = f"{row.check} attempt {row.attempt}" if row.check else ""
    return (row.stage, f"{row.passed}✓ {row.bad}✗ of {row.total}", row.transport, f"{doing} {_short(row.seen)}")


def _check_line(name: str, notes: list[str], words: str) -> str:
    return f"{name}{' (' + ', '.join(notes) + ')' if notes else ''}{words}"


def _near(location: str) -> str:
    """`file:line` as it is called from here, where it lies below this folder."""
    path = Path(location)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else location


def _seconds(record: Record) -> str:
    value = record.get("event.duration", 0) / _NANOSECONDS
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def _short(text: str, longest: int = 240) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]}…"


_Handler = Callable[[Terminal, str, _Row, Record], Any]

_HANDLERS: dict[str, _Handler] = {
    "target.start": Terminal._target_start,
    "target.settled": Terminal._settled,
    "target.misconfigured": Terminal._warn,
    "target.unanswered": Terminal._warn,
    "target.unreachable": Terminal._warn,
    "target.stop_failed": Terminal._warn,
    "clock.stepped": Terminal._warn,
    "clock.drifted": Terminal._warn,
    "clock.suspended": Terminal._warn,
    "record.trouble": Terminal._warn,
    "machine.start": Terminal._machine,
    "machine.started": Terminal._machine,
    "machine.attached": Terminal._machine,
    "machine.saving": Terminal._machine,
    "machine.saved": Terminal._machine,
    "machine.restored": Terminal._machine,
    "image.build": Terminal._machine,
    "image.progress": Terminal._machine,
    "boot.stage": Terminal._stage,
    "boot.failed": Terminal._warn,
    "collect.start": Terminal._collect,
    "collect.end": Terminal._collect,
    "collect.failed": Terminal._warn,
    "check.start": Terminal._check_start,
    "check.end": Terminal._check_end,
    "check.warning": Terminal._check_warning,
    "attempt.end": Terminal._attempt,
    "command": Terminal._command,
    "console.line": Terminal._console_line,
    "link.fallback": Terminal._warn,
    "link.recovered": Terminal._warn,
    "ssh.passphrase_wanted": Terminal._warn,
    "console.unheard": Terminal._warn,
    "finding": Terminal._finding,
    "finding.more": Terminal._warn,
    "record.waited": Terminal._warn,
    "internal.error": Terminal._warn,
}


def _shown(outcome: Outcome) -> str:
    return outcome.value.upper().replace("_", " ")
