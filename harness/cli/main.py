"""The `harness` command: finds the verb, runs it, and turns every error into words and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from harness import __version__
from harness.address_space import share_arena
from harness.cli.options import with_numbers
from harness.cli.streams import complain, give_up_streams, open_streams
from harness.errors import ExitCode, HarnessError
from harness.printing import printable, safe

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
  1    a check failed or was not run in time, or a console said what is forbidden
  2    usage, inventory or configuration error; nothing was started, or nothing could be checked
  3    a target could not be reached at all
  4    nothing was selected
  5    internal error: a fault of harness itself, or a record that cannot be written
  6    soak --fail-on-flaky: a check was flaky, and nothing worse
  7    infrastructure failed (QEMU died, a disk was full, files or threads ran out), and no check
  130  interrupted
"""


def build_parser(verbs: Sequence[str] = VERBS) -> argparse.ArgumentParser:
    """The whole command line, or that of some verbs only. Cheap: no verb imports more than argparse before it runs."""
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Boot Linux machines or attach to them, wait until they have settled, run checks over SSH or the "
        "serial console, and report root causes.",
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
    open_streams()
    share_arena()
    with _safe_streams():
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    given = sys.argv[1:] if argv is None else argv
    completing = "_ARGCOMPLETE" in os.environ
    # A verb that stands first is the only one that this call can mean: the others are not asked for their flags.
    parser = build_parser(given[:1] if given and given[0] in VERBS and not completing else VERBS)
    if completing:
        from harness.cli.complete import complete

        complete(parser)
    try:
        arguments = parser.parse_args(with_numbers(given))
    except SystemExit:
        give_up_streams()  # a help that nobody reads is no error
        raise
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except HarnessError as error:
        complain(f"harness: {error}")
        return int(error.exit_code)
    except KeyboardInterrupt:
        complain("harness: interrupted")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader (`| head`) has gone: nobody is left to tell, and Python must not complain at exit either.
        give_up_streams()
        return int(ExitCode.PASSED)
    except OSError as error:
        if not _is_of_our_output(error):
            return _internal(error)
        give_up_streams()
        if error.errno == errno.EIO:  # the terminal was closed
            return int(ExitCode.INTERRUPTED)
        complain(f"harness: standard output cannot be written: {error.strerror}")
        return int(ExitCode.INTERNAL)
    except Exception as error:
        return _internal(error)
    return code


def _is_of_our_output(error: OSError) -> bool:
    """Whether it is the standard output that failed: writing what is left in its buffer fails again."""
    if error.filename is not None:
        return False
    try:
        sys.stdout.flush()
    except OSError as again:
        return again.errno == error.errno
    except ValueError:
        return False
    # What failed was not kept: of a terminal that is gone, and of nothing else, that can be known.
    return error.errno == errno.EIO and not _answers(sys.stdout)


def _answers(stream: TextIO) -> bool:
    try:
        return os.isatty(stream.fileno()) or not stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _safe_streams() -> Iterator[None]:
    """Whatever is printed meanwhile, nothing that others wrote is obeyed by a terminal or a CI system."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = safe(sys.stdout), safe(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _internal(error: Exception) -> int:
    import tempfile
    import traceback

    from harness.inventory.places import mask_secrets
    from harness.shortage import shortage

    if short := shortage(error):
        complain(f"harness: {short}")
        return int(ExitCode.INFRASTRUCTURE)
    # The log that was open when it happened knows the secrets (see EventLog.close).
    redact = getattr(error, "redact", None) or mask_secrets
    details = printable(redact("".join(traceback.format_exception(error))))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="harness-fault-", suffix=".txt", delete=False) as file:
            file.write(details)
        where = f"The details are in {file.name}; please report it with them."
    except OSError as failure:  # no folder for temporary files, or a full disk
        where = f"Please report it with these details, which could not be written to a file ({failure}):\n{details}"
    complain(
        f"harness: internal error: {redact(f'{type(error).__name__}: {error}')}\n  This is a fault of harness. {where}"
    )
    return int(ExitCode.INTERNAL)
