"""What the machine's tests share: a recording emitter, a started guest with its console, tiny guests of our own."""

from __future__ import annotations

import gzip
import io
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.events.emitter import Emitter
from harness.machine.boot_wait import BootReport, wait_for_boot
from harness.machine.image import Image, ensure_image
from harness.machine.machine import Machine
from harness.machine.spec import MachineSpec
from harness.transport.serial.console import Console
from tests.patience import scaled


class Recorder:
    """An emitter that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def emit(self, action: str, message: str, *, level: str = "info", **fields: Any) -> None:
        self.events.append((action, {"message": message, "level": level, **fields}))

    def bind(self, **fields: Any) -> Emitter:
        del fields
        return self

    def of(self, action: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == action]


class Guest:
    """A machine of a test and its console."""

    def __init__(self, folder: Path, image: Image | None, variables: dict[str, Any], name: str) -> None:
        spec = MachineSpec.from_vars(name, variables, base=folder)
        assert spec is not None
        self.events = Recorder()
        self.spec = spec
        self.machine = Machine(spec, name=name, folder=folder / f"log-{name}", events=self.events, image=image)
        self.console: Console | None = None

    def start(self, *, hold: bool = True) -> None:
        self.machine.start(Deadline.after(scaled(60)), hold=hold)
        self.console = Console(self.machine.console_address, name=self.machine.name, events=self.events)
        self.console.open(Deadline.after(10))

    def boot(self, *, attached: bool = False) -> BootReport:
        """Starts it, and waits until it is up."""
        self.start()
        assert self.console is not None
        deadline = Deadline.after(self.spec.boot_timeout)
        return wait_for_boot(
            self.console,
            name=self.machine.name,
            events=self.events,
            deadline=deadline,
            stall=self.spec.boot_stall,
            started=time.monotonic(),
            alive=lambda: self.machine.alive,
            last_words=self.machine.last_words,
            attached=attached,
            ready=lambda: self.machine.resume(deadline),
        )

    def log(self) -> bytes:
        return self.machine.console_log.read_bytes()

    def ssh(self, command: str) -> str:
        """What `command` writes, by the ssh program: nothing of ours between us and the guest."""
        image = self.machine.image
        assert image is not None
        known = self.machine.folder / "known_hosts"
        known.write_text("".join(f"[127.0.0.1]:{self.machine.ssh_port} {key}\n" for key in image.host_keys))
        argv = [
            "ssh",
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "ConnectTimeout=60",
        ]
        argv += ["-o", f"UserKnownHostsFile={known}", "-o", "IdentitiesOnly=yes", "-i", str(image.client_key)]
        argv += ["-p", str(self.machine.ssh_port), f"{image.user}@127.0.0.1", command]
        for _ in range(60):
            done = subprocess.run(argv, capture_output=True, text=True, timeout=scaled(120), check=False)
            if done.returncode != 255:
                return done.stdout
            time.sleep(1)
        raise AssertionError(done.stderr)

    def close(self) -> None:
        if self.console is not None:
            self.console.close()
        self.machine.stop()


MakeGuest = Callable[..., Guest]


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[MakeGuest]:
    """Makes guests that end with the test: `guest(image=None, name="guest", **variables)`."""
    made: list[Guest] = []

    def make(image: Image | None = None, name: str = "guest", **variables: Any) -> Guest:
        made.append(Guest(tmp_path, image, variables, name))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def debian() -> Image:
    """The Debian image; built by the first test that needs it where it is not in the cache."""
    return ensure_image("debian", events=Recorder(), deadline=Deadline.after(scaled(1500)), progress=print)


@pytest.fixture
def busybox_initramfs(tmp_path: Path) -> Callable[[str], Path]:
    """Makes an initramfs of nothing but a static busybox and an `/init` with the given commands."""

    def make(commands: str) -> Path:
        place = tmp_path / "foreign.cpio.gz"
        place.write_bytes(gzip.compress(_cpio(commands), 1))
        return place

    return make


def _cpio(commands: str) -> bytes:
    """A newc archive; the format: https://docs.kernel.org/driver-api/early-userspace/buffer-format.html"""
    out = io.BytesIO()
    init = f"#!/bin/busybox sh\nexport PATH=/bin\n{commands}\n".encode()
    links = [(f"bin/{name}", 0o120777, b"busybox") for name in ("sh", "sleep", "echo", "mount", "poweroff")]
    entries: list[tuple[str, int, bytes]] = [
        ("bin", 0o040755, b""),
        ("dev", 0o040755, b""),
        ("proc", 0o040755, b""),
        ("bin/busybox", 0o100755, Path("/usr/bin/busybox").read_bytes()),
        *links,
        ("init", 0o100755, init),
        ("TRAILER!!!", 0, b""),
    ]
    for inode, (name, mode, data) in enumerate(entries, 1):
        encoded = name.encode() + b"\0"
        numbers = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        out.write(b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded)
        out.write(b"\0" * (-out.tell() % 4))
        out.write(data)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()
