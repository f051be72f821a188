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
    MENU = "menu"
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

# systemd has started all that belongs to an ordinary boot, whatever becomes of the login prompt.
BOOTED = re.compile(
    r"Reached target (?:\S+ - )?(?:multi-user\.target|graphical\.target|Multi-User System|Graphical Interface)"
)


@dataclass(frozen=True, slots=True)
class CauseSign:
    """A line that names the cause of a failure that comes later. Of several the gravest one counts, and of equally
    grave ones the first. `grade`: 3 what is to be booted cannot be read, 2 a disk, a file system or a program of the
    boot fails, 1 what may be a consequence."""

    grade: int
    pattern: re.Pattern[str]


_STATUS = r"(?:\[FAILED\] |\[ TIME \] |systemd\[1\]: )"
CAUSE_SIGNS = (
    # The kernel's init/initramfs.c and init/main.c, block/ and fs/; GRUB's loader.
    CauseSign(
        3,
        re.compile(
            r"Initramfs unpacking failed: .+|Failed to execute /\S* \(error -?\d+\)|Requested init \S+ failed|"
            r"VFS: Cannot open root device .+|^error: (?!no suitable video).+|Starting init: .+ couldn't execute it.*|"
            r"Target filesystem doesn't have requested \S+|run-init: .+|No working init found|No init found\. Try.*|"
            r"/init: .*(?:not found|syntax error|can't open).*|Invalid magic|Wrong Image Format.*|"
            r"Failed to mount API filesystems.*|systemd\[1\]: .*, freezing\.?$|Freezing execution"
        ),
    ),
    CauseSign(
        2,
        re.compile(
            r"(?:EXT[234]|XFS|BTRFS|JBD2)\b.*(?:error|corrupt|[Uu]nable|[Ff]ailed|can't find|bad geometry).*|"
            r"I/O error, dev (?!fd\d|sr\d|loop\d).+|Buffer I/O error on dev (?!fd\d|sr\d|loop\d).+|"
            r"mount: mounting \S+ on \S+ failed.*|UNEXPECTED INCONSISTENCY.*|fsck.*exit (?:status|code) [4-9].*|"
            r"Out of memory: Kill.*|System is deadlocked on memory|No space left on device.*|"
            r"ALERT! .*does not exist.*|Warning: .*does not exist$|"
            rf"{_STATUS}(?:\S+: )?(?:Timed out waiting for device|Failed to (?:start|mount|activate swap)).*|"
            r"Cannot open access to console, the root account is locked.*|modprobe: FATAL: .*"
        ),
    ),
    CauseSign(1, re.compile(r"(?:\[DEPEND\] |systemd\[1\]: )Dependency failed for .*|Gave up waiting for .*device.*")),
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
    BootFailure.MENU: "a menu or a dialogue on its console waits for somebody to choose",
    BootFailure.DEAD: "QEMU ended",
    BootFailure.CONSOLE_LOST: "its console was lost",
    BootFailure.TIMEOUT: "the time for booting ran out",
}

HANDED_OVER = (
    (
        re.compile(r"^Booting from ROM\.*$"),
        "the kernel was started and printed nothing: it is not a kernel for this machine, or its console is another "
        "one (console=ttyS0)",
    ),
    (
        re.compile(r"^Booting from (?:Hard Disk|DVD/CD|Floppy)\.*$"),
        "the disk's boot loader was started and printed nothing: it has no system, or its console is another one",
    ),
)
"""By the last line of a console that went silent, as SeaBIOS prints it (src/boot.c): who was started last."""

NEXT = {
    BootFailure.PANIC: "the panic's lines name the culprit; the whole console is in the target's console log",
    BootFailure.EMERGENCY: "the failed unit stands further up in the target's console log: FAILED, DEPEND",
    BootFailure.INITRAMFS: "compare root= of the kernel's command line with the disks that the machine has",
    BootFailure.NO_BOOT: "is the disk or ISO bootable by this firmware? qemu_kernel boots without a boot loader",
    BootFailure.RESET_LOOP: "the lines before each start, in the target's console log, tell why",
    BootFailure.STALL: "a boot that is merely slow needs a larger boot_stall; a guest without console=ttyS0 stays mute",
    BootFailure.MENU: "nothing was typed there; choose by `harness console`, or give the menu a timeout",
    BootFailure.DEAD: "QEMU's own words are in qemu.log beside the console log",
    BootFailure.CONSOLE_LOST: "did somebody else attach to the console's socket?",
    BootFailure.TIMEOUT: "a slow machine needs a larger boot_timeout",
}
