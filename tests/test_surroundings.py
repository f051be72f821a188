"""The verbs in surroundings that nobody here works in: a table, with a line for each.

A line says what differs from a quiet terminal, which verb is typed there, and what must come of it. In all of them no
traceback is shown, nothing is told as a fault of harness, and Python does not complain at its exit.
"""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.patience import scaled
from tests.transport.ssh.conftest import Sshd, eventually, make_sshd

ROOT = Path(__file__).parents[1]
CHECKS = """from harness import check

@check
def fine(target):
    "Köln ✓"
    assert target.run("echo büro").out == "büro"
    return "büro ✓"

@check(budget=100, tags=["slow"])
def slow(target):
    wait = "n=0; while [ ! -e go ] && [ $((n+=1)) -lt 300 ]; do sleep 0.1; done"
    assert target.run("cd '{folder}'; echo > begun; " + wait).ok
"""
STEPPING_CLOCK = """import time
real, steps = time.time, iter(range(10**9))
time.time = lambda: real() + (-7200, 86400, 0.5)[next(steps) % 3]
"""
SLOW_FSYNC = """import os, time
real = os.fsync
def fsync(fd):
    with open(os.environ["MARK"], "a") as mark:
        mark.write("x")
    time.sleep(0.7)
    real(fd)
os.fsync = fsync
"""


FAILING_FSYNC = """import errno, os
def fsync(fd):
    raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))  # EIO is waited for, 30 s
os.fsync = fsync
"""


@dataclass(frozen=True)
class Surroundings:
    """One line of the table. `{folder}` in words and in the environment is the place's own folder."""

    name: str
    words: str
    """What is typed behind `harness`; `INV` stands for the inventory."""
    environment: dict[str, str | None] = field(default_factory=dict)
    """What is set; None for what is not set at all."""
    before: Callable[[], object] | None = None
    """Called in the new process."""
    python: tuple[str, ...] = ()
    """Flags of the interpreter."""
    prefix: tuple[str, ...] = ()
    streams: dict[str, str] = field(default_factory=dict)
    """Files that the standard streams are."""
    folder: str = "{folder}"
    """The current folder."""
    code: int = 0
    said: str = ""


def _limit(what: int, value: int) -> Callable[[], object]:
    return partial(resource.setrlimit, what, (value, value))


def _close(*descriptors: int) -> Callable[[], object]:
    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


def _ignore(*numbers: signal.Signals) -> Callable[[], object]:
    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return ignore


def _gone() -> None:
    """Make the current folder one that is there no more."""
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")


