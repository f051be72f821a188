"""A real machine's console: agetty, login, su and sudo, a kernel that never falls quiet, whatever was left open."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.events.emitter import Emitter, Level, NullEmitter
from harness.transport.errors import Cause, Timeout, Unavailable
from harness.transport.serial.console import Console
from harness.transport.serial.spec import Become, SerialSpec
from harness.transport.serial.transport import SerialTransport
from tests.patience import scaled

from .test_link import Guest

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

USERS = """
useradd -m -s /bin/bash joe; echo joe:joe-secret | chpasswd; usermod -aG sudo joe
useradd -m -s /bin/sh ann; echo ann:ann-secret | chpasswd
useradd -m -s /bin/sh old; echo old:old-secret | chpasswd; chage -d 0 old
echo 127.0.1.1 $(hostname) >>/etc/hosts
"""


class Place:
    """A booted machine with a few users, and transports of our own on its console."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._made: list[SerialTransport] = []
        assert guest.session._own is not None
        assert guest.session._own.image is not None
        self.console: Console = guest.session.raw_console
        self.root_password = guest.session._own.image.password

    def ssh(self, command: str) -> str:
        return self._guest.target().run(command, transport="ssh").out

    def transport(self, user: str, password: str | None, become: Become | None = None, seconds: float = 90) -> Any:
        spec = SerialSpec(
            self.console.address, user=user, password=password, become=become, login_timeout=scaled(seconds)
        )
        self._made.append(SerialTransport(self.console, spec, events=NullEmitter()))
        return self._made[-1]

    def typed(self, text: bytes) -> None:
        self.console.write(text, deadline=Deadline.after(scaled(20)))

    def close(self) -> None:
        for transport in self._made:
            transport.close()
        self._made.clear()

    def who_is_on_it(self) -> list[str]:
        return sorted({line.split()[0] for line in self.ssh("ps -t ttyS0 -o comm=").splitlines()})


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    found = Guest(tmp_path_factory.mktemp("guest"))
    try:
        found.until("ssh", 240)
        found.target().run(USERS, transport="ssh")
        yield found
    finally:
        found.session.stop()


@pytest.fixture
def place(booted: Guest) -> Iterator[Place]:
    """Begins and ends with nobody logged in, and with an sshd that answers: one of the tests resets the machine."""
    booted.until("ssh", 240)
    found = Place(booted)
    yield found
    found.close()
    end = time.monotonic() + scaled(60)
    while found.who_is_on_it() not in (["agetty"], ["login"]):
        assert time.monotonic() < end, f"somebody is still on the console: {found.who_is_on_it()}"
        time.sleep(0.5)


def soon(seconds: float = 90) -> Deadline:
    return Deadline.after(scaled(seconds))


def test_a_user_logs_in_through_agetty_and_login(place: Place) -> None:
    joe = place.transport("joe", "joe-secret")
    assert joe.run("id -un; cat /proc/self/loginuid", deadline=soon()).out == "joe\n1000"
    assert "joe" in place.ssh("who")


@pytest.mark.parametrize("method", ["su", "sudo"])
def test_becoming_root_with_a_password(place: Place, method: Any) -> None:
    password = place.root_password if method == "su" else "joe-secret"
    joe = place.transport("joe", "joe-secret", Become(method, password))
    result = joe.run("id -un; cat /proc/self/loginuid", deadline=soon())
    assert result.out == "root\n1000"
    with pytest.raises(Timeout):
        joe.run("sleep 1234 | cat", deadline=soon(8))
    # It was ended, under sudo's own terminal too.
    assert joe.run("pgrep -fx 'sleep 1234'", deadline=soon()).out == ""


@pytest.mark.parametrize("method", ["su", "sudo"])
def test_a_wrong_password_for_becoming_root(place: Place, method: Any) -> None:
    joe = place.transport("joe", "joe-secret", Become(method, "nonsense"))
    with pytest.raises(Unavailable, match=f"{method} refused the password") as caught:
        joe.run("true", deadline=soon())
    assert caught.value.cause is Cause.BECOME
    assert "nonsense" not in str(caught.value)


def test_somebody_who_may_not_sudo(place: Place) -> None:
    with pytest.raises(Unavailable, match="not in the sudoers file") as caught:
        place.transport("ann", "ann-secret", Become("sudo", "ann-secret")).run("true", deadline=soon())
    assert caught.value.cause is Cause.BECOME


@pytest.mark.parametrize("user", ["root", "nonesuch"])
def test_a_wrong_password(place: Place, user: str) -> None:
    with pytest.raises(Unavailable, match="refused: Login incorrect") as caught:
        place.transport(user, "nonsense").run("true", deadline=soon())
    assert caught.value.cause is Cause.LOGIN
    # And whoever comes next is let in.
    assert place.transport("joe", "joe-secret").run("id -un", deadline=soon()).out == "joe"


def test_an_expired_password(place: Place) -> None:
    with pytest.raises(Unavailable, match="must be changed") as caught:
        place.transport("old", "old-secret").run("true", deadline=soon())
    assert caught.value.cause is Cause.PASSWORD_EXPIRED
    assert place.transport("joe", "joe-secret").run("id -un", deadline=soon()).out == "joe"


def test_a_login_that_times_out(place: Place) -> None:
    """Somebody gave a name and left; the machine ends that login while we wait, and before we come."""
    place.ssh("sed -i 's/^LOGIN_TIMEOUT.*/LOGIN_TIMEOUT 6/' /etc/login.defs")
    try:
        for rest in (1.0, 9.0):
            place.typed(b"\nsomebody\n")
            time.sleep(rest)
            joe = place.transport("joe", "joe-secret")
            assert joe.run("id -un", deadline=soon()).out == "joe"
            place.close()
    finally:
        place.ssh("sed -i 's/^LOGIN_TIMEOUT.*/LOGIN_TIMEOUT 60/' /etc/login.defs")


