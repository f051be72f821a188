"""What an inventory says of findings: which are forbidden, which are expected, which must be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from harness.engine.findings.finding import Ruling, Severity
from harness.inventory import Host
from harness.inventory.places import did_you_mean
from harness.patterns import LinearPattern

# The table of kinds is loaded when something is held against it, or named: many targets have no console.
if TYPE_CHECKING:
    from harness.engine.findings.kinds import FindingKind

FORBIDDEN, EXPECTED, REQUIRED = "findings_forbidden", "findings_expected", "findings_required"
_SEVERITIES = tuple(severity.value for severity in Severity)
_WORDS = ("all", "none", *_SEVERITIES)


@dataclass(frozen=True, slots=True)
class Selector:
    """One item of a list: a kind's name, a severity (it and all that is graver), `all`, or `~REGEX` on the report."""

    word: str
    pattern: LinearPattern[str] | None = None

    def picks(self, kind: FindingKind, text: str) -> bool:
        """Whether it means this report; a regular expression is searched for in all of its lines."""
        if self.pattern is not None:
            return self.pattern.search(text) is not None
        return kind.name in _kinds(self.word)


@dataclass(frozen=True, slots=True)
class FindingRules:
    """The rules for one target. What is required is expected too."""

    forbidden: tuple[Selector, ...] = ()
    expected: tuple[Selector, ...] = ()
    required: tuple[Selector, ...] = ()

    def ruling(self, kind: FindingKind, text: str) -> Ruling:
        """What these rules say of a report: who expects something means it, so that wins."""
        if any(selector.picks(kind, text) for selector in (*self.expected, *self.required)):
            return Ruling.EXPECTED
        forbidden = any(selector.picks(kind, text) for selector in self.forbidden)
        return Ruling.FORBIDDEN if forbidden else Ruling.REPORTED


def finding_rules(host: Host) -> FindingRules:
    """A host's rules. Raises UsageError, with the place, for a word that names no finding."""
    return FindingRules(_selectors(host, FORBIDDEN), _selectors(host, EXPECTED), _selectors(host, REQUIRED))


def _selectors(host: Host, variable: str) -> tuple[Selector, ...]:
    words = host.setting(variable)
    if words is None:
        return ()
    assert isinstance(words, list | tuple), f"{variable} is a list in the table of variables"
    return tuple(
        _selector(str(word), lambda problem: host.error(variable, problem)) for word in words if word != "none"
    )


def _selector(word: str, error: Callable[[str], Exception]) -> Selector:
    if word.startswith("~"):
        return Selector(word, LinearPattern(word[1:], multiline=True))
    if word not in _WORDS and not _kinds(word):
        from harness.engine.findings.kinds import BY_NAME

        hint = did_you_mean(word, [*BY_NAME, *_WORDS])
        raise error(f"{word!r} names no finding{f'; {hint}' if hint else ''}")
    return Selector(word)


@cache
def _kinds(word: str) -> frozenset[str]:
    """The names of the kinds that a word means; none where it means nothing."""
    from harness.engine.findings.kinds import BY_NAME

    if word == "all":
        return frozenset(BY_NAME)
    if word in _SEVERITIES:
        least = Severity(word)
        return frozenset(kind.name for kind in BY_NAME.values() if kind.severity.reaches(least))
    return frozenset((word,)) & BY_NAME.keys()
