"""Secrets in the output of xxd, hexdump and od, and in arrays of C: the bytes that a dump shows, wherever its lines
break them up, and the column of text beside them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_SHORTEST = 6
"""Bytes of a secret that is looked for: fewer are met in a dump by chance."""
# What one of them has: three groups of digits with one or two blanks between, or four columns of characters.
_LIKELY = re.compile(
    r"[0-9A-Fa-f]{2}(?:,? {1,2}(?:0x)?(?:[0-9A-Fa-f]{2}){1,8}\b){2}|(?: {3}\S){4}|(?: {2}\\\w| [0-7]{3}){4}"
)
_OFFSET = re.compile(r"[ \t]*(?:[0-9A-Fa-f]+(?P<colon>:)|[0-9A-Fa-f]{6,16})(?=[ \t]|$)")
_GROUP = re.compile(r"(?P<blank>[ \t]{0,3})(?:0x)?(?P<digits>(?:[0-9A-Fa-f]{2})+)(?=[\s,|]|$),?")
_COLUMN = re.compile(r"  (?: (?P<one>[^\n])|(?P<escape>\\[0abtnvfr])|(?P<more>\*\*))| (?P<octal>[0-7]{3})")
_ESCAPES = {"\\0": 0, "\\a": 7, "\\b": 8, "\\t": 9, "\\n": 10, "\\v": 11, "\\f": 12, "\\r": 13}


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a dump as bytes, with where in the text each of them begins; `end` is the end of the line."""

    data: bytes
    places: tuple[int, ...]
    end: int


_Reader = Callable[[str, int, int], _Line | None]


def spans_in_dumps(text: str, secrets: Iterable[bytes], *, goes_on: bool = False) -> list[tuple[int, int]]:
    """Return the spans of a text in which a dump shows one of these secrets: in each of its lines from the first byte
    of the secret to the end, so that the column of text goes with it. They do not overlap. Where the text `goes_on`,
    the beginning of a secret (six bytes of it) at the end of a dump counts, too."""
    if not _LIKELY.search(text):
        return []
    sought = [secret for secret in secrets if len(secret) >= _SHORTEST]
    begins: dict[int, int] = {}  # of a span, by its end
    for read in (_hexadecimal, _swapped, _characters):
        for block in _blocks(text, read):
            unfinished = goes_on and not text[block[-1].end :].strip("\r\n")
            for start, end in _in_block(block, sought, unfinished):
                begins[end] = min(start, begins.get(end, start))
    return sorted((start, end) for end, start in begins.items())


def _in_block(block: list[_Line], secrets: list[bytes], unfinished: bool) -> Iterator[tuple[int, int]]:
    data = b"".join(line.data for line in block)
    begins = [0]
    for line in block:
        begins.append(begins[-1] + len(line.data))
    for secret in secrets:
        for at, size in _found(data, secret, unfinished):
            for number in range(bisect_right(begins, at) - 1, bisect_left(begins, at + size)):
                line = block[number]
                yield line.places[max(0, at - begins[number])], line.end


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


def _blocks(text: str, read: _Reader) -> Iterator[list[_Line]]:
    """Yield the lines of a dump that follow each other."""
    block: list[_Line] = []
    at = 0
    while at < len(text):
        newline = text.find("\n", at)
        end = len(text) if newline < 0 else newline
        line = read(text, at, end)
        if line is not None:
            block.append(line)
        elif block:
            yield block
            block = []
        at = end + 1
    if block:
        yield block


def _hexadecimal(text: str, at: int, end: int) -> _Line | None:
    """`00000000: 7333 6372  s3cr`, `00000000  73 33  |s3|`, ` 73 33`, `0x73, 0x33,`; None for another line."""
    return _groups(text, at, end, swap=False)


def _swapped(text: str, at: int, end: int) -> _Line | None:
    """The same with words whose low byte comes last, as hexdump without options writes them."""
    return _groups(text, at, end, swap=True)


def _groups(text: str, at: int, end: int, *, swap: bool) -> _Line | None:
    offset = _OFFSET.match(text, at, end)
    # xxd has one blank between groups, and two before the text, which may look like one more group.
    blanks = 1 if offset is not None and offset["colon"] else 3
    at = at if offset is None else offset.end()
    data = bytearray()
    places: list[int] = []
    while (group := _GROUP.match(text, at, end)) is not None and (len(group["blank"]) <= blanks or not data):
        digits = bytes.fromhex(group["digits"])
        begin = group.start("digits")
        data += digits[::-1] if swap else digits
        places += [begin] * len(digits) if swap else range(begin, begin + 2 * len(digits), 2)
        at = group.end()
    return _Line(bytes(data), tuple(places), end) if data else None


def _characters(text: str, at: int, end: int) -> _Line | None:
    r"""`0000000   s   3  \n 303 244`, as od -c writes it; None for another line."""
    offset = _OFFSET.match(text, at, end)
    at = at if offset is None else offset.end()
    data = bytearray()
    places: list[int] = []
    while (column := _COLUMN.match(text, at, end)) is not None:
        if column["octal"]:
            byte = bytes([int(column["octal"], 8) & 0xFF])
        elif column["escape"]:
            byte = bytes([_ESCAPES[column["escape"]]])
        else:
            byte = (column["one"] or "").encode("utf-8", "surrogatepass")
        data += byte
        places += [column.start()] * len(byte)
        at = column.end()
    return _Line(bytes(data), tuple(places), end) if data else None
