"""Says what an assertion saw: its source line, and the values of the names in it."""

from __future__ import annotations

import ast
import linecache
import textwrap
import traceback
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType, TracebackType

from harness.api.watched import Part, seen, watched_parts

_LONGEST = 300


def explain(error: BaseException, filename: str) -> str:
    """One or two lines for a person: the message, or else the assertion with the values it was about.

    `filename` is the check's own file: of all frames, the last one in it is the one that its author knows.
    """
    message = _words(error)
    frame, line = _frame_in(error.__traceback__, filename)
    if frame is None:
        return message or type(error).__name__
    if not isinstance(error, AssertionError):
        return f"{type(error).__name__}: {message}  (line {line}: {_source(frame, line)})"
    if message:
        return message
    asserted = _asserted(frame.f_code.co_filename, line)
    if asserted is None:
        return f"assertion failed in line {line}: {_source(frame, line)}"
    values = ", ".join(f"{name} = {_short(value)}" for name, value in _values(asserted, frame))
    said = f"assert {asserted.text}  (line {line})"
    return f"{said}, where {values}" if values else said


def location(error: BaseException, filename: str) -> str:
    """`file:line` of the last frame in the check's file, or an empty string."""
    frame, line = _frame_in(error.__traceback__, filename)
    return f"{filename}:{line}" if frame is not None else ""


def stack(error: BaseException) -> str:
    """The whole traceback, for the record only (never with local variables)."""
    return "".join(traceback.format_exception(error))


def _frame_in(tb: TracebackType | None, filename: str) -> tuple[FrameType | None, int]:
    found: tuple[FrameType | None, int] = (None, 0)
    while tb is not None:
        if tb.tb_frame.f_code.co_filename == filename:
            found = (tb.tb_frame, tb.tb_lineno)
        tb = tb.tb_next
    return found


def _source(frame: FrameType, line: int) -> str:
    return linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()


@dataclass(frozen=True, slots=True)
class _Asserted:
    """An assertion as it is written, and the names and attributes in it that have values to show."""

    text: str
    names: tuple[tuple[str, ast.Attribute | ast.Name], ...]
    watched: tuple[Part, ...]


@lru_cache(maxsize=1024)
def _asserted(filename: str, line: int) -> _Asserted | None:
    """The innermost assertion that stands on this line. Kept: a check that waits fails on the same line again."""
    inner = None
    for node in _assertions(filename):
        if node.lineno <= line <= (node.end_lineno or node.lineno):
            inner = node
    if inner is None:
        return None
    names: dict[str, ast.Attribute | ast.Name] = {}
    called = {id(part) for call in ast.walk(inner.test) if isinstance(call, ast.Call) for part in ast.walk(call.func)}
    for part in ast.walk(inner.test):
        if id(part) in called:
            continue  # `target` in `target.read(…)`: what it is called on is no news
        if not isinstance(part, ast.Attribute | ast.Name) or not isinstance(part.ctx, ast.Load):
            continue
        # Nothing is called to show a value, so nothing is done twice.
        if not any(isinstance(within, ast.Call | ast.Subscript) for within in ast.walk(part)):
            names[ast.unparse(part)] = part
    return _Asserted(ast.unparse(inner.test), tuple(names.items()), watched_parts(inner.test))


@lru_cache(maxsize=64)
def _assertions(filename: str) -> tuple[ast.Assert, ...]:
    try:
        tree = ast.parse(textwrap.dedent("".join(linecache.getlines(filename))))
    except SyntaxError:
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.Assert))


def _values(asserted: _Asserted, frame: FrameType) -> list[tuple[str, object]]:
    """The names in the assertion with their values."""
    found = {name: _lookup(node, frame) for name, node in asserted.names}
    known = {name: value for name, value in found.items() if value is not _UNKNOWN and not callable(value)}
    # `result` says nothing that `result.out` does not say better.
    short = [(n, v) for n, v in known.items() if not any(other.startswith(f"{n}.") for other in known)]
    return [*seen(asserted.watched, frame.f_locals), *short]


_UNKNOWN = object()


def _lookup(node: ast.expr, frame: FrameType) -> object:
    if isinstance(node, ast.Name):
        if node.id in frame.f_locals:
            return frame.f_locals[node.id]
        return frame.f_globals.get(node.id, _UNKNOWN)
    if isinstance(node, ast.Attribute):
        owner = _lookup(node.value, frame)
        if owner is _UNKNOWN:
            return _UNKNOWN
        try:
            return getattr(owner, node.attr)
        except Exception:  # a property of the check's own objects may raise anything; then there is no value to show
            return _UNKNOWN
    return _UNKNOWN


def _words(error: BaseException) -> str:
    """The error's own words; an exception of the check's own may have none that can be had."""
    try:
        return str(error).strip()
    except Exception as worse:
        return f"(no words: its __str__ raised {type(worse).__name__})"


def _short(value: object) -> str:
    try:
        told = getattr(value, "__seen__", None)
        text = repr(value) if told is None else str(told())
    except Exception as worse:  # a `__repr__` of the check's own objects may raise anything
        text = f"<{type(value).__name__}, whose __repr__ raised {type(worse).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
