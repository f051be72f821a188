"""A command whose output is streamed: in real shells, over a link whose answers can be lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled
from harness.operate.live import PIECE, LiveCommand
from harness.transport.contract import CommandResult
from harness.transport.errors import Cause, Timeout, TransportLost, Unavailable
from tests.patience import scaled

SHELLS = [shell for shell in (["dash"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]


class HereLink:
    """Runs commands in a shell of this machine. `lose` says, of each answer, whether it is lost on its way."""

    def __init__(self, shell: list[str], home: Path, lose: Callable[[int], bool] = lambda count: False) -> None:
        self.shell = shell
        self.env = {**os.environ, "HOME": str(home)}
        self.lose = lose
        self.count = 0

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        stdin: bytes | None = None,
        transport: str | None = None,
        repeatable: bool = False,
    ) -> CommandResult:
        while True:
            self.count += 1
            deadline.check("running")
            done = subprocess.run(
                [*self.shell, "-c", command],
                input=stdin or b"",
                capture_output=True,
                env=self.env,
                timeout=scaled(60),
                check=False,
            )
            if self.lose(self.count):
                if not repeatable:
                    raise TransportLost("lost", cause=Cause.LOST, transport="ssh", may_have_run=True)
                continue
            now = time.time()
            name = "ssh" if self.count == 1 else "serial"
            return CommandResult(command, done.stdout, done.stderr, done.returncode, name, now, now, 0.0)


class Heard:
    def __init__(self) -> None:
        self.out = self.err = b""
        self.times: list[bytes] = []

    def __call__(self, out: bytes, err: bytes) -> None:
        self.out += out
        self.err += err
        self.times.append(out)


def live(link: HereLink, command: str, heard: Callable[[bytes, bytes], None], stdin: bytes = b"") -> LiveCommand:
    made = LiveCommand(link, command, on_output=heard, stdin=stdin)  # type: ignore[arg-type]
    MADE.append(made._nonce)
    return made


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def link(request: pytest.FixtureRequest, tmp_path: Path) -> HereLink:
    return HereLink(request.param, tmp_path)


MADE: list[str] = []
"""The nonces of a test's commands: others may use this machine, too."""


def leftovers() -> list[Path]:
    bases = ("/run", "/dev/shm", "/tmp", "/var/tmp")
    return [path for base in bases for nonce in MADE if (path := Path(base, f".harness-{nonce}")).exists()]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    MADE.clear()
    yield
    assert not leftovers()


def test_both_streams_the_status_and_the_input_are_its_own(link: HereLink) -> None:
    heard = Heard()
    data = bytes(range(256)) * 2000
    ended = live(link, "cat; printf 'wrong @NONCE@ $d\\n' >&2; exit 7", heard, data).run(Deadline.after(scaled(60)))
    assert ended.exit_status == 7
    assert heard.out == data
    assert heard.err == b"wrong @NONCE@ $d\n"


@pytest.mark.parametrize(
    "command", ["true", "printf x", "echo a; echo b >&2", "printf '\\0\\377' ; exit 255", "umask; pwd"]
)
def test_what_is_quick_is_as_if_it_had_been_run_at_once(link: HereLink, command: str) -> None:
    heard = Heard()
    ended = live(link, command, heard).run(Deadline.after(scaled(60)))
    plain = subprocess.run([*link.shell, "-c", command], capture_output=True, check=False)
    assert (heard.out, heard.err, ended.exit_status) == (plain.stdout, plain.stderr, plain.returncode)
    assert ended.transports[0] == "ssh"


