"""How the operator's verbs come to targets: an inventory and a pattern in, sessions that are attached out."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.deadline import Cancellation, Deadline
    from harness.events import EventLog
    from harness.inventory import Host
    from harness.report.folder import RunFolder
    from harness.target.session import TargetSession
    from harness.transport.serial.console import LockWait
    from harness.transport.ssh.keyring import Keyring

T = TypeVar("T")

EXIT_CODES = """\
exit codes:
  0    all went well
  1    a command, a step or a look failed on a target
  2    usage or inventory error; nothing was done
  3    a target could not be reached
  4    the pattern names no host
  5    internal error: a fault of harness itself
  130  interrupted
"""


def reach_options(parser: argparse.ArgumentParser, *, deadline: float | None = None) -> argparse._ArgumentGroup:
    """Adds the inventory's flags, `--transport`, `--timeout-scale`, `--deadline` (seconds; `deadline` is its default,
    None for no end), `--forks` and `--logs`; returns the group of those that say how."""
    from harness.cli.options import WAIT_LOCK, factor, inventory_options, positive, seconds, seconds_or_never

    inventory_options(parser)
    how = parser.add_argument_group("how to reach it")
    how.add_argument("--transport", choices=("ssh", "serial"), help="insist on one transport")
    how.add_argument("--timeout-scale", type=factor, metavar="X", help="multiply the times allowed, for slow machines")
    ends = "never" if deadline is None else f"{deadline:g}"
    how.add_argument(
        "--deadline", type=seconds, default=deadline, metavar="S", help=f"end it all after so many seconds ({ends})"
    )
    how.add_argument(
        WAIT_LOCK,
        type=seconds_or_never,
        nargs="?",
        const=float("inf"),
        metavar="S",
        help="wait until a console that somebody else uses is free, for so many seconds at most (without S: as long as "
        "it takes)",
    )
    how.add_argument("--forks", type=positive, default=5, metavar="N", help="targets side by side (default 5)")
    how.add_argument("--logs", default="logs", metavar="DIR", help="where the records are (default logs/)")
    return how


class Reach:
    """Hosts, and sessions with them; made by :func:`reach`."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        hosts: Sequence[Host],
        folder: RunFolder,
        log: EventLog,
        cancellation: Cancellation,
        deadline: Deadline,
        keyring: Keyring,
        closing: contextlib.ExitStack,
    ) -> None:
        self.hosts = tuple(hosts)
        self.logs = Path(arguments.logs)
        """The folder with the runs."""
        self.folder = folder
        self.log = log
        self.cancellation = cancellation
        self.deadline = deadline
        """Until when all of it must be done."""
        self.exit_code = 0
        """What the verb's end is recorded with; the verb sets it."""
        self._arguments = arguments
        self._keyring = keyring
        self._closing = closing

    @property
    def one(self) -> Host:
        """The one host of the pattern. Raises UsageError where there are several."""
        from harness.errors import UsageError

        if len(self.hosts) > 1:
            names = ", ".join(host.name for host in self.hosts[:10])
            raise UsageError(
                f"pattern matches {len(self.hosts)} hosts; this command takes exactly one",
                hint=f"Name one of: {names}" + (", …" if len(self.hosts) > 10 else ""),
            )
        return self.hosts[0]

    def session(self, host: Host, *, hears: bool = False) -> TargetSession:
        """A session with the host, attached. With `hears` its console is opened at once, else when it is needed.

        Raises MachineError for a described machine that is not up, Unavailable, UsageError, Cancelled.
        """
        session = self.unattached(host, hears=hears)
        spec = session.spec
        if spec.machine is not None:
            if not session.attach(self.deadline):
                raise _not_up(host.name, self._arguments)
        else:
            session.start(self.deadline)
        return session

    def unattached(self, host: Host, *, hears: bool = True) -> TargetSession:
        """A session with the host, to be started; it is stopped when all is over, unless its machine is kept."""
        from harness.engine.plan import number
        from harness.report.folder import UP
        from harness.target.session import TargetSession
        from harness.target.spec import target_spec

        scale = self._arguments.timeout_scale
        session = TargetSession(
            host,
            target_spec(host).stretched(number(host, "timeout_scale") if scale is None else scale),
            folder=self.folder.target(host.name),
            events=self.log.bind(target=host.name),
            run=self.folder.run,
            secrets=self.log,
            keyring=self._keyring,
            ups=self.logs / UP,
            hears=hears,
            lock_wait=self._lock_wait(),
        )
        self._closing.callback(session.stop)
        return session

    def _lock_wait(self) -> LockWait | None:
        """Return how long a console that is in use is waited for; None where it is not."""
        if getattr(self._arguments, "wait_lock", None) is None:
            return None
        from harness.cli.streams import tell_waiting
        from harness.transport.serial.console import LockWait

        return LockWait(self._arguments.wait_lock, tell_waiting)

    def each(self, work: Callable[[Host], T]) -> list[T | Exception]:
        """What `work` returned or raised for each host, in their order; at most `--forks` side by side. A programmer's
        mistake is raised."""
        from concurrent.futures import ThreadPoolExecutor

        from harness.errors import Cancelled, HarnessError

        def one(host: Host) -> T | Exception:
            try:
                self.cancellation.check()
                return work(host)
            except (HarnessError, Cancelled, OSError) as error:
                return error

        with ThreadPoolExecutor(max_workers=self._arguments.forks) as pool:
            return list(pool.map(one, self.hosts))


