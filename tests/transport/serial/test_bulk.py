"""Output of megabytes: byte for byte, compressed or not, and not kept in the guest for longer than it is needed."""

from __future__ import annotations

import base64
import gzip
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.transport.serial.frames import Answer, Exchange
from harness.transport.serial.guest import digest
from harness.transport.serial.requests import Nonce
from harness.transport.serial.session import Session
from tests.patience import scaled

Within = Callable[..., Deadline]
BASH = ("bash", "--norc", "-i")
RANDOM = random.Random(5).randbytes(1_500_000)
REPEATED = base64.b64encode(RANDOM[:9_000]) * 100


class Still:
    """A clock on which nothing takes any time."""

    def monotonic(self) -> float:
        return 1000.0

    def time(self) -> float:
        return 1000.0


def _modes(bench: Any) -> list[str]:
    """How each command was asked to be run; see `guest.py`."""
    typed = [fields["text"].split(" ") for fields in bench.events.of("console.input")]
    return [words[4] for words in typed if len(words) > 5 and words[1] == "R"]


@pytest.mark.parametrize("text", [RANDOM, REPEATED], ids=["random", "repeated"])
def test_it_arrives_byte_for_byte(bench: Any, within: Within, text: bytes) -> None:
    (bench.folder / "text").write_bytes(text)
    transport = bench.shell(*BASH)
    for _ in range(2):
        assert transport.run(f"cat {bench.folder}/text", deadline=within(60)).stdout == text
        assert transport.run(f"cat {bench.folder}/text >&2", deadline=within(60)).stderr == text


def _slowly(data: bytes) -> bytes:
    time.sleep(0.02)
    return data


@pytest.mark.parametrize("slow", [False, True])
def test_the_first_guess_at_a_line(bench: Any, slow: bool) -> None:
    guest = bench.guest(list(BASH), **({"to_guest": _slowly} if slow else {}))
    console = bench.console(guest)
    console.open(Deadline.after(10))
    session = Session(console, events=bench.events)
    session.load(Deadline.after(scaled(60)) if slow else Deadline.after(60, clock=Still()))
    assert session.compress is slow
    session.leave(Deadline.after(10))


@pytest.mark.parametrize(
    ("wire", "data", "compress"),
    [
        (1e6, RANDOM, True),
        (3e6, RANDOM, False),
        (3e6, REPEATED, True),
        (2e7, REPEATED, False),
        (2e7, RANDOM, False),
        (2e7, b"a" * 100_000, True),
    ],
)
def test_what_a_line_shows_of_its_speed(bench: Any, wire: float, data: bytes, compress: bool) -> None:
    session = Session(bench.console(bench.guest(["sleep", "100"])), events=bench.events)
    session.measured(1_000_000, 1e6 / wire, data)
    assert session.compress is compress
    session.compress = not compress
    session.measured(1000, 1000 / wire, data)  # too little to tell
    session.measured(1_000_000, 1e6 / wire, b"")  # all of it was others' noise
    assert session.compress is not compress


def test_lines_that_were_not_compressed_are_read_again_too(bench: Any, within: Within) -> None:
    (bench.folder / "text").write_bytes(RANDOM)
    guest = bench.guest(list(BASH))
    transport = bench.transport(bench.console(guest))
    transport.run("true", deadline=within())
    transport._session.compress = False
    count = 0

    def hurt(data: bytes) -> bytes:
        nonlocal count
        count += 1
        return data if count % 40 else data[:1000] + b"\r\n[   12.345678] usb 1-1: something\r\n" + data[1000:]

    guest.to_client = hurt
    result = transport.run(f"cat {bench.folder}/text", deadline=within(60))
    assert "n" in _modes(bench)[-1]
    assert result.stdout == RANDOM
    assert result.damage.damaged_lines > 0
    assert result.damage.re_reads > 0


def test_what_was_answered_is_not_kept_in_the_guest(bench: Any, within: Within) -> None:
    (bench.folder / "text").write_bytes(RANDOM)
    transport = bench.shell(*BASH)
    for _ in range(4):
        assert transport.run(f"cat {bench.folder}/text", deadline=within(60)).stdout == RANDOM
    transport.run("uname", deadline=within())
    kept = sum(path.stat().st_blocks * 512 for path in Path(transport.guest.folder).iterdir())
    assert kept < 100_000, sorted((os.path.getsize(p), p.name) for p in Path(transport.guest.folder).iterdir())


def test_more_data_lines_are_no_news() -> None:
    exchange = Exchange(Nonce("abcd", "efgh"))
    assert exchange.feed(b"cdefp1:QUJD.\n")  # the first one
    assert not exchange.feed(b"cdefp2:QUJD.\r\ncdefp3:QU")
    assert not exchange.feed(b"JD.\n")
    assert exchange.lines_seen() == 3
    assert exchange.feed(b"cdefp4:QU[ 1.2] usbJD.\n")
    assert exchange.damaged == 1
    assert exchange.feed(f"abcdefgh<+0:z:4:-:0|{digest('abcdefgh<+0:z:4:-:0')}>\n".encode())


def test_a_data_line_holds_nothing_else() -> None:
    for line in (
        b"cdefp1:QU.JD.",
        b"cdefp1:QU JD=.x",
        b"cdefp1:QU-JD",
        b"cdefp1:QU\rJD.",
        b"cdefr1:QUJD.",
        b"cdefp1QUJD.",
    ):
        exchange = Exchange(Nonce("abcd", "efgh"))
        exchange.feed(line + b"\n")
        assert exchange.noise_bytes > 0, line


def test_an_answer_gives_back_what_its_lines_took() -> None:
    exchange = Exchange(Nonce("abcd", "efgh"))
    line = base64.b64encode(gzip.compress(REPEATED)).decode()
    message = "abcdefgh<+0:z:1:-:0"
    exchange.feed(f"cdefp1:{line}.\n{message}|{digest(message)}>\n".encode())
    assert exchange.lines_seen() == 1
    assert exchange.resolve() == Answer(0, REPEATED, b"")
    assert exchange.lines_seen() == 0
    assert exchange.resolve() == Answer(0, REPEATED, b"")
