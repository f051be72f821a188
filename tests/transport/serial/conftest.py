"""Consoles with real shells behind them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.events.emitter import Emitter, Level
from harness.testing.pty_guest import PtyGuest
from harness.transport.serial.console import Console
from harness.transport.serial.spec import LOGIN_TIMEOUT, SerialSpec
from harness.transport.serial.transport import SerialTransport
from tests.patience import patient


class Recorder:
    """An emitter that keeps what it was given; those bound to it share its list."""

    def __init__(self, events: list[tuple[str, str, dict[str, Any]]] | None = None) -> None:
        self.events = [] if events is None else events

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        self.events.append((action, message, {"level": level, **fields}))

    def bind(self, **fields: Any) -> Emitter:
        del fields
        return Recorder(self.events)

    def of(self, action: str) -> list[dict[str, Any]]:
        return [fields for name, _, fields in list(self.events) if name == action]

    def lines(self) -> list[str]:
        return [fields["text"] for fields in self.of("console.line")]


class Bench:
    """Guests, consoles and transports that are closed in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events = Recorder()
        self._closing: list[Callable[[], None]] = []
        self._count = 0
        self.guests: list[PtyGuest] = []

    def guest(self, argv: list[str], **options: Any) -> PtyGuest:
        self._count += 1
        guest = PtyGuest(argv, self.folder / f"console{self._count}", **options)
        self._closing.append(guest.close)
        self.guests.append(guest)
        return guest

    def console(self, guest: PtyGuest, **options: Any) -> Console:
        console = Console(str(guest.path), name="guest", events=self.events, **options)
        self._closing.append(console.close)
        return console

    def transport(self, console: Console, **spec: Any) -> SerialTransport:
        """Return one whose login may take as long as a loaded machine needs (`login_timeout` is for a quiet one)."""
        spec["login_timeout"] = patient(spec.get("login_timeout", LOGIN_TIMEOUT))
        transport = SerialTransport(console, SerialSpec(console.address, **spec), events=self.events)
        self._closing.append(transport.close)
        return transport

    def shell(self, *argv: str, **options: Any) -> SerialTransport:
        return self.transport(self.console(self.guest(list(argv), **options)))

    def close(self) -> None:
        for close in reversed(self._closing):
            close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    threads = set(threading.enumerate())
    made = Bench(tmp_path)
    yield made
    made.close()
    left = [t for t in threading.enumerate() if t not in threads and t.is_alive() and not t.daemon]
    assert not left


def soon(seconds: float = 30.0) -> Deadline:
    """A deadline that a loaded machine keeps as well."""
    return Deadline.after(patient(seconds))


@pytest.fixture
def runtime_dir() -> Iterator[None]:
    """Put XDG_RUNTIME_DIR back, which benchmarks.damage sets: it is where the owner of a console is noted."""
    before = os.environ.get("XDG_RUNTIME_DIR")
    yield
    if before is None:
        os.environ.pop("XDG_RUNTIME_DIR", None)
    else:
        os.environ["XDG_RUNTIME_DIR"] = before


@pytest.fixture
def within() -> Callable[..., Deadline]:
    return soon
