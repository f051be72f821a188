"""The SSH transport against a real OpenSSH server that works as it should."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled, UsageError
from harness.transport.contract import Transport
from harness.transport.errors import Timeout, TransportLost, Unavailable
from harness.transport.ssh.transport import END_GRACE, SshTransport
from harness.transport.ssh.turns import MOST_PATIENCE
from tests.patience import patient, scaled

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import Events, Sshd


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(patient(seconds))


def test_it_is_a_transport(ssh: SshTransport) -> None:
    assert isinstance(ssh, Transport)
    assert ssh.name == "ssh"


def test_a_result_has_all_of_it(ssh: SshTransport) -> None:
    before = time.time()
    result = ssh.run("echo out; echo err >&2; exit 3", deadline=soon())
    assert (result.stdout, result.stderr, result.exit_status) == (b"out\n", b"err\n", 3)
    assert result.transport == "ssh"
    assert before <= result.started <= result.ended <= time.time()
    assert result.duration >= 0
    assert not result.damage.any
    assert result.attempts == 1


def test_the_connection_is_one_and_the_shell_is_kept(ssh: SshTransport, events: Events) -> None:
    for number in range(30):
        assert ssh.run(f"echo {number}", deadline=soon()).out == str(number)
    assert ssh.counts["connects"] == 1
    assert ssh.counts["channels"] == 1
    assert len(events.of("ssh.connected")) == 1
    assert events.of("ssh.connected")[0]["host_key"].startswith("ssh-ed25519 SHA256:")


def test_death_by_signal_is_128_and_more(ssh: SshTransport) -> None:
    for number in (1, 9, 15):
        assert ssh.run(f"kill -{number} $$", deadline=soon()).exit_status == 128 + number
        assert ssh.run(f"kill -{number} $$", deadline=soon(), stdin=b"x").exit_status == 128 + number


def test_stdin_is_given_byte_for_byte_and_then_ends(ssh: SshTransport) -> None:
    data = bytes(range(256)) * 20000
    assert ssh.run("cat", deadline=soon(60), stdin=data).stdout == data
    assert ssh.run("wc -c", deadline=soon(), stdin=b"").out.strip() == "0"
    assert ssh.run("cat", deadline=soon()).stdout == b"", "without stdin it is closed"


def test_a_command_that_does_not_read_its_stdin_is_no_fault(ssh: SshTransport) -> None:
    result = ssh.run("exec <&-; echo done", deadline=soon(), stdin=b"x" * 5_000_000)
    assert (result.stdout, result.exit_status) == (b"done\n", 0)


def test_stdin_that_comes_back_larger_than_all_windows(ssh: SshTransport) -> None:
    result = ssh.run("tee /dev/stderr", deadline=soon(60), stdin=b"0123456789abcdef" * 500_000)
    assert len(result.stdout) == len(result.stderr) == 8_000_000


@pytest.mark.parametrize("stdin", [None, b"some"])
def test_five_megabytes_on_stderr_alone(ssh: SshTransport, stdin: bytes | None) -> None:
    result = ssh.run("head -c 5000000 /dev/zero >&2; echo end", deadline=soon(60), stdin=stdin)
    assert (result.stdout, len(result.stderr)) == (b"end\n", 5_000_000)


def test_large_output_of_both_streams_is_whole(ssh: SshTransport) -> None:
    result = ssh.run("seq 1 300000; seq 300001 600000 >&2", deadline=soon(60))
    assert result.stdout.split() == [b"%d" % n for n in range(1, 300001)]
    assert result.stderr.split() == [b"%d" % n for n in range(300001, 600001)]


def test_a_child_that_holds_stdout_does_not_hang_us_nor_lie_to_us(ssh: SshTransport) -> None:
    began = time.monotonic()
    result = ssh.run("(sleep 1; echo LATE; echo LATE >&2) & echo now", deadline=soon(30))
    assert result.stdout == b"now\n"
    assert time.monotonic() - began < 0.9, "it waited for the child"
    texts = []
    while time.monotonic() - began < 1.5:
        answer = ssh.run("echo mine", deadline=soon())
        texts.append(answer.stdout + answer.stderr)
        time.sleep(0.01)
    assert set(texts) == {b"mine\n"}


def test_the_same_with_stdin(ssh: SshTransport) -> None:
    began = time.monotonic()
    result = ssh.run("(sleep 5; echo LATE) & cat", deadline=soon(30), stdin=b"given")
    assert result.stdout == b"given"
    assert time.monotonic() - began < 4


def test_a_daemon_outlives_its_command_and_the_timeouts_of_others(ssh: SshTransport) -> None:
    pid = int(ssh.run("sleep 60.5 >/dev/null 2>&1 & echo $!", deadline=soon()).out)
    with pytest.raises(Timeout):
        ssh.run("sleep 30", deadline=soon(0.3))
    os.kill(pid, 0)  # raises when it is gone
    os.kill(pid, 9)


def test_a_deadline_ends_the_command_and_keeps_what_it_wrote(ssh: SshTransport) -> None:
    tag = f"77{os.getpid()}"
    ssh.run(":", deadline=soon())  # so that the time below is the command's
    began = time.monotonic()
    with pytest.raises(Timeout) as caught:
        ssh.run(
            f"echo part; echo errors >&2; sleep {tag}1 & (setsid sleep {tag}2 &); timeout 500 sleep {tag}3",
            deadline=soon(0.7),
        )
    assert 0.65 < time.monotonic() - began < 0.7 + 2 * END_GRACE
    assert (caught.value.stdout, caught.value.stderr) == (b"part\n", b"errors\n")
    assert caught.value.may_have_run
    assert "ended on the target, with its children" in str(caught.value)
    listing = ssh.run("ps -eo stat=,args=", deadline=soon()).out
    running = [line for line in listing.splitlines() if f"sleep {tag}" in line and not line.startswith("Z")]
    # A child that was given a session of its own, by a parent that is gone, is a daemon's business.
    assert [line for line in running if f"{tag}2" not in line] == []
    ssh.run(f"pkill -f 'sleep {tag}2'; :", deadline=soon())
    assert ssh.run("echo on", deadline=soon()).out == "on"


def test_a_deadline_with_output_pending(ssh: SshTransport) -> None:
    ssh.run(":", deadline=soon())
    with pytest.raises(Timeout) as caught:
        ssh.run("yes", deadline=soon(0.5))
    assert len(caught.value.stdout) > 100_000
    assert set(caught.value.stdout) == {ord("y"), ord("\n")}
    assert ssh.run("echo on", deadline=soon()).out == "on"


def test_a_deadline_with_stdin_pending(ssh: SshTransport) -> None:
    began = time.monotonic()
    with pytest.raises(Timeout):
        ssh.run("sleep 30", deadline=soon(0.5), stdin=b"x" * 10_000_000)
    assert time.monotonic() - began < 5
    assert ssh.run("echo on", deadline=soon()).out == "on"


def test_many_timeouts_leave_nothing_behind(ssh: SshTransport) -> None:
    ssh.run(":", deadline=soon())
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    for _ in range(int(os.environ.get("SSH_TIMEOUTS", "20"))):
        with pytest.raises((Timeout, Unavailable)):  # a busy machine may take longer to start a shell
            ssh.run("sleep 9", deadline=soon(0.15))
    assert ssh.run("echo on", deadline=soon()).out == "on"
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
    assert ssh.counts["connects"] == 1


def test_cancelling_ends_the_wait_at_once_and_the_command_too(ssh: SshTransport) -> None:
    ssh.run(":", deadline=soon())
    cancellation = Cancellation()
    deadline = Deadline.after(scaled(60), cancellation=cancellation)
    timer = threading.Timer(0.3, cancellation.cancel, ["enough"])
    began = time.monotonic()
    timer.start()
    with pytest.raises(Cancelled, match="enough"):
        ssh.run(f"sleep 44.{os.getpid()}", deadline=deadline)
    assert time.monotonic() - began < 2
    until = time.monotonic() + scaled(
        10
    )  # who cancelled was not kept waiting; a busy machine ends it when it gets to it
    while True:
        listing = ssh.run("ps -eo stat=,args=", deadline=soon()).out.splitlines()
        left = [line for line in listing if f"sleep 44.{os.getpid()}" in line and not line.startswith("Z")]
        if not left or time.monotonic() > until:
            break
        time.sleep(0.1)
    assert not left


def test_many_at_once_each_gets_its_own_answer(ssh: SshTransport) -> None:
    def one(number: int) -> bool:
        result = ssh.run(f"sleep 0.0{number % 5}; echo {number}; echo e{number} >&2", deadline=soon(60))
        return result.stdout == b"%d\n" % number and result.stderr == b"e%d\n" % number

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(200)))
    assert ssh.counts["connects"] == 1
    assert ssh.counts["channels"] <= 30, "shells were not kept"


def test_many_at_once_with_stdin_and_timeouts_among_them(ssh: SshTransport) -> None:
    def one(number: int) -> bool:
        if number % 7 == 0:
            # On a busy machine the deadline may pass before there is a channel.
            with pytest.raises((Timeout, Unavailable)):
                ssh.run("sleep 30", deadline=soon(0.5))
            return True
        data = str(number).encode() * 1000
        return ssh.run("cat", deadline=soon(60), stdin=data).stdout == data

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(one, range(60)))


def test_short_commands_share_a_shell_and_a_long_one_keeps_nobody_waiting(ssh: SshTransport) -> None:
    ssh.run(":", deadline=soon())
    assert 0 < ssh._pool._turns.patience <= MOST_PATIENCE, "what it takes to start a shell here was learnt"
    with ThreadPoolExecutor(4) as pool:
        ssh._pool._turns.patience = 10.0  # whatever this machine does beside
        assert all(result.ok for result in pool.map(lambda _: ssh.run(":", deadline=soon()), range(40)))
        assert ssh.counts["channels"] == 1
        ssh._pool._turns.patience = 0.1
        long = pool.submit(ssh.run, "sleep 4", deadline=soon())
        time.sleep(0.5)
        assert ssh.run("echo other", deadline=soon()).out == "other"
        assert not long.done()
        assert ssh.counts["channels"] == 2
        assert long.result().ok


def test_whatever_becomes_of_commands_no_shell_counts_as_at_work_afterwards(ssh: SshTransport) -> None:
    commands = (":", "sleep 5 &", "kill -9 $PPID", "sleep 9", "exec cat", "head -c 300000 /dev/zero")

    def run(number: int) -> None:
        stdin = b"x" if number % 3 == 0 else None
        # On a busy machine a shell may take longer to start.
        with contextlib.suppress(Timeout, TransportLost, Unavailable):
            ssh.run(commands[number % len(commands)], deadline=soon(1.0), stdin=stdin)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(36)))
    assert ssh.run("echo yes", deadline=soon()).out == "yes"
    assert ssh._pool._turns.at_work == 0


def test_closing_ends_the_waits_of_others(shared_sshd: Sshd, events: Events) -> None:
    ssh = SshTransport(shared_sshd.spec(), events=events)
    ssh.run(":", deadline=soon())
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            ssh.run("sleep 20", deadline=soon(30))
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    ssh.close()
    ssh.close()
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(caught[0], TransportLost)
    with pytest.raises(TransportLost, match="closed"):
        ssh.run("echo", deadline=soon())


def test_open_and_close_again_and_again(shared_sshd: Sshd, events: Events) -> None:
    def cycle() -> None:
        transport = SshTransport(shared_sshd.spec(), events=events)
        assert transport.run("echo 1", deadline=soon(30)).out == "1"
        transport.close()

    cycle()
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    for _ in range(int(os.environ.get("SSH_CYCLES", "20"))):
        cycle()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def test_nothing_can_be_asked_after_the_deadline(ssh: SshTransport) -> None:
    with pytest.raises(Unavailable, match="deadline"):
        ssh.run("echo", deadline=Deadline.after(-1))


def test_a_command_with_a_nul_is_the_callers_mistake(ssh: SshTransport) -> None:
    with pytest.raises(UsageError):
        ssh.run("echo \0", deadline=soon())


@pytest.mark.skipif(not os.path.exists("/bin/bash"), reason="no bash here")
def test_another_shell(shared_sshd: Sshd, events: Events) -> None:
    ssh = SshTransport(shared_sshd.spec(shell="/bin/bash"), events=events)
    command = "a=(1 2 3); echo ${#a[@]} $BASH"
    assert ssh.run(command, deadline=soon()).out == "3 /bin/bash"
    assert ssh.run(command, deadline=soon(), stdin=b"x").out == "3 /bin/bash"
    assert ssh.run(f": {'y' * 120_000}; {command}", deadline=soon()).out == "3 /bin/bash"
    ssh.close()


def test_long_commands(ssh: SshTransport) -> None:
    for size in (5_000, 99_999, 300_000):
        result = ssh.run(f"x={'y' * size}; echo ${{#x}}", deadline=soon(60))
        assert result.out == str(size)


def test_a_command_that_kills_its_shell_is_lost_and_the_next_one_works(ssh: SshTransport) -> None:
    with pytest.raises(TransportLost) as caught:
        ssh.run("kill -9 $PPID; sleep 1", deadline=soon())
    assert caught.value.may_have_run
    assert ssh.run("echo on", deadline=soon()).out == "on"
    assert ssh.counts["connects"] == 1
