"""The YAML, JSON and TOML inventory formats: a tree of groups with `hosts`, `vars` and `children`.

Structure: Ansible's documentation of its `yaml` and `toml` inventory plugins.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.inventory.addresses import expand_pattern
from harness.inventory.draft import AddChild, AddGroup, AddHosts, Draft, SetVars
from harness.inventory.places import Assigned, Place, did_you_mean
from harness.inventory.values import Located, json_key, kind

_SECTIONS = ("hosts", "vars", "children")


def read_tree(draft: Draft, document: object, form: str) -> None:
    """Reads a document (`form`: YAML or TOML) into `draft`. Raises UsageError, with the place."""
    top = Place(draft.path, 1)
    if not document:
        raise draft.book.error(f"this {form} file is empty", top)
    if not isinstance(document, Mapping):
        raise draft.book.error(
            f"expected a mapping of groups at the top of the {form} inventory, got {kind(document)}", top,
            hint="Start with 'all:', and 'hosts:' below it.",
        )  # fmt: skip
    if document.get("plugin"):
        raise draft.book.error(
            f"this file configures the inventory plugin {document['plugin']!r}; plugins are not run here",
            _at(document, "plugin", top),
            hint="Make an inventory of it first: ansible-inventory -i FILE --list --export > inventory.json, "
            "or write a script that prints it.",
        )
    reader = _Toml(draft) if form == "TOML" else _Yaml(draft)
    for name, data in document.items():
        reader.group(name, data, _at(document, name, top))


def _at(mapping: object, key: object, otherwise: Place) -> Place:
    return mapping.place(key) if isinstance(mapping, Located) else otherwise


def assigned(values: Mapping[object, object], place: Place) -> dict[str, Assigned]:
    """A mapping of variables with the place of each; `place` is for formats whose lines are not known."""
    if isinstance(values, Located):
        return {json_key(key): Assigned(value, values.place(key)) for key, value in values.items()}
    return {json_key(key): Assigned(value, place) for key, value in values.items()}


class _Yaml:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def group(self, name: object, data: object, place: Place) -> None:
        if data is not None and not isinstance(data, Mapping):
            self.draft.notice(f"{name!r} is skipped: a group is a mapping, this is {kind(data)}", place)
            return
        self.draft.steps.append(AddGroup(name, place))
        if data is None or not isinstance(name, str):
            return
        sections = {str(key): self._section(name, key, data, place) for key in data if key in _SECTIONS}
        for key in data:
            at = _at(data, key, place)
            if key not in sections:
                if not isinstance(data[key], Mapping):
                    self._skip(name, key, f"is not a mapping but {kind(data[key])}", at)
                else:
                    self._skip(name, key, "is none of hosts, vars, children", at)
            elif key == "vars":
                self.draft.steps.append(SetVars(name, assigned(sections[key], at)))
            elif key == "children":
                for child, below in sections[key].items():
                    self.child(name, child, below, _at(sections[key], child, at))
            else:
                for pattern, variables in sections[key].items():
                    self.hosts(name, pattern, variables, _at(sections[key], pattern, at))

    def _skip(self, name: str, key: object, why: str, at: Place) -> None:
        meant = did_you_mean(str(key), _SECTIONS)
        self.draft.notice(f"{key!r} in group {name!r} is skipped: it {why}{'; ' + meant if meant else ''}", at)

    def _section(self, name: str, key: object, data: Mapping[object, object], place: Place) -> Mapping[object, object]:
        section = data[key]
        at = _at(data, key, place)
        if section is None:
            return {}
        if isinstance(section, str):
            only = Located(at)
            only[section] = None
            return only
        if not isinstance(section, Mapping):
            raise self.draft.book.error(
                f"{key!r} of group {name!r} must be a mapping, got {kind(section)}", at,
                hint="Write each name with a colon behind it, not a dash before." if isinstance(section, list) else "",
            )  # fmt: skip
        return section

    def child(self, parent: str, name: object, data: object, place: Place) -> None:
        if data is not None and not isinstance(data, Mapping):
            raise self.draft.book.error(
                f"child {name!r} of group {parent!r} must be a mapping or empty, got {kind(data)}", place
            )
        self.group(name, data, place)
        if isinstance(name, str):
            self.draft.steps.append(AddChild(parent, name, place))

    def hosts(self, group: str, pattern: object, variables: object, place: Place) -> None:
        if not isinstance(pattern, str):
            raise self.draft.book.error(
                f"host {pattern!r} in group {group!r} is {kind(pattern)}; put it in quotes", place
            )
        try:
            names, port = expand_pattern(pattern)
        except ValueError as error:
            raise self.draft.book.error(str(error), place) from None
        if not variables:
            variables = {}
        if not isinstance(variables, Mapping):
            raise self.draft.book.error(
                f"the variables of host {pattern!r} must be a mapping, got {kind(variables)}", place
            )
        self.draft.steps.append(AddHosts(names, group, port, assigned(variables, place), place))


class _Toml(_Yaml):
    """As YAML, but `children` is a list of names, and the lines are not known."""

    def _section(self, name: str, key: object, data: Mapping[object, object], place: Place) -> Mapping[object, object]:
        section = data[key]
        if key == "children" and isinstance(section, list):
            return dict.fromkeys(section)
        if key == "children" or not isinstance(section, Mapping):
            wanted = "a list of names" if key == "children" else "a table"
            raise self.draft.book.error(
                f"{key!r} of group {name!r} must be {wanted}, got {kind(section)}", place, word=str(key)
            )
        return section
