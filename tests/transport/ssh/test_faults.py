"""The SSH transport against a real OpenSSH server to which bad things happen."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled, InfrastructureError
from harness.operate.live import LiveCommand
from harness.target.counted import CountedLink
from harness.transport.contract import Result
from harness.transport.errors import Cause, Contact, Timeout, TransportLost, Unavailable
from harness.transport.link import Link
from harness.transport.ssh.connection import Connection
from harness.transport.ssh.hostkeys import parse_public_keys
from harness.transport.ssh.keyring import Keyring
from harness.transport.ssh.transport import SshTransport
from tests.patience import patient, scaled
from tests.transport.ssh.conftest import eventually

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import Events, FaultProxy, Sshd


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(patient(seconds))


def nothing_more_than(before: tuple[int, int], seconds: float = 5.0) -> None:
    """Threads and descriptors are no more than they were; a proxy in this process may take its time to close its."""
    until = time.monotonic() + scaled(seconds)
    while True:
        gc.collect()
        now = (threading.active_count(), len(os.listdir("/proc/self/fd")))
        if now[0] <= before[0] and now[1] <= before[1]:
            return
        assert time.monotonic() < until, f"{now} threads and descriptors, {before} before"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "error", [RuntimeError("can't start new thread"), RuntimeError("can't allocate lock"), MemoryError()], ids=repr
)
@pytest.mark.parametrize("where", ["start_handshake", "send_message"])
def test_what_this_process_lacks_while_it_connects_is_no_fault_of_the_server(
    where: str, error: Exception, shared_sshd: Sshd, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the library's own thread, which keeps the error and ends the connection."""
    import paramiko

    def short(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(paramiko.packet.Packetizer, where, short)
    transport = SshTransport(shared_sshd.spec(), events=events)
    try:
        with pytest.raises(InfrastructureError, match="this process got no more"):
            transport.run("echo", deadline=soon(10))
    finally:
        monkeypatch.undo()
        transport.close()


def test_what_this_process_lacks_while_a_command_runs_is_no_loss_of_the_server(
    shared_sshd: Sshd, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    import paramiko

    def short(*_: object, **__: object) -> None:
        raise MemoryError

    transport = SshTransport(shared_sshd.spec(), events=events)
    try:
        assert transport.run("echo", deadline=soon()).exit_status == 0
        monkeypatch.setattr(paramiko.packet.Packetizer, "read_message", short)
        with pytest.raises(InfrastructureError, match="this process got no more memory"):
            transport.run("echo; sleep 0.1; echo", deadline=soon())
    finally:
        monkeypatch.undo()
        transport.close()


def refused(spec: Any, events: Events, *, check_leaks: bool = True) -> Unavailable:
    """The error that a first command meets; nothing of the attempt may be left."""
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    transport = SshTransport(spec, events=events)
    with pytest.raises(Unavailable) as caught:
        transport.run("echo", deadline=soon(10))
    transport.close()
    assert not caught.value.may_have_run
    assert caught.value.transport == "ssh"
    assert caught.value.hint
    if check_leaks:
        nothing_more_than(before)
    assert events.of("ssh.unavailable")[-1]["cause"] == caught.value.cause
    return caught.value


# -- not getting in


def test_refused(sshd: Sshd, events: Events) -> None:
    error = refused(sshd.spec(), events)
    assert error.cause is Cause.REFUSED
    assert "refused" in str(error)


def test_who_asks_for_retries_gets_them(sshd: Sshd, events: Events) -> None:
    """sshd comes up while we try."""
    threading.Timer(0.5, sshd.start).start()
    transport = SshTransport(sshd.spec(retries=20), events=events)
    assert transport.run("echo 1", deadline=soon()).out == "1"
    transport.close()
    assert not events.of("ssh.unavailable")


def test_retries_end_at_the_deadline(sshd: Sshd, events: Events) -> None:
    transport = SshTransport(sshd.spec(retries=1000), events=events)
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        transport.run("echo 1", deadline=soon(1.0))
    assert caught.value.cause is Cause.REFUSED
    assert time.monotonic() - began < 5
    transport.close()


def test_unresolved(sshd: Sshd, events: Events) -> None:
    assert refused(sshd.spec(host="no-such-host.invalid"), events).cause is Cause.UNRESOLVED


def test_a_mute_port_is_a_banner_problem_in_bounded_time(shared_sshd: Sshd, proxy: FaultProxy, events: Events) -> None:
    proxy.mode = "mute"
    began = time.monotonic()
    error = refused(shared_sshd.spec(port=proxy.port, connect_timeout=0.5), events, check_leaks=False)
    assert error.cause is Cause.BANNER
    assert time.monotonic() - began < 5


def test_a_port_that_is_no_ssh(events: Events, shared_sshd: Sshd) -> None:
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    transport = SshTransport(shared_sshd.spec(port=listener.getsockname()[1]), events=events)
    with pytest.raises(Unavailable) as caught:
        transport.run("echo", deadline=soon(3))
    thread.join()
    listener.close()
    assert caught.value.cause is Cause.BANNER
    transport.close()


@pytest.mark.parametrize("reset", [False, True])
def test_what_a_server_says_before_it_hangs_up_is_reported(events: Events, shared_sshd: Sshd, reset: bool) -> None:
    """A server that closes what it has not read to its end resets the connection: it said why all the same."""
    import socket
    import struct

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        client.sendall(b"Not allowed at this time\r\n")
        client.recv(100)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    transport = SshTransport(shared_sshd.spec(port=listener.getsockname()[1]), events=events)
    with pytest.raises(Unavailable, match="before its banner; it said 'Not allowed at this time'") as caught:
        transport.run("echo", deadline=soon())
    thread.join()
    listener.close()
    assert (caught.value.cause, caught.value.contact) == (Cause.BANNER, Contact.CLOSED_AFTER_TEXT)
    transport.close()


def test_a_slow_banner_is_no_fault(shared_sshd: Sshd, proxy: FaultProxy, events: Events) -> None:
    proxy.mode = "slow"
    proxy.slow_pause = 0.001
    transport = SshTransport(shared_sshd.spec(port=proxy.port), events=events)
    assert transport.run("echo 1", deadline=soon(60)).out == "1"
    transport.close()


def test_dropped_before_the_banner_it_is_asked_again(shared_sshd: Sshd, proxy: FaultProxy, events: Events) -> None:
    proxy.mode = "drop-once"
    transport = SshTransport(shared_sshd.spec(port=proxy.port), events=events)
    assert transport.run("echo 1", deadline=soon()).out == "1"
    assert proxy.drops == 1
    transport.close()


def test_always_dropped_is_a_banner_problem(shared_sshd: Sshd, proxy: FaultProxy, events: Events) -> None:
    proxy.mode = "drop"
    error = refused(shared_sshd.spec(port=proxy.port), events)
    assert error.cause is Cause.BANNER
    assert "MaxStartups" in str(error)
    assert 2 <= proxy.drops <= 3, "asked again once: nobody may be behind a forwarded port yet"


def test_reset_by_the_peer(shared_sshd: Sshd, proxy: FaultProxy, events: Events) -> None:
    proxy.mode = "reset"
    error = refused(shared_sshd.spec(port=proxy.port), events)
    assert error.cause in (Cause.BANNER, Cause.REFUSED)


def test_no_common_key_exchange(sshd: Sshd, events: Events) -> None:
    sshd.start("KexAlgorithms diffie-hellman-group14-sha1")
    error = refused(sshd.spec(), events)
    assert error.cause is Cause.KEX
    assert "SHA-1" in str(error)
    assert "serial" in str(error)


def test_a_wrong_key_names_what_was_tried_and_what_would_do(sshd: Sshd, events: Events) -> None:
    sshd.start("KbdInteractiveAuthentication no")
    (sshd.folder / "authorized").write_text("")
    error = refused(sshd.spec(), events)
    assert error.cause is Cause.AUTH
    assert str(sshd.client_key) in error.message
    assert "publickey" in error.message


def test_a_wrong_password_is_refused_and_never_shown(shared_sshd: Sshd, events: Events) -> None:
    error = refused(shared_sshd.spec(key_files=(), password="tops3cret"), events)
    assert error.cause is Cause.AUTH
    assert "password" in error.message
    assert "tops3cret" not in str(error) + repr(error.args) + str(events.seen)


def test_nothing_to_log_in_with(shared_sshd: Sshd, events: Events) -> None:
    error = refused(shared_sshd.spec(key_files=()), events)
    assert error.cause is Cause.AUTH
    assert "no key and no password" in error.message


def test_a_missing_key_file_is_named(shared_sshd: Sshd, events: Events, tmp_path: Path) -> None:
    error = refused(shared_sshd.spec(key_files=(str(tmp_path / "none"),)), events)
    assert error.cause is Cause.AUTH
    assert "is not there" in error.message


def test_an_account_without_a_shell(sshd: Sshd, events: Events) -> None:
    sshd.start("ForceCommand /bin/false")
    assert refused(sshd.spec(), events).cause is Cause.NO_SHELL


def test_a_forced_command_that_chats_is_no_shell(sshd: Sshd, events: Events) -> None:
    sshd.start("ForceCommand echo Welcome; sleep 0.2; echo Bye >&2; exit 0")
    assert refused(sshd.spec(), events).cause is Cause.NO_SHELL


# -- host keys


def test_an_unknown_key_is_refused_with_its_fingerprint(shared_sshd: Sshd, events: Events) -> None:
    error = refused(shared_sshd.spec(host_keys=()), events)
    assert error.cause is Cause.HOST_KEY
    assert shared_sshd.host_key.fingerprint in error.message
    assert "ssh-keyscan" in error.hint


def test_a_known_hosts_file_is_believed(shared_sshd: Sshd, events: Events, tmp_path: Path) -> None:
    known = tmp_path / "known"
    key = shared_sshd.host_key
    known.write_text(f"[127.0.0.1]:{shared_sshd.port} {key.type} {key.base64}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text(), "the names are hashed"
    transport = SshTransport(shared_sshd.spec(host_keys=(), known_hosts=(str(known),)), events=events)
    assert transport.run("echo 1", deadline=soon()).out == "1"
    transport.close()


@pytest.mark.parametrize("pinned", [True, False])
def test_a_changed_key_is_a_finding_with_both_fingerprints(
    shared_sshd: Sshd, events: Events, tmp_path: Path, pinned: bool
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "old")], check=True)
    old = parse_public_keys((tmp_path / "old.pub").read_text())[0]
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{shared_sshd.port} {old.type} {old.base64}\n")
    error = refused(shared_sshd.spec(host_keys=(old,) if pinned else (), known_hosts=(str(known),)), events)
    assert error.cause is Cause.HOST_KEY
    [finding] = events.of("finding")
    for text in (error.message, str(finding)):
        assert old.fingerprint in text
        assert shared_sshd.host_key.fingerprint in text


def test_the_known_type_is_asked_for_among_several(sshd: Sshd, events: Events) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(sshd.folder / "host_ecdsa")], check=True)
    sshd.start(f"HostKey {sshd.folder / 'host_ecdsa'}")
    ecdsa = parse_public_keys((sshd.folder / "host_ecdsa.pub").read_text())
    for keys in (ecdsa, (sshd.host_key,)):
        transport = SshTransport(sshd.spec(host_keys=keys), events=events)
        assert transport.run("echo 1", deadline=soon()).out == "1"
        transport.close()


