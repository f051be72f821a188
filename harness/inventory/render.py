"""An inventory as text: the JSON of `ansible-inventory --list`, one host, the graph, an explanation."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from harness.errors import UsageError
from harness.inventory.inventory import Explanation, Inventory
from harness.inventory.places import MASK, Assigned, did_you_mean
from harness.inventory.values import Vaulted, jsonable

# Ansible's INTERNAL_STATIC_VARS: what ansible-inventory never shows, whoever set it.
_SIMPLE = frozenset({str, int, bool, float, type(None)})
_INTERNAL = frozenset(
    [
        "ansible_async_path",
        "ansible_collection_name",
        "ansible_config_file",
        "ansible_dependent_role_names",
        "ansible_diff_mode",
        "ansible_facts",
        "ansible_forks",
        "ansible_inventory_sources",
        "ansible_limit",
        "ansible_play_batch",
        "ansible_play_hosts",
        "ansible_play_hosts_all",
        "ansible_play_role_names",
        "ansible_playbook_python",
        "ansible_role_name",
        "ansible_role_names",
        "ansible_run_tags",
        "ansible_skip_tags",
        "ansible_verbosity",
        "ansible_version",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "inventory_hostname_short",
        "groups",
        "group_names",
        "hostvars",
        "playbook_dir",
        "play_hosts",
        "role_name",
        "role_names",
        "role_path",
        "role_uuid",
    ]
)


def _shown(variables: Mapping[str, Assigned]) -> dict[str, object]:
    # Nearly all values are plain; asking their exact type first halves the time of a large inventory.
    return {
        name: item.value if type(item.value) in _SIMPLE else jsonable(item.value)
        for name, item in variables.items()
        if name not in _INTERNAL
    }


def host_json(inventory: Inventory, name: str) -> dict[str, object]:
    """A host's merged variables, templates unresolved, as `ansible-inventory --host` gives them.

    Unlike `--list`, that marks unsafe texts only in what lies below a second-level key `vars`, where it takes the
    variable for a group.
    """
    merged = inventory.merger.merged(name)
    return {var: _unmarked(merged[var].value) for var in merged if var not in _INTERNAL}


def _unmarked(value: object) -> object:
    shown = jsonable(value, marks=False)
    if (
        isinstance(value, Mapping)
        and isinstance(shown, dict)
        and isinstance(below := value.get("vars"), (Mapping, list))
    ):
        shown["vars"] = jsonable(below)
    return shown


def list_json(inventory: Inventory, names: Collection[str]) -> dict[str, object]:
    """The whole inventory, restricted to the hosts `names`, in the shape of `ansible-inventory --list`."""
    wanted = set(names)
    result: dict[str, object] = {}
    seen: set[str] = set()

    def add(name: str) -> None:
        node = inventory.model.groups[name]
        entry: dict[str, object] = {}
        if name != "all" and (hosts := [host for host in node.hosts if host in wanted]):
            entry["hosts"] = hosts
        if node.children:
            entry["children"] = list(node.children)
        if entry:
            result[name] = entry
        for child in node.children:
            if child not in seen:
                seen.add(child)
                add(child)

    add("all")
    hostvars = {name: shown for name in names if (shown := _shown(inventory.merger.merged(name)))}
    result["_meta"] = {"hostvars": hostvars, "profile": "inventory_legacy"}
    return result


def to_json(value: object) -> str:
    """Sorted, indented JSON."""
    import orjson

    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode()
    except TypeError:
        # Lone surrogates (bytes that were no UTF-8) and integers beyond 64 bits are more than orjson takes.
        return json.dumps(value, sort_keys=True, indent=2)


def graph(inventory: Inventory, group: str, *, show_vars: bool) -> str:
    """The tree of groups and hosts from `group` down, as `ansible-inventory --graph`. Raises UsageError."""
    if group not in inventory.model.groups:
        raise UsageError(
            f"--graph starts at a group, and there is no group {group!r}",
            hint=did_you_mean(group, inventory.model.groups),
        )
    lines: list[str] = []

    def put(text: str, depth: int) -> None:
        lines.append("  |" * depth + ("--" if depth else "") + text)

    def put_vars(variables: Mapping[str, Assigned], depth: int) -> None:
        if show_vars:
            for name in sorted(variables):
                if name not in _INTERNAL:
                    put(f"{{{name} = {_plain(variables[name].value)}}}", depth)

    def add(name: str, depth: int) -> None:
        put(f"@{name}:", depth)
        node = inventory.model.groups[name]
        for child in node.children:
            add(child, depth + 1)
        if name != "all":
            for host in node.hosts:
                put(host, depth + 1)
                if show_vars:
                    put_vars(inventory.merger.merged(host), depth + 2)
        put_vars(inventory.merger.group_vars(name) if show_vars else {}, depth + 1)

    add(group, 0)
    return "\n".join(lines)


def _plain(value: object) -> object:
    """Vaulted texts as a word, all else as Python shows it (as Ansible does)."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return "<vaulted>" if isinstance(value, Vaulted) else value


def explanation(found: Explanation) -> str:
    """Why a variable has its value, for people. A secret's value is masked."""

    def value(item: object) -> str:
        return MASK if found.secret else json.dumps(jsonable(item), ensure_ascii=False)

    first = found.givers[0]
    lines = [f"{found.variable} of {found.host} is {MASK if found.holds_secret else value(found.value)}"]
    if first.value != jsonable(found.value):
        lines.append(f"  written as {value(first.value)}")
    for number, giver in enumerate(found.givers):
        verb = "from" if number == 0 else "over"
        lines.append(f"  {verb} {giver.source}  ({giver.layer})" + (f": {value(giver.value)}" if number else ""))
        if giver.source.text:
            lines.append(f"       {giver.source.text.strip()}")
    return "\n".join(lines)
