"""How long commands over SSH take: a bare script over paramiko, us, and others, side by side as whole processes.

    python -m benchmarks.ssh [--rounds 5] [--hosts 50] [--peers]

Two loads: 200 commands on one host, and 10 commands on each of 50 hosts (an sshd each, with an address and a process
table of its own). Each contender is a process of its own, started anew for each round, the contenders taking turns; its
time is that of the whole process, with interpreter, imports and, for us, the event log. What is printed is each one's
best and median, and its ratio to the bare script: of each round by itself, and of these the median, since such a
machine is not as fast in one minute as in the next.

With --peers the others take part as well, each from this interpreter's environment (`pip install -e .[bench]`) or else
from .venv-peers (`python -m benchmarks.peers`: pyinfra wants an older paramiko); one that is in neither is named.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.peers import PYTHON as OTHERS

PEERS = {
    "asyncssh": "asyncssh",
    "testinfra": "pytest-testinfra",
    "pyinfra": "pyinfra",
    "parallel-ssh": "parallel-ssh",
    "ansible-raw": "ansible-core",
}
"""The others, and what each is called on the package index."""
ROOT = Path(__file__).resolve().parent.parent
CONTENDERS = Path(__file__).with_name("ssh_contenders.py")


class Servers:
    """Hosts: an OpenSSH server each, at an address of the loopback network (127.0.1.1 and up) and with a process table
    of its own, but on this machine: they share its processors with whoever is measured."""

    def __init__(self, folder: Path, hosts: int) -> None:
        self.addresses = [f"127.0.{1 + n // 250}.{1 + n % 250}" for n in range(hosts)]
        for name in ("host", "client"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        with socket.socket() as sock:
            sock.bind((self.addresses[0], 0))
            self.port: int = sock.getsockname()[1]
        Path("/run/sshd").mkdir(exist_ok=True)
        self._processes = [self._start(folder, address) for address in self.addresses]
        until = time.monotonic() + 30
        for address in self.addresses:
            while not self._answers(address):
                if time.monotonic() > until:
                    self.stop()
                    raise SystemExit(f"no sshd came up at {address} port {self.port}; it needs root, and unshare(1)")
                time.sleep(0.05)

    def _start(self, folder: Path, address: str) -> subprocess.Popen[bytes]:
        config = folder / f"config-{address}"
        config.write_text(
            f"Port {self.port}\nListenAddress {address}\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/client.pub\nStrictModes no\nPidFile none\nUsePAM no\n"
            "PermitRootLogin yes\nMaxStartups 100\nSetEnv SHLVL=3\n"
        )
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        space = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return subprocess.Popen(
            [*space, program, "-D", "-f", str(config)], stderr=subprocess.DEVNULL, start_new_session=True
        )

    def _answers(self, address: str) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((address, self.port)) == 0

    def stop(self) -> None:
        """Ends them, with all that they started."""
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def peers() -> dict[str, str]:
    """The interpreter to run each of the others with; says which are there, and which are not."""
    found: dict[str, str] = {}
    ask = (
        "import importlib.metadata as m, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass"
    )
    for python in (sys.executable, str(OTHERS)):
        if not Path(python).exists():
            continue
        said = subprocess.run([python, "-c", ask, *PEERS.values()], capture_output=True, text=True, check=True).stdout
        versions = dict(line.split() for line in said.splitlines())
        for name, package in PEERS.items():
            if package in versions and name not in found:
                found[name] = python
                print(f"{name}: {package} {versions[package]}")
    for name in PEERS.keys() - found.keys():
        print(f"{name}: not installed; see `python -m benchmarks.ssh --help`")
    return {name: found[name] for name in PEERS if name in found}


def measure(python: str, name: str, load: Path) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds of the client, and what went wrong."""
    # As installed: nobody is to compile his modules again each time.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(
        [python, CONTENDERS, name, str(load)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )
    took = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    want = json.loads(load.read_text())["answers"]
    if done.returncode or done.stdout.strip() != str(want):
        lines = (done.stderr or done.stdout).strip().splitlines()
        return took, spent, lines[-1] if lines else "wrong answers"
    return took, spent, ""


def bench(title: str, load: Path, pythons: dict[str, str], rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in pythons}
    cpu: dict[str, list[float]] = {name: [] for name in pythons}
    broken: dict[str, str] = {}
    for number in range(rounds + 1):
        for name, python in pythons.items():
            if name in broken or (number > 2 and times[name] and times[name][-1] > 8):
                continue
            took, spent, wrong = measure(python, name, load)
            if wrong:
                broken[name] = wrong
            elif number:  # the first round warms the caches
                times[name].append(took)
                cpu[name].append(spent)
    print(f"\n{title}\n  {'':14}{'best s':>9}{'median s':>10}{'client CPU s':>14}{'to bare (rounds)':>18}")
    if "bare" in broken:
        raise SystemExit(f"the bare script itself fails: {broken['bare']}")
    for name in pythons:
        if name in broken:
            print(f"  {name:14} skipped: {broken[name]}")
            continue
        middle = statistics.median(times[name])
        ratio = statistics.median(mine / bare for mine, bare in zip(times[name], times["bare"], strict=False))
        print(f"  {name:14}{min(times[name]):9.2f}{middle:10.2f}{statistics.median(cpu[name]):14.2f}{ratio:18.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--commands", type=int, default=200, help="on the one host")
    parser.add_argument("--command", default="uname -r")
    parser.add_argument("--peers", action="store_true", help="run the others as well")
    options = parser.parse_args()
    pythons = dict.fromkeys(("bare", "harness", "harness-run"), sys.executable)
    if options.peers:
        pythons |= peers()
    expect = subprocess.run(["sh", "-c", options.command], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        servers = Servers(folder, options.hosts)
        try:
            common = {
                "port": servers.port,
                "key": str(folder / "client"),
                "host_key": str(folder / "host.pub"),
                "command": options.command,
                "expect": expect,
            }
            one, many = folder / "one.json", folder / "many.json"
            addresses = servers.addresses
            for file, places, commands in ((one, addresses[:1], options.commands), (many, addresses, 10)):
                load = {**common, "addresses": places, "commands": commands, "answers": commands * len(places)}
                file.write_text(json.dumps(load))
            bench(f"{options.commands} x `{options.command}` on one host", one, pythons, options.rounds)
            bench(f"10 x `{options.command}` on {options.hosts} hosts", many, pythons, options.rounds)
        finally:
            servers.stop()


if __name__ == "__main__":
    main()
