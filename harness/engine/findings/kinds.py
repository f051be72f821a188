"""The kinds of findings, as a table: how each begins on a console, goes on and ends.

The texts are the programs' own: the kernel's of 3.x to 6.x (x86, arm, arm64, RISC-V, MIPS, PowerPC), systemd's of 240
to 257, U-Boot's. The first kind that matches a line is taken. `docs/findings.md` shows the table.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from harness.engine.findings.finding import Severity
from harness.machine.boot_signs import FAILURE_SIGNS, BootFailure

CRITICAL, ERROR, WARNING = Severity.CRITICAL, Severity.ERROR, Severity.WARNING
QUIET = 2.0
"""Seconds without another line of its own after which a report has ended."""

KERNEL_DOCS = "https://docs.kernel.org/"
_BUGS = f"{KERNEL_DOCS}admin-guide/bug-hunting.html"
_LOCKUPS = f"{KERNEL_DOCS}admin-guide/lockup-watchdogs.html"
_UNITS = "https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html"
_DEBUG = "https://systemd.io/DEBUGGING/"


_compiled = functools.cache(re.compile)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression, compiled when a line is first held against it: many a run meets no console."""

    text: str

    def match(self, line: str) -> re.Match[str] | None:
        """Tries it from the line's beginning on."""
        return _compiled(self.text).match(line)


@dataclass(frozen=True, slots=True)
class FindingKind:
    """A kind of finding.

    `start` matches its first line from the beginning on, without a time stamp. `own` matches lines that belong to it
    after that in any case, `body` those that do unless another report begins with them; with neither it is one line
    only. A `body` is a kernel's dump: of two at once no line can be told to be of the one. `end` matches the last line,
    where there is one; else `quiet` seconds of silence end it, on our clock or by the kernel's stamps. `printk`: the
    kernel says it, so a line without a time stamp is no part of it where the kernel stamps its lines. `ends_target`:
    after it nothing on the target answers any more. `reference` tells what it means and what to do.
    """

    name: str
    severity: Severity
    meaning: str
    start: Pattern
    reference: str
    own: Pattern | None = None
    body: Pattern | None = None
    end: Pattern | None = None
    quiet: float = QUIET
    printk: bool = True
    ends_target: bool = False


def _boot(failure: BootFailure) -> str:
    """The words by which a boot's watcher knows the same thing."""
    return next(sign.pattern.pattern for sign in FAILURE_SIGNS if sign.failure is failure)


def _kind(
    name: str, severity: Severity, meaning: str, start: str, reference: str,
    *, own: str = "", trace: str | Pattern | None = None, end: str = "",
    quiet: float = QUIET, printk: bool = True, ends_target: bool = False,
) -> FindingKind:  # fmt: skip
    """`trace`: a call trace belongs to it, and what this matches."""
    body = trace if isinstance(trace, Pattern | None) else Pattern(f"{trace}|{TRACE}" if trace else TRACE)
    return FindingKind(
        name, severity, meaning, Pattern(start), reference,
        own=Pattern(own) if own else None, body=body, end=Pattern(end) if end else None,
        quiet=quiet, printk=printk, ends_target=ends_target,
    )  # fmt: skip


CUT_HERE = re.compile(r"-{8,}\[ cut here \]-{8,}")
"""What stands before a WARNING, a BUG or a UBSAN report (`CUT_HERE` of the kernel's asm-generic/bug.h)."""

ALL = Pattern(".*")
"""For reports that hold whatever the kernel says until they end."""

