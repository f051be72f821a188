"""The inventory as the rest of the program sees it: hosts with their variables, patterns, explanations."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import NothingSelected, Source, UsageError
from harness.inventory.merge import Merger
from harness.inventory.patterns import Matcher
from harness.inventory.places import MASK, Assigned, Notice, did_you_mean, is_secret_name
from harness.inventory.templates import Templater
from harness.inventory.values import Unsafe, Vaulted, jsonable

_SCHEME = re.compile(r"([a-z][a-z0-9+]*)://", re.IGNORECASE)
_BLOCK = re.compile(r"\{[{%].*?[}%]\}", re.DOTALL)
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Group:
    """A group: its own hosts, the groups directly below and above it, all in the order they were given."""

    name: str
    hosts: tuple[str, ...]
    children: tuple[str, ...]
    parents: tuple[str, ...]
    priority: int


@dataclass(frozen=True, slots=True)
class Giver:
    """One place that gave a variable a value: what it is, where it is, and the value as it was written."""

    layer: str
    source: Source
    value: object


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a host's variable has its value. Of `givers` (never empty) the first counts, the others lost."""

    host: str
    variable: str
    value: object
    givers: tuple[Giver, ...]
    secret: bool
    holds_secret: bool
    """`value` must not be shown: it is a secret, or a template made it of one. What was written may be shown
    unless `secret`."""


_SIMPLE = frozenset({int, bool, float, type(None)})


class HostVars(Mapping[str, object]):
    """A host's variables, merged; each is resolved when it is read, to plain data that is the reader's own.
    Raises UsageError where a template or vaulted value cannot be resolved."""

    __slots__ = ("_inventory", "_merged", "_name", "_resolved")

    def __init__(self, name: str, inventory: Inventory) -> None:
        self._name = name
        self._inventory = inventory
        self._merged: dict[str, Assigned] | None = None
        self._resolved: dict[str, object] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def merged(self) -> dict[str, Assigned]:
        """The variables as they were written, with their places."""
        if self._merged is None:
            self._merged = self._inventory.merger.merged(self._name)
        return self._merged

    def assigned(self, name: str) -> Assigned | None:
        return self.merged.get(name)

    def magic(self, name: str) -> object | None:
        return self._inventory.magic(name)

    def __getitem__(self, name: str) -> object:
        written = self.merged[name].value
        kind = type(written)
        if kind in _SIMPLE or (kind is str and "{" not in written):  # type: ignore[operator]
            # Most variables are no templates; a large inventory is read four times as fast for knowing it.
            return written
        if name not in self._resolved:
            value = self._inventory.templater.resolve(self, name)
            if isinstance(value, (dict, list)):
                return value
            self._resolved[name] = value
        return self._resolved[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.merged)

    def __len__(self) -> int:
        return len(self.merged)

    def __contains__(self, name: object) -> bool:
        return name in self.merged