def test_an_unchecked_key_is_told_as_such(shared_sshd: Sshd, events: Events) -> None:
    transport = SshTransport(shared_sshd.spec(host_keys=(), host_key_policy="off"), events=events)
    assert transport.run("echo 1", deadline=soon()).out == "1"
    transport.close()
    assert events.of("ssh.host_key_unchecked")


# -- going away


def test_killed_in_mid_command(sshd: Sshd, events: Events) -> None:
    sshd.start()
    transport = SshTransport(sshd.spec(), events=events)
    transport.run(":", deadline=soon())
    threading.Timer(0.4, sshd.kill_sessions).start()
    began = time.monotonic()
    with pytest.raises(TransportLost) as caught:
        transport.run("echo before; sleep 20", deadline=soon())
    assert time.monotonic() - began < 5, "not at once"
    assert caught.value.may_have_run
    assert caught.value.cause is Cause.LOST
    assert caught.value.seen == b"before\n"
    assert events.of("ssh.lost")
    result = transport.run("echo again", deadline=soon())
    assert (result.out, result.damage.reconnects) == ("again", 1)
    transport.close()


@pytest.mark.parametrize("stdin", [None, b"x"])
def test_killed_in_mid_output_is_never_a_short_answer(sshd: Sshd, events: Events, stdin: bytes | None) -> None:
    sshd.start()
    transport = SshTransport(sshd.spec(), events=events)
    for _ in range(5):
        transport.run(":", deadline=soon())
        connection, killer = transport._pool.connected(soon()), threading.Timer(0.05, sshd.kill_sessions)
        killer.start()
        with pytest.raises(TransportLost):
            transport.run("seq 1 300000000", deadline=soon(), stdin=stdin)
        # The command may die before its connection does; the next round is to begin with a new one.
        killer.join()
        while connection.alive:
            time.sleep(0.01)
    transport.close()