RUN = "run -i INV mine.py::fine"
EXEC = "exec -n -i INV box -- echo büro"
ASCII: dict[str, str | None] = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
NO_ASSERTIONS = "removes every assertion"
TABLE = [
    Surroundings("ssh config with Host *", EXEC, {"HOME": "{folder}/configured"}, said="büro"),
    Surroundings("ssh config, put", "put -i INV box mine.py {folder}/put", {"HOME": "{folder}/configured"}),
    Surroundings("ssh config, get", "get -i INV box {folder}/mine.py got", {"HOME": "{folder}/configured"}),
    Surroundings("ssh config, shell", "shell -i INV box -- echo hi", {"HOME": "{folder}/configured"}, said="hi"),
    Surroundings("no HOME, no program", RUN, {"HOME": None, "PATH": "/nonexistent"}, said="1 passed"),
    Surroundings("ssh config with a mistake", RUN, {"HOME": "{folder}/mistaken"}, code=2, said="config: line 2: Bad"),
    Surroundings("no HOME and no TMPDIR there", EXEC, {"HOME": "/nonexistent", "TMPDIR": "/none/x"}, said="büro"),
    Surroundings("no environment at all", RUN, dict.fromkeys(("HOME", "PATH", "LANG", "TERM"), None), said="1 passed"),
    Surroundings("an ASCII terminal", RUN + " -v", {"PYTHONIOENCODING": "ascii"}, said="b\\xfcro \\u2713"),
    Surroundings("an ASCII terminal, logs", "logs --logs old", {"PYTHONIOENCODING": "ascii"}, said="b\\xfcro"),
    Surroundings("an ASCII locale, logs", "logs --logs old", ASCII, said="b\\xfcro"),
    Surroundings("an ASCII locale, explain", "logs --logs old --explain 5", ASCII, said="check"),
    Surroundings("an ASCII locale, list", "run --list -i INV mine.py", ASCII, said="K\\xf6ln \\u2713"),
    Surroundings("an ASCII locale, JSON", RUN + " --json", ASCII, said='"seen": "büro ✓"'),
    Surroundings("an ASCII locale, report", "report --logs old latest --format json -o -", ASCII, said="fine"),
    Surroundings("a Turkish locale", RUN, {"LC_ALL": "tr_TR.ISO-8859-9", "PYTHONIOENCODING": "iso8859-9"}),
    Surroundings("a locale that is none", EXEC, {"LC_ALL": "xx_YY.nothing"}, said="büro"),
    Surroundings("styles on an ASCII terminal", RUN, {"FORCE_COLOR": "1", "PYTHONIOENCODING": "ascii"}, said="passed"),
    Surroundings("a folder that cannot be written", RUN, folder="/proc", code=2, said="Name another one with --logs"),
    Surroundings("a folder that is gone", "exec -n -i INV --logs {folder}/there box -- true", before=_gone),
    Surroundings("few descriptors", RUN, before=_limit(resource.RLIMIT_NOFILE, 64), said="1 passed"),
    Surroundings("little address space", RUN, before=_limit(resource.RLIMIT_AS, 300_000 << 10), said="1 passed"),
    Surroundings("stdin closed, verbose", RUN + " -vv", before=_close(0), said="run.start"),
    Surroundings("stdout closed", RUN, before=_close(1)),
    Surroundings("stderr closed", EXEC, before=_close(2), said="büro"),
    Surroundings("all three closed", RUN, before=_close(0, 1, 2)),
    Surroundings("stdout full", EXEC.replace("exec", "exec --json"), streams={"stdout": "/dev/full"}, code=5),
    Surroundings("stdout full, run", RUN, streams={"stdout": "/dev/full"}),
    Surroundings("stdout full, help", "--help", streams={"stdout": "/dev/full"}),
    Surroundings("PYTHONOPTIMIZE=1", RUN, {"PYTHONOPTIMIZE": "1"}, code=2, said=NO_ASSERTIONS),
    Surroundings("PYTHONOPTIMIZE=2, list", RUN + " --list", {"PYTHONOPTIMIZE": "2"}, code=2, said=NO_ASSERTIONS),
    Surroundings("python -O, soak", "soak -i INV mine.py", python=("-O",), code=2, said=NO_ASSERTIONS),
    Surroundings("python -OO", RUN, python=("-OO",), code=2, said=NO_ASSERTIONS),
    Surroundings("python -O, no check", "logs --logs old", python=("-O",), said="büro"),
    Surroundings("warnings are errors, development mode", RUN, python=("-W", "error", "-X", "dev"), said="1 passed"),
    Surroundings("umask 000", RUN, before=partial(os.umask, 0), said="1 passed"),
    Surroundings(
        "umask 077, a TMPDIR with blanks, a dumb terminal",
        RUN,
        {"TMPDIR": "{folder}/a b", "TERM": None, "COLUMNS": "none"},
        before=partial(os.umask, 0o077),
        said="1 passed",
    ),
    Surroundings("a session of its own", EXEC, prefix=("setsid", "-w"), said="büro"),
    Surroundings("signals ignored", RUN, before=_ignore(signal.SIGINT, signal.SIGHUP, signal.SIGTERM), said="1 passed"),
    Surroundings("an odd time zone", "logs --logs old", {"TZ": "Nowhere/Else"}, said="büro"),
    Surroundings("a clock that steps", RUN, {"PYTHONPATH": "{folder}/stepping"}, said="1 passed"),
    Surroundings("a disk that syncs nothing", RUN, {"PYTHONPATH": "{folder}/failing"}, code=5, said="No such device"),
    Surroundings("a small stack", EXEC, before=_limit(resource.RLIMIT_STACK, 512 << 10), said="büro"),
    Surroundings(
        "a user without a name and root's rights, an ssh config",
        RUN.replace("INV", "{folder}/private/inv.ini") + " --logs {folder}/private/logs",
        {"HOME": "{folder}/private"},
        prefix=("setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups",
                "--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"),
        said="1 passed",
    ),
]  # fmt: skip


