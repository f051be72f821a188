"""The sieve: others' lines at any byte, cut into any chunks, leave what the terminal said as it was."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from harness.transport.serial.sieve import Sieve, Sieved

KERNEL = (
    b"[    0.000000] Linux version 6.1.0 (gcc) #1 SMP\r\n",
    b"[   12.345678] foo: bar\r\n",
    b"[12345.678901] Password: \r\n",
    b"[  100.000001][    T1] guest login: \r\n",
    b"[    1.000000][  C0] [  OK  ] [    1.0] x\r\n",
    b"[   12.345678] \r\n",
)
SYSTEMD = (
    b"[  OK  ] Started foo.service.\r\n",
    b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mfoo.service\x1b[0m - Foo.\r\n",
    b"[\x1b[0;1;31mFAILED\x1b[0m] Failed to start Password: \r\n",
    b"         Starting \x1b[0;1;39mfoo.service\x1b[0m - guest login: \r\n",
    b"[\x1b[0;31m*     \x1b[0m] (1 of 3) A start job is running for x (5s / 1min 30s)\r\n",
    b"\x1bM\r\x1b[K[\x1b[0;32m  OK  \x1b[0m] Finished x.\r\n",
    b"[ \x1b[0;31m*\x1b[0;1;31m*\x1b[0m\x1b[0;31m*  \x1b[0m] A start job is running for x\r\n",
)
# What a terminal says that must not be taken for others' lines.
OWN = (
    b"\r\nDebian GNU/Linux 12 guest ttyS0\r\n\r\nguest login: ",
    b"root\r\nPassword: ",
    b"Last login: Mon Nov 23 10:00:00 UTC 2026 on ttyS0\r\nroot@guest:~# ",
    b"[root@nixos:~]# ",
    b"\x1b[?2004h[12] job\r\n[1]+  Stopped   vi\r\n",
    b"a[ 1.5] b[x] [OK] [ OK ] [Y/n] ",
    b"         indented\r\n",
    b'abcd2345:printf "$t+%s\\n" [ -n "$hP" ] && [ $hK -gt 20 ]:abcd2345\r\n',
)


def through(chunks: list[bytes]) -> tuple[bytes, list[bytes]]:
    sieve = Sieve()
    rest, others = b"", []
    for chunk in chunks:
        own, lines = sieve.feed(chunk)
        rest += own
        others += lines
    return rest + sieve.flush(), others


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def insert(text: bytes, lines: list[tuple[int, bytes]]) -> bytes:
    for place, line in sorted(((at % (len(text) + 1), line) for at, line in lines), reverse=True):
        text = text[:place] + line + text[place:]
    return text


@given(st.lists(st.sampled_from(OWN), max_size=4), st.lists(st.integers(0, 9999), max_size=40))
def test_what_the_terminal_says_passes_as_it_is(texts: list[bytes], places: list[int]) -> None:
    said = b"".join(texts)
    assert through(cut(said, places)) == (said, [])


@given(
    st.lists(st.sampled_from(OWN), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 9999), st.sampled_from(SYSTEMD)), max_size=5),
    st.lists(st.tuples(st.integers(0, 9999), st.sampled_from(KERNEL)), max_size=20),
    st.lists(st.integers(0, 99999), max_size=60),
)
def test_others_lines_at_any_byte_are_taken_out(
    texts: list[bytes], systemd: list[tuple[int, bytes]], kernel: list[tuple[int, bytes]], places: list[int]
) -> None:
    said = b"".join(texts)
    on_terminal = insert(said, systemd)
    rest, others = through(cut(insert(on_terminal, kernel), places))
    # A status line that falls into another one ends it early: terminals do not do that, so it is not asked for here.
    if len(systemd) <= 1:
        assert rest == said
        assert sorted(others) == sorted(line.rstrip(b"\r\n") for _, line in [*systemd, *kernel])
    else:
        assert sorted(line for line in others if line[1:6].strip()[:1].isdigit()) == sorted(
            line.rstrip(b"\r\n") for _, line in kernel
        )


def test_byte_by_byte() -> None:
    for own in OWN:
        for line in (*KERNEL, *SYSTEMD):
            for place in range(len(own) + 1):
                said = own[:place] + line + own[place:]
                rest, others = through([bytes([byte]) for byte in said])
                assert (rest, others) == (own, [line.rstrip(b"\r\n")])


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_no_byte_is_lost_however_it_is_cut(data: bytes, places: list[int]) -> None:
    rest, others = through(cut(data, places))
    assert (rest, others) == through([data])
    if not others:
        assert rest == data


def test_a_line_without_an_end_is_given_back() -> None:
    said = b"[   12.345678] " + b"x" * 5000
    rest, others = through([said])
    assert rest == said
    assert others == []


class Heard:
    def __init__(self) -> None:
        self.data = b""

    def feed(self, data: bytes, at: float) -> None:
        del at
        assert data
        self.data += data

    def lost(self, error: Exception) -> None:
        raise error


def test_a_listener_behind_it() -> None:
    heard = Heard()
    told: list[bytes] = []
    sieved = Sieved(heard, told.extend)
    sieved.feed(b"log[    1.000000] one\r\nin: [    2.00", 0.0)
    assert heard.data == b"login:"  # the blank may be the first of nine
    place = sieved.count
    sieved.feed(b"0000] two\r\n", 0.0)
    assert sieved.others() == told == [b"[    1.000000] one", b"[    2.000000] two"]
    assert sieved.others(place) == [b"[    2.000000] two"]
    assert sieved.others(sieved.count) == []
    sieved.feed(b"[    3.0", 0.0)
    sieved.open()
    sieved.feed(b"00000] three\r\n", 0.0)
    assert heard.data == b"login: [    3.000000] three\r\n"