def test_gone_while_idle_is_noticed_before_anything_is_entrusted_to_it(sshd: Sshd, events: Events) -> None:
    sshd.start()
    transport = SshTransport(sshd.spec(), events=events)
    transport.run(":", deadline=soon())
    sshd.kill_sessions()
    time.sleep(0.2)
    assert transport.run("echo on", deadline=soon()).out == "on"
    assert transport.counts["connects"] == 2
    transport.close()


def test_a_stopped_peer_is_lost_in_bounded_time(sshd: Sshd, events: Events) -> None:
    sshd.start()
    transport = SshTransport(sshd.spec(alive_interval=0.3, alive_bound=0.5, connect_timeout=1.0), events=events)
    transport.run(":", deadline=soon())
    threading.Timer(0.2, sshd.signal_all, [signal.SIGSTOP]).start()
    began = time.monotonic()
    with pytest.raises(TransportLost) as caught:
        transport.run("sleep 20", deadline=soon(30))
    assert time.monotonic() - began < 5
    assert "silence" in caught.value.message
    assert caught.value.may_have_run
    with pytest.raises(Unavailable):
        transport.run("echo", deadline=soon(5))
    sshd.signal_all(signal.SIGCONT)
    assert transport.run("echo back", deadline=soon()).out == "back"
    transport.close()


