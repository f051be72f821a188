"""Groups and hosts while sources are read, and the rules that hold between them.

The rules are Ansible's (`InventoryData`): every host is in `all`; a host of no other group is in `ungrouped`,
and only such a host; a group without a parent is a child of `all`; a name that is both names the group first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from harness.errors import Source, UsageError
from harness.inventory.draft import AddChild, AddGroup, AddHosts, Draft, SetVars
from harness.inventory.places import Assigned, Book, Notice, Place

_ODD_IN_GROUP = re.compile(r"^[\d\W]|[^\w]")
MOST_HOSTS = 250_000
"""Hosts of one inventory: each takes about a kilobyte here."""
_NOWHERE = Place("")


@dataclass(slots=True, eq=False)
class GroupNode:
    """A group; `hosts` and `children` are those given directly, in the order they came."""

    name: str
    place: Place
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    variables: dict[str, Assigned] = field(default_factory=dict)
    priority: int = 1
    depth: int = 0


@dataclass(slots=True, eq=False)
class HostNode:
    """A host; `groups` hold it directly. `inventory_file` is the source that named it first."""

    name: str
    place: Place
    inventory_file: str | None
    inventory_dir: str | None
    groups: dict[str, None] = field(default_factory=dict)
    variables: dict[str, Assigned] = field(default_factory=dict)
    left_ungrouped: bool = False
    """It was listed without a group as well as in one: then it does not inherit from `ungrouped`, even where that
    is made an ancestor of its group (as Ansible has it)."""


class Model:
    """All that the sources have said so far."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.groups: dict[str, GroupNode] = {}
        self.hosts: dict[str, HostNode] = {}
        self.notices: list[Notice] = []
        self.inside: tuple[str, ...] = ()
        """The folders outside of which no file is read; none where the inventory is trusted."""
        for name in ("all", "ungrouped"):
            self.groups[name] = GroupNode(name, _NOWHERE)
        self._add_child("all", "ungrouped", _NOWHERE)

    def require_inside(self, path: str) -> None:
        """Raise UsageError for a file that an untrusted inventory may not have read."""
        real = os.path.realpath(path)
        if self.inside and not any(real == folder or real.startswith(folder + os.sep) for folder in self.inside):
            raise UsageError(
                "this file leads out of the inventory's folder, which --untrusted does not allow", source=Source(path)
            )

    def apply(self, draft: Draft) -> None:
        """Takes over what a source says. Raises UsageError, with the place, for what cannot be."""
        folder = _folder(draft.path)
        for step in draft.steps:
            if isinstance(step, AddHosts):
                self._add_hosts(step, draft.path, folder)
            elif isinstance(step, SetVars):
                self._set(step.entity, step.variables)
            elif isinstance(step, AddChild):
                self._add_child(step.parent, step.child, step.place)
            else:
                self._add_group(step)
        self.notices.extend(draft.notices)

    def _add_group(self, step: AddGroup) -> None:
        name, place = step
        if not isinstance(name, str) or not name:
            raise self.book.error(f"{name!r} is no name for a group: expected a text", place)
        if name not in self.groups:
            if odd := sorted(set(_ODD_IN_GROUP.findall(name))):
                shown = " ".join(repr(character) for character in odd)
                self.notices.append(
                    Notice(
                        f"group {name!r} holds characters that are not valid in a variable's name: {shown}",
                        self.book.source(place, name),
                    )
                )
            self.groups[name] = GroupNode(name, place)

    def _add_hosts(self, step: AddHosts, path: str, folder: str | None) -> None:
        group = self.groups[step.group] if step.group is not None else None
        for name in step.names:
            if not isinstance(name, str) or not name:
                raise self.book.error(f"{name!r} is no name for a host: expected a text", step.place)
            host = self.hosts.get(name)
            if host is None:
                if len(self.hosts) >= MOST_HOSTS:
                    raise self.book.error(f"the inventory has more than {MOST_HOSTS} hosts", step.place)
                host = self.hosts[name] = HostNode(name, step.place, path, folder)
                if step.port:
                    host.variables["ansible_port"] = Assigned(step.port, step.place)
            if group is not None:
                group.hosts[name] = None
                host.groups[group.name] = None
            if step.variables:
                self._set(name, step.variables)

    def _set(self, entity: str, variables: Mapping[str, Assigned]) -> None:
        group = self.groups.get(entity)
        held = group.variables if group is not None else self.hosts[entity].variables
        for name, given in variables.items():
            if group is not None and name == "ansible_group_priority":
                try:
                    group.priority = int(given.value)  # type: ignore[call-overload]
                except (TypeError, ValueError):
                    raise self.book.error(
                        f"ansible_group_priority of {entity!r} must be a whole number, got {given.value!r}",
                        given.place,
                        word=name,
                    ) from None
                continue
            before = held.get(name)
            held[name] = given if before is None else Assigned(given.value, given.place, before)

    def _add_child(self, parent: str, child: str, place: Place) -> None:
        """Ansible takes `child` for a group first and for a host only when no group has its name."""
        above, below = self.groups[parent], self.groups.get(child)
        if below is None:
            above.hosts[child] = None
            self.hosts[child].groups[parent] = None
            return
        if child == parent:
            raise self.book.error(f"group {parent!r} cannot be its own child", place, word=child)
        if child == "ungrouped" and parent != "all":
            raise self.book.error(
                f"'ungrouped' cannot be a child of {parent!r}", place, word=child,
                hint="It holds the hosts of no other group; name the hosts themselves.",
            )  # fmt: skip
        if child in above.children:
            return
        if child in self.ancestors(parent):
            loop = " > ".join([parent, *self._way_down(child, parent)])
            raise self.book.error(
                f"group {child!r} cannot be a child of {parent!r}: that closes a circle ({loop})",
                place,
                word=child,
            )
        above.children[child] = None
        below.parents[parent] = None

    def _way_down(self, start: str, end: str) -> list[str]:
        """The groups from `start` down to `end`, both included."""
        ways = [[start]]
        seen = {start}
        while ways:
            way = ways.pop(0)
            if way[-1] == end:
                return way
            for child in self.groups[way[-1]].children:
                if child not in seen:
                    seen.add(child)
                    ways.append([*way, child])
        return [start, end]

    def ancestors(self, name: str) -> set[str]:
        """The groups above a group."""
        found: set[str] = set()
        unseen = list(self.groups[name].parents)
        while unseen:
            above = unseen.pop()
            if above not in found:
                found.add(above)
                unseen.extend(self.groups[above].parents)
        return found

    def reconcile(self) -> None:
        """Makes the rules true, after all sources."""
        for name in self.groups:
            if name != "all" and not self.groups[name].parents:
                self._add_child("all", name, self.groups[name].place)
        for host in self.hosts.values():
            others = host.groups.keys() - {"all", "ungrouped"}
            if "ungrouped" in host.groups:
                if others:
                    del host.groups["ungrouped"]
                    host.left_ungrouped = True
                    del self.groups["ungrouped"].hosts[host.name]
            elif not others:
                self._add_child("ungrouped", host.name, host.place)
        for name in sorted(self.groups.keys() & self.hosts.keys()):
            self.notices.append(
                Notice(
                    f"{name!r} is both a group and a host",
                    self.book.source(self.hosts[name].place, name),
                )
            )
        self._measure()

    def _measure(self) -> None:
        """Each group's depth: the longest way down to it from `all`."""
        waiting = {name: len(group.parents) for name, group in self.groups.items()}
        ready = [name for name, count in waiting.items() if not count]
        while ready:
            group = self.groups[ready.pop()]
            for child in group.children:
                below = self.groups[child]
                below.depth = max(below.depth, group.depth + 1)
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)

    def descend(self, name: str) -> Iterator[str]:
        """A group and all below it, level by level, each once, always in the same order."""
        seen = {name}
        level = [name]
        while level:
            yield from level
            following: list[str] = []
            for above in level:
                for child in self.groups[above].children:
                    if child not in seen:
                        seen.add(child)
                        following.append(child)
            level = following

    def hosts_of(self, name: str) -> list[str]:
        """The hosts of a group and of all below it, each once."""
        return list(dict.fromkeys(host for group in self.descend(name) for host in self.groups[group].hosts))


def _folder(path: str) -> str | None:
    """Ansible's `inventory_dir`: the folder of a file, nothing for a list of hosts."""
    if os.path.isdir(path):
        return os.path.abspath(path)
    return os.path.abspath(os.path.dirname(path)) if os.path.exists(path) else None
