"""Finds checks in files and folders, anywhere on disk."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
import types
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from harness.api.check import Check, CheckFunction, Settings
from harness.api.declare import Declaration, declarations
from harness.api.tags import is_selected
from harness.api.watched import Loader
from harness.errors import HarnessError, NothingSelected, Source, UsageError

_IGNORED_FOLDERS = {"__pycache__", "host_vars", "group_vars"}


def discover(selectors: Sequence[str]) -> tuple[Check, ...]:
    """The checks of files, folders and `file.py::name` selectors, in order, each once.

    Raises :class:`~harness.errors.UsageError` for a path that is not there, a module that does not import, a check
    with a wrong
    signature, a name that is declared twice or not at all; :class:`~harness.errors.NothingSelected` when nothing
    is left.
    """
    refuse_without_assertions()
    found: dict[str, Check] = {}
    for selector in selectors:
        path_text, separator, name = selector.partition("::")
        path = Path(path_text)
        if not path.exists():
            raise UsageError(f"no such file or folder of checks: {path_text}")
        before = len(found)
        for file, root in _files(path):
            for each in _checks_of(file, root):
                if not separator or name in (each.name, each.base) or fnmatchcase(each.name, name):
                    found.setdefault(each.id, each)
        if separator and len(found) == before and not any(name in (each.name, each.base) for each in found.values()):
            names = ", ".join(each.name for file, root in _files(path) for each in _checks_of(file, root))
            raise UsageError(f"{path_text} has no check named {name!r}", hint=f"It has: {names or 'none'}.")
    if not found:
        raise NothingSelected(
            f"no checks in {', '.join(selectors)}",
            hint="A check is a function marked with `@check` (from harness import check).",
        )
    return tuple(found.values())


def refuse_without_assertions() -> None:
    """Raise UsageError where Python removes assertions (`python -O`, `-OO`, PYTHONOPTIMIZE).

    Checks could be compiled with them all the same, but not what they import: a helper of theirs, and any library that
    asserts for them, would still let everything pass.
    """
    if sys.flags.optimize:
        raise UsageError(
            "Python runs with optimization (PYTHONOPTIMIZE, or python -O), which removes every assertion: each check "
            "would pass",
            hint="Run it without: unset PYTHONOPTIMIZE, and leave out -O.",
        )


def select(
    checks: Iterable[Check], *, keyword: str = "", tags: Sequence[str] = (), skip_tags: Sequence[str] = ()
) -> tuple[Check, ...]:
    """Return the checks that `-k`, `--tags` and `--skip-tags` select.

    `keyword` is a substring or a glob of `module::name`; words joined by ``and``, ``or``, ``not`` and brackets
    work as in pytest. Tags work as in Ansible: `always`, `never`, `all`, `tagged` and `untagged` included.
    """
    matches = keyword_matcher(keyword)
    return tuple(each for each in checks if matches(each.label) and is_selected(each.tags, tags, skip_tags))


def keyword_matcher(expression: str) -> KeywordMatcher:
    """Compiles a `-k` expression. Raises :class:`~harness.errors.UsageError` when it is none."""
    return KeywordMatcher(expression)


class KeywordMatcher:
    """A `-k` expression: words, `and`, `or`, `not`, brackets; ignoring case."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = expression.replace("(", " ( ").replace(")", " ) ").split()
        self("")  # a bad expression is told now, not at the first check

    def __call__(self, label: str) -> bool:
        if not self._tokens:
            return True
        tokens = list(reversed(self._tokens))
        value = self._any(tokens, label.lower())
        if tokens:
            raise self._bad(tokens[-1])
        return value

    def _any(self, tokens: list[str], label: str) -> bool:
        value = self._all(tokens, label)
        while tokens and tokens[-1] == "or":
            tokens.pop()
            value = self._all(tokens, label) or value
        return value

    def _all(self, tokens: list[str], label: str) -> bool:
        value = self._one(tokens, label)
        while tokens and tokens[-1] == "and":
            tokens.pop()
            value = self._one(tokens, label) and value
        return value

    def _one(self, tokens: list[str], label: str) -> bool:
        if not tokens:
            raise self._bad("the end")
        token = tokens.pop()
        if token == "not":  # noqa: S105 - a word of the expression
            return not self._one(tokens, label)
        if token == "(":  # noqa: S105
            value = self._any(tokens, label)
            if not tokens or tokens.pop() != ")":
                raise self._bad("the end", "a closing bracket is missing")
            return value
        if token in ("and", "or", ")"):
            raise self._bad(token)
        word = token.lower()
        return fnmatchcase(label, word) or fnmatchcase(label, f"*{word}*")

    def _bad(self, at: str, why: str = "") -> UsageError:
        return UsageError(
            f"-k {self._expression!r}: {why or f'unexpected {at}'}",
            hint="Example: -k 'banner or (key and not wrong)'.",
        )


