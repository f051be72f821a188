"""The corpus: what is planted, and the cause that has to be named. For Debian 12 with systemd 252 and OpenSSH 9.2."""

from __future__ import annotations

from collections.abc import Mapping

from .fault import Area, Fault, Healthy


def unit(name: str, service: str, *, before: str = "", start: bool = True) -> str:
    """Return a script that makes a unit (`before` are lines of its [Unit]) and has it started."""
    lines = [*(["[Unit]", *before.split("\n")] if before else []), "[Service]", *service.split("\n")]
    words = " ".join(f"'{line}'" for line in lines)
    script = f"printf '%s\\n' {words} > /run/systemd/system/{name}.service; systemctl daemon-reload"
    return f"{script}; systemctl start --no-block {name}" if start else script


def sshd(*settings: str) -> str:
    """Return a script that gives sshd settings which win over all others, and restarts it."""
    lines = " ".join(f"'{line}'" for line in settings)
    return f"printf '%s\\n' {lines} > /etc/ssh/sshd_config.d/00-fault.conf; systemctl restart ssh"


def drop_in(text: str, *, name: str = "ssh", restart: str = "systemctl restart --no-block") -> str:
    """Return a script that adds lines to a unit, and restarts it."""
    words = " ".join(f"'{line}'" for line in text.split("\n"))
    folder = f"/run/systemd/system/{name}.service.d"
    return f"mkdir -p {folder}; printf '%s\\n' {words} > {folder}/fault.conf; systemctl daemon-reload; {restart} {name}"


LISTENER = (
    "systemctl stop ssh; setsid -f perl -MIO::Socket::INET -e "
    "'$s = IO::Socket::INET->new(LocalPort => 22, Listen => 5, ReuseAddr => 1); while ($c = $s->accept) "
    '{ print $c "HTTP/1.0 400 Bad Request\\r\\n\\r\\n"; close $c }\' > /dev/null 2>&1 < /dev/null; sleep 0.5'
)
KEYS = "/root/.ssh/authorized_keys"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINZ8q9AG7WpvZFqz6c1hYl2pLiusoWjxf7U+BWi9qR7G other"

S, A, P, U = Area.SSHD, Area.ACCOUNT, Area.PAM, Area.UNITS

