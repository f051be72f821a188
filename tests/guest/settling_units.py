"""The units that a guest gets for the tests of settling: one of each kind that a wait can meet."""

from __future__ import annotations

import shlex

UNITS = {
    "slow.service": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'sleep 600; true'",
    "after-slow.service": "[Unit]\nAfter=slow.service\n[Service]\nExecStart=/bin/sleep 1000",
    "behind.service": "[Unit]\nAfter=after-slow.service\n[Service]\nExecStart=/bin/sleep 1000",
    "silent.service": "[Service]\nType=notify\nExecStart=/bin/sleep 1000",
    "reloads.service": "[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/sleep 600",
    "stops.service": "[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/sleep 600",
    "flapper.service": (
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=300ms\nExecStart=/bin/sleep 0.3"
    ),
    "waiter.service": "[Service]\nRestart=always\nRestartSec=600\nExecStart=/bin/true",
    "third.service": "[Service]\nRestart=on-failure\nRestartSec=200ms\nExecStart=/bin/sh /run/third.sh",
    "broken.service": "[Service]\nExecStart=/bin/sh -c 'echo the disk is on fire; sleep 0.3; exit 3'",
    "killed.service": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'kill -KILL $$$$'",
    "limited.service": "[Service]\nRestart=always\nRestartSec=10ms\nExecStart=/bin/false",
    "bad.service": "[Service]\nExecStart=",
    "unmet.service": "[Unit]\nConditionPathExists=/nope\n[Service]\nExecStart=/bin/sleep 1000",
    "asserted.service": "[Unit]\nAssertPathExists=/nope\n[Service]\nExecStart=/bin/sleep 1000",
    "refused.service": "[Service]\nExecCondition=/bin/false\nExecStart=/bin/sleep 1000",
    "needy.service": (
        "[Unit]\nRequires=broken-oneshot.service\nAfter=broken-oneshot.service\n[Service]\nExecStart=/bin/sleep 1000"
    ),
    "broken-oneshot.service": "[Service]\nType=oneshot\nExecStart=/bin/false",
    "done.service": "[Service]\nType=oneshot\nExecStart=/bin/true",
    "remains.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true",
    "stopped.service": "[Service]\nExecStart=/bin/sleep 1000",
    "unasked.service": "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target",
    "lazy.socket": "[Socket]\nListenStream=/run/lazy.sock",
    "lazy.service": "[Service]\nExecStart=/bin/sleep 1000",
    "tick.timer": "[Timer]\nOnActiveSec=1h",
    "tick.service": "[Service]\nType=oneshot\nExecStart=/bin/true",
    "watch.path": "[Path]\nPathExists=/run/nope",
    "watch.service": "[Service]\nType=oneshot\nExecStart=/bin/true",
    "worker@.service": "[Service]\nExecStart=/bin/sleep 100%i",
    "mnt.mount": "[Mount]\nWhat=tmpfs\nWhere=/mnt\nType=tmpfs",
    "opt.mount": "[Mount]\nWhat=/dev/disk/by-label/absent\nWhere=/opt",
    "bound.service": "[Unit]\nBindsTo=dev-absent.device\nAfter=dev-absent.device\n[Service]\nExecStart=/bin/true",
    "unbound.service": "[Unit]\nBindsTo=dev-absent.device\n[Service]\nExecStart=/bin/true",
    "pre-nixos.service": (
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo preparing; systemctl reload-or-restart late; echo done'"
    ),
    "late.service": "[Unit]\nAfter=pre-nixos.service\n[Service]\nExecStart=/bin/sleep 1000",
    "background.service": ("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'systemctl restart later & sleep 600; true'"),
    "finite.service": (
        "[Service]\nType=oneshot\nTimeoutStartSec=1h\nExecStart=/bin/sh -c 'systemctl restart last; true'"
    ),
    "last.service": "[Unit]\nAfter=finite.service\n[Service]\nExecStart=/bin/sleep 1000",
    "later.service": "[Unit]\nAfter=background.service\n[Service]\nExecStart=/bin/sleep 1000",
    "one.service": "[Unit]\nAfter=two.service\n[Service]\nType=oneshot\nExecStart=/bin/true",
    "two.service": "[Unit]\nAfter=one.service\n[Service]\nType=oneshot\nExecStart=/bin/true",
    "circle.target": "[Unit]\nWants=one.service two.service",
    "left.service": "[Unit]\nAfter=gate.service\n[Service]\nExecStart=/bin/true",
    "right.service": "[Unit]\nAfter=gate.service\n[Service]\nExecStart=/bin/true",
    "gate.service": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'while [ ! -e /run/gate ]; do sleep 0.1; done'",
}