@dataclass
class Place:
    """A folder with an inventory of one target, a file of checks and the record of an earlier run."""

    folder: Path

    def environment(self, changes: dict[str, str | None]) -> dict[str, str]:
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "LANG": "C.UTF-8", "TERM": "xterm"}
        own["XDG_RUNTIME_DIR"] = str(self.folder / "runtime")
        merged = {**own, **changes}
        return {name: value.format(folder=self.folder) for name, value in merged.items() if value is not None}

    def words(self, typed: str) -> list[str]:
        inventory = str(self.folder / "inv.ini")
        words = [word.format(folder=self.folder) for word in typed.split()]
        # The file of checks is named from wherever one stands.
        checks = {f"mine.py{name}": f"{self.folder}/mine.py{name}" for name in ("", "::fine", "::slow")}
        return [inventory if word == "INV" else checks.get(word, word) for word in words]

    def start(self, line: Surroundings, **more: Any) -> subprocess.Popen[bytes]:
        streams = {name: open(path, "wb") for name, path in line.streams.items()}  # noqa: SIM115 - closed below
        usual = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:
            return subprocess.Popen(
                [*line.prefix, sys.executable, *line.python, "-m", "harness", *self.words(line.words)],
                cwd=line.folder.format(folder=self.folder),
                env=self.environment(line.environment),
                preexec_fn=line.before,
                **{**usual, **streams, **more},
            )
        finally:
            for stream in streams.values():
                stream.close()

    def newest(self) -> Path:
        """The folder of the newest run."""
        return (self.folder / "logs" / "latest").resolve()


@pytest.fixture(scope="module")
def sshd_of_the_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = make_sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sshd_of_the_table: Sshd) -> Place:
    folder = tmp_path_factory.mktemp("place")
    for name in (
        "home",
        "configured/.ssh",
        "a b",
        "runtime",
        "stepping",
        "private/.ssh",
        "slow",
        "failing",
        "mistaken/.ssh",
    ):
        (folder / name).mkdir(parents=True, mode=0o700)
    (folder / "configured/.ssh/config").write_text("Host *\n  ServerAliveInterval 30\n")
    (folder / "mistaken/.ssh/config").write_text("Host *\n  NoSuchOption yes\n")
    (folder / "stepping/sitecustomize.py").write_text(STEPPING_CLOCK)
    (folder / "failing/sitecustomize.py").write_text(FAILING_FSYNC)
    (folder / "slow/sitecustomize.py").write_text(SLOW_FSYNC)
    (folder / "mine.py").write_text(CHECKS.replace("{folder}", str(folder)), encoding="utf-8")
    line = (
        f"box ansible_host=127.0.0.1 ansible_port={sshd_of_the_table.port} ansible_user=root settle=false "
        "ansible_host_key_checking=false ansible_ssh_private_key_file="
    )
    (folder / "inv.ini").write_text(f"{line}{sshd_of_the_table.client_key}\n")
    private = folder / "private"
    (private / "inv.ini").write_text("box ansible_host=alias settle=false ansible_host_key_checking=false\n")
    (private / ".ssh/config").write_text(
        f"Host alias\n  HostName 127.0.0.1\n  Port {sshd_of_the_table.port}\n  User root\n  IdentityFile ~/key\n"
    )
    shutil.copy(sshd_of_the_table.client_key, private / "key")
    for path in (private, *private.rglob("*")):
        os.chown(path, 54321, 54321)
    made = Place(folder)
    assert made.start(Surroundings("before", RUN + " --logs old")).wait() == 0
    return made


