"""Real QEMU guests, under emulation."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled, MachineError
from harness.machine.boot_signs import BootFailure
from harness.machine.boot_wait import BootFailed
from harness.machine.image import Image
from harness.machine.machine import Machine, describe_end
from harness.machine.recipe import RECIPES
from harness.machine.spec import MachineSpec
from tests.patience import scaled

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.guest

REPOSITORY = Path(__file__).parents[2]
STAGES = ["firmware", "kernel", "initrd", "userspace", "login"]


def keep_log(guest: Any, name: str) -> None:
    """With HARNESS_RECORD_CONSOLES set, the console becomes one of the recorded ones."""
    if os.environ.get("HARNESS_RECORD_CONSOLES"):
        shutil.copyfile(guest.machine.console_log, Path(__file__).parent / "consoles" / f"{name}.log")


def gone(pid: int) -> bool:
    """The process has ended (or is a zombie that nobody has buried yet)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(condition: Callable[[], bool]) -> bool:
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_a_debian_comes_up_with_a_seed_and_answers_ssh(guest: Any, debian: Image, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    (seed / "etc/secret.d").mkdir(parents=True)
    (seed / "etc/secret.d").chmod(0o711)
    (seed / "etc/secret.d/key").write_text("42\n")
    (seed / "etc/secret.d/key").chmod(0o640)
    (seed / "lib").mkdir()  # a link in the guest, which must stay one
    (seed / "lib/seeded").symlink_to("/etc/hostname")
    one = guest(image=debian, name="Alpha_1", qemu_image="debian", qemu_seed=str(seed), qemu_ports="0:22")

    report = one.boot()

    keep_log(one, "debian")
    assert report.ended_by == "login"
    assert [stage for stage, _ in report.stages] == STAGES
    assert [event["stage"] for event in one.events.of("boot.stage")] == STAGES
    times = [seconds for _, seconds in report.stages]
    assert times == sorted(times)
    assert "alpha-1 login:" in one.log().decode("utf-8", "replace")
    assert one.ssh("systemctl is-system-running --wait").strip() == "running"
    assert one.ssh("stat -c '%a %U:%G' /etc/secret.d /etc/secret.d/key; readlink /lib /lib/seeded").split("\n")[:4] == [
        "711 root:root",
        "640 root:root",
        "usr/lib",
        "/etc/hostname",
    ]
    # A second way in, to the port that the kernel chose.
    with socket.create_connection(("127.0.0.1", one.machine.ports[22]), timeout=30) as sock:
        assert sock.recv(4) == b"SSH-"
    # The password works on the console, and is refused over SSH.
    refused = one.ssh("sshd -T | grep -E '^(passwordauthentication|kbdinteractiveauthentication) '")
    assert set(refused.split("\n")) >= {"passwordauthentication no", "kbdinteractiveauthentication no"}
    assert console_login(one, debian) == "root"
    assert oct(one.machine.console_log.stat().st_mode & 0o777) == "0o600"


def console_login(one: Any, image: Image) -> str:
    """Logs in with the password; returns what `whoami` says."""
    console = one.console

    def shows(prompt: bytes) -> bool:
        log: bytes = one.log()
        return log.endswith(prompt)

    for prompt, answer in ((b"login: ", image.user), (b"Password: ", image.password), (b"# ", "echo I-am=$(whoami)")):
        assert until(functools.partial(shows, prompt))
        time.sleep(0.3)
        console.write(answer.encode() + b"\n", deadline=Deadline.after(10))
    assert until(lambda: b"I-am=" in one.log().rsplit(b"whoami)", 1)[-1])
    return str(one.log().rsplit(b"I-am=", 1)[-1].split()[0].decode())


def test_autologin_by_seed_ends_in_a_shell_prompt(guest: Any, debian: Image) -> None:
    one = guest(image=debian, qemu_image="debian", qemu_seed=str(RECIPES / "debian/seeds/autologin"))

    report = one.boot()

    keep_log(one, "autologin")
    assert report.ended_by == "shell"
    assert report.stages[-1][0] == "login"


@pytest.mark.parametrize(
    ("name", "append", "reason"),
    [
        ("emergency", "systemd.unit=emergency.target", BootFailure.EMERGENCY),
        ("rescue", "systemd.unit=rescue.target", BootFailure.EMERGENCY),
        ("initramfs", "root=/dev/vdz rootdelay=1", BootFailure.INITRAMFS),
    ],
)
def test_a_boot_that_ends_in_a_rescue_shell_fails(
    guest: Any, debian: Image, name: str, append: str, reason: BootFailure
) -> None:
    one = guest(image=debian, qemu_image="debian", qemu_append=append)
    with pytest.raises(BootFailed) as caught:
        one.boot()
    keep_log(one, name)
    assert caught.value.reason is reason
    assert caught.value.lines
    assert one.events.of("boot.failed")[0]["cause"] == str(reason)


def test_a_panic_is_seen_at_once_with_its_lines(guest: Any, debian: Image) -> None:
    one = guest(qemu_kernel=str(debian.kernel), qemu_append="console=ttyS0 root=/dev/nowhere", qemu_memory=256)
    with pytest.raises(BootFailed) as caught:
        one.boot()
    keep_log(one, "panic")
    assert caught.value.reason is BootFailure.PANIC
    assert any("Unable to mount root fs" in line for line in caught.value.lines)
    assert "Unable to mount root fs" in str(caught.value)


def test_a_foreign_kernel_and_initrd_boot_to_a_shell(
    guest: Any, debian: Image, busybox_initramfs: Callable[[str], Path]
) -> None:
    initrd = busybox_initramfs("mount -t devtmpfs none /dev\nexec sh </dev/ttyS0 >/dev/ttyS0 2>&1")
    one = guest(
        qemu_kernel=str(debian.kernel), qemu_initrd=str(initrd), qemu_append="console=ttyS0", qemu_memory="256M"
    )
    report = one.boot()
    keep_log(one, "busybox")
    assert report.ended_by == "shell"


def test_a_mute_guest_is_a_stall_and_a_guest_that_powers_off_is_dead(
    guest: Any, debian: Image, busybox_initramfs: Callable[[str], Path]
) -> None:
    mute = busybox_initramfs("sleep 3600")
    one = guest(
        qemu_kernel=str(debian.kernel),
        qemu_initrd=str(mute),
        qemu_append="console=ttyS0",
        qemu_memory=256,
        boot_stall="8",
    )
    with pytest.raises(BootFailed) as caught:
        one.boot()
    keep_log(one, "stall")
    assert caught.value.reason is BootFailure.STALL
    one.close()
    off = busybox_initramfs("poweroff -f")
    two = guest(name="off", qemu_kernel=str(debian.kernel), qemu_initrd=str(off), qemu_append="console=ttyS0")
    with pytest.raises(BootFailed) as caught:
        two.boot()
    assert caught.value.reason is BootFailure.DEAD


def test_an_iso_boots_and_an_empty_disk_does_not(guest: Any, tmp_path: Path) -> None:
    from tests.machine.iso import tiny_iso

    iso = tmp_path / "tiny, odd name.iso"
    iso.write_bytes(tiny_iso(b"\r\nWelcome to a tiny ISO!\r\nlogin: "))
    one = guest(qemu_iso=str(iso), qemu_disks=["1M"], qemu_memory=64)
    assert one.boot().ended_by == "login"
    assert b"tiny ISO" in one.log()
    disk = tmp_path / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "1M"], check=True)
    two = guest(name="empty", qemu_image=str(disk), qemu_memory=64)
    with pytest.raises(BootFailed) as caught:
        two.boot()
    keep_log(two, "no_boot")
    assert caught.value.reason is BootFailure.NO_BOOT


