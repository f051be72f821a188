"""A target's life in a run: its machine, its console, its link; from power-on to power-off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.api.check import Skip
from harness.deadline import Deadline
from harness.errors import UsageError
from harness.events import Emitter
from harness.inventory import Host
from harness.machine.boot import BootObserver, wait_for_boot
from harness.machine.machine import Machine
from harness.machine.spec import MachineSpec
from harness.target.network import SshEndpoint
from harness.target.target import Target
from harness.transport.console import Console
from harness.transport.contract import CommandResult, Transport
from harness.transport.link import Link
from harness.transport.serial import SerialSpec, SerialTransport
from harness.transport.ssh import SshSpec, SshTransport
