"""A program that is followed beside commands: each word is heard, none is waited for, nothing stays behind."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from harness.deadline import Deadline
from harness.transport.contract import Follows
from harness.transport.ssh.transport import SshTransport
from tests.patience import patient, scaled

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import Sshd


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(patient(seconds))


def _running(words: str) -> bool:
    return subprocess.run(["pgrep", "-f", words], capture_output=True, check=False).returncode == 0


def test_each_word_is_heard_and_no_thread_waits(ssh: SshTransport, tmp_path: Path) -> None:
    assert isinstance(ssh, Follows)
    log = tmp_path / "journal"
    log.touch()
    ssh.run("true", deadline=soon())
    threads = threading.active_count()
    heard = threading.Event()
    followed = ssh.follow(f"tail -n 0 -f {log}", deadline=soon(), on_word=heard.set)
    assert threading.active_count() == threads
    for _ in range(3):
        heard.clear()
        while not heard.wait(0.2):
            with log.open("a") as file:
                file.write("word\n")
        assert ssh.run("echo beside", deadline=soon()).out == "beside"
    assert not followed.closed
    followed.close()
    followed.close()
    assert followed.closed


def test_it_ends_on_the_target_when_it_is_closed(ssh: SshTransport, tmp_path: Path) -> None:
    from tests.transport.ssh.conftest import eventually

    words = f"tail -f {tmp_path}/journal"
    (tmp_path / "journal").touch()
    followed = ssh.follow(words, deadline=soon(), on_word=lambda: None)
    eventually(lambda: _running(words))
    followed.close()
    eventually(lambda: not _running(words))


def test_one_that_ends_by_itself_says_so(ssh: SshTransport) -> None:
    from tests.transport.ssh.conftest import eventually

    heard = threading.Event()
    followed = ssh.follow("echo once", deadline=soon(), on_word=heard.set)
    assert heard.wait(scaled(10))
    eventually(lambda: followed.closed)


def test_a_lost_connection_is_the_end(shared_sshd: Sshd, ssh: SshTransport) -> None:
    from tests.transport.ssh.conftest import eventually

    heard = threading.Event()
    followed = ssh.follow("sleep 1000", deadline=soon(), on_word=heard.set)
    shared_sshd.kill_sessions()
    assert heard.wait(scaled(10))
    eventually(lambda: followed.closed)


def test_what_it_says_does_not_gather(ssh: SshTransport) -> None:
    words = 0

    def count() -> None:
        nonlocal words
        words += 1

    followed = ssh.follow("yes", deadline=soon(), on_word=count)
    for _ in range(200):
        followed.forget()
        assert len(ssh.run("true", deadline=soon()).stdout) == 0
    assert words > 100
    followed.close()
