"""Time bounds for templates and for the regular expressions in them, in any thread.

In the main thread SIGALRM ends a template, also within one regular expression: `re` lets signal handlers run. In other
threads, and where somebody else uses the alarm (pytest-timeout), an exception is raised in the thread from outside.
That cannot interrupt `re`, which holds the interpreter meanwhile, so an expression that could backtrack is searched in
a process of its own there.
"""

from __future__ import annotations

import ctypes
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

SECONDS = 10.0
"""Of one template."""
_SHORT = 10_000  # characters in which one repetition costs little, even where it is tried at each of them
_REPETITIONS = re.compile(r"[*+?{]")
_BOUNDED: ContextVar[bool] = ContextVar("bounded", default=False)


_MOST_BITS = 14_000
"""Bits of a whole number: Python refuses to write one of more than 4,300 decimal digits."""


def bounded_number(value: int) -> int:
    """Return the number. Raises ValueError for one that cannot be written in decimal digits, which any base but ten
    can name."""
    if value.bit_length() > _MOST_BITS:
        raise ValueError("a whole number of more than 4,200 digits")
    return value


def require_bounded_numbers(value: object) -> None:
    """Raise ValueError where a number in these lists and mappings cannot be written in decimal digits."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, int):
            bounded_number(item)


class TooLongError(Exception):
    """A template did not come to its end in time."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or f"it takes longer than {SECONDS:g} s")


@contextmanager
def time_bound(seconds: float | None = None) -> Iterator[None]:
    """End a template that takes longer, with TooLongError. A template within one shares the bound of the outer one.

    Parameters: `seconds` (SECONDS by default).
    """
    if _BOUNDED.get():
        yield
        return
    token = _BOUNDED.set(True)
    try:
        with _alarm(seconds or SECONDS) if _alarm_is_free() else _watchdog(seconds or SECONDS):
            yield
    finally:
        _BOUNDED.reset(token)


def _alarm_is_free() -> bool:
    return threading.current_thread() is threading.main_thread() and not signal.getitimer(signal.ITIMER_REAL)[0]


def _expired(_number: int, _frame: object) -> None:
    raise TooLongError


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _watchdog(seconds: float) -> Iterator[None]:
    """Raise TooLongError in this thread when the time is over, between two steps of the interpreter."""
    thread = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    ended = False

    def expire() -> None:
        with lock:
            if not ended:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TooLongError))

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            ended = True
        timer.cancel()


def _interruptible() -> bool:
    """Return whether the alarm would end a regular expression that is searched now."""
    return threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGALRM) is _expired


def regex(kind: str, pattern: str, text: str, flags: int, replacement: str = "") -> Any:
    """Search a text within the bound of the template.

    `kind` is `sub` (returns the new text), `findall` (a list), or `search`, `match`, `fullmatch` (return None, or
    {"groups": [group 0, 1, …], "names": {name: number}}).

    Raises re.error, IndexError, and TooLongError where it takes too long.
    """
    if _interruptible() or _cheap(pattern, len(text)):
        return _regex(kind, pattern, text, flags, replacement)
    re.compile(pattern, flags)  # its errors are raised here
    found = _in_a_process(kind, pattern, text, flags, replacement)
    return [tuple(item) if isinstance(item, list) else item for item in found] if kind == "findall" else found


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names at whose start the regular expression matches, as `re.match` has it.

    Raises re.error, and TooLongError where it takes longer than a template may.
    """
    names = list(names)
    matches = re.compile(pattern).match
    if _cheap(pattern, max(map(len, names), default=0)):
        return [name for name in names if matches(name)]
    with time_bound():
        if _interruptible():
            return [name for name in names if matches(name)]
        return [str(name) for name in _in_a_process("names", pattern, names, 0, "")]


def _cheap(pattern: str, length: int) -> bool:
    """Return whether a text of this length cannot make the expression backtrack for long."""
    repetitions = len(_REPETITIONS.findall(pattern))
    return length <= _SHORT and (repetitions == 0 or (repetitions == 1 and "|" not in pattern))


def _in_a_process(kind: str, pattern: str, text: str | list[str], flags: int, replacement: str) -> Any:
    request = json.dumps([kind, pattern, text, flags, replacement]).encode()
    command = [sys.executable, "-I", "-S", "-c", _CHILD, str(SECONDS)]
    try:
        done = subprocess.run(command, input=request, capture_output=True, timeout=SECONDS * 3, check=False)
    except subprocess.TimeoutExpired:
        raise TooLongError from None
    if done.returncode:
        if done.returncode < 0:
            raise TooLongError
        words = done.stderr.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
        raise ValueError(words.partition(": ")[2] or words)
    return json.loads(done.stdout)


def _regex(kind: str, pattern: str, text: str, flags: int, replacement: str) -> Any:
    if kind == "sub":
        return re.sub(pattern, replacement, text, flags=flags)
    if kind == "findall":
        return re.findall(pattern, text, flags)
    match = getattr(re.compile(pattern, flags), kind)(text)
    return match and {"groups": [match[0], *match.groups()], "names": dict(match.re.groupindex)}


# The kernel ends it when its processor time is over: `re` runs no handler of Python's there either way.
_CHILD = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(float(sys.argv[1])), int(float(sys.argv[1])) + 1))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
kind, pattern, text, flags, replacement = json.load(sys.stdin)
if kind == "sub":
    found = re.sub(pattern, replacement, text, flags=flags)
elif kind == "findall":
    found = re.findall(pattern, text, flags)
elif kind == "names":
    found = [name for name in text if re.match(pattern, name)]
else:
    match = getattr(re.compile(pattern, flags), kind)(text)
    found = match and {"groups": [match[0], *match.groups()], "names": dict(match.re.groupindex)}
print(json.dumps(found))
"""