def _files(path: Path) -> Iterator[tuple[Path, Path]]:
    """Each check file with the folder that its module's name starts in."""
    if path.is_file():
        if path.suffix != ".py":
            raise UsageError(f"{path} is no Python file")
        yield path, path.parent
        return
    root = path.parent
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(f for f in folders if f not in _IGNORED_FOLDERS and not f.startswith((".", "_")))
        for file in sorted(files):
            if file.endswith(".py") and not file.startswith(("_", ".")):
                yield Path(folder) / file, root


def _checks_of(file: Path, root: Path) -> list[Check]:
    module = _import(file)
    name = _module_name(file, root)
    result: list[Check] = []
    seen: dict[str, Source] = {}
    for declared in declarations(module):
        check_name = declared.function.__name__
        if check_name in seen:
            raise UsageError(
                f"check {check_name} is declared twice; the first stands in line {seen[check_name].line}",
                source=declared.source,
                hint="Give one of them another name: only one of two functions of a name exists in Python.",
            )
        seen[check_name] = declared.source
        one = Check(
            name=check_name,
            module=name,
            path=file.as_posix(),
            function=declared.function,
            source=declared.source,
            settings=Settings(**declared.settings),
            tags=declared.tags,
            transport=declared.transport,
            description=(declared.function.__doc__ or "").strip().partition("\n")[0],
            alone=declared.alone,
            when=declared.when,
            settle=declared.settle,
            variables=declared.variables(),
            needs=tuple(_need(each, declared) for each in declared.needs),
        )
        result += [one.with_values(values) if values else one for values in declared.values()]
    return result


def _need(need: CheckFunction | str, declared: Declaration) -> str:
    """A need by name; a function of another file by its file too."""
    if isinstance(need, str):
        return need
    elsewhere = need.__module__ != declared.function.__module__
    return f"{need.__code__.co_filename}::{need.__name__}" if elsewhere else need.__name__


def _module_name(file: Path, root: Path) -> str:
    """`sshd/outside` for `…/checks/sshd/outside.py`, wherever it was selected from; else relative to `root`."""
    parts = file.resolve().with_suffix("").parts
    if "checks" in parts[:-1]:
        last = len(parts) - 2 - parts[:-1][::-1].index("checks")
        return "/".join(parts[last + 1 :])
    return file.relative_to(root).with_suffix("").as_posix()


def _import(file: Path) -> types.ModuleType:
    """Imports a file as a member of a package made for its folder, so that `from ._common import x` works anywhere."""
    resolved = file.resolve()
    package = _package(resolved.parent)
    name = f"{package}.{resolved.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved, loader=Loader(name, str(resolved)))
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} cannot be imported as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except HarnessError:
        del sys.modules[name]
        raise
    except SyntaxError as error:
        del sys.modules[name]
        raise UsageError(
            f"{error.msg}",
            source=Source(
                str(error.filename or file),
                error.lineno or 0,
                error.offset or 0,
                (error.text or "").rstrip("\n"),
            ),
        ) from None
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(
            f"the check module does not import: {type(error).__name__}: {error}",
            source=_last_line_in(error, str(resolved)) or Source(str(file)),
        ) from None
    return module


def _last_line_in(error: BaseException, filename: str) -> Source | None:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == filename]
    if not frames:
        return None
    return Source(filename, frames[-1].lineno or 0, text=frames[-1].line or "")


def _package(folder: Path) -> str:
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    name = f"_harness_checks_{digest}"
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
        # Last, so that a check's folder can never hide a library.
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    return name
