"""How long commands over SSH take: a bare script over paramiko, us, and others, side by side as whole processes.

    python benchmarks/ssh.py [--rounds 5] [--hosts 50] [--peers]

Two loads: 200 commands on one host, and 10 commands on each of 50 hosts (one sshd, at 16 addresses of
the loopback network). Each contender is a process of its own, started anew for each round, the
contenders taking turns; its time is that of the whole process, with
interpreter, imports and, for us, the event log. What is printed is each one's best and median, and the ratio to the
bare script's. With --peers, those of the others that can be installed are installed into a folder of the user's
cache (never into the environment that runs this); one that cannot is named and skipped.
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PEERS = {
    "asyncssh": "asyncssh",
    "testinfra": "pytest-testinfra",
    "pyinfra": "pyinfra",
    "parallel-ssh": "parallel-ssh",
    "ansible-raw": "ansible-core",
}
THREADS = 8
ROOT = Path(__file__).resolve().parent.parent


# -- the contenders. Each gets the load, and prints the number of right answers.


def bare(load: dict[str, Any]) -> int:
    """What any harness over paramiko has to beat: TCP_NODELAY, one shell a host, a marker behind each command."""
    import paramiko

    key = paramiko.PKey.from_path(load["key"])

    def host(address: str) -> int:
        sock = socket.create_connection((address, load["port"]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(sock)
        transport.start_client()
        transport.auth_publickey("root", key)
        channel = transport.open_session()
        channel.exec_command("exec sh")
        right = 0
        for number in range(load["commands"]):
            mark = f"@{number}@".encode()
            channel.sendall(f"{load['command']}\necho @{number}@ $?\n".encode())
            data = b""
            while mark not in data or not data.endswith(b"\n"):
                data += channel.recv(65536)
            right += data.startswith(load["expect"].encode())
        transport.close()
        return right

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(host, load["addresses"]))


def harness(load: dict[str, Any]) -> int:
    """Us: the link, a `command` event on file for each command, host keys checked."""
    from harness.deadline import Deadline
    from harness.events import EventLog
    from harness.transport.link import Link
    from harness.transport.ssh.hostkeys import parse_public_keys
    from harness.transport.ssh.transport import SshSpec, SshTransport

    keys = parse_public_keys(Path(load["host_key"]).read_text())
    with tempfile.TemporaryDirectory() as folder:
        events = EventLog(Path(folder) / "events.jsonl", run="benchmark")

        def host(address: str) -> int:
            spec = SshSpec(
                name=address,
                host=address,
                port=load["port"],
                user="root",
                key_files=(load["key"],),
                host_keys=keys,
                use_agent=False,
                default_keys=False,
                use_config=False,
            )
            own = events.bind(target=address)
            link = Link([SshTransport(spec, events=own)], events=own, name=address)
            right = 0
            for _ in range(load["commands"]):
                result = link.run(load["command"], deadline=Deadline.after(60))
                right += result.stdout.startswith(load["expect"].encode()) and result.ok
            link.close()
            return right

        with ThreadPoolExecutor(THREADS) as pool:
            return sum(pool.map(host, load["addresses"]))


def asyncssh(load: dict[str, Any]) -> int:
    import asyncio

    import asyncssh as library  # type: ignore[import-not-found,unused-ignore]

    async def host(address: str) -> int:
        async with library.connect(
            address, load["port"], username="root", client_keys=[load["key"]], known_hosts=None, config=None
        ) as connection:
            right = 0
            for _ in range(load["commands"]):
                done = await connection.run(load["command"])
                right += bool(done.stdout.startswith(load["expect"]))
            return right

    async def all_hosts() -> int:
        gate = asyncio.Semaphore(THREADS)

        async def gated(address: str) -> int:
            async with gate:
                return await host(address)

        return sum(await asyncio.gather(*map(gated, load["addresses"])))

    return asyncio.run(all_hosts())


def testinfra(load: dict[str, Any]) -> int:
    import testinfra as library  # type: ignore[import-not-found,unused-ignore]

    def host(address: str) -> int:
        it = library.get_host(
            f"paramiko://root@{address}:{load['port']}", ssh_identity_file=load["key"], ssh_config="/dev/null"
        )
        return sum(it.run(load["command"]).stdout.startswith(load["expect"]) for _ in range(load["commands"]))

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(host, load["addresses"]))


def parallel_ssh(load: dict[str, Any]) -> int:
    from pssh.clients import ParallelSSHClient  # type: ignore[import-not-found,unused-ignore]

    client = ParallelSSHClient(load["addresses"], user="root", port=load["port"], pkey=load["key"], pool_size=THREADS)
    right = 0
    for _ in range(load["commands"]):
        output = client.run_command(load["command"])
        client.join(output)
        right += sum("".join(one.stdout).startswith(load["expect"]) for one in output)
    return right


def pyinfra(load: dict[str, Any]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        rows = ", ".join(f'("{address}", {{}})' for address in load["addresses"])
        Path(folder, "inventory.py").write_text(
            f"hosts = ([{rows}], {{'ssh_user': 'root', 'ssh_port': {load['port']}, 'ssh_key': {load['key']!r}, "
            "'ssh_strict_host_key_checking': 'no', 'ssh_known_hosts_file': '/dev/null'})\n"
        )
        lines = ["from pyinfra.operations import server"]
        lines += [f"server.shell(name='c{n}', commands=[{load['command']!r}])" for n in range(load["commands"])]
        Path(folder, "deploy.py").write_text("\n".join(lines) + "\n")
        done = subprocess.run(
            [Path(sys.executable).with_name("pyinfra"), "-y", "--parallel", str(THREADS), "inventory.py", "deploy.py"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
    return len(load["addresses"]) * int(load["commands"])


def ansible_raw(load: dict[str, Any]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        options = f"-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlPath={folder}/%C"
        rows = [
            f"{address} ansible_port={load['port']} ansible_user=root ansible_ssh_private_key_file={load['key']}"
            for address in load["addresses"]
        ]
        Path(folder, "inventory").write_text(
            "\n".join(rows)
            + f"\n[all:vars]\nansible_ssh_common_args='{options} -o ControlMaster=auto -o ControlPersist=30'\n"
        )
        tasks = [{"raw": load["command"]} for _ in range(load["commands"])]
        book = [{"hosts": "all", "gather_facts": False, "strategy": "free", "tasks": tasks}]
        Path(folder, "play.json").write_text(json.dumps(book))
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-f", str(THREADS), "-i", "inventory", "play.json"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ANSIBLE_HOST_KEY_CHECKING": "0"},
        )
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
        return str(done.stdout).count("changed: [")


CONTENDERS: dict[str, Callable[[dict[str, Any]], int]] = {
    "bare": bare,
    "harness": harness,
    "asyncssh": asyncssh,
    "testinfra": testinfra,
    "pyinfra": pyinfra,
    "parallel-ssh": parallel_ssh,
    "ansible-raw": ansible_raw,
}


# -- the bench


def start_sshd(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    for name in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 0.0.0.0\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/client.pub\n"
        "StrictModes no\nPidFile none\nUsePAM no\nPermitRootLogin yes\nMaxStartups 100\nSetEnv SHLVL=3\n"
    )
    # Addresses of the loopback network only, whatever else the machine has.
    text = (
        (folder / "config")
        .read_text()
        .replace("ListenAddress 0.0.0.0\n", "".join(f"ListenAddress 127.0.0.{n}\n" for n in range(1, 17)))
    )
    (folder / "config").write_text(text)
    Path("/run/sshd").mkdir(exist_ok=True)
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    server = subprocess.Popen(
        [program, "-D", "-f", str(folder / "config")], stderr=subprocess.DEVNULL, start_new_session=True
    )
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return server, port
        time.sleep(0.05)
    server.kill()
    raise SystemExit("sshd did not start")


def peer_python(name: str, package: str) -> str | None:
    """The interpreter of the peer's own environment; None, with a line that says why, when it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "harness-benchmarks" / name
    python = cache / "bin" / "python"
    if not (cache / "done").exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(cache)], capture_output=True, check=False)
        got = made.returncode == 0 and subprocess.run(
            [str(python), "-m", "pip", "install", "-q", package, *(["paramiko"] if name == "testinfra" else [])],
            capture_output=True,
            text=True,
            check=False,
        )
        if not got or got.returncode:
            print(f"skipped: {name} cannot be installed here")
            return None
        (cache / "done").touch()
    return str(python)