# What stands below a report's first line: call traces, registers, memory, the modules. Nearly all of it is indented;
# what is not is known by its first word.
_WORDS = (
    r"Modules linked in|CPU|Hardware name|Workqueue|Tainted|Not tainted|Comm|Call [Tt]race|Stack|Backtrace|Code|"
    r"Kernel Offset|Process|Thread|Task dump|task|handlers|NMI backtrace for|Sending NMI|Dumping|page|raw|flags|"
    r"in_atomic|preempt_count|RCU nest depth|irq event stamp|\d+ locks? held by|(?:hard|soft)irqs last|"
    r"INFO: lockdep is turned off|"
    # x86
    r"RIP|RSP|R[A-D]X|R[SBD][IP]|R\d\d|E[A-D]X|E[SBD][IP]|EFLAGS|IP|[CDEFGS]S|CR\d|DR\d|PKRU|ORIG_RAX|PGD|"
    # arm, arm64
    r"PC|LR|pc|lr|sp|fp|ip|pstate|psr|x\d+|r\d+|Flags|Control|Register|Exception stack|Mem abort info|Data abort info|"
    r"user pgtable|swapper pgtable|pgd|"
    # RISC-V, MIPS, PowerPC, OpenRISC
    r"epc|ra|gp|tp|[ast]\d+|status|cause|badaddr|Status|Cause|PrId|BadVA|Insn|NIP|LINK|MSR|GPR\d+|REGS|CTR|XER"
)
TRACE = (
    rf"\s+\S|(?:{_WORDS})\b|</?[#A-Z]|\*?pgd|\[<?[0-9a-f]{{4,16}}>?\]|[0-9a-f]{{3,16}}: |#PF: |\? "
    r'|[\w.]+\+0x|[\w.]+ from |PC is at|LR is at|Function entered|note: |"echo 0 > |Rebooting in |\s*$'
)
# What the kernel says when it kills what ran (`die()`).
_DIE = r"Oops\b|Internal error: |[\w -]+: [0-9a-f]{1,16} \[#\d+\]"
_END = r"-*\[ end (?:trace|Kernel panic)"
_RULE = r"={20,}$"
_UNIT = r"(?:\[(?:FAILED|DEPEND| TIME | SKIP )\] |systemd\[1\]: (?:\S+: )?)"
_BLOCK = "(?:blk_update_request: |print_req_error: |end_request: )?"
_TIMED_OUT = r"Timed out (?:waiting for device|starting|mounting|activating|listening|setting up)"

