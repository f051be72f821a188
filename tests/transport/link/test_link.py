"""The link's rules, with transports that fail as they are told and a clock of the test's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled, ExitCode, UsageError
from harness.events.emitter import Emitter, Level
from harness.transport.contract import CommandResult, Damage, Progress, Transport, Window
from harness.transport.errors import Cause, Damaged, Eof, Timeout, TransportError, TransportLost, Unavailable
from harness.transport.link import Backoff, Link, Unreachable
from harness.transport.ssh.hostkeys import HostKey, parse_public_keys
from tests.clocks import ManualClock
from tests.patience import patient, scaled

KEY = parse_public_keys("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINZ8q9AG7WpvZFqz6c1hYl2pLiusoWjxf7U+BWi9qR7G x")[0]


@dataclass
class Events:
    seen: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def emit(self, action: str, message: str, *, level: Level = "info", **fields: Any) -> None:
        self.seen.append((action, message, {**fields, "level": level}))

    def bind(self, **fields: Any) -> Emitter:
        del fields
        return self

    def of(self, action: str) -> list[dict[str, Any]]:
        return [{"message": text, **fields} for name, text, fields in self.seen if name == action]


@dataclass
class Fake:
    """Serves, or raises what `failing` gives."""

    name: str
    failing: Callable[[], Exception] | None = None
    status: int = 0
    damage: Damage = field(default_factory=Damage)
    ran: list[str] = field(default_factory=list)
    closed: int = 0
    slow: float = 0.0
    waiting: threading.Event = field(default_factory=threading.Event)
    """Set as soon as a command takes its `slow` seconds."""

    def _fail(self) -> None:
        if self.failing is not None:
            raise self.failing()

    def run(self, command: str, *, deadline: Deadline, stdin: bytes | None = None) -> CommandResult:
        if self.slow:
            self.waiting.set()
            deadline.sleep(self.slow)
            deadline.check("a fake")
        self.ran.append(command)
        self._fail()
        return CommandResult(command, stdin or b"out", b"", self.status, self.name, 1.0, 2.0, 1.0, damage=self.damage)

    def put(
        self,
        data: bytes | Path,
        path: str,
        *,
        deadline: Deadline,
        mode: int = 0o600,
        progress: Progress | None = None,
    ) -> None:
        del data, deadline, mode, progress
        self.ran.append(f"put {path}")
        self._fail()

    def get(self, path: str, *, deadline: Deadline, progress: Progress | None = None) -> bytes:
        del deadline, progress
        self.ran.append(f"get {path}")
        self._fail()
        return self.name.encode()

    def close(self) -> None:
        self.closed += 1


@dataclass
class Opening(Fake):
    """A fake that is opened apart, and notes how much time it was given for that."""

    shares: list[float] = field(default_factory=list)
    closed_to_us: Callable[[], Exception] | None = None
    unknown_host_key: HostKey | None = None
    pinned: tuple[HostKey, ...] = ()

    def open(self, deadline: Deadline) -> None:
        self.shares.append(deadline.remaining())
        if self.closed_to_us is not None:
            raise self.closed_to_us()

    def pin_host_keys(self, keys: tuple[HostKey, ...]) -> None:
        self.pinned = keys
        self.unknown_host_key = None
        self.closed_to_us = None


def refused() -> TransportError:
    return Unavailable("nobody there", cause=Cause.REFUSED, transport="ssh", hint="start it")


def lost(may_have_run: bool = True) -> TransportError:
    return TransportLost("went away", cause=Cause.LOST, transport="ssh", may_have_run=may_have_run)


def soon(seconds: float = 10.0, clock: ManualClock | None = None) -> Deadline:
    return Deadline.after(seconds, clock=clock) if clock else Deadline.after(patient(seconds))


def make(*transports: Transport, **options: Any) -> tuple[Link, Events]:
    events = Events()
    options.setdefault("background", False)
    return Link(transports, events=events, name="box", **options), events


def test_the_first_transport_serves() -> None:
    ssh, serial = Fake("ssh"), Fake("serial")
    link, events = make(ssh, serial)
    result = link.run("echo", deadline=soon(), stdin=b"secret")
    assert (result.transport, result.stdout, result.fallbacks, result.attempts) == ("ssh", b"secret", (), 1)
    assert serial.ran == []
    assert link.current == "ssh"
    [command] = events.of("command")
    assert command["command"] == "echo"
    assert (command["exit_status"], command["stdout_bytes"], command["transport"]) == (0, 6, "ssh")
    assert "secret" not in str(events.seen)


@pytest.mark.parametrize("status", [1, 2, 126, 127, 137, 255])
def test_an_exit_status_is_never_a_reason_to_leave(status: int) -> None:
    ssh, serial = Fake("ssh", status=status), Fake("serial")
    link, events = make(ssh, serial)
    assert link.run("x", deadline=soon(), repeatable=True).exit_status == status
    assert serial.ran == []
    assert not events.of("link.fallback")


def test_a_time_out_is_never_a_reason_to_leave() -> None:
    ssh = Fake("ssh", failing=lambda: Timeout("slow", transport="ssh", stdout=b"part"))
    link, events = make(ssh, serial := Fake("serial"))
    with pytest.raises(Timeout) as caught:
        link.run("x", deadline=soon(), repeatable=True)
    assert caught.value.stdout == b"part"
    assert serial.ran == []
    assert link.current == "ssh"
    assert link.counts["timeouts"] == 1
    [command] = events.of("command")
    assert (command["exit_status"], command["cause"], command["stdout_bytes"]) == (None, "timeout", 4)


@pytest.mark.parametrize(
    "error",
    [
        refused,
        lambda: lost(may_have_run=False),
        lambda: Eof("eof", cause=Cause.EOF, transport="ssh"),
        lambda: Damaged("bad", cause=Cause.DAMAGED, transport="ssh"),
    ],
)
def test_a_failed_transport_is_left_loudly(error: Callable[[], Exception]) -> None:
    ssh, serial = Fake("ssh", failing=error), Fake("serial")
    link, events = make(ssh, serial)
    result = link.run("x", deadline=soon())
    assert result.transport == "serial"
    [note] = result.fallbacks
    assert (note.transport, note.cause) == ("ssh", error().cause)  # type: ignore[attr-defined]
    assert link.current == "serial"
    [event] = events.of("link.fallback")
    assert event["level"] == "warning"
    assert (event["from_transport"], event["to_transport"]) == ("ssh", "serial")
    # The next command does not ask ssh at all; its result still says why.
    again = link.run("y", deadline=soon())
    assert (again.transport, len(again.fallbacks)) == ("serial", 1)
    assert ssh.ran == ["x"]
    assert len(events.of("link.fallback")) == 1, "the leaving is told once"
    assert link.counts["fallbacks"] == 1


def test_what_may_have_run_is_run_again_only_where_that_is_safe() -> None:
    ssh, serial = Fake("ssh", failing=lost), Fake("serial")
    link, events = make(ssh, serial)
    with pytest.raises(TransportLost):
        link.run("reboot", deadline=soon())
    assert serial.ran == []
    assert link.current == "serial", "the next command is not to meet the same"
    link, events = make(ssh, serial)
    result = link.run("x", deadline=soon(), repeatable=True)
    assert (result.transport, result.attempts) == ("serial", 2)
    assert link.counts["repeats"] == 1
    assert events.of("link.fallback")[0]["may_have_run"] is True


def test_a_command_that_cannot_have_run_is_no_repeat() -> None:
    ssh, serial = Opening("ssh", closed_to_us=refused), Fake("serial")
    link, _ = make(ssh, serial)
    assert link.run("x", deadline=soon()).attempts == 1


def test_without_another_transport_a_lost_connection_is_made_anew_once() -> None:
    ssh = Fake("ssh")

    def fail() -> Exception:
        ssh.failing = None
        return lost()

    ssh.failing = fail
    link, events = make(ssh)
    assert link.run("x", deadline=soon(), repeatable=True).transport == "ssh"
    assert ssh.ran == ["x", "x"]
    ssh.failing = lost
    with pytest.raises(TransportError):
        link.run("x", deadline=soon(), repeatable=True)
    assert len(ssh.ran) == 4
    assert link.current == "ssh"
    assert not events.of("link.fallback"), "there is nothing to fall back on"


def test_all_failing_is_one_error_that_tells_each() -> None:
    def busy() -> Exception:
        return Unavailable("held by another", cause=Cause.BUSY, transport="serial", hint="wait")

    link, events = make(Fake("ssh", failing=refused), Fake("serial", failing=busy))
    with pytest.raises(Unreachable) as caught:
        link.run("x", deadline=soon())
    told = [(event["from_transport"], event.get("to_transport")) for event in events.of("link.fallback")]
    assert told == [("ssh", "serial"), ("serial", None)]
    assert isinstance(caught.value, Unavailable)
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    assert [error.transport for error in caught.value.errors] == ["ssh", "serial"]
    assert caught.value.cause is Cause.REFUSED
    for text in ("box", "nobody there", "held by another", "start it"):
        assert text in str(caught.value)
    assert not caught.value.may_have_run


def test_a_left_transport_is_a_last_resort() -> None:
    ssh, serial = Fake("ssh", failing=refused), Fake("serial")
    link, events = make(ssh, serial)
    link.run("x", deadline=soon())
    ssh.failing, serial.failing = None, refused
    assert link.run("y", deadline=soon()).transport == "ssh"
    assert events.of("link.recovered")
    assert link.current == "ssh"


def test_insisting() -> None:
    ssh, serial = Fake("ssh", failing=refused), Fake("serial")
    link, _ = make(ssh, serial)
    with pytest.raises(Unavailable, match="nobody there"):
        link.run("x", deadline=soon(), transport="ssh")
    assert serial.ran == []
    assert link.run("x", deadline=soon(), transport="serial").fallbacks == ()
    ssh.failing = None
    assert link.run("x", deadline=soon(), transport="ssh").transport == "ssh"
    assert link.current == "ssh"
    with pytest.raises(UsageError, match="no transport 'carrier pigeon'"):
        link.run("x", deadline=soon(), transport="carrier pigeon")


def test_no_transport_at_all_is_told() -> None:
    with pytest.raises(UsageError):
        make()


def test_files_may_be_carried_twice() -> None:
    ssh, serial = Fake("ssh", failing=lost), Fake("serial")
    link, events = make(ssh, serial)
    link.put(b"x", "/f", deadline=soon())
    assert serial.ran == ["put /f"]
    [told] = events.of("file.put")
    assert (told["transport"], told["path"], told["bytes"], told["fell_back_from"]) == ("serial", "/f", 1, ["ssh"])
    link, events = make(ssh, serial)
    result = link.get("/f", deadline=soon())
    assert (result.content, result.size, result.transport, result.attempts) == (b"serial", 6, "serial", 2)
    assert [note.transport for note in result.fallbacks] == ["ssh"]
    assert link.counts["files"] == 1


def test_a_file_that_cannot_be_carried_is_an_event_too() -> None:
    link, events = make(Fake("ssh", failing=lambda: PermissionError("cannot write /f: Permission denied")))
    with pytest.raises(PermissionError):
        link.put(b"x", "/f", deadline=soon())
    [told] = events.of("file.put")
    assert (told["cause"], told["bytes"]) == ("permissionerror", None)
    assert (link.counts["files"], link.counts["failures"]) == (1, 1)


def test_opening_takes_a_share_of_the_deadline() -> None:
    ssh, serial = Opening("ssh", closed_to_us=refused), Fake("serial")
    link, _ = make(ssh, serial, open_bound=15.0)
    link.run("x", deadline=soon(9))
    assert 2.5 < ssh.shares[0] <= 3.0
    ssh.shares.clear()
    link, _ = make(ssh, serial, open_bound=15.0)
    link.run("x", deadline=soon(900))
    assert 14 < ssh.shares[0] <= 15.0
    only = Opening("ssh")
    link, _ = make(only)
    link.run("x", deadline=soon(900))
    assert only.shares[0] > 800, "alone it may take all"


def test_too_little_time_is_no_fault_of_the_transport() -> None:
    clock = ManualClock(1000.0)

    def late() -> Exception:
        clock.now += 10
        return Unavailable("no time", cause=Cause.TIMEOUT, transport="ssh")

    for others in ([], [Fake("serial")]):
        link, events = make(Fake("ssh", failing=late), *others, clock=clock)
        with pytest.raises(Unreachable):
            link.run("x", deadline=soon(5, clock))
        assert link.current == "ssh"
        assert not events.of("link.fallback")


def test_cancelled_is_not_another_reason_to_try_on() -> None:
    cancellation = Cancellation()

    def cancel() -> Exception:
        cancellation.cancel("enough")
        return refused()

    link, _ = make(Fake("ssh", failing=cancel), serial := Fake("serial"))
    with pytest.raises(Cancelled, match="enough"):
        link.run("x", deadline=Deadline.after(10, cancellation=cancellation))
    assert serial.ran == []


def test_damage_is_counted() -> None:
    link, events = make(Fake("serial", damage=Damage(noise_bytes=5, re_reads=2)))
    link.run("x", deadline=soon())
    link.run("x", deadline=soon())
    assert (link.counts["noise_bytes"], link.counts["re_reads"], link.counts["commands"]) == (10, 4, 2)
    assert events.of("command")[0]["damage"] == {"noise_bytes": 5, "re_reads": 2}


# -- coming back


def test_a_left_transport_is_tried_when_its_time_has_come_and_taken_back() -> None:
    clock = ManualClock(1000.0)
    ssh, serial = Fake("ssh", failing=refused), Fake("serial")
    link, events = make(ssh, serial, clock=clock, backoff=Backoff(1.0, 2.0, 8.0, jitter=0.0), chance=lambda: 0.5)
    link.run("x", deadline=soon())
    waits = []
    for _ in range(6):
        started = clock.now
        before = len(ssh.ran)
        while len(ssh.ran) == before:
            clock.now += 0.5
            link.probe_due()
        waits.append(clock.now - started)
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert link.current == "serial"
    ssh.failing = None
    clock.now += 8
    link.probe_due()
    assert link.current == "ssh"
    [event] = events.of("link.recovered")
    assert event["tries"] == 6
    assert event["duration"] == 39.0
    assert link.counts["recoveries"] == 1
    assert link.counts["probes"] == 7
    assert len(events.of("link.probe")) == 6
    assert link.run("x", deadline=soon()).fallbacks == ()


def test_a_transport_that_comes_and_goes_keeps_its_long_waits() -> None:
    clock = ManualClock(1000.0)
    ssh = Fake("ssh", failing=refused)
    link, events = make(ssh, Fake("serial"), clock=clock, backoff=Backoff(1.0, 2.0, 64.0, jitter=0.0))
    link.run("x", deadline=soon())
    for _ in range(20):
        clock.now += 5
        link.probe_due()
    tries = events.of("link.probe")[-1]["tries"]
    assert tries >= 3
    ssh.failing = None
    while link.current != "ssh":
        clock.now += 5
        link.probe_due()
    ssh.failing = refused
    link.run("x", deadline=soon())
    assert dict(link.left)["ssh"].cause == "refused"
    clock.now += 4
    count = link.counts["probes"]
    link.probe_due()
    assert link.counts["probes"] == count, "it is not tried every second again"


@given(tries=st.integers(0, 10_000), chance=st.floats(0, 1))
def test_a_wait_is_bounded_and_grows(tries: int, chance: float) -> None:
    backoff = Backoff()
    delay = backoff.delay(tries, chance)
    assert 0.5 <= delay <= backoff.longest
    assert Backoff(jitter=0).delay(tries, chance) <= Backoff(jitter=0).delay(tries + 1, chance)


def test_the_background_takes_it_back_and_its_thread_ends() -> None:
    ssh, serial = Fake("ssh", failing=refused), Fake("serial")
    before = threading.active_count()
    link, events = make(ssh, serial, background=True, backoff=Backoff(0.02, 1.2, 0.1))
    link.run("x", deadline=soon())
    until = time.monotonic() + scaled(10)
    while len(events.of("link.probe")) < 3:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert link.current == "serial"
    ssh.failing = None
    while link.current != "ssh" or threading.active_count() > before:
        assert time.monotonic() < until
        time.sleep(0.01)
    ssh.failing = refused
    assert link.run("x", deadline=soon()).transport == "serial", "and it may be left again"
    ssh.failing = None
    while link.current != "ssh":
        assert time.monotonic() < until
        time.sleep(0.01)
    link.close()
    assert threading.active_count() == before


def test_closing_ends_a_try_in_the_background_at_once() -> None:
    ssh, serial = Fake("ssh", failing=refused), Fake("serial")
    before = threading.active_count()
    link, _ = make(ssh, serial, background=True, backoff=Backoff(0.01, 1.0, 0.01))
    link.run("x", deadline=soon())
    ssh.slow = 60.0
    assert ssh.waiting.wait(scaled(10)), "no try was made in the background"
    began = time.monotonic()
    link.close()
    link.close()
    assert time.monotonic() - began < 5
    assert threading.active_count() == before
    assert ssh.closed >= 1
    assert serial.closed >= 1


# -- host keys over the other transport


@dataclass
class Console(Fake):
    """Answers the question for the machine's host keys."""

    keys: tuple[HostKey, ...] = (KEY,)

    def run(self, command: str, *, deadline: Deadline, stdin: bytes | None = None) -> CommandResult:
        result = super().run(command, deadline=deadline, stdin=stdin)
        text = "".join(f"{key.type} {key.base64} root@box\n" for key in self.keys)
        return (
            CommandResult(command, text.encode(), b"", 0, self.name, 1.0, 2.0, 1.0) if "ssh_host" in command else result
        )