@dataclass(frozen=True, slots=True, eq=False)
class Host:
    """A host: its name, its groups (all but `all`, by name, as Ansible's `group_names`) and its variables."""

    name: str
    groups: tuple[str, ...]
    vars: HostVars

    @property
    def inside(self) -> tuple[str, ...]:
        """See :attr:`Inventory.inside`."""
        return self.vars._inventory.inside

    def source(self, var: str) -> Source | None:
        """Where the value of a variable that counts was written; None when the host has no such variable.
        A secret's value is masked in the line."""
        assigned = self.vars.assigned(var)
        if assigned is None:
            return None
        return self.vars._inventory.source(var, assigned)

    def path(self, var: str) -> Path:
        """A variable's value as an absolute path: `~` is the home, relative ones start at the inventory file's
        folder (for `-e` and lists of hosts: the current folder). `unix://` and `file://` in front are taken off.

        Raises UsageError when there is no such variable or it is no path.
        """
        value = self.vars.get(var)
        if not isinstance(value, str) or not value:
            raise self.error(var, f"expected a path, got {value!r}" if var in self.vars else "is not set")
        scheme = _SCHEME.match(value)
        if scheme:
            if scheme[1].lower() not in ("unix", "file"):
                raise self.error(var, f"expected a path, got {value!r}")
            value = value[scheme.end() :]
        return self.resolve_path(value, var)

    def resolve_path(self, text: str, var: str) -> Path:
        """As :meth:`path`, for one item of the list that `var` holds."""
        assigned = self.vars.assigned(var)
        given_here = assigned is not None and assigned.place.path == "-e"
        folder = None if given_here else self.vars.get("inventory_dir")
        path = os.path.expanduser(text)
        return Path(os.path.normpath(os.path.join(folder if isinstance(folder, str) else os.getcwd(), path)))

    def setting(self, var: str) -> object:
        """A variable of our table as its own type (seconds, MiB, a list…), or its default where there is none.

        Raises UsageError, with the place, for a value that is none; KeyError for a name not in the table.
        """
        from harness.inventory.variables import TABLE

        variable = TABLE[var]
        for name in (var, *variable.aliases):
            if name in self.vars:
                try:
                    return variable.read(self.vars[name])
                except ValueError as error:
                    raise self.error(name, str(error)) from None
        return variable.read(variable.default) if variable.default is not None else None

    def error(self, var: str, problem: str, *, hint: str = "") -> UsageError:
        """The error for a value that cannot be used. What stands behind `, got` is masked where it holds a secret."""
        said, got, _ = problem.partition(", got ")
        if got and self.holds_secret(var):
            problem = f"{said}{got}{MASK}"
        return UsageError(f"host {self.name!r}, variable {var!r}: {problem}", source=self.source(var), hint=hint)

    def resolved(self, names: Collection[str] | None = None) -> dict[str, object]:
        """Variables resolved, as plain data that can be sent elsewhere: all, or those of `names` that the host has.

        Raises UsageError where one cannot be resolved. Ask for what you need: an undefined variable in a template
        that nobody uses is no reason to fail.
        """
        return {name: self.vars[name] for name in self.vars if names is None or name in names}

    @property
    def secret_names(self) -> frozenset[str]:
        """Variables that hold a secret: by their name, or because they are vaulted."""
        sealed = self.vars._inventory.sealed
        return frozenset(
            name
            for name, assigned in self.vars.merged.items()
            if is_secret_name(name) or assigned.place.path in sealed or _holds_vaulted(assigned.value)
        )

    def holds_secret(self, name: str) -> bool:
        """Whether a variable is a secret, or a template that uses one, itself or by way of other variables.

        It goes by the names that stand in templates, so it may say yes where no harm would be done.
        """
        merged, secret = self.vars.merged, self.secret_names
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name in secret or is_secret_name(name):
                return True
            if name in merged and name not in seen:
                seen.add(name)
                waiting.extend(_names_in_templates(merged[name].value))
        return False

    @property
    def secret_values(self) -> frozenset[str]:
        """The texts that must never be shown."""
        found: set[str] = set()
        for name in self.secret_names:
            try:
                value = self.vars[name]
            except UsageError:
                # What cannot be opened or resolved is not known here, so it cannot be shown either. Whoever needs
                # the variable meets the error there.
                continue
            _collect(value, found, numbers=is_secret_name(name))
        for name in self.vars.keys() - self.secret_names:
            # A secret inside a structure, such as `users: [{name: bob, password: …}]`.
            if _holds_secret_name(self.vars.merged[name].value):
                try:
                    _collect_named(self.vars[name], found)
                except UsageError:
                    continue  # as above
        return frozenset(found)


