"""Runs the real command against real guests, as a user types it: a process of its own, no TTY."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import factor, scaled

ROOT = Path(__file__).parents[2]
INVENTORIES = ROOT / "inventories"
RESTORED = Path(__file__).with_name("restored.ini")
"""The same machine as that of local.ini, restored in seconds: for tests of what comes after the boot."""
SSHD = str(ROOT / "checks" / "sshd")


class Run:
    """One run of `harness`, started in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str, verb: str = "run") -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness", verb, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.stdout = ""
        self.stderr = ""

    def finish(self, seconds: float = 280) -> int:
        """Waits for its end and keeps what it printed."""
        self.stdout, self.stderr = self.process.communicate(timeout=scaled(seconds))
        return self.process.returncode

    @property
    def record(self) -> Path:
        return (self.folder / "logs" / "latest").resolve()

    @property
    def events(self) -> list[dict[str, Any]]:
        file = self.folder / "logs" / "latest" / "events.jsonl"
        if not file.exists():
            return []
        # The last line may be half there while the run goes on.
        return [json.loads(line) for line in file.read_text().split("\n")[:-1]]

    def of(self, action: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event.action"] == action]

    @property
    def results(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.record / "results.json").read_text())
        return document

    def outcomes(self) -> dict[str, str]:
        return {
            f"{check['module']}::{check['check']}": check["outcome"]
            for target in self.results["targets"]
            for check in target["checks"]
        }

    def wait_for(self, action: str, seconds: float = 200) -> dict[str, Any]:
        """The first event of that kind; fails when the run ends before it."""
        end = time.monotonic() + scaled(seconds)
        while time.monotonic() < end:
            found = self.of(action)
            if found:
                return found[0]
            assert self.process.poll() is None, f"the run ended before {action}: {self.process.communicate()}"
            time.sleep(0.05)
        raise AssertionError(f"no {action} in {seconds} s")

    def machines(self) -> list[int]:
        """The process ids of the QEMUs that this run started."""
        return [event["process.pid"] for event in self.of("machine.started")]


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pids: list[int], seconds: float = 20) -> bool:
    """Whether all of them end in that time."""
    end = time.monotonic() + scaled(seconds)
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs; whatever is left of them at the end of the test is ended."""
    runs: list[Run] = []

    def start(*arguments: str, verb: str = "run", folder: Path | None = None, collect: bool = False) -> Run:
        folder = folder or tmp_path / f"run{len(runs)}"
        folder.mkdir(exist_ok=True)
        if verb in ("run", "soak") and not collect:
            arguments = (*arguments, "--no-collect")  # the diagnostics of an emulated machine take a minute
        if verb in ("run", "soak") and (load := min(4.0, factor())) > 1.1 and "--resume" not in arguments:
            arguments = (*arguments, "--timeout-scale", f"{load:.1f}")
        runs.append(Run(folder, *arguments, verb=verb))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.communicate()
        for pid in run.machines():
            if alive(pid):
                os.kill(pid, 9)
