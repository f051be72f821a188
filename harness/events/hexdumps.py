"""Secrets in the output of xxd, hexdump and od, and in arrays of C: the bytes that a dump shows, wherever its lines
break them up, and the column of text beside them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

_SHORTEST = 6
"""Bytes of a secret that is looked for: fewer are met in a dump by chance."""
_LONGEST_LINE = 2048
"""Characters of a line of a dump: xxd writes 256 bytes in 900."""
_BYTES = r"(?:[0-9A-Fa-f]{2}){1,8}+"
# xxd has one blank between groups, and two before the text, which may look like one more group.
_XXD = re.compile(rf"[ \t]*+[0-9A-Fa-f]{{1,16}}+: (?P<hex>{_BYTES}(?: {_BYTES}(?=\s|$))*+)(?=\s|$)")
_OTHER = re.compile(
    rf"[ \t]*+(?:[0-9A-Fa-f]{{6,16}}+[ \t]++)?+"
    rf"(?P<hex>(?:0x)?{_BYTES}(?:,?[ \t]{{1,3}}+(?:0x)?{_BYTES}(?=[\s,]|$))*+)(?=[\s,]|$)"
)
_GROUP = re.compile(r"(?:0x)?(?P<digits>(?:[0-9A-Fa-f]{2})+)[\s,]*")
_OFFSET = re.compile(r"[0-7]{6,16}(?= )|")
_COLUMN = re.compile(r"  (?: (?P<one>[^\n])|(?P<escape>\\[0abtnvfr])|(?P<more>\*\*))| (?P<octal>[0-7]{3})")
_ESCAPES = {"\\0": 0, "\\a": 7, "\\b": 8, "\\t": 9, "\\n": 10, "\\v": 11, "\\f": 12, "\\r": 13}
# What a line of one of them begins with: three groups, or four columns of characters. Texts are searched for it behind
# line ends alone, which is quick.
_LIKELY = (
    r"[ \t]{0,8}+(?:[0-9A-Fa-f]{1,16}+:?[ \t]{1,2}+)?+(?:(?:0x)?[0-9A-Fa-f]{2,16}+,?[ \t]{1,2}+){2}"
    r"(?:0x)?[0-9A-Fa-f]{2}"
    r"|(?:[0-7]{6,16}+)?+(?:   \S|  \\[0abtnvfr]| [0-7]{3}){4}"
)
_FIRST, _LATER = re.compile(_LIKELY), re.compile(rf"\n(?:{_LIKELY})")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a dump as bytes. `begin` is where they begin in the text, `end` the end of the line."""

    data: bytes
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of dump: `read` returns a line of it (from, to), or None; `place` where in the text a byte of it is."""

    read: Callable[[str, int, int], _Line | None]
    place: Callable[[str, _Line, int], int]


def spans_in_dumps(text: str, secrets: Iterable[bytes], *, goes_on: bool = False) -> list[tuple[int, int]]:
    """Return the spans of a text in which a dump shows one of these secrets: in each of its lines from the first byte
    of the secret to the end, so that the column of text goes with it. They do not overlap. Where the text `goes_on`,
    the beginning of a secret (six bytes of it) at the end of a dump counts, too."""
    if not (_FIRST.match(text) or _LATER.search(text)):
        return []
    sought = [secret for secret in secrets if len(secret) >= _SHORTEST]
    begins: dict[int, int] = {}  # of a span, by its end
    for kind in _KINDS:
        for block in _blocks(text, kind.read):
            unfinished = goes_on and not text[block[-1].end :].strip("\r\n")
            for line, byte in _in_block(block, sought, unfinished):
                begin = kind.place(text, line, byte)
                begins[line.end] = min(begin, begins.get(line.end, begin))
    return sorted((begin, end) for end, begin in begins.items())


def _in_block(block: list[_Line], secrets: list[bytes], unfinished: bool) -> Iterator[tuple[_Line, int]]:
    """Yield the lines with bytes of a secret, each with the place of the first of them in its data."""
    data = b"".join(line.data for line in block)
    begins: list[int] = []
    for secret in secrets:
        for at, size in _found(data, secret, unfinished):
            if not begins:
                begins = [0]
                for line in block:
                    begins.append(begins[-1] + len(line.data))
            for number in range(bisect_right(begins, at) - 1, bisect_left(begins, at + size)):
                yield block[number], max(0, at - begins[number])


def _found(data: bytes, secret: bytes, unfinished: bool) -> Iterator[tuple[int, int]]:
    """Yield where the secret is, and its size; its beginning, where that is all there is at the end."""
    at = data.find(secret)
    while at >= 0:
        yield at, len(secret)
        at = data.find(secret, at + 1)
    if unfinished:
        for size in range(min(len(secret) - 1, len(data)), _SHORTEST - 1, -1):
            if data.endswith(secret[:size]):
                yield len(data) - size, size
                break


def _blocks(text: str, read: Callable[[str, int, int], _Line | None]) -> Iterator[list[_Line]]:
    """Yield the lines of a dump that follow each other."""
    block: list[_Line] = []
    ends = [-1, *(match.start() for match in re.finditer("\n", text)), len(text)]
    for before, end in pairwise(ends):
        line = read(text, before + 1, end) if end - before <= _LONGEST_LINE else None
        if line is not None:
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


# -- digits ------------------------------------------------------------------------------------------------------------


def _hexadecimal(text: str, at: int, end: int) -> _Line | None:
    """`00000000: 7333 6372  s3cr`, `00000000  73 33  |s3|`, ` 73 33`, `0x73, 0x33,`; None for another line."""
    match = _XXD.match(text, at, end) or _OTHER.match(text, at, end)
    if match is None:
        return None
    return _Line(bytes.fromhex(match["hex"].replace("0x", "").replace(",", " ")), match.start("hex"), end)


def _swapped(text: str, at: int, end: int) -> _Line | None:
    """The same with words whose low byte comes last, as hexdump without options writes them."""
    match = _XXD.match(text, at, end) or _OTHER.match(text, at, end)
    if match is None:
        return None
    words = match["hex"].split()
    if len(words[0]) == 2:
        return None
    data = b"".join(bytes.fromhex(word.removeprefix("0x").rstrip(","))[::-1] for word in words)
    return _Line(data, match.start("hex"), end)


def _place_of_digits(text: str, line: _Line, byte: int) -> int:
    at, seen = line.begin, 0
    while (group := _GROUP.match(text, at, line.end)) is not None:
        size = len(group["digits"]) // 2
        if byte < seen + size:
            return group.start("digits") + 2 * (byte - seen)
        seen += size
        at = group.end()
    return line.begin


def _place_of_word(text: str, line: _Line, byte: int) -> int:
    at, seen = line.begin, 0
    while (group := _GROUP.match(text, at, line.end)) is not None:
        seen += len(group["digits"]) // 2
        if byte < seen:
            return group.start("digits")
        at = group.end()
    return line.begin


# -- characters --------------------------------------------------------------------------------------------------------


def _characters(text: str, at: int, end: int) -> _Line | None:
    r"""`0000000   s   3  \n 303 244`, as od -c writes it; None for another line."""
    offset = _OFFSET.match(text, at, end)
    begin = at if offset is None else offset.end()
    data = b"".join(_byte(column) for column in _columns(text, begin, end))
    return _Line(data, begin, end) if data else None


def _columns(text: str, at: int, end: int) -> Iterator[re.Match[str]]:
    while (column := _COLUMN.match(text, at, end)) is not None:
        yield column
        at = column.end()


def _byte(column: re.Match[str]) -> bytes:
    if column["octal"]:
        return bytes([int(column["octal"], 8) & 0xFF])
    if column["escape"]:
        return bytes([_ESCAPES[column["escape"]]])
    return (column["one"] or "").encode("utf-8", "surrogatepass")


def _place_of_column(text: str, line: _Line, byte: int) -> int:
    seen = 0
    for column in _columns(text, line.begin, line.end):
        seen += len(_byte(column))
        if byte < seen:
            return column.start()
    return line.begin


_KINDS = (
    _Kind(_hexadecimal, _place_of_digits),
    _Kind(_swapped, _place_of_word),
    _Kind(_characters, _place_of_column),
)