def _holds_secret_name(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(is_secret_name(str(key)) or _holds_secret_name(item) for key, item in value.items())
    return isinstance(value, list) and any(_holds_secret_name(item) for item in value)


def _collect_named(value: object, found: set[str]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if is_secret_name(str(key)):
                _collect(item, found, numbers=True)
            else:
                _collect_named(item, found)
    elif isinstance(value, list):
        for item in value:
            _collect_named(item, found)


def _holds_vaulted(value: object) -> bool:
    if isinstance(value, Vaulted):
        return True
    if isinstance(value, Mapping):
        return any(_holds_vaulted(item) for item in value.values())
    return isinstance(value, list) and any(_holds_vaulted(item) for item in value)


def _names_in_templates(value: object) -> Iterator[str]:
    if isinstance(value, str) and not isinstance(value, Unsafe):
        for block in _BLOCK.findall(value):
            yield from _WORD.findall(block)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _names_in_templates(item)
    elif isinstance(value, list):
        for item in value:
            yield from _names_in_templates(item)


_A_PORT = 5
"""Digits. In a vaulted file stand ports and counts, too; masked, they would make holes in what is no secret."""


def _collect(value: object, found: set[str], *, numbers: bool) -> None:
    if isinstance(value, str):
        if value:
            found.add(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            _collect(item, found, numbers=numbers)
    elif isinstance(value, list):
        for item in value:
            _collect(item, found, numbers=numbers)
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and (numbers or len(str(value)) > _A_PORT):
        found.add(str(value))


class Inventory:
    """All hosts and groups. Made by :func:`harness.inventory.load`; does not change afterwards."""

    def __init__(self, merger: Merger, templater: Templater, play: list[str]) -> None:
        self.merger = merger
        self.model = merger.model
        self.templater = templater
        self.hosts: tuple[str, ...] = tuple(self.model.hosts_of("all"))
        self.groups: Mapping[str, Group] = {
            name: Group(name, tuple(node.hosts), tuple(node.children), tuple(node.parents), node.priority)
            for name, node in self.model.groups.items()
        }
        self._play = play
        self._hosts: dict[str, Host] = {}
        self._matcher = Matcher(self.model, lambda message: self.model.notices.append(Notice(message)))
        self._members: dict[str, list[str]] | None = None

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """What works but is probably not meant, each once, in the order it was met."""
        return tuple(dict.fromkeys(self.model.notices))

    @property
    def sealed(self) -> set[str]:
        """Paths of vaulted files."""
        return self.model.book.sealed

    @property
    def inside(self) -> tuple[str, ...]:
        """The folders that an untrusted inventory may name files in; none for one that is trusted."""
        return self.model.inside

    def host(self, name: str) -> Host:
        """The host of that very name. Raises UsageError."""
        found = self._hosts.get(name)
        if found is None:
            node = self.model.hosts.get(name)
            if node is None:
                raise UsageError(
                    f"there is no host {name!r} in the inventory",
                    hint=did_you_mean(name, self.model.hosts) or "See what there is: harness inventory --graph",
                )
            groups = tuple(sorted(self.merger.order(node)))
            found = self._hosts.setdefault(name, Host(name, groups, HostVars(name, self)))
        return found

    def select(self, pattern: str | None = None, *, limit: str | None = None) -> tuple[Host, ...]:
        """The hosts of a pattern (None: all) that are also in `limit`.

        Raises UsageError where a term of either names nothing, or `limit` names no host; NothingSelected when
        nothing is left.
        """
        return tuple(self.host(name) for name in self.select_names(pattern, limit=limit))

    def select_names(self, pattern: str | None = None, *, limit: str | None = None) -> list[str]:
        """As :meth:`select`, the names only."""
        names = list(self.hosts) if pattern is None else self._matcher.hosts(pattern)
        if limit is not None:
            inside = set(self._matcher.hosts(limit))
            if not inside:
                raise UsageError(
                    f"--limit {limit!r} matches no host", hint="See what there is: harness inventory --graph"
                )
            names = [name for name in names if name in inside]
        if not names:
            what = f"the pattern {pattern!r}" if pattern is not None else "the inventory"
            within = f" within --limit {limit!r}" if limit is not None else ""
            raise NothingSelected(f"{what} names no host{within}", hint="See what there is: harness inventory --graph")
        return names

    def source(self, var: str, assigned: Assigned) -> Source:
        """Where a value was written, secrets masked."""
        return self.model.book.source(assigned.place, var)

    def explain(self, host: str, var: str) -> Explanation:
        """Who gave a host's variable its value, and what that overrode. Raises UsageError."""
        target = self.host(host)
        givers: list[Giver] = []
        for layer, variables in self.merger.layers(host):
            chain: list[Giver] = []
            assigned = variables.get(var)
            while assigned is not None:
                chain.append(Giver(layer, self.source(var, assigned), jsonable(assigned.value)))
                assigned = assigned.previous
            givers = [*chain, *givers]
        if not givers:
            raise UsageError(f"host {host!r} has no variable {var!r}", hint=did_you_mean(var, target.vars))
        secret = var in target.secret_names
        return Explanation(host, var, target.vars[var], tuple(givers), secret, target.holds_secret(var))

    def magic(self, name: str) -> object | None:
        """The variables that templates see of the inventory as a whole."""
        if name == "groups":
            if self._members is None:
                self._members = {group: self.model.hosts_of(group) for group in self.model.groups}
            return self._members
        if name == "hostvars":
            return _AllVars(self)
        if name == "playbook_dir":
            return self._play[0] if self._play else os.getcwd()
        return None


class _AllVars(Mapping[str, object]):
    """`hostvars` in a template: each host's variables."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def __getitem__(self, name: str) -> object:
        if name not in self._inventory.model.hosts:
            raise KeyError(name)
        return _View(self._inventory, self._inventory.host(name).vars)

    def __iter__(self) -> Iterator[str]:
        return iter(self._inventory.hosts)

    def __len__(self) -> int:
        return len(self._inventory.hosts)


class _View(Mapping[str, object]):
    """One host's variables inside another one's template, resolved lazily."""

    def __init__(self, inventory: Inventory, variables: HostVars) -> None:
        self._inventory, self._variables = inventory, variables

    def __getitem__(self, name: str) -> object:
        return self._inventory.templater.variable(self._variables, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)