def test_a_stopped_peer_at_a_deadline_is_lost_not_timed_out(sshd: Sshd, events: Events) -> None:
    sshd.start()
    transport = SshTransport(sshd.spec(), events=events)
    transport.run(":", deadline=soon())
    threading.Timer(0.2, sshd.signal_all, [signal.SIGSTOP]).start()
    began = time.monotonic()
    with pytest.raises(TransportLost):
        transport.run("sleep 20", deadline=soon(0.7))
    assert time.monotonic() - began < 5
    sshd.signal_all(signal.SIGCONT)
    transport.close()


def test_a_stopped_peer_does_not_take_a_large_stdin_past_the_deadline(sshd: Sshd, events: Events) -> None:
    sshd.start()
    transport = SshTransport(sshd.spec(), events=events)
    transport.run(":", deadline=soon())
    begun = sshd.folder / "begun"

    def stop() -> None:
        eventually(begun.exists)
        sshd.signal_all(signal.SIGSTOP)

    stopping = threading.Thread(target=stop)
    stopping.start()
    seconds = scaled(0.7)
    began = time.monotonic()
    with pytest.raises((TransportLost, Timeout)):
        transport.run(f"echo >{begun}; sleep 1; cat >/dev/null", deadline=soon(seconds), stdin=b"x" * 50_000_000)
    assert time.monotonic() - began < seconds + 5.3
    stopping.join()
    sshd.signal_all(signal.SIGCONT)
    transport.close()


