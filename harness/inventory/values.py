"""Values that are more than plain data: vaulted texts, texts that are no templates, mappings with lines."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from harness.inventory.places import Place


@dataclass(frozen=True, slots=True)
class Vaulted:
    """A value encrypted with `ansible-vault encrypt_string`; opened only when it is used."""

    ciphertext: str
    place: Place

    def __str__(self) -> str:
        return "<vaulted>"


class Unsafe(str):
    """A text tagged `!unsafe`: never taken for a template."""

    __slots__ = ()


class Located(dict[object, object]):
    """A mapping read from YAML or JSON that knows where each of its keys stands."""

    __slots__ = ("at", "keys_at")

    def __init__(self, at: Place) -> None:
        super().__init__()
        self.at = at
        self.keys_at: dict[object, Place] = {}

    def place(self, key: object) -> Place:
        return self.keys_at.get(key, self.at)


def kind(value: object) -> str:
    """What a value is, in a person's words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true/false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple, set)):
        return "a list"
    return "a vaulted text" if isinstance(value, Vaulted) else f"a {type(value).__name__}"


def json_key(key: object) -> str:
    """A mapping's key as JSON writes it."""
    if isinstance(key, str):
        return str(key)
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return str(key)


def jsonable(value: object, *, marks: bool = True) -> object:
    """A value as `ansible-inventory --list` shows it: templates unresolved, vaulted texts still encrypted.

    Without `marks`, unsafe texts are shown as any other text.
    """
    if isinstance(value, Unsafe):
        return {"__ansible_unsafe": str(value)} if marks else str(value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Vaulted):
        return {"__ansible_vault": value.ciphertext}
    if isinstance(value, Mapping):
        return {json_key(key): jsonable(item, marks=marks) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item, marks=marks) for item in value]
    if isinstance(value, (set, frozenset)):
        return [jsonable(item, marks=marks) for item in sorted(value, key=repr)]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)
