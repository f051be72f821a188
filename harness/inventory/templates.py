"""Jinja templates in values, resolved when a variable is read: sandboxed, lazy, and native in type.

`port: "{{ base + 1 }}"` is a number, as in Ansible since 2.19 (before, it was a text that was guessed at).
What a template does not use is never looked at, so an undefined variable hurts only those who need it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import UsageError
from harness.inventory.bounds import time_bound
from harness.inventory.places import MASK, Assigned, Book
from harness.inventory.values import Unsafe, Vaulted
from harness.inventory.vault import Vault, VaultError, vault_hint

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

_OPENING = re.compile(r"\{\{|\{%|\{#")
_DEEPEST = 40


def is_template(value: object) -> bool:
    """Whether a value is a text that Jinja has to look at."""
    return isinstance(value, str) and not isinstance(value, Unsafe) and _OPENING.search(value) is not None


class Scope(Protocol):
    """Whose variables a template sees."""

    @property
    def name(self) -> str:
        """The host's name, for errors."""

    def assigned(self, name: str) -> Assigned | None:
        """A variable as it was written."""

    def magic(self, name: str) -> object | None:
        """`groups`, `hostvars` and their like."""


class _NotDefinedError(Exception):
    """A value that cannot be had because something it uses is undefined; `default()` may still cure that."""


class Templater:
    """Resolves values. May be used from any thread; one template is rendered at a time."""

    def __init__(self, book: Book, vault: Vault, *, lookups: bool = True) -> None:
        """Without `lookups`, a template that reads a file or the environment is an error."""
        self._lookups = lookups
        self._book = book
        self._vault = vault
        self._lock = threading.RLock()
        self._busy: list[tuple[str, str]] = []
        self._environment: SandboxedEnvironment | None = None
        self._compiled: Callable[[str], Any] | None = None

    def masked(self, text: str) -> str:
        """Return a text for a person without what templates have read of this machine's files and environment."""
        found: set[str] = getattr(self._environment, "looked_up", set())
        lines = {line.strip() for value in found for line in (value, *value.splitlines()) if len(line.strip()) >= 3}
        for line in sorted(lines, key=len, reverse=True):
            for form in (line, repr(line)[1:-1]):
                text = text.replace(form, MASK)
        return text

    def resolve(self, scope: Scope, name: str) -> object:
        """A variable's final value, as new plain data. Raises UsageError with its place; KeyError."""
        assigned = scope.assigned(name)
        if assigned is None:
            raise KeyError(name)
        with self._lock:
            try:
                value = self._guarded(scope, name, assigned)
                # Outside the guard: an item of a container may well use another one of the same container.
                with self._explained(scope, name, assigned):
                    return self._finish(value, scope)
            except _NotDefinedError as error:
                raise self._error(scope, name, assigned, str(error)) from None

    def _error(self, scope: Scope, name: str, assigned: Assigned, problem: str, hint: str = "") -> UsageError:
        source = self._book.source(assigned.place, name)
        return UsageError(f"host {scope.name!r}, variable {name!r}: {problem}", source=source, hint=hint)

    @contextmanager
    def _reading(self, scope: Scope, name: str, assigned: Assigned) -> Iterator[None]:
        key = (scope.name, name)
        if key in self._busy:
            way = [*self._busy[self._busy.index(key) :], key]
            loop = " > ".join(part if host == scope.name else f"{host}.{part}" for host, part in way)
            raise self._error(scope, name, assigned, f"its template leads back to itself: {loop}")
        if len(self._busy) >= _DEEPEST:
            raise self._error(scope, name, assigned, f"templates lead to one another more than {_DEEPEST} times")
        self._busy.append(key)
        try:
            yield
        finally:
            self._busy.pop()

    @contextmanager
    def _explained(self, scope: Scope, name: str, assigned: Assigned) -> Iterator[None]:
        try:
            yield
        except (UsageError, _NotDefinedError):
            raise
        except VaultError as error:
            raise self._error(scope, name, assigned, str(error), vault_hint(error)) from None
        except RecursionError:
            raise self._error(scope, name, assigned, "its template leads back to itself, without end") from None
        except Exception as error:
            # An expression may raise whatever its operators and filters raise; the person sees where.
            what = type(error).__name__ if not str(error) else f"{error}"
            raise self._error(scope, name, assigned, f"its template failed: {what}") from None

    def _guarded(self, scope: Scope, name: str, assigned: Assigned) -> object:
        """The variable's value for use inside a template (containers stay lazy)."""
        with self._reading(scope, name, assigned), self._explained(scope, name, assigned):
            return self.lazy(assigned.value, scope)

    def variable(self, scope: Scope, name: str) -> object:
        """What a template sees under a name. Raises KeyError; an undefined part becomes Jinja's Undefined."""
        assigned = scope.assigned(name)
        if assigned is None:
            value = scope.magic(name)
            if value is None:
                raise KeyError(name)
            return value
        try:
            return self._guarded(scope, name, assigned)
        except _NotDefinedError as error:
            return self._jinja().undefined(hint=str(error))

    def lazy(self, value: object, scope: Scope) -> object:
        """A text resolved; a container wrapped, so that its items are resolved when they are used."""
        if isinstance(value, Vaulted):
            value = self._vault.open(value.ciphertext.encode()).decode("utf-8", "surrogateescape")
        if isinstance(value, Unsafe):
            return str(value)
        if isinstance(value, str):
            return self._render(value, scope) if _OPENING.search(value) else value
        if isinstance(value, Mapping):
            return LazyMap(self, value, scope)
        if isinstance(value, (list, tuple)):
            return LazyList(self, value, scope)
        return value

    def _finish(self, value: object, scope: Scope) -> object:
        """Plain data, all templates in it resolved."""
        if isinstance(value, (LazyMap, LazyList)):
            return value.plain()
        if isinstance(value, Mapping):
            return {key: self._finish(item, scope) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._finish(item, scope) for item in value]
        if isinstance(value, Iterator):
            return [self._finish(item, scope) for item in value]
        if self._is_undefined(value):
            raise _NotDefinedError(_why(value))
        return value

    def plain(self, value: object, scope: Scope) -> object:
        """Resolved and unwrapped."""
        return self._finish(self.lazy(value, scope), scope)

    def _render(self, text: str, scope: Scope) -> object:
        from jinja2 import TemplateSyntaxError, UndefinedError
        from jinja2.exceptions import SecurityError

        environment = self._jinja()
        if self._compiled is None:
            self._compiled = lru_cache(maxsize=4096)(environment.from_string)
        try:
            template = self._compiled(text)
            names: Any = _Names(self, scope, environment)
            context = template.new_context(vars=names, shared=True)
            with time_bound():
                return self._joined(_taken(template.root_render_func(context)), scope)
        except TemplateSyntaxError as error:
            raise ValueError(f"{error.message} (line {error.lineno} of the template)") from None
        except UndefinedError as error:
            raise _NotDefinedError(str(error.message)) from None
        except SecurityError as error:
            raise ValueError(f"not allowed in a template: {error}") from None

    def _joined(self, parts: list[object], scope: Scope) -> object:
        for part in parts:
            if self._is_undefined(part):
                raise _NotDefinedError(_why(part))
        if not parts:
            return None
        if len(parts) == 1:
            return parts[0]
        return "".join("" if part is None else str(self._finish(part, scope)) for part in parts)

    def _is_undefined(self, value: object) -> bool:
        if self._environment is None:
            return False
        from jinja2 import Undefined

        return isinstance(value, Undefined)

    def _jinja(self) -> SandboxedEnvironment:
        if self._environment is None:
            from harness.inventory.filters import make_environment, refuse_lookups

            self._environment = make_environment()
            if not self._lookups:
                refuse_lookups(self._environment)
        return self._environment


