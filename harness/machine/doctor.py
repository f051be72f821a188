"""What this machine has of what harness needs; each finding with the way to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness import distribution
from harness.deadline import Deadline
from harness.errors import HarnessError
from harness.machine.accel import prove_kvm
from harness.machine.cache import cache_folder
from harness.machine.image import image_folder, load_image
from harness.machine.recipe import recipe_names
from harness.user import user_name

State = Literal["ok", "missing", "degraded"]

_GIB = 1 << 30
_SPACE_NEEDED = 4 * _GIB
_QUERY_SECONDS = 20.0
_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class Finding:
    """`degraded`: it works without, less well. `mend` is empty where nothing needs doing."""

    what: str
    state: State
    seen: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """A program, the Debian package that brings it, why it is needed, and how it tells its version."""

    name: str
    package: str
    why: str
    needed: bool = True
    version: tuple[str, ...] = ("--version",)


PROGRAMS = (
    Program("qemu-system-x86_64", "qemu-system-x86", "runs the machines"),
    Program("qemu-img", "qemu-utils", "makes their throw-away disks"),
    Program("mmdebstrap", "mmdebstrap", "builds the Debian guest"),
    Program("mke2fs", "e2fsprogs", "writes its file system", version=("-V",)),
    Program("tar", "tar", "unpacks it"),
    Program("gpgv", "gpgv", "verifies its packages"),
    Program("ssh-keygen", "openssh-client", "makes its keys", version=()),
    Program("man", "man-db", "shows the manual's pages (`harness man`)", needed=False),
    Program("setpriv", "util-linux", "ends helper programs when harness is killed", needed=False),
    Program("sshd", "openssh-server", "is what the tests of the SSH transport talk to", needed=False, version=()),
    Program("busybox", "busybox-static", "is a shell that the tests talk to", needed=False, version=()),
    Program("zsh", "zsh", "is a shell that the tests talk to", needed=False),
    Program("fish", "fish", "is a shell that the tests talk to", needed=False),
    Program("git", "git", "is used by the tests", needed=False),
)


def examine() -> list[Finding]:
    """Everything, in the order in which one would mend it. Takes a few seconds where KVM must be tried."""
    findings = [_python()]
    findings += _packages()
    findings += [_program(program) for program in PROGRAMS]
    findings += [_keyring(), _cache(), _space(), _kvm()]
    findings += _rootless() if os.geteuid() != 0 else []
    return findings + _images()


def requirement_names(lines: list[str]) -> list[tuple[str, tuple[int, ...]]]:
    """Names and lowest versions of the requirements that belong to no extra: ``paramiko>=5.0``."""
    found = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        if "extra" in marker:
            continue
        match = re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:>=\s*([\d.]+))?", requirement)
        if match:
            found.append((match[1], _numbers(match[2] or "0")))
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _install(package: str) -> str:
    how = f"apt-get install --no-install-recommends {package}"
    return how if os.geteuid() == 0 else f"sudo {how}"


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _PYTHON:
        return Finding(
            "python", "missing", version, f"Python {'.'.join(map(str, _PYTHON))} or later: apt-get install python3"
        )
    return Finding("python", "ok", f"{version} ({sys.executable})")


def _packages() -> list[Finding]:
    try:
        lines = importlib.metadata.requires(distribution.NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return [Finding(distribution.NAME, "missing", "is not installed in this Python", "scripts/setup")]
    findings = []
    for name, lowest in requirement_names(lines):
        wanted = ".".join(map(str, lowest))
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(f"python: {name}", "missing", f"{wanted} or later is needed", "scripts/setup"))
            continue
        old = _numbers(version) < lowest
        findings.append(
            Finding(
                f"python: {name}",
                "missing" if old else "ok",
                version,
                f"{wanted} or later: scripts/setup" if old else "",
            )
        )
    return findings


def _program(program: Program) -> Finding:
    path = shutil.which(program.name) or shutil.which(program.name, path="/usr/sbin:/sbin")
    if path is None:
        state: State = "missing" if program.needed else "degraded"
        return Finding(program.name, state, f"is not there; it {program.why}", _install(program.package))
    seen = _first_line([path, *program.version]) if program.version else ""
    return Finding(program.name, "ok", f"{seen or path}")


def _first_line(argv: list[str]) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_QUERY_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not tell its version: {error}"
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "")


def _keyring() -> Finding:
    place = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if place.is_file():
        return Finding("debian keyring", "ok", str(place))
    return Finding("debian keyring", "missing", f"{place} is not there", _install("debian-archive-keyring"))


def _cache() -> Finding:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding(
            "cache folder", "missing", f"{folder}: {error.strerror}", "set XDG_CACHE_HOME to a folder of yours"
        )
    return Finding("cache folder", "ok", str(folder))


def _space() -> Finding:
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    seen = f"{free / _GIB:.1f} GiB free in {folder}"
    if free < _SPACE_NEEDED:
        return Finding(
            "disk space",
            "missing",
            seen,
            f"building an image takes {_SPACE_NEEDED // _GIB} GiB: free some, or set XDG_CACHE_HOME",
        )
    return Finding("disk space", "ok", seen)


def _kvm() -> Finding:
    try:
        proof = prove_kvm("qemu-system-x86_64", deadline=Deadline.after(60))
    except HarnessError as error:
        return Finding("kvm", "degraded", error.message, "guests run under emulation, five to ten times slower")
    if proof.works:
        return Finding("kvm", "ok", proof.why)
    return Finding("kvm", "degraded", proof.why, "guests run under emulation (TCG), slower; nothing else changes")


def _rootless() -> list[Finding]:
    """What mmdebstrap needs to build without root: subordinate ids, and leave to unshare a user namespace."""
    user = user_name()
    findings = [
        _program(Program("newuidmap", "uidmap", "lets an image be built without root", version=())),
        _program(Program("fakeroot", "fakeroot", "remembers the owners of the guest's files")),
    ]
    lacking = [place for place in ("/etc/subuid", "/etc/subgid") if not _has_subordinate_ids(Path(place), user)]
    if lacking:
        findings.append(
            Finding(
                "subordinate ids",
                "missing",
                f"{' and '.join(lacking)} give {user} none",
                f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
            )
        )
    else:
        findings.append(Finding("subordinate ids", "ok", f"/etc/subuid and /etc/subgid have a range for {user}"))
    done = subprocess.run(["unshare", "--user", "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        mend = "sudo sysctl kernel.unprivileged_userns_clone=1 (or user.max_user_namespaces above 0)"
        findings.append(Finding("user namespaces", "missing", done.stderr.strip(), mend))
    else:
        findings.append(Finding("user namespaces", "ok", "may be unshared"))
    return findings


def _has_subordinate_ids(place: Path, user: str) -> bool:
    try:
        lines = place.read_text().splitlines()
    except OSError:
        return False
    return any(line.split(":")[0] in (user, str(os.geteuid())) and line.count(":") == 2 for line in lines)


def _images() -> list[Finding]:
    findings = []
    for name in recipe_names():
        image = load_image(image_folder(name))
        if image is not None:
            findings.append(Finding(f"image {name}", "ok", str(image.path)))
        else:
            findings.append(
                Finding(
                    f"image {name}",
                    "ok",
                    f"not built yet; it builds itself when needed, or: harness image build {name}",
                )
            )
    return findings