@pytest.mark.parametrize("stopped", [False, True], ids=["answers", "stopped"])
def test_a_live_command_is_said_to_be_ended_only_where_that_was_seen(
    sshd: Sshd, events: Events, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """`harness exec` at its deadline, with a server that answers and with one that was stopped in mid-command."""
    monkeypatch.setattr("harness.operate.live.END_GRACE", scaled(1.0) if stopped else scaled(10.0))
    sshd.start()
    spec = sshd.spec(alive_interval=0.3, alive_bound=0.5, connect_timeout=0.6) if stopped else sshd.spec()
    link = Link([SshTransport(spec, events=events)], events=events, name="box")
    mark = f"7{os.getpid()}"

    def hear(out: bytes, err: bytes) -> None:
        if stopped and out:
            sshd.signal_all(signal.SIGSTOP)

    live = LiveCommand(link, f"echo begun; sleep {mark}", on_output=hear)
    try:
        words = "whether it was ended on the target is not known" if stopped else "; it was ended on the target"
        with pytest.raises(Timeout, match=words):
            live.run(Deadline.after(scaled(1.0)))
        running = subprocess.run(["pgrep", "-f", f"sleep {mark}$"], capture_output=True).returncode == 0
        assert running == stopped
    finally:
        sshd.signal_all(signal.SIGCONT)
        subprocess.run(["pkill", "-f", f"sleep {mark}$"], check=False)
        for base in ("/run", "/dev/shm"):
            shutil.rmtree(f"{base}/.harness-{live._nonce}", ignore_errors=True)
        link.close()


def test_an_idle_connection_to_a_stopped_peer_is_not_entrusted_with_a_command(sshd: Sshd, events: Events) -> None:
    sshd.start()
    spec = sshd.spec(alive_interval=0.3, alive_bound=0.5, connect_timeout=0.6)
    transport = SshTransport(spec, events=events)
    transport.run(":", deadline=soon())
    sshd.signal_all(signal.SIGSTOP)
    time.sleep(1.2)  # longer than STALE_AFTER
    with pytest.raises((Unavailable, TransportLost)) as caught:
        transport.run("touch /tmp/never", deadline=soon(10))
    assert not caught.value.may_have_run
    sshd.signal_all(signal.SIGCONT)
    transport.close()


def test_a_black_hole_in_between(shared_sshd: Sshd, proxy: FaultProxy, events: Events) -> None:
    spec = shared_sshd.spec(port=proxy.port, alive_interval=0.3, alive_bound=0.5)
    transport = SshTransport(spec, events=events)
    transport.run(":", deadline=soon())
    threading.Timer(0.2, setattr, [proxy, "mode", "hole"]).start()
    began = time.monotonic()
    with pytest.raises(TransportLost):
        transport.run("sleep 20", deadline=soon(30))
    assert time.monotonic() - began < 5
    proxy.mode = "pass"
    transport.close()


def test_a_reset_in_mid_command(shared_sshd: Sshd, proxy: FaultProxy, events: Events) -> None:
    transport = SshTransport(shared_sshd.spec(port=proxy.port), events=events)
    transport.run(":", deadline=soon())
    threading.Timer(0.2, proxy.reset_all).start()
    with pytest.raises(TransportLost):
        transport.run("sleep 20", deadline=soon(30))
    assert transport.run("echo on", deadline=soon()).out == "on"
    transport.close()


def test_a_silent_command_on_a_live_peer_is_not_lost(shared_sshd: Sshd, events: Events) -> None:
    transport = SshTransport(shared_sshd.spec(alive_interval=0.1, alive_bound=0.3), events=events)
    assert transport.run("sleep 1.5; echo done", deadline=soon()).out == "done"
    transport.close()


def test_cancelling_ends_a_connection_attempt_at_once(shared_sshd: Sshd, proxy: FaultProxy, events: Events) -> None:
    proxy.mode = "mute"
    cancellation = Cancellation()
    transport = SshTransport(shared_sshd.spec(port=proxy.port), events=events)
    threading.Timer(0.3, cancellation.cancel, ["enough"]).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        transport.run("echo", deadline=Deadline.after(scaled(60), cancellation=cancellation))
    assert time.monotonic() - began < 2
    transport.close()


# -- bounds that look like faults


def test_max_sessions_is_a_bound_and_no_fault(sshd: Sshd, events: Events) -> None:
    sshd.start("MaxSessions 3")
    transport = SshTransport(sshd.spec(), events=events)

    def one(number: int) -> str:
        stdin = b"x" if number % 2 else None
        return transport.run(f"sleep 0.1; echo {number}", deadline=soon(60), stdin=stdin).out

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(one, range(40))) == [str(number) for number in range(40)]
    assert transport.counts["connects"] == 1
    transport.close()


