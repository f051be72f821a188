"""A machine whose console is a virtio one (hvc0): booted over it, logged in on it, commands and files carried by it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from .test_link import Guest

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

INVENTORY = "vm1 qemu_image=debian qemu_console=virtio harness_transports=serial\n"


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    folder = tmp_path_factory.mktemp("virtio")
    inventory = folder / "inventory.ini"
    inventory.write_text(INVENTORY)
    found = Guest(folder, inventory)
    yield found
    found.session.stop()


def test_it_boots_and_logs_in_over_hvc0(guest: Guest) -> None:
    assert guest.target(120).run("ps -o tty= -p $PPID").out.strip() == "hvc0"
    assert guest.session.stages[-1][0] == "login"
    assert guest.machine is not None
    assert b"SeaBIOS" in guest.machine.uart_log.read_bytes()
    assert guest.machine.uart_log.stat().st_mode & 0o077 == 0


def test_what_it_says_is_byte_for_byte(guest: Guest) -> None:
    result = guest.target(120).run(r"printf 'a\000\377b\r\n'; echo err >&2; exit 7")
    assert (result.stdout, result.stderr, result.exit_status) == (b"a\0\xffb\r\n", b"err\n", 7)
    numbers = guest.target(120).run("seq 1 100000").stdout
    assert numbers == "".join(f"{n}\n" for n in range(1, 100_001)).encode()
    data = random.Random(3).randbytes(300_000)
    guest.target(120).put(data, "/tmp/file")
    assert guest.target(120).read("sha256sum </tmp/file").split()[0] == hashlib.sha256(data).hexdigest()
    assert guest.target(120).get("/tmp/file") == data


def test_kernel_messages_do_not_change_an_answer(guest: Guest) -> None:
    loop = "(while :; do echo noise >/dev/kmsg; done) >/dev/null 2>&1 & echo $!"
    pid = guest.target(120).read(f"sysctl -q kernel.printk_devkmsg=on; dmesg -n 8; {loop}")
    try:
        for number in range(20):
            result = guest.target(120).run(f"echo out-{number}; exit {number}")
            assert (result.out, result.exit_status) == (f"out-{number}", number)
    finally:
        guest.target(120).run(f"kill {pid}; dmesg -n 4")
