"""The `harness` command: finds the verb, runs it, and turns every error into words and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from harness import __version__
from harness.errors import ExitCode, HarnessError

VERBS = (
    "run",
    "soak",
    "up",
    "down",
    "exec",
    "console",
    "shell",
    "put",
    "get",
    "collect",
    "why",
    "status",
    "logs",
    "ship",
    "report",
    "history",
    "prune",
    "inventory",
    "image",
    "init",
    "doctor",
    "completion",
    "man",
)

EXIT_CODES = """\
exit codes:
  0    all checks passed (skipped ones do not count against it)
  1    a check failed, or a console said what is forbidden
  2    usage or inventory error; nothing was started
  3    a target could not be reached at all
  4    nothing was selected
  5    internal error: a fault of harness itself, or a record that cannot be written
  6    soak --fail-on-flaky: a check was flaky, and nothing worse
  7    soak: infrastructure failed (QEMU died, the host's disk was full), and no check
  130  interrupted
"""


def build_parser(verbs: Sequence[str] = VERBS) -> argparse.ArgumentParser:
    """The whole command line, or that of some verbs only. Cheap: no verb imports more than argparse before it runs."""
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Tells the truth about Linux machines that are still coming up, over SSH and the serial console.",
        epilog=EXIT_CODES
        + "\nexample:\n  harness run -i inventories/local.ini checks/sshd\n\n`harness VERB --help` tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    subparsers = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb", required=True)
    for verb in verbs:
        importlib.import_module(f"harness.cli.{verb}").register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code. No traceback reaches a person: an internal error says how to report it.
    A shell that completes a word is answered instead."""
    _open_streams()
    given = sys.argv[1:] if argv is None else argv
    completing = "_ARGCOMPLETE" in os.environ
    # A verb that stands first is the only one that this call can mean: the others are not asked for their flags.
    parser = build_parser(given[:1] if given and given[0] in VERBS and not completing else VERBS)
    if completing:
        from harness.cli.complete import complete

        complete(parser)
    arguments = parser.parse_args(argv)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader (`| head`) has gone: nobody is left to tell, and Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.PASSED)
    except Exception as error:
        return _internal(error)
    return code


def _open_streams() -> None:
    """Gives us those of the three standard streams that we were started without. Each takes the lowest descriptor that
    is free, which is its own: so no file of ours is ever taken for one of them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as we live


def _internal(error: Exception) -> int:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="harness-fault-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    print(
        f"harness: internal error: {type(error).__name__}: {error}\n"
        f"  This is a fault of harness. The details are in {file.name}; please report it with them.",
        file=sys.stderr,
    )
    return int(ExitCode.INTERNAL)