def test_what_comes_is_told_while_it_runs(link: HereLink, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    heard = Heard()
    done = threading.Thread(
        target=live(link, f"echo one; while [ ! -e {gate} ]; do sleep 0.05; done; echo two", heard).run,
        args=(Deadline.after(scaled(60)),),
    )
    done.start()
    until = time.monotonic() + scaled(30)
    while heard.out != b"one\n":
        assert time.monotonic() < until
        time.sleep(0.02)
    gate.touch()
    done.join(scaled(30))
    assert heard.out == b"one\ntwo\n"


def test_more_than_one_look_holds(link: HereLink) -> None:
    heard = Heard()
    live(link, f"head -c {PIECE * 2 + 5} /dev/zero; head -c {PIECE} /dev/zero >&2", heard).run(
        Deadline.after(scaled(60))
    )
    assert (len(heard.out), len(heard.err)) == (PIECE * 2 + 5, PIECE)


def test_it_is_run_once_whatever_is_lost(link: HereLink, tmp_path: Path) -> None:
    count = tmp_path / "count"
    link.lose = lambda count: count in (1, 2, 4, 5)
    heard = Heard()
    ended = live(link, f"cat; echo ran >>{count}; sleep 0.7; echo done", heard, b"in\n").run(Deadline.after(scaled(60)))
    assert ended.exit_status == 0
    assert heard.out == b"in\ndone\n"
    assert count.read_text() == "ran\n"


def test_at_its_deadline_it_is_ended_with_its_children(link: HereLink, tmp_path: Path) -> None:
    mark = f"4{os.getpid()}"
    with pytest.raises(Timeout, match="was ended on the target"):
        live(link, f"echo begun; sleep {mark} & sleep {mark}", Heard()).run(Deadline.after(1.5))
    assert not alive(mark)


def test_an_end_that_nobody_saw_is_not_claimed(link: HereLink, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target stops answering while the command runs."""
    run = link.run

    def until_it_hangs(command: str, **how: Any) -> CommandResult:
        if link.count >= 2:
            raise TransportLost("no sign of life", cause=Cause.LOST, transport="ssh", may_have_run=True)
        return run(command, **how)

    monkeypatch.setattr("harness.operate.live.UNREACHABLE", 60)
    monkeypatch.setattr(link, "run", until_it_hangs)
    mark = f"6{os.getpid()}"
    with pytest.raises(Timeout, match="whether it was ended on the target is not known"):
        live(link, f"echo begun; sleep {mark}", Heard()).run(Deadline.after(2))
    monkeypatch.setattr(link, "run", run)
    subprocess.run(["pkill", "-f", f"sleep {mark}$"], check=False)
    for path in leftovers():
        shutil.rmtree(path)


def test_what_is_cancelled_is_ended(link: HereLink) -> None:
    mark = f"5{os.getpid()}"
    cancellation = Cancellation()

    def cancel(out: bytes, err: bytes) -> None:
        cancellation.cancel("interrupted")

    with pytest.raises(Cancelled):
        live(link, f"echo begun; sleep {mark}", cancel).run(Deadline.after(scaled(60), cancellation=cancellation))
    assert not alive(mark)


def test_what_is_killed_has_ended(link: HereLink) -> None:
    heard = Heard()
    ended = live(link, "echo $$; kill -KILL $$", heard).run(Deadline.after(scaled(60)))
    assert ended.exit_status == 137
    parent = Heard()
    ended = live(link, "echo on; kill -KILL $PPID; kill -KILL $PPID", parent).run(Deadline.after(scaled(60)))
    assert ended.exit_status == 137


def test_where_nothing_can_be_kept_the_output_comes_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `tail` on the PATH: then no part of the output could be read."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "cat", "echo"):
        (tools / name).symlink_to(shutil.which(name) or name)
    link = HereLink(["/bin/sh"], tmp_path)
    link.env["PATH"] = str(tools)
    heard = Heard()
    ended = live(link, "cat; exit 3", heard, b"input").run(Deadline.after(scaled(60)))
    assert (heard.out, ended.exit_status) == (b"input", 3)


def test_when_its_folder_is_gone_that_is_told(link: HereLink, tmp_path: Path) -> None:
    def take(out: bytes, err: bytes) -> None:
        for path in leftovers():
            if (path / "g").exists():
                shutil.rmtree(path)

    with pytest.raises(TransportLost, match="no longer on the target"):
        live(link, "echo a; sleep 2", take).run(Deadline.after(scaled(60)))


def alive(mark: str) -> bool:
    until = time.monotonic() + scaled(10)
    while time.monotonic() < until:
        found = subprocess.run(["pgrep", "-f", f"sleep {mark}$"], capture_output=True, check=False).stdout
        if not found:
            return False
        time.sleep(0.05)
    return True


def test_a_target_that_cannot_be_reached_for_a_while_is_waited_for(
    link: HereLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.operate.live.LONGEST_PAUSE", 0.05)
    away = iter([True] * 4)
    run = link.run

    def at_times(command: str, **how: Any) -> CommandResult:
        if link.count and next(away, False):
            raise Unavailable("busy", cause=Cause.BUSY, transport="serial")
        return run(command, **how)

    monkeypatch.setattr(link, "run", at_times)
    heard = Heard()
    assert live(link, "echo a; sleep 1; echo b", heard).run(Deadline.after(scaled(60))).exit_status == 0
    assert heard.out == b"a\nb\n"
    monkeypatch.setattr("harness.operate.live.UNREACHABLE", 0.2)
    away = iter([True] * 1000)
    link.count = 0
    with pytest.raises(Unavailable, match="busy"):
        live(link, "sleep 30", heard).run(Deadline.after(scaled(60)))
    away = iter([])
    for path in leftovers():
        shutil.rmtree(path)
