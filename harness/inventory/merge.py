"""Which value of a variable counts: Ansible's order of precedence, with the way each value came.

Weakest first (Ansible's documentation, "Understanding variable precedence", as far as it concerns
inventories): `all` in the sources; the other groups in the sources, by depth, priority, name; `group_vars/all`
beside the inventory, then beside the checks; other `group_vars`, likewise; the host's own; `host_vars`,
likewise; `-e`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.inventory.addresses import is_ipv4, is_ipv6
from harness.inventory.model import HostNode, Model
from harness.inventory.places import Assigned, Place
from harness.inventory.varsfiles import Layer, VarsFiles

_MAGIC = Place("the inventory itself")


def bases(sources: Sequence[str]) -> list[str]:
    """The folders beside which group_vars and host_vars count, weakest first, each once."""
    found: dict[str, None] = {}
    for source in sources:
        if "," in source and not os.path.exists(source):
            continue
        base = os.path.realpath(source if os.path.isdir(source) else os.path.dirname(source))
        found.pop(base, None)
        found[base] = None
    return list(found)


def _key(host: HostNode) -> tuple[bool, frozenset[str]]:
    """Hosts of one key have the same groups, so what they get from groups is worked out once."""
    return host.left_ungrouped, frozenset(host.groups)


@dataclass(slots=True)
class Merger:
    """Merges the variables of hosts. `inventory` and `play` are folders, `extra` the layers of `-e`."""

    model: Model
    files: VarsFiles
    inventory: list[str]
    play: list[str]
    extra: list[Layer]
    _shared: dict[tuple[bool, frozenset[str]], dict[str, Assigned]] = field(default_factory=dict)
    _orders: dict[tuple[bool, frozenset[str]], tuple[str, ...]] = field(default_factory=dict)

    def order(self, host: HostNode) -> tuple[str, ...]:
        """All groups of a host but `all`, weakest first."""
        direct = _key(host)
        found = self._orders.get(direct)
        if found is None:
            groups = set(host.groups)
            for name in host.groups:
                groups |= self.model.ancestors(name)
            groups.discard("all")
            if host.left_ungrouped:
                groups.discard("ungrouped")
            nodes = sorted((self.model.groups[name] for name in groups), key=lambda g: (g.depth, g.priority, g.name))
            found = self._orders[direct] = tuple(node.name for node in nodes)
        return found

    def merged(self, name: str) -> dict[str, Assigned]:
        """Every variable of a host with the value that counts, templates unresolved. Raises UsageError."""
        host = self.model.hosts[name]
        direct = _key(host)
        shared = self._shared.get(direct)
        if shared is None:
            shared = self._shared[direct] = {}
            for _, variables in self._group_layers(host):
                shared.update(variables)
        result = shared.copy()
        for _, variables in self._host_layers(host):
            result.update(variables)
        return result

    def layers(self, name: str) -> list[Layer]:
        """All layers of a host, weakest first, each with what it is."""
        host = self.model.hosts[name]
        return [*self._group_layers(host), *self._host_layers(host)]

    def group_vars(self, name: str) -> dict[str, Assigned]:
        """A group's own variables, files included (what `--graph --vars` shows)."""
        group = self.model.groups[name]
        result = dict(group.variables)
        for base in [*self.inventory, *self.play]:
            for _, variables in self.files.layers(base, "group_vars", name):
                result.update(variables)
        if group.priority != 1:
            result["ansible_group_priority"] = Assigned(group.priority, group.place)
        return result

    def _group_layers(self, host: HostNode) -> Iterator[Layer]:
        groups = self.order(host)
        yield "group all", self.model.groups["all"].variables
        for name in groups:
            yield f"group {name}", self.model.groups[name].variables
        for names in (("all",), groups):
            for base in [*self.inventory, *self.play]:
                for name in names:
                    yield from self.files.layers(base, "group_vars", name)

    def _host_layers(self, host: HostNode) -> Iterator[Layer]:
        yield (
            "source",
            {
                "inventory_file": Assigned(host.inventory_file, _MAGIC),
                "inventory_dir": Assigned(host.inventory_dir, _MAGIC),
            },
        )
        yield f"host {host.name}", host.variables
        address = is_ipv4(host.name) or is_ipv6(host.name)
        yield (
            "name and groups",
            {
                "inventory_hostname": Assigned(host.name, _MAGIC),
                "inventory_hostname_short": Assigned(host.name if address else host.name.split(".")[0], _MAGIC),
                "group_names": Assigned(sorted(self.order(host)), _MAGIC),
            },
        )
        for base in [*self.inventory, *self.play]:
            yield from self.files.layers(base, "host_vars", host.name)
        yield from self.extra
