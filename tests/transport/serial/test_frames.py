"""The frames, fed any chunking and any noise: the answer is right, or it is asked for again; it is never wrong."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import random
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.transport.serial.frames import (
    Answer,
    Exchange,
    Missing,
    checksum_holds,
    inline_answer,
    parse_message,
    posix_cksum,
)
from harness.transport.serial.guest import digest
from harness.transport.serial.requests import Nonce, escape, pieces, request

NONCE = Nonce("ab2d", "efgh")
MANY = int(os.environ.get("HARNESS_MANY") or 0)
EXAMPLES = 20_000 if MANY else 700


def chunked(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    out = []
    while data:
        size = rng.choice((1, 2, 3, 7, 50, 500, 5000))
        out.append(data[:size])
        data = data[size:]
    return out


def message(body: str) -> bytes:
    return checked(f"{NONCE.whole}<{body}", ">")


def checked(text: str, end: str) -> bytes:
    """A line of the guest's, with its check."""
    return f"{text}|{digest(text)}{end}\n".encode()


def bulk(data: bytes, stream: str, kind: str) -> tuple[list[bytes], str]:
    """The lines of one stream as the guest writes them, and the header's word for it."""
    if not data:
        return [], "-:0"
    if kind in "vw":
        if kind == "w":
            coded = base64.b64encode(data).decode()
            texts = [coded[i : i + 76] for i in range(0, len(coded), 76)]
        else:
            texts = [" " + data[i : i + 32].hex(" ") for i in range(0, len(data), 32)]
        return [checked(f"{NONCE.tag}{stream}{i}:{t}", ".") for i, t in enumerate(texts, 1)], f"{kind}:{len(texts)}"
    if kind == "x":
        texts = [data[i : i + 16].hex(" ") for i in range(0, len(data), 16)]
        word = "x" + hashlib.md5(data).hexdigest()
    else:
        packed = gzip.compress(data, 1) if kind == "z" else data
        coded = base64.b64encode(packed).decode()
        texts = [coded[i : i + 76] for i in range(0, len(coded), 76)]
        word = "z" if kind == "z" else "b" + hashlib.sha256(data).hexdigest()
    return [f"{NONCE.tag}{stream}{i}:{t}.\n".encode() for i, t in enumerate(texts, 1)], f"{word}:{len(texts)}"


def converse(lines: dict[str, list[bytes]], final: bytes, damage: list[bytes], seed: int) -> tuple[Answer | None, int]:
    """Plays a guest whose first deliveries are damaged as `damage` tells; returns the answer and the re-reads.

    What is read again has a check of its own.
    """
    lines = {stream: [again_line(line) for line in said] for stream, said in lines.items()}
    exchange = Exchange(NONCE)
    for chunk in chunked(damage[0], seed):
        exchange.feed(chunk)
    again = 0
    for delivery in [*damage[1:], None]:
        state = exchange.resolve()
        if isinstance(state, Answer):
            return state, again
        again += 1
        if state is None:
            exchange.feed(b"\n" + (delivery if delivery is not None else final))
            continue
        for part in state:
            assert isinstance(part, Missing)
            for index in part.indices:
                exchange.feed(b"\n" + lines[part.stream][index - 1])
    for _ in range(4):
        state = exchange.resolve()
        if isinstance(state, Answer):
            return state, again
        again += 1
        exchange.feed(b"\n" + final)
        for part in state or []:
            for index in part.indices:
                exchange.feed(lines[part.stream][index - 1])
    return None, again


def again_line(line: bytes) -> bytes:
    return line if b"|" in line else checked(line.decode().rstrip().removesuffix("."), ".")


NOISES = (
    b"[   12.345678] usb 1-1: new high-speed USB device number 2\r\n",
    b"\x1b[?2004h\x1b]0;root@vm: ~\x07root@vm:~# ",
    b"<!|712345678901>",
    b"ab2d efgh",
    b"abefp1:QUJD.",
    b".",
    b">",
    b"|",
    b"\xff\xfe\x00",
    b"ttyS0: 1 input overrun(s)\n",
    b"(3 of 3) A start job is running for x\r",
    b"AAAA",
)


def hurt(data: bytes, rng: random.Random, hits: int) -> bytes:
    """Insertions, losses, changes, doublings and swaps at any byte."""
    out = bytearray(data)
    for _ in range(hits):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(6)
        size = rng.choice((1, 1, 2, 8, 60, 300))
        if kind <= 1:
            out[at:at] = rng.choice(NOISES)
        elif kind == 2:
            del out[at : at + size]
        elif kind == 3:
            for i in range(at, min(at + size, len(out))):
                out[i] = rng.randrange(256)
        elif kind == 4:
            out[at:at] = out[max(0, at - size) : at]
        else:
            there = rng.randrange(len(out) + 1)
            out[at : at + size], out[there : there + size] = out[there : there + size], out[at : at + size]
    return bytes(out)


