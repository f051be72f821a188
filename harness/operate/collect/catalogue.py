"""The catalogue of diagnostics: which commands there are, and which recipes are made of them.

It is data: `catalogue.yml` beside this file, and a file of the same form beside the inventory, which adds to it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import NoReturn

from harness.errors import Source, UsageError
from harness.inventory.documents import load_document
from harness.inventory.kinds import seconds as read_seconds
from harness.inventory.places import Book, Notice, Place, did_you_mean
from harness.inventory.values import Located, kind
from harness.operate.collect.beside import NAMES, files_beside
from harness.operate.collect.bounded import Keep

STANDARD = "standard"
"""The recipe that is meant where none is named; commands beside the inventory are part of it."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
_WORD = re.compile(r"[A-Za-z0-9_./+-]+")
_SIZE = re.compile(r"([0-9]+)\s*([KMG]?)(?:iB|B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_OF_COMMAND = ("run", "about", "needs", "lacks", "timeout", "size", "keep")
_OF_RECIPE = ("about", "extends", "commands", "units")


@dataclass(frozen=True, slots=True)
class Command:
    """One diagnostic: plain shell for the target. It is asked where all of `needs` are there and none of `lacks`: a
    program, a path, or `systemd`, `openrc`, `runit` for what runs the target. `timeout` (seconds) and `size` (bytes)
    are its own bounds, None leaves the general ones."""

    name: str
    run: str
    about: str = ""
    needs: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    timeout: float | None = None
    size: int | None = None
    keep: Keep = Keep.BEGINNING

    def unmet(self, there: frozenset[str]) -> str:
        """Why it does not apply where these are there; empty where it does."""
        for word in self.needs:
            if word not in there:
                return f"the target has no {word}"
        for word in self.lacks:
            if word in there:
                return f"the target has {word}"
        return ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Commands in the order in which they are asked, and units that are explained however they stand."""

    name: str
    about: str
    commands: tuple[Command, ...]
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All commands and recipes, by name."""

    commands: Mapping[str, Command] = field(default_factory=dict)
    recipes: Mapping[str, Recipe] = field(default_factory=dict)

    def recipe(self, name: str) -> Recipe:
        """Raises UsageError, with what there is."""
        if name in self.recipes:
            return self.recipes[name]
        hint = did_you_mean(name, self.recipes)
        raise UsageError(
            f"there is no recipe {name!r}{f'; {hint}' if hint else ''}",
            hint=f"There are: {', '.join(self.recipes)}. Your own stand in {NAMES[0]} beside the inventory.",
        )


def catalogue_of(inventories: Sequence[str], files: Sequence[str] = ()) -> Catalogue:
    """Ours, what stands beside the inventories, and what is in these files. Raises UsageError, with file and line."""
    own = resources.files("harness.operate.collect") / "catalogue.yml"
    found = _read(own.read_text(encoding="utf-8"), "catalogue.yml", Catalogue())
    for path in (*files_beside(inventories), *map(Path, files)):
        found = read_catalogue(path, found)
    return found


def read_catalogue(path: Path, base: Catalogue) -> Catalogue:
    """`base` with what a file adds to it. Raises UsageError, with the line, for whatever is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"it cannot be read: {error}", source=Source(str(path))) from None
    return _read(text, str(path), base)


def _read(text: str, path: str, base: Catalogue) -> Catalogue:
    book = Book()
    book.keep(path, text.splitlines())
    notices: list[Notice] = []
    document = load_document(text, path, book, notices)
    for notice in notices:  # of what stands twice only one would count
        raise UsageError(notice.message, source=notice.source)
    if document is None:
        return base
    return _Reader(book, path).catalogue(document, base)


class _Reader:
    """From what a file says to commands and recipes."""

    def __init__(self, book: Book, path: str) -> None:
        self._book = book
        self._path = path

    def catalogue(self, document: object, base: Catalogue) -> Catalogue:
        top = self._mapping(document, Place(self._path, 1), "this file", ("commands", "recipes"))
        new = self._commands(top)
        commands = {**base.commands, **new}
        recipes = dict(base.recipes)
        given = self._part(top, "recipes")
        for name, value in given.items():
            place = given.place(name)
            self._check_name(name, place, "recipe")
            recipes[str(name)] = self._recipe(str(name), value, place, commands, recipes)
        standard = recipes.get(STANDARD)
        if standard is not None and STANDARD not in given:
            # What was there keeps its place, in its new form; what is new comes first: somebody wanted it.
            there = [command.name for command in standard.commands]
            order = [*(name for name in new if name not in there), *there]
            recipes[STANDARD] = replace(standard, commands=tuple(commands[name] for name in order))
        return Catalogue(commands, recipes)

    # -- commands ------------------------------------------------------------------------------------------------

    def _commands(self, top: Located) -> dict[str, Command]:
        found: dict[str, Command] = {}
        given = self._part(top, "commands")
        for name, value in given.items():
            place = given.place(name)
            self._check_name(name, place, "command")
            found[str(name)] = self._command(str(name), value, place)
        return found

    def _command(self, name: str, value: object, place: Place) -> Command:
        if isinstance(value, str):
            value = _only("run", value, place)
        fields = self._mapping(value, place, f"the command {name!r}", _OF_COMMAND)
        if "run" not in fields:
            self._fail(f"the command {name!r} has no `run`: what the target's shell is to do", place)
        run = self._text(fields, "run")
        return Command(
            name=name,
            run=run.strip("\n"),
            about=self._text(fields, "about") if "about" in fields else "",
            needs=self._words(fields, "needs"),
            lacks=self._words(fields, "lacks"),
            timeout=self._seconds(fields, "timeout"),
            size=self._size(fields, "size"),
            keep=self._keep(fields),
        )

    # -- recipes -------------------------------------------------------------------------------------------------

    def _recipe(
        self,
        name: str,
        value: object,
        place: Place,
        commands: Mapping[str, Command],
        recipes: Mapping[str, Recipe],
    ) -> Recipe:
        if isinstance(value, list):
            value = _only("commands", value, place)
        fields = self._mapping(value, place, f"the recipe {name!r}", _OF_RECIPE)
        chosen: dict[str, None] = {}
        units: dict[str, None] = {}
        for other in self._words(fields, "extends"):
            if other not in recipes:
                hint = did_you_mean(other, recipes)
                what = f"the recipe {name!r} extends {other!r}, which does not stand before it"
                self._fail(f"{what}{f'; {hint}' if hint else ''}", fields.place("extends"))
            chosen.update(dict.fromkeys(command.name for command in recipes[other].commands))
            units.update(dict.fromkeys(recipes[other].units))
        for word in self._words(fields, "commands", globs=True):
            matching = fnmatch.filter(commands, word)
            if not matching:
                hint = did_you_mean(word, commands)
                self._fail(f"there is no command {word!r}{f'; {hint}' if hint else ''}", fields.place("commands"))
            chosen.update(dict.fromkeys(matching))
        units.update(dict.fromkeys(self._words(fields, "units", any_text=True)))
        if not chosen and not units:
            self._fail(f"the recipe {name!r} has neither `commands` nor `units`, and extends none", place)
        return Recipe(
            name=name,
            about=self._text(fields, "about") if "about" in fields else "",
            commands=tuple(commands[each] for each in chosen),
            units=tuple(units),
        )

    # -- values --------------------------------------------------------------------------------------------------

    def _fail(self, message: str, place: Place) -> NoReturn:
        raise self._book.error(message, place, hint="docs/collect.md tells what stands in such a file.")

    def _mapping(self, value: object, place: Place, what: str, keys: Sequence[str]) -> Located:
        if not isinstance(value, Located):
            self._fail(f"{what} must be a mapping with {_either(keys)}, and is {kind(value)}", place)
        for key in value:
            if key not in keys:
                hint = did_you_mean(str(key), keys)
                told = f"; {hint}" if hint else f": there are {', '.join(keys)}"
                self._fail(f"{what} has no {str(key)!r}{told}", value.place(key))
        return value

    def _part(self, top: Located, key: str) -> Located:
        value = top.get(key)
        if value is None:
            return Located(Place(self._path, 1))
        if not isinstance(value, Located):
            self._fail(f"`{key}` must be a mapping from names, and is {kind(value)}", top.place(key))
        return value

    def _check_name(self, name: object, place: Place, what: str) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith(".err"):
            self._fail(
                f"{str(name)!r} cannot be the name of a {what}: expected lower-case letters, digits, '.', '_' and '-', "
                "as it names a file too",
                place,
            )

    def _text(self, fields: Located, key: str) -> str:
        value = fields[key]
        if not isinstance(value, str) or not value.strip():
            self._fail(f"`{key}` must be a text, and is {kind(value)}", fields.place(key))
        if "\0" in value:
            self._fail(f"`{key}` holds a null character", fields.place(key))
        return str(value)

    def _words(self, fields: Located, key: str, *, globs: bool = False, any_text: bool = False) -> tuple[str, ...]:
        value = fields.get(key, [])
        words: Iterable[object] = value.split() if isinstance(value, str) else value if isinstance(value, list) else ()
        if not isinstance(value, str | list) or not all(isinstance(word, str) and word for word in words):
            self._fail(f"`{key}` must be a list of words, and is {kind(value)}", fields.place(key))
        found = tuple(str(word) for word in words)
        for word in found:
            if not (any_text or globs or _WORD.fullmatch(word)):
                what = f"`{key}` names programs, paths, or systemd, openrc, runit; {word!r} is none"
                self._fail(what, fields.place(key))
        return found

    def _seconds(self, fields: Located, key: str) -> float | None:
        if key not in fields:
            return None
        value = fields[key]
        try:
            number = read_seconds(value)
        except ValueError:
            number = 0.0
        if not 0 < number < 1e6:
            self._fail(f"`{key}` must be a time above 0, such as 30 or 2m, and is {value!r}", fields.place(key))
        return number

    def _size(self, fields: Located, key: str) -> int | None:
        if key not in fields:
            return None
        match = _SIZE.fullmatch(str(fields[key]).strip())
        if match is None or not int(match[1]):
            self._fail(f"`{key}` must be a size, such as 64K or 1M, and is {fields[key]!r}", fields.place(key))
        return int(match[1]) * _UNITS[match[2].upper()]

    def _keep(self, fields: Located) -> Keep:
        value = fields.get("keep", Keep.BEGINNING.value)
        if value not in list(Keep):
            self._fail(f"`keep` is {_either(tuple(Keep))}, and not {value!r}", fields.place("keep"))
        return Keep(str(value))


def _only(key: str, value: object, place: Place) -> Located:
    """What is given by one value alone."""
    found = Located(place)
    found[key] = value
    return found


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