def test_an_existing_disk_is_left_as_it_is_unless_persistent(guest: Any, tmp_path: Path) -> None:
    from tests.machine.iso import boot_sector_that_writes

    disk = tmp_path / "mine.raw"
    disk.write_bytes(boot_sector_that_writes(b"\r\nlogin: ").ljust(1 << 20, b"\0"))
    before = disk.read_bytes()
    one = guest(qemu_image=str(disk), qemu_memory=64)
    one.boot()
    one.close()
    assert disk.read_bytes() == before
    two = guest(name="two", qemu_image=str(disk), qemu_memory=64, qemu_disk_mode="persistent")
    two.boot()
    # Nothing in a boot sector answers the power button.
    two.machine.spec = MachineSpec(host_name="two")
    two.close()
    after = disk.read_bytes()
    assert after[:512] == before[:512]
    assert after[512:1024] == before[:512]


def test_two_at_once_have_ports_and_sockets_of_their_own(guest: Any, tmp_path: Path) -> None:
    machines = [guest(name=f"m{n}", qemu_iso=__file__, qemu_memory=32) for n in range(4)]
    for one in machines:
        one.start()
    assert len({one.machine.ssh_port for one in machines}) == 4
    assert len({one.machine.console_address for one in machines}) == 4
    for one in machines:
        folder = Path(one.machine.console_address).parent
        assert oct(folder.stat().st_mode & 0o777) == "0o700"
        one.close()
        assert not folder.exists()
        assert gone(one.machine.pid)


