"""Keeps secrets out of the record."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from enum import StrEnum
from itertools import groupby
from typing import Any
from urllib.parse import quote

from harness.events.hexdumps import spans_in_dumps

MASK = "********"
NAMES = frozenset({"run", "target", "check", "module", "check_id", "outcome", "transports"})
"""Fields that name things and never hold what a machine or a person said. A lab's password is often also a host's
name or a name in the record; masked there, the record could no longer be put together."""
_SHORTEST = 3  # masking shorter ones would eat ordinary text and still not hide them
_SHORTEST_ENCODED = 6  # the base64 form of a shorter one is short enough to be met by chance
_GRAM = 4
_SHORT = 48  # characters of a text that is likely to come again
_MOST_CLEAN = 4096
_BEGINNING = 6
_LONGEST = 512  # of a secret that is looked for in pieces; longer ones are masked where they stand whole
_DUMP_LINE = 80  # characters of a line of 16 bytes, as hexdump -C and od write it
# The end of a line, as it is and as a text's escape, with and without what indents the next one; a terminal's colours.
_COLOUR = r"\x1b\[[0-9;:?]*[A-Za-z]"
# Each way begins with a character, so that `re` looks for one of these first, and quickly.
_GAP = rf"(?:{_COLOUR}|\r\n%s|\n%s|\\(?:r\\)?n%s)"
_GAPS = tuple(re.compile(f"{way}{way}*") for way in (_GAP.replace("%s", indent) for indent in ("[ \t]*", "")))
# In double quotes YAML writes a backslash at the end of a line, and one before a blank that begins the next.
_ESCAPED_END = re.compile(r"\\\r?\n[ \t]*(?:\\(?=[ \t]))?")
# YAML, fmt and terminals that wrap words put the end of a line in the place of a blank.
_FOLDS = re.compile(r"\r?\n[ \t]*")
_CUT = re.compile(r"…|\.\.\.")


class Redactor:
    """Replaces each known secret, wherever it stands in a record's strings. Not thread-safe."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._bytes: set[bytes] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lines: list[str] = []
        self._grams: frozenset[str] = frozenset()
        self._stale = False
        self._has_blanks = False  # whether a secret has one within, where a line may be wrapped
        self._clean: set[str] = set()  # short texts without a secret: names of fields, of targets, of actions
        self.longest = 0
        """Characters that the longest secret takes in one of its forms, those of more than a line left out."""

    def add(self, secret: str) -> None:
        """Makes a value unprintable from now on; each line of a many-line secret (a private key) counts by itself."""
        known = len(self._forms)
        for part in (secret, *secret.splitlines()):
            if len(part.strip()) >= _SHORTEST:
                self._forms.update(form for form in _forms(part) if len(form) >= _SHORTEST)
                self._bytes.add(part.encode("utf-8", "surrogatepass"))
        # To prepare for thousands takes a second: fifty machines of one image have one password.
        self._stale = self._stale or len(self._forms) > known

    def __call__(self, value: Any) -> Any:
        """The value with all secrets masked."""
        if not self._forms:
            return value
        if type(value) is str:
            return self.text(value)
        if isinstance(value, StrEnum):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self(item) for item in value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value) if field.name not in NAMES]
            return dataclasses.replace(value, **{name: self(getattr(value, name)) for name in names})
        return value

    def text(self, text: str) -> str:
        """The text with all secrets masked, also the beginning of one that was cut with a mark (`…`, `...`)."""
        if self._stale:
            self._prepare()
        if self._pattern is None or text in self._clean:
            return text
        masked = self._masked(text, self._pattern)
        if len(text) <= _SHORT and masked == text:
            if len(self._clean) >= _MOST_CLEAN:
                self._clean.clear()
            self._clean.add(text)
        return masked

    def _masked(self, text: str, pattern: re.Pattern[str]) -> str:
        for start, end in reversed(spans_in_dumps(text, self._bytes)):
            text = f"{text[:start]}{MASK}{text[end:]}"
        text = pattern.sub(MASK, text)
        if "\n" in text or "\x1b" in text or "\\n" in text:
            for start, end in reversed(self._across_gaps(text)):
                text = f"{text[:start]}{MASK}{text[end:]}"
        if "…" in text or "..." in text:
            for mark in reversed(list(_CUT.finditer(text))):
                if begun := self.begun(text[: mark.start()]):
                    text = f"{text[: mark.start() - begun]}{MASK}{text[mark.start() :]}"
        return text

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where secrets are in a text that goes on."""
        if self._stale:
            self._prepare()
        if self._pattern is None:
            return []
        found = (match.span() for match in self._pattern.finditer(text))
        return sorted([*found, *self._across_gaps(text), *spans_in_dumps(text, self._bytes, goes_on=True)])

    def _across_gaps(self, text: str) -> list[tuple[int, int]]:
        """Where secrets stand that have the end of a line, or a terminal's colour, within."""
        found: list[tuple[int, int]] = []
        before: list[tuple[int, int]] = []
        ways = [(gap, "") for gap in _GAPS]
        if "\\\n" in text or "\\\r\n" in text:
            ways.append((_ESCAPED_END, ""))
        if self._has_blanks:
            ways.append((_FOLDS, " "))
        for gap, instead in ways:
            gaps = [match.span() for match in gap.finditer(text)]
            if not gaps or (not instead and gaps == before):  # nothing is indented
                continue
            before = gaps
            found += [
                span
                for span in self._across(text, gap, gaps, instead)
                if all(span[0] >= end or span[1] <= at for at, end in found)
            ]
        return sorted(found)

    def _across(
        self, text: str, gap: re.Pattern[str], gaps: list[tuple[int, int]], instead: str = ""
    ) -> list[tuple[int, int]]:
        """Return where secrets are in the text once its gaps are replaced by `instead`."""
        assert self._pattern is not None, "it was prepared"
        places: list[int] = []  # in the text without its gaps, where each of them was
        removed: list[int] = []  # how much is gone behind it
        gone = 0
        for start, end in gaps:
            places.append(start - gone)
            gone += end - start - len(instead)
            removed.append(gone)
        found = []
        for match in self._pattern.finditer(gap.sub(instead, text)):
            before, behind = bisect_right(places, match.start()), bisect_left(places, match.end())
            if behind > before and match.end() - match.start() >= _SHORTEST_ENCODED:
                start = match.start() + (removed[before - 1] if before else 0)
                found.append((start, match.end() + removed[behind - 1]))
        return found

    def begun(self, text: str) -> int:
        """How many characters at the end of the text are the beginning of a secret that is not yet whole.

        Few characters say nothing: `root` is no hint of `root4711`. So they must be six, or four and two thirds of it.
        """
        if self._stale:
            self._prepare()
        if text[-_GRAM:] not in self._grams:
            return 0
        for size in range(min(self.longest - 1, len(text)), _GRAM - 1, -1):
            end = text[-size:]
            place = bisect_left(self._lines, end)
            if place < len(self._lines) and self._lines[place].startswith(end):
                whole = len(self._lines[place])
                if size < whole and (size >= _BEGINNING or size * 3 >= whole * 2):
                    return size
        return 0

    def _prepare(self) -> None:
        self._stale = False
        self._clean.clear()
        self._has_blanks = any(b" " in secret.strip() for secret in self._bytes)
        self._pattern = re.compile(_any_of(sorted(self._forms))) if self._forms else None
        self._lines = sorted(form for form in self._forms if len(form) <= _LONGEST and "\n" not in form)
        dumped = (_DUMP_LINE * (2 + len(secret) // 16) for secret in self._bytes if len(secret) <= _LONGEST)
        self.longest = max(max(map(len, self._lines), default=0), *dumped, 0)
        self._grams = frozenset(
            form[at : at + _GRAM] for form in self._lines for at in range(max(0, len(form) - _GRAM))
        )


def _forms(secret: str) -> Iterable[str]:
    """A secret as it is, and as Python, JSON, YAML, XML, shells, URLs, base64 and hexadecimal write it."""
    yield from (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    # A shell's form without its outer quotes: what stands before it in the word (`name=`) is quoted along.
    yield secret.replace("'", "'\"'\"'")
    yield ascii(secret)[1:-1]
    data = secret.encode("utf-8", "surrogatepass")
    # As text of a console and of a damaged stream is shown.
    yield data.decode("ascii", "backslashreplace")
    yield repr(data)[2:-1]
    for text in (quote(data), quote(data, safe="")):
        yield text
        yield quote(text)
        yield re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), text)
        yield text.replace("%20", "+")
    yield from _shell_forms(secret)
    yield from _markup_forms(secret)
    yield from _yaml_forms(secret)
    for text in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield text.replace("/", "\\/")
        yield text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    if len(data) >= _SHORTEST_ENCODED:
        yield from _base64_forms(data)
        yield from _hex_forms(data)
        # An array of numbers: journalctl's JSON has one for a field that is not printable.
        yield from (separator.join(map(str, data)) for separator in (", ", ",", " "))


# What bash's `printf %q` puts a backslash before: all but these. `#` and `~` only where they stand first.
_NOT_QUOTED = re.compile(r"(?![^\x00-\x7f])[^A-Za-z0-9_./:=@%+#~-]")


_BASH_NAMES = {
    "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r", "\x1b": "\\E"
}  # fmt: skip


def _shell_forms(secret: str) -> Iterable[str]:
    yield secret.replace("'", "'\\''")
    backslashed = _NOT_QUOTED.sub(lambda char: f"\\{char[0]}", secret)
    yield backslashed
    yield re.sub("^[#~]", lambda char: f"\\{char[0]}", backslashed)
    # $'...', as bash writes what is not printable.
    yield "".join(f"\\{char}" if char in "\\'" else char for char in secret)
    for printable in (str.isascii, str.isprintable):
        for names in ({}, _BASH_NAMES):
            yield "".join(_in_dollar_quotes(char, names, printable=printable(char)) for char in secret)


def _in_dollar_quotes(char: str, names: Mapping[str, str], *, printable: bool) -> str:
    """Return a character as bash writes it in $'...': printable in its locale, by a name, or its bytes in octal."""
    if char in "\\'":
        return f"\\{char}"
    if printable and char.isprintable():
        return char
    return names.get(char) or "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogatepass"))


