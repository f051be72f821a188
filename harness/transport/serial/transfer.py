"""Long commands and input, carried to the guest in acknowledged pieces and checked as a whole."""

from __future__ import annotations

import base64
import gzip

from harness.deadline import Deadline
from harness.transport.contract import Progress
from harness.transport.errors import Cause, Damaged
from harness.transport.serial.frames import checksum_holds
from harness.transport.serial.requests import Verb, escape, next_piece
from harness.transport.serial.session import Session

_WHOLE_TRIES = 3


def send_command(session: Session, command: str, deadline: Deadline) -> None:
    """Lays a command that fits no line into a variable of the guest's shell."""
    _send(session, "A", escape(command.encode("utf-8", "surrogateescape")), deadline, None, 0)


def send_input(session: Session, data: bytes, deadline: Deadline, progress: Progress | None = None) -> None:
    """Lays `data` into the guest's input file, packed as well as the guest can unpack it, and compares checksums.

    Raises Damaged when it does not arrive whole in three tries.
    """
    guest = session.guest
    tools = guest.tools if guest is not None else frozenset()
    how, text = "n", ""
    if len(data) > 256 and {"base64", "cat"} <= tools:
        packed = gzip.compress(data, 6) if "gzip" in tools else data
        how = "z" if "gzip" in tools and len(packed) < len(data) * 0.95 else "b"
        text = base64.b64encode(packed if how == "z" else data).decode()
    plain = escape(data)
    if not text or len(plain) <= len(text):
        how, text = "n", plain
    for _ in range(_WHOLE_TRIES):
        _send(session, "I", text, deadline, progress, len(data))
        said = session.ask("D", how, deadline=deadline, accept=lambda body: body.startswith("D"))[1:]
        # Without a checksum tool in the guest each piece was still checked by its length and digest.
        if not said or checksum_holds(said, data):
            return
    raise Damaged(
        f"{len(data)} bytes did not arrive whole on the guest in {_WHOLE_TRIES} tries",
        cause=Cause.DAMAGED,
        transport="serial",
        hint="is there room left for them, and does somebody else type on this console?",
    )


def _send(session: Session, verb: str, text: str, deadline: Deadline, progress: Progress | None, total: int) -> None:
    """Type the pieces, each at its offset: the guest takes a piece once, however often it is typed, and says how much
    it has then. A piece that does not arrive is typed again shorter, as the line's quality tells by then."""
    letter: Verb = "I" if verb == "I" else "A"
    at, ends = 0, set[int]()
    while True:
        piece = next_piece(text, at, session.quality.piece)
        ends.add(at + len(piece))
        said = session.ask(letter, str(at), piece, deadline=deadline, accept=_Length(letter), tries=3)
        if not said:
            continue
        has = int(said[1:])
        at = has if has in ends else 0
        if progress is not None and text:
            progress(total * at // len(text), total)
        if at >= len(text):
            return


class _Length:
    """Whether a message says how much has been laid down."""

    def __init__(self, letter: str) -> None:
        self._letter = letter

    def __call__(self, body: str) -> bool:
        return body.startswith(self._letter) and body[1:].isdecimal()
