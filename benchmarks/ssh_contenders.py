"""Who takes part in the benchmark of SSH: each gets the load, and gives the number of right answers.

Each is run in a process of its own, from an interpreter that may have no more than its own library installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

THREADS = 8


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


def harness_run(load: dict[str, Any]) -> int:
    """Us again, as people use it: inventory, checks (one for each command), verdicts, the record, and reports."""
    from harness.cli.main import main

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        rows = [
            f"{address} ansible_port={load['port']} ansible_user=root ansible_ssh_private_key_file={load['key']}"
            for address in load["addresses"]
        ]
        known = [f"[{address}]:{load['port']} {Path(load['host_key']).read_text()}" for address in load["addresses"]]
        (folder / "known_hosts").write_text("".join(known))
        options = f"-F /dev/null -o UserKnownHostsFile={folder}/known_hosts"
        (folder / "inventory").write_text(
            "\n".join(rows) + f"\n[all:vars]\nansible_ssh_common_args='{options}'\nsettle=false\n"
        )
        (folder / "words.py").write_text(
            "from harness import check\n\n\n"
            f"@check.each(number=range({load['commands']}))\n"
            "def says(target, number):\n"
            f"    assert target.run({load['command']!r}).out.startswith({load['expect']!r})\n"
        )
        logs = folder / "logs"
        with contextlib.redirect_stdout(sys.stderr):
            forks = ["--forks", str(THREADS)]  # as many hosts side by side as the others have
            main(["run", "-i", str(folder / "inventory"), "--logs", str(logs), *forks, str(folder / "words.py")])
        passed = re.search(r'"passed": (\d+)', (logs / "latest" / "results.json").read_text())
        return int(passed[1]) if passed else 0


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
    "harness-run": harness_run,
    "asyncssh": asyncssh,
    "testinfra": testinfra,
    "pyinfra": pyinfra,
    "parallel-ssh": parallel_ssh,
    "ansible-raw": ansible_raw,
}


if __name__ == "__main__":
    print(CONTENDERS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text())))
