"""What is typed to the guest: one checked request a line, of printable ASCII without blanks, short enough for any tty.

A request is ``~VERB~H1~H2~ARGUMENTS~CHECK``. The check (:func:`~harness.transport.serial.guest.digest`) covers all
before the last separator, and the guest refuses what does not match, so a cut-off or garbled command is never run. The
separator is the first character of the line, one that does not occur in the arguments, and stands for the blanks in
them. `H1` and `H2` are the halves of the nonce: the guest joins them in its answer, so the nonce itself is never typed
and an echo is never an answer.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from harness.transport.serial.guest import ALPHABET, digest

_LETTERS = "abcdefghijkmnopqrstuvwxyz23456789"
_PAIRS = tuple(first + second for first in _LETTERS for second in _LETTERS)
PIECE = 640  # characters of payload a line: with its head below 1,023, where the narrowest reader cuts
SEPARATOR = "~"
"""What separates, unless the arguments hold it. A text that comes in pieces never does."""

_SEPARATORS = SEPARATOR + "^@%,+:=_" + "".join(c for c in ALPHABET[1:] if c not in "~^@%,+:=_")
ONE_LINE = 600  # the longest command that travels inside its own request

Verb = Literal["R", "A", "I", "D", "S", "K", "F", "L", "E", "N", "X"]


@dataclass(frozen=True, slots=True)
class Nonce:
    """The mark of one attempt, in the two halves that are typed apart."""

    first: str
    second: str

    @classmethod
    def fresh(cls) -> Nonce:
        """A new one; 33^8 are possible."""
        number = secrets.randbelow(len(_PAIRS) ** 4)
        number, first = divmod(number, len(_PAIRS))
        number, second = divmod(number, len(_PAIRS))
        fourth, third = divmod(number, len(_PAIRS))
        return cls(_PAIRS[first] + _PAIRS[second], _PAIRS[third] + _PAIRS[fourth])

    @property
    def whole(self) -> str:
        """As the guest writes it; never typed."""
        return self.first + self.second

    @property
    def tag(self) -> str:
        """What a line of bulk output begins with: the middle of the whole, so it is never typed either."""
        return self.first[2:] + self.second[:2]


def request(verb: Verb, nonce: Nonce, *arguments: str) -> bytes:
    """Return the line to type, with its newline. Raise ValueError where an argument could not be typed as it is."""
    text = " ".join((verb, nonce.first, nonce.second, *arguments))
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a request is made of printable ASCII")
    separator = next((c for c in _SEPARATORS if c not in text), "")
    if not separator:
        raise ValueError("a request needs a character that does not occur in it")
    typed = separator + text.replace(" ", separator)
    return f"{typed}{separator}{digest(typed)}\n".encode("ascii")


def fits_one_line(command: str, size: int = ONE_LINE) -> bool:
    """Whether the command can travel as it is, inside one request of `size` characters at most."""
    return (
        len(command) <= size
        and command.isascii()
        and command.isprintable()
        and bool(command.strip())
        and any(c not in command for c in _SEPARATORS[:24])
    )


_ESCAPES = tuple(chr(b) if 0x20 <= b < 0x7F and chr(b) not in "\\~" else f"\\0{b:03o}" for b in range(256))


def escape(data: bytes) -> str:
    """Return any bytes as text for `printf %b`: printable ASCII but the separator as it is, all else as ``\\0ooo``."""
    return "".join([_ESCAPES[b] for b in data])


def next_piece(text: str, at: int, size: int = PIECE) -> str:
    """Return the piece of escaped text that begins at `at`, of `size` characters at most, so that no escape is cut."""
    end = min(at + size, len(text))
    slash = text.rfind("\\", max(at, end - 4), end)
    if slash > at and end < len(text) and slash + 5 > end:
        end = slash
    return text[at:end]


def pieces(text: str, size: int = PIECE) -> list[str]:
    """Cut escaped text so that no escape is cut."""
    out: list[str] = []
    at = 0
    while at < len(text):
        out.append(next_piece(text, at, size))
        at += len(out[-1])
    return out
