"""The flakes that are known: a YAML list beside the inventory, each entry with who works on it and until when it counts
as known.

    - check: sshd/outside::banner        # as in the report; * and ? are wildcards
      target: board-*                    # all targets, where it is left out
      tracker: https://example.org/42    # where it is being worked on
      snooze: 2026-12-24                 # from this day on it counts again
      warn: true                         # say so each time that it is seen
"""

from __future__ import annotations

import datetime
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.bounded import read_text
from harness.errors import Source, UsageError
from harness.inventory.places import did_you_mean

NAMES = ("known-flakes.yml", "known-flakes.yaml")
"""The file beside the inventory."""
_KEYS = ("check", "target", "tracker", "snooze", "warn")


@dataclass(frozen=True, slots=True)
class KnownFlake:
    """A flake that does not fail a soak until `snooze` has come. `check` and `target` are patterns."""

    check: str
    tracker: str
    target: str = "*"
    snooze: datetime.date | None = None
    warn: bool = False
    source: Source | None = None

    def is_of(self, target: str, label: str, check_id: str, today: datetime.date) -> bool:
        """Whether what a check on a target did is this one, and is still to be known."""
        if self.snooze is not None and today >= self.snooze:
            return False
        named = any(fnmatch.fnmatchcase(name, self.check) for name in (label, check_id))
        return named and fnmatch.fnmatchcase(target, self.target)


def find_file(inventories: Sequence[str]) -> Path | None:
    """The file beside one of the inventories, where there is one."""
    for source in inventories:
        path = Path(source)
        folder = path if path.is_dir() else path.parent
        for name in NAMES:
            if "," not in source and (folder / name).is_file():
                return folder / name
    return None


def read_known(path: Path) -> tuple[KnownFlake, ...]:
    """The entries of a file. Raises UsageError, with the line, for whatever is wrong with it."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the known flakes cannot be read: {error}", source=Source(str(path))) from None
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise UsageError(f"this is no YAML: {error.problem}", source=Source(str(path), line)) from None
    if root is None:
        return ()
    reader = _Reader(path, text.splitlines())
    if not isinstance(root, yaml.SequenceNode):
        raise reader.wrong(root, "known flakes are a list, each with `check` and `tracker`")
    return tuple(reader.entry(node) for node in root.value)


class _Reader:
    def __init__(self, path: Path, lines: list[str]) -> None:
        self._path = path
        self._lines = lines

    def wrong(self, node: yaml.Node, why: str) -> UsageError:
        line = node.start_mark.line
        text = self._lines[line] if line < len(self._lines) else ""
        return UsageError(why, source=Source(str(self._path), line + 1, node.start_mark.column + 1, text))

    def entry(self, node: yaml.Node) -> KnownFlake:
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, "a known flake is a mapping with `check` and `tracker`")
        values: dict[str, object] = {}
        for key, value in node.value:
            if key.value not in _KEYS:
                hint = did_you_mean(str(key.value), _KEYS)
                raise self.wrong(key, f"a known flake has no {key.value!r}{f'; {hint}' if hint else ''}")
            if key.value in values:
                raise self.wrong(key, f"{key.value!r} stands there twice")
            values[key.value] = self._value(str(key.value), value)
        for key in ("check", "tracker"):
            if key not in values:
                raise self.wrong(node, f"this known flake has no `{key}`")
        return KnownFlake(**values, source=self.wrong(node, "").source)  # type: ignore[arg-type]

    def _value(self, key: str, node: yaml.Node) -> object:
        loaded = yaml.SafeLoader("").construct_document(node)
        if key == "snooze":
            if isinstance(loaded, datetime.date) and not isinstance(loaded, datetime.datetime):
                return loaded
            raise self.wrong(node, "`snooze` is a day, such as 2026-12-24")
        if key == "warn":
            if isinstance(loaded, bool):
                return loaded
            raise self.wrong(node, "`warn` is true or false")
        if not isinstance(loaded, str) or not loaded.strip():
            raise self.wrong(node, f"`{key}` is a text")
        return loaded.strip()
