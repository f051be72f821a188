"""`target.host`: testinfra's modules on a target whose every answer is written down here."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.api.check import Never, NotYet
from harness.deadline import Deadline
from harness.errors import Cancelled
from harness.events import NullEmitter
from harness.target.target import Target
from harness.transport.contract import CommandResult
from harness.transport.errors import Cause, Timeout, TransportLost
from tests.patience import scaled

DEBIAN = {
    "uname -s": "Linux\n",
    "uname -m": "x86_64\n",
    "cat /etc/os-release": "ID=debian\nVERSION_ID='12'\nVERSION_CODENAME=bookworm\n",
    "command -v command": "command\n",
    "test -d /run/systemd/system/": "",
}

Said = str | bytes | tuple[int, str, str] | Exception


class FakeLink:
    """Says what it was told to, and keeps what it was asked."""

    def __init__(self, said: Mapping[str, Said]) -> None:
        self.said = {**DEBIAN, **said}
        self.asked: list[str] = []
        self.options: list[dict[str, Any]] = []

    def run(self, command: str, **options: Any) -> CommandResult:
        self.asked.append(command)
        self.options.append(options)
        said = self.said.get(command, (127, "", f"sh: {command.split()[0]}: not found"))
        if isinstance(said, Exception):
            raise said
        status, out, err = said if isinstance(said, tuple) else (0, said, "")
        data = out if isinstance(out, bytes) else out.encode()
        return CommandResult(command, data, err.encode(), status, "ssh", 0.0, 0.0, 0.0)

    def put(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no file is carried")

    get = put


def a_target(said: Mapping[str, Said] | None = None, **changes: Any) -> tuple[Target, FakeLink]:
    link = FakeLink(said or {})
    target = Target("vm1", (), {}, link, Deadline.after(scaled(30)), NullEmitter())
    return replace(target, **changes), link


def test_modules_ask_the_target() -> None:
    target, link = a_target(
        {
            "systemctl is-active ssh": (3, "activating\n", ""),
            "systemctl is-enabled ssh": "enabled\n",
            "dpkg-query -f '${Status}' -W openssh-server": "install ok installed",
            "stat -Lc %a /etc/shadow": "640\n",
            "command -v ss": "/usr/bin/ss\n",
            "/usr/bin/ss --numeric --listening --tcp": "State R S Local Peer\nLISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n",
            "id -u root": "0\n",
            "getent passwd root": "root:x:0:0:root:/root:/bin/bash\n",
            "cat /proc/mounts": "rootfs / rootfs rw 0 0\n/dev/vda / ext4 rw,relatime 0 0\n",
            "command -v sysctl": "/sbin/sysctl\n",
            "/sbin/sysctl -n vm.swappiness": "60\n",
            "command -v ip": "/sbin/ip\n",
            "/sbin/ip addr show eth0": "    inet 10.0.2.15/24 scope global eth0\n",
            "realpath /bin/ps": "/bin/ps\n",
            "test -e /bin/busybox": (1, "", ""),
            "ps -Aww -o comm:50,pcpu:50,pid:50,pmem:50,lstart:50,args": (
                "COMMAND %CPU PID %MEM STARTED COMMAND\nsshd 0.0 411 0.1 Mon Nov 23 04:00:00 2026 sshd: -D\n"
            ),
            "ps -ww -p 411 -o lstart,ppid": "STARTED PPID\nMon Nov 23 04:00:00 2026 1\n",
        }
    )
    host = target.host
    assert host.service("ssh").is_running is False
    assert host.service("ssh").is_enabled is True
    assert host.package("openssh-server").is_installed is True
    assert host.file("/etc/shadow").mode == 0o640
    assert host.socket("tcp://0.0.0.0:22").is_listening is True
    assert host.socket("tcp://0.0.0.0:23").is_listening is False
    assert (host.user("root").uid, host.user("root").shell) == (0, "/bin/bash")
    assert host.mount_point("/").filesystem == "ext4"
    assert [point.path for point in host.mount_point.get_mountpoints()] == ["/"]
    assert host.sysctl("vm.swappiness") == 60
    assert host.interface("eth0").addresses == ["10.0.2.15"]
    (sshd,) = host.process.filter(comm="sshd")
    assert (sshd.pid, sshd["pid"], sshd.ppid) == (411, 411, 1)
    assert host.system_info.distribution == "debian"
    # What testinfra's own pages show of its objects holds.
    assert host.file("/etc/shadow") == "/etc/shadow"
    assert (repr(host.service("ssh")), repr(host)) == ("<service ssh>", "<testinfra.host.Host harness://vm1>")
    # The deadline and the repeatability of every one of them are the target's.
    assert {options["deadline"] for options in link.options} == {target.deadline}
    assert all(options["repeatable"] for options in link.options)


def test_it_insists_on_the_transport_that_the_target_does() -> None:
    target, link = a_target({"true": ""}, transports=("ssh", "serial"))
    assert target.host.run("true").rc == 0
    assert target.over("serial").host.run("true").rc == 0
    assert [options["transport"] for options in link.options] == [None, "serial"]


def test_arguments_are_quoted_and_sudo_is_a_prefix() -> None:
    target, link = a_target({"echo 'a b'": "a b\n", "sudo /bin/sh -c 'id -nu'": "root\n", "id -nu": "joe\n"})
    host = target.host
    assert host.run("echo %s", "a b").stdout == "a b\n"
    with host.sudo():
        assert host.check_output("id -nu") == "root"
    assert host.check_output("id -nu") == "joe"
    assert link.asked[-1] == "id -nu"


def test_bytes_stay_bytes_and_text_that_is_none_is_shown() -> None:
    data = "né ".encode() + bytes(range(256))
    target, link = a_target({"cat -- /etc/motd": data})
    file = target.host.file("/etc/motd")
    assert file.content == data
    assert file.content_string.startswith("né \x00\x01")
    assert file.content_string.endswith("\\xfe\\xff")
    # Nobody is asked for an encoding, and it is no other where the target has a Python.
    assert not [command for command in link.asked if "python" in command]


def test_a_host_lives_for_one_attempt_and_no_fact_outlives_it() -> None:
    target, link = a_target({"systemctl is-active x": (3, "inactive", ""), "service x status": (0, "", "")})
    assert target.host is target.host
    assert target.host.service("x").is_running is False
    facts = len(link.asked)
    assert target.host.service("x").is_running is False
    assert len(link.asked) == facts + 1, "within an attempt a fact is asked for once"
    # What was no systemd may be one in the next attempt, and the other way round.
    link.said["test -d /run/systemd/system/"] = (1, "", "")
    link.said["command -v service"] = "/usr/sbin/service\n"
    link.said["/usr/sbin/service x status"] = (0, "", "")
    fresh = replace(target)
    assert fresh.host is not target.host
    assert fresh.host.service("x").is_running is True


def test_hosts_of_past_attempts_are_not_kept() -> None:
    target, _ = a_target({"systemctl is-active x": "active"})
    assert target.host.service("x").is_running
    gone = weakref.ref(target.host)
    del target
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (
            lambda host: host.service("x.timer").is_enabled,
            "host.service(…).is_enabled: Unable to determine state of x.timer. Does this service exist?; last asked: "
            "`systemctl is-enabled x.timer` (exit status 1: Failed to get unit file state)",
        ),
        (
            lambda host: host.file("/nope").content,
            "host.file(…).content: Unexpected output `cat -- /nope` (exit status 1: cat: /nope: No such file)",
        ),
        (lambda host: host.mount_point("/data").filesystem, "host.mount_point(…).filesystem: KeyError: 'filesystem'"),
        (lambda host: host.file("/nope").size, "Unexpected exit code 1 for `stat -Lc %s /nope` (exit status 1: no)"),
        (lambda host: host.check_output("false"), "Unexpected exit code 1 for `false` (exit status 1: no output)"),
        (lambda host: host.run_expect([0, 3], "false"), "Unexpected exit code 1 for `false`"),
        (lambda host: host.sysctl("a"), 'host.find_command: ValueError: cannot find "sysctl" command; last asked: `'),
        (lambda host: host.socket("tcp://22"), 'host.socket: could not use the Socket module, either "ss" or'),
        (lambda host: host.process.get(comm="sshd"), "host.process.get: No process found; last asked: `ps -Aww"),
        (lambda host: host.user("joe").uid, "host.user(…).uid: ValueError: invalid literal for int()"),
        (lambda host: host.user("joe").shell, "host.user(…).shell: IndexError: list index out of range; last asked"),
    ],
)
def test_what_testinfra_cannot_tell_yet_is_looked_at_again(ask: Any, words: str) -> None:
    target, _ = a_target(
        {
            "systemctl is-enabled x.timer": (1, "", "Failed to get unit file state"),
            "cat -- /nope": (1, "", "cat: /nope: No such file"),
            "cat /proc/mounts": "/dev/vda / ext4 rw 0 0\n",
            "stat -Lc %s /nope": (1, "", "no"),
            "false": (1, "", ""),
            "id -u joe": "",
            "getent passwd joe": "half a li",
            "realpath /bin/ps": "/bin/ps\n",
            "test -e /bin/busybox": (1, "", ""),
            "ps -Aww -o comm:50,pcpu:50,pid:50,pmem:50,lstart:50,args": "COMMAND %CPU PID %MEM STARTED COMMAND\n",
        }
    )
    with pytest.raises(AssertionError) as caught:
        ask(target.host)
    assert words in str(caught.value)
    assert "0x" not in str(caught.value)


def test_a_check_may_catch_what_testinfras_pages_name() -> None:
    target, _ = a_target({"cat -- /nope": (1, "", "no")})
    with pytest.raises(RuntimeError, match="Unexpected output"):
        _ = target.host.file("/nope").content
    with pytest.raises(ValueError, match="cannot find"):
        target.host.find_command("nothing")
    with pytest.raises(NotImplementedError):
        _ = target.host.package("x").release


def test_a_process_that_was_replaced_meanwhile_is_looked_at_again() -> None:
    target, link = a_target(
        {
            "realpath /bin/ps": "/bin/ps\n",
            "test -e /bin/busybox": (1, "", ""),
            "ps -Aww -o comm:50,pcpu:50,pid:50,pmem:50,lstart:50,args": (
                "COMMAND %CPU PID %MEM STARTED COMMAND\nsshd 0.0 411 0.1 Mon Nov 23 04:00:00 2026 sshd -D\n"
            ),
            "ps -ww -p 411 -o lstart,ppid": "STARTED PPID\nMon Nov 23 04:00:09 2026 1\n",
        }
    )
    sshd = target.host.process.get(comm="sshd")
    with pytest.raises(NotYet, match="start time changed"):
        _ = sshd.ppid
    del link.said["ps -ww -p 411 -o lstart,ppid"]
    with pytest.raises(AssertionError, match="Unexpected exit code 127"):
        _ = sshd.ppid


def test_what_testinfra_cannot_tell_at_all_is_never() -> None:
    target, _ = a_target()
    with pytest.raises(Never, match=r"host\.package\(…\)\.release: testinfra cannot tell this on such a system"):
        _ = target.host.package("x").release
    target, _ = a_target({"uname -s": "Haiku\n", "uname -r": "1\n"})
    with pytest.raises(Never, match=r"host\.file: "):
        target.host.file("/x")


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda host: host.sevrice("x"), AttributeError),
        (lambda host: host.service("x").is_runing, AttributeError),
        (lambda host: host.service(), TypeError),
        (lambda host: host.socket("http://22"), RuntimeError),
        (lambda host: host.ansible("setup"), RuntimeError),
        (lambda host: host.run("date +%Y %s", "x"), ValueError),
        (lambda host: host.file(7).exists, TypeError),
    ],
)
def test_a_mistake_of_the_check_stays_one(ask: Any, error: type[Exception]) -> None:
    target, _ = a_target({"systemctl is-active x": "active", "command -v ss": "/usr/bin/ss\n"})
    with pytest.raises(error) as caught:
        ask(target.host)
    assert not isinstance(caught.value, AssertionError | Never)


@pytest.mark.parametrize(
    "error",
    [
        Timeout("the deadline passed", transport="ssh"),
        TransportLost("gone", cause=Cause.REBOOT, transport="serial"),
        Cancelled("interrupted"),
    ],
)
def test_the_transports_errors_pass_as_they_are(error: Exception) -> None:
    target, link = a_target({"systemctl is-active x": error, "uname -s": "Linux\n"})
    with pytest.raises(type(error)) as caught:
        _ = target.host.service("x").is_running
    assert caught.value is error
    # Also out of what testinfra asks before it knows which of its modules serves.
    link.said["uname -s"] = error
    with pytest.raises(type(error)) as caught:
        _ = replace(target).host.service
    assert caught.value is error


def test_testinfra_is_imported_only_by_those_who_ask() -> None:
    names = "[n for n in sys.modules if n.split('.')[0] in ('testinfra', '_pytest', 'pytest')]"
    for start in ("import harness.cli.main as m; m.build_parser()", "import harness.target.session, harness.cli.run"):
        code = f"import sys; {start}; print({names})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
