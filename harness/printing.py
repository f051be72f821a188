"""What others wrote, on its way to a person's terminal or a CI system's log: nothing in it is obeyed there.

A terminal obeys control characters (ECMA-48), and shows text in another order after some of Unicode's. A CI system that
reads a job's output obeys lines of its own form: GitHub Actions takes `::command::` at a line's start (after blanks)
and `##[command]` anywhere; Azure Pipelines `##vso[`, TeamCity `##teamcity[`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

_NOT_SENT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
# As C and JSON write it: what is at or above 0x7f stands unescaped in JSON, and stays JSON so.

_LINE_ENDS = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_VARIABLES = {"GITHUB_ACTIONS": "true", "TF_BUILD": "True", "GITEA_ACTIONS": "true", "FORGEJO_ACTIONS": "true"}


def printable(text: str) -> str:
    """Return the text with everything that a terminal would obey written out: `\\xNN` below 0x7f, else `\\uNNNN`.
    Newlines and tabs stay."""
    return text if text.isprintable() else _NOT_SENT.sub(_written_out, text)


def typed_path(path: str | os.PathLike[str]) -> str:
    """Return the path as a word of a command line: one that begins with a dash would be read as an option there."""
    text = os.fspath(path)
    return f"./{text}" if text.startswith("-") else text


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x7F:
        return f"\\x{code:02x}"
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def ci_reads_output(environment: Mapping[str, str]) -> bool:
    """Return whether a CI system takes orders from what this process prints."""
    return bool(environment.get("TEAMCITY_VERSION")) or any(
        environment.get(name, "").lower() == value.lower() for name, value in _VARIABLES.items()
    )


class CommandBreaker:
    """Breaks up what a CI system would obey, by one blank, in a stream that comes in any pieces."""

    def __init__(self) -> None:
        self._line = ""  # what the open line begins with, as long as that is blank, or blank and a colon
        self._blank = True
        self._last = ""

    def text(self, text: str) -> str:
        """Return the next piece of the stream."""
        return _broken_hashes(self, self._broken_colons(text))

    def data(self, data: bytes) -> bytes:
        """Return the next piece of a stream of bytes."""
        # Bytes of a character that is no ASCII count as blanks: too much is broken up rather than too little.
        return self.text(data.decode("latin-1")).encode("latin-1")

    def _broken_colons(self, text: str) -> str:
        out: list[str] = []
        at = 0
        while at < len(text):
            end = _LINE_ENDS.search(text, at)
            stop = len(text) if end is None else end.end()
            line = text[at:stop]
            if self._blank:
                line = self._start_of_line(line)
            out.append(line)
            if end is not None:
                self._line, self._blank = "", True
            at = stop
        return "".join(out)

    def _start_of_line(self, piece: str) -> str:
        begun = self._line
        for index, char in enumerate(piece):
            if char == ":":
                if begun.endswith(":"):
                    self._blank = False
                    return f"{piece[:index]} {piece[index:]}"
                begun = ":"
            elif begun.endswith(":") or not (char.isspace() or "\x7f" <= char <= "\xff" or char in "\ufeff\u200b"):
                self._blank = False
                return piece
        self._line = begun
        return piece


def _broken_hashes(state: CommandBreaker, text: str) -> str:
    if "#" not in text and not state._last:
        return text
    before = state._last
    whole = before + text
    state._last = "##" if whole.endswith("##") else "#" if whole.endswith("#") else ""
    return re.sub(r"##(?=[\[vt])", "## ", whole)[len(before) :]


def breaker_for(stream: Any, environment: Mapping[str, str] | None = None) -> CommandBreaker | None:
    """Return what breaks commands up on this stream; None where no CI system reads it, or it is a file."""
    if not ci_reads_output(os.environ if environment is None else environment):
        return None
    try:
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return None
    except (OSError, ValueError, AttributeError):
        pass
    return CommandBreaker()


class SafeStream:
    """A text stream on which nothing of others is obeyed, whoever prints it. `buffer` is the stream's own: bytes are
    passed on as they are."""

    def __init__(self, stream: TextIO, breaker: CommandBreaker | None = None, *, escapes: bool = True) -> None:
        """Without `escapes` our own escape sequences get through: text of others must be escaped before."""
        self.unguarded = stream
        self.breaker = breaker
        self._escapes = escapes

    def write(self, text: str) -> int:
        """Write it. Return how many characters were given."""
        size = len(text)
        if self._escapes:
            text = printable(text)
        if self.breaker is not None:
            text = self.breaker.text(text)
        self.unguarded.write(text)
        return size

    def over(self, stream: TextIO) -> SafeStream:
        """Return the same safety for another stream beneath."""
        return SafeStream(stream, self.breaker, escapes=self._escapes)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all of them."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)

    def __iter__(self) -> Any:
        return iter(self.unguarded)


def harmless(text: str) -> str:
    """Return text of others for somebody else's stream (pytest's): printable, and with a CI system's commands broken
    up where one reads what this process prints."""
    text = printable(text)
    return CommandBreaker().text(text) if ci_reads_output(os.environ) else text


def safe(stream: Any) -> Any:
    """Return the stream made safe; one that is, and none at all, as it is."""
    return stream if stream is None or isinstance(stream, SafeStream) else SafeStream(stream, breaker_for(stream))


def styled(stream: Any) -> Any:
    """Return the stream for who styles text with escape sequences of his own, and escapes that of others."""
    return SafeStream(stream.unguarded, stream.breaker, escapes=False) if isinstance(stream, SafeStream) else stream


def unguarded(stream: Any) -> Any:
    """Return the stream for commands to the CI system that are our own."""
    return stream.unguarded if isinstance(stream, SafeStream) else stream