def unknown() -> TransportError:
    return Unavailable("unknown key", cause=Cause.HOST_KEY, transport="ssh")


def test_an_unknown_host_key_is_read_over_the_console_and_pinned() -> None:
    ssh = Opening("ssh", closed_to_us=unknown, unknown_host_key=KEY)
    serial = Console("serial")
    link, events = make(ssh, serial)
    result = link.run("x", deadline=soon())
    assert (result.transport, result.fallbacks) == ("ssh", ())
    assert ssh.pinned == (KEY,)
    [event] = events.of("link.host_key_pinned")
    assert KEY.fingerprint in str(event)


def test_a_changed_host_key_is_never_asked_for() -> None:
    ssh = Opening("ssh", closed_to_us=unknown, unknown_host_key=None)
    serial = Console("serial")
    link, events = make(ssh, serial)
    assert link.run("x", deadline=soon()).transport == "serial"
    assert serial.ran == ["x"]
    assert events.of("link.fallback")[0]["cause"] == "host_key"


def test_a_console_that_knows_no_key_pins_none() -> None:
    ssh = Opening("ssh", closed_to_us=unknown, unknown_host_key=KEY)
    link, events = make(ssh, Console("serial", keys=()))
    assert link.run("x", deadline=soon()).transport == "serial"
    assert ssh.pinned == ()
    assert not events.of("link.host_key_pinned")


