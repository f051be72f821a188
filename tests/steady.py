"""Repeats tests under load, and tells which of them ever failed: `scripts/test-steady`.

Each round is a pytest of its own, so that nothing of one round is left in the next; a test that fails is never run
again for that. What is repeated, without a choice, are the modules that have to do with time, processes, sockets or
guests: those that import one of `TELLTALES`, or a helper of the tests that does.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.scheduling import has_guest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
TELLTALES = frozenset(
    ("asyncio", "concurrent", "fcntl", "multiprocessing", "pty", "select", "selectors", "signal", "socket",
     "socketserver", "subprocess", "termios", "threading", "time")
)  # fmt: skip
"""Modules of the standard library; who imports one has to do with time, processes or sockets."""
LOAD = ("stress-ng", "--cpu", "4", "--io", "2", "--quiet")
_WORDS = 150
_IMPORT = re.compile(r"^[ \t]*(?:from (\.*)([\w.]*) import (\([^)]*\)|.*)|import (.+))", re.MULTILINE)


@dataclass
class Table:
    """What has come of all rounds so far."""

    runs: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, report: Path, status: int) -> list[str]:
        """Add a round's JUnit report; return the tests that failed in it."""
        failed = []
        for name, message in _outcomes(report):
            self.runs[name] += 1
            if message is not None:
                self.failures[name] += 1
                self.first.setdefault(name, message)
                failed.append(name)
        if status not in (0, 1) or (status == 1 and not failed):
            # The whole round came to nothing: too few tests, a crash, no report.
            name = "(pytest itself)"
            self.runs[name] += 1
            self.failures[name] += 1
            self.first.setdefault(name, f"exit status {status}")
            failed.append(name)
        return failed

    def lines(self) -> Iterator[str]:
        """Yield the table: those that failed most come first."""
        for name, count in self.failures.most_common():
            yield f"{count:4}/{self.runs[name]:<4} {name}\n          {self.first[name]}"


def main(arguments: Sequence[str]) -> int:
    """Repeat the tests; return 1 where any of them failed."""
    parser = argparse.ArgumentParser(prog="scripts/test-steady", description=__doc__, allow_abbrev=False)
    parser.add_argument("rounds", nargs="?", type=int, default=50, metavar="N", help="how many rounds (default: 50)")
    parser.add_argument("--shuffle", nargs="?", const="", metavar="SEED", help="shuffle modules and their tests")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="tests at once (default: 4)")
    parser.add_argument("--no-load", action="store_true", help="without stress-ng")
    parser.add_argument("--list", action="store_true", help="print which modules are repeated without TESTS")
    words = list(arguments)
    if not words or not words[0].isdigit():
        words.insert(0, "50")
    given, tests = parser.parse_known_args(words)
    if given.list:
        print("\n".join(selection()))
        return 0
    if given.shuffle == "":
        given.shuffle = secrets.token_hex(4)
    chosen = tests if any(not word.startswith("-") for word in tests) else [*selection(), *tests]
    load = None if given.no_load else subprocess.Popen(LOAD, start_new_session=True, stdout=subprocess.DEVNULL)
    table = Table()
    try:
        for number in range(1, given.rounds + 1):
            seed = None if given.shuffle is None else f"{given.shuffle}-{number}"
            began = time.monotonic()
            failed = _round(table, chosen, given.workers, seed)
            told = f", --shuffle={seed}" if seed else ""
            print(
                f"round {number} of {given.rounds}: {len(failed)} failed, {time.monotonic() - began:.0f} s{told}",
                *failed, sep="\n  ", flush=True,
            )  # fmt: skip
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    finally:
        if load is not None:
            os.killpg(load.pid, signal.SIGTERM)
            load.wait()
    print(f"\n{sum(table.runs.values())} runs of {len(table.runs)} tests; those that ever failed:")
    print("\n".join(table.lines()) or "none")
    return 1 if table.failures or not table.runs else 0


def _round(table: Table, tests: Sequence[str], workers: int, seed: str | None) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}"]
        if workers > 1:
            command += ["-n", str(workers), "--dist", "loadfile", "--max-worker-restart", "0"]
        if seed is not None:
            command.append(f"--shuffle={seed}")
        done = subprocess.run(
            [*command, *tests], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        failed = table.add(report, done.returncode)
        if failed:
            sys.stdout.buffer.write(done.stdout)
        return failed


def _outcomes(report: Path) -> Iterator[tuple[str, str | None]]:
    """Yield each test of a JUnit report with the first line of why it failed, None where it did not."""
    if not report.exists():
        return
    for case in ET.parse(report).getroot().iter("testcase"):
        if case.find("skipped") is not None:
            continue
        bad = next((found for kind in ("failure", "error") if (found := case.find(kind)) is not None), None)
        message = None if bad is None else " ".join((bad.get("message") or bad.text or "?").split())[:_WORDS]
        yield f"{case.get('classname')}::{case.get('name')}", message


# -- which tests -------------------------------------------------------------------------------------------------------


def selection() -> list[str]:
    """Return the modules of tests that have to do with time, processes, sockets or guests."""
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        name = str(path.relative_to(ROOT))
        conftests = [folder / "conftest.py" for folder in path.parents if folder != TESTS and TESTS in folder.parents]
        if has_guest(name) or any(is_timed(each) for each in (path, *conftests) if each.is_file()):
            found.append(name)
    return found


@cache
def is_timed(path: Path) -> bool:
    """Return whether a file imports one of `TELLTALES`, or a helper of the tests that does."""
    for module in _imports(path):
        if module.partition(".")[0] in TELLTALES:
            return True
        helper = ROOT / f"{module.replace('.', '/')}.py"
        if module.startswith("tests.") and helper.is_file() and is_timed(helper):
            return True
    return False


def _imports(path: Path) -> Iterator[str]:
    package = path.relative_to(ROOT).parent.parts
    for dots, base, names, plain in _IMPORT.findall(path.read_text(encoding="utf-8")):
        yield from re.findall(r"[\w.]+", plain)
        if dots or base:
            module = ".".join([*package[: len(package) - len(dots) + 1], base] if dots else [base]).strip(".")
            yield module
            yield from (f"{module}.{name}" for name in re.findall(r"\w+", names))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
