"""What only a terminal can show: styled lines, and one live line for each target."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.printing import styled
from harness.report.lines import Part
from harness.report.shown import shown

Row = tuple[str, tuple[str, ...]]
"""A target's name, and its cells."""
COLUMNS = 5


class StyledLines:
    """Lines with styles, drawn by rich; above the live view, while there is one."""

    def __init__(self, stream: IO[str]) -> None:
        self._console = Console(file=styled(stream), highlight=False, soft_wrap=True, emoji=False)
        self.is_terminal = self._console.is_terminal

    def write(self, *parts: Part) -> None:
        """One line."""
        self._console.print(
            Text.assemble(*((shown(p), "") if isinstance(p, str) else (shown(p[0]), p[1]) for p in parts))
        )

    def live(self, rows: Callable[[], Iterable[Row]]) -> Live:
        """A table of rows, asked anew eight times a second; to be started and stopped."""
        return Live(console=self._console, get_renderable=lambda: _table(rows()), refresh_per_second=8, transient=True)


def _table(rows: Iterable[Row]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(COLUMNS):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for name, cells in rows:
        table.add_row(Text(shown(name), "bold"), *(Text(shown(cell)) for cell in cells))
    return table