KINDS: tuple[FindingKind, ...] = (
    _kind(
        "panic", CRITICAL, "the kernel has given up", _boot(BootFailure.PANIC),
        f"{KERNEL_DOCS}admin-guide/kdump/kdump.html", trace="", end=_END, ends_target=True,
    ),
    _kind(
        "memory_corruption", CRITICAL, "memory was used wrongly, as KASAN, KMSAN, KFENCE or the slab allocator saw",
        r"BUG: (?:KASAN|KMSAN|KFENCE): |BUG \S+ \((?:Not t|T)ainted", f"{KERNEL_DOCS}dev-tools/kasan.html",
        trace=ALL, end=rf"{_RULE}|FIX \S+: ",
    ),
    _kind(
        "data_race", ERROR, "KCSAN saw two threads use memory at once",
        r"BUG: KCSAN: ", f"{KERNEL_DOCS}dev-tools/kcsan.html", trace=ALL, end=_RULE,
    ),
    _kind(
        "soft_lockup", CRITICAL, "a CPU stayed in the kernel and ran nothing else",
        r"(?:NMI )?(?:watchdog: )?BUG: soft lockup", _LOCKUPS, trace="", end=_END,
    ),
    _kind(
        "hard_lockup", CRITICAL, "a CPU took no interrupts any more",
        r"(?:NMI )?(?:watchdog: )?(?:CPU ?\d+: )?(?:Watchdog detected hard LOCKUP|CPU \d+ Hard LOCKUP)",
        _LOCKUPS, trace="", end=_END,
    ),
    _kind(
        "workqueue_lockup", CRITICAL, "queued work is not done any more",
        r"BUG: workqueue lockup", f"{KERNEL_DOCS}core-api/workqueue.html", trace="",
    ),
    _kind(
        "general_protection_fault", CRITICAL, "the kernel used an address that can be none",
        r"(?:Oops: )?general protection fault[,:] ", _BUGS, own=_DIE, trace="", end=_END,
    ),
    _kind(
        "oops", CRITICAL, "the kernel made a mistake that killed what ran",
        r"BUG: (?:unable to handle|[Kk]ernel NULL pointer|Unable to handle)|Unable to handle kernel |Unhandled fault: |"
        r"Oops\b.*\[#\d+\]|Internal error: |[\w ,()-]{3,60}: [0-9a-f]{1,16} \[#\d+\]",
        _BUGS, own=_DIE, trace="", end=_END,
    ),
    _kind(
        "bug", CRITICAL, "the kernel found itself in a state that must not be",
        r"BUG: |kernel BUG at ", _BUGS, own=_DIE, trace="", end=_END,
    ),
    _kind(
        "lockdep", ERROR, "locks were taken in an order that can deadlock",
        r"(?:\[ )?(?:INFO|WARNING): (?:possible (?:circular|recursive|irq lock inversion)|inconsistent lock state|"
        r"suspicious RCU usage|bad (?:unlock|contention) balance|\S+-safe -> \S+-unsafe lock order|held lock freed|"
        r"lock held when returning|Nested lock was not taken|.* still has locks held|[Ii]nvalid wait context)"
        r"|\[ BUG: (?:Invalid wait context|bad (?:unlock|contention) balance)",
        f"{KERNEL_DOCS}locking/lockdep-design.html", trace=ALL, end=r" </TASK>",
    ),
    _kind(
        "undefined_behaviour", ERROR, "UBSAN saw the kernel do what C does not define",
        r"UBSAN: ", f"{KERNEL_DOCS}dev-tools/ubsan.html", trace=r".*(?:type|value|overflow|pointer|zero)\b",
        end=rf"{_END}|{_RULE}",
    ),
    _kind(
        "kernel_warning", WARNING, "the kernel met what its programmers held to be impossible",
        r"WARNING: (?:CPU: \d+ PID: |\S+:\d+ at )", _BUGS, trace="", end=_END,
    ),
    _kind(
        "rcu_stall", ERROR, "a CPU kept the kernel from tidying up; or the host of an emulated guest was too busy",
        r"(?:rcu: )?INFO: rcu\w* (?:self-)?detected (?:expedited )?stall", f"{KERNEL_DOCS}RCU/stallwarn.html",
        # It waits ten seconds for the stalled CPU to say where it is.
        trace=r"(?:rcu: )?(?!INFO: rcu)\S+ .*(?:rcu|kthread)|rcu: |INFO: Stall ended", quiet=12.0,
    ),
    _kind(
        "hung_task", ERROR, "a task waits for something that does not come",
        r"INFO: task \S.* blocked (?:for more than|in I/O wait)",
        f"{KERNEL_DOCS}admin-guide/sysctl/kernel.html#hung-task-timeout-secs", trace="",
    ),
    _kind(
        "unhandled_interrupt", ERROR, "an interrupt that no driver wanted was turned off",
        r"irq \d+: nobody cared", f"{KERNEL_DOCS}admin-guide/kernel-parameters.html", trace="", end=r"Disabling IRQ #",
    ),
    _kind(
        "oom_kill", ERROR, "memory ran out, and a process was killed for it",
        r"\S.* invoked oom-killer: |(?:Memory cgroup )?[Oo]ut of memory(?: \([^)]*\))?: Kill(?:ed)? process ",
        f"{KERNEL_DOCS}admin-guide/mm/concepts.html#oom-killer", trace=ALL,
        end=r".*Kill(?:ed)? process \d|Out of memory and no killable",
    ),
    _kind(
        "allocation_failure", WARNING, "the kernel got no memory that it wanted at once",
        r"\S.*: page allocation (?:failure|stalls)", f"{KERNEL_DOCS}admin-guide/mm/concepts.html",
        trace=r"Mem-Info|Node \d|DMA|Normal|\d+ |lowmem_reserve|Free swap|Total swap",
    ),
    _kind(
        "segfault", ERROR, "a program crashed",
        r"(?:traps: )?\S.{0,40}\[\d+\](?:: segfault at |: unhandled (?:signal|exception|page fault)"
        r"|: potentially unexpected fatal signal| general protection (?:fault )?ip:| trap [\w ]+ ip:)",
        "https://man7.org/linux/man-pages/man7/signal.7.html", own=r"Code: |(?:pc|epc|x\d+|r\d+) ?: ",
    ),
    _kind(
        "core_dump", ERROR, "a program crashed and left its memory",
        r"systemd-coredump\[\d+\]: (?:\[\S+\] )?Process \d+ .* (?:dumped core|terminated abnormally)",
        "https://www.freedesktop.org/software/systemd/man/latest/coredumpctl.html",
    ),
    _kind(
        "hardware_error", ERROR, "the hardware reports a fault of its own (machine check, ECC)",
        r"(?:mce: |\{\d+\})?\[Hardware Error\]: |EDAC \S+: \d+ [CU]E |mce: CPU\S* .*Machine Check Exception",
        f"{KERNEL_DOCS}admin-guide/RAS/main.html", own=r"(?:mce: |\{\d+\})?\[Hardware Error\]: |EDAC ",
    ),
    _kind(
        "pcie_error", WARNING, "a PCI Express link reports errors",
        r"\S+ [0-9a-f:.]+: (?:AER: (?:Multiple )?(?:Corrected|Uncorrect\w+)|PCIe Bus Error: )",
        f"{KERNEL_DOCS}PCI/pcieaer-howto.html",
        own=r"\S+ [0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f.]+: (?:AER|PCIe| )",
    ),
    _kind(
        "overheating", ERROR, "it is too hot, and shuts down for it",
        r".*(?:critical temperature reached|Temperature too high, shutting|HARDWARE PROTECTION shutdown)",
        f"{KERNEL_DOCS}driver-api/thermal/sysfs-api.html",
    ),
    _kind(
        "under_voltage", WARNING, "the board's power supply is too weak",
        r".*[Uu]nder-?voltage detected", "https://www.raspberrypi.com/documentation/computers/raspberry-pi.html",
    ),
    _kind(
        "ext_error", ERROR, "an ext2, ext3 or ext4 file system is damaged",
        r"EXT[234]-fs error |JBD2: (?:Detected IO errors|Error -?\d+)|Aborting journal on device|"
        r"EXT[234]-fs \(\S+\): (?:Delayed block allocation failed|This should not happen|failed to convert)",
        f"{KERNEL_DOCS}admin-guide/ext4.html",
        own=r"EXT[234]-fs error |EXT[234]-fs \(\S+\): (?!Remounting)|JBD2: |Aborting journal",
    ),
    _kind(
        "xfs_error", ERROR, "an XFS file system is damaged",
        r"XFS \(\S+\): (?:.*[Cc]orruption|.*I/O error|Internal error|.*[Ss]hutting down|Failing async write)",
        f"{KERNEL_DOCS}admin-guide/xfs.html", own=r"XFS \(", trace=r"[0-9a-f]{8}: ",
    ),
    _kind(
        "btrfs_error", ERROR, "a Btrfs file system is damaged or full",
        r"BTRFS:? (?:error|critical) ", "https://btrfs.readthedocs.io/en/latest/trouble-index.html",
        own=r"BTRFS:? (?!info .*forced readonly)",
    ),
    _kind(
        "read_only", ERROR, "a file system was made read-only because of errors",
        r".*(?:[Rr]emounting filesystem read-only|forced readonly|[Ff]ilesystem has been set read-only|"
        r"switched to read-only mode)",
        "https://man7.org/linux/man-pages/man8/mount.8.html",
    ),
    _kind(
        "io_error", ERROR, "a disk did not read or write what it was asked to",
        rf"{_BLOCK}(?:critical )?(?:I/O|medium|target|timeout|(?:recoverable )?transport|space allocation|protection) "
        r"error, dev |Buffer I/O error on |"
        r".*rejecting I/O to (?:offline|dead) device|ata\d+(?:\.\d+)?: (?:exception Emask|failed command|disabled)|"
        r"nvme nvme\d+: (?:I/O (?:tag )?\d+.* timeout|controller is down)|Read-error on swap-device",
        f"{KERNEL_DOCS}admin-guide/device-mapper/index.html",
        own=(
            rf"{_BLOCK}[\w/ ]+ error, dev |Buffer I/O error|ata\d+(?:\.\d+)?: |\s+res |s[dr] \S+: |nvme "
        ),
    ),
    _kind(
        "fsck_failed", ERROR, "a file system could not be repaired without a person",
        r".*UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY", "https://man7.org/linux/man-pages/man8/fsck.8.html",
        printk=False,
    ),
    _kind(
        "watchdog_reset", ERROR, "a watchdog reset the machine, or is about to",
        r"(?:softdog|SOFTDOG): Initiating system reboot|watchdog\S*: (?:\S+: )?pretimeout event|Watchdog timer expired|"
        r"Reset (?:cause|reason|status|source)s?: .*(?:WDOG|WDT|[Ww]atch ?dog)",
        f"{KERNEL_DOCS}watchdog/watchdog-api.html", printk=False,
    ),
    _kind(
        "boot_loader", CRITICAL, "the firmware or boot loader found nothing that it can start",
        rf".*?(?:{_boot(BootFailure.NO_BOOT)})|grub rescue> ?$|(?:alloc|free) magic is broken|"
        r"### ERROR ### Please RESET",
        "https://www.gnu.org/software/grub/manual/grub/grub.html", printk=False,
    ),
    _kind(
        "initramfs_shell", CRITICAL, "the boot stopped in the initramfs: the root file system was not found",
        rf".*?(?:{_boot(BootFailure.INITRAMFS)})|dracut: (?:FATAL|Refusing to continue)",
        "https://man7.org/linux/man-pages/man7/bootparam.7.html", printk=False,
        own=rf".*?(?:{_boot(BootFailure.INITRAMFS)})|dracut: |\s+- |.*Common problems:",
        quiet=5.0,
    ),
    _kind(
        "emergency_shell", CRITICAL, "the boot stopped in an emergency or rescue shell",
        rf".*?(?:{_boot(BootFailure.EMERGENCY)})|Press Enter for (?:emergency|maintenance)|Starting Emergency Shell",
        _DEBUG, printk=False, quiet=5.0,
        own=(
            rf".*?(?:{_boot(BootFailure.EMERGENCY)})|Press Enter for|\(?(?:or )?[Pp]ress Control-D|"
            r"See sulogin|system logs, |try again to boot|to boot into default"
        ),
    ),
    _kind(
        "ordering_cycle", ERROR, "units wait for each other, and systemd left one out",
        rf"{_UNIT}.*(?:[Oo]rdering cycle found|Found ordering cycle|Breaking ordering cycle)", _UNITS, printk=False,
        own=r"(?:\[ SKIP \] |systemd\[1\]: \S+: ).*(?:cycle|[Ff]ound dependency on|Job \S+ deleted)",
    ),
    _kind(
        "dependency_failed", ERROR, "a unit was not started because one that it needs was not",
        rf"{_UNIT}Dependency failed for ", _UNITS, printk=False,
    ),
    _kind(
        "timed_out", ERROR, "a device or unit was not there in time", rf"{_UNIT}.*{_TIMED_OUT}", _UNITS, printk=False,
    ),
    _kind(
        "unit_failed", ERROR, "a unit did not start",
        rf"{_UNIT}Failed to (?:start|mount|listen on|activate swap|set up automount|open|reload|isolate)", _DEBUG,
        printk=False, own=r"See '?systemctl status", end=r"See '?systemctl status",
    ),
    _kind(
        "unit_died", ERROR, "a unit's process ended as it should not",
        r"systemd\[1\]: \S+: (?:Failed with result|Watchdog timeout)", _DEBUG, printk=False,
    ),
)  # fmt: skip

