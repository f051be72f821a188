"""How much processor time the serial transport's program costs the guest: for a short builtin, and for a line's check.

    python -m benchmarks.guest_cpu [--commands 2000]

The program runs in each shell with its requests on a pipe, so it is the time that the kernel charges to it, and hardly
depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess

from harness.transport.serial.guest import BLANK, DIRS, program, readable_program
from harness.transport.serial.requests import Nonce, request

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox ash": ["busybox", "sh"]}
COMMANDS = ("true", "echo hello", "echo a; echo b; true", "echo out; echo err >&2; false")
LINE = "~R~abcd~efgh~b~echo~hello"
_PASSES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--commands", type=int, default=2000, help="of each kind in a pass; the best pass counts")
    count = parser.parse_args().commands
    pieces = program(name="benchmark", hello=("abcd", "efgh"), inline=256, dirs=DIRS, has_tools=True)
    text = f"g=; {' '.join(pieces)}"
    shells = {name: argv for name, argv in SHELLS.items() if shutil.which(argv[0])}
    print(f"{'microseconds of processor time':34}" + "".join(f"{name:>13}" for name in shells))
    for command in COMMANDS:
        requests = b"".join(request("R", Nonce.fresh(), "b", command) for _ in range(count))
        spent = [cpu_seconds(argv, text, requests) - cpu_seconds(argv, text, b"") for argv in shells.values()]
        print(f"{command:34}" + "".join(f"{seconds / count * 1e6:13.0f}" for seconds in spent))
    source = readable_program()
    function = source[source.index("h_digest() {") : source.index("# -- What the guest has")]
    head = f"LC_ALL=C; set -f; h_blank=$(printf '\\{ord(BLANK):03o}')\n{function}\n"
    loop = f"i=0; while [ $i -lt {count} ]; do i=$((i+1)); h_text='{LINE}'; "
    spent = [
        cpu_seconds(argv, f"{head}{loop}h_digest; done", b"") - cpu_seconds(argv, f"{head}{loop}done", b"")
        for argv in shells.values()
    ]
    title = f"the check of {len(LINE)} characters"
    print(f"{title:34}" + "".join(f"{seconds / count * 1e6:13.0f}" for seconds in spent))


def cpu_seconds(argv: list[str], script: str, typed: bytes) -> float:
    """Return the processor time of a shell that runs the script with `typed` as its input, at best."""
    return min(_cpu_seconds([*argv, "-c", script], typed) for _ in range(_PASSES))


def _cpu_seconds(argv: list[str], typed: bytes) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, input=typed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
