"""The INI format, read as Ansible's `ini` plugin reads it; text in, steps out.

The grammar is that of Ansible's documentation ("Building Ansible inventories") and of what
`ansible-inventory` does with it, pinned by the differential tests.
"""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.inventory.addresses import expand_pattern
from harness.inventory.bounds import bounded_number
from harness.inventory.draft import AddChild, AddGroup, AddHosts, Draft, SetVars
from harness.inventory.places import Assigned, Place, did_you_mean, mask_secrets
from harness.inventory.values import Unsafe

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")
_GROUP_NAME = re.compile(r"([^:\]\s]+)\s*(?:#.*)?")
_STATES = ("hosts", "children", "vars")
_BLANKS = re.compile(r"[ \t\r\n]+")
_NEEDS_SHLEX = re.compile(r"[\"'\\#]")

# Texts that a Python literal can never be, and plain numbers: most values of a large inventory.
_BARE_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/@-]*|[0-9]+(?:\.[0-9]+){2,}", re.ASCII)
_BARE_NUMBER = re.compile(r"-?[1-9][0-9]{0,17}|0", re.ASCII)
_CONSTANTS = {"True": True, "False": False, "None": None}


def parse_value(text: str) -> object:
    """The typed value of an INI variable: a Python literal where it is one, else the text itself.

    Tuples and sets become lists (a set sorted, so that its order is always the same).
    Raises ValueError where a literal is nested too deeply to read, or holds a number of thousands of digits.
    """
    if _BARE_WORD.fullmatch(text):
        return _CONSTANTS.get(text, text)
    if _BARE_NUMBER.fullmatch(text):
        return int(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    except (MemoryError, RecursionError, TypeError) as error:
        raise ValueError(f"this value cannot be read ({error or 'nested too deeply'})") from None
    return _plain(value)


def _plain(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [_plain(item) for item in sorted(value, key=repr)]
    if isinstance(value, dict):
        return {_plain(key) if isinstance(key, int) else key: _plain(item) for key, item in value.items()}
    if isinstance(value, int):
        return bounded_number(value)
    if value is ...:
        return "..."
    if isinstance(value, complex):
        return str(value)
    if isinstance(value, bytes):
        # Ansible does not trust a text that was written as bytes: it is never a template.
        return Unsafe(value.decode("utf-8", "surrogateescape"))
    return value


@dataclass(slots=True)
class _Pending:
    """A group that a section refers to before (or without) its own section."""

    place: Place
    state: str
    parents: list[str] = field(default_factory=list)


def read_ini(draft: Draft, lines: list[str], known: Collection[str]) -> None:
    """Reads an INI inventory's lines into `draft`; `known` are the groups of earlier sources.

    Raises UsageError with the place of what cannot be read.
    """
    _Reader(draft, set(known)).read(lines)


class _Reader:
    def __init__(self, draft: Draft, known: set[str]) -> None:
        self._draft = draft
        self._known = known
        self._pending: dict[str, _Pending] = {}
        self._values: dict[str, object] = {}

    def read(self, lines: list[str]) -> None:
        group, state = "ungrouped", "hosts"
        for number, raw in enumerate(lines, 1):
            line = raw.strip()
            if not line or line[0] in ";#":
                continue
            place = Place(self._draft.path, number)
            if match := _SECTION.fullmatch(line):
                group, state = match[1], match[2] or "hosts"
                self._section(group, state, place)
            elif line.startswith("[") and line.endswith("]"):
                raise self._error(
                    f"{line} is no section: expected [group], [group:vars] or [group:children], "
                    "without spaces inside the brackets",
                    place,
                    line,
                )
            elif state == "hosts":
                self._hosts(line, group, place)
            elif state == "vars":
                self._variable(line, group, place)
            else:
                self._child(line, group, place)
        for name, pending in self._pending.items():
            self._unresolved(name, pending)

    def _error(self, message: str, place: Place, word: str = "", hint: str = "") -> UsageError:
        return self._draft.book.error(message, place, word=word, hint=hint)

    def _section(self, group: str, state: str, place: Place) -> None:
        if state not in _STATES:
            hint = did_you_mean(state, _STATES) or "Expected [group], [group:vars] or [group:children]."
            raise self._error(f"section [{group}:{state}] is of an unknown kind: {state!r}", place, state, hint)
        if group not in self._known:
            if state == "vars" and group not in self._pending:
                self._pending[group] = _Pending(place, state)
            self._known.add(group)
            self._draft.steps.append(AddGroup(group, place))
        if group in self._pending and state != "vars":
            if self._pending[group].state == "children":
                self._settle(group, place)
            else:
                del self._pending[group]

    def _settle(self, group: str, place: Place) -> None:
        """A group that waited for its section has got it: it becomes a child of those that named it."""
        for parent in self._pending[group].parents:
            self._draft.steps.append(AddChild(parent, group, self._pending[group].place))
            if parent in self._pending and self._pending[parent].state == "children" and parent != group:
                self._settle(parent, place)
        self._pending.pop(group, None)

    def _hosts(self, line: str, group: str, place: Place) -> None:
        if _NEEDS_SHLEX.search(line):
            try:
                tokens = shlex.split(line, comments=True)
            except ValueError as error:
                reason = str(error).lower()
                raise self._error(f"this host line cannot be split into words: {reason}", place, line) from None
        else:
            tokens = _BLANKS.split(line)
        if not tokens:
            raise self._error("expected a host name", place, line)
        pattern = tokens[0]
        try:
            names, port = expand_pattern(pattern)
        except ValueError as error:
            raise self._error(str(error), place, pattern) from None
        if pattern.strip().endswith(":") and port is None:
            raise self._error(
                f"host {pattern!r} ends in ':', which stands before a port", place, pattern,
                "Write host:22, or, for YAML, give the file the ending .yml.",
            )  # fmt: skip
        if any(name.strip() == "---" for name in names):
            raise self._error("'---' starts a YAML file; this is read as INI", place, pattern)
        variables: dict[str, Assigned] = {}
        for token in tokens[1:]:
            name, equals, text = token.partition("=")
            if not equals:
                # The rest of a secret with a blank and without quotes must not be shown either.
                shown = f", got {token!r}" if token in mask_secrets(line) else ""
                raise self._error(f"expected key=value after the host{shown}", place, token)
            variables[name] = Assigned(self._value(text, place), place)
        self._draft.steps.append(AddHosts(names, group, port, variables, place))

    def _value(self, text: str, place: Place) -> object:
        try:
            return self._values[text]
        except KeyError:
            pass
        try:
            value = self._values[text] = parse_value(text)
        except ValueError as error:
            raise self._error(str(error), place, text[:20]) from None
        return value

    def _variable(self, line: str, group: str, place: Place) -> None:
        name, equals, text = line.partition("=")
        if not equals:
            raise self._error(f"expected key=value in [{group}:vars], got {line!r}", place, line)
        value = self._value(text.strip(), place)
        self._draft.steps.append(SetVars(group, {name.strip(): Assigned(value, place)}))

    def _child(self, line: str, group: str, place: Place) -> None:
        match = _GROUP_NAME.fullmatch(line)
        if not match:
            raise self._error(f"expected the name of a group in [{group}:children], got {line!r}", place, line)
        child = match[1]
        if child in self._known:
            self._draft.steps.append(AddChild(group, child, place))
        elif child in self._pending:
            self._pending[child].parents.append(group)
        else:
            self._pending[child] = _Pending(place, "children", [group])

    def _unresolved(self, name: str, pending: _Pending) -> None:
        hint = did_you_mean(name, self._known - {name}) or f"Add a section [{name}]."
        if pending.state == "vars":
            message = f"section [{name}:vars] sets variables of a group that is not defined: {name!r}"
        else:
            message = f"section [{pending.parents[-1]}:children] names a group that is not defined: {name!r}"
        raise self._error(message, pending.place, name, hint)


def decode_lines(data: bytes, draft: Draft) -> list[str]:
    """The file's lines; comment lines need not be UTF-8 (as in Ansible), all others must be.

    A byte order mark is not part of the first name. Raises UsageError with the line.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        pass
    lines: list[str] = []
    for number, raw in enumerate(data.splitlines(), 1):
        if raw[:1] in (b"#", b";"):
            lines.append("")
            continue
        try:
            lines.append(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            shown = raw.decode("utf-8", "backslashreplace")
            draft.book.keep(draft.path, [*lines, shown])
            raise draft.book.error(
                f"byte 0x{raw[error.start]:02x} is no UTF-8",
                Place(draft.path, number, len(raw[: error.start].decode("utf-8")) + 1),
            ) from None
    return lines