class Conversation:
    """A shell for a person that says nothing."""

    def take(self) -> tuple[bytes, bytes]:
        return b"", b""

    ended = True

    def send(self, data: bytes) -> int:
        return len(data)

    def end_of_input(self) -> None: ...

    def resize(self, window: Window) -> None: ...

    def rest(self) -> float:
        return 0.0

    def exit_status(self) -> int | None:
        return 7

    def close(self) -> None: ...


class Talking(Opening):
    """A fake that carries a shell for a person."""

    def interactive(
        self, command: str, window: Window | None, *, deadline: Deadline, on_word: Callable[[], None]
    ) -> Conversation:
        del window, on_word
        self.open(deadline)
        self.ran.append(f"interactive {command}")
        return Conversation()


def test_a_shell_for_a_person_learns_the_host_key_too() -> None:
    ssh = Talking("ssh", closed_to_us=unknown, unknown_host_key=KEY)
    link, events = make(ssh, Console("serial"))
    found = link.interactive("top", None, deadline=soon(), on_word=lambda: None)
    assert found.exit_status() == 7
    assert ssh.ran == ["interactive top"]
    assert ssh.pinned == (KEY,)
    assert len(events.of("link.host_key_pinned")) == 1


def test_a_shell_for_a_person_goes_over_no_other_transport() -> None:
    ssh = Talking("ssh", closed_to_us=refused)
    serial = Console("serial")
    link, _ = make(serial, ssh)
    with pytest.raises(Unavailable, match="nobody there"):
        link.interactive("", None, deadline=soon(), on_word=lambda: None)
    assert serial.ran == []
    alone, _ = make(serial)
    with pytest.raises(UsageError, match="has no SSH"):
        alone.interactive("", None, deadline=soon(), on_word=lambda: None)


def test_many_threads_leave_once_and_all_are_served() -> None:
    from concurrent.futures import ThreadPoolExecutor

    ssh, serial = Fake("ssh", failing=refused), Fake("serial")
    link, events = make(ssh, serial)
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda n: link.run(str(n), deadline=soon()), range(300)))
    assert {result.transport for result in results} == {"serial"}
    assert [result.command for result in results] == [str(n) for n in range(300)]
    assert len(events.of("link.fallback")) == 1
    assert link.counts["commands"] == 300
