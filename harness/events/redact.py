"""Keeps secrets out of the record."""

from __future__ import annotations

import dataclasses
import json
import re
from enum import StrEnum
from typing import Any

MASK = "********"
NAMES = frozenset({"run", "target", "check", "module", "check_id", "outcome", "transports"})
"""Fields that name things and never hold what a machine or a person said. A lab's password is often also a host's
name or a word of ours; masked there, the record could no longer be put together."""
_SHORTEST = 3  # masking shorter ones would eat ordinary text and still not hide them


class Redactor:
    """Replaces each known secret, wherever it stands in a record's strings."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Makes a value unprintable from now on; each line of a many-line secret (a private key) counts by itself.

        It is known in the forms that it takes on its way too: as Python, JSON and a shell write it.
        """
        for part in (secret, *secret.splitlines()):
            if len(part.strip()) >= _SHORTEST:
                self._secrets.update((part, repr(part)[1:-1], json.dumps(part)[1:-1]))
                # A shell's form without its outer quotes: what stands before it in the word (`name=`) is quoted along.
                self._secrets.add(part.replace("'", "'\"'\"'"))
        self._secrets = {form for form in self._secrets if len(form) >= _SHORTEST}
        # The longest first, so that a secret that holds another one is masked whole.
        forms = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(form) for form in forms)) if forms else None

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
            names = [field.name for field in dataclasses.fields(value) if field.name not in NAMES]
            return dataclasses.replace(value, **{name: self(getattr(value, name)) for name in names})
        return value
