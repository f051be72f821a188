"""Watching consoles that others hold, at a terminal or into a pipe."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.cli.reaching import Reach
    from harness.errors import MachineError
    from harness.inventory import Host
    from harness.operate.console_log import ConsoleLog, Tail
    from harness.operate.terminal import RawTerminal, Size
    from harness.operate.wake import Wake
    from harness.target.session import TargetSession


def watch_console(reached: Reach, session: TargetSession, arguments: argparse.Namespace, why: str) -> int:
    """Watches the console of a machine that is up, or of a board. One that nobody holds is opened by us, so that there
    is something to see; what is typed goes nowhere."""
    from harness.operate.console_log import ConsoleLog
    from harness.transport.errors import Cause, Unavailable
    from harness.transport.serial.ownership import holder

    machine = session.machine
    if machine is not None:
        return _watch(reached, ConsoleLog(machine.console_log), arguments, why, lambda: machine.alive)
    console = session.raw_console
    try:
        console.open(reached.deadline)
    except Unavailable as error:
        found = holder(console.address)
        if error.cause is not Cause.BUSY or found is None or found.log is None:
            raise
        told = why or f"{error.message}; watching"
        return _watch(
            reached, ConsoleLog(found.log), arguments, told, lambda: found.alive and holder(console.address) == found
        )
    return _watch(
        reached, ConsoleLog(session.console_log_path), arguments, "nobody else holds it", lambda: console.is_open
    )


def watch_run(reached: Reach, host: Host, arguments: argparse.Namespace, error: MachineError) -> int:
    """Watches the machine of a run that goes on. Raises `error` where there is no such run."""
    from functools import partial

    from harness.events.lock import has_writer
    from harness.operate.console_log import ConsoleLog
    from harness.report.folder import folders

    name = reached.folder.target(host.name).name
    for folder in reversed(folders(reached.logs)):
        log = folder / "targets" / name / "console.log"
        if folder != reached.folder.path and log.exists() and has_writer(folder):
            told = f"held by the run {folder.name}; watching only"
            return _watch(reached, ConsoleLog(log), arguments, told, partial(has_writer, folder))
    raise error


def past(reached: Reach, session: TargetSession) -> ConsoleLog:
    """Where what a console said before stands: its machine's log; of a board, the newest that any run has left."""
    from harness.operate.console_log import ConsoleLog
    from harness.report.folder import OPERATED, folders

    own = session.console_log_path
    if session.machine is None:
        found = [*folders(reached.logs), *folders(reached.logs / OPERATED)]
        for folder in sorted(found, key=lambda path: path.name, reverse=True):
            log = folder / "targets" / own.parent.name / own.name
            if folder != reached.folder.path and log.exists() and log.stat().st_size:
                return ConsoleLog(log)
    return ConsoleLog(own)


def tail_of(arguments: argparse.Namespace, size: Size) -> Tail:
    """How much of the past is shown at a terminal."""
    from harness.operate.console_log import Tail

    return Tail(max(1, size.rows - 4), size.columns) if arguments.tail is None else Tail(arguments.tail)


def header(name: str, log: Path, escape: bytes, why: str) -> None:
    """What a person is told before anything else."""
    from harness.operate.keys import key_name

    words = f"harness: the console of {name}" + (f": {why}" if why else "")
    leave = f"{key_name(escape)} leaves; " if escape else ""
    print(f"{words}\nharness: {leave}it is logged in {log}", file=sys.stderr, flush=True)


def last_word(words: str) -> None:
    """What a person is told after all else, if they are still there."""
    with contextlib.suppress(OSError):
        print(f"\nharness: {words}", file=sys.stderr, flush=True)


def _watch(
    reached: Reach, log: ConsoleLog, arguments: argparse.Namespace, why: str, going_on: Callable[[], bool]
) -> int:
    from harness.cli.ends import is_terminal
    from harness.operate.console_log import Tail, still
    from harness.operate.terminal import HungUp, RawTerminal
    from harness.operate.wake import Wake
    from harness.operate.watching import watch

    wake = Wake()
    forget = [reached.cancellation.on_cancel(wake.set)]
    by_hand = is_terminal(sys.stdin) and is_terminal(sys.stdout)
    header(arguments.host, log.path, arguments.escape if by_hand else b"", why or "watching only")
    end = log.size
    try:
        if not by_hand:
            before = log.tail(Tail(arguments.tail or 0), end=end)
            log.position = end
            _hand_on(before)
            ended = watch(log, _hand_on, lambda seconds: _rest(reached, wake, seconds), going_on)
        else:
            with RawTerminal(sys.stdin.fileno(), sys.stdout.fileno(), wake, signals=True) as terminal:
                forget.append(reached.cancellation.on_cancel(terminal.restore))
                terminal.write(still(log.tail(tail_of(arguments, terminal.size), end=end)))
                log.position = end
                ended = watch(
                    log,
                    terminal.write,
                    lambda seconds: _rest(reached, wake, seconds, terminal, arguments.escape),
                    going_on,
                )
    except HungUp:
        return 0
    finally:
        for each in forget:
            each()
    last_word("what was watched has ended" if ended else "left")
    return 0


def _rest(reached: Reach, wake: Wake, seconds: float, terminal: RawTerminal | None = None, escape: bytes = b"") -> bool:
    """Waits; False where the watching is over."""
    import select

    reached.cancellation.check()
    if reached.deadline.expired:
        return False
    watched = [wake.fileno()] if terminal is None else [wake.fileno(), terminal.source]
    ready, _, _ = select.select(watched, [], [], seconds)
    reached.cancellation.check()
    # What a watcher types goes nowhere, and neither do the answers of their terminal to what the console asks it.
    keys = terminal.read() if terminal is not None and terminal.source in ready else b""
    return not (escape and escape in keys)


def _hand_on(data: bytes) -> None:
    from harness.cli.printing import raw

    raw(sys.stdout, data)