def _markup_forms(secret: str) -> Iterable[str]:
    plain = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for double in ("&quot;", "&#34;", "&#x22;"):
        for single in ("'", "&#x27;", "&#39;", "&apos;"):
            form = plain.replace('"', double).replace("'", single)
            yield form
            yield form.encode("ascii", "xmlcharrefreplace").decode()
            yield form.replace("\t", "&#9;").replace("\n", "&#10;").replace("\r", "&#13;")
    yield plain


def _yaml_forms(secret: str) -> Iterable[str]:
    yield secret.replace("'", "''")
    named = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\x1b": "\\e", "\0": "\\0", "\a": "\\a", "\b": "\\b"}
    out = []
    for char in secret:
        code = ord(char)
        if char in '"\\':
            out.append(f"\\{char}")
        elif 32 <= code < 127:
            out.append(char)
        else:
            width, letter = (2, "x") if code < 0x100 else (4, "u") if code < 0x10000 else (8, "U")
            out.append(named.get(char, f"\\{letter}{code:0{width}X}"))
    yield "".join(out)


def _hex_forms(data: bytes) -> Iterable[str]:
    escaped = "".join(f"\\x{byte:02x}" for byte in data)
    pairs = (data.hex(), data.hex(" "), data.hex(":"), data.hex(" ", -2), data[1:].hex(" ", -2))
    for form in (*pairs, escaped):
        yield form
        yield form.upper().replace("\\X", "\\x")


def _base64_forms(data: bytes) -> Iterable[str]:
    """The characters that depend on the secret alone, wherever in the encoded bytes it stands (three alignments)."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        first = (before * 8 + 5) // 6
        last = (before + len(data)) * 8 // 6
        yield encoded[first:last]
        yield encoded[first:last].replace("+", "-").replace("/", "_")


def _any_of(forms: list[str]) -> str:
    """A regular expression for the longest of these that stands at a place: common beginnings are tried once, so that
    a thousand secrets cost little more than one. `forms` are sorted."""
    ways = []
    for _, group in groupby((form for form in forms if form), key=lambda form: form[0]):
        some = list(group)
        common = os.path.commonprefix(some)  # noqa: RUF071 (of texts, not paths)
        rest = [form[len(common) :] for form in some]
        if len(some) == 1:
            ways.append(re.escape(common))
        else:
            ways.append(f"{re.escape(common)}(?:{_any_of(rest)}){'' if rest[0] else '?'}")
    return "|".join(ways)