def test_max_sessions_of_none_is_told(sshd: Sshd, events: Events) -> None:
    sshd.start("MaxSessions 0")
    assert refused(sshd.spec(), events).cause is Cause.BUSY


def test_a_server_that_is_full_is_named_as_such(sshd: Sshd, events: Events) -> None:
    import socket

    sshd.start("MaxStartups 1")
    # What asked whether the server is up may hold the one place for a moment.
    while True:
        holder = socket.create_connection(("127.0.0.1", sshd.port))
        if holder.recv(100).startswith(b"SSH-"):
            break
        holder.close()
        time.sleep(0.05)
    error = refused(sshd.spec(connect_timeout=1.5), events)
    holder.close()
    assert error.cause is Cause.BANNER
    assert "Exceeded MaxStartups" in error.message


def test_max_startups_is_a_bound_and_no_fault(sshd: Sshd, events: Events) -> None:
    sshd.start("MaxStartups 2:70:4")
    transports = [SshTransport(sshd.spec(connect_timeout=30), events=events) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda one: one.run("echo 1", deadline=soon(60)).out, transports))
    for one in transports:
        one.close()
    assert answers == ["1"] * 12


# -- noise


def test_what_the_login_prints_is_none_of_a_commands_output(sshd: Sshd, events: Events, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".ssh").mkdir()
    (home / ".ssh" / "rc").write_text("echo from rc; echo rc error >&2\n")
    sshd.start(f"SetEnv SHLVL=3 BASH_ENV={tmp_path / 'noise'}")
    (tmp_path / "noise").write_text("echo NOISE; echo NOISE >&2\n")
    transport = SshTransport(sshd.spec(), events=events)
    for stdin in (None, b""):
        result = transport.run("echo mine", deadline=soon(), stdin=stdin)
        assert (result.stdout, result.stderr) == (b"mine\n", b"")
    transport.close()


def test_paramiko_never_writes_to_our_stderr(sshd: Sshd, events: Events, capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), list(logging.getLogger("paramiko").handlers))
    sshd.start()
    transport = SshTransport(sshd.spec(), events=events)
    transport.run(":", deadline=soon())
    sshd.kill_sessions()
    refused(replace(sshd.spec(), port=1), events)
    with pytest.raises(Unavailable):
        SshTransport(sshd.spec(host_keys=()), events=events).run("echo", deadline=soon())
    transport.close()
    assert capfd.readouterr().err == ""
    assert (list(root.handlers), list(logging.getLogger("paramiko").handlers)) == before
    assert events.of("ssh.library"), "what it had to say is an event"


# -- ways in