@pytest.mark.parametrize("line", TABLE, ids=lambda line: line.name.replace(" ", "-"))
def test_a_verb_does_its_work_whatever_surrounds_it(place: Place, line: Surroundings) -> None:
    if line.prefix and not shutil.which(line.prefix[0]):
        pytest.skip(f"there is no {line.prefix[0]} here")
    process = place.start(line)
    out, err = (data or b"" for data in process.communicate(timeout=scaled(100)))
    told = (out + err).decode("utf-8", "backslashreplace")
    assert process.returncode == line.code, told
    assert line.said in told
    for word in ("Traceback", "internal error:", "Exception ignored", "a fault of harness."):
        assert word not in told
    if line.words.startswith("run ") and line.code == 0 and "--logs" not in line.words and "--list" not in line.words:
        result = json.loads((place.newest() / "results.json").read_text(encoding="utf-8"))
        assert (result["counts"]["passed"], result["exit_code"]) == (1, 0)
        for name in ("results.json", "junit.xml", "events.jsonl"):
            assert (place.newest() / name).stat().st_mode & 0o077 == 0, "what a console printed may be in it"


def test_a_reader_that_leaves_is_no_error(place: Place) -> None:
    for typed in ("logs --logs old", "logs --logs old --json", "--help"):
        process = place.start(Surroundings("a closed pipe", typed))
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait()) == (b"", 0), typed


# -- a terminal that is closed, and signals ---------------------------------------------------------------------


def _slow(**more: Any) -> Surroundings:
    return Surroundings("slow", "run -i INV mine.py::slow", **more)


def _at_work(place: Place) -> bool:
    return (place.folder / "begun").exists()


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_is_closed_costs_no_results(place: Place, ignored: bool) -> None:
    for name in ("begun", "go"):
        (place.folder / name).unlink(missing_ok=True)
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        import fcntl
        import termios

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if ignored:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = place.start(_slow(before=take_terminal), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    eventually(partial(_at_work, place), 60.0)
    os.close(ours)
    if ignored:
        (place.folder / "go").touch()
    else:
        # A shell sends it to its jobs once more.
        process.send_signal(signal.SIGHUP)
    code = process.wait(scaled(60))
    result = json.loads((place.newest() / "results.json").read_text(encoding="utf-8"))
    assert (code, result["exit_code"]) == ((0, 0) if ignored else (130, 130))
    assert (place.newest() / "junit.xml").exists()
    assert '"run.end"' in (place.newest() / "events.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_the_last_verdict_does_not_keep_it_from_being_written(
    place: Place, tmp_path: Path, number: signal.Signals
) -> None:
    mark = tmp_path / "mark"
    environment: dict[str, str | None] = {"PYTHONPATH": str(place.folder / "slow"), "MARK": str(mark)}
    process = place.start(Surroundings("slow disk", RUN, environment))
    eventually(mark.exists, 60.0)  # results.json is being written
    process.send_signal(number)
    _, err = process.communicate(timeout=scaled(60))
    assert (process.returncode, err) == (0, b"")
    result = json.loads((place.newest() / "results.json").read_text(encoding="utf-8"))
    assert (result["counts"]["passed"], result["exit_code"]) == (1, 0)
    assert 'tests="1"' in (place.newest() / "junit.xml").read_text(encoding="utf-8")


def test_a_second_interrupt_ends_a_run_at_once(place: Place) -> None:
    for name in ("begun", "go"):
        (place.folder / name).unlink(missing_ok=True)
    process = place.start(_slow())
    eventually(partial(_at_work, place), 60.0)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=scaled(60))
    assert process.returncode == 130
    assert time.monotonic() - began < 30
