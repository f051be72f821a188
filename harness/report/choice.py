"""Which events of a record a person wants to see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, get_args

from harness.errors import UsageError
from harness.events import Level, Record
from harness.inventory.draft import AddGroup, AddHosts, Draft
from harness.inventory.model import Model
from harness.inventory.patterns import Matcher
from harness.inventory.places import Book, Place

LEVELS: tuple[str, ...] = get_args(Level)
_GLOB = re.compile(r"[*?\[]")
_FIRST = b'{"@timestamp":"'
_STAMP = slice(15, 42)  # of a line that begins so, as ours do: the envelope's first key, and of one length


@dataclass(frozen=True, slots=True)
class Choice:
    """What must hold of an event; what is empty is not asked for. `since` and `until` are RFC 3339 as in the record,
    which sorts as time does."""

    targets: Callable[[str], bool] | None = None
    checks: tuple[str, ...] = ()
    """Globs of `module::name`, of the module, of the name alone, or of the id (`file.py::name`)."""
    level: str = "debug"
    """The least one."""
    transports: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    """Globs."""
    since: str = ""
    until: str = ""
    _needles: tuple[tuple[bytes, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        wanted = [
            ("log.level", LEVELS[LEVELS.index(self.level) :] if self.level != LEVELS[0] else ()),
            ("harness.transport", self.transports),
            ("event.action", () if any(_GLOB.search(each) for each in self.actions) else self.actions),
        ]
        needles = [tuple(f'"{key}":"{each}"'.encode() for each in values) for key, values in wanted if values]
        if self.targets:
            needles.append((b'"host.name":',))
        if self.checks:
            needles.append((b'"test.case.name":',))
        object.__setattr__(self, "_needles", tuple(needles))

    @property
    def is_everything(self) -> bool:
        """Whether every event is wanted."""
        return not (self._needles or self.since or self.until or self.actions)

    def may_hold(self, raw: bytes) -> bool:
        """Return from the bytes of a line whether its event may be wanted: most lines need not be parsed then."""
        if (self.since or self.until) and raw.startswith(_FIRST):
            stamp = raw[_STAMP].decode("ascii", "replace")
            if stamp < self.since or (self.until and stamp > self.until):
                return False
        for needles in self._needles:
            for needle in needles:  # a million lines pass here: a loop costs a third of what `any` does
                if needle in raw:
                    break
            else:
                return False
        return True

    def holds(self, event: Record) -> bool:
        """Whether the event is wanted."""
        stamp = event.get("@timestamp", "")
        level = event.get("log.level", "")
        return (
            stamp >= self.since
            and (not self.until or stamp <= self.until)
            and (level not in LEVELS or LEVELS.index(level) >= LEVELS.index(self.level))
            and (not self.transports or event.get("harness.transport") in self.transports)
            and (not self.actions or _any_glob(self.actions, [event.get("event.action", "")]))
            and (not self.checks or ("test.case.name" in event and _any_glob(self.checks, check_names(event))))
            and (self.targets is None or ("host.name" in event and self.targets(event["host.name"])))
        )


def check_names(event: Mapping[str, Any]) -> list[str]:
    """What a check may be called by."""
    module, name = event.get("test.suite.name", ""), event.get("test.case.name", "")
    names = [name, module, f"{module}::{name}", event.get("harness.check_id", "")]
    return [each for each in names if each]


def _any_glob(globs: Iterable[str], names: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs for name in names)


class Targets:
    """Whether a target is named by an Ansible pattern, among the hosts and groups that the run had."""

    def __init__(self, pattern: str, plan: Mapping[str, Any] | None) -> None:
        """`plan` is that of the record's `run.start`; without one (it was removed, or lost) a pattern is held against
        each name by itself. Raises UsageError where the pattern names none of them."""
        self._pattern = pattern
        self._known: dict[str, bool] = {}
        if plan is not None:
            targets = {each["target"]: each.get("groups", []) for each in plan.get("targets", [])}
            found = set(_matcher(targets).hosts(pattern))
            self._known = {name: name in found for name in targets}

    def __call__(self, name: str) -> bool:
        if name not in self._known:
            try:
                self._known[name] = bool(_matcher({name: []}).hosts(self._pattern))
            except UsageError:
                self._known[name] = False
        return self._known[name]


def _matcher(targets: Mapping[str, Iterable[str]]) -> Matcher:
    nowhere, book = Place(""), Book()
    model, draft = Model(book), Draft("", book)
    for name, groups in targets.items():
        for group in groups:
            draft.steps.append(AddGroup(group, nowhere))
            draft.steps.append(AddHosts([name], group, None, {}, nowhere))
        draft.steps.append(AddHosts([name], None, None, {}, nowhere))
    model.apply(draft)
    model.reconcile()
    return Matcher(model)
