"""Causes that a peer's own text gives, what a console shows, and what each result of SSH means by itself. Pure."""

# ruff: noqa: E501 - a row of a table is easier to read as one line

from __future__ import annotations

from harness.diagnosis.rules import AT_LOGIN, Certainty, TextRule, at, text_rule
from harness.transport.errors import Contact

_IN_PLACE_OF_SSH = at(
    frozenset((Contact.CLOSED_AFTER_TEXT, Contact.NOT_SSH)),
    text_rule(
        "max-startups", r"Exceeded MaxStartups",
        "sshd at {address} takes no more connections: MaxStartups logins are under way already",
    ),
    text_rule(
        "penalties", r"Not allowed at this time",
        "sshd at {address} shuts us out for a while after failed logins (PerSourcePenalties)",
    ),
    text_rule(
        "other-program", r"(?:^|\n)HTTP/\d|<(?:!DOCTYPE )?html", "at {address} an HTTP server answers, and not sshd",
        lasting=True,
    ),
    text_rule(
        "other-program", r"(?:^|\n)220[ -].*\b(?:E?SMTP|Postfix|Exim|FTP|ftpd)", "at {address} another server answers, and not sshd",
        lasting=True,
    ),
    text_rule("other-program", r"(?:^|\n)RFB \d{3}\.\d{3}", "at {address} a VNC server answers, and not sshd", lasting=True),
    text_rule(
        "other-program", r"(?:^|\n)(?:\+OK |\* OK |-ERR |-DENIED |\$-1|AMQP)", "at {address} another server answers, and not sshd",
        lasting=True,
    ),
    text_rule(
        "telnet", r"(?:^|\n)(?:\S+ )?login: ?$", "at {address} a login prompt answers (telnet?), and not sshd", lasting=True,
    ),
)  # fmt: skip
_BESIDE_A_REFUSAL = at(
    AT_LOGIN,
    text_rule(
        "shell-nologin", r"[Tt]his account is currently not available",
        "the login shell of {user} runs no commands: the account is closed with nologin(8)", lasting=True,
    ),
    text_rule("account-expired", r"[Yy]our account has expired", "the account {user} has expired", lasting=True),
    text_rule(
        "password-expired",
        r"(?:[Pp]assword has expired|required to change your password|[Pp]assword change required|WARNING: Your password)",
        "the password of {user} must be changed before the account can be used", lasting=True,
    ),
    text_rule(
        "nologin-file", r"(?:System is booting up|not permitted to log in yet|System is going down|pam_nologin)",
        "the machine lets no user but root log in at present (pam_nologin(8))",
    ),
    text_rule(
        "force-command", r"(?:This service allows sftp connections only|[Ff]orced command|only (?:sftp|git|rsync))",
        "sshd runs a ForceCommand for {user} in place of our commands", lasting=True,
    ),
    text_rule("disk-full", r"No space left on device", "the machine has no space left on a filesystem"),
    text_rule(
        "no-memory", r"(?:Cannot allocate memory|[Oo]ut of memory|fork: (?:retry: )?Resource temporarily unavailable)",
        "the machine cannot start a process: it is short of memory, or of processes",
    ),
    text_rule(
        "library-missing", r"error while loading shared libraries: (?P<library>\S+?):",
        "the machine's programs cannot start: the library {library} cannot be loaded", lasting=True,
    ),
    text_rule("input-output-error", r"Input/output error", "the machine cannot read its disk (Input/output error)"),
)  # fmt: skip
RECEIVED_RULES: tuple[TextRule, ...] = (*_IN_PLACE_OF_SSH, *_BESIDE_A_REFUSAL)
"""By what the peer sent in place of an identification, beside a refusal, or in a shell's place."""

