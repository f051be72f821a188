"""Menus and dialogues against lines of text, however the bytes are cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.drawn_screen import DrawnScreen

CONSOLES = Path(__file__).parent / "machine" / "consoles"
GRUB = (CONSOLES / "grub_menu.log").read_bytes()
# What newt (whiptail, the Debian installer) writes: each row of a window is placed.
NEWT = b"\x1b[2J\x1b[H" + b"".join(b"\x1b[%d;10H\x0f\x1b[37m\x1b[44m| row %d |" % (row, row) for row in range(5, 15))
PRINTK = b"".join(b"[  %3d.000001] usb 1-1: new device number %d\r\n" % (n, n) for n in range(20))
LINES = (
    b"Debian 12 debian ttyS0\r\n\r\nLinux debian 6.1.0\r\nLast login: Sun Nov 29\r\nYou have mail.\r\nroot@debian:~# "
)
# agetty, login and shells may clear the screen, or ask a terminal for its size.
CLEARED = b"\x1b[H\x1b[J\x1b[r\x1b[999;999H\x1b[6n\x1b[1;1Hdebian login: "


def fed(*parts: bytes, size: int = 1 << 20) -> DrawnScreen:
    screen = DrawnScreen()
    data = b"".join(parts)
    for at in range(0, len(data), size):
        screen.feed(data[at : at + size])
    return screen


@pytest.mark.parametrize("size", [1, 3, 100, 1 << 20])
@pytest.mark.parametrize(
    ("parts", "drawn"),
    [
        ((GRUB,), True),
        ((NEWT,), True),
        ((LINES, NEWT), True),
        ((NEWT, PRINTK), True),
        ((GRUB, LINES), False),
        ((NEWT, LINES), False),
        ((GRUB, b"\x1b[H\x1b[J\x1b[1;1H  Booting `Debian'\r\n\r\n"), False),
        ((NEWT, NEWT), True),
        ((LINES,), False),
        ((PRINTK,), False),
        ((CLEARED,), False),
        ((LINES, CLEARED), False),
        ((b"\x1b[1;31mred\x1b[0m\r\n" * 50,), False),
        ((b"\x1b[2;1H",), False),  # an editor that moves its cursor to the next row
    ],
    ids=lambda value: None,
)
def test_what_is_drawn(parts: tuple[bytes, ...], drawn: bool, size: int) -> None:
    assert fed(*parts, size=size).is_drawn is drawn


@pytest.mark.parametrize("name", [file.name for file in sorted(CONSOLES.glob("*.log")) if file.name != "grub_menu.log"])
def test_a_recorded_boot_draws_nothing(name: str) -> None:
    assert not fed((CONSOLES / name).read_bytes()).is_drawn


def test_the_rows_of_a_menu_are_shown_as_on_a_terminal() -> None:
    rows = fed(GRUB).lines()
    assert " |*Install (erases all data)" in "\n".join(rows)
    assert any("Use the ^ and v keys" in row for row in rows)
    assert not any("\x1b" in row for row in rows)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=600), st.integers(1, 50))
def test_no_bytes_break_it(data: bytes, size: int) -> None:
    screen = fed(data, size=size)
    assert all(row.isprintable() for row in screen.lines())


def test_what_a_console_floods_is_bounded() -> None:
    screen = fed(NEWT, b"x" * 1_000_000, size=4096)
    assert screen.is_drawn
    assert len(screen._open) <= 4096 + 4096
    assert len(screen._raw) <= 32_768


# What busybox vi writes for Enter in a file of some lines: it draws the rows below anew.
VI = b"".join(b"\x1b[%d;1H%s" % (row, b"a line |" if row < 6 else b"~") for row in range(2, 24)) + b"- x 2/5 40%"
# As newt draws with a terminal's own line characters.
ACS = b"".join(b"\x1b[%d;10H\x1b(0x\x1b(B  choose a disk   \x1b(0x\x1b(B" % row for row in range(4, 9))


@pytest.mark.parametrize(
    ("data", "framed"), [(GRUB, True), (NEWT, True), (ACS, True), (VI, False), (LINES, False), (CLEARED, False)]
)
def test_a_frame_tells_a_dialogue_from_an_editor(data: bytes, framed: bool) -> None:
    assert fed(data).is_framed is framed
