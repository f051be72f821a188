"""Whether KVM runs a guest here. /dev/kvm may open, and even make a VM, on a machine where no guest ever runs: so a
boot sector is run, and must come out the other end in time. What was found holds until this host boots again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.deadline import Deadline
from harness.machine.cache import cache_folder, locked

KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_BOUND = 10.0
_EXIT_PORT = 0xF4
_EXIT_VALUE = 0x31
# isa-debug-exit ends QEMU with (value << 1) | 1.
_EXPECTED = (_EXIT_VALUE << 1) | 1


@dataclass(frozen=True, slots=True)
class Proof:
    """`works`, and `why` in words for a person."""

    works: bool
    why: str


def boot_sector() -> bytes:
    """512 bytes that write to the debug-exit port and halt: ``mov al, 0x31; out 0xf4, al; hlt; jmp $-1``."""
    code = bytes([0xB0, _EXIT_VALUE, 0xE6, _EXIT_PORT, 0xF4, 0xEB, 0xFD])
    return code + bytes(510 - len(code)) + b"\x55\xaa"


def judge(status: int | None, words: str) -> Proof:
    """What the trial's exit status (None: it had to be killed) and its stderr mean."""
    last = words.strip().splitlines()[-1] if words.strip() else ""
    if status == _EXPECTED:
        return Proof(True, "a boot sector ran under KVM")
    if status is None:
        return Proof(False, f"a boot sector did not get through KVM in {_BOUND:.0f} s")
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return Proof(False, f"QEMU under KVM ended with {how}{': ' + last if last else ''}")


def prove_kvm(binary: str, *, deadline: Deadline, again: bool = False) -> Proof:
    """Runs the boot sector under KVM once per boot of this host and QEMU binary; later calls read the cached answer."""
    if not KVM.exists():
        return Proof(False, "there is no /dev/kvm")
    if not os.access(KVM, os.R_OK | os.W_OK):
        return Proof(False, "/dev/kvm may not be opened by this user; add it to the group kvm")
    found = shutil.which(binary)
    if found is None:
        return Proof(False, f"{binary} is not installed")
    stat = Path(found).stat()
    key = f"{_BOOT_ID.read_text().strip()} {os.path.realpath(found)} {stat.st_mtime_ns} {os.geteuid()}"
    place = cache_folder() / "kvm.json"
    with locked(place.with_suffix(".lock"), deadline=deadline, doing="proving KVM"):
        if not again:
            try:
                raw = json.loads(place.read_text())
                if raw["key"] == key:
                    return Proof(bool(raw["works"]), str(raw["why"]))
            except (OSError, ValueError, KeyError, TypeError):
                pass  # no answer yet, or one of another version: the trial gives it
        proof = _try(found)
        fresh = place.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({"key": key, "works": proof.works, "why": proof.why}))
        fresh.replace(place)
    return proof


def decide(
    wanted: Literal["auto", "kvm", "tcg"], binary: str, *, deadline: Deadline
) -> tuple[Literal["kvm", "tcg"], str]:
    """The accelerator to use and why. `kvm` and `tcg` are taken at their word."""
    if wanted != "auto":
        return wanted, f"qemu_accel={wanted}"
    proof = prove_kvm(binary, deadline=deadline)
    return ("kvm" if proof.works else "tcg"), proof.why


def _try(binary: str) -> Proof:
    with tempfile.TemporaryDirectory(prefix="harness-kvm-") as folder:
        disk = Path(folder, "sector")
        disk.write_bytes(boot_sector().ljust(1 << 20, b"\0"))
        argv = [
            binary,
            "-no-user-config",
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            "pc,accel=kvm",
            "-cpu",
            "host",
        ]
        argv += ["-m", "32", "-drive", f"file={disk},format=raw,if=ide,snapshot=on"]
        argv += ["-device", f"isa-debug-exit,iobase={_EXIT_PORT:#x},iosize=4"]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_BOUND, check=False)
        except subprocess.TimeoutExpired:
            return judge(None, "")
        except OSError as error:
            return Proof(False, f"{binary} cannot be run: {error.strerror}")
    return judge(done.returncode, done.stderr.decode("utf-8", "backslashreplace"))
