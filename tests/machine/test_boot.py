"""The watcher against recorded consoles, however they are cut, and against what only looks like a prompt."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.machine.boot import BootWatcher
from harness.machine.boot_signs import BootFailure, Stage

CONSOLES = Path(__file__).parent / "consoles"
STALL = 60.0
ALL = list(Stage)

# Recorded from real guests by tests/machine/test_guest.py: what each console must be read as.
TABLE: dict[str, tuple[str, BootFailure | None, list[Stage]]] = {
    "debian": ("login", None, ALL),
    "autologin": ("shell", None, ALL),
    "busybox": ("shell", None, [Stage.FIRMWARE, Stage.KERNEL, Stage.INITRD, Stage.LOGIN]),
    "panic": ("", BootFailure.PANIC, [Stage.FIRMWARE, Stage.KERNEL]),
    "emergency": ("", BootFailure.EMERGENCY, [Stage.FIRMWARE, Stage.KERNEL, Stage.INITRD, Stage.USERSPACE]),
    "rescue": ("", BootFailure.EMERGENCY, [Stage.FIRMWARE, Stage.KERNEL, Stage.INITRD, Stage.USERSPACE]),
    "initramfs": ("", BootFailure.INITRAMFS, [Stage.FIRMWARE, Stage.KERNEL, Stage.INITRD]),
    "stall": ("", BootFailure.STALL, [Stage.FIRMWARE, Stage.KERNEL, Stage.INITRD]),
    "no_boot": ("", BootFailure.NO_BOOT, [Stage.FIRMWARE]),
    # GRUB 2.06 with `set timeout=-1`, under QEMU with -nodefaults: its firmware writes nothing.
    "grub_menu": ("", BootFailure.MENU, [Stage.FIRMWARE]),
}


def watch(chunks: list[bytes], *, step: float = 0.01, quiet: float = STALL) -> BootWatcher:
    """Feeds the chunks, a tick after each, then lets `quiet` seconds pass."""
    watcher = BootWatcher(started=0.0, stall=STALL)
    now = 0.0
    for chunk in chunks:
        now += step
        watcher.feed(chunk, now)
        watcher.tick(now)
    end = now + quiet
    while now < end and not watcher.done:
        now += 0.1
        watcher.tick(now)
    return watcher


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("name", sorted(TABLE))
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_recorded_consoles(name: str, size: int) -> None:
    data = (CONSOLES / f"{name}.log").read_bytes()
    # What the test typed afterwards, and what came of it, is no part of the boot.
    if name == "debian":
        data = data[: data.index(b"login: ") + len(b"login: ")]
    prompt, failure, stages = TABLE[name]
    watcher = watch([data[at : at + size] for at in range(0, len(data), size)], step=0.0001)
    assert (watcher.prompt, watcher.failure) == (prompt, failure)
    assert [seen.stage for seen in watcher.stages] == stages


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(TABLE)), st.lists(st.integers(0, 1 << 20), max_size=40))
def test_cutting_changes_nothing(name: str, places: list[int]) -> None:
    data = (CONSOLES / f"{name}.log").read_bytes()[-4096:]
    whole, cut_up = watch([data]), watch(cut(data, places), step=0.0001)
    assert (whole.prompt, whole.failure) == (cut_up.prompt, cut_up.failure)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_break_it(data: bytes) -> None:
    watcher = watch(cut(data, [3, 50, 200]))
    assert watcher.done
    assert all(line.strip() for line in watcher.tail())


@pytest.mark.parametrize(
    "line",
    [
        b"alpha login: ",
        b"(none) login: ",
        b"\x1b[0;1mhost-1.lab\x1b[0m login: ",
        b"login: ",
        b"\x1b[?2004h\x1b]0;title\x07nixos login: ",
        b"[  OK  ] Reached target multi-user.target.\r\nbox login:",
        b"alpha login: [   12.345678] random: crng init done\n",
    ],
)
def test_login_prompts(line: bytes) -> None:
    assert watch([line]).prompt == "login"


@pytest.mark.parametrize(
    "line", [b"root@alpha:~# ", b"[root@nixos:~]# ", b"/ # ", b"~ # \x1b[6n", b"bash-5.2# ", b"sh-5.2$ ", b"# "]
)
def test_shell_prompts(line: bytes) -> None:
    assert watch([b"[    1.000000] x\r\n" + line]).prompt == "shell"


@pytest.mark.parametrize(
    "text",
    [
        b"Last login: ",
        b"Last login: Mon Nov 23 on ttyS0\r\n",
        b"see the hint at login: it helps\r\n",
        b"checking 100%\r\n",
        b"Password: ",
        b"[    1.000000] device #",
        b"progress 42 %",
        b"Begin: Loading essential drivers ... ",
    ],
)
def test_what_is_no_prompt_ends_in_a_stall(text: bytes) -> None:
    watcher = watch([text])
    assert (watcher.prompt, watcher.failure) == ("", BootFailure.STALL)


def test_a_prompt_counts_only_when_nothing_follows() -> None:
    watcher = BootWatcher(started=0, stall=STALL)
    watcher.feed(b"the login: ", 1.0)
    watcher.tick(1.1)
    assert watcher.prompt == ""
    watcher.feed(b"is disabled\n", 1.15)
    watcher.tick(2.0)
    assert watcher.prompt == ""


def test_a_stall_counts_from_the_last_word_and_echoes_are_no_words() -> None:
    watcher = BootWatcher(started=0, stall=10)
    watcher.feed(b"[    1.000000] hello\n", 5.0)
    for second in range(6, 15):
        watcher.feed(b"\r\n", float(second))
        watcher.tick(float(second))
    assert watcher.failure is None
    watcher.tick(15.0)
    assert watcher.failure is BootFailure.STALL


def test_a_machine_that_says_nothing_stalls() -> None:
    watcher = watch([], quiet=STALL + 1)
    assert watcher.failure is BootFailure.STALL
    assert watcher.stages == []
    assert watcher.tail() == ()


def test_a_panic_keeps_the_lines_that_follow() -> None:
    watcher = BootWatcher(started=0, stall=STALL)
    watcher.feed(b"[    2.000000] Kernel panic - not syncing: Attempted to kill init!\r\n", 2.0)
    watcher.tick(2.0)
    assert watcher.failure is None
    watcher.feed(b"[    2.000001] CPU: 0 PID: 1 Comm: init\r\n", 2.1)
    watcher.tick(2.6)
    assert watcher.failure is BootFailure.PANIC
    assert watcher.tail()[-1].endswith("Comm: init")


def test_a_machine_that_resets_again_and_again() -> None:
    once = b"SeaBIOS (version 1.16)\r\n[    0.000000] Linux version 6.1\r\nWelcome to Debian!\r\n"
    assert watch([once, once]).failure is BootFailure.STALL
    assert watch([once] * 4).failure is BootFailure.RESET_LOOP


def test_the_first_failure_stays() -> None:
    watcher = watch([b"(initramfs) ", b"\nKernel panic - not syncing: x\n"])
    assert watcher.failure is BootFailure.INITRAMFS


def test_stage_times_count_from_the_start() -> None:
    watcher = BootWatcher(started=100.0, stall=STALL)
    watcher.feed(b"[    0.000000] Linux version 6.1\n", 101.5)
    assert [(seen.stage, seen.seconds) for seen in watcher.stages] == [(Stage.KERNEL, 1.5)]


def test_a_shell_prompt_torn_by_the_kernel_in_an_initrd_is_asked_for_again() -> None:
    watcher = BootWatcher(started=0.0, stall=90.0)
    watcher.feed(b"[    1.820780] Run /init as init process\r\n", 1.0)
    watcher.feed(b"Please enter passphrase for disk: ", 1.5)
    assert not watcher.torn_prompt, "Enter would answer it"
    watcher.feed(b"\r\n/ # [    2.112570] tsc: Refined TSC clocksource calibration\r\n", 2.0)
    watcher.tick(10.0)
    assert watcher.torn_prompt
    assert not watcher.prompt, "it is believed when it is seen whole"
    watcher.feed(b"\r\n/ # ", 11.0)
    watcher.tick(20.0)
    assert watcher.prompt == "shell"
