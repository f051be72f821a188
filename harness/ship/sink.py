"""What a sink is: it takes batches of events, and says what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.deadline import Deadline
from harness.errors import ExitCode, HarnessError
from harness.ship.event import Event


class Unavailable(HarnessError):
    """The receiver does not take anything now, or did not say whether it did: the batch is sent again.

    `wait` is the number of seconds that the receiver itself asked for; None where it did not. `sent` is false where the
    batch cannot be the cause: it was not sent, or the answer says that the receiver is busy or does not let us in.
    `lost` says that a connection broke: the first attempts to send again follow quickly.
    """

    exit_code = ExitCode.UNREACHABLE

    def __init__(
        self, message: str, *, wait: float | None = None, hint: str = "", sent: bool = True, lost: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.wait = wait
        self.sent = sent
        self.lost = lost


class Refused(HarnessError):
    """The receiver refuses the batch for good: it is too large, or an event in it is bad."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sink takes at once: events, bytes of their lines together, bytes of one line (0: no limit)."""

    events: int = 500
    bytes: int = 1_000_000
    line: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a batch; everything that is not named here is acknowledged. Indexes count within the batch.

    `refused` are the events that the receiver will never take, with its reasons; `again` those to send again, after
    `wait` seconds where the receiver asked for that. `unnamed` is how many more were refused without a word on which
    ones they are. `note` is what the receiver wants a person to know.
    """

    refused: Mapping[int, str] = field(default_factory=dict)
    again: frozenset[int] = frozenset()
    wait: float | None = None
    unnamed: int = 0
    note: str = ""


TAKEN = Answer()
"""All of the batch is acknowledged."""


class Sink(Protocol):
    """Where events are shipped. One thread uses a sink; it connects when it is first used, and again after a fault."""

    limits: Limits

    def send(self, events: Sequence[Event], deadline: Deadline) -> Answer:
        """Sends a batch, within `limits`, and returns when the receiver has answered for each event.

        Raises :class:`Unavailable` and :class:`Refused`, both about the whole batch; Cancelled when the deadline's
        cancellation ends it.
        """

    def close(self) -> None:
        """Lets go of the connection. The sink may be used again."""
