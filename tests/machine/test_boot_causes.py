"""Why a boot failed: the gravest line, and the first of its kind; and what is no failed boot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.events import NullEmitter
from harness.machine.boot import BootWatcher
from harness.machine.boot_signs import BootFailure
from harness.machine.boot_wait import BootFailed, BootListener, BootReport, wait_for_boot

KERNEL = "[    0.000000] Linux version 6.1.0\n"
PANIC = "[    4.9] Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.\n"
UNPACKING = "[    2.600000] Initramfs unpacking failed: read error\n"
BOOTED = "[  OK  ] Reached target \x1b[0;1;39mmulti-user.target\x1b[0m - Multi-User System.\n"


class Clock:
    """Each look at it takes two seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        self.now += 2.0
        return self.now

    def time(self) -> float:
        return self.now


class SpokenConsole:
    """A console that has said a text when it is listened to."""

    def __init__(self, text: str, clock: Clock) -> None:
        self.text = text
        self.clock = clock
        self.hands_off = ""
        self.typed = b""

    def subscribe(self, listener: BootListener) -> Callable[[], None]:
        listener.feed(self.text.encode(), self.clock.monotonic())
        return lambda: None

    def write(self, data: bytes, *, deadline: Deadline) -> None:
        del deadline
        self.typed += data


def boot(text: str, *, seconds: float = 900.0, stall: float = 60.0, console: SpokenConsole | None = None) -> BootReport:
    clock = Clock()
    return wait_for_boot(
        console or SpokenConsole(text, clock), name="vm1", events=NullEmitter(),
        deadline=Deadline(clock.now + seconds, clock), stall=stall, started=clock.now,
    )  # fmt: skip


def failure(text: str, *, seconds: float = 900.0, stall: float = 60.0) -> BootFailed:
    with pytest.raises(BootFailed) as caught:
        boot(text, seconds=seconds, stall=stall)
    return caught.value


@pytest.mark.parametrize(
    ("text", "headline"),
    [
        (KERNEL + UNPACKING + PANIC, "vm1 did not boot: Initramfs unpacking failed: read error: its kernel panicked ("),
        (
            KERNEL + "[    1.2] EXT4-fs error (device vda): bad block\n" + UNPACKING + PANIC,
            "vm1 did not boot: Initramfs unpacking failed: read error: ",
        ),
        (
            KERNEL + "[    1.2] I/O error, dev vda, sector 2048 op 0x0\n[    1.3] EXT4-fs error (device vda): x\n"
            "[    2.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n",
            "vm1 did not boot: [    1.2] I/O error, dev vda, sector 2048 op 0x0: its kernel panicked (",
        ),
        (
            KERNEL + "[    1.200000] I/O error, dev fd0, sector 0\n[    2.0] Kernel panic - not syncing: Fatal\n",
            "vm1 did not boot: its kernel panicked (",
        ),
        (
            KERNEL + '[    1.100000] VFS: Cannot open root device "vdz" or unknown-block(0,0): error -6\n'
            "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n",
            'vm1 did not boot: VFS: Cannot open root device "vdz" or unknown-block(0,0): error -6: its kernel panicked',
        ),
        (
            KERNEL + "Gave up waiting for root file system device.  Common problems:\n"
            "ALERT!  /dev/vdz does not exist.  Dropping to a shell!\n(initramfs) ",
            "vm1 did not boot: ALERT!  /dev/vdz does not exist.  Dropping to a shell!: it stopped in its initramfs",
        ),
        (
            KERNEL + "[ TIME ] Timed out waiting for device dev-vdz.device - /dev/vdz.\n"
            "[DEPEND] Dependency failed for data.mount - /data.\nYou are in emergency mode. After logging in\n",
            "vm1 did not boot: [ TIME ] Timed out waiting for device dev-vdz.device - /dev/vdz.: it stopped in an "
            "emergency or rescue shell (",
        ),
        (
            KERNEL + "[DEPEND] Dependency failed for data.mount - /data.\n[FAILED] Failed to start b.service - B.\n"
            "You are in emergency mode. After logging in\n",
            "vm1 did not boot: [FAILED] Failed to start b.service - B.: it stopped",
        ),
        (
            "error: file `/boot/vmlinuz' not found.\nerror: you need to load the kernel first.\n",
            "vm1 did not boot: error: file `/boot/vmlinuz' not found.: its console went silent (",
        ),
    ],
)  # fmt: skip
def test_the_gravest_line_names_the_cause(text: str, headline: str) -> None:
    assert failure(text).message.startswith(headline)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[    2.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x100\n[    2.1] CPU: 0\n",
         "ends with '[    2.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x100'; "),
        ("[    9.9] usb 1-1: new device\n", "ends with '[    9.9] usb 1-1: new device'; "),
        ("SeaBIOS (version 1.16.2)\nBooting from ROM..\n", "did not boot: the kernel was started and printed nothing"),
        ("SeaBIOS (version 1.16.2)\nBooting from Hard Disk...\n", "the disk's boot loader was started and printed "),
    ],
)  # fmt: skip
def test_the_first_line_has_the_line_that_ended_the_boot(text: str, words: str) -> None:
    assert words in failure(text).message.partition("\n")[0]