CONSOLE_RULES: tuple[TextRule, ...] = (
    text_rule(
        "kernel-panic", r"(?<!end )Kernel panic - not syncing: ?(?P<why>[^\r\n]*)", "the kernel has panicked: {why}", lasting=True,
    ),
    text_rule(
        "root-locked", r"Cannot open access to console, the root account is locked",
        "the boot ended in emergency mode, and its shell is closed: the root account is locked", lasting=True,
    ),
    text_rule(
        "maintenance-shell", r"(?:Give root password for maintenance|Enter root password for system maintenance|Press Enter for maintenance)",
        "the boot ended in emergency or rescue mode: the console asks for root's password for maintenance", lasting=True,
    ),
    text_rule(
        "emergency-mode", r"(?:You are in (?P<mode>emergency|rescue) mode|Welcome to (?P<other>emergency|rescue) mode)",
        "the boot ended in emergency or rescue mode", lasting=True,
    ),
    text_rule(
        "fsck-needed", r"(?P<device>/dev/\S+): UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY",
        "the filesystem check of {device} failed: fsck has to be run by hand", lasting=True,
    ),
    text_rule(
        "root-device", r"(?:Gave up waiting for root (?:file system )?device|ALERT! +(?P<device>\S+) does not exist)",
        "the initramfs does not find the root file system's device", lasting=True,
    ),
    text_rule(
        "root-mount", r"(?:Failed to mount \S+ as root file system|mount: mounting (?P<device>\S+) on /root failed: (?P<why>[^\r\n]+))",
        "the initramfs cannot mount the root file system", lasting=True,
    ),
    text_rule("initramfs-shell", r"(?:^|\n)\(initramfs\) ?", "the boot stopped in a shell of the initramfs", lasting=True),
    text_rule("dracut-shell", r"(?:^|\n)dracut:/# ?", "the boot stopped in a shell of the initramfs (dracut)", lasting=True),
    text_rule("grub-rescue", r"(?:^|\n)grub rescue> ?", "GRUB cannot load the system: it stopped in its rescue shell", lasting=True),
    text_rule("grub-shell", r"(?:^|\n)grub> ?", "GRUB stopped at its command line: it has no menu entry to boot", lasting=True),
    text_rule("u-boot-shell", r"(?:^|\n)(?:U-Boot|=)> ?$", "U-Boot stopped at its command line", lasting=True),
    text_rule("uefi-shell", r"(?:UEFI Interactive Shell|(?:^|\n)Shell> )", "the firmware found nothing to boot: its UEFI shell is open", lasting=True),
    text_rule(
        "no-boot-device", r"(?:No bootable device|Boot failed: not a bootable disk|Operating system not found|Missing operating system)",
        "the firmware finds no device to boot from", lasting=True,
    ),
    text_rule(
        "kernel-silent", r"(?:^|\n)Booting from ROM\.*(?=\s*\Z)",
        "the firmware has started the kernel, and nothing was printed since: it is not a kernel for this machine, or its console is another one (console=ttyS0)",
        certainty=Certainty.SHOWN,
    ),
    text_rule(
        "loader-silent", r"(?:^|\n)Booting from (?:Hard Disk|DVD/CD|Floppy)\.*(?=\s*\Z)",
        "the firmware has started the disk's boot loader, and nothing was printed since: it has no system, or its console is another one",
        certainty=Certainty.SHOWN,
    ),
)  # fmt: skip
"""By what a console shows. The first that matches the last boot's lines is taken."""

OUTSIDE: dict[Contact, str] = {
    Contact.UNRESOLVED: "the name of {address} has no address",
    Contact.NO_ROUTE: "the network says that {address} cannot be reached",
    Contact.TIMED_OUT: "nothing at {address} answers a connection: the packets are lost or dropped, or the machine is off",
    Contact.REFUSED: "{address} refuses the connection: nothing listens there, or a packet filter rejects it",
    Contact.RESET: "{address} accepts the connection and resets it before a word: nothing listens behind a forwarded port, or the "
    "server went away",
    Contact.SILENT: "{address} accepts the connection and says nothing: sshd hangs, or behind a forwarded port the machine "
    "drops the packets",
    Contact.CLOSED: "{address} accepts the connection and closes it without a word: nothing listens behind a forwarded port, or the "
    "server turns the connection away",
    Contact.CLOSED_AFTER_TEXT: "{address} closes the connection after text that is no SSH identification",
    Contact.NOT_SSH: "what answers at {address} is no SSH server",
    Contact.KEX: "the key exchange with sshd at {address} fails",
    Contact.HOST_KEY: "the host key of {address} HAS CHANGED: the machine was installed anew, another one has its address, or "
    "somebody is in between",
    Contact.HOST_KEY_UNKNOWN: "the host key of {address} is not known",
    Contact.LOGIN_REFUSED: "sshd at {address} refuses the login of {user}",
    Contact.LOGIN_TIMED_OUT: "sshd at {address} neither accepts nor refuses the login of {user} in time",
    Contact.NO_SHELL: "sshd at {address} accepts the login of {user}, and runs no shell",
    Contact.IN_USE: "sshd at {address} has no channel left",
    Contact.LOST: "the connection to {address} was lost",
    Contact.PANIC: "the kernel has panicked",
    Contact.MISCONFIGURED: "SSH cannot be used as the inventory describes it",
}
"""What each result of SSH says by itself; the sentence where nothing more is known."""

CONSOLE_OUTSIDE: dict[Contact, str] = {
    Contact.LOGIN_REFUSED: "the console refuses the login of {user}",
    Contact.NO_SHELL: "no shell answers on the console",
    Contact.TIMED_OUT: "nothing answers on the console in time",
    Contact.LOST: "the console was lost",
    Contact.PANIC: "the kernel has panicked",
    Contact.IN_USE: "somebody else uses the console",
    Contact.REFUSED: "the console's socket or device cannot be opened",
}