def test_qemu_that_dies_at_the_start_speaks_for_itself(guest: Any) -> None:
    one = guest(qemu_iso=__file__, qemu_args="-device no-such-device")
    with pytest.raises(MachineError) as caught:
        one.start()
    assert "'no-such-device' is not a valid device model name" in str(caught.value)
    assert "-device no-such-device" in str(caught.value)
    assert not one.machine.alive


def test_a_taken_port_and_a_taken_socket_are_told(guest: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = guest(qemu_iso=__file__, qemu_ssh_port=server.getsockname()[1])
        with pytest.raises(MachineError, match="Could not set up host forwarding rule"):
            one.start()
    path = tmp_path / "console"
    two = guest(name="two", qemu_iso=__file__, qemu_console_socket=str(path))
    two.start()
    assert two.machine.console_address == str(path)
    three = guest(name="three", qemu_iso=__file__, qemu_console_socket=str(path))
    with pytest.raises(MachineError, match="is in use by something that runs"):
        three.start()
    assert two.machine.alive


CHILD = """
    import os, sys, time
    from pathlib import Path
    from harness.deadline import Deadline
    from harness.events.emitter import NullEmitter
    from harness.machine.machine import Machine
    from harness.machine.spec import MachineSpec
    spec = MachineSpec.from_vars("m", {"qemu_iso": sys.argv[1], "qemu_memory": 32}, base=Path("/"))
    machine = Machine(spec, name="m", folder=Path(sys.argv[2]), events=NullEmitter())
    machine.start(Deadline.after(60))
    supervisor = os.popen("ps -o ppid= -p %d" % machine.pid).read().strip()
    if sys.argv[3] == "keep":
        machine.keep(run="r")
    print(machine.pid, supervisor, Path(machine.console_address).parent, flush=True)
    time.sleep(600)
"""


def child(tmp_path: Path, how: str) -> tuple[subprocess.Popen[str], int, int, Path]:
    argv = [sys.executable, "-c", textwrap.dedent(CHILD), __file__, str(tmp_path / "logs"), how]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    qemu, supervisor, folder = process.stdout.readline().split()
    return process, int(qemu), int(supervisor), Path(folder)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_qemu_ends_with_us_however_we_end(tmp_path: Path, sign: signal.Signals) -> None:
    process, qemu, _, folder = child(tmp_path, "end")
    assert not gone(qemu)
    process.send_signal(sign)
    process.wait(scaled(30))
    assert until(lambda: gone(qemu))
    assert until(lambda: not folder.exists())


def test_qemu_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    process, qemu, supervisor, _ = child(tmp_path, "end")
    os.kill(supervisor, signal.SIGKILL)
    assert until(lambda: gone(qemu))
    process.kill()
    process.wait(scaled(30))


def test_a_kept_machine_outlives_us(tmp_path: Path) -> None:
    process, qemu, _, folder = child(tmp_path, "keep")
    process.kill()
    process.wait(scaled(30))
    time.sleep(0.5)
    assert not gone(qemu)
    assert (folder / "console").is_socket()
    os.kill(qemu, signal.SIGTERM)
    assert until(lambda: gone(qemu))
    assert until(lambda: not folder.exists())


def test_how_a_qemu_ended_is_known_and_its_words_are_its_own(guest: Any) -> None:
    one = guest(qemu_iso=__file__, qemu_memory=32)
    one.start()
    machine = one.machine
    assert machine.how_it_ended() == ""
    machine.restart(Deadline.after(scaled(60)))
    # The first was ended by its supervisor, which QEMU writes to the log; these are no words of the second.
    assert "terminating on signal 15" in machine.qemu_log.read_text()
    assert machine.last_words() == ""
    os.kill(machine.pid, signal.SIGKILL)
    assert until(lambda: not machine.alive)
    assert machine.how_it_ended() == "killed by SIGKILL"
    assert machine.last_words() == ""


def test_a_qemu_that_ends_by_itself_has_an_exit_status(guest: Any) -> None:
    one = guest(qemu_iso=__file__, qemu_memory=32)
    one.start()
    one.machine.qmp.human("system_powerdown", deadline=Deadline.after(scaled(10)))  # no firmware heeds it
    one.machine.qmp.human("quit", deadline=Deadline.after(scaled(10)))
    assert until(lambda: not one.machine.alive)
    assert one.machine.how_it_ended() == "exit status 0"
    assert describe_end("pid 7\nexit 0\n", 0, "guest-reset") == "exit status 0: the guest has reset the machine"
    assert describe_end("pid 7\nexit 0\n", 0, "guest-new") == "exit status 0: guest-new"


@pytest.mark.parametrize(
    ("said", "supervisor", "how"),
    [
        ("pid 7\nexit -9\n", 0, "killed by SIGKILL"),
        ("pid 7\nexit 1\n", 0, "exit status 1"),
        ("pid 7\nending its run has ended\nexit 0\n", 0, "exit status 0: its run has ended"),
        ("pid 7\nexit -64\n", 0, "killed by SIGRTMAX"),
        ("pid 7\nexit -99\n", 0, "killed by signal 99"),
        ("", -9, "its supervisor was killed by SIGKILL"),
        ("", 0, ""),
        ("pid 7\nexit 0\npid 8\nexit -6\n", 0, "killed by SIGABRT"),
    ],
)
def test_the_end_of_a_qemu_in_words(said: str, supervisor: int, how: str) -> None:
    assert describe_end(said, supervisor) == how


def test_cancelling_ends_the_wait_for_a_boot(guest: Any) -> None:
    from harness.machine.boot_wait import wait_for_boot

    one = guest(qemu_iso=__file__, qemu_memory=32)
    one.start()
    cancellation = Cancellation()
    with pytest.raises(Cancelled, match="Ctrl-C"):
        wait_for_boot(
            one.console,
            name="m",
            events=one.events,
            deadline=Deadline.after(scaled(600), cancellation=cancellation),
            stall=600,
            started=time.monotonic(),
            ready=lambda: cancellation.cancel("Ctrl-C"),
        )


def test_qmp_speaks_and_refuses_in_qemus_words(guest: Any) -> None:
    one = guest(qemu_iso=__file__, qemu_memory=32)
    one.start()
    machine: Machine = one.machine
    assert machine.qmp.execute("query-status", deadline=Deadline.after(10))["running"] is False
    machine.resume(Deadline.after(10))
    assert [event["event"] for event in machine.qmp.events(deadline=Deadline.after(10))] == ["RESUME"]
    with pytest.raises(MachineError, match="has not been found") as caught:
        machine.qmp.execute("no-such-command", deadline=Deadline.after(10))
    assert getattr(caught.value, "kind", "") == "CommandNotFound"
    assert machine.qmp.execute("query-status", deadline=Deadline.after(10))["running"] is True
