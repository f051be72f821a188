"""How much one line of a console can carry: how long frames may be, going by how many of them arrived whole. Pure."""

from __future__ import annotations

from harness.transport.serial.requests import ONE_LINE, PIECE

_CLEAN = 1200.0
_SHORTEST = 40.0


class LineQuality:
    """The longest frame (characters) that is likely to arrive. It shrinks with damage, and grows again without."""

    def __init__(self) -> None:
        self._limit = _CLEAN
        self.patience = 0.0
        """Seconds that an answer to a question is waited for, going by the quickest so far; 0: not known."""

    def note(self, *, whole: int, damaged: int) -> None:
        """Note how many frames arrived whole and how many did not."""
        if not damaged:
            if self._limit < _CLEAN:
                self._limit = min(_CLEAN, self._limit * 1.15)
        else:
            rate = damaged / (whole + damaged)
            factor = 0.5 if rate > 0.3 else 0.7 if rate > 0.1 else 0.9
            self._limit = max(_SHORTEST, min(float(ONE_LINE - 1), self._limit * factor))

    @property
    def is_clean(self) -> bool:
        """Whether the line has done no damage lately."""
        return self._limit >= ONE_LINE

    @property
    def one_line(self) -> int:
        """The longest command that travels inside its own request."""
        return ONE_LINE if self.is_clean else int(self._limit)

    @property
    def piece(self) -> int:
        """The longest piece of a command, or of input."""
        return PIECE if self.is_clean else max(24, int(self._limit * 0.8))

    @property
    def script(self) -> int:
        """The longest list of lines that is asked for again at once."""
        return 500 if self.is_clean else max(12, int(self._limit * 0.5))

    @property
    def width(self) -> int:
        """The length of a data line's payload, each with a check of its own; 0: they have one for all of them."""
        return 0 if self.is_clean else max(32, int(self._limit * 0.6)) // 4 * 4
