"""Where each value was written, and the text of every file that was read.

A `Place` is small on purpose: an inventory of 10,000 hosts holds some hundred thousand of them, and
nearly none is ever shown. What a person sees (the line, the column under the caret) is worked out when asked.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.errors import Source, UsageError

MASK = "********"
_SECRET_WORDS = (
    "pass|passwd|password|passphrase|passcode|secret|token|credentials?"  # noqa: S105 - names only
    "|(?:private|api|access|secret|auth|encryption|signing|shared)_key"
)
_SECRET_NAME = re.compile(rf"(?:^|_)(?:{_SECRET_WORDS})$", re.IGNORECASE)
_SECRET_IN_LINE = re.compile(
    rf"""((?:\b|_)(?:{_SECRET_WORDS})["']?\s*[=:]\s*)("[^"]*"|'[^']*'|\S.*?(?=\s+\w+=|$))""", re.IGNORECASE
)
_SECRET_IN_URL = re.compile(r"(?<=://)([^\s/?#@:]*):[^\s/?#@]*@")


def is_secret_name(name: str) -> bool:
    """Whether a variable's name says that its value must not be shown (`ansible_password`, `api_token`)."""
    return _SECRET_NAME.search(name) is not None


def mask_secrets(line: str) -> str:
    """A line of an inventory with the values of such variables, and the passwords in URLs, masked."""
    return _SECRET_IN_URL.sub(rf"\1:{MASK}@", _SECRET_IN_LINE.sub(rf"\g<1>{MASK}", line))


class Place(NamedTuple):
    """A file (or `-e`, or a host list), a line and a column from 1; 0 means unknown."""

    path: str
    line: int = 0
    column: int = 0


class Assigned(NamedTuple):
    """A variable's value, where it was given, and what the same entity (host or group) held before it."""

    value: object
    place: Place
    previous: Assigned | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something in an inventory that works but is probably not meant: where, and what."""

    message: str
    source: Source | None = None

    def __str__(self) -> str:
        return f"{self.source}: {self.message}" if self.source else self.message


def _find(text: str, word: str) -> int:
    """Where a word stands in a line, -1 for nowhere: as the name of a value if it can be, else as a whole word."""
    name = re.escape(word)
    for shape in (rf"(?<![\w-]){name}[\"']?\s*[=:]", rf"(?<![\w-]){name}(?![\w-])"):
        if match := re.search(shape, text):
            return match.start()
    return text.find(word)


@dataclass(slots=True)
class Book:
    """The lines of all files read so far, so that a place can be shown with its text.

    `sealed` holds the paths of vault-encrypted files: their text is never shown.
    """

    texts: dict[str, list[str]] = field(default_factory=dict)
    sealed: set[str] = field(default_factory=set)

    def keep(self, path: str, lines: list[str], *, sealed: bool = False) -> None:
        """Remembers a file's lines, for errors and explanations."""
        self.texts[path] = lines
        if sealed:
            self.sealed.add(path)

    def source(self, place: Place, word: str = "") -> Source:
        """The place with its line, secrets masked. `word` finds the column where the reader kept none."""
        lines = self.texts.get(place.path)
        if place.path in self.sealed or not lines or not 0 < place.line <= len(lines):
            return Source(place.path, place.line, place.column)
        line = lines[place.line - 1].rstrip()
        text = mask_secrets(line)
        column = place.column
        if (not column and word) or text[: column - 1] != line[: column - 1]:
            # Masking has moved what stands behind it.
            column = _find(text, word) + 1 if word else 0
        return Source(place.path, place.line, column, text)

    def error(self, message: str, place: Place, *, word: str = "", hint: str = "") -> UsageError:
        """The error to raise for something wrong at `place`."""
        return UsageError(message, source=self.source(place, word), hint=hint)


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.65) -> str:
    """`did you mean x?` for the closest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {close[0]!r}?" if close else ""
