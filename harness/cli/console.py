"""`harness console`: a target's serial console, for a person's hands, for their eyes, or for a script."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.cli.reaching import Reach
    from harness.inventory import Host
    from harness.operate.script import Line
    from harness.target.session import TargetSession

_DESCRIPTION = """\
A target's serial console.

  harness console -i INV vm1                          on a terminal: type and see; Ctrl-] leaves
  harness console -i INV vm1 --watch                  see only, while somebody else (a run, say) holds it
  echo 'systemctl is-system-running' | harness console -i INV vm1
                                                      without a terminal: commands, one a line
  harness console -i INV vm1 --script FILE --json     the same from a file, an answer a line
  harness console -i INV vm1 --send '\\n' --expect 'login: $' --send 'root\\n' --expect '# $'
                                                      steps on the raw console, in this order

What stands on the console is never a matter of guessing: commands are run by the serial transport, each with its own
exit status, standard output and standard error.
"""

_EXIT_CODES = """\
exit codes:
  0    all commands ended with 0, all steps were done; a person has left; what was watched has ended
  1    a command ended with another exit status or not in time, or an --expect met nothing
  2    usage or inventory error; nothing was done
  3    the console is not to be had (or no login), or it was lost
  4    the pattern names no host
  5    internal error: a fault of harness itself
  130  interrupted
