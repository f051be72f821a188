"""What a cause is: a row of a table. Pure.

A row names the cause, says how it is found in the evidence, and gives the sentence that a person reads first. Rows of
text (the machine's log, what a peer sent, the console) are regular expressions; rows of state are functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

from harness.diagnosis.evidence import Evidence, TransportObservation
from harness.transport.errors import Contact


class Certainty(IntEnum):
    """How sure a cause is."""

    POSSIBLE = 0
    """It would explain what was seen; so would other causes."""
    OUTSIDE = 1
    """What was seen from outside: certain, and no more than that."""
    SHOWN = 2
    """The machine's state is such that this has to happen."""
    SAID = 3
    """The machine itself gives it as the reason."""


@dataclass(frozen=True, slots=True)
class Found:
    """A cause that was found: the sentence, without the evidence; the evidence for it and against it, quoted."""

    sentence: str
    certainty: Certainty
    evidence: tuple[str, ...] = ()
    against: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StateRule:
    """A cause that is found in the state of the machine.

    `contacts` are the results of SSH that it can explain. `lasting` says that waiting does not end it: somebody has to
    change something.
    """

    name: str
    contacts: frozenset[Contact]
    find: Callable[[Evidence, TransportObservation], Found | None]
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class TextRule:
    """A cause that a text gives. `sentence` is a format: `{user}` and `{address}` are those of the attempt, other names
    are groups of the pattern. Where the pattern has a group `user`, it is only about that user, as it is with
    `only_user`. `contacts` are the results of SSH that it can explain."""

    name: str
    pattern: re.Pattern[str]
    sentence: str
    lasting: bool = False
    certainty: Certainty = Certainty.SAID
    only_user: str = ""
    contacts: frozenset[Contact] = frozenset(Contact)


def text_rule(
    name: str,
    pattern: str,
    sentence: str,
    *,
    lasting: bool = False,
    certainty: Certainty = Certainty.SAID,
    only_user: str = "",
) -> TextRule:
    """Return a row of text."""
    return TextRule(name, re.compile(pattern), sentence, lasting, certainty, only_user)


def at(contacts: frozenset[Contact], *rules: TextRule) -> tuple[TextRule, ...]:
    """Return the rows for these results of SSH only."""
    return tuple(replace(rule, contacts=contacts) for rule in rules)


BEFORE_GREETING = frozenset(
    (Contact.REFUSED, Contact.RESET, Contact.CLOSED, Contact.SILENT, Contact.TIMED_OUT, Contact.NO_ROUTE)
)
"""The server has not said a word."""
HUNG_UP = frozenset((Contact.REFUSED, Contact.RESET, Contact.CLOSED))
"""Something answered that nobody is to be served."""
NO_ANSWER = frozenset((Contact.SILENT, Contact.TIMED_OUT))
AT_LOGIN = frozenset((Contact.LOGIN_REFUSED, Contact.LOGIN_TIMED_OUT, Contact.LOST, Contact.NO_SHELL))
"""The server was reached; the login, or what follows it, went wrong."""
ANY = frozenset(Contact) - {Contact.ANSWERED, Contact.NOT_TRIED}
