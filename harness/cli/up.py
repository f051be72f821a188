"""`harness up`: start machines, and leave them up for the other verbs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.cli.reaching import Reach
    from harness.inventory import Host
    from harness.machine.up import Up


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.options import duration
    from harness.cli.reaching import EXIT_CODES, reach_options

    parser = subparsers.add_parser(
        "up",
        help="start machines and leave them up",
        description="Starts the machines that the inventory describes, watches them boot and leaves them up: the other "
        "verbs use them from then on, and `harness down` ends them. A machine that is up already is left as it is; one "
        "that does not come up is left for you to look at, and says why. What runs by itself is not started.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("pattern", nargs="*", metavar="HOST", help="hosts, groups or patterns (default: all)")
    how = reach_options(parser)
    how.add_argument("--keep-for", type=duration, metavar="TIME", help="end them by themselves after so long (30m, 8h)")
    out = parser.add_argument_group("output")
    out.add_argument("-q", "--quiet", action="store_true", help="print failures only")
    out.add_argument("-v", "--verbose", action="count", default=0, help="-vv prints the console's lines too")
    out.add_argument("--json", action="store_true", help="print one JSON document on stdout, and nothing else")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Starts what is not up, side by side."""
    import json
    import sys

    from harness.cli.reaching import reach, typed_inventory
    from harness.report.terminal import Terminal

    with reach(arguments, ":".join(arguments.pattern) or None, verb="up") as reached:
        stream = sys.stderr if arguments.json else sys.stdout
        verbosity = -1 if arguments.quiet or (arguments.json and not arguments.verbose) else arguments.verbose
        terminal = Terminal(stream, verbosity=verbosity)
        reached.log.subscribe(terminal)
        with terminal:
            found = reached.each(lambda host: _start(reached, host, arguments.keep_for, typed_inventory(arguments)))
        answers = []
        for host, state in zip(reached.hosts, found, strict=True):
            if isinstance(state, Exception):
                reached.exit_code = 3
                state = {"state": "failed", "message": str(state)}
            answers.append({"name": host.name, **state})
        if arguments.json:
            print(json.dumps({"run": reached.folder.run, "machines": answers}, indent=2))
        else:
            for answer in answers:
                if not arguments.quiet or answer["state"] == "failed":
                    print(f"{answer['name']}  {answer['message']}")
        if reached.cancellation.cancelled:
            reached.exit_code = 130
        return reached.exit_code


def _start(reached: Reach, host: Host, seconds: float | None, typed: list[str]) -> dict[str, object]:
    """What became of one host."""
    import shlex

    from harness.errors import HarnessError, MachineError
    from harness.inventory.patterns import pattern_for
    from harness.machine.cache import locked
    from harness.machine.up import all_up, find
    from harness.report.folder import UP

    session = reached.unattached(host)
    if session.spec.machine is None:
        return {"state": "not ours", "message": "runs by itself: there is no machine to start"}
    index = reached.logs / UP
    index.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = reached.folder.target(host.name)
    deadline = reached.deadline.clamp(session.start_timeout)
    with locked(
        index / f".{folder.name}.lock", deadline=deadline, doing=f"starting {host.name}", waiting=lambda holder: None
    ):
        all_up(index)  # forgets those that have ended
        up = find(index, folder.name)
        if up is not None:
            return {"state": "up", "message": _words("is up already", up), **up.plain()}
        failure: HarnessError | None = None
        try:
            session.start(deadline)
        except HarnessError as error:
            if session.machine is None or not session.machine.alive or reached.cancellation.cancelled:
                raise
            failure = error
        session.keep(seconds)
        up = find(index, folder.name)
    if failure is not None:
        # It is left as it is, to be looked at.
        look = shlex.join(["harness", "console", *typed, pattern_for(host.name)])
        raise MachineError(str(failure), hint=f"it is left up: {look}")
    if up is None:
        raise MachineError(
            f"the machine {host.name} came up, and has ended since", hint=f"its console's log: {session.console_log}"
        )
    return {"state": "up", "message": _words("is up", up), **up.plain()}


def _words(what: str, up: Up) -> str:
    return f"{what} (QEMU is process {up.pid}, SSH on port {up.ssh_port}, console log {up.console_log})"