RESTORED: tuple[Fault, ...] = (
    # -- sshd and its settings
    Fault("sshd-masked", S, r"ssh\.service is masked", "systemctl mask --now ssh", quick=True),
    Fault(
        "sshd-stopped",
        S,
        r"ssh\.service.*(?:was stopped|does not run|is inactive)",
        "systemctl stop ssh",
    ),
    Fault(
        "sshd-bad-config",
        S,
        r"Bad configuration option: Protokoll|Protokoll",
        "echo Protokoll 2 >> /etc/ssh/sshd_config; systemctl restart ssh",
    ),
    Fault("sshd-no-host-keys", S, r"no hostkeys available", "rm /etc/ssh/ssh_host_*; systemctl restart ssh"),
    Fault(
        "sshd-removed",
        S,
        r"/usr/sbin/sshd.*(?:No such file|does not exist)|not installed|203",
        "systemctl stop ssh; mv /usr/sbin/sshd /usr/sbin/sshd.away; systemctl start ssh",
    ),
    Fault("sshd-port-taken", S, r"Address already in use|perl", f"{LISTENER}; systemctl start ssh"),
    Fault("other-program-on-the-port", S, r"perl|HTTP/1\.0 400 Bad Request", LISTENER),
    Fault("sshd-other-port", S, r"port 2222", sshd("Port 2222")),
    Fault("sshd-loopback-only", S, r"127\.0\.0\.1", sshd("ListenAddress 127.0.0.1")),
    Fault("sshd-permit-root-login", S, r"PermitRootLogin|ROOT LOGIN REFUSED", sshd("PermitRootLogin no")),
    Fault("sshd-allow-users", S, r"AllowUsers", sshd("AllowUsers alice")),
    Fault("sshd-deny-users", S, r"DenyUsers", sshd("DenyUsers root")),
    Fault("sshd-allow-groups", S, r"AllowGroups", sshd("AllowGroups wheel")),
    Fault("sshd-no-public-keys", S, r"PubkeyAuthentication", sshd("PubkeyAuthentication no")),
    Fault("sshd-no-keys-file", S, r"AuthorizedKeysFile", sshd("AuthorizedKeysFile none")),
    Fault("sshd-force-command", S, r"ForceCommand", sshd("ForceCommand /bin/false")),
    Fault("sshd-two-methods", S, r"AuthenticationMethods", sshd("AuthenticationMethods publickey,password")),
    Fault(
        "sshd-max-startups",
        S,
        r"MaxStartups",
        f"{sshd('MaxStartups 1', 'LoginGraceTime 600')}; setsid -f perl -MIO::Socket::INET -e "
        "'@c = map { IO::Socket::INET->new(\"127.0.0.1:22\") } 1 .. 4; sleep 900' > /dev/null 2>&1 < /dev/null; sleep 1",
    ),
    Fault(
        "sshd-use-dns",
        S,
        r"UseDNS|name service|name server",
        f"echo nameserver 192.0.2.1 > /etc/resolv.conf; {sshd('UseDNS yes')}",
        run=None,
        why=None,
    ),
    Fault(
        "sshd-frozen",
        S,
        r"(?:ssh\.service|sshd).*(?:stopped|state T|frozen|SIGSTOP)",
        "kill -STOP $(cat /run/sshd.pid)",
    ),
    Fault("sshd-freezer", S, r"(?:ssh\.service|sshd).*(?:frozen|freez)", "systemctl freeze ssh", breaks_ssh=True),
    Fault("sshd-hosts-deny", S, r"hosts\.deny", "echo 'sshd: ALL' > /etc/hosts.deny"),
    Fault(
        "sshd-host-key-changed",
        S,
        r"host key",
        "rm /etc/ssh/ssh_host_*; ssh-keygen -A > /dev/null; systemctl restart ssh",
        run=None,
        why=None,
    ),
    Fault(
        "sshd-restarts",
        S,
        r"ssh\.service.*(?:flapping|restart)",
        drop_in("[Service]\nRuntimeMaxSec=2\nRestart=always\nStartLimitIntervalSec=0"),
        settles=4.0,
    ),
    # -- sshd's unit
    Fault("sshd-start-hangs", S, r"sleep 600", drop_in("[Service]\nExecStartPre=/bin/sleep 600")),
    Fault(
        "sshd-never-ready",
        S,
        r"READY=1",
        drop_in("[Service]\nExecStart=\nExecStart=/bin/sleep 700"),
    ),
    Fault(
        "sshd-start-fails",
        S,
        r"ssh\.service.*(?:failed|exit status 1)",
        drop_in("[Service]\nExecStartPre=/bin/false\nRestart=no"),
    ),
    Fault(
        "sshd-start-limit",
        S,
        r"ssh\.service.*(?:start limit|start-limit-hit)",
        drop_in("[Service]\nExecStartPre=/bin/false\nRestart=always\nRestartSec=0.1"),
        settles=6.0,
    ),
    Fault("sshd-condition", S, r"ConditionPathExists=/nope", drop_in("[Unit]\nConditionPathExists=/nope")),
    Fault(
        "sshd-requires-nothing",
        S,
        r"nope\.service",
        drop_in(
            "[Unit]\nRequires=nope.service\nAfter=nope.service",
            restart="systemctl stop ssh; systemctl start --no-block",
        )
        + "; true",  # systemctl refuses the start at once
    ),
    Fault(
        "sshd-no-exec-start",
        S,
        r"no ExecStart|bad-setting|cannot be loaded",
        drop_in("[Service]\nExecStart=", restart="systemctl stop ssh; systemctl start --no-block") + "; true",
    ),
    Fault(
        "sshd-behind-a-job",
        S,
        r"slow\.service",
        unit("slow", "Type=oneshot\nExecStart=/bin/sleep 600") + "; " + drop_in("[Unit]\nAfter=slow.service"),
    ),
    Fault(
        "sshd-no-processes",
        S,
        r"TasksMax|tasks|fork|Resource temporarily unavailable",
        drop_in("[Service]\nTasksMax=1"),
        run=None,
        why=None,
    ),
    Fault(
        "sshd-no-descriptors",
        S,
        r"Too many open files|LimitNOFILE",
        drop_in("[Service]\nLimitNOFILE=4"),
        run=None,
        why=None,
    ),
    # -- accounts and their files
    Fault(
        "keys-missing",
        A,
        r"authorized_keys.*(?:does not exist|missing)|no file with authorized keys",
        f"rm {KEYS}",
    ),
    Fault("keys-of-another", A, r"key that we offer is not among|authorized keys", f"echo '{OTHER_KEY}' > {KEYS}"),
    Fault("keys-empty", A, r"authorized keys.*empty", f": > {KEYS}"),
    Fault("keys-wrong-owner", A, r"bad ownership or modes", f"chown 101 {KEYS}"),
    Fault("keys-wrong-mode", A, r"bad ownership or modes", f"chmod 666 {KEYS}"),
    Fault("home-writable", A, r"bad ownership or modes.*/root", "chmod 777 /root"),
    Fault("account-expired", A, r"account.*expired", "chage -E 1 root", run=3, why=3),
    Fault("shell-nologin", A, r"nologin|currently not available", "usermod -s /usr/sbin/nologin root", run=3, why=3),
    Fault(
        "shell-missing",
        A,
        r"/bin/gone|/bin/nosuchshell",
        "sed -i '1s#/bin/bash#/bin/nosuchshell#' /etc/passwd",
        run=3,
        why=3,
    ),
    Fault("password-must-change", A, r"password.*(?:changed|expired)", "chage -d 0 root", run=None, why=None),
    # -- PAM
    Fault("pam-denies", P, r"pam", "sed -i '1i account required pam_deny.so' /etc/pam.d/sshd"),
    Fault("pam-module-missing", P, r"pam_nope\.so", "sed -i '1i account required pam_nope.so' /etc/pam.d/sshd"),
    Fault(
        "pam-file-missing",
        P,
        r"pam",
        "mv /etc/pam.d/sshd /etc/pam.d/sshd.away; mv /etc/pam.d/other /etc/pam.d/other.away",
        run=None,
        why=None,
    ),
    Fault("pam-session-fails", P, r"pam|session", "sed -i '1i session required pam_deny.so' /etc/pam.d/sshd"),
    # -- units
    Fault(
        "unit-fails",
        U,
        r"broken\.service failed .*exit status 3.*the disk is on fire",
        unit("broken", 'ExecStart=/bin/sh -c "echo the disk is on fire >&2; exit 3"'),
        quick=True,
    ),
    Fault(
        "unit-hangs",
        U,
        r"hang\.service: start job.*sleep 600",
        unit("hang", "Type=oneshot\nExecStart=/bin/sleep 600"),
    ),
    Fault(
        "unit-crashes", U, r"crash\.service failed .*signal 11", unit("crash", 'ExecStart=/bin/sh -c "kill -SEGV $$$$"')
    ),
    Fault(
        "unit-loops",
        U,
        r"loop\.service.*(?:flapping|automatic restart|restart)",
        unit("loop", "ExecStart=/bin/false\nRestart=always\nRestartSec=1", before="StartLimitIntervalSec=0"),
    ),
    Fault(
        "unit-times-out",
        U,
        r"late\.service failed .*(?:timeout|time-out)",
        unit("late", "Type=notify\nExecStart=/bin/sleep 600\nTimeoutStartSec=2"),
        settles=5.0,
    ),
    Fault(
        "unit-without-program",
        U,
        r"gone\.service failed.*(?:No such file|203)",
        unit("gone", "ExecStart=/usr/bin/nosuchprogram"),
    ),
    Fault(
        "unit-of-nobody",
        U,
        r"whose\.service failed.*(?:217|credentials|user)",
        unit("whose", "User=nosuchuser\nExecStart=/bin/true"),
    ),
    Fault(
        "unit-file-gone",
        U,
        r"away\.service failed",
        unit("away", "ExecStart=/bin/false")
        + "; sleep 1; rm /run/systemd/system/away.service; systemctl daemon-reload",
    ),
    Fault(
        "unit-restarts-slowly",
        U,
        r"slowly\.service",
        unit("slowly", "ExecStart=/bin/sleep 700\nRuntimeMaxSec=6\nRestart=always", before="StartLimitIntervalSec=0"),
        settles=20.0,
        run=None,
        why=None,
    ),
    Fault(
        "unit-waits-for-a-device",
        U,
        r"/dev/vdz",
        "printf '[Mount]\\nWhat=/dev/vdz\\nWhere=/data\\n' > /run/systemd/system/data.mount; systemctl daemon-reload; systemctl start --no-block data.mount",
    ),
    Fault(
        "unit-deadlock",
        U,
        r"deadlock",
        unit("second", "ExecStart=/bin/sleep 900", before="After=first.service", start=False)
        + "; "
        + unit("first", "Type=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/systemctl start second"),
    ),
    Fault(
        "rescue-mode",
        Area.BOOT,
        r"rescue",
        "systemctl isolate rescue.target",
        breaks_ssh=True,
        settles=8.0,
        run=None,
        why=None,
    ),
    Fault(
        "emergency-mode",
        Area.BOOT,
        r"emergency",
        "systemctl isolate emergency.target",
        breaks_ssh=True,
        settles=8.0,
        run=None,
        why=None,
    ),
    # -- the network
    Fault("link-down", Area.NETWORK, r"enp0s2.*down|link.*down", "ip link set enp0s2 down", breaks_ssh=True),
    Fault("no-address", Area.NETWORK, r"(?:no|without).*address|enp0s2", "ip addr flush dev enp0s2", breaks_ssh=True),
    Fault(
        "other-address",
        Area.NETWORK,
        r"10\.9\.9\.9",
        "ip addr flush dev enp0s2; ip addr add 10.9.9.9/24 dev enp0s2",
        breaks_ssh=True,
    ),
    Fault(
        "route-black-hole", Area.NETWORK, r"route that discards", "ip route add blackhole 10.0.2.2/32", breaks_ssh=True
    ),
    Fault(
        "network-card-gone",
        Area.NETWORK,
        r"interface|network card|enp0s2",
        "echo 1 > /sys/class/net/enp0s2/device/../remove",
        breaks_ssh=True,
    ),
    Fault(
        "packets-dropped",
        Area.NETWORK,
        r"traffic control drops",
        "tc qdisc add dev enp0s2 ingress && tc filter add dev enp0s2 parent ffff: protocol ip u32 match ip dport 22 0xffff action drop",
        breaks_ssh=True,
    ),
    # -- disks
    Fault(
        "disk-full",
        Area.DISK,
        r"No space left|full",
        "dd if=/dev/zero of=/fill bs=1M > /dev/null 2>&1; dd if=/dev/zero of=/fill2 bs=4k > /dev/null 2>&1; "
        + unit("writer", 'ExecStart=/bin/sh -c "echo data > /data"'),
        settles=3.0,
    ),
    Fault(
        "disk-read-only",
        Area.DISK,
        r"read-only",
        "mount -o remount,ro / && " + unit("writer", 'ExecStart=/bin/sh -c "echo data > /data"'),
    ),
    Fault(
        "mount-fails",
        Area.DISK,
        r"data\.mount failed.*|/data",
        "dd if=/dev/zero of=/run/blank bs=1M count=2 2> /dev/null; printf '[Mount]\\nWhat=/run/blank\\nWhere=/data\\nType=ext4\\nOptions=loop\\n' > /run/systemd/system/data.mount; systemctl daemon-reload; systemctl start --no-block data.mount",
        settles=4.0,
    ),
    Fault(
        "swap-fails",
        Area.DISK,
        r"\.swap failed",
        "dd if=/dev/zero of=/run/swapfile bs=1M count=2 2> /dev/null; printf '[Swap]\\nWhat=/run/swapfile\\n' > /run/systemd/system/run-swapfile.swap; systemctl daemon-reload; systemctl start --no-block run-swapfile.swap",
        settles=3.0,
    ),
    # -- memory
    Fault(
        "unit-out-of-memory",
        Area.MEMORY,
        r"eater\.service failed .*(?:oom-kill|memory)",
        unit("eater", 'MemoryMax=8M\nMemorySwapMax=0\nExecStart=/usr/bin/perl -e "my @x; push @x, q(x) x 1e6 while 1"'),
        settles=8.0,
    ),
    Fault(
        "machine-out-of-memory",
        Area.MEMORY,
        r"hungry\.service failed .*(?:oom-kill|memory|signal 9)",
        unit("hungry", 'OOMScoreAdjust=1000\nExecStart=/usr/bin/perl -e "my @x; push @x, q(x) x 1e7 while 1"'),
        settles=20.0,
    ),
    # -- time
    Fault(
        "password-expired-by-the-clock",
        Area.TIME,
        r"password.*expired|expired",
        "chage -M 30 root; date -s 2040-01-01 > /dev/null",
        run=None,
        why=None,
    ),
    # -- the console
    Fault("getty-masked", Area.CONSOLE, r"getty|console", "systemctl mask --now serial-getty@ttyS0", why=None),
    Fault(
        "getty-fails",
        Area.CONSOLE,
        r"serial-getty@ttyS0\.service",
        drop_in("[Service]\nExecStart=\nExecStart=/bin/false", name="serial-getty@ttyS0"),
        settles=5.0,
    ),
    Fault(
        "console-password",
        Area.CONSOLE,
        r"login of root was refused|password",
        "echo root:another | chpasswd",
        why=None,
    ),
    # -- the kernel
    Fault(
        "kernel-panic",
        Area.KERNEL,
        r"panic.*sysrq triggered crash|kernel.*panic",
        "echo c > /proc/sysrq-trigger",
        breaks_ssh=True,
        settles=4.0,
        run=3,
        why=3,
    ),
    Fault(
        "machine-off",
        Area.KERNEL,
        r"shut down|ended|not run|not up",
        "systemctl poweroff -ff",
        breaks_ssh=True,
        settles=5.0,
        run=None,
        why=None,
    ),
)

