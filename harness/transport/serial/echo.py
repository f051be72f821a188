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


def echo_is_off(console: Console, reader: Reader, deadline: Deadline, *, wait: float = _WAIT) -> bool:
    """Return whether the terminal echoes nothing: type a word, take it back, and listen for it, twice.

    What reads the terminal is left with an empty line. A late echo of the first word counts as well. `wait`: seconds
    that each echo is given. Raises DeadlineExpired, Eof, Cancelled.
    """
    place, words = reader.total, []
    for _ in range(_TRIES):
        words.append(Nonce.fresh().whole)
        if _await_word(console, reader, deadline, words, place, quiet=wait, at_most=wait) is not None:
            return False
        deadline.check("finding out whether the console echoes")
    return True


def await_echo(
    console: Console, reader: Reader, deadline: Deadline, *, quiet: float, at_most: float
) -> tuple[int, float] | None:
    """Type a word, take it back, and wait for its echo: what is heard behind that was written after the word was typed.

    Waits until the console has been silent for `quiet` seconds, and at most `at_most`. Returns the place behind the
    echo, and the seconds that it took; None where there is no echo. Raises Eof, Cancelled.
    """
    return _await_word(console, reader, deadline, [Nonce.fresh().whole], reader.total, quiet=quiet, at_most=at_most)


def _await_word(
    console: Console,
    reader: Reader,
    deadline: Deadline,
    words: list[str],
    place: int,
    *,
    quiet: float,
    at_most: float,
) -> tuple[int, float] | None:
    """Type the last of `words`, and wait for an echo of any of them behind `place`."""
    pieces = [word[at : at + _ENOUGH].encode() for word in words for at in range(len(word) - _ENOUGH + 1)]
    began = deadline.clock.monotonic()
    console.write(f"{words[-1]}{_KILL}".encode(), deadline=deadline)
    typed = deadline.clock.monotonic()
    end = deadline.clamp(at_most)
    while True:
        now, total = deadline.clock.monotonic(), reader.total
        heard = reader.since(place)
        if found := [at for at in map(heard.find, pieces) if at >= 0]:
            return total - len(heard) + max(found) + _ENOUGH, now - began
        if end.expired or now - max(typed, reader.last) >= quiet:
            return None
        reader.wait_for_more(total, end, at_most=max(0.0, quiet - (now - max(typed, reader.last))))
