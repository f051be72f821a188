"""Long texts: the event has their beginning and a mark, the run's folder has the whole, in a file named by its hash."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

FOLDER = "long"
LONG = 32_768
"""Characters from which on a text is cut."""
KEPT = 4_096
"""Characters that stay in the event."""


class LongTexts:
    """Keeps what is too long for an event. What it is given is masked already."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder / FOLDER

    def cut(self, value: Any) -> Any:
        """The value with each text of more than `LONG` characters cut, at any depth.

        Raises OSError where the whole cannot be kept: then nothing is recorded."""
        if isinstance(value, str) and len(value) > LONG:
            name = self.keep(value)
            return f"{value[:KEPT]}… [{KEPT} of {len(value)} characters; the whole is in {name}]"
        if isinstance(value, dict):
            return {key: self.cut(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.cut(item) for item in value]
        return value

    def keep(self, text: str) -> str:
        """Writes a text, once, and returns where: its path in the run's folder. Whole or absent, its owner's only."""
        data = text.encode("utf-8", "backslashreplace")
        name = f"{hashlib.sha256(data).hexdigest()}.txt"
        path = self._folder / name
        if not path.exists():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            temporary = path.with_name(f".{name}")
            try:
                fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                os.rename(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        return f"{FOLDER}/{name}"