KERNEL_LINE = "root=/dev/vda rootfstype=ext4 rw console=ttyS0,115200 mitigations=off loglevel=6 panic=0 no_timer_check "


def booted(name: str, area: Area, cause: str, **changes: object) -> Fault:
    """Return a fault of the boot: the machine does not come up, and is left for `why`."""
    return Fault(name, area, cause, boots=True, **{"run": 3, "why": None, **changes})  # type: ignore[arg-type]


def line(text: str, *, root: str = "/dev/vda") -> Mapping[str, str]:
    """Return host variables with another kernel command line."""
    return {"qemu_append": KERNEL_LINE.replace("/dev/vda", root) + text}


BOOTED: tuple[Fault, ...] = (
    booted("root-missing", Area.INITRAMFS, r"/dev/vdz", variables=line("", root="/dev/vdz")),
    # (An init that does not exist is no fault here: the initramfs falls back to /sbin/init.)
    booted("init-ends", Area.BOOT, r"Attempted to kill init", variables=line("init=/bin/false")),
    booted("boot-rescue", Area.BOOT, r"rescue", variables=line("systemd.unit=rescue.target")),
    booted("boot-emergency", Area.BOOT, r"emergency", variables=line("systemd.unit=emergency.target")),
    booted(
        "root-type-wrong",
        Area.DISK,
        r"mount|xfs|file system",
        variables={"qemu_append": KERNEL_LINE.replace("ext4", "xfs")},
    ),
    booted(
        "initramfs-damaged",
        Area.INITRAMFS,
        r"Initramfs unpacking failed",
        variables={"qemu_initrd": "{folder}/initrd"},
        files={"initrd": b"\x1f\x8b\x08\x00" + b"\xff" * 4096},
    ),
    booted(
        "fstab-device-missing",
        Area.DISK,
        r"/dev/vdq",
        variables={"qemu_seed": "{folder}/seed"},
        files={"seed/etc/fstab": b"/dev/vdq /data ext4 defaults,x-systemd.device-timeout=5 0 2\n"},
    ),
    booted(
        "nothing-to-boot",
        Area.FIRMWARE,
        r"no device to boot|bootable|nothing to boot",
        variables={"qemu_image": "{folder}/blank.img", "boot_stall": "40"},
        files={"blank.img": bytes(1 << 20)},
    ),
    booted(
        "kernel-is-none",
        Area.FIRMWARE,
        r"kernel|QEMU",
        variables={"qemu_kernel": "{folder}/kernel"},
        files={"kernel": b"no kernel" * 2000},
        run=None,
    ),
    booted("too-little-memory", Area.MEMORY, r"memory|Initramfs unpacking failed", variables={"qemu_memory": "72"}),
    booted(
        "kernel-mute",
        Area.CONSOLE,
        r"silent|console",
        variables={"qemu_append": KERNEL_LINE.replace("console=ttyS0,115200", "console=tty0"), "boot_stall": "40"},
        run=None,
    ),
    # -- this machine
    booted(
        "host-no-kernel-file", Area.HOST, r"/nope/vmlinuz", variables={"qemu_kernel": "/nope/vmlinuz"}, run=2, why=2
    ),
    booted("host-no-qemu", Area.HOST, r"qemu-nope", variables={"qemu_binary": "qemu-nope"}, run=None),
    booted(
        "host-no-image", Area.HOST, r"/nope/disk\.qcow2", variables={"qemu_image": "/nope/disk.qcow2"}, run=2, why=2
    ),
    booted("host-bad-argument", Area.HOST, r"nosuchdevice", variables={"qemu_args": "-device nosuchdevice"}, run=None),
    booted(
        "host-no-key-file", Area.HOST, r"/nope/key", variables={"ansible_ssh_private_key_file": "/nope/key"}, run=None
    ),
    booted(
        "host-name-unknown",
        Area.HOST,
        r"nosuchhost\.invalid",
        variables={"ansible_host": "nosuchhost.invalid", "qemu_image": "", "reach_timeout": "3"},
    ),
    booted(
        "host-port-closed",
        Area.HOST,
        r"refused",
        variables={"ansible_host": "127.0.0.1", "ansible_port": "1", "qemu_image": "", "reach_timeout": "3"},
    ),
)

