"""pytest-testinfra's `host` over our link: its modules ask, the target answers.

The seam is testinfra's own for backends (`testinfra.backend.base.BaseBackend`); every command goes through
:meth:`Target.run`, so deadlines, fallback, events and counting hold, over SSH and over a console alike.

testinfra keeps facts on a host: which init system, which package manager, whether there is `command -v`. So a host
lives as long as its target does, which is one attempt.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host
from testinfra.modules.base import Module

from harness.api.check import Never, NotYet
from harness.target.tracked_result import TrackedResult
from harness.transport.contract import CommandResult as Result

if TYPE_CHECKING:
    from harness.target.target import Target

_LONGEST = 300
_OUTCOME = frozenset(("exit_status", "_stdout", "_stderr"))
"""The fields that all of testinfra's own properties (`rc`, `succeeded`, `stdout`, …) read."""
_CALLED_FROM_OUTSIDE = ("__call__", "__getattr__")

Ask = Callable[..., Any]


class Unanswered(NotYet, RuntimeError, ValueError, LookupError):
    """testinfra could not make an answer of what the target said. That may change, so it is looked at again.

    It is still of the kinds that testinfra raises: a check may catch it as testinfra's own pages say.
    """


class Unsupported(Never, NotImplementedError):
    """testinfra has no way to tell this on such a system; waiting changes nothing."""


class Answer(CommandResult):
    """testinfra's result of a command. Its words stand in testinfra's own messages, so they are meant for people.

    Who reads it has looked at the result that it was made of.
    """

    def __init__(self, backend: BaseBackend, line: bytes, result: Result) -> None:
        plain = object.__getattribute__  # to make it is not to look at it
        super().__init__(backend, plain(result, "exit_status"), line, plain(result, "stdout"), plain(result, "stderr"))
        object.__setattr__(self, "_result", result)

    def __getattribute__(self, name: str) -> Any:
        if name in _OUTCOME:
            result = object.__getattribute__(self, "__dict__").get("_result")
            if isinstance(result, TrackedResult):
                result.mark_read()
        return object.__getattribute__(self, name)

    def __bool__(self) -> bool:
        """Whether the command succeeded, so that `assert host.run(…)` means what it says."""
        return self.succeeded

    def __repr__(self) -> str:
        said = (self.stderr.strip() or self.stdout.strip() or "no output")[:_LONGEST]
        return f"`{self.backend.decode(self.command)}` (exit status {self.rc}: {said})"


class TargetBackend(BaseBackend):
    """Runs testinfra's commands on a target. `asked` counts them, `last` is the newest answer."""

    NAME = "harness"

    def __init__(self, target: Target) -> None:
        super().__init__(target.name)
        self._target = target
        self.asked = 0
        self.last: Answer | None = None

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        """Raises the transports' typed errors. `kwargs` are other backends' business, as `encoding` is."""
        del kwargs
        line = self.get_command(command, *args)  # looked up anew: `host.sudo()` puts another one in its place
        self.asked += 1
        result = self._target.run(line)
        self.last = Answer(self, self.encode(line), result)
        return self.last

    def get_encoding(self) -> str:
        """Nobody is asked: the target may have no Python, and a locale says nothing of what is in a file."""
        return "utf-8"

    def decode(self, data: bytes) -> str:
        """As `result.out` of our own commands: bytes that are no UTF-8 are shown as `\\xNN`."""
        return data.decode("utf-8", "backslashreplace")

    def encode(self, data: str) -> bytes:
        """The way back, for what is only shown."""
        return data.encode("utf-8", "backslashreplace")


class TargetHost(Host):
    """testinfra's host. What its modules raise is told as a verdict on the target, not as a mistake of the check."""

    backend: TargetBackend

    def __init__(self, target: Target) -> None:
        super().__init__(TargetBackend(target))
        self.backend.set_host(self)
        self._guarded: dict[type, type] = {}

    def __getattr__(self, name: str) -> Any:
        with self._told(f"host.{name}"):
            module: Any = super().__getattr__(name)
        if isinstance(module, type):
            module = self._guard(module, f"host.{name}(…)")
        else:
            module.__class__ = self._guard(type(module), f"host.{name}")
        setattr(self, name, module)
        return module

    def find_command(self, command: str, *args: Any, **kwargs: Any) -> str:
        """Where a program of the target lies. Raises Unanswered where it is not (yet) there."""
        with self._told("host.find_command"):
            return super().find_command(command, *args, **kwargs)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What comes of a question. The transports' errors, and testinfra's assertions, are told as they are."""
        asked = self.backend.asked
        try:
            yield
        except (NotYet, Never):
            raise
        except NotImplementedError as error:
            raise Unsupported(f"{what}: {str(error) or 'testinfra cannot tell this on such a system'}") from error
        except (RuntimeError, ValueError, LookupError) as error:
            if self.backend.asked == asked and not isinstance(error, LookupError):
                raise  # The target was not asked, so the question is wrong: a mistake of the check's.
            kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
            last = f"; last asked: {self.backend.last!r}" if repr(self.backend.last) not in str(error) else ""
            raise Unanswered(f"{what}: {kind}{error}{last}") from error

    def _guard(self, kind: type, what: str) -> type:
        """The same class, each of whose questions is asked under `_told`."""
        if kind not in self._guarded:
            members = {}
            for name in dir(kind):
                if (name.startswith("_") and name not in _CALLED_FROM_OUTSIDE) or hasattr(Module, name):
                    continue
                ask = functools.partial(self._asking, what=what if name.startswith("_") else f"{what}.{name}")
                guarded = _rewrapped(inspect.getattr_static(kind, name), ask)
                if guarded is not None:
                    members[name] = guarded
            self._guarded[kind] = type(kind.__name__, (kind,), members)
        return self._guarded[kind]

    def _asking(self, ask: Ask, what: str) -> Ask:
        @functools.wraps(ask)
        def asking(*args: Any, **kwargs: Any) -> Any:
            with self._told(what):
                return self._follow(ask(*args, **kwargs), what.partition("(")[0])

        return asking

    def _follow(self, value: Any, what: str) -> Any:
        """What testinfra gives that asks again by itself (a process, a port) is guarded as well."""
        if isinstance(value, list):
            for each in value:
                self._follow(each, what)
        elif type(value).__module__.startswith("testinfra.modules.") and not isinstance(value, Module):
            value.__class__ = self._guard(type(value), what)
        return value


def _rewrapped(member: object, wrap: Callable[[Ask], Ask]) -> object | None:
    """The same kind of class member around a wrapped function; None for what is no question (a constant, say)."""
    if isinstance(member, property) and member.fget is not None:
        return property(wrap(member.fget), doc=member.__doc__)
    if isinstance(member, functools.cached_property):
        return functools.cached_property(wrap(member.func))
    if isinstance(member, classmethod):
        return classmethod(wrap(member.__func__))
    return wrap(member) if inspect.isfunction(member) else None
