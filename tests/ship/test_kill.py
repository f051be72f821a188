"""The shipper is killed before each system call that changes anything, on disk or on the wire; the next one goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.patience import scaled
from tests.ship.daemons import program
from tests.ship.receivers import HttpReceiver, serving
from tests.ship.runs import Run, ship

CHANGING = ("write", "sendto", "fsync", "rename", "ftruncate", "unlink")
SCRIPT = """
import sys
from pathlib import Path
from harness.deadline import Cancellation
from harness.ship.registry import open_sink
from harness.ship.shipper import Shipper
sink = open_sink(sys.argv[2]).sink
Shipper(Path(sys.argv[1]), sink, name="sink", key="sink", told=print, cancellation=Cancellation(), follow=False).ship()
"""
BATCH = 5


def arrived(receiver: HttpReceiver) -> list[int]:
    found: list[int] = []
    for request in receiver.taken:
        for record in orjson.loads(request.body)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
            values = {each["key"]: each["value"] for each in record["attributes"]}
            found.append(int(values["event.sequence"]["intValue"]))
    return found


@pytest.mark.parametrize("call", CHANGING)
def test_killed_between_any_two_system_calls(tmp_path: Path, call: str) -> None:
    strace = program("strace")
    if subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace may not trace here")
    killed_at = 0
    while True:
        run = Run(tmp_path / f"run{killed_at}")
        run.say(*(f"line {number}" for number in range(BATCH)))
        run.end()
        receiver = HttpReceiver()
        with serving(receiver):
            url = f"otlp+http://127.0.0.1:{receiver.port}?batch={BATCH}"
            inject = f"inject={call}:signal=SIGKILL:when={killed_at + 1}"
            command = [strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
            # -B: no byte code is written, which would be system calls of a first start only.
            command += [sys.executable, "-B", "-c", SCRIPT, str(run.folder), url]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=scaled(60), check=False)
            before = len(arrived(receiver))
            ship(run, url)
        got = arrived(receiver)
        assert list(dict.fromkeys(got)) == [event.sequence for event in run.events()], killed_at
        assert len(got) - len(set(got)) <= BATCH, killed_at
        if ended.returncode == 0:
            assert len(got) == before, "it was not killed, and so had sent everything"
            break
        assert ended.returncode in (-9, 137), ended.stderr
        killed_at += 1
    # Two batches: each is sent in two calls, and its checkpoint, like the first one, written, synced twice, renamed.
    # Before them the record and its folder are synced.
    assert killed_at == {"sendto": 4, "write": 3, "fsync": 8, "rename": 3}.get(call, 0)


def test_the_benchmark_finds_nothing_missing() -> None:
    """Both sides are killed as soon as some events have moved; with a million of them it is run by hand."""
    program("rsyslogd")
    root = Path(__file__).parents[2]
    command = [sys.executable, "benchmarks/shipping.py", "--events", "8000", "--every", "0.3"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=scaled(250), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("missing 0, out of order 0") == 2