@contextlib.contextmanager
def reach(arguments: argparse.Namespace, pattern: str | None, *, verb: str, visible: bool = False) -> Iterator[Reach]:
    """Everything that can be wrong with what was typed is told before any target is touched. The first SIGINT, SIGTERM
    or SIGHUP ends all waits, the second leaves at once. The sessions are closed at the end. `visible` puts the record
    among the runs.

    Raises UsageError, NothingSelected.
    """
    from harness import __version__
    from harness.deadline import Cancellation, Deadline
    from harness.errors import ExitCode, HarnessError, UsageError
    from harness.events import EventLog
    from harness.inventory import load
    from harness.report import folder as run_folder
    from harness.report.prune import forget_operated
    from harness.target.spec import target_spec
    from harness.transport.ssh.keyring import Keyring
    from harness.transport.ssh.tty import Tty

    if not arguments.inventory:
        raise UsageError(
            "no inventory was given", hint="Name one with -i: a file, a folder, or hosts such as -i host1,"
        )
    inventory = load(
        arguments.inventory,
        extra_vars=arguments.extra_vars,
        vault_password_file=arguments.vault_password_file,
        untrusted=arguments.untrusted,
    )
    hosts = inventory.select(pattern, limit=arguments.limit)
    for warning in inventory.warnings:
        print(f"harness: warning: {warning}", file=sys.stderr)
    for host in hosts:
        target_spec(host)
    folder = run_folder.create_operated(Path(arguments.logs), time.time(), visible=visible)
    cancellation = Cancellation()
    log = EventLog(folder.events, run=folder.run, on_failure=lambda error: cancellation.cancel(error.message))
    for host in hosts:
        for secret in host.secret_values:
            log.add_secret(secret)
    forget_operated(Path(arguments.logs))
    began = time.monotonic()
    log.emit("operate.start", f"harness {verb}", argv=sys.argv, version=__version__, verb=verb)
    keyring = Keyring(Tty.open)
    deadline = Deadline.never(cancellation=cancellation)
    if arguments.deadline is not None:
        deadline = deadline.clamp(arguments.deadline)
    with contextlib.closing(log), _signals(cancellation):
        stack = contextlib.ExitStack()
        stack.enter_context(contextlib.closing(keyring))
        reached = Reach(arguments, hosts, folder, log, cancellation, deadline, keyring, stack)
        try:
            with stack:
                yield reached
        except HarnessError as error:
            reached.exit_code = int(error.exit_code)
            raise
        except Exception:
            reached.exit_code = int(ExitCode.INTERNAL)
            raise
        finally:
            log.emit(
                "operate.end",
                f"harness {verb} has ended",
                verb=verb,
                duration=time.monotonic() - began,
                exit_code=reached.exit_code,
            )


@contextlib.contextmanager
def _signals(cancellation: Cancellation) -> Iterator[None]:
    import os

    from harness.cli.interrupts import ending_signals

    def interrupted(name: str) -> None:
        cancellation.cancel(f"interrupted by {name}")

    # Machines end by themselves: their supervisors see that we are gone.
    with ending_signals(interrupted, lambda: os._exit(130)):
        yield


def typed_inventory(arguments: argparse.Namespace) -> list[str]:
    """The words that name the same inventory again."""
    words: list[str] = []
    for source in arguments.inventory:
        words += ["-i", source]
    for assignment in arguments.extra_vars:
        words += ["-e", assignment]
    if arguments.untrusted:
        words.append("--untrusted")
    if arguments.vault_password_file:
        words += ["--vault-password-file", arguments.vault_password_file]
    if getattr(arguments, "logs", "logs") != "logs":
        words += ["--logs", arguments.logs]
    return words


def _not_up(name: str, arguments: argparse.Namespace) -> Exception:
    import shlex

    from harness.errors import MachineError
    from harness.inventory.patterns import pattern_for
    from harness.report.folder import last_failure

    run, reason = last_failure(Path(arguments.logs), name)
    known = f"; in the last run ({run}): {reason}" if reason else ""
    return MachineError(
        f"the machine {name} is not up{known}",
        hint=f"start it: {shlex.join(['harness', 'up', *typed_inventory(arguments), pattern_for(name)])}",
    )
