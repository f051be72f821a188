"""Whether a terminal echoes what is typed: where it does, no password is being asked for."""

from __future__ import annotations

from harness.deadline import Deadline
from harness.transport.serial.console import Console
from harness.transport.serial.reader import Reader
from harness.transport.serial.requests import Nonce

_TRIES = 2
_WAIT = 1.0  # a terminal's own echo comes at once, that of a shell's line editor when the machine gets to it
_ENOUGH = 3  # letters in a row: an echo may be torn by what others print
_KILL = "\x15"  # Ctrl-U, VKILL: takes back what was typed; sudo and login know it too


def echo_is_off(console: Console, reader: Reader, deadline: Deadline) -> bool:
    """Types a word, takes it back, and listens for it. What reads the terminal is left with an empty line.

    Raises DeadlineExpired, Eof, Cancelled.
    """
    for _ in range(_TRIES):
        word = Nonce.fresh().whole
        place = reader.total
        console.write(f"{word}{_KILL}".encode(), deadline=deadline)
        pieces = [word[at : at + _ENOUGH].encode() for at in range(len(word) - _ENOUGH + 1)]
        end = deadline.clamp(_WAIT)
        while not end.expired:
            deadline.sleep(0.05)
            heard = reader.since(place)
            if any(piece in heard for piece in pieces):
                return False
        deadline.check("finding out whether the console echoes")
    return True
