"""What a row of the corpus is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Area(StrEnum):
    """What a fault is in."""

    SSHD = "sshd"
    ACCOUNT = "account"
    PAM = "pam"
    UNITS = "units"
    NETWORK = "network"
    DISK = "disk"
    MEMORY = "memory"
    TIME = "time"
    CONSOLE = "console"
    KERNEL = "kernel"
    INITRAMFS = "initramfs"
    FIRMWARE = "firmware"
    BOOT = "boot"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, how it is planted, and what has to be said of it.

    `plant` is run by root's shell on a machine that was restored; with `breaks_ssh` it is left running by itself, and
    the machine is looked at `settles` seconds later. `variables` are host variables for this fault; with `boots` the
    machine is booted with them, and nothing is planted. `files` are made on this machine, below a folder that
    `{folder}` stands for in variables. `cause` must match the first sentence that `run` and `why` print, upper case or
    lower; `run` and `why` are the exit codes, None where it may be any. `quick`: one of those that CI plants.
    """

    name: str
    area: Area
    cause: str
    plant: str = ""
    run: int | None = 1
    why: int | None = 1
    breaks_ssh: bool = False
    settles: float = 2.0
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    boots: bool = False
    quick: bool = False
    why_cause: str = ""
    """What `why` has to say, where that differs from `cause`."""


@dataclass(frozen=True, slots=True)
class Healthy:
    """A machine with nothing wrong. `plant` as above; `run` and `why` must end with 0, and report nothing."""

    name: str
    plant: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    boots: bool = False
    options: tuple[str, ...] = ()
    quick: bool = False
