"""`harness soak`: the same checks again and again, with resets and faults between, and what they come to."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO, Any

    from harness.cli.deferred_signals import DeferredSignals
    from harness.deadline import Cancellation
    from harness.engine.plan import Plan
    from harness.operate.collect.catalogue import Recipe
    from harness.report.folder import RunFolder
    from harness.soak.ending import Ending
    from harness.soak.known import KnownFlake
    from harness.soak.target_soak import Terms

LOST_NAMED = 20
"""Iterations to be run again that are reported one by one."""

EPILOG = """\
resets (--reset, or soak_reset in the inventory):
  none             nothing is done
  unit:NAME        a unit is restarted
  reboot           the system boots anew
  power-cycle      the machine is reset (machines of ours only, as all below)
  cold-boot        QEMU is started anew, on a fresh overlay
  snapshot         memory and disks are put back to what they were after the boot (default, where it can be had)

faults (--fault, or soak_faults in the inventory):
  NAME[:ARGUMENT][:SECONDS][@CHANCE], such as link-down:5s@0.2, with one of these names and arguments:
  link-down  pause  reset  sshd-kill  sshd-stop  kill:NAME  disk-full:/FOLDER  memory:75%  cpu:LOOPS
  clock-jump:+1h  console-noise:LINES

exit codes, the worst that happened in all iterations:
  0    nothing failed (known flakes, and flaky passes without --fail-on-flaky, do not count)
  1    a check failed, or has a mistake, or a console said what is forbidden
  2    usage, inventory or configuration error; nothing was started, or it was of no use
  3    a target could not be reached, and nothing worse
  4    nothing was selected
  5    internal error: a fault of harness itself, or a record that cannot be written
  6    --fail-on-flaky, and a check passed only when it was carried again, or changed in its window
  7    infrastructure: QEMU died, a disk was full, files or threads ran out, and nothing failed
  130  interrupted
"""


RECORD_PATIENCE = 300.0
"""Seconds that a soak waits for a disk that takes nothing at present: one such moment is not to end hours."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.collecting import collect_options
    from harness.cli.options import (
        check_options,
        duration,
        inventory_options,
        output_options,
        positive,
        target_options,
    )
    from harness.cli.shipping import ship_options

    parser = subparsers.add_parser(
        "soak",
        help="run the checks again and again, with resets and faults, and count",
        description="Runs the same checks again and again on the targets, puts these back between two iterations, does "
        "faults to them if told to, and counts what comes of it. A soak that was killed goes on with --resume.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    inventory_options(parser)
    check_options(parser, nargs="*")
    end = parser.add_argument_group("when it ends (whatever comes first; one must be given)")
    end.add_argument("--iterations", type=positive, metavar="N", help="after N iterations of each target")
    end.add_argument(
        "--for", type=duration, dest="seconds", metavar="TIME", help="after that time: 8h, 30m, 1h30m, 90s"
    )
    end.add_argument(
        "--until-fail", action="store_const", const=1, dest="max_failures", help="the same as --max-failures 1"
    )
    end.add_argument("--max-failures", type=positive, metavar="K", help="after K failed iterations")
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with a soak that was killed or interrupted: its run's id, folder, or `latest`",
    )
    what = parser.add_argument_group("what is done to the targets")
    what.add_argument("--reset", metavar="HOW", help="how a target is put back between two iterations (see below)")
    what.add_argument(
        "--fault", action="append", default=[], metavar="FAULT", help="fault to inject in each iteration (see below)"
    )
    what.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the faults, the jitter and --shuffle")
    flaky = parser.add_argument_group("flakes")
    flaky.add_argument(
        "--retries",
        type=_count,
        default=1,
        metavar="N",
        help="retry a failing check up to N times; a pass on retry counts as flaky (default 1)",
    )
    flaky.add_argument("--fail-on-flaky", action="store_true", help="a flaky pass fails its iteration, and the soak")
    flaky.add_argument(
        "--known-flakes", metavar="FILE", help="YAML list of flakes that are known (default: beside the inventory)"
    )
    target_options(parser)
    collect_options(parser)
    out = output_options(parser)
    out.add_argument("--metrics", metavar="ADDRESS:PORT", help="serve the figures there, for Prometheus")
    ship_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run a soak. Everything that can be wrong with what was typed is reported before any machine is started."""
    from harness.engine.captured import document_only

    with document_only(arguments.json) as document:
        return _run(arguments, document)


def _run(arguments: argparse.Namespace, document: IO[str]) -> int:
    from harness.cli.collecting import recipe_of
    from harness.cli.planning import list_plan, plan_of
    from harness.cli.resuming import as_typed, resumed_soak, with_kept_files
    from harness.cli.shipping import sinks_of, without_passwords
    from harness.errors import UsageError
    from harness.inventory.script import ProgramOutputs
    from harness.soak.metrics import check_address

    folder: RunFolder | None = None
    changed: list[str] = []
    arguments.program_outputs = ProgramOutputs()
    typed = arguments
    if arguments.resume is not None:
        typed, folder = resumed_soak(arguments)
        arguments, changed = with_kept_files(typed, folder)
    plan = plan_of(arguments, lambda found: as_typed(found, folder, typed))
    terms = _terms(plan, arguments)
    ending = _ending(arguments)
    known = _known(arguments)
    if arguments.metrics is not None:
        check_address(arguments.metrics)
    if arguments.list_only:
        return list_plan(plan, document, as_json=arguments.json)
    if not ending.named:
        raise UsageError(
            "nothing says when the soak ends", hint="Give --iterations N, --for 8h, --until-fail or --max-failures K."
        )
    sinks = sinks_of(arguments, [target.host for target in plan.targets])
    typed.ship_timeout = arguments.ship_timeout  # which is the settings' where none was given
    without_passwords(sinks)
    return _execute(plan, terms, ending, known, sinks, recipe_of(arguments), typed, folder, changed, document)


def _terms(plan: Plan, arguments: argparse.Namespace) -> dict[str, Terms]:
    from harness.engine.plan import number
    from harness.soak.faults.fault import faults_of
    from harness.soak.target_soak import Terms
    from harness.target.reset import reset_of

    return {
        target.host.name: Terms(
            reset_of(target.host, target.spec, arguments.reset),
            faults_of(target.host, target.spec, arguments.fault),
            number(target.host, "soak_fault_within"),
        )
        for target in plan.targets
    }


def _with_terms(target: dict[str, Any], terms: Mapping[str, Terms]) -> dict[str, Any]:
    """Return a target's part of the plan with how it is reset and which faults are drawn for it."""
    term = terms[target["target"]]
    return {**target, "reset": str(term.reset), "faults": [str(each) for each in term.faults]}


