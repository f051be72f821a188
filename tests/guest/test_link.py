"""The link on a real machine to which bad things happen: what it answers is true, or it is a typed error."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.events import EventLog
from harness.inventory import load
from harness.target.session import TargetSession
from harness.target.spec import target_spec
from harness.target.target import Target
from harness.transport.contract import CommandResult, Result
from harness.transport.errors import Cause, TransportError, TransportLost
from harness.transport.link import Link
from tests.patience import factor, scaled

from .conftest import INVENTORIES

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]


class Guest:
    """A machine that is up, and a way to look at it that counts what was met."""

    def __init__(self, folder: Path, inventory: Path = INVENTORIES / "local.ini") -> None:
        host = load([str(inventory)]).host("vm1")
        self.log = EventLog(folder / "events.jsonl", run="r")
        self.results: list[Result] = []
        self.session = TargetSession(
            host,
            target_spec(host).stretched(factor()),
            folder=folder,
            events=self.log.bind(target="vm1"),
            run="r",
            secrets=self.log,
        )
        self.session.start(Deadline.after(scaled(900)))
        self.machine = self.session.machine
        assert self.machine is not None

    @property
    def link(self) -> Link:
        """The link in use; a restored machine has a new one."""
        return self.session.link

    def target(self, seconds: float = 60) -> Target:
        return self.session.target(Deadline.after(scaled(seconds)), self.log.bind(target="vm1"), self.results.append)

    def monitor(self, command: str, **arguments: object) -> None:
        assert self.machine is not None
        self.machine.qmp.execute(command, deadline=Deadline.after(scaled(20)), **arguments)

    def until(self, transport: str, seconds: float = 120) -> CommandResult:
        """The first answer that this transport gives again."""
        end = time.monotonic() + scaled(seconds)
        while True:
            try:
                return self.target(30).run("true", transport=transport)
            except TransportError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    found = Guest(tmp_path_factory.mktemp("guest"))
    yield found
    found.session.stop()


def test_kernel_messages_never_change_an_answer(guest: Guest) -> None:
    noise = (
        'dmesg -n 8; (n=0; while [ $n -lt 100000 ]; do echo "noise $n" > /dev/kmsg; n=$((n+1)); '
        "done) > /dev/null 2>&1 & echo $!"
    )
    guest.until("serial")
    pid = guest.target().run(noise, transport="ssh").out
    try:
        before = guest.session.counts["re_reads"]
        for number in range(60):
            result = guest.target().run(
                f"echo out-{number}; echo err-{number} >&2; (exit {number})", transport="serial"
            )
            assert (result.out, result.err, result.exit_status) == (f"out-{number}", f"err-{number}", number)
        big = guest.target().run("seq 1 30000", transport="serial").stdout
        wanted = "".join(f"{n}\n" for n in range(1, 30001)).encode()
        assert hashlib.sha256(big).digest() == hashlib.sha256(wanted).digest()
        print(f"re-reads: {guest.session.counts['re_reads'] - before}")
    finally:
        guest.target().run(f"kill {pid}; dmesg -n 4", transport="ssh")


def test_a_stopped_sshd_is_left_for_the_console_and_taken_back(guest: Guest) -> None:
    guest.until("ssh")
    # The connection itself goes too, as it does where a machine's network goes.
    guest.target().run("systemctl stop ssh; pkill -KILL sshd; true", transport="serial")
    result = guest.target().run("systemctl is-active ssh")
    assert (result.transport, result.out, result.exit_status) == ("serial", "inactive", 3)
    assert [fallback.transport for fallback in result.fallbacks] == ["ssh"]
    guest.target().run("systemctl start ssh", transport="serial")
    guest.until("ssh")
    assert guest.target().run("echo back").transport == "ssh"


def test_a_pulled_network_cable_is_noticed_in_bounded_time(guest: Guest) -> None:
    guest.until("ssh")
    cut = threading.Timer(1.0, guest.monitor, args=("set_link",), kwargs={"name": "net", "up": False})
    cut.start()
    try:
        result = guest.target(90).run("sleep 3; echo through")
        assert (result.out, result.transport) == ("through", "serial")
    finally:
        cut.join()
        guest.monitor("set_link", name="net", up=True)
    guest.until("ssh")


def test_a_reset_in_mid_command_is_a_lost_transport_and_no_answer(guest: Guest) -> None:
    guest.until("serial")
    boot = guest.target().read("cat /proc/sys/kernel/random/boot_id")
    threading.Timer(1.0, guest.monitor, args=("system_reset",)).start()
    with pytest.raises(TransportLost) as caught:
        # Not a check's command, which would be run again: one that must not be.
        guest.link.run("sleep 50; echo never", deadline=Deadline.after(scaled(60)), transport="serial")
    assert caught.value.cause in (Cause.REBOOT, Cause.NO_SHELL, Cause.EOF)
    assert caught.value.may_have_run
    guest.until("serial", 240)
    assert guest.target().run("cat /proc/sys/kernel/random/boot_id", transport="serial").out != boot