def one_case(seed: int) -> tuple[bool, int]:
    """One damaged conversation; whether it ended in an answer, and the re-reads. Fails where the answer is wrong."""
    rng = random.Random(seed)
    kind = rng.choice("=zbxvw")
    status = rng.choice((0, 1, 3, 127, 255))
    if kind == "=":
        out = "".join(rng.choice("ab <>|=:~0\n") for _ in range(rng.randrange(60))).replace("~", "-").encode()
        err = b"" if rng.random() < 0.5 else b"=0:1:0:|x>\n"
        text = (out + err).decode().replace("\n", "~")
        final = message(f"={status}:{len(out)}:{len(err)}:{text}")
        lines: dict[str, list[bytes]] = {"p": [], "q": []}
        clean = final
    else:
        out = rng.randbytes(rng.choice((0, 1, 50, 400, 3000)))
        err = rng.randbytes(rng.choice((0, 0, 30)))
        p, p_word = bulk(out, "p", kind)
        q, q_word = bulk(err, "q", kind)
        lines = {"p": p, "q": q}
        final = message(f"+{status}:{p_word}:{q_word}")
        clean = b"".join(p + q) + final
    damage = [hurt(clean, rng, rng.choice((0, 1, 1, 2, 5, 20)))] + [hurt(final, rng, 1)] * rng.randrange(2)
    answer, again = converse(lines, final, damage, seed)
    if answer is None:
        return False, again
    assert answer == Answer(status, out, err), f"silently wrong with seed {seed}"
    return True, again


def test_damaged_streams_are_never_silently_wrong() -> None:
    count = MANY or 3000
    answered = again = 0
    for seed in range(count):
        good, reads = one_case(seed)
        answered += good
        again += reads
    print(f"{count} damaged streams: {answered} answered right, {count - answered} given up, {again} re-reads, 0 wrong")
    assert answered > count * 0.95


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(min_value=1 << 40), st.binary(max_size=40), st.binary(max_size=40))
def test_any_bytes_around_an_answer_change_nothing(seed: int, before: bytes, after: bytes) -> None:
    exchange = Exchange(NONCE)
    for chunk in chunked(before + b"\n" + message("=3:2:1:hi~") + after, seed):
        exchange.feed(chunk)
    assert exchange.resolve() == Answer(3, b"hi", b"\n")


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=300), st.integers())
def test_noise_alone_is_no_answer(noise: bytes, seed: int) -> None:
    exchange = Exchange(NONCE)
    for chunk in chunked(noise, seed):
        exchange.feed(chunk)
    assert exchange.resolve() is None


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60), st.binary(max_size=20))
def test_a_message_ends_where_its_halves_agree(body: str, after: bytes) -> None:
    text = message(body).rstrip()
    parsed = parse_message(text + after.replace(b">", b""), 9)
    assert parsed == (body.encode(), len(text))


def test_what_is_typed_never_holds_the_mark() -> None:
    for _ in range(500):
        nonce = Nonce.fresh()
        typed = request("R", nonce, "p", "echo hello")
        assert nonce.whole.encode() not in typed
        assert nonce.tag.encode() not in typed
        exchange = Exchange(nonce)
        exchange.feed(typed + typed)
        assert exchange.resolve() is None
        assert exchange.messages() == []


def test_the_echo_of_a_request_is_noise() -> None:
    exchange = Exchange(NONCE)
    typed = request("R", NONCE, "p", "true")
    exchange.feed(typed + message("=0:0:0:"))
    assert exchange.resolve() == Answer(0, b"", b"")
    assert exchange.noise() == [typed.strip()]


def test_an_answer_to_another_nonce_is_not_ours() -> None:
    exchange = Exchange(NONCE)
    exchange.feed(checked("xxxxyyyy<=0:0:0:", ">"))
    assert exchange.resolve() is None


def test_noise_in_mid_line_is_handed_on_without_ours() -> None:
    exchange = Exchange(NONCE)
    line = message("=0:5:0:hello")
    exchange.feed(line[:20] + b"[    1.5] kernel says hi\r\n" + line[20:])
    assert exchange.resolve() is None
    assert exchange.damaged == 1
    assert exchange.noise() == [b"[    1.5] kernel says hi"]


@pytest.mark.parametrize("body", ["=0:1:1:a", "=0:1", "=x:0:0:", "=0:1:0:ab", "=-1:0:0:"])
def test_inline_answers_with_wrong_lengths_are_refused(body: str) -> None:
    assert inline_answer(body) is None


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000))
def test_our_cksum_is_that_of_posix(data: bytes) -> None:
    said = subprocess.run(["cksum"], input=data, capture_output=True, check=True).stdout.split()[0].decode()
    assert posix_cksum(data) == int(said)
    assert checksum_holds(said, data)
    assert not checksum_holds(said, data + b"x")


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=400), st.integers(min_value=5, max_value=60))
def test_pieces_join_and_cut_no_escape(data: bytes, size: int) -> None:
    text = escape(data)
    parts = pieces(text, size)
    assert "".join(parts) == text
    assert all(0 < len(p) <= size for p in parts)
    for part in parts:
        at = 0
        while (at := part.find("\\", at)) >= 0:
            assert len(part[at : at + 5]) == 5
            at += 5


def test_a_request_takes_only_what_can_be_typed() -> None:
    for bad in ("a\nb", "a\tb", "é", "\x1b"):
        with pytest.raises(ValueError, match="printable"):
            request("R", NONCE, "p", bad)
