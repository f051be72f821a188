"""Where people keep diagnostics of their own: a catalogue beside the inventory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.user import expanded

NAMES = ("collect.yml", "collect.yaml")
"""The file beside the inventory."""


def files_beside(inventories: Sequence[str]) -> list[Path]:
    """`collect.yml` in the folder of each inventory (in it, where it is a folder), where there is one."""
    found: dict[Path, None] = {}
    for source in inventories:
        path = expanded(source)
        folder = path if path.is_dir() else path.parent
        for name in NAMES:
            if "," not in source and (folder / name).is_file():
                found[folder / name] = None
                break
    return list(found)
