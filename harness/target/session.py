"""A target's life in a run: its machine, its console, its link; from power-on to power-off."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.deadline import Deadline
from harness.events import Emitter
from harness.inventory import Host
from harness.machine.boot_wait import wait_for_boot
from harness.machine.image import Image, ensure_image
from harness.machine.machine import Machine
from harness.target.network import SshEndpoint
from harness.target.spec import TargetSpec
from harness.target.target import Target
from harness.transport import ssh_probe
from harness.transport.console import Console
from harness.transport.contract import CommandResult, Transport
from harness.transport.errors import TransportError
from harness.transport.hostkeys import parse_public_keys
from harness.transport.link import Link
from harness.transport.serial import SerialSpec, SerialTransport
from harness.transport.ssh import SshTransport
from harness.transport.ssh_config import SshSpec

IMAGE_TIMEOUT = 1800.0
"""Seconds that building an image may take; it is not part of the boot's time."""


class TargetSession:
    """One target in one run. Methods block; `start` comes first, `stop` or `keep` last, whatever happened between."""

    def __init__(
        self,
        host: Host,
        spec: TargetSpec,
        *,
        folder: Path,
        events: Emitter,
        run: str,
        add_secret: Callable[[str], None],
    ) -> None:
        self._host = host
        self._spec = spec
        self._folder = folder
        self._events = events
        self._run = run
        self._add_secret = add_secret
        self._image: Image | None = None
        self._machine: Machine | None = None
        self._console: Console | None = None
        self._link: Link | None = None
        self._ssh: SshSpec | None = spec.ssh
        self._serial: SerialSpec | None = spec.serial
        self._stages: tuple[tuple[str, float], ...] = ()