# What no console says: another room has seen it, and tells it as a `finding` of that name.
SEEN: tuple[FindingKind, ...] = (
    _kind(
        "host_key_changed", ERROR, "SSH shows another host key than the known one: seen by harness, on no console",
        "(?!)", "https://man7.org/linux/man-pages/man8/sshd.8.html#SSH_KNOWN_HOSTS_FILE_FORMAT", printk=False,
    ),
    _kind(
        "unit_restarted", WARNING, "systemd restarted a unit by itself during the run: seen in its journal",
        "(?!)", _DEBUG, printk=False,
    ),
)  # fmt: skip

BY_NAME: dict[str, FindingKind] = {kind.name: kind for kind in (*KINDS, *SEEN)}
WARNED = BY_NAME["kernel_warning"]
"""What a report is that says `cut here` and nothing that is known."""

# Tried from a line's beginning on, all at once: most lines fail at their first letters.
_STARTS = Pattern("|".join(f"(?P<{kind.name}>{kind.start.text})" for kind in KINDS))


def begins(text: str) -> FindingKind | None:
    """The kind whose report begins with this line (without its time stamp); None where there is none."""
    match = _STARTS.match(text)
    return BY_NAME[match.lastgroup] if match is not None and match.lastgroup is not None else None


def markdown() -> str:
    """The table as the documentation shows it."""
    lines = ["| name | severity | meaning |", "|---|---|---|"]
    lines += [f"| [`{kind.name}`]({kind.reference}) | {kind.severity} | {kind.meaning} |" for kind in BY_NAME.values()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