def test_a_password_that_is_right(sshd: Sshd, events: Events) -> None:
    if shutil.which("useradd") is None or os.getuid() != 0:
        pytest.skip("needs root and useradd")
    user, password = f"hx{os.getpid() % 100000}", "correct horse"
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", user], check=True)
    try:
        subprocess.run(["chpasswd"], input=f"{user}:{password}\n", text=True, check=True)
        sshd.start("PasswordAuthentication yes")
        transport = SshTransport(sshd.spec(user=user, key_files=(), password=password), events=events)
        assert transport.run("id -un", deadline=soon()).out == user
        for _ in range(3):
            assert transport.run("echo a | cat", deadline=soon()).out == "a"
        with pytest.raises(Timeout):
            transport.run("sleep 30", deadline=soon(0.5))
        assert transport.run("id -un", deadline=soon()).out == user
        transport.close()
    finally:
        subprocess.run(["pkill", "-KILL", "-u", user], check=False)
        subprocess.run(["userdel", "-rf", user], check=False, capture_output=True)


def test_a_jump_host(shared_sshd: Sshd, sshd: Sshd, events: Events, tmp_path: Path) -> None:
    """The target is known only as the jump host sees it; both keys come from a known_hosts file."""
    sshd.start()
    known = tmp_path / "known"
    key, far = sshd.host_key, shared_sshd.host_key
    known.write_text(
        f"[127.0.0.1]:{sshd.port} {key.type} {key.base64}\n[127.0.0.1]:{shared_sshd.port} {far.type} {far.base64}\n"
    )
    config = tmp_path / "config"
    config.write_text(
        f"Host near\n HostName 127.0.0.1\n Port {sshd.port}\n User root\n IdentityFile {sshd.client_key}\n"
        f" UserKnownHostsFile {known}\n"
    )
    spec = shared_sshd.spec(
        host_keys=(), known_hosts=(str(known),), proxy_jump="near", config_file=str(config), use_config=True
    )
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    transport = SshTransport(spec, events=events)
    assert transport.run("echo over", deadline=soon()).out == "over"
    assert len(transport.run("head -c 3000000 /dev/zero", deadline=soon()).stdout) == 3_000_000
    transport.close()
    nothing_more_than(before)


def test_a_proxy_command(shared_sshd: Sshd, events: Events) -> None:
    script = (
        "import os,socket,select,sys\n"
        "s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
        "while 1:\n"
        " r,_,_=select.select([0,s],[],[])\n"
        " if 0 in r:\n"
        "  d=os.read(0,65536)\n"
        "  if not d: break\n"
        "  s.sendall(d)\n"
        " if s in r:\n"
        "  d=s.recv(65536)\n"
        "  if not d: break\n"
        "  os.write(1,d)\n"
    )
    import sys
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(script)
        file.flush()
        command = f"{sys.executable} {file.name} %h %p"
        before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
        transport = SshTransport(shared_sshd.spec(proxy_command=command), events=events)
        assert transport.run("echo over", deadline=soon()).out == "over"
        transport.close()
        nothing_more_than(before)


def test_a_proxy_command_that_fails_is_quoted(shared_sshd: Sshd, events: Events) -> None:
    error = refused(shared_sshd.spec(proxy_command="echo no route for you >&2; exit 1"), events)
    assert error.cause is Cause.BANNER
    assert "no route for you" in error.message


