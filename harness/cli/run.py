"""`harness run`: boot, settle, check, tell."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.api.check import Check
    from harness.deadline import Cancellation
    from harness.engine.outcome import RunResult
    from harness.engine.plan import Plan
    from harness.engine.scheduler import Scheduler


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.main import EXIT_CODES
    from harness.cli.options import inventory_options

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
    parser.add_argument("checks", nargs="+", metavar="CHECKS", help="files or folders of checks, or FILE.py::NAME")
    choose = parser.add_argument_group("choosing checks")
    choose.add_argument(
        "-k",
        dest="keyword",
        default="",
        metavar="EXPR",
        help="only checks whose module::name matches, e.g. 'banner or key'",
    )
    choose.add_argument(
        "-t",
        "--tags",
        default="",
        metavar="TAGS",
        help="only checks with one of these tags (comma-separated)",
    )
    choose.add_argument("--skip-tags", default="", metavar="TAGS", help="no checks with one of these tags")
    choose.add_argument(
        "--list", action="store_true", dest="list_only", help="list targets and checks, and start nothing"
    )
    how = parser.add_argument_group("how to run")
    how.add_argument("--forks", type=_positive, default=5, metavar="N", help="targets side by side (default 5)")
    how.add_argument("--at-once", type=_positive, metavar="N", help="checks of one target side by side (default 4)")
    how.add_argument("--deadline", type=_seconds, metavar="S", help="end the whole run after so many seconds")
    how.add_argument(
        "--target-deadline", type=_seconds, metavar="S", help="end each target after so many seconds, boot included"
    )
    how.add_argument(
        "--transport",
        choices=("ssh", "serial"),
        help="insist on one transport for every check that does not itself",
    )
    how.add_argument(
        "--no-settle",
        action="store_false",
        dest="settle",
        default=None,
        help="do not wait until a target has settled",
    )
    how.add_argument("--settle", action="store_true", default=None, help="wait until a target has settled (default)")
    how.add_argument("--budget", type=_seconds, metavar="S", help="total seconds of each check, instead of its own")
    how.add_argument(
        "--window",
        type=_seconds,
        metavar="S",
        help="seconds that each observation must hold, instead of the check's own",
    )
    how.add_argument("--timeout-scale", type=_factor, metavar="X", help="multiply the times allowed, for slow machines")
    how.add_argument(
        "--max-fail", type=_positive, default=0, metavar="N", help="run no more checks after N have failed"
    )
    how.add_argument("-x", action="store_const", const=1, dest="max_fail", help="the same as --max-fail 1")
    how.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the jitter and of --shuffle, to repeat a run"
    )
    how.add_argument("--shuffle", action="store_true", help="start the checks in an order drawn with the seed")
    how.add_argument("--keep", action="store_true", help="leave the machines up, and print how to reach them")
    out = parser.add_argument_group("output")
    out.add_argument("--logs", default="logs", metavar="DIR", help="where the record goes (default logs/)")
    out.add_argument("-q", "--quiet", action="store_true", help="print failures only")
    out.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="print attempts and observations too; -vv commands and console lines",
    )
    out.add_argument(
        "--json",
        action="store_true",
        help="print the results as one JSON document, and nothing else, on stdout",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Everything that can be wrong with what was typed is told before any machine is started."""
    plan = _plan(arguments)
    if arguments.list_only:
        return _list(plan, as_json=arguments.json)
    return _execute(plan, arguments)


def _plan(arguments: argparse.Namespace) -> Plan:
    from pathlib import Path

    from harness.api.discovery import discover, select
    from harness.engine.plan import Options, make_plan
    from harness.errors import NothingSelected, UsageError
    from harness.inventory import load

    if not arguments.inventory:
        raise UsageError(
            "no inventory was given", hint="Name one with -i: a file, a folder, or hosts such as -i host1,"
        )
    paths = [Path(each.partition("::")[0]) for each in arguments.checks]
    folders = list(dict.fromkeys(str(path if path.is_dir() else path.parent) for path in paths))
    found = discover(arguments.checks)
    checks = select(
        found, keyword=arguments.keyword, tags=_words(arguments.tags), skip_tags=_words(arguments.skip_tags)
    )
    if not checks:
        raise NothingSelected(
            f"-k and --tags leave none of {len(found)} checks",
            hint="They are: " + ", ".join(each.label for each in found),
        )
    inventory = load(
        arguments.inventory,
        extra_vars=arguments.extra_vars,
        playbook_dirs=folders,
        vault_password_file=arguments.vault_password_file,
    )
    hosts = inventory.select("all", limit=arguments.limit)
    for warning in inventory.warnings:
        print(f"harness: warning: {warning}", file=sys.stderr)
    if not hosts:
        raise NothingSelected("the inventory has no hosts", hint="Look at it with: harness inventory --graph -i …")
    options = Options(
        forks=arguments.forks,
        keep=arguments.keep,
        settle=arguments.settle,
        timeout_scale=arguments.timeout_scale,
        budget=arguments.budget,
        window=arguments.window,
        max_fail=arguments.max_fail,
        seed=arguments.seed,
        transport=arguments.transport,
        at_once=arguments.at_once,
        deadline=arguments.deadline,
        target_deadline=arguments.target_deadline,
        shuffle=arguments.shuffle,
    )
    return make_plan(hosts, checks, options, available=found)


