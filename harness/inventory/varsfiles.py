"""`group_vars/` and `host_vars/`: which files count for a group or host, and what they say.

The search is Ansible's: the first of NAME, NAME.yml, NAME.yaml, NAME.json that exists; a folder gives all its
files in order, those of its folders included.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.errors import Source, UsageError
from harness.inventory.documents import load_document
from harness.inventory.model import Model
from harness.inventory.places import Assigned, Notice, Place
from harness.inventory.sources import read_bytes
from harness.inventory.tree import assigned
from harness.inventory.values import kind
from harness.inventory.vault import Vault

_ENDS = ("", ".yml", ".yaml", ".json")

Layer = tuple[str, dict[str, Assigned]]
"""A file's path and its variables."""


@dataclass(slots=True)
class VarsFiles:
    """Reads each file once and lists each folder once, however many hosts ask."""

    model: Model
    vault: Vault
    _listed: dict[tuple[str, str], tuple[str, frozenset[str]]] = field(default_factory=dict)
    _read: dict[str, dict[str, Assigned]] = field(default_factory=dict)

    def layers(self, base: str, folder: str, name: str) -> list[Layer]:
        """The files for group or host `name` in `base`/`folder`, weakest first. Raises UsageError."""
        if name.startswith("/"):
            return []
        listed = self._listed.get((base, folder))
        if listed is None:
            top = os.path.join(base, folder)
            listed = self._listed[base, folder] = (top, self._names(top))
        top, there = listed
        if not there:
            return []
        for end in _ENDS:
            # A name with a slash cannot be looked up in the listing of the folder.
            if (name + end) in there or ("/" in name and os.path.exists(os.path.join(top, name + end))):
                path = os.path.join(top, name + end)
                files = _below(path) if os.path.isdir(path) else [path]
                return [(file, variables) for file in files if (variables := self._file(file))]
        return []

    def _names(self, folder: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder))
        except FileNotFoundError:
            return frozenset()
        except NotADirectoryError:
            self.model.notices.append(Notice("this should be a folder; it is not read", Source(folder)))
            return frozenset()
        except OSError as error:
            raise UsageError(f"cannot list this folder: {error.strerror}", source=Source(folder)) from None

    def _file(self, path: str) -> dict[str, Assigned]:
        found = self._read.get(path)
        if found is None:
            found = self._read[path] = self._load(path)
        return found

    def _load(self, path: str) -> dict[str, Assigned]:
        return {} if not os.path.exists(path) else read_variables(path, self.model, self.vault)


def _below(folder: str) -> list[str]:
    found: list[str] = []
    for name in sorted(os.listdir(folder)):
        if name.startswith(".") or name.endswith("~"):
            continue
        path, end = os.path.join(folder, name), os.path.splitext(name)[1]
        if os.path.isdir(path):
            if not end:
                found.extend(_below(path))
        elif end in _ENDS:
            found.append(path)
    return found


def read_variables(path: str, model: Model, vault: Vault) -> dict[str, Assigned]:
    """The variables of a YAML or JSON file; an empty file has none. Raises UsageError."""
    data, sealed = read_bytes(path, vault, model)
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    model.book.keep(path, text.splitlines(), sealed=sealed)
    document = load_document(text, path, model.book, model.notices)
    if not document:
        return {}
    if not isinstance(document, Mapping):
        raise model.book.error(f"expected a mapping of variables, got {kind(document)}", Place(path, 1))
    return assigned(document, Place(path))