def test_a_key_under_a_passphrase_comes_from_the_agent(sshd: Sshd, events: Events, tmp_path: Path) -> None:
    if shutil.which("ssh-agent") is None:
        pytest.skip("no ssh-agent here")
    key = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "phrase", "-f", str(key)], check=True)
    shutil.copy(f"{key}.pub", sshd.folder / "authorized")
    sshd.start()
    assert "ssh-add" in refused(sshd.spec(key_files=(str(key),)), events).message
    socket_path = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + scaled(10)
        while not socket_path.exists() and time.monotonic() < until:
            time.sleep(0.02)
        askpass = tmp_path / "askpass"
        askpass.write_text("#!/bin/sh\necho phrase\n")
        askpass.chmod(0o700)
        env = {
            **os.environ,
            "SSH_AUTH_SOCK": str(socket_path),
            "SSH_ASKPASS": str(askpass),
            "SSH_ASKPASS_REQUIRE": "force",
        }
        subprocess.run(["ssh-add", str(key)], env=env, check=True, capture_output=True)
        for spec in (
            sshd.spec(key_files=(str(key),), agent_socket=str(socket_path)),
            sshd.spec(key_files=(), use_agent=True, agent_socket=str(socket_path)),
        ):
            before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
            asked: list[bool] = []
            transport = SshTransport(spec, events=events, keyring=Keyring(lambda: asked.append(True)))  # noqa: B023
            assert transport.run("echo in", deadline=soon()).out == "in"
            transport.close()
            assert not asked
            nothing_more_than(before)
    finally:
        agent.terminate()
        agent.wait()


def test_a_certificate(sshd: Sshd, events: Events, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "ca")], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "me")], check=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-s", str(tmp_path / "ca"), "-I", "me", "-n", "root", str(tmp_path / "me.pub")],
        check=True,
        capture_output=True,
    )
    (sshd.folder / "authorized").write_text("")
    sshd.start(f"TrustedUserCAKeys {tmp_path / 'ca.pub'}")
    transport = SshTransport(sshd.spec(key_files=(str(tmp_path / "me"),)), events=events)
    assert transport.run("echo in", deadline=soon()).out == "in"
    transport.close()


def test_each_reconnect_is_charged_to_one_call_whether_it_was_answered_or_not(sshd: Sshd, events: Events) -> None:
    sshd.start()
    transport = SshTransport(sshd.spec(), events=events)
    link = Link([transport], events=events, name="box")
    met: list[Result] = []
    counted = CountedLink(link, met.append, events)
    counted.run(":", deadline=soon())
    for _ in range(2):
        connection = transport._pool.connected(soon())
        sshd.kill_sessions()
        eventually(partial(_is_dead, connection))
        if len(met) == 1:
            assert counted.run("echo on", deadline=soon(), repeatable=True).out == "on"
    # This one is connected anew for a command that then gets no answer.
    killer = threading.Thread(target=lambda: eventually(lambda: _kill_at_work(sshd, transport)))
    killer.start()
    with pytest.raises(TransportLost):
        counted.run("sleep 61", deadline=soon(60))
    killer.join()
    assert counted.run("echo on", deadline=soon(), repeatable=True).out == "on"
    assert (len(events.of("ssh.lost")), len(events.of("ssh.connected"))) == (3, 4)
    assert [each.damage.reconnects for each in met] == [0, 1, 1, 1]
    assert link.counts["reconnects"] == 3
    link.close()


def test_a_file_that_needs_a_new_connection_tells_so(sshd: Sshd, events: Events, tmp_path: Path) -> None:
    sshd.start()
    transport = SshTransport(sshd.spec(), events=events)
    link = Link([transport], events=events, name="box")
    link.run(":", deadline=soon())
    connection = transport._pool.connected(soon())
    sshd.kill_sessions()
    eventually(partial(_is_dead, connection))
    assert link.put(b"x", str(tmp_path / "file"), deadline=soon()).damage.reconnects == 1
    assert link.get(str(tmp_path / "file"), deadline=soon()).damage.reconnects == 0
    link.close()


def _is_dead(connection: Connection) -> bool:
    return not connection.alive


def _kill_at_work(sshd: Sshd, transport: SshTransport) -> bool:
    """Kill the sessions once there is a new connection with a command at work on it."""
    if transport.counts["connects"] != 3 or not any(_runs_sleep(pid) for pid in sshd.sessions()):
        return False
    sshd.kill_sessions()
    return True


def _runs_sleep(pid: int) -> bool:
    try:
        return b"sleep\x0061" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
