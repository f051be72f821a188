"""What targets wrote, on its way to a person or a program: whole lines behind names, or the bytes as they are."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from typing import Any

from harness.printing import ci_reads_output, printable

_LONGEST = 1 << 16
"""Bytes after which a line is printed as it stands, though it has not ended."""
_TURN = threading.Lock()
"""One line at a time, whichever target's thread prints it."""


class Lines:
    """One target's output. With a `width` each line stands behind the target's name, padded to it; else the bytes are
    passed on as they come."""

    def __init__(self, name: str, width: int) -> None:
        """With a `width`, what the target wrote is escaped: what it could do to the terminal would be done in other
        targets' lines too."""
        self._prefix = f"{printable(name):<{width}}  ".encode("utf-8", "backslashreplace") if width else b""
        self._rests = [b"", b""]

    def take(self, out: bytes, err: bytes) -> None:
        """What came next of standard output and standard error."""
        for index, data in ((0, out), (1, err)):
            if not self._prefix:
                _write(index, data)
                continue
            *lines, self._rests[index] = (self._rests[index] + data).split(b"\n")
            if len(self._rests[index]) > _LONGEST:
                lines.append(self._rests[index])
                self._rests[index] = b""
            _write(index, b"".join(self._prefix + _escaped(line) + b"\n" for line in lines))

    def note(self, words: str) -> None:
        """A word of ours, on standard error."""
        prefix = self._prefix + b"# " if self._prefix else b"harness: "
        _write(
            1, b"".join(prefix + _escaped(line.encode("utf-8", "backslashreplace")) + b"\n" for line in _lines(words))
        )

    def close(self) -> None:
        """Prints what had no newline behind it."""
        for index in (0, 1):
            if self._rests[index]:
                rest, self._rests[index] = self._rests[index], b""
                _write(index, self._prefix + _escaped(rest) + b"\n")


def said(answer: dict[str, Any]) -> None:
    """One JSON line. Bytes are text where they are UTF-8; else `NAME_base64` holds them, and `NAME` is left out."""
    plain: dict[str, Any] = {}
    for name, value in answer.items():
        if not isinstance(value, bytes):
            plain[name] = value
            continue
        try:
            plain[name] = value.decode("utf-8")
        except UnicodeDecodeError:
            plain[f"{name}_base64"] = base64.b64encode(value).decode("ascii")
    _write(0, json_line(json.dumps(plain, ensure_ascii=False)) + b"\n")


def json_line(text: str) -> bytes:
    """JSON of one line, which is still JSON with all written out that a terminal or a CI system would obey."""
    text = printable(text)
    if ci_reads_output(os.environ):
        text = text.replace("##", "#\\u0023")
    return text.encode("utf-8", "backslashreplace")


def raw(stream: Any, data: bytes) -> None:
    """Hand on what one target wrote, byte for byte; but where a CI system reads it, with its commands broken up."""
    if data:
        breaker = getattr(stream, "breaker", None)
        stream.flush()
        stream.buffer.write(data if breaker is None else breaker.data(data))
        stream.buffer.flush()


def _lines(words: str) -> list[str]:
    return [line.rstrip("\r") for line in words.rstrip("\n").split("\n")] if words else []


def _escaped(line: bytes) -> bytes:
    text = line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
    return printable(text).encode("utf-8", "backslashreplace")


def write_document(text: str) -> None:
    """Print a document (JSON, XML, HTML) in UTF-8 whatever the terminal's encoding is: an escape for people would make
    another document of it."""
    _write(0, printable(text).encode("utf-8", "backslashreplace"))


def _write(index: int, data: bytes) -> None:
    with _TURN:
        raw((sys.stdout, sys.stderr)[index], data)
