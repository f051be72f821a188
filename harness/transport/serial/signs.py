"""What the console's own lines say about the machine: a panic, a boot, a login prompt in the shell's place. Pure.

A sign is a suspicion: any program may print such a line. The session asks its shell before it believes one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.transport.errors import Cause


@dataclass(frozen=True, slots=True)
class Sign:
    """`cause` as it would be reported, `text` the line that made us think so."""

    cause: Cause
    text: str


# printk lines from the kernel's panic(), start_kernel() and kernel_restart(); agetty's prompt; firmware's first words.
_SIGNS = (
    (Cause.PANIC, re.compile(rb"Kernel panic - not syncing[^\n]*")),
    (Cause.REBOOT, re.compile(rb"(?:^|\n)(?:\[ *0\.000000\] )?Linux version \d[^\n]*")),
    (Cause.REBOOT, re.compile(rb"reboot: (?:Restarting system|System halted|Power down)[^\n]*")),
    (Cause.REBOOT, re.compile(rb"(?:^|\n)(?:U-Boot (?:SPL )?20\d\d\.\d\d|SeaBIOS \(version|iPXE \d)[^\n]*")),
    (Cause.NO_SHELL, re.compile(rb"(?:^|\n)[\w.-]+ login: *$")),
    # A question of ours is one word, `~S~...`: another shell took it for a command's name, or for a user's.
    (Cause.NO_SHELL, re.compile(rb"~[A-Z]~[^ :\n]+: (?:command )?not found")),
    (Cause.NO_SHELL, re.compile(rb"(?:not found|nknown (?:command|user)): '?~?[A-Z]~[a-z2-9]{4}~")),
)


def find_sign(text: bytes) -> Sign | None:
    """The gravest sign in `text` (control sequences and carriage returns already taken out)."""
    for cause, pattern in _SIGNS:
        match = pattern.search(text)
        if match:
            return Sign(cause, match[0].decode("utf-8", "backslashreplace").strip())
    return None