USER_UNITS = {
    "own-pre.service": "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'systemctl --user restart own-late; true'",
    "own-late.service": "[Unit]\nAfter=own-pre.service\n[Service]\nExecStart=/bin/sleep 1000",
    "own-done.service": "[Service]\nType=oneshot\nExecStart=/bin/true",
    # journald finds out whose words they are while the process lives.
    "own-broken.service": "[Service]\nExecStart=/bin/sh -c 'echo no such file; sleep 1; exit 2'",
}

_THIRD = (
    "n=$(cat /run/third 2>/dev/null); n=$((n + 1)); echo $n > /run/third; [ $n -ge 3 ] || exit 1; exec sleep 1000\n"
)

# What systemctl says where a start fails is of no interest: it is the units that are looked at. Only the first line of
# each is for every guest; all of it takes an emulated one a minute.
QUIET = """\
systemctl start done lazy.socket tick.timer worker@7 third broken waiter unmet
"""
QUIET_TOO = """\
systemctl start remains stopped watch.path mnt.mount reloads stops limited killed
systemctl start asserted; systemctl start refused; systemctl start needy
systemctl start circle.target
systemctl stop stopped
"""

# Left and right get their cycle while they wait, when no transaction looks for one.
BUSY = """\
systemctl start --no-block slow; systemctl start --no-block gate; systemctl start --no-block left right after-slow
systemctl start --no-block bound pre-nixos
echo '[Unit]
After=right.service' > /run/systemd/system/left.service.d/more.conf
echo '[Unit]
After=left.service' > /run/systemd/system/right.service.d/more.conf
systemctl daemon-reload
touch /run/gate
"""
BUSY_TOO = """\
systemctl start --no-block behind silent opt.mount background finite
systemctl reload --no-block reloads; systemctl stop --no-block stops
"""

# The guest has no libpam-systemd, which gives a user's manager its folder elsewhere.
USER = """\
useradd -m alice; u=$(id -u alice)
printf 'account required pam_permit.so\\nsession required pam_permit.so\\n' > /etc/pam.d/systemd-user
mkdir -p /run/systemd/system/user@.service.d
printf '[Service]\\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\\n' > /run/systemd/system/user@.service.d/dir.conf
systemctl daemon-reload; loginctl enable-linger alice; systemctl start user@$u
"""

USER_START = """\
s() { runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/$(id -u alice) systemctl --user "$@"; }
s start own-done; s start own-broken; s start --no-block own-pre
"""


def quiet(*, every: bool) -> str:
    """A shell script that lays the units down and starts some that leave the queue empty, or every one of them."""
    lines = ["cd /run/systemd/system; mkdir -p left.service.d right.service.d; ln -sf /dev/null hidden.service"]
    lines += [_file(name, text) for name, text in UNITS.items()]
    lines += [_file("/run/third.sh", _THIRD), USER, "d=/run/user/$u/systemd/user; mkdir -p $d; cd $d"]
    lines += [_file(name, text) for name, text in USER_UNITS.items()]
    lines += ["chown -R alice $d", QUIET, QUIET_TOO if every else "", USER_START, "true"]
    return "\n".join(lines)


def busy(*, every: bool) -> str:
    """A shell script that fills the queue with jobs that wait."""
    return (BUSY_TOO if every else "") + BUSY


def _file(path: str, text: str) -> str:
    return f"printf '%s\\n' {shlex.quote(text)} > {shlex.quote(path)}"
