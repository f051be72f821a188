"""The person's terminal, for one question whose answer is not shown."""

from __future__ import annotations

import contextlib
import os
import select
import termios


class Tty:
    """A terminal, open. To be closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls) -> Tty | None:
        """The process's own (`/dev/tty`, tty(4)); None where it has none, or runs in the background of one."""
        try:
            descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if os.tcgetpgrp(descriptor) == os.getpgrp():
                return cls(descriptor)
        except OSError:
            pass  # It was hung up between the two calls.
        os.close(descriptor)
        return None

    def ask(self, text: str, stop: int) -> str | None:
        """The line that is typed after `text`, which the terminal does not show. None when there will be none: the end
        of input was typed, the terminal went away, or the descriptor `stop` can be read."""
        old = termios.tcgetattr(self._descriptor)
        hidden = list(old)
        hidden[3] &= ~termios.ECHO
        line = b""
        try:
            # What was typed before the question is no answer to it.
            termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, hidden)
            self._say(text)
            while not line.endswith(b"\n"):
                ready, _, _ = select.select([self._descriptor, stop], [], [])
                piece = b"" if stop in ready else os.read(self._descriptor, 4096)
                if not piece:
                    return None
                line += piece
        except OSError:
            return None
        finally:
            with contextlib.suppress(OSError, termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, old)
                self._say("\n")
        return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")

    def tell(self, text: str) -> None:
        """Shows a line."""
        with contextlib.suppress(OSError):
            self._say(f"{text}\n")

    def _say(self, text: str) -> None:
        os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Gives the terminal back."""
        os.close(self._descriptor)