def measure(python: str, name: str, load: Path) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds of the client, and what went wrong."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(
        [python, __file__, "--contender", name, str(load)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    took = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    want = json.loads(load.read_text())["answers"]
    if done.returncode or done.stdout.strip() != str(want):
        lines = (done.stderr or done.stdout).strip().splitlines()
        return took, spent, lines[-1] if lines else "wrong answers"
    return took, spent, ""


def bench(title: str, load: Path, pythons: dict[str, str], rounds: int) -> float:
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
    print(f"\n{title}\n  {'':14}{'best s':>9}{'median s':>10}{'client CPU s':>14}{'to bare (median)':>18}")
    base = statistics.median(times["bare"])
    for name in pythons:
        if name in broken:
            print(f"  {name:14} skipped: {broken[name]}")
            continue
        middle = statistics.median(times[name])
        print(
            f"  {name:14}{min(times[name]):9.2f}{middle:10.2f}{statistics.median(cpu[name]):14.2f}{middle / base:18.2f}"
        )
    return statistics.median(times["harness"]) / base if times["harness"] else float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--commands", type=int, default=200, help="on the one host")
    parser.add_argument("--command", default="uname -r")
    parser.add_argument("--peers", action="store_true", help="install and run the others as well")
    parser.add_argument("--contender", nargs=2, metavar=("NAME", "LOAD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        name, load = options.contender
        print(CONTENDERS[name](json.loads(Path(load).read_text())))
        return
    pythons = {"bare": sys.executable, "harness": sys.executable}
    if options.peers:
        for name, package in PEERS.items():
            python = peer_python(name, package)
            if python:
                pythons[name] = python
    expect = subprocess.run(["sh", "-c", options.command], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        server, port = start_sshd(folder)
        try:
            common = {
                "port": port,
                "key": str(folder / "client"),
                "host_key": str(folder / "host.pub"),
                "command": options.command,
                "expect": expect,
            }
            one, many = folder / "one.json", folder / "many.json"
            one.write_text(
                json.dumps(
                    {**common, "addresses": ["127.0.0.1"], "commands": options.commands, "answers": options.commands}
                )
            )
            # sshd takes sixteen addresses to listen on.
            addresses = [f"127.0.0.{1 + n % 16}" for n in range(options.hosts)]
            many.write_text(
                json.dumps({**common, "addresses": addresses, "commands": 10, "answers": 10 * options.hosts})
            )
            bench(f"{options.commands} x `{options.command}` on one host", one, pythons, options.rounds)
            bench(f"10 x `{options.command}` on {options.hosts} hosts", many, pythons, options.rounds)
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


if __name__ == "__main__":
    main()
