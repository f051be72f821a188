"""The program is typed over a line that changes it, and gives it back as if it had not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.transport.errors import Cause, Unavailable
from harness.transport.serial.guest import program, program_check

SHELLS = [["dash", "-i"], ["bash", "--norc", "-i"], ["busybox", "ash", "-i"], ["zsh", "-f", "-i"]]
Within = Callable[..., Deadline]


class Changes:
    """Changes text on its way to the guest, so many times each, and changes it back on the way from the guest."""

    def __init__(self, changes: dict[bytes, bytes], times: int) -> None:
        self._changes = changes
        self._left = dict.fromkeys(changes, times)
        self.made = dict.fromkeys(changes, 0)

    def to_guest(self, data: bytes) -> bytes:
        for text, other in self._changes.items():
            if self._left[text] and text in data:
                self._left[text] -= 1
                self.made[text] += 1
                data = data.replace(text, other)
        return data

    def to_client(self, data: bytes) -> bytes:
        for text, other in self._changes.items():
            data = data.replace(other, text)
        return data


# Without gzip, the program is typed as it is.
NO_GZIP = {b"command -v gzip": b"command -v gzjp"}


def any_check_will_do() -> dict[bytes, bytes]:
    """Return the change to the program after which it takes a damaged request: it compares a check with itself."""
    text = " ".join(program(name="n", hello=("abcd", "efgh"), inline=256, dirs=("/tmp",)))
    compared = re.search(r'\[ "\$(h\w+)" = "\$(h\w+)" \]; then IFS=', text)
    assert compared
    changed = compared[0].replace(f'"${compared[2]}"', f'"${compared[1]}"')
    return {compared[0].encode(): changed.encode()}


@pytest.mark.parametrize("shell", SHELLS, ids=[argv[0] for argv in SHELLS])
def test_a_program_that_arrived_changed_runs_nothing(bench: Any, within: Within, shell: list[str]) -> None:
    change = any_check_will_do()
    changes = Changes(NO_GZIP | change, times=2)
    transport = bench.shell(*shell, to_guest=changes.to_guest, to_client=changes.to_client)
    transport.run("true", deadline=within())
    assert all(changes.made.values()), changes.made
    assert [fields["level"] for fields in bench.events.of("serial.program_damaged")] == ["warning", "warning"]
    request = Changes({b"fine": b"gine"}, times=1)
    bench.guests[0].to_guest = request.to_guest
    result = transport.run("echo fine", deadline=within())
    assert (result.stdout, result.exit_status) == (b"fine\n", 0)
    assert request.made == {b"fine": 1}


def test_a_line_that_always_changes_the_program_is_an_error(bench: Any, within: Within) -> None:
    changes = Changes(NO_GZIP | any_check_will_do(), times=1000)
    transport = bench.shell("dash", "-i", to_guest=changes.to_guest, to_client=changes.to_client)
    with pytest.raises(Unavailable, match="typed text arrives changed") as caught:
        transport.run("echo fine", deadline=within(60))
    assert caught.value.cause is Cause.NO_SHELL


@pytest.mark.parametrize("place", range(0, 14_000, 1_000))
def test_each_character_counts_in_the_check_of_the_program(place: int) -> None:
    pieces = program(name="n", hello=("abcd", "efgh"), inline=256, dirs=("/tmp",))
    text = " ".join(pieces)
    other = chr(ord(text[place]) ^ 1)
    assert program_check([text]) == program_check(pieces)
    assert program_check([text[:place] + other + text[place + 1 :]]) != program_check(pieces)
    assert program_check([text[:place] + text[place + 1 :]]) != program_check(pieces)
