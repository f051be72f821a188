"""A place for somebody's own suite, with a real sshd and a real console as its targets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.testing.pty_guest import PtyGuest
from tests.forked import Forked
from tests.patience import scaled
from tests.transport.ssh.conftest import Sshd, make_sshd


@pytest.fixture(scope="session")
def sshd_of_the_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = make_sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


class Place:
    """A folder with an inventory of two targets on one sshd, and a console; pytest is run in it as a user does."""

    def __init__(self, folder: Path, sshd: Sshd) -> None:
        self.folder = folder
        self.sshd = sshd
        self.write("inv.ini", f"[boxes]\nbox1\nbox2\n\n[boxes:vars]\n{self.variables()}\n")
        # Hypothesis' plugin takes three quarters of the time that such a pytest takes to start.
        self.write("pytest.ini", "[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest\n")
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700)
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "PYTHONDONTWRITEBYTECODE": "1"}
        self.output = ""

    def variables(self, between: str = "\n") -> str:
        return between.join(
            (
                "ansible_host=127.0.0.1",
                f"ansible_port={self.sshd.port}",
                "ansible_user=root",
                f"ansible_ssh_private_key_file={self.sshd.client_key}",
                "ansible_host_key_checking=false",
                "settle=false",
            )
        )

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, *arguments: str, program: type[subprocess.Popen[str]] = Forked) -> subprocess.Popen[str]:
        """Start pytest; with `program=subprocess.Popen` nothing is imported before."""
        return program(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> int:
        self.output = process.communicate(timeout=scaled(120))[0]
        return process.returncode

    def pytest(self, *arguments: str, inventory: str = "inv.ini") -> int:
        """Runs pytest to its end; its exit code."""
        return self.finish(self.start("--harness-inventory", inventory, *arguments))

    @property
    def record(self) -> Path:
        return (self.folder / "logs" / "latest").resolve()

    def events(self, action: str = "") -> list[dict[str, Any]]:
        file = self.record / "events.jsonl"
        lines = file.read_text().split("\n")[:-1] if file.exists() else []
        return [event for event in map(json.loads, lines) if action in ("", event["event.action"])]

    def results(self) -> dict[str, dict[str, Any]]:
        """Each test's result, by target and name."""
        document = json.loads((self.record / "results.json").read_text())
        return {f"{c['target']} {c['check']}": c for target in document["targets"] for c in target["checks"]}

    def outcomes(self) -> dict[str, str]:
        return {name: result["outcome"] for name, result in self.results().items()}

    def interrupt_when(self, process: subprocess.Popen[str], seen: Callable[[], object]) -> None:
        """Ctrl-C, as soon as that is so."""
        self.until(lambda: seen() or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)

    def until(self, what: Callable[[], object], seconds: float = 60) -> None:
        end = time.monotonic() + scaled(seconds)
        while not what():
            assert time.monotonic() < end, "it never came to be"
            time.sleep(0.02)

    def processes(self, words: str) -> list[str]:
        """What runs on the target, which is this machine, below its sshd."""
        listing = subprocess.run(
            ["ps", "-o", "args=", "-p", self._below()], capture_output=True, text=True, check=False
        )
        return [line for line in listing.stdout.splitlines() if words in line]

    def _below(self) -> str:
        return ",".join(str(pid) for pid in self.sshd.sessions()) or "0"


@pytest.fixture
def place(tmp_path: Path, sshd_of_the_suite: Sshd) -> Place:
    return Place(tmp_path, sshd_of_the_suite)


@pytest.fixture
def console(tmp_path: Path) -> Iterator[PtyGuest]:
    with PtyGuest(["bash", "--norc", "-i"], tmp_path / "console") as guest:
        yield guest