_MOST_TEXT = 16 << 20
_MOST_PARTS = 1_000_000


def _taken(parts: Iterator[object]) -> list[object]:
    """The parts of a template's output, as long as they are of any use."""
    found: list[object] = []
    size = 0
    for part in parts:
        size += len(part) if isinstance(part, str) else 1
        if size > _MOST_TEXT or len(found) > _MOST_PARTS:
            raise ValueError("its output is beyond any use")
        found.append(part)
    return found


def _why(value: Any) -> str:
    hint = value._undefined_hint
    return str(hint) if hint else str(value._undefined_message)


class _Names(Mapping[str, object]):
    """A template's names: the host's variables, then Jinja's own functions."""

    def __init__(self, templater: Templater, scope: Scope, environment: SandboxedEnvironment) -> None:
        self._templater, self._scope, self._environment = templater, scope, environment

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        return (
            self._scope.assigned(name) is not None
            or self._scope.magic(name) is not None
            or name in self._environment.globals
        )

    def __getitem__(self, name: str) -> object:
        try:
            return self._templater.variable(self._scope, name)
        except KeyError:
            return self._environment.globals[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environment.globals)

    def __len__(self) -> int:
        return len(self._environment.globals)


class LazyMap(Mapping[Any, object]):
    """A mapping whose values are resolved when a template uses them."""

    def __init__(self, templater: Templater, values: Mapping[Any, object], scope: Scope) -> None:
        self._templater, self._values, self._scope = templater, values, scope

    def __getitem__(self, key: object) -> object:
        value = self._values[key]
        try:
            return self._templater.lazy(value, self._scope)
        except _NotDefinedError as error:
            return self._templater._jinja().undefined(hint=str(error))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self.plain() == (other.plain() if isinstance(other, LazyMap) else other)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return str(self.plain())

    def plain(self) -> dict[Any, object]:
        """All values resolved."""
        return {key: self._templater.plain(value, self._scope) for key, value in self._values.items()}


class LazyList(Sequence[object]):
    """A list whose items are resolved when a template uses them."""

    def __init__(self, templater: Templater, values: Sequence[object], scope: Scope) -> None:
        self._templater, self._values, self._scope = templater, values, scope

    def __getitem__(self, index: Any) -> Any:
        found = self._values[index]
        if isinstance(index, slice):
            return LazyList(self._templater, list(found), self._scope)
        return self._templater.lazy(found, self._scope)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self.plain() == (other.plain() if isinstance(other, LazyList) else other)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: object) -> list[object]:
        return self.plain() + list(other)  # type: ignore[call-overload,no-any-return]

    def __radd__(self, other: object) -> list[object]:
        return list(other) + self.plain()  # type: ignore[call-overload,no-any-return]

    def __str__(self) -> str:
        return str(self.plain())

    def plain(self) -> list[object]:
        """All items resolved."""
        return [self._templater.plain(value, self._scope) for value in self._values]
