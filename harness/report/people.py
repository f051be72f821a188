"""Events as lines for people: aligned, in local time, in colour on a terminal."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from harness.events import Record
from harness.report.shown import shown

_ACTION = 18
_COMMAND = 240
_NANOSECONDS = 1_000_000_000
_PLAIN = "\x1b[0m"
_BOLD = "\x1b[1m"
_DIM = "\x1b[2m"
_LEVEL = {"error": "\x1b[1;31m", "warning": "\x1b[33m", "debug": _DIM}
_OUTCOME = {"passed": "\x1b[32m", "skipped": "\x1b[33m", "failed": "\x1b[1;31m", "error": "\x1b[1;31m"}
_OUTCOME["unreachable"] = "\x1b[1;35m"


class PeopleLines:
    """Makes lines of events. A column is as wide as what stood in it so far."""

    def __init__(self, *, colour: bool = False) -> None:
        self._colour = colour
        self._targets = 0

    def expect(self, target: str) -> None:
        """A target that will come, so that its column is wide enough from the first line on."""
        self._targets = max(self._targets, len(shown(target)))

    def line(self, event: Record) -> str:
        """One event, without a newline at its end. What has several lines is indented below the first."""
        target = event.get("host.name", "")
        self.expect(target)
        level = event.get("log.level", "")
        action = event.get("event.action", "")
        head = [f"{event.get('event.sequence', 0):>6}", local_time(event.get("@timestamp", ""))]
        head += [f"{shown(target):<{self._targets}}"] if self._targets else []
        head += [f"{level:<7}", f"{action:<{_ACTION}}"]
        first, *more = words(event).split("\n") or [""]
        indent = " " * (len("  ".join(head)) + 2)
        text = "\n".join([shown(first), *(f"{indent}{shown(each)}" for each in more)])
        if self._colour:
            style = _OUTCOME.get(event.get("harness.outcome", ""), "") if action == "check.end" else ""
            style = style or _LEVEL.get(level, "")
            head = [f"{_DIM}{head[0]}{_PLAIN}", f"{_DIM}{head[1]}{_PLAIN}", *head[2:]]
            if self._targets:
                head[2] = f"{_BOLD}{head[2]}{_PLAIN}"
            text = f"{style}{text}{_PLAIN}" if style else text
        return "  ".join([*head, text]).rstrip()


def words(event: Record) -> str:
    """What an event says in a few words: its message, and what a person needs beside it."""
    action, message = event.get("event.action"), str(event.get("message", "")).rstrip("\r\n")
    if action == "command":
        notes = [event.get("harness.transport", ""), seconds(event), check(event)]
        command = " ".join(str(event.get("harness.command", "")).split())
        command = command if len(command) <= _COMMAND else f"{command[:_COMMAND]}…"
        return f"$ {command} → {message} ({', '.join(each for each in notes if each)})"
    if action == "console.input":
        return f"> {message}"
    if action == "console.line":
        return f"| {message}"
    if event.get("harness.stack"):
        return f"{message}\n{str(event['harness.stack']).rstrip()}"
    return message


def check(event: Record) -> str:
    """The check that an event belongs to, and the attempt."""
    if "test.case.name" not in event:
        return ""
    number = event.get("harness.attempt")
    label = f"{event.get('test.suite.name', '')}::{event['test.case.name']}"
    return f"{label}, attempt {number}" if number else label


def seconds(event: Record) -> str:
    """How long it took; nothing where the event does not say."""
    if "event.duration" not in event:
        return ""
    value = event["event.duration"] / _NANOSECONDS
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def local_time(stamp: str) -> str:
    """`11-23 07:31:02.123` of a timestamp of the record, in local time; as it is where it is none."""
    try:
        return _local_second(stamp[:19]) + stamp[19:23]
    except (ValueError, OverflowError):
        return stamp


@lru_cache(maxsize=8)
def _local_second(stamp: str) -> str:
    """Thousands of events share a second."""
    return datetime.fromisoformat(f"{stamp}+00:00").astimezone().isoformat(sep=" ")[5:19]
