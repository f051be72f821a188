"""Keys, texts, tails and joints: what is pure about consoles by hand."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.operate.console_log import joint, last_lines, last_rows, still
from harness.operate.keys import key, key_name, unescaped
from harness.operate.steps import expect, send, whole


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        (r"root\n", b"root\n"),
        (r"\x03", b"\x03"),
        (r"\e[A\r", b"\x1b[A\r"),
        (r"a\\n", b"a\\n"),
        (r"\t\0\a\b", b"\t\0\a\b"),
        ("é", "é".encode()),
        ("\udcff", b"\xff"),
        ("", b""),
        ("\n", b"\n"),
    ],
)
def test_escapes(written: str, bytes_: bytes) -> None:
    assert unescaped(written) == bytes_
    assert send(written).data == bytes_


@pytest.mark.parametrize("written", [r"\q", "\\", r"\x1", r"\x1g", r"\u00e9"])
def test_what_is_no_escape_is_told(written: str) -> None:
    with pytest.raises(ValueError, match="is no escape"):
        unescaped(written)


@given(st.binary())
def test_every_byte_can_be_written(data: bytes) -> None:
    assert unescaped("".join(f"\\x{byte:02x}" for byte in data)) == data


@pytest.mark.parametrize(
    ("written", "byte"),
    [("^]", 0x1D), ("ctrl-]", 0x1D), ("Ctrl+A", 1), ("C-a", 1), ("^@", 0), ("^?", 127), ("~", 126), (r"\x1d", 0x1D)],
)
def test_keys(written: str, byte: int) -> None:
    assert key(written) == bytes((byte,))


def test_no_key_at_all() -> None:
    assert key("none") == b""


@pytest.mark.parametrize("written", ["", "ab", "^^^", "é", "ctrl-é", r"\q"])
def test_what_is_no_key_is_told(written: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        key(written)


@given(st.integers(0, 127))
def test_a_key_is_named_as_it_can_be_written(code: int) -> None:
    assert key(key_name(bytes((code,))).replace("\\", r"\\") if code == 92 else key_name(bytes((code,)))) == bytes(
        (code,)
    )


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"login: "])).map(b"".join), st.integers(0, 5))
def test_a_tail_is_the_last_lines_and_the_open_one(data: bytes, lines: int) -> None:
    tail = last_lines(data, lines)
    assert data.endswith(tail)
    *ended, rest = data.split(b"\n")
    assert tail.split(b"\n") == [*ended[max(0, len(ended) - lines) :], rest]


def test_a_tail_fits_its_window() -> None:
    data = b"x" * 100 + b"\r\n" + b"y" * 25 + b"\r\nlast\r\n# "
    assert last_rows(data, 3, 10) == b"last\r\n# "
    assert last_rows(data, 5, 10) == b"y" * 25 + b"\r\nlast\r\n# "
    assert last_rows(data, 14, 10) == b"y" * 25 + b"\r\nlast\r\n# "
    assert last_rows(data, 15, 10) == data
    assert last_rows(b"z" * 100, 3, 10) == b"z" * 100  # the line that is open is shown in any case
    assert last_rows(data, 0, 10) == b""


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 40))
def test_what_is_said_while_one_attaches_is_shown_once(before: bytes, heard: bytes, written: int) -> None:
    """The log holds what was said before, and the beginning of what is heard."""
    written = min(written, len(heard))
    log = before + heard[:written]
    assert joint(log, heard, written) == written
    assert joint(log, heard, 0) == 0


def test_a_joint_is_as_long_as_it_may_be() -> None:
    assert joint(b"one\ntwo\n", b"two\nthree", 4) == 4
    assert joint(b"one\ntwo\n", b"two\nthree", 3) == 0


def test_the_past_asks_the_terminal_nothing() -> None:
    said = b"\x1b[6n\x1b[c\x1b]0;title\x07\x05\x1b[31mred\x1b[0m\r\nnext\x07 \xc2\x9b6n"
    assert still(said) == b"red\r\nnext 6n"


def test_an_expectation_is_a_regular_expression_of_lines() -> None:
    assert expect("^login: $").pattern.search(b"Debian\nlogin: ")
    assert not expect("^login: $").pattern.search(b"last login: x")
    with pytest.raises(ValueError, match="not a regular expression"):
        expect("(")


@given(st.lists(st.sampled_from([b"\x1b[31m", b"\x1b[?2004h", b"\x1b]0;t\x07", b"text", b"\n", b"\x1b7"])), st.data())
def test_a_control_sequence_is_not_taken_for_text_while_it_is_half_there(
    pieces: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(pieces)
    cut = data.draw(st.integers(0, len(stream)))
    ready, rest = whole(stream[:cut])
    assert ready + rest == stream[:cut]
    later, end = whole(rest + stream[cut:])
    sequences = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*\x07|7)")
    assert sequences.sub(b"", ready) + sequences.sub(b"", later + end) == sequences.sub(b"", stream)
