"""Time to load and resolve 10,000 hosts in 100 groups with variables, ours and ansible-inventory's.

Both are whole processes (`--list`), run in turn on the same files, and their JSON is compared. Run it with

    .venv/bin/python benchmarks/inventory.py [--hosts 10000] [--groups 100] [--repeat 2]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def write_inventory(folder: Path, hosts: int, groups: int) -> Path:
    """An INI inventory with host lines, group variables, nested groups, group_vars and some host_vars."""
    (folder / "group_vars").mkdir()
    (folder / "host_vars").mkdir()
    lines: list[str] = []
    for group in range(groups):
        lines.append(f"[group{group:03}]")
        for host in range(group, hosts, groups):
            lines.append(
                f"host{host:05} ansible_host=10.{host >> 16 & 255}.{host >> 8 & 255}.{host & 255} ansible_port=22 "
                f"rack=r{host % 40} asset=SN{host:08} weight={host % 7}"
            )
        lines += [f"[group{group:03}:vars]", f"site=site{group % 5}", f"level={group}", "flags=['a', 'b']"]
    for parent in range(0, groups, 10):
        lines += [f"[area{parent:03}:children]", *(f"group{g:03}" for g in range(parent, min(parent + 10, groups)))]
        (folder / "group_vars" / f"area{parent:03}.yml").write_text(
            f"area: {parent}\nntp: [10.0.0.1, 10.0.0.2]\nlimits: {{open: 1024, procs: 512}}\n"
        )
    for host in range(0, hosts, 100):
        (folder / "host_vars" / f"host{host:05}.yml").write_text(f'special: {host}\nnote: "host {{{{ rack }}}}"\n')
    (folder / "group_vars" / "all.yml").write_text(
        'ansible_user: root\nurl: "http://{{ ansible_host }}:8080/"\n'
        + "".join(f"setting{n}: {n}\n" for n in range(10))
    )
    source = folder / "hosts"
    source.write_text("\n".join(lines) + "\n")
    return source


def measure(command: list[str], cwd: Path) -> tuple[float, float, Any]:
    """One run: wall seconds, CPU seconds (they do not depend on who else uses the machine), the parsed output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd=cwd
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, json.loads(done.stdout)


OURS = """
import argparse, sys
from harness.cli.inventory import register
parser = argparse.ArgumentParser()
register(parser.add_subparsers())
args = parser.parse_args(["inventory", *sys.argv[1:]])
sys.exit(args.run(args))
"""

RESOLVE = """
import sys, time
start = time.perf_counter()
from harness.inventory import load
inventory = load(sys.argv[1:])
loaded = time.perf_counter()
count = sum(len(host.resolved()) for host in inventory.select())
print('{"load_and_validate": %.3f, "resolve": %.3f, "variables": %d}' % (
    loaded - start, time.perf_counter() - loaded, count))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_inventory(folder, args.hosts, args.groups)
        empty = folder / "empty"
        empty.mkdir()
        ansible = str(Path(sys.executable).with_name("ansible-inventory"))
        ours: list[tuple[float, float]] = []
        theirs: list[tuple[float, float]] = []
        same = True
        for _ in range(args.repeat):
            # In turn, so that a busy moment of the machine does not meet only one of them.
            wall, cpu, mine = measure([sys.executable, "-c", OURS, "-i", str(source), "--list"], empty)
            ours.append((wall, cpu))
            wall, cpu, his = measure([ansible, "-i", str(source), "--list"], empty)
            theirs.append((wall, cpu))
            same = same and mine == his
        _, _, parts = measure([sys.executable, "-c", RESOLVE, str(source)], empty)
    (our_wall, our_cpu), (their_wall, their_cpu) = (tuple(map(min, zip(*runs, strict=True))) for runs in (ours, theirs))
    print(f"{args.hosts} hosts, {args.groups} groups, best of {args.repeat}")
    print(f"harness inventory --list   {our_wall:8.2f} s   CPU {our_cpu:8.2f} s")
    print(f"ansible-inventory --list   {their_wall:8.2f} s   CPU {their_cpu:8.2f} s")
    print(f"ratio                      {their_wall / our_wall:8.1f}     CPU {their_cpu / our_cpu:8.1f}")
    print(f"same JSON                  {same}")
    print(
        f"in one process: load and check all hosts {parts['load_and_validate']:.2f} s, resolve all templates of "
        f"{parts['variables']} variables {parts['resolve']:.2f} s (ansible-inventory leaves templates unresolved)"
    )
    return 0 if same and their_cpu >= 10 * our_cpu else 1


if __name__ == "__main__":
    sys.exit(main())
