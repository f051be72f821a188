"""How long a login and a few commands take over a slow or late line, to a real bash on a pty.

python -m benchmarks.slow_line [--baud 300] [--latency 2] [--deadline 1800]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from harness.deadline import Deadline
from harness.events.emitter import NullEmitter
from harness.testing.pty_guest import PtyGuest
from harness.testing.slow_line import SlowLine
from harness.transport.serial.console import Console
from harness.transport.serial.spec import SerialSpec
from harness.transport.serial.transport import SerialTransport

COMMANDS = ("true", "echo hello", "uname -r", "seq 1 50", "sleep 1; echo x")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--baud", type=int, default=9600, help="bits a second; a byte takes ten")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds, one way")
    parser.add_argument("--deadline", type=float, default=1800.0, help="seconds for the login, and for each command")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, PtyGuest(["bash", "--norc", "-i"], Path(folder, "pty")) as guest:
        time.sleep(1.0)  # the shell comes up
        with SlowLine(guest.path, Path(folder, "slow"), rate=given.baud / 10, latency=given.latency) as line:
            console = Console(str(line.path), name="slow", events=NullEmitter())
            spec = SerialSpec(console.address, login_timeout=given.deadline)
            transport = SerialTransport(console, spec, events=NullEmitter())
            print(f"{given.baud} baud, {given.latency:g} s of latency; the first command logs in")
            for command in COMMANDS:
                began = time.monotonic()
                result = transport.run(command, deadline=Deadline.after(given.deadline))
                print(f"{command:20}{time.monotonic() - began:9.2f} s  exit status {result.exit_status}", flush=True)
            transport.close()
            console.close()


if __name__ == "__main__":
    main()