FAULTS: tuple[Fault, ...] = (*RESTORED, *BOOTED)

HEALTHY: tuple[Healthy, ...] = (
    Healthy("as-it-is"),
    Healthy(
        "loaded",
        "for i in 1 2 3; do setsid -f sh -c 'while :; do :; done' > /dev/null 2>&1 < /dev/null; done",
        options=("--timeout-scale", "3"),
    ),
    Healthy(
        "slow-disk",
        "setsid -f sh -c 'while :; do dd if=/dev/zero of=/slow bs=1M count=20 conv=fsync; done' > /dev/null 2>&1 < /dev/null",
        options=("--timeout-scale", "3"),
    ),
    Healthy(
        "another-shell",
        "cp /bin/dash /usr/local/bin/ash; echo /usr/local/bin/ash >> /etc/shells; usermod -s /usr/local/bin/ash root",
    ),
    Healthy(
        "another-language",
        "echo LANG=de_DE.UTF-8 > /etc/default/locale; echo 'LANGUAGE=de' >> /etc/default/locale; systemctl set-environment LANG=de_DE.UTF-8; systemctl restart serial-getty@ttyS0",
    ),
    Healthy(
        "a-restart-long-ago",
        unit(
            "once",
            'ExecStart=/bin/sh -c "test -e /run/was && exec sleep 9000; touch /run/was; exit 1"\nRestart=on-failure\nRestartSec=0.2',
        )
        + "; sleep 6",
    ),
    Healthy(
        "a-fault-that-was-mended",
        "mv /etc/ssh/sshd_config.d/harness.conf /run/h; echo Protokoll 2 > /etc/ssh/sshd_config.d/x.conf; systemctl restart ssh; rm /etc/ssh/sshd_config.d/x.conf; mv /run/h /etc/ssh/sshd_config.d/harness.conf; journalctl --rotate --vacuum-time=1s > /dev/null 2>&1; systemctl reset-failed; systemctl start ssh",
    ),
    Healthy("logins-on-the-console", "systemctl restart serial-getty@ttyS0", quick=True),
    Healthy(
        "a-noisy-console",
        "setsid -f sh -c 'while :; do echo a line of somebody > /dev/console; sleep 0.2; done' > /dev/null 2>&1 < /dev/null",
    ),
    Healthy(
        "a-message-of-the-day",
        "echo 'Authorized users only. Kernel panic - not syncing: a quotation.' > /etc/motd; echo 'Maintenance on Sunday.' > /etc/issue.net; echo 'Banner /etc/issue.net' > /etc/ssh/sshd_config.d/b.conf; systemctl reload ssh",
    ),
    Healthy("a-clock-behind", "date -s '2 hours ago' > /dev/null"),
    Healthy(
        "an-expected-failure",
        unit("known", "ExecStart=/bin/false") + "; sleep 1",
        variables={"expected_failed_units": "known.service"},
    ),
)

ROWS: tuple[Fault | Healthy, ...] = (*FAULTS, *HEALTHY)
