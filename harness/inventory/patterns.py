"""Patterns of hosts (`a:b`, `a:&b`, `a:!b`, `web*`, `~regex`, `g[0]`, `g[1:3]`, `@file`), as in Ansible.

Unlike Ansible, a term that names nothing is an error: it is nearly always a misspelt name, and a misspelt
exclusion would run on the very hosts that were to be left alone.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.bounded import read_text
from harness.errors import UsageError
from harness.inventory.addresses import parse_address
from harness.inventory.bounds import SECONDS, TooLongError, matching
from harness.inventory.model import Model
from harness.inventory.places import did_you_mean

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*")
_SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]{1,18})|([0-9]{1,18})([:-])([0-9]{0,18}))\]")
_COLON_WORD = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")


def split_pattern(text: str) -> list[str]:
    """The terms of a pattern: split at commas if it has any, else at colons outside addresses and ranges."""
    if "," in text:
        terms = text.split(",")
    else:
        try:
            parse_address(text, ranges=True)
            terms = [text]
        except ValueError:
            terms = _COLON_WORD.findall(text)
    return [term.strip() for term in terms if term.strip()]


def pattern_for(name: str) -> str:
    """Return a pattern that names this host and no other, to be typed on a command line.

    A name that would be read as a flag or as a pattern becomes a regular expression. It holds no character at which
    patterns are split.
    """
    if _PLAIN_NAME.fullmatch(name):
        return name
    escaped = "".join(
        char if re.fullmatch(r"\w", char) else f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\U{ord(char):08x}"
        for char in name
    )
    return rf"~^{escaped}\Z"


@dataclass(slots=True)
class Matcher:
    """Finds the hosts of patterns in a model. `warn` is told of outdated spellings."""

    model: Model
    warn: Callable[[str], None] = lambda message: None
    _found: dict[str, list[str]] = field(default_factory=dict)

    def hosts(self, pattern: str) -> list[str]:
        """The hosts that a pattern names, each once, in Ansible's order. Raises UsageError."""
        terms: list[str] = []
        for term in split_pattern(pattern):
            terms.extend(_read_terms(term[1:]) if term.startswith("@") else [term])
        terms = [term for term in terms if term]
        plain = [term for term in terms if term[0] not in "&!"]
        ordered = [
            *(plain or ["all"]),
            *(term for term in terms if term[0] == "&"),
            *(term for term in terms if term[0] == "!"),
        ]
        found: dict[str, None] = {}
        for term in ordered:
            if term in self.model.hosts:
                found[term] = None
            elif term[0] == "&":
                both = set(self._term(term[1:], pattern))
                found = {host: None for host in found if host in both}
            elif term[0] == "!":
                out = set(self._term(term[1:], pattern))
                found = {host: None for host in found if host not in out}
            else:
                found.update(dict.fromkeys(self._term(term, pattern)))
        return list(found)

    def _term(self, term: str, pattern: str) -> list[str]:
        if not term:
            raise UsageError(f"the pattern {pattern!r} has an '&' or '!' with nothing behind it")
        if term not in self._found:
            self._found[term] = self._evaluate(term, pattern)
        return self._found[term]

    def _evaluate(self, term: str, pattern: str) -> list[str]:
        name, start, end = term, None, None
        match = None if term[0] == "~" else _SUBSCRIPT.fullmatch(term)
        if match:
            name, index, first, mark, last = match.groups()
            if index:
                start = int(index)
            else:
                start, end = int(first), int(last) if last else -1
                if mark == "-":
                    self.warn(f"pattern {term!r}: write [{first}:{last}], not [{first}-{last}]")
        hosts, named = self._enumerate(name, pattern)
        if not hosts and not named and name != "all":
            raise self._nothing(name, pattern)
        if start is None or not hosts:
            return hosts
        if end:
            picked = hosts[start : (len(hosts) if end == -1 else end + 1)]
        else:
            # [0:0] is [0]: Ansible takes an end of 0 for no end.
            picked = hosts[start : start + 1 or None] if -len(hosts) <= start < len(hosts) else []
        if not picked:
            raise UsageError(
                f"the pattern {term!r} names no host: {name!r} has {len(hosts)}, counted from 0, the end included"
            )
        return picked

    def _enumerate(self, name: str, pattern: str) -> tuple[list[str], bool]:
        """The hosts, and whether a group was named (which may be empty)."""
        plain = name[0] != "~" and not any(mark in name for mark in "?*[")
        groups = self._matching(name, plain, self.model.groups, pattern)
        found = [host for group in groups for host in self.model.hosts_of(group)]
        if not groups or name[0] == "~" or any(mark in name for mark in ".?*["):
            found.extend(self._matching(name, plain, self.model.hosts, pattern))
        return found, bool(groups)

    def _matching(self, name: str, plain: bool, names: Mapping[str, object], pattern: str) -> list[str]:
        """Return those of the names that the term `name` of the pattern matches."""
        if plain:
            # A name without special characters matches itself only; 10,000 hosts need not be tried.
            return [name] if name in names else []
        if name[0] != "~":
            matches = re.compile(fnmatch.translate(name)).match
            return [item for item in names if matches(item)]
        try:
            return matching(name[1:], names)
        except re.error as error:
            raise UsageError(f"the pattern {pattern!r} holds a regular expression that is none: {error}") from None
        except TooLongError:
            raise UsageError(
                f"the regular expression {name[1:]!r} takes longer than {SECONDS:g} s on the inventory's names"
            ) from None

    def _nothing(self, name: str, pattern: str) -> UsageError:
        inside = f" (in {pattern!r})" if name != pattern else ""
        hint = did_you_mean(name, [*self.model.groups, *self.model.hosts])
        return UsageError(
            f"the pattern {name!r}{inside} matches no group and no host of the inventory",
            hint=hint or "See what there is: harness inventory --graph",
        )


def _read_terms(path: str) -> list[str]:
    if os.path.isdir(path):
        raise UsageError(f"@{path} is a folder; expected a file with one pattern a line")
    try:
        return [line.strip() for line in read_text(path, encoding="utf-8-sig").split("\n")]
    except FileNotFoundError:
        raise UsageError(f"there is no file {path!r} (given as @{path})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path!r} (given as @{path}): {error}") from None