"""


class _Step(argparse.Action):
    """Keeps --send and --expect in the order in which they were typed."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        from harness.operate.steps import expect, send

        del parser
        read = send if option_string == "--send" else expect
        try:
            namespace.steps = [*namespace.steps, read(str(values))]
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from None


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    from harness.cli.options import count, duration
    from harness.cli.reaching import reach_options

    parser = subparsers.add_parser(
        "console",
        help="a target's serial console: by hand, to watch, or for a script",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("host", metavar="HOST", help="a host of the inventory")
    reach_options(parser)
    hand = parser.add_argument_group("by hand")
    hand.add_argument(
        "--escape",
        type=_key,
        default=b"\x1d",
        metavar="KEY",
        help="the key that leaves: ^], ctrl-a, ~, none (default ^])",
    )
    hand.add_argument(
        "--tail", type=count, metavar="N", help="lines to show of what came before (default: a window full)"
    )
    hand.add_argument(
        "--resize",
        action="store_true",
        help="type the window's size as an stty command, now and when it changes; nothing else is typed unasked",
    )
    hand.add_argument("--watch", action="store_true", help="see only; needs nothing that somebody else may hold")
    script = parser.add_argument_group("for a script")
    script.add_argument("--script", metavar="FILE", help="commands, one a line; # begins a comment (default: stdin)")
    script.add_argument(
        "--on-error", choices=("stop", "go-on"), default="go-on", help="what to do after a command that failed (go-on)"
    )
    script.add_argument(
        "--send", action=_Step, dest="steps", default=[], metavar="TEXT", help=r"type this: \n \r \t \e \xNN"
    )
    script.add_argument(
        "--expect",
        action=_Step,
        dest="steps",
        default=[],
        metavar="REGEX",
        help="wait until this stands in what the console said since the match before",
    )
    script.add_argument(
        "--timeout", type=duration, default=60.0, metavar="TIME", help="for each command, or each step (default 60s)"
    )
    script.add_argument("--json", action="store_true", help="print one JSON line for each command or step")
    script.add_argument("-q", "--quiet", action="store_true", help="print what the commands wrote, and nothing else")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """What was typed decides: steps, a script, watching; else the terminal, or its absence."""
    import sys

    from harness.cli.ends import is_terminal
    from harness.cli.reaching import reach
    from harness.errors import UsageError

    if arguments.transport == "ssh":
        raise UsageError("a console is the serial one", hint="Over SSH: harness shell, harness exec.")
    chosen = [name for name in ("script", "steps", "watch") if getattr(arguments, name)]
    if len(chosen) > 1:
        raise UsageError("--script, --watch, and --send with --expect are three ways to use a console: choose one")
    script = _script_file(arguments.script) if arguments.script else None  # read before any target is touched
    with reach(arguments, arguments.host, verb="console") as reached:
        host = reached.one
        if arguments.steps:
            code = _steps(reached, reached.session(host), arguments)
        elif script is not None or not (arguments.watch or (is_terminal(sys.stdin) and is_terminal(sys.stdout))):
            code = _commands(reached, reached.session(host), script, arguments)
        else:
            code = _look(reached, host, arguments)
        reached.exit_code = code
        return code


# -- commands ----------------------------------------------------------------------------------------------------


def _commands(reached: Reach, session: TargetSession, script: list[Line] | None, arguments: argparse.Namespace) -> int:
    import sys

    from harness.cli.answers import Answers
    from harness.cli.stdin import lines_of_stdin
    from harness.operate.script import commands, run_commands

    answers = Answers(session.spec.name, as_json=arguments.json, quiet=arguments.quiet)
    if script is not None:
        lines: Iterable[Line] = script
    else:
        lines = commands(lines_of_stdin(reached.deadline, "commands, one a line"), "stdin")
    for answer in run_commands(
        session.link,
        lines,
        timeout=arguments.timeout,
        deadline=reached.deadline,
        stop=arguments.on_error == "stop",
    ):
        answers.tell(answer)
    if not answers.count:
        print("harness: no commands came; harness console --help tells how to give some", file=sys.stderr)
    return answers.exit_code


def _script_file(name: str) -> list[Line]:
    from pathlib import Path

    from harness.errors import UsageError
    from harness.operate.script import commands

    try:
        return list(commands(Path(name).read_bytes().split(b"\n"), name))
    except OSError as error:
        raise UsageError(f"cannot read the script {name}: {error.strerror}") from None


# -- steps -------------------------------------------------------------------------------------------------------


def _steps(reached: Reach, session: TargetSession, arguments: argparse.Namespace) -> int:
    from harness.cli.answers import StepLines
    from harness.operate.console_log import ConsoleLog
    from harness.operate.steps import Send, Steps

    console = session.raw_console
    told = StepLines(session.spec.name, as_json=arguments.json, quiet=arguments.quiet)
    log = ConsoleLog(session.console_log_path)
    steps = Steps(console, log=log, on_output=told.output)
    steps.open(reached.deadline)
    done = steps.run(arguments.steps, timeout=arguments.timeout, deadline=reached.deadline, told=told.tell)
    if done and isinstance(arguments.steps[-1], Send):
        steps.listen(1.0, reached.deadline)
    told.close()
    return int(not done)


# -- by hand -----------------------------------------------------------------------------------------------------


def _look(reached: Reach, host: Host, arguments: argparse.Namespace) -> int:
    """A person's hands or eyes; or a pipe that only watches."""
    from harness.cli.watch import watch_console, watch_run
    from harness.errors import MachineError
    from harness.transport.errors import Cause, Unavailable

    try:
        session = reached.session(host)
    except MachineError as error:
        return watch_run(reached, host, arguments, error)
    if arguments.watch:
        return watch_console(reached, session, arguments, "")
    try:
        return _attend(reached, session, arguments)
    except Unavailable as error:
        if error.cause is not Cause.BUSY:
            raise
        return watch_console(reached, session, arguments, f"{error.message}; watching only")


def _attend(reached: Reach, session: TargetSession, arguments: argparse.Namespace) -> int:
    import sys

    from harness.cli.watch import header, last_word, past, tail_of
    from harness.operate.attended import Attended
    from harness.operate.terminal import RawTerminal
    from harness.operate.wake import Wake
    from harness.transport.errors import TransportLost

    wake = Wake()
    terminal = RawTerminal(sys.stdin.fileno(), sys.stdout.fileno(), wake)
    log = past(reached, session)
    attended = Attended(
        session.raw_console,
        log=log,
        events=reached.log.bind(target=session.spec.name),
        escape=arguments.escape,
        tail=tail_of(arguments, terminal.size),
        wake=wake,
        resize=arguments.resize,
    )
    attended.open(reached.deadline)
    before = "" if log.path == session.console_log_path else f"the lines before are of an earlier run ({log.path})"
    header(session.spec.name, session.console_log_path, arguments.escape, before)
    forget = [reached.cancellation.on_cancel(call) for call in (terminal.restore, wake.set)]
    try:
        with terminal:
            why = attended.run(terminal, reached.deadline)
    except TransportLost as error:
        last_word(str(error))
        return int(error.exit_code)
    finally:
        for each in forget:
            each()
    last_word(f"left the console of {session.spec.name}: {why}")
    return 0


def _key(text: str) -> bytes:
    from harness.operate.keys import key

    try:
        return key(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
