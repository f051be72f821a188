"""`harness run`: boot, settle, check, tell."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, TextIO

    from harness.cli.deferred_signals import DeferredSignals
    from harness.deadline import Cancellation
    from harness.engine.outcome import RunResult
    from harness.engine.plan import Plan
    from harness.operate.collect.catalogue import Recipe

RECORD_PATIENCE = 10.0
"""Seconds that a run waits for a disk that takes nothing at present."""
KEPT_FOR = 1800.0
"""Seconds that machines are left up where nobody is at a terminal to end them."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.collecting import collect_options
    from harness.cli.main import EXIT_CODES
    from harness.cli.options import (
        check_options,
        duration,
        inventory_options,
        output_options,
        positive,
        seconds,
        target_options,
    )
    from harness.cli.shipping import ship_options

    parser = subparsers.add_parser(
        "run",
        help="boot the targets, wait until they have settled, and check them",
        description="Boots the targets that the inventory describes (or attaches to those that run), waits until they "
        "have settled, runs the checks over SSH or the serial console, prints a verdict and leaves a record.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    inventory_options(parser)
    check_options(parser)
    how = target_options(parser)
    how.add_argument("--deadline", type=seconds, metavar="S", help="end the whole run after so many seconds")
    how.add_argument("--max-fail", type=positive, default=0, metavar="N", help="run no more checks after N have failed")
    how.add_argument("-x", action="store_const", const=1, dest="max_fail", help="the same as --max-fail 1")
    how.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the jitter and of --shuffle, to repeat a run"
    )
    after = parser.add_argument_group("when it is over")
    after.add_argument("--keep", action="store_true", help="leave the machines up, and print how to reach them")
    after.add_argument(
        "--debug-on-failure",
        action="store_true",
        help="stop at the first failure with the machines up, and print the commands to go on with (without a "
        "terminal they are left up for 30m)",
    )
    after.add_argument(
        "--keep-for", type=duration, metavar="TIME", help="leave them up for so long, such as 30m; then they end"
    )
    collect_options(parser)
    output_options(parser)
    ship_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Everything that can be wrong with what was typed is told before any machine is started."""
    from harness.cli.collecting import recipe_of
    from harness.cli.planning import list_plan, plan_of
    from harness.cli.shipping import sinks_of
    from harness.engine.captured import document_only

    _leaving_up(arguments)
    with document_only(arguments.json) as document:
        plan = plan_of(arguments)
        if arguments.list_only:
            return list_plan(plan, document, as_json=arguments.json)
        sinks = sinks_of(arguments, [target.host for target in plan.targets])
        return _execute(plan, sinks, recipe_of(arguments), arguments, document)


def _leaving_up(arguments: argparse.Namespace) -> None:
    """What the flags that leave machines up say of each other."""
    if arguments.debug_on_failure:
        arguments.max_fail = arguments.max_fail or 1
        if arguments.keep_for is None and not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
            arguments.keep_for = KEPT_FOR
    elif arguments.keep_for is not None:
        arguments.keep = True


def _execute(
    plan: Plan, sinks: list[str], recipe: Callable[[], Recipe] | None, arguments: argparse.Namespace, document: IO[str]
) -> int:
    from harness.cli.deferred_signals import DeferredSignals
    from harness.deadline import Cancellation

    cancellation = Cancellation()
    with DeferredSignals(cancellation) as signals:
        return _carry_out(plan, sinks, recipe, arguments, document, cancellation, signals)


def _carry_out(
    plan: Plan,
    sinks: list[str],
    recipe: Callable[[], Recipe] | None,
    arguments: argparse.Namespace,
    document: IO[str],
    cancellation: Cancellation,
    signals: DeferredSignals,
) -> int:
    import contextlib
    import time
    from pathlib import Path

    from harness import __version__
    from harness.cli.carrying import leave, until_done, worker_threads
    from harness.cli.collecting import collector
    from harness.cli.planning import repeat_command
    from harness.cli.run_setup import RunSetup, view_options
    from harness.cli.streams import give_up_streams
    from harness.engine.captured import attributed
    from harness.engine.limits import fit_plan
    from harness.engine.scheduler import Scheduler
    from harness.events.clock_watch import ClockWatch
    from harness.report import folder as run_folder
    from harness.report.plan_file import write_plan
    from harness.report.terminal import Terminal
    from harness.report.write import results_json, write_reports

    earlier = worker_threads()
    fit = fit_plan(plan)
    if fit.told:
        print(f"harness: warning: {fit.told}", file=sys.stderr)
    folder = run_folder.create(Path(arguments.logs), time.time())
    setup = RunSetup(
        folder,
        plan.targets,
        arguments,
        cancellation,
        patience=RECORD_PATIENCE,
        ups=folder.path.parent / run_folder.UP,
    )
    log = setup.log
    stream, verbosity = view_options(arguments)
    terminal = Terminal(stream, verbosity=verbosity)
    escort = setup.show(terminal, sinks, arguments, signals)
    log.emit(
        "run.start",
        f"{plan.size} checks on {len(plan.targets)} targets",
        argv=sys.argv,
        version=__version__,
        plan=write_plan(folder.path, map(log.redact, plan.each_plain())),
    )
    scheduler = Scheduler(
        plan,
        run=folder.run,
        open_session=setup.open_session,
        events=log,
        console_tail=setup.tail,
        cancellation=cancellation,
        findings=setup.findings,
        repeat=repeat_command(arguments),
        collect=collector(recipe, arguments.collect_timeout, folder, log),
        fit=fit,
    )
    with contextlib.closing(log), signals:
        with terminal, contextlib.closing(setup.keyring), attributed(), ClockWatch(log):
            result: RunResult = log.redact(until_done(scheduler.run))
            # First of all: whatever else is left to be ended may fail, or be ended itself.
            trouble = write_reports(result, folder, patience=setup.patience) if log.failed is None else None
        log.emit(
            "run.end",
            ", ".join(f"{count} {outcome}" for outcome, count in result.counts.items()),
            duration=result.duration,
            counts=result.counts,
            exit_code=int(result.exit_code),
            outcome="passed" if result.exit_code == 0 else "failed",
            level="info" if result.exit_code == 0 else "error",
        )  # fmt: skip
    if log.failed is not None:
        raise log.failed
    if trouble is not None:
        raise trouble
    try:
        terminal.summary(result, str(folder.path))
        _go_on_with(result, arguments, stream)
        if arguments.json:
            print(results_json(result), end="", file=document)
        document.flush()
        sys.stdout.flush()
    except (OSError, ValueError):
        # The reader (`| head`) has gone, or the terminal. The verdict stands in the record, and in the exit code.
        give_up_streams(document)
    if escort is not None:
        escort.finish()
    return leave(int(result.exit_code), earlier)


def _go_on_with(result: RunResult, arguments: argparse.Namespace, stream: TextIO) -> None:
    """Prints, for each machine that is left up, the commands that look further."""
    import shlex
    from glob import escape

    from harness.cli.reaching import typed_inventory
    from harness.inventory.patterns import pattern_for

    where = typed_inventory(arguments)
    for target in result.targets:
        if not target.reach:
            continue
        name = pattern_for(target.target)
        machine = escape(target.target)  # `down` knows machines by their names, in the shell's patterns
        print(f"go on with {target.target}:", file=stream)
        for words in (
            ["why", *where, name],
            ["exec", *where, name, "--", "systemctl list-jobs"],
            ["console", *where, name],
            ["down", *(["--logs", arguments.logs] if arguments.logs != "logs" else []), "--", machine],
        ):
            print(f"  harness {shlex.join(words)}", file=stream)
