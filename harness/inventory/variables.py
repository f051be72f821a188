"""Every variable that has a meaning here, in one table: documentation, checks and `did you mean` use it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.inventory import kinds
from harness.inventory.kinds import Kind


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable: its type, its default (None: there is none), an example, and what it means.

    `aliases` are older names of the same thing, looked at when the name itself is not set.
    """

    name: str
    kind: Kind
    default: object
    example: str
    meaning: str
    aliases: tuple[str, ...] = ()

    def read(self, value: object) -> object:
        """The value in its own type. Raises ValueError, saying what was expected."""
        try:
            return self.kind.read(value)
        except (OverflowError, RecursionError):
            raise ValueError(f"expected {self.kind}, got a value beyond any use") from None

    @property
    def ours(self) -> bool:
        """Whether the name is of this program (and not Ansible's)."""
        return not self.name.startswith("ansible_")


_ANSIBLE = (
    Variable(
        "ansible_host",
        kinds.NAME,
        None,
        "192.0.2.7",
        "Where SSH connects to; without it, the host's name.",
        ("ansible_ssh_host",),
    ),
    Variable(
        "ansible_port",
        kinds.PORT,
        None,
        "2222",
        "The SSH port; without it, the SSH configuration's, else 22.",
        ("ansible_ssh_port",),
    ),
    Variable(
        "ansible_user",
        kinds.NAME,
        None,
        "root",
        "Who logs in over SSH; without it, the SSH configuration's, else the current user.",
        ("ansible_ssh_user",),
    ),
    Variable(
        "ansible_password",
        kinds.TEXT,
        None,
        "{{ vaulted_password }}",
        "The SSH password.",
        ("ansible_ssh_pass", "ansible_ssh_password"),
    ),
    Variable(
        "ansible_connection",
        kinds.choice("ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "serial"),
        "ssh",
        "ssh",
        "`serial` leaves SSH out; all others mean SSH. For more than one, see `harness_transports`.",
    ),
    Variable(
        "ansible_timeout",
        kinds.SECONDS,
        None,
        "20",
        "How long connecting over SSH may take.",
        ("ansible_ssh_timeout",),
    ),
    Variable(
        "ansible_ssh_private_key_file",
        kinds.PATH,
        None,
        "keys/id_ed25519",
        "The private key's file.",
        ("ansible_private_key_file",),
    ),
    Variable(
        "ansible_ssh_private_key",
        kinds.TEXT,
        None,
        "{{ vaulted_key }}",
        "The private key itself, as text.",
        ("ansible_private_key",),
    ),
    Variable(
        "ansible_ssh_private_key_passphrase",
        kinds.TEXT,
        None,
        "{{ vaulted_passphrase }}",
        "What opens the private key, or its file.",
        ("ansible_private_key_passphrase", "ansible_ssh_passphrase"),
    ),
    Variable(
        "ansible_ssh_common_args",
        kinds.ARGUMENTS,
        None,
        "-o ProxyJump=bastion",
        "OpenSSH options (`-o`, `-J`, `-F`, `-i`, `-p`, `-l`), honoured where they have a meaning here.",
    ),
    Variable(
        "ansible_ssh_extra_args",
        kinds.ARGUMENTS,
        None,
        "-o ServerAliveInterval=5",
        "As `ansible_ssh_common_args`, behind it.",
    ),
    Variable(
        "ansible_ssh_args",
        kinds.ARGUMENTS,
        None,
        "-o Compression=yes",
        "As `ansible_ssh_common_args`, before it.",
    ),
    Variable(
        "ansible_host_key_checking",
        kinds.BOOLEAN,
        None,
        "no",
        "Whether an unknown or changed host key ends the connection.",
        ("ansible_ssh_host_key_checking",),
    ),
    Variable(
        "ansible_ssh_retries",
        kinds.COUNT,
        None,
        "3",
        "How often connecting is tried again, within the deadline.",
    ),
    Variable(
        "ansible_shell_executable",
        kinds.PATH,
        "/bin/sh",
        "/bin/sh",
        "The POSIX shell on the target.",
        ("ansible_executable",),
    ),
    Variable("ansible_become", kinds.BOOLEAN, False, "yes", "Whether commands run as another user.", ()),
    Variable(
        "ansible_become_method",
        kinds.choice("sudo", "su", "doas", "ansible.builtin.sudo", "ansible.builtin.su", "community.general.doas"),
        "sudo",
        "sudo",
        "How that other user is become.",
    ),
    Variable("ansible_become_user", kinds.NAME, "root", "root", "Who is become."),
    Variable(
        "ansible_become_password",
        kinds.TEXT,
        None,
        "{{ vaulted_password }}",
        "The password that becoming asks for.",
        ("ansible_become_pass", "ansible_sudo_pass", "ansible_su_pass"),
    ),
    Variable("ansible_become_exe", kinds.PATH, None, "/usr/local/bin/sudo", "The program that becomes."),
    Variable("ansible_become_flags", kinds.TEXT, None, "-H -S", "Its options."),
)

_SERIAL = (
    Variable(
        "serial_socket",
        kinds.SERIAL,
        None,
        "run/console.sock",
        "The serial console: path of a Unix socket or device, `unix://PATH`, `socket://HOST:PORT`, `rfc2217://HOST:PORT`.",
    ),
    Variable("serial_baudrate", kinds.BAUD, 115200, "9600", "The line's speed, for devices and RFC 2217."),
    Variable(
        "serial_user",
        kinds.NAME,
        None,
        "root",
        "Who logs in on the console; without it `ansible_user`, else root.",
    ),
    Variable(
        "serial_password",
        kinds.TEXT,
        None,
        "{{ vaulted_password }}",
        "The password there; without it `ansible_password`.",
    ),
    Variable(
        "serial_trusted",
        kinds.BOOLEAN,
        False,
        "yes",
        "The network to a console at `socket://` or `rfc2217://` is trusted: host keys read there are believed.",
    ),
    Variable(
        "console_hands_off",
        kinds.BOOLEAN,
        False,
        "yes",
        "Nothing is typed on the console but by a person (`harness console`): it is only read.",
    ),
    Variable("serial_login_timeout", kinds.SECONDS, 60, "30", "How long logging in on the console may take."),
    Variable(
        "harness_transports",
        kinds.TRANSPORTS,
        "ssh,serial",
        "serial",
        "The transports of the target in order of preference; those without an address are left out.",
    ),
    Variable(
        "harness_answer_limit",
        kinds.MEMORY,
        256,
        "1G",
        "The most that one command may print, or one file may hold that is read: MiB, or with a unit.",
    ),
)

_TIMES = (
    Variable(
        "boot_timeout",
        kinds.SECONDS,
        300,
        "10m",
        "How long a machine may take from power-on until it answers.",
    ),
    Variable(
        "boot_stall",
        kinds.SECONDS,
        90,
        "2m",
        "How long a booting console may stay silent before it counts as stuck.",
    ),
    Variable(
        "reach_timeout",
        kinds.SECONDS,
        30,
        "2m",
        "How long a host that is up already is tried again when it refuses; then it is unreachable.",
    ),
    Variable(
        "expect_boot",
        kinds.BOOLEAN,
        False,
        "yes",
        "Whether the host may still be booting, so that a refusal means nothing yet; a described machine always may.",
    ),
    Variable("settle", kinds.BOOLEAN, True, "no", "Whether checks wait until the system has settled."),
    Variable("settle_timeout", kinds.SECONDS, 180, "5m", "How long settling may take."),
    Variable("settle_window", kinds.SECONDS_OR_0, 2, "10", "How long a settled state must hold."),
    Variable(
        "expected_failed_units",
        kinds.ITEMS,
        None,
        "[lirc.service, wait-*.service]",
        "Patterns of units that may have failed, or restart again and again, in a target that has settled.",
    ),
    Variable("check_budget", kinds.SECONDS, None, "120", "Total time of each check, instead of the check's own."),
    Variable("check_attempt_timeout", kinds.SECONDS, None, "20", "Time of one attempt, instead of the check's own."),
    Variable("check_interval", kinds.SECONDS_OR_0, None, "2", "Pause between attempts, instead of the check's own."),
    Variable("check_interval_max", kinds.SECONDS, None, "10", "The longest that this pause may grow."),
    Variable("checks_at_once", kinds.CPUS, 4, "1", "How many checks of the target run side by side."),
    Variable("target_deadline", kinds.SECONDS, None, "600", "Time of the whole target: boot, settling, all checks."),
    Variable(
        "check_window",
        kinds.SECONDS_OR_0,
        None,
        "10",
        "How long a state must hold, instead of the check's own.",
    ),
    Variable(
        "timeout_scale",
        kinds.FACTOR,
        1.0,
        "3",
        "Stretches all times of the target: for slow boards and emulation.",
    ),
)

_FINDINGS = (
    Variable(
        "findings_forbidden",
        kinds.FINDINGS,
        "critical",
        "[error, kernel_warning]",
        "What fails the target when its console says it: names of findings, a severity (`error`: that and all that is "
        "graver), `all`, `none`, or `~REGEX` on the report.",
    ),
    Variable(
        "findings_expected",
        kinds.FINDINGS,
        None,
        "[oom_kill, '~I/O error, dev fd0']",
        "What is no problem when its console says it, written in the same way; it wins over `findings_forbidden`.",
    ),
    Variable(
        "findings_required",
        kinds.FINDINGS,
        None,
        "watchdog_reset",
        "What must have been seen by the end, written in the same way, each of them; it is expected too.",
    ),
)

_SOAK = (
    Variable(
        "soak_reset",
        kinds.TEXT,
        None,
        "unit:ssh.service",
        "How the target is put back between two iterations: `none`, `unit:NAME`, `reboot`; and a machine that we start "
        "also `power-cycle`, `cold-boot`, `snapshot`. Without it `snapshot` where that can be had, else `none`.",
    ),
    Variable(
        "soak_faults",
        kinds.ITEMS,
        None,
        "['link-down:5s@0.2', 'kill:cron@10%']",
        "What may befall it in each iteration: `NAME[:ARGUMENT][:SECONDS][@CHANCE]`.",
    ),
    Variable(
        "soak_fault_within",
        kinds.SECONDS_OR_0,
        3,
        "10",
        "The seconds after settling in which an iteration's faults begin.",
    ),
)

_QEMU = (
    Variable(
        "qemu_image",
        kinds.PATH,
        None,
        "debian",
        "The machine's disk: a recipe's name (`debian`) or the path of a qcow2 or raw image.",
    ),
    Variable("qemu_iso", kinds.PATH, None, "images/live.iso", "A CD image to boot from."),
    Variable("qemu_kernel", kinds.PATH, None, "images/vmlinuz", "A kernel to boot directly."),
    Variable("qemu_initrd", kinds.PATH, None, "images/initrd.img", "Its initial RAM disk."),
    Variable("qemu_append", kinds.TEXT, None, "console=ttyS0 root=/dev/vda", "Its command line."),
    Variable("qemu_memory", kinds.MEMORY, 1024, "2G", "Memory: MiB, or with a unit."),
    Variable("qemu_cpus", kinds.CPUS, 2, "4", "Number of virtual CPUs."),
    Variable("qemu_cpu_model", kinds.NAME, None, "max", "`-cpu`; without it, one that suits the accelerator."),
    Variable("qemu_machine", kinds.NAME, "q35", "pc", "`-machine`."),
    Variable(
        "qemu_accel",
        kinds.choice("auto", "kvm", "tcg"),
        "auto",
        "tcg",
        "`auto` takes KVM where a guest is proved to run under it, else emulation.",
    ),
    Variable("qemu_binary", kinds.PATH, "qemu-system-x86_64", "qemu-system-aarch64", "The program."),
    Variable(
        "qemu_disks",
        kinds.ITEMS,
        None,
        "[data.qcow2, 8G]",
        "More disks: paths of images, or sizes of empty ones.",
    ),
    Variable(
        "qemu_disk_mode",
        kinds.choice("overlay", "persistent"),
        "overlay",
        "persistent",
        "`overlay` leaves the images as they are; `persistent` writes into them.",
    ),
    Variable(
        "qemu_args",
        kinds.ARGUMENTS,
        None,
        "-device virtio-rng-pci",
        "More arguments: a list, or a text split like a shell does.",
    ),
    Variable(
        "qemu_ssh_port",
        kinds.FREE_PORT,
        0,
        "2222",
        "The port on this machine that leads to the guest's SSH; 0 takes a free one.",
    ),
    Variable(
        "qemu_ports",
        kinds.FORWARDS,
        None,
        "[8080:80]",
        "More forwarded TCP ports, HOST:GUEST; put them in quotes in YAML.",
    ),
    Variable(
        "qemu_restrict",
        kinds.BOOLEAN,
        True,
        "no",
        "Whether the guest's network is cut off from this machine and all behind it, but for the forwarded ports.",
    ),
    Variable(
        "qemu_console",
        kinds.choice("serial", "virtio"),
        "serial",
        "virtio",
        "The console's device: a UART (`ttyS0`) or a virtio console (`hvc0`). A guest that is no image of ours must be "
        "told to use the latter (`console=hvc0`, and a getty there).",
    ),
    Variable(
        "qemu_console_socket",
        kinds.PATH,
        None,
        "run/vm1.console",
        "Where the console's socket is made; without it, in the run's private folder.",
    ),
    Variable(
        "qemu_qmp_socket",
        kinds.PATH,
        None,
        "run/vm1.qmp",
        "Where QEMU's control socket is made; without it, in the run's private folder.",
    ),
    Variable("qemu_seed", kinds.PATH, None, "seed/", "A folder that is laid over the guest's root at boot."),
    Variable(
        "qemu_start",
        kinds.choice("boot", "snapshot"),
        "boot",
        "snapshot",
        "`boot`, or `snapshot`: booted once, saved when it has settled, and restored from then on, in seconds.",
    ),
)

_SHIPPING = (
    Variable(
        "harness_ship",
        kinds.ITEMS,
        None,
        "[otlp+http://logs.lab:4318]",
        "Where the record of a run with this target is shipped to, the whole of it: URLs of sinks, see "
        "[shipping.md](shipping.md).",
    ),
)

SECTIONS: tuple[tuple[str, tuple[Variable, ...]], ...] = (
    ("SSH and becoming another user (Ansible's names)", _ANSIBLE),
    ("Serial console and transports", _SERIAL),
    ("Times", _TIMES),
    ("Findings on the console", _FINDINGS),
    ("Soak", _SOAK),
    ("QEMU", _QEMU),
    ("Shipping the record", _SHIPPING),
)

VARIABLES: tuple[Variable, ...] = tuple(variable for _, section in SECTIONS for variable in section)
TABLE: dict[str, Variable] = {variable.name: variable for variable in VARIABLES}
BY_ANY_NAME: dict[str, Variable] = {
    name: variable for variable in VARIABLES for name in (variable.name, *variable.aliases)
}
OURS: tuple[str, ...] = tuple(variable.name for variable in VARIABLES if variable.ours)


def markdown() -> str:
    """The table as the documentation shows it."""
    lines: list[str] = []
    for title, section in SECTIONS:
        lines += [
            f"### {title}",
            "",
            "| variable | type | default | example | meaning |",
            "|---|---|---|---|---|",
        ]
        for variable in section:
            default = "" if variable.default is None else f"`{_word(variable.default)}`"
            aliases = f" Also: {', '.join(f'`{alias}`' for alias in variable.aliases)}." if variable.aliases else ""
            lines.append(
                f"| `{variable.name}` | {variable.kind.name} | {default} | `{variable.example}` "
                f"| {variable.meaning}{aliases} |"
            )
        lines.append("")
    return "\n".join(lines)


def _word(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    print(markdown())
