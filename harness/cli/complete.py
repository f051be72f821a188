"""What a shell is told when it completes a word of a `harness` command.

Which words come into question is told by the name that an argument has in `--help`, so that every verb has them
that calls its arguments as the others do. Nothing is started, asked or said: no program of an inventory is run, no
check is imported, and what cannot be read gives no words.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.user import expanded

Words = Callable[[str, argparse.Namespace], Iterable[str]]
"""From the beginning of a word and what was typed before it to whole words; others are dropped."""

_SECONDS = 3.0
_MEMORY = 1 << 30
_MOST_WORDS = 10_000
_INVENTORIES = Path("inventories")
_INVENTORY_ENDS = (".ini", ".yml", ".yaml", ".json", ".toml")
_TERM = re.compile(r"(.*[:,])?([&!]?)")


def complete(parser: argparse.ArgumentParser) -> None:
    """Answers the shell that asks (`_ARGCOMPLETE` is set), and ends the process."""
    import faulthandler
    import resource

    import argcomplete
    from argcomplete.completers import SuppressCompleter

    # Whatever an inventory has in it, Tab answers soon, and takes no more memory than there is.
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(_SECONDS, exit=True, file=os.dup(nowhere.fileno()))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    for action in _actions(parser):
        if action.choices is None:
            action.completer = _completer(action)  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False, default_completer=SuppressCompleter())


def unknown_names(parser: argparse.ArgumentParser) -> list[str]:
    """The names of arguments of which `WORDS` does not know what they stand for."""
    found = {name for action in _actions(parser) if action.choices is None for name in _names(action)}
    return sorted(found - WORDS.keys())


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments of all verbs that take a word."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
        elif action.nargs != 0:
            yield action


def _names(action: argparse.Action) -> tuple[str, ...]:
    """What `--help` calls the argument; several where it takes several words."""
    if isinstance(action.metavar, tuple):
        return action.metavar
    return (action.metavar or action.dest,)


def _completer(action: argparse.Action) -> Callable[..., list[str]]:
    sources = [WORDS.get(name, _paths) for name in _names(action)]

    def completer(*, prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        try:
            words = [word for source in sources for word in source(prefix, parsed_args)]
        except (Exception, MemoryError):
            return []  # whoever presses Tab is told nothing; the command itself will say what is wrong
        found = (word for word in words if word.startswith(prefix) and word.isprintable())
        return list(itertools.islice(found, _MOST_WORDS))

    return completer


# --- the words ---


def _nothing(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    return ()


def _some(*words: str) -> Words:
    return lambda prefix, arguments: words


def _entries(prefix: str) -> Iterator[tuple[str, bool]]:
    """What lies where the word points to, as it would be typed, and whether it is a folder."""
    folder = prefix[: prefix.rfind("/") + 1]
    beginning = prefix[len(folder) :]
    with os.scandir(os.path.expanduser(folder) or ".") as found:
        for entry in sorted(found, key=lambda each: each.name):
            if entry.name.startswith(beginning) and (beginning or not entry.name.startswith(".")):
                yield folder + entry.name, entry.is_dir()


def _paths(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    return (f"{path}/" if is_folder else path for path, is_folder in _entries(prefix))


def _folders(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    return (f"{path}/" for path, is_folder in _entries(prefix) if is_folder)


def _checks(prefix: str, arguments: argparse.Namespace) -> Iterator[str]:
    from harness.api.names import check_names

    file, separator, _ = prefix.partition("::")
    if separator:
        yield from (f"{file}::{name}" for name in check_names(expanded(file)))
        return
    for path, is_folder in _entries(prefix):
        name = path.rpartition("/")[2]
        if is_folder and not name.startswith("_"):
            yield f"{path}/"
        elif name.endswith(".py") and not name.startswith("_"):
            yield path
            if path == prefix:
                yield from (f"{path}::{name}" for name in check_names(expanded(path)))


def _sources(arguments: argparse.Namespace) -> list[str]:
    """The inventories that were named; else those that lie where they are looked for first."""
    if given := getattr(arguments, "inventory", None):
        return list(given)
    return sorted(str(path) for path in _INVENTORIES.glob("*") if path.suffix in _INVENTORY_ENDS)


def _hosts(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    from harness.inventory.names import names

    return names(_sources(arguments)).hosts


def _patterns(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    """The last term of the pattern; what stands before it stays. A verb that takes no inventory means what is up."""
    from harness.inventory.names import names

    if not hasattr(arguments, "inventory"):
        return _up(arguments)
    match = _TERM.match(prefix)
    before = match[0] if match else ""
    found = names(_sources(arguments))
    return (before + name for name in dict.fromkeys((*found.hosts, *found.groups)))


def _up(arguments: argparse.Namespace) -> list[str]:
    from urllib.parse import unquote

    from harness.report.folder import UP

    return sorted(unquote(path.name) for path in (_logs(arguments) / UP).iterdir() if not path.name.startswith("."))


def _logs(arguments: argparse.Namespace) -> Path:
    return Path(getattr(arguments, "logs", None) or "logs")


def _variables(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    from harness.inventory.variables import VARIABLES

    return (variable.name for variable in VARIABLES)


def _runs(prefix: str, arguments: argparse.Namespace) -> Iterator[str]:
    from harness.report.folder import folders

    found = folders(_logs(arguments))[::-1]
    if found:
        yield "latest"
    yield from (folder.name for folder in found)
    if os.sep in prefix:
        yield from _folders(prefix, arguments)


def _check_labels(prefix: str, arguments: argparse.Namespace) -> Iterator[str]:
    """The checks of the newest run, as its results name them."""
    import json

    document = json.loads((_logs(arguments) / "latest" / "results.json").read_text(encoding="utf-8"))
    for target in document["targets"]:
        yield from (f"{check['module']}::{check['check']}" for check in target["checks"])


def _event_kinds(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    from harness.events.kinds import KINDS

    return KINDS


def _recipes(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    from harness.machine.recipe import recipe_names

    return recipe_names()


def _diagnostics(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    from harness.operate.collect.catalogue import catalogue_of

    return catalogue_of(_sources(arguments)).recipes


def _resets(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    from harness.target.reset import ResetKind

    return (f"{kind}:" if kind is ResetKind.UNIT else str(kind) for kind in ResetKind)


def _faults(prefix: str, arguments: argparse.Namespace) -> Iterable[str]:
    from harness.soak.faults.fault import KINDS

    return KINDS


_OWN_WORDS = (
    *("N", "K", "P", "S", "X", "TIME", "SIZE", "TEXT", "REGEX", "EXPR", "TAGS", "VARS"),
    *("NAME", "KEY", "UNIT", "COMMAND", "MODE", "EVENT", "URL", "ADDRESS:PORT"),
)
"""The arguments of which only the person knows what to type."""

WORDS: dict[str, Words] = {
    "CHECKS": _checks,
    "CHECK": _check_labels,
    "GLOB": lambda prefix, arguments: (*_check_labels(prefix, arguments), *_event_kinds(prefix, arguments)),
    "PATTERN": _patterns,
    "HOST": _patterns,
    "HOST|DIR": lambda prefix, arguments: (*_patterns(prefix, arguments), *_folders(prefix, arguments)),
    "H": _hosts,
    "DIAGNOSTICS": _diagnostics,
    "VAR": _variables,
    "check | GROUP": lambda prefix, arguments: ("check", *_patterns(prefix, arguments)),
    "SOURCE": _paths,
    "FILE": _paths,
    "PATH": _paths,
    "DIR": _folders,
    "RUN": _runs,
    "RUN2": _runs,
    "RECIPE": _recipes,
    "HOW": _resets,
    "FAULT": _faults,
    "LEVEL": _some("debug", "info", "warning", "error"),
    "TRANSPORT": _some("ssh", "serial"),
    **dict.fromkeys(_OWN_WORDS, _nothing),
}
