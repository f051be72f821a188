"""Keeps secrets out of the record."""

from __future__ import annotations

import dataclasses
import re
from enum import StrEnum
from typing import Any

MASK = "********"
_SHORTEST = 3  # masking shorter ones would eat ordinary text and still not hide them


class Redactor:
    """Replaces each known secret, wherever it stands in a record's strings."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Makes a value unprintable from now on; each line of a many-line secret (a private key) counts by itself."""
        self._secrets.update(part for part in (secret, *secret.splitlines()) if len(part.strip()) >= _SHORTEST)
        # The longest first, so that a secret that holds another one is masked whole.
        self._pattern = (
            re.compile("|".join(re.escape(s) for s in sorted(self._secrets, key=len, reverse=True)))
            if self._secrets
            else None
        )

    def __call__(self, value: Any) -> Any:
        """The value with all secrets masked."""
        if self._pattern is None:
            return value
        if isinstance(value, StrEnum):
            return value
        if isinstance(value, str):
            return self._pattern.sub(MASK, value)
        if isinstance(value, dict):
            return {key: self(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self(item) for item in value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.replace(
                value, **{f.name: self(getattr(value, f.name)) for f in dataclasses.fields(value)}
            )
        return value
