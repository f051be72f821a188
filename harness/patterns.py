"""People's regular expressions, held against text that somebody else has written, in time linear in that text.

Python's `re` backtracks: `(a+)+$` takes exponential time on one short line, and holds the interpreter meanwhile. RE2
does not, but has neither look-around assertions nor back-references (https://github.com/google/re2/wiki/Syntax).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T", str, bytes)

_MEMORY = 8 << 20
"""Bytes that RE2 may use for one expression; it takes longer with less, but no more than linear time."""


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """Where an expression matched: `start` and `end` in the text, and the `text` between them."""

    start: int
    end: int
    text: T


class LinearPattern(Generic[T]):
    """A regular expression that is searched for in time linear in the text. Thread-safe."""

    def __init__(self, text: T, *, multiline: bool = False) -> None:
        """With `multiline`, `^` and `$` match at the start and end of each line. Raises ValueError, with words for the
        person who wrote it, where it is not a regular expression or needs backtracking."""
        self.text: T = text
        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{text!r} is not a regular expression: {error}") from None
        source = _translated(text)
        if multiline:
            source = ("(?m)" if isinstance(source, str) else b"(?m)") + source
        self._compiled = _compile(source, text)

    def search(self, text: T) -> Found[T] | None:
        """Return the first match in `text`, or None."""
        try:
            match = self._compiled.search(text)
        except UnicodeEncodeError:  # a lone surrogate, which RE2's UTF-8 cannot hold
            assert isinstance(text, str), "bytes are not encoded"
            text = text.encode("utf-8", "backslashreplace").decode()
            match = self._compiled.search(text)
        return None if match is None else Found(match.start(), match.end(), match[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearPattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def _compile(source: T, text: T) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    if isinstance(source, bytes):
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(source, options)
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    except re2.error as error:
        why = error.args[0] if error.args else error
        words = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        raise ValueError(
            f"{text!r} cannot be matched in linear time: {words}; look-around assertions and back-references are not"
            " supported here, since the text that is searched comes from a target"
        ) from None


def _translated(text: T) -> T:
    """Python's `\\Z` is RE2's `\\z`; all else that both have is written alike."""
    if isinstance(text, bytes):
        return re.sub(rb"\\(.)", lambda m: rb"\z" if m[1] == b"Z" else m[0], text, flags=re.DOTALL)
    return re.sub(r"\\(.)", lambda m: r"\z" if m[1] == "Z" else m[0], text, flags=re.DOTALL)