def _list(plan: Plan, *, as_json: bool) -> int:
    import json

    document = plan.plain()
    if as_json:
        print(json.dumps(document, indent=2))
        return 0
    for target in document["targets"]:
        print(target["target"])
        for check in target["checks"]:
            tags = f"  [{', '.join(check['tags'])}]" if check["tags"] else ""
            print(f"  {check['id']}{tags}")
            if check["description"]:
                print(f"      {check['description']}")
    return 0


def _execute(plan: Plan, arguments: argparse.Namespace) -> int:
    import contextlib
    import os
    import time
    from pathlib import Path

    from harness import __version__
    from harness.deadline import Cancellation
    from harness.engine.console import ConsoleTail
    from harness.engine.findings.watch import Findings
    from harness.engine.scheduler import Scheduler
    from harness.events import EventLog
    from harness.report import folder as run_folder
    from harness.report.terminal import Terminal
    from harness.report.write import results_json, write_reports
    from harness.target.session import TargetSession
    from harness.transport.ssh.keyring import Keyring
    from harness.transport.ssh.tty import Tty

    folder = run_folder.create(Path(arguments.logs), time.time())
    cancellation = Cancellation()
    log = EventLog(folder.events, run=folder.run, on_failure=lambda error: cancellation.cancel(error.message))
    for target in plan.targets:
        for secret in target.host.secret_values:
            log.add_secret(secret)
    tail, findings = ConsoleTail(), Findings()
    log.subscribe(tail)
    log.subscribe(findings)
    stream = sys.stderr if arguments.json else sys.stdout
    verbosity = -1 if arguments.quiet or (arguments.json and not arguments.verbose) else arguments.verbose
    terminal = Terminal(stream, verbosity=verbosity)
    log.subscribe(terminal)
    log.emit(
        "run.start",
        f"{plan.size} checks on {len(plan.targets)} targets",
        argv=sys.argv,
        version=__version__,
        plan=plan.plain(),
    )
    keyring = Keyring(Tty.open)
    scheduler = Scheduler(
        plan,
        run=folder.run,
        open_session=lambda target, events, scale: TargetSession(
            target.host,
            target.spec.stretched(scale),
            folder=folder.target(target.host.name),
            events=events,
            run=folder.run,
            secrets=log,
            keyring=keyring,
        ),
        events=log,
        console_tail=tail,
        cancellation=cancellation,
        findings=findings,
        repeat=_repeat_command(arguments),
    )
    with contextlib.closing(log):
        with terminal, contextlib.closing(keyring):
            result: RunResult = log.redact(_until_done(scheduler, cancellation, terminal.abandon))
        if log.failed is None:
            write_reports(result, folder)
        log.emit(
            "run.end",
            ", ".join(f"{count} {outcome}" for outcome, count in result.counts.items()),
            duration=result.duration,
            counts=result.counts,
            exit_code=int(result.exit_code),
            level="info" if result.exit_code == 0 else "error",
        )  # fmt: skip
    if log.failed is not None:
        raise log.failed
    try:
        terminal.summary(result, str(folder.path))
        if arguments.json:
            print(results_json(result), end="")
        sys.stdout.flush()
    except (OSError, SystemExit):
        # The reader (`| head`) has gone, or the terminal. The verdict stands in the record, and in the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _leave(int(result.exit_code))


def _until_done(scheduler: Scheduler, cancellation: Cancellation, abandon: Callable[[], None]) -> RunResult:
    """Runs the event loop. The first SIGINT or SIGTERM ends all waits and shuts down in order; the second leaves
    at once."""
    import asyncio
    import os
    import signal

    def interrupted(name: str) -> None:
        if cancellation.cancelled:
            abandon()
            os._exit(130)  # machines end by themselves: their supervisors see that we are gone
        cancellation.cancel(f"interrupted by {name}")

    async def main() -> RunResult:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupted, signal.Signals(number).name)
        return await scheduler.run()

    return asyncio.run(main())


def _leave(code: int) -> int:
    """Returns the exit code, unless a check that pays no heed to its deadline still holds a thread: then everything
    is written, and the process ends without waiting for it."""
    import os
    import threading
    import time

    from harness.engine import workers

    end = time.monotonic() + 1.0
    stuck = [thread for thread in threading.enumerate() if thread.name.startswith(workers.NAME)]
    for thread in stuck:
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in stuck):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _repeat_command(arguments: argparse.Namespace) -> Callable[[str, Check], str]:
    import re
    import shlex

    def repeat(target: str, check: Check) -> str:
        words = ["harness", "run"]
        for source in arguments.inventory:
            words += ["-i", source]
        for assignment in arguments.extra_vars:
            words += ["-e", assignment]
        if arguments.vault_password_file:
            words += ["--vault-password-file", arguments.vault_password_file]
        for flag in ("transport", "budget", "window", "timeout_scale", "target_deadline"):
            value = getattr(arguments, flag)
            if value is not None:
                words += [f"--{flag.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else value]
        if arguments.settle is False:
            words.append("--no-settle")
        # With the equals sign a name may begin with a dash; one that would be read as a pattern is given as a regex.
        plain = re.fullmatch(r"[\w.-]+", target)
        words.append(f"--limit={target if plain else f'~^{re.escape(target)}$'}")
        return shlex.join([*words, check.id])

    return repeat


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def _factor(text: str) -> float:
    value = _seconds(text)
    if not value:
        raise argparse.ArgumentTypeError("a factor of 0 leaves no time at all")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return value
