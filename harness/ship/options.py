"""The options in a sink's URL, each read in its own type; what nobody has asked for is a mistake."""

from __future__ import annotations

import difflib
from pathlib import Path

from harness.errors import UsageError
from harness.ship.address import Address
from harness.user import expanded

_YES = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
_UNITS = {"": 1, "k": 1000, "m": 1_000_000, "kb": 1000, "mb": 1_000_000, "kib": 1024, "mib": 1 << 20}


class Options:
    """What stands behind the `?` of a sink's URL. Each reader raises UsageError where the value has not its type."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.known: list[str] = []
        self.identity: dict[str, str] = {}

    def text(self, name: str, default: str = "", *, identity: bool = False) -> str:
        """A text. With `identity`, it tells receivers at one address apart: each has a checkpoint of its own."""
        self.known.append(name)
        value = self._address.options.get(name, default)
        if identity and value:
            self.identity[name] = value
        return value

    def choice(self, name: str, default: str, *words: str) -> str:
        """One of some words."""
        value = self.text(name, default)
        if value not in words:
            raise self._wrong(name, value, f"one of {', '.join(words)}")
        return value

    def boolean(self, name: str, default: bool) -> bool:
        """Yes or no."""
        value = self.text(name, "yes" if default else "no").lower()
        if value not in _YES:
            raise self._wrong(name, value, "yes or no")
        return _YES[value]

    def count(self, name: str, default: int, *, least: int = 1) -> int:
        """A whole number."""
        value = self.text(name, str(default))
        if not value.isascii() or not value.isdigit() or int(value) < least:
            raise self._wrong(name, value, f"a whole number from {least} up")
        return int(value)

    def size(self, name: str, default: int, *, least: int = 1) -> int:
        """A number of bytes, also with k, M, KiB, MiB."""
        value = self.text(name, str(default))
        digits = value.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
        unit = _UNITS.get(value[len(digits) :].lower())
        if unit is None or not digits.isascii() or not digits.isdigit() or int(digits) * unit < least:
            raise self._wrong(name, value, f"a size of at least {least} bytes, such as 8192 or 8k")
        return int(digits) * unit

    def seconds(self, name: str, default: float) -> float:
        """A time in seconds, more than 0."""
        value = self.text(name, f"{default:g}")
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number < float("inf"):
            raise self._wrong(name, value, "a number of seconds above 0")
        return number

    def file(self, name: str) -> Path | None:
        """A file that is there."""
        value = self.text(name)
        if not value:
            return None
        path = expanded(value)
        if not path.is_file():
            raise self._wrong(name, value, "a file that is there")
        return path

    def done(self) -> None:
        """Raises UsageError when the URL has an option that no reader has asked for."""
        for name in self._address.options:
            if name not in self.known:
                near = difflib.get_close_matches(name, self.known, 1)
                raise UsageError(
                    f"{self._address.scheme} has no option {name!r}",
                    hint=f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(sorted(self.known))}.",
                )

    def _wrong(self, name: str, value: str, wanted: str) -> UsageError:
        return UsageError(f"{self._address.scheme}: {name}={value} is not {wanted}", hint=f"In: {self._address}")
