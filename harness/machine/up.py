"""A machine that was left up: what is to be known of it, in a file, so that others can use it and end it.

`machine.json` lies in the folder of the target whose run started it; a link in one folder for all of them (`logs/up/`)
leads from the target's name to it. The file says what was; whether it still is, the kernel says: a process is the one
that was meant only while it has the start time that was noted (proc_pid_stat(5), field 22).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, MachineError
from harness.machine.qmp import QmpClient, QmpError

NAME = "machine.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Up:
    """A machine that was left up.

    `pid` and `born` name its QEMU, `supervisor` the process above it. `ports` leads from guest ports to loopback ports.
    `folder` holds its console's log, from its first byte on. `image` is the folder of the image that it was started
    from, where that is one of ours. `started` and `until` are seconds since the epoch; at `until` it is ended by
    itself, None means never.
    """

    name: str
    run: str
    pid: int
    born: int
    supervisor: int
    ssh_port: int
    ports: dict[int, int]
    console_address: str
    qmp_address: str
    accel: str
    persistent: bool
    folder: Path
    image: Path | None
    started: float
    until: float | None

    @property
    def alive(self) -> bool:
        """Its QEMU runs, and is the one that was meant."""
        return born(self.pid) == self.born

    @property
    def console_log(self) -> Path:
        """Every byte that its console ever said."""
        return self.folder / "console.log"

    def plain(self) -> dict[str, Any]:
        """As it is written, and shown by `--json`."""
        values = asdict(self)
        values.update(version=VERSION, folder=str(self.folder), image=str(self.image) if self.image else None)
        return values


def born(pid: int) -> int:
    """When a process began, in clock ticks since this machine booted; 0 when there is none, or only its remains."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if words[0] in ("Z", "X") else int(words[19])


def write(up: Up, index: Path) -> None:
    """Notes that it is up. Raises MachineError."""
    try:
        _write(up.folder / NAME, json.dumps(up.plain(), indent=2) + "\n")
        index.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = index / f".{up.folder.name}.{secrets.token_hex(3)}"
        temporary.symlink_to(os.path.relpath(up.folder.resolve(), index.resolve()))
        temporary.replace(index / up.folder.name)
    except OSError as error:
        raise MachineError(f"cannot note in {index} that {up.name} is up: {error.strerror}") from error


def read(folder: Path) -> Up | None:
    """The machine that was left up from this folder; None when there is none, or nothing that can be read."""
    try:
        raw = json.loads((folder / NAME).read_text(encoding="utf-8"))
        if raw.pop("version") != VERSION or set(raw) != {field.name for field in fields(Up)}:
            return None
        image = raw.pop("image")
        return Up(
            **{
                **raw,
                "ports": {int(guest): int(host) for guest, host in raw["ports"].items()},
                # The folder may have been moved with all of the logs.
                "folder": folder.resolve(),
                "image": Path(image) if image else None,
            }
        )
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None


def find(index: Path, folder_name: str) -> Up | None:
    """The machine that is up under this folder's name, while it is."""
    up = read(index / folder_name)
    return up if up is not None and up.alive else None


def all_up(index: Path) -> list[Up]:
    """Every machine that is up, by its name; what has ended since is forgotten."""
    found = []
    for link in sorted(index.iterdir()) if index.is_dir() else []:
        up = read(link)
        if up is not None and up.alive:
            found.append(up)
        elif link.is_symlink():
            link.unlink(missing_ok=True)
    return sorted(found, key=lambda each: each.name)


def forget(up: Up, index: Path) -> None:
    """Notes that it is up no more."""
    link = index / up.folder.name
    if link.is_symlink() and link.resolve() == up.folder.resolve():
        link.unlink(missing_ok=True)
    (up.folder / NAME).unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def end(up: Up, deadline: Deadline, *, powerdown: float = 30.0) -> bool:
    """Ends a machine that is up; True when there was one to be ended. One with persistent disks is asked to power
    down first, for up to `powerdown` seconds. Raises MachineError when it does not end, Cancelled."""
    if not up.alive:
        return False
    if up.persistent:
        _power_down(up, deadline.clamp(powerdown))
    parent = _parent(up.pid)
    with contextlib.suppress(ProcessLookupError):
        if up.alive:
            # The supervisor removes its sockets and disks; without one there are none that somebody holds.
            os.kill(up.supervisor if parent == up.supervisor else up.pid, signal.SIGTERM)
    while up.alive or born(up.supervisor if parent == up.supervisor else 0):
        if deadline.expired:
            raise MachineError(
                f"{up.name} does not end (QEMU is process {up.pid})", hint=f"end it by force: kill -KILL {up.pid}"
            )
        deadline.sleep(0.02)
    return True


def _power_down(up: Up, deadline: Deadline) -> None:
    """Asks the guest; whether it heeds that is seen by its QEMU's end."""
    client = QmpClient(Path(up.qmp_address))
    try:
        client.connect(deadline, alive=lambda: up.alive)
        client.execute("system_powerdown", deadline=deadline)
        while up.alive and not deadline.expired:
            deadline.sleep(0.1)
    except (QmpError, DeadlineExpired):
        return
    finally:
        client.close()


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