FLOOD = """
sysctl -q kernel.printk_devkmsg=on; dmesg -n 8
for i in 1 2 3; do setsid sh -c 'while :; do echo noise > /dev/kmsg; done' & done
setsid sh -c 'while :; do printf "[\\033[0;32m  OK  \\033[0m] Started noise.\\n" >/dev/ttyS0; sleep 0.02; done' &
"""


def test_a_fresh_login_while_the_kernel_floods_the_console(place: Place) -> None:
    place.ssh(f"({FLOOD}) >/dev/null 2>&1 </dev/null & true")
    try:
        joe = place.transport("joe", "joe-secret", Become("sudo", "joe-secret"), seconds=150)
        result = joe.run("id -un; echo through", deadline=soon(200))
        assert result.out == "root\nthrough"
        assert result.damage.noise_bytes > 0
    finally:
        place.ssh("dmesg -n 4; pkill -f '[n]oise'; true")


LEFT = {
    "less": b"dmesg | busybox less\n",
    "vi, typing": b"busybox vi /tmp/x\niword",
    "here-document": b"cat <<END\nmore\n",
    "quote": b"echo 'open\n",
    "half a command, its cursor amid it": b"touch /tmp/half-typed\x1b[D\x1b[D",
    "a stopped job": b"sleep 1000\n\x1a",
}


@pytest.mark.parametrize("left", LEFT)
def test_whatever_somebody_left_on_the_console(place: Place, left: str) -> None:
    """His shell is root's own, so it is taken; what stood in it is ended, and nothing that he had typed is run."""
    place.transport("root", place.root_password).run("true", deadline=soon())
    session = place._made.pop()._session
    assert session is not None
    session.leave(Deadline.after(10))  # the login stays
    place.typed(LEFT[left])
    time.sleep(1.5)
    root = place.transport("root", place.root_password)
    assert root.run("id -un; echo in", deadline=soon()).out == "root\nin"
    assert root.run("test -e /tmp/half-typed", deadline=soon()).exit_status == 1
    # It was not ours to end: only a shell that was logged in for us is left.
    root.close()
    assert place.who_is_on_it()[:1] == ["bash"]
    place.ssh("pkill -KILL -t ttyS0 bash")


class Relay:
    """Stands before the machine's console, and can be cut as a console server can."""

    def __init__(self, console: str, path: Path) -> None:
        self.path = path
        self._console = console
        self._ends: tuple[socket.socket, ...] = ()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, back = self._server.accept()[0], socket.socket(socket.AF_UNIX)
                back.connect(self._console)
                self._ends = (client, back)
                other = threading.Thread(target=self._pump, args=(client, back))
                other.start()
                self._pump(back, client)
                other.join()
                for end in self._ends:
                    end.close()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        self.cut()

    def cut(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        self._thread.join()


def test_a_file_whose_console_is_cut_and_whose_machine_is_reset(place: Place, booted: Guest, tmp_path: Path) -> None:
    """put and get go on from what was verified, over a new login, and over a new boot."""
    assert booted.machine is not None
    place.console.close()
    relay = Relay(booted.machine.console_address, tmp_path / "relay")
    console = Console(str(relay.path), name="vm1", events=(heard := Heard()))
    spec = SerialSpec(console.address, user="root", password=place.root_password, login_timeout=240)
    transport = SerialTransport(console, spec, events=heard)
    data = random.Random(6).randbytes(1_300_000)
    try:
        small = data[:400_000]
        transport.put(small, "/root/small", deadline=soon(400), progress=once(150_000, relay.cut))
        assert (
            transport.run("sha256sum </root/small", deadline=soon()).out.split()[0] == hashlib.sha256(small).hexdigest()
        )
        assert transport.run("ls -A /root | grep -c part", deadline=soon()).out == "0"
        booted.link.put(data, "/root/large", deadline=soon(200))  # over SSH, to save the time
        transport.run("sync", deadline=soon())
        reset = once(500_000, lambda: booted.monitor("system_reset"))
        assert transport.get("/root/large", deadline=soon(400), progress=reset) == data
        assert [event["cause"] for event in heard.resumed] == ["eof", heard.resumed[1]["cause"]]
        assert all(event["done"] > 0 for event in heard.resumed)
    finally:
        transport.close()
        console.close()
        relay.close()
        place.console.open(soon())


class Heard(NullEmitter):
    """Keeps what was said of files that went on."""

    def __init__(self) -> None:
        self.resumed: list[dict[str, Any]] = []

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        if action == "serial.file_resumed":
            self.resumed.append(fields)

    def bind(self, **fields: Any) -> Emitter:
        return self


def once(place: int, call: Callable[[], None]) -> Callable[[int, int], None]:
    """A progress that calls it when so many bytes are carried."""
    left = [call]

    def progress(done: int, total: int) -> None:
        if left and done >= place:
            left.pop()()

    return progress


def test_a_long_backlog(place: Place) -> None:
    """Old text pours out for seconds when we come, prompts among it: none of them is believed."""
    place.ssh(
        "(i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo \"line $i of an old log, vm1 login: \"; echo 'Password: ';"
        " done) >/tmp/backlog; (cat /tmp/backlog /tmp/backlog >/dev/ttyS0) >/dev/null 2>&1 </dev/null & true"
    )
    joe = place.transport("joe", "joe-secret")
    assert joe.run("id -un", deadline=soon()).out == "joe"
