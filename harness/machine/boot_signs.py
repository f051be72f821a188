"""What a booting machine says, as a table: the words by which a stage or a failure is known.

Seen on SeaBIOS 1.16, GRUB 2, Linux 5 to 6, Debian 12's initramfs-tools, dracut, NixOS and systemd 252; each text is its
program's own. Lines are matched without their terminal control sequences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """How far a boot has come, in order."""

    FIRMWARE = "firmware"
    KERNEL = "kernel"
    INITRD = "initrd"
    USERSPACE = "userspace"
    LOGIN = "login"

    @property
    def rank(self) -> int:
        return list(Stage).index(self)


class BootFailure(StrEnum):
    """Why a boot cannot be waited for any longer."""

    PANIC = "panic"
    EMERGENCY = "emergency"
    INITRAMFS = "initramfs"
    NO_BOOT = "no_boot"
    RESET_LOOP = "reset_loop"
    STALL = "stall"
    DEAD = "dead"
    CONSOLE_LOST = "console_lost"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class StageSign:
    stage: Stage
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class FailureSign:
    failure: BootFailure
    pattern: re.Pattern[str]


STAGE_SIGNS = (
    StageSign(
        Stage.FIRMWARE,
        re.compile(r"SeaBIOS \(version|\biPXE \d|^Booting from |BdsDxe:|^UEFI |GNU GRUB|^(?:ISO|SYS)LINUX |^U-Boot \d"),
    ),
    StageSign(
        Stage.KERNEL,
        re.compile(
            r"\bLinux version \d|^\[ *\d+\.\d{6}\]|^EFI stub:|^(?:Decompressing|Uncompressing) Linux|Booting the kernel"
        ),
    ),
    StageSign(
        Stage.INITRD,
        re.compile(
            r"^Loading, please wait|^Begin: |Run /init as init process|<<< NixOS Stage 1 >>>|^dracut: |"
            r"Welcome to .*\(?[Ii]nitramfs\)?|running in initrd"
        ),
    ),
    StageSign(
        Stage.USERSPACE,
        re.compile(
            r"^Welcome to .+!$|<<< NixOS Stage 2 >>>|systemd\[1\]: |^\[ *(?:OK|FAILED|DEPEND) *\] |^INIT: version |"
            r"^OpenRC \d|^ \* Starting "
        ),
    ),
)

# A later sign wins over an earlier one of the same line: the last one that holds is taken.
FAILURE_SIGNS = (
    FailureSign(BootFailure.PANIC, re.compile(r"Kernel panic - not syncing")),
    FailureSign(
        BootFailure.EMERGENCY,
        re.compile(
            r"You are in (?:emergency|rescue) mode|Give root password for (?:maintenance|system maintenance)|"
            r"Cannot open access to console, the root account is locked|^Entering (?:emergency|rescue) mode|"
            r"Reached target (?:\S+ - )?(?:emergency|rescue)\.target|Started (?:emergency|rescue)\.service"
        ),
    ),
    FailureSign(
        BootFailure.INITRAMFS,
        re.compile(
            r"ALERT! .* does not exist\. *Dropping to a shell!|^\(initramfs\) ?|^dracut:/# ?|"
            r"An error occurred in stage 1 of the boot process|Gave up waiting for root (?:file system )?device"
        ),
    ),
    FailureSign(BootFailure.NO_BOOT, re.compile(r"^No bootable device|No bootable option or device was found")),
)

# A start anew, where the words cannot stand in an ordinary message.
RESTART = re.compile(r"SeaBIOS \(version|^\[ *0\.0+\] Linux version \d")

# getty's and login's prompt, at the end of a line that was not ended. ``Last login: `` is a greeting.
LOGIN_PROMPT = re.compile(r"(?:^|\s)(?!Last\b)[\w.()~@:/-]+ login: ?$|^login: ?$")
# The kernel's words may follow the prompt on its own line.
LOGIN_WITH_NOISE = re.compile(r"^(?!Last\b)[\w.()-]+ login: *\[ *\d+\.\d{6}\]")
# root@host:~# , / # , bash-5.2$ , [root@nixos:~]# , sh-5.2#
_SHELL = r"^(?:\[?[\w.-]+@[\w.-]+[^#$%]{0,60}|[~/][\w./-]{0,60} |(?:ba|da|z|k)?sh-[\d.]+|host)?[#$%]"
SHELL_PROMPT = re.compile(_SHELL + r" ?$")
SHELL_WITH_NOISE = re.compile(_SHELL + r" *\[ *\d+\.\d{6}\]")

MEANING = {
    BootFailure.PANIC: "its kernel panicked",
    BootFailure.EMERGENCY: "it stopped in an emergency or rescue shell",
    BootFailure.INITRAMFS: "it stopped in its initramfs: the root file system was not found",
    BootFailure.NO_BOOT: "its firmware found nothing to boot",
    BootFailure.RESET_LOOP: "it starts anew again and again",
    BootFailure.STALL: "its console went silent",
    BootFailure.DEAD: "QEMU ended",
    BootFailure.CONSOLE_LOST: "its console was lost",
    BootFailure.TIMEOUT: "the time for booting ran out",
}

NEXT = {
    BootFailure.PANIC: "the panic's lines name the culprit; the whole console is in the target's console log",
    BootFailure.EMERGENCY: "the failed unit stands further up in the target's console log: FAILED, DEPEND",
    BootFailure.INITRAMFS: "compare root= of the kernel's command line with the disks that the machine has",
    BootFailure.NO_BOOT: "is the disk or ISO bootable by this firmware? qemu_kernel boots without a boot loader",
    BootFailure.RESET_LOOP: "the lines before each start, in the target's console log, tell why",
    BootFailure.STALL: "a boot that is merely slow needs a larger boot_stall; a guest without console=ttyS0 stays mute",
    BootFailure.DEAD: "QEMU's own words are in qemu.log beside the console log",
    BootFailure.CONSOLE_LOST: "did somebody else attach to the console's socket?",
    BootFailure.TIMEOUT: "a slow machine needs a larger boot_timeout",
}