def test_a_cause_of_an_earlier_start_does_not_count() -> None:
    earlier = KERNEL + UNPACKING + "systemd[1]: x\n[    0.000000] Linux version 6.1.0\n"
    assert failure(earlier + "[    2.0] Kernel panic - not syncing: x\n").message.startswith(
        "vm1 did not boot: its kernel panicked"
    )


@pytest.mark.parametrize(
    "line",
    [
        BOOTED,
        "[  OK  ] Reached target Graphical Interface.\n",
        "systemd[1]: Reached target multi-user.target - Multi-User System.\n",
    ],
)
def test_a_machine_that_reached_multi_user_has_booted(line: str) -> None:
    assert boot(KERNEL + line).ended_by == "target"
    assert boot(KERNEL + line, seconds=12.0).ended_by == "target"


def test_what_happens_after_that_is_no_failed_boot() -> None:
    error = failure(KERNEL + UNPACKING + BOOTED + "[   99.0] Kernel panic - not syncing: sysrq triggered crash\n")
    assert error.message.startswith("vm1 booted, and then its kernel panicked")
    assert error.reason is BootFailure.PANIC


def test_multi_user_of_an_earlier_start_does_not_count() -> None:
    again = KERNEL + "systemd[1]: x\n" + BOOTED + "[    0.000000] Linux version 6.1.0\n"
    assert failure(again).message.startswith("vm1 did not boot: its console went silent")


def test_a_login_prompt_is_still_waited_for() -> None:
    watcher = BootWatcher(started=0.0, stall=60.0)
    watcher.feed((KERNEL + BOOTED + "\nDebian GNU/Linux 12 vm1 ttyS0\n\nvm1 login: ").encode(), 5.0)
    watcher.tick(6.0)
    assert (watcher.prompt, watcher.booted_at) == ("login", 5.0)
    assert boot(KERNEL + BOOTED + "vm1 login: ").ended_by == "login"


MENU = (Path(__file__).parent / "consoles" / "grub_menu.log").read_text(encoding="latin-1")
DIALOGUE = "".join(f"\x1b[{row};5H| choose |" for row in range(3, 12))
USERSPACE = KERNEL + "[  OK  ] Started getty.\n"


@pytest.mark.parametrize("text", [MENU, USERSPACE + DIALOGUE, "Welcome to GRUB!\n" + DIALOGUE])
def test_nothing_is_typed_into_a_menu_or_a_dialogue(text: str) -> None:
    console = SpokenConsole(text, Clock())
    with pytest.raises(BootFailed, match="a menu or a dialogue on its console waits for somebody to choose") as caught:
        boot(text, console=console)
    assert caught.value.reason is BootFailure.MENU
    assert any("Install (erases" in line or "choose" in line for line in caught.value.lines)
    assert console.typed == b""
    assert console.hands_off


@pytest.mark.parametrize("text", ["Welcome to GRUB!\n", "Welcome to GRUB!\nsome firmware\n"])
def test_a_greeting_alone_is_no_system(text: str) -> None:
    console = SpokenConsole(text, Clock())
    assert failure(text).reason is BootFailure.STALL
    with pytest.raises(BootFailed):
        boot(text, console=console)
    assert console.typed == b""


def test_a_mute_console_late_in_the_boot_is_asked_unless_nothing_may_be_typed() -> None:
    for hands_off, typed in (("", True), ("console_hands_off is set", False)):
        console = SpokenConsole(USERSPACE, Clock())
        console.hands_off = hands_off
        with pytest.raises(BootFailed):
            boot(USERSPACE, console=console)
        assert bool(console.typed) is typed


def test_a_full_screen_program_of_a_machine_that_is_up_fails_no_boot() -> None:
    console = SpokenConsole(KERNEL + BOOTED + DIALOGUE, Clock())
    assert boot("", console=console).ended_by == "target"
    assert (console.typed, bool(console.hands_off)) == (b"", True)


def test_a_menu_that_has_booted_its_entry_is_none_any_more() -> None:
    console = SpokenConsole(MENU + "\x1b[H\x1b[J  Booting `Debian'\n" + KERNEL + BOOTED + "\n\ndebian login: ", Clock())
    assert boot("", console=console).ended_by == "login"
    assert console.hands_off == ""


def test_a_menu_that_nothing_has_replaced_is_over_once_ssh_answers() -> None:
    """Of a machine whose system writes nothing to this console."""
    console, clock = SpokenConsole(MENU, Clock()), Clock()
    report = wait_for_boot(
        console, name="vm1", events=NullEmitter(), deadline=Deadline(clock.now + 1e6, clock), stall=1e6,
        started=clock.now, ssh_answers=lambda: True,
    )  # fmt: skip
    assert (report.ended_by, console.hands_off, console.typed) == ("ssh", "", b"")
