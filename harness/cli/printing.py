"""What targets wrote, on its way to a person or a program: whole lines behind names, or the bytes as they are."""

from __future__ import annotations

import base64
import json
import sys
import threading
from typing import Any

_TURN = threading.Lock()
"""One line at a time, whichever target's thread prints it."""


class Lines:
    """One target's output. With a `width` each line stands behind the target's name, padded to it; else the bytes are
    passed on as they come."""

    def __init__(self, name: str, width: int) -> None:
        self._prefix = f"{name:<{width}}  ".encode("utf-8", "backslashreplace") if width else b""
        self._rests = [b"", b""]

    def take(self, out: bytes, err: bytes) -> None:
        """What came next of standard output and standard error."""
        for index, data in ((0, out), (1, err)):
            if not self._prefix:
                _write(index, data)
                continue
            *lines, self._rests[index] = (self._rests[index] + data).split(b"\n")
            _write(index, b"".join(self._prefix + line + b"\n" for line in lines))

    def note(self, words: str) -> None:
        """A word of ours, on standard error."""
        prefix = self._prefix + b"# " if self._prefix else b"harness: "
        lines = words.encode("utf-8", "backslashreplace").splitlines()
        _write(1, b"".join(prefix + line + b"\n" for line in lines))

    def close(self) -> None:
        """Prints what had no newline behind it."""
        for index in (0, 1):
            if self._rests[index]:
                rest, self._rests[index] = self._rests[index], b""
                _write(index, self._prefix + rest + b"\n")


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
    _write(0, json.dumps(plain, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def write_document(text: str) -> None:
    """Print a document (JSON, XML, HTML) in UTF-8 whatever the terminal's encoding is: an escape for people would make
    another document of it."""
    _write(0, text.encode("utf-8", "backslashreplace"))


def _write(index: int, data: bytes) -> None:
    if not data:
        return
    stream = (sys.stdout, sys.stderr)[index]
    with _TURN:
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()
