"""What is typed to the guest: one checked request a line, of printable ASCII, short enough for any line discipline.

A request is ``LENGTH DIGEST VERB H1 H2 ARGUMENTS``; the length and digest cover everything from the verb on, and the
guest refuses what does not match, so a cut-off or garbled command is never run. `H1` and `H2` are the halves of
the nonce: the guest joins them in its answer, so the nonce itself is never typed and an echo is never an answer.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from harness.transport.serial.guest import digest

_LETTERS = "abcdefghijkmnopqrstuvwxyz23456789"
PIECE = 640  # characters of payload a line: with its head below 1,023, where the narrowest reader cuts
ONE_LINE = 600  # the longest command that travels inside its own request

Verb = Literal["R", "A", "I", "D", "S", "K", "F", "L", "N", "X"]


@dataclass(frozen=True, slots=True)
class Nonce:
    """The mark of one attempt, in the two halves that are typed apart."""

    first: str
    second: str

    @classmethod
    def fresh(cls) -> Nonce:
        """A new one; 33^8 are possible."""
        number = secrets.randbelow(len(_LETTERS) ** 8)
        text = ""
        for _ in range(8):
            number, index = divmod(number, len(_LETTERS))
            text += _LETTERS[index]
        return cls(text[:4], text[4:])

    @property
    def whole(self) -> str:
        """As the guest writes it; never typed."""
        return self.first + self.second

    @property
    def tag(self) -> str:
        """What a line of bulk output begins with: the middle of the whole, so it is never typed either."""
        return self.first[2:] + self.second[:2]


def request(verb: Verb, nonce: Nonce, *arguments: str) -> bytes:
    """The line to type, with its newline. Raises ValueError where an argument could not be typed as it is."""
    text = " ".join((verb, nonce.first, nonce.second, *arguments))
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a request is made of printable ASCII")
    return f"{len(text)} {digest(text)} {text}\n".encode("ascii")


def fits_one_line(command: str) -> bool:
    """Whether the command can travel as it is, inside one request."""
    return len(command) <= ONE_LINE and command.isascii() and command.isprintable() and bool(command.strip())


_ESCAPES = tuple(chr(b) if 0x20 <= b < 0x7F and b != 0x5C else f"\\0{b:03o}" for b in range(256))


def escape(data: bytes) -> str:
    """Any bytes as text for `printf %b`: printable ASCII as it is, all else as ``\\0ooo`` (POSIX printf)."""
    return "".join([_ESCAPES[b] for b in data])


def pieces(text: str, size: int = PIECE) -> list[str]:
    """Cuts escaped text so that no escape is cut."""
    out: list[str] = []
    at = 0
    while at < len(text):
        end = min(at + size, len(text))
        slash = text.rfind("\\", max(at, end - 4), end)
        if slash > at and end < len(text) and slash + 5 > end:
            end = slash
        out.append(text[at:end])
        at = end
    return out
