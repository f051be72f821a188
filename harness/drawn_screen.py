"""Recognise a menu or a dialogue on a console, as opposed to lines of text, and render it. Pure.

Boot loaders (GRUB, systemd-boot, syslinux) and installers (newt, dialog, ncurses) place text by cursor addressing, the
control sequence CUP (ECMA-48, 8.3.21). Kernels, service managers and gettys write lines. A key that is typed at the
first kind chooses something; so nothing is typed there.
"""

from __future__ import annotations

import re

MENU_ON_SCREEN = "a menu or a dialogue is on it, where a key would choose something"
"""Why nothing is typed on a console that shows one."""

# The cursor is placed, or the screen is cleared: by ED (ECMA-48, 8.3.39), as a whole or from its top on, or by RIS.
_PLACED = re.compile(rb"\x1b\[(\d{1,3});\d{1,3}[Hf]|(\x1b\[H\x1b\[0?J|\x1b\[[23]J|\x1bc)")
_CONTROL = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x1f]")
_PRINTK = re.compile(rb"\[ *\d+\.\d{6}\]")
_TEXT = re.compile(rb"[0-9A-Za-z]")
_FEWEST_ROWS = 3
"""Rows that text is placed in, at least: getty and shells may clear the screen and place the cursor at its top."""
_LINES_AFTER = 3
"""Lines of plain text after which the screen is one of lines again. Kernel messages are written over dialogues too."""
_KEPT = 32_768  # bytes: some screens' worth
_COLUMNS, _ROWS = 80, 24
_BARS = "|│┃║"
_NARROWEST = 10
"""Columns of a frame, at least."""
_LONGEST_LINE = 4096
_LONGEST_SEQUENCE = 12  # characters of a control sequence that may be cut


def _is_text(line: bytes) -> bool:
    plain = _CONTROL.sub(b"", line)
    return _TEXT.search(plain) is not None and not _PRINTK.match(plain)


class DrawnScreen:
    """What a console shows, of what it has written since the last `reset`."""

    def __init__(self) -> None:
        self._raw = b""
        self._open = b""
        self._rows: set[int] = set()
        self._plain = 0

    @property
    def is_drawn(self) -> bool:
        """Whether a menu or a dialogue was drawn, and no lines of text have followed it."""
        return len(self._rows) >= _FEWEST_ROWS

    @property
    def is_framed(self) -> bool:
        """Whether it is drawn and shows a frame, as menus and dialogues do and editors do not."""
        rows = (row.strip() for row in self.lines()) if self.is_drawn else ()
        return sum(len(row) >= _NARROWEST and row[0] in _BARS and row[-1] in _BARS for row in rows) >= _FEWEST_ROWS

    def reset(self) -> None:
        """Forget what was drawn: something else has begun that writes lines."""
        self._rows.clear()
        self._plain = 0
        self._raw = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes, however they are cut."""
        self._raw = (self._raw + data)[-_KEPT:]
        if not self._rows and b"\x1b" not in data and not self._open:
            return
        *lines, self._open = (self._open + data).split(b"\n")
        for line in lines:
            if not self._note_placed(line) and _is_text(line):
                self._plain += 1
                if self._plain >= _LINES_AFTER:
                    self._rows.clear()
        # A menu is drawn without an end of a line. What was drawn counts once, though the line goes on.
        if self._note_placed(self._open) or len(self._open) > _LONGEST_LINE:
            self._open = self._open[-_LONGEST_SEQUENCE:]

    def _note_placed(self, line: bytes) -> bool:
        found = False
        for row, cleared in _PLACED.findall(line):
            found = True
            if cleared:
                self._rows.clear()
            else:
                self._rows.add(int(row))
            self._plain = 0
        return found

    def lines(self) -> tuple[str, ...]:
        """Return the screen's rows with text in them, as a terminal of 80 columns and 24 rows shows them."""
        import pyte  # only where a boot has failed: it takes 30 ms to import

        screen = pyte.Screen(_COLUMNS, _ROWS)
        stream = pyte.ByteStream(screen)
        if b"\x1b(0" in self._raw or b"\x1b)0" in self._raw:
            stream.select_other_charset("@")  # pyte knows DEC's line characters only outside UTF-8
        stream.feed(self._raw)
        return tuple(row.rstrip() for row in screen.display if row.strip())