def _ending(arguments: argparse.Namespace) -> Ending:
    from harness.soak.ending import Ending

    return Ending(arguments.iterations, arguments.seconds, arguments.max_failures, arguments.fail_on_flaky)


def _known(arguments: argparse.Namespace) -> tuple[KnownFlake, ...]:
    from pathlib import Path

    from harness.soak.known import find_file, read_known

    path = Path(arguments.known_flakes) if arguments.known_flakes else find_file(arguments.inventory)
    return read_known(path) if path is not None else ()


def _execute(
    plan: Plan,
    terms: Mapping[str, Terms],
    ending: Ending,
    known: Sequence[KnownFlake],
    sinks: Sequence[str],
    recipe: Callable[[], Recipe] | None,
    arguments: argparse.Namespace,
    resumed: RunFolder | None,
    changed: Sequence[str],
    document: IO[str],
) -> int:
    from harness.cli.deferred_signals import DeferredSignals
    from harness.deadline import Cancellation

    cancellation = Cancellation()
    with DeferredSignals(cancellation) as signals:
        return _carry_out(
            plan, terms, ending, known, sinks, recipe, arguments, resumed, changed, document, cancellation, signals
        )


def _carry_out(
    plan: Plan,
    terms: Mapping[str, Terms],
    ending: Ending,
    known: Sequence[KnownFlake],
    sinks: Sequence[str],
    recipe: Callable[[], Recipe] | None,
    arguments: argparse.Namespace,
    resumed: RunFolder | None,
    changed: Sequence[str],
    document: IO[str],
    cancellation: Cancellation,
    signals: DeferredSignals,
) -> int:
    import contextlib
    import json
    import time
    from itertools import islice
    from pathlib import Path

    from harness import __version__
    from harness.cli.carrying import leave, until_done, worker_threads
    from harness.cli.collecting import collections_of, collector
    from harness.cli.planning import repeat_command
    from harness.cli.resuming import other_files, resume_command
    from harness.cli.run_setup import RunSetup, view_options
    from harness.cli.streams import give_up_streams
    from harness.engine.captured import attributed
    from harness.engine.limits import fit_plan
    from harness.errors import ExitCode, HarnessError
    from harness.events.clock_watch import ClockWatch
    from harness.report import folder as run_folder
    from harness.report.plan_file import write_plan
    from harness.soak.befallen import Befallen
    from harness.soak.collecting import FirstOfEachKind
    from harness.soak.inputs import Inputs
    from harness.soak.metrics import Metrics
    from harness.soak.soak import Soak
    from harness.soak.state import Begun, StateError, StatusWriter, document_of, write_begun, write_status
    from harness.soak.trials import TrialsFile, stream_trials
    from harness.soak.view import SoakView
    from harness.soak.words import plural

    earlier = worker_threads()
    fit_plan(plan, all_open=True)  # refused before anything is written
    folder = resumed or run_folder.create(Path(arguments.logs), time.time())
    befallen = Befallen()
    setup = RunSetup(folder, plan.targets, arguments, cancellation, patience=RECORD_PATIENCE, readers=(befallen,))
    log = setup.log
    if resumed is None:
        inputs = Inputs(folder.path)
        inputs.keep(arguments.inventory, arguments.checks, other_files(arguments))
        inputs.keep_outputs(arguments.program_outputs)
        write_begun(folder.path, Begun(tuple(sys.argv[1:]), str(Path.cwd()), __version__))
    stream, verbosity = view_options(arguments)
    view = SoakView(stream, verbosity=verbosity)
    escort = setup.show(view, sinks, arguments, signals)
    collect = collector(recipe, arguments.collect_timeout, folder, log)
    trouble: HarnessError | None = None

    def cannot_write(error: StateError) -> None:
        nonlocal trouble
        trouble = trouble or error
        cancellation.cancel(error.message)

    with contextlib.ExitStack() as stack:
        stack.enter_context(signals)
        stack.callback(log.close)
        stack.callback(setup.keyring.close)
        file = TrialsFile(folder.path, patience=setup.patience)
        stack.callback(file.close)
        had = stream_trials(folder.path)
        soak = Soak(
            plan,
            terms,
            ending,
            file=file,
            had=had,
            known=known,
            open_session=setup.open_session,
            events=log,
            console_tail=setup.tail,
            findings=setup.findings,
            befallen=befallen,
            cancellation=cancellation,
            repeat=repeat_command(arguments),
            redact=log.redact,
            retries=arguments.retries,
            collect=FirstOfEachKind(collect, lambda name: collections_of(folder, name)) if collect else None,
            on_progress=lambda: status.changed(),
        )
        status = StatusWriter(
            folder.path, lambda: document_of(soak, ending, folder.run), cannot_write, patience=setup.patience
        )
        if arguments.metrics is not None:
            stack.callback(Metrics(arguments.metrics, lambda: soak.tally).close)
        view.watch(soak, ending.iterations, ending.seconds)
        words = f"{plan.size} checks on {len(plan.targets)} targets, again and again"
        described = write_plan(folder.path, (log.redact(_with_terms(each, terms)) for each in plan.each_plain()))
        if resumed is None:
            log.emit("run.start", words, argv=sys.argv, version=__version__, plan=described)
        else:
            counts = {name: target.iterations for name, target in soak.tally.targets.items()}
            named = [f"iteration {count} of {name}" for name, count in islice(counts.items(), LOST_NAMED)]
            more = f" and {len(counts) - LOST_NAMED} more targets" if len(counts) > LOST_NAMED else ""
            told = f"going on behind {', '.join(named)}{more}"
            log.emit(
                "soak.resume",
                told,
                argv=sys.argv,
                version=__version__,
                plan=described,
                iterations={"all": sum(counts.values()), "least": min(counts.values()), "most": max(counts.values())},
            )
            if changed:
                words = "changed since the soak began, which continues with what it began with: " + ", ".join(changed)
                log.emit("soak.inputs_changed", words, level="warning", paths=list(changed))
            lost = had.lost()
            for name, number in lost[:LOST_NAMED]:
                log.bind(target=name).emit(
                    "iteration.lost",
                    f"{name}: iteration {number} cannot be read whole in {file.path.name}; it is run again",
                    level="warning",
                    iteration=number,
                )
            if len(lost) > LOST_NAMED:
                words = f"{len(lost) - LOST_NAMED} more iterations cannot be read whole; they are run again"
                log.emit("record.trouble", words, level="warning")
            if had.unreadable_count:
                places = ", ".join(map(str, had.unreadable))
                words = f"{plural(had.unreadable_count, 'line')} of {file.path.name} cannot be read (line {places})"
                log.emit("record.trouble", words, level="warning")
        with view, attributed(), ClockWatch(log):
            try:
                until_done(soak.run)
            except HarnessError as error:
                trouble = trouble or error
        code = ExitCode.INTERRUPTED if cancellation.cancelled else soak.exit_code
        if trouble is None and log.failed is None:
            write_status(folder.path, document_of(soak, ending, folder.run, exit_code=int(code)))
        log.emit(
            "run.end",
            ", ".join(f"{count} {outcome}" for outcome, count in soak.tally.outcomes.items()) or "no trials",
            duration=soak.seconds,
            counts=dict(soak.tally.outcomes),
            exit_code=int(trouble.exit_code if trouble else code),
            level="info" if code == 0 and trouble is None else "error",
        )
    trouble = log.failed or trouble
    go_on = resume_command(folder.path)
    if trouble is not None:
        trouble.hint = f"{trouble.hint} It goes on with: {go_on}".strip()
        raise trouble
    try:
        view.end(str(folder.path), go_on if cancellation.cancelled else "")
        if arguments.json:
            print(json.dumps(document_of(soak, ending, folder.run, exit_code=int(code)), indent=2), file=document)
        document.flush()
        sys.stdout.flush()
    except (OSError, ValueError):
        give_up_streams(document)
    if escort is not None:
        escort.finish()
    return leave(int(code), earlier)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 up")
    return int(text)
