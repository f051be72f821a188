"""Whether verdicts depend on how busy this machine is: healthy targets, every one of which must pass.

    python -m benchmarks.verdicts [--hosts 120] [--checks 4] [--disturbed] [--max-startups 10:30:100]

One OpenSSH server on the loopback is all the hosts, with the number of logins at once that is OpenSSH's default. Each
check runs `sleep 2` on its host and passes at its third attempt, with a budget of 8 s: three attempts and their pauses
take 7.5 s. All hosts go side by side (`--forks` is their number). With --disturbed the same runs a second time while
`stress-ng --cpu 8 --io 4` loads the machine and the process is stopped (SIGSTOP) and continued three times, 12 s each.
Printed are the verdicts, how long the run took, and what harness measured as its own time. The exit code is 1 where a
verdict differs. It needs sshd, and for --disturbed stress-ng.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

CHECKS = '''
"""Passes at the third attempt."""
from collections import Counter
from harness import check

SEEN = Counter()


def third(target, name):
    assert target.run("sleep 2").ok
    SEEN[target.name, name] += 1
    assert SEEN[target.name, name] >= 3


'''
CHECK = """
@check(budget=8, settle=False)
def check{number}(target):
    third(target, {number})
"""
STOPPED = 12.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=120)
    parser.add_argument("--checks", type=int, default=4)
    parser.add_argument("--disturbed", action="store_true")
    parser.add_argument("--max-startups", default="10:30:100")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="harness-verdicts-") as name:
        folder = Path(name)
        server, port = _start_sshd(folder, given.max_startups)
        try:
            (folder / "healthy.py").write_text(
                CHECKS + "".join(CHECK.format(number=number) for number in range(given.checks))
            )
            (folder / "hosts.ini").write_text(_inventory(folder, port, given.hosts))
            fine = _run(folder, given.hosts, "quiet", lambda _process: None)
            if given.disturbed:
                with _Load():
                    fine &= _run(folder, given.hosts, "disturbed", _disturb)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    return 0 if fine else 1


def _run(folder: Path, hosts: int, name: str, meanwhile: Callable[[subprocess.Popen[bytes]], None]) -> bool:
    logs = folder / f"logs-{name}"
    argv = [sys.executable, "-m", "harness", "run", "-q", "-i", str(folder / "hosts.ini"), "--logs", str(logs)]
    argv += ["--forks", str(hosts), "--no-collect", str(folder / "healthy.py")]
    began = time.monotonic()
    with (folder / f"output-{name}").open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
        meanwhile(process)
        code = process.wait()
    results = json.loads((logs / "latest" / "results.json").read_text())
    counts = {outcome: count for outcome, count in results["counts"].items() if count}
    checks = [check for target in results["targets"] for check in target["checks"]]
    delays: Counter[str] = Counter()
    for check in checks:
        delays.update(check["delays"])
    print(f"{name}: exit code {code}, {time.monotonic() - began:.1f} s, load {os.getloadavg()[0]:.1f}: {counts}")
    print(f"  spent of the budgets, at most: {max(check['duration'] for check in checks):.1f} s")
    print("  harness's own time, a check: " + (_each(delays, len(checks)) or "none"))
    print("  the process was kept from working: " + (_each(Counter(results["stalls"]), 1) or "never"))
    for check in [check for check in checks if check["outcome"] != "passed"][:3]:
        print(f"  {check['target']} {check['check']} {check['outcome']}: {check['message']}")
    return code == 0


def _each(seconds: Counter[str], count: int) -> str:
    return ", ".join(f"{cause} {each / count:.2f} s" for cause, each in seconds.most_common())


def _disturb(process: subprocess.Popen[bytes]) -> None:
    for _ in range(3):
        time.sleep(3.0)
        if process.poll() is not None:
            raise SystemExit("the run ended before it was disturbed three times")
        process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED)
        process.send_signal(signal.SIGCONT)


class _Load:
    """stress-ng, as long as the block lasts."""

    def __enter__(self) -> None:
        program = shutil.which("stress-ng")
        if program is None:
            raise SystemExit("--disturbed needs stress-ng")
        self._process = subprocess.Popen(
            [program, "-q", "--cpu", "8", "--io", "4", "--timeout", "600"], start_new_session=True
        )

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()


def _inventory(folder: Path, port: int, hosts: int) -> str:
    lines = [f"h{number} ansible_host=127.0.0.1" for number in range(hosts)]
    lines += ["", "[all:vars]", f"ansible_port={port}", "ansible_user=root", "settle=false"]
    lines += [f"ansible_ssh_private_key_file={folder}/client", "ansible_ssh_common_args='-F none'"]
    lines += ["ansible_host_key_checking=false", ""]
    return "\n".join(lines)


def _start_sshd(folder: Path, max_startups: str) -> tuple[subprocess.Popen[bytes], int]:
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/client.pub\n"
        f"StrictModes no\nPidFile none\nUsePAM no\nPermitRootLogin yes\nMaxStartups {max_startups}\nSetEnv SHLVL=3\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    process = subprocess.Popen([program, "-D", "-f", str(config)], stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        time.sleep(0.05)
    process.kill()
    raise SystemExit("no sshd came up; it needs root")


if __name__ == "__main__":
    raise SystemExit(main())
