"""What every verb that runs a plan sets up alike: the record with its rotation and secrets, those who read it, the
keyring, the view of the person, shipping.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from harness.cli.options import rotation_of
from harness.cli.shipping import begin
from harness.cli.streams import tell_waiting
from harness.deadline import Cancellation
from harness.engine.console import ConsoleTail
from harness.engine.findings.watch import Findings
from harness.engine.plan import TargetPlan
from harness.events import Emitter, EventLog, Record
from harness.events.log import Subscriber
from harness.events.patience import DiskPatience
from harness.report.folder import RunFolder
from harness.ship.checkpoint import acknowledged, highest
from harness.target.session import TargetSession
from harness.transport.ssh.keyring import Keyring
from harness.transport.ssh.tty import Tty

if TYPE_CHECKING:
    from harness.cli.deferred_signals import DeferredSignals
    from harness.ship.escort import Escort


class View(Protocol):
    """What shows a person how the run goes on: a reader of the record."""

    def __call__(self, record: Record, /) -> None:
        """Show an event."""

    def say(self, text: str, is_bad: bool, /) -> None:
        """Show a message that is no event."""

    def abandon(self) -> None:
        """Give the terminal back, at once."""


class RunSetup:
    """The record of a run, and what reads and fills it. Made before the first event."""

    def __init__(
        self,
        folder: RunFolder,
        targets: Iterable[TargetPlan],
        arguments: argparse.Namespace,
        cancellation: Cancellation,
        *,
        patience: float,
        readers: Sequence[Subscriber] = (),
        ups: Path | None = None,
    ) -> None:
        """`patience` is how many seconds a disk is waited for that takes nothing at present; `readers` read the record
        before it is shown; `ups` is the folder of the machines that are up already."""
        self.folder = folder
        self.patience = DiskPatience(patience, tell_waiting, is_over=lambda: cancellation.cancelled)
        self.log = EventLog(
            folder.events,
            run=folder.run,
            on_failure=lambda error: cancellation.cancel(error.message),
            rotation=rotation_of(arguments),
            acknowledged=lambda: acknowledged(folder.path),
            patience=self.patience,
            used=lambda: highest(folder.path),
        )
        for target in targets:
            for secret in target.host.secret_values:
                self.log.add_secret(secret)
        self.tail, self.findings = ConsoleTail(), Findings()
        own: tuple[Subscriber, ...] = (self.tail, self.findings)
        for reader in (*own, *readers):
            self.log.subscribe(reader)
        self.keyring = Keyring(Tty.open)
        self._ups = ups

    def show(
        self, view: View, sinks: Sequence[str], arguments: argparse.Namespace, signals: DeferredSignals
    ) -> Escort | None:
        """Have the view read the record, and begin to ship it; returns what ships, where something does."""
        self.log.subscribe(view)
        signals.abandon = view.abandon
        return begin(self.folder.path, sinks, arguments.ship_timeout, self.log, view.say)

    def open_session(self, target: TargetPlan, events: Emitter, scale: float) -> TargetSession:
        """Return a target's session, whose time-outs are multiplied by `scale`."""
        return TargetSession(
            target.host,
            target.spec.stretched(scale),
            folder=self.folder.target(target.host.name),
            events=events,
            run=self.folder.run,
            secrets=self.log,
            keyring=self.keyring,
            ups=self._ups,
        )


def view_options(arguments: argparse.Namespace) -> tuple[TextIO, int]:
    """Return the stream that a view draws on, and how much it shows: nothing where the output is a document."""
    stream = sys.stderr if arguments.json else sys.stdout
    return stream, -1 if arguments.quiet or (arguments.json and not arguments.verbose) else arguments.verbose
