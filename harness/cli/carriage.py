"""What `put` and `get` share: their flags, how far they are, and what came of it."""

from __future__ import annotations

import argparse
import sys
import threading
from typing import TYPE_CHECKING

from harness.printing import printable, styled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.inventory import Host
    from harness.transport.contract import FileResult


def carriage_options(parser: argparse.ArgumentParser) -> None:
    """Adds `-q` and `--json`."""
    out = parser.add_argument_group("output")
    out.add_argument("-q", "--quiet", action="store_true", help="print failures only")
    out.add_argument("--json", action="store_true", help="print one JSON line for each target")


class Bar:
    """How far the files are, drawn on stderr where that is a terminal."""

    def __init__(self, what: str, *, shown: bool) -> None:
        self._what = what
        self._shown = shown and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._done: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown and self._done:
            styled(sys.stderr).write("\r\x1b[K")
            sys.stderr.flush()

    def of(self, name: str) -> Callable[[int, int], None]:
        """To be called with the bytes done and the bytes in all of that target."""

        def progress(done: int, total: int) -> None:
            if not self._shown:
                return
            with self._lock:
                self._done[name] = (done, total)
                parts = [
                    f"{each}: {done * 100 // total if total else 100} %" for each, (done, total) in self._done.items()
                ]
                styled(sys.stderr).write(f"\r\x1b[K{printable(self._what)}  {printable('  '.join(parts[:6]))}")
                sys.stderr.flush()

        return progress


def finish(
    arguments: argparse.Namespace,
    hosts: Sequence[Host],
    answers: Sequence[FileResult | Exception],
    words: Callable[[Host, FileResult], str],
    *,
    silent: bool = False,
) -> int:
    """Tells what became of each; returns the exit code: the gravest one."""
    from harness.cli.printing import Lines, said
    from harness.errors import ExitCode, HarnessError

    code = 0
    for host, answer in zip(hosts, answers, strict=True):
        lines = Lines(host.name, len(host.name))
        if isinstance(answer, Exception):
            # A file that is missing, or may not be written, is the target's own answer.
            own = answer.exit_code if isinstance(answer, HarnessError) else ExitCode.FAILED
            code = max(code, int(own))
            if arguments.json:
                said({"name": host.name, "error": str(answer), "exit_code": int(own)})
            else:
                lines.note(str(answer))
            continue
        rate = answer.size / answer.duration if answer.duration else 0.0
        if arguments.json:
            said(
                {
                    "name": host.name,
                    "path": answer.path,
                    "size": answer.size,
                    "transport": answer.transport,
                    "duration": answer.duration,
                    "attempts": answer.attempts,
                }
            )
        elif not arguments.quiet and not silent:
            print(
                f"{host.name}  {words(host, answer)}: {answer.size} bytes over {answer.transport} in "
                f"{answer.duration:.1f} s ({rate / 1024:.0f} kB/s), verified"
            )
    return code
