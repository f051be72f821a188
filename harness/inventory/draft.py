"""What one source says, as a list of steps that is applied only when the whole source has been read.

Readers are pure: text in, steps out. So a source that fails half-way leaves nothing behind, and a file may be
tried as YAML first and as INI after that, as Ansible does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.inventory.places import Assigned, Book, Notice, Place


class AddGroup(NamedTuple):
    """The group is there from now on."""

    name: object
    place: Place


class AddHosts(NamedTuple):
    """The hosts are there and, with `group`, in it; `port` counts only for hosts that are new."""

    names: Sequence[object]
    group: str | None
    port: int | None
    variables: Mapping[str, Assigned]
    place: Place


class SetVars(NamedTuple):
    """Variables of a group (or, when no group has that name, of a host)."""

    entity: str
    variables: Mapping[str, Assigned]


class AddChild(NamedTuple):
    """The group `child` is a child of the group `parent`."""

    parent: str
    child: str
    place: Place


Step = AddGroup | AddHosts | SetVars | AddChild


@dataclass(slots=True)
class Draft:
    """The steps and notices of one source. `path` is what its hosts will hold as `inventory_file`."""

    path: str
    book: Book
    steps: list[Step] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def notice(self, message: str, place: Place, word: str = "") -> None:
        self.notices.append(Notice(message, self.book.source(place, word)))
