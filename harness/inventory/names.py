"""The names in an inventory, for a shell that completes words: quick, quiet, and without starting anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.inventory.model import Model
from harness.inventory.places import Book
from harness.inventory.sources import Reader, expand_source
from harness.inventory.vault import Vault


@dataclass(frozen=True, slots=True)
class Names:
    """The names of hosts and of groups, in the order of the sources."""

    hosts: tuple[str, ...]
    groups: tuple[str, ...]


def names(sources: Sequence[str]) -> Names:
    """What the sources name. A source that is a program is not run, and what is vaulted is not opened; of a source
    that cannot be read, what stands behind the mistake is left out."""
    model = Model(Book())
    reader = Reader(model, Vault(), programs=False)
    for source in sources:
        try:
            reader.read(expand_source(source))
        except UsageError:
            continue  # whoever completes a word is told nothing; the command itself will say it
    model.reconcile()
    return Names(tuple(model.hosts), tuple(name for name in model.groups if name != "ungrouped"))
