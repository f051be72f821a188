"""Keys under a passphrase: the agent, the inventory, and the person at a terminal; all real."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled, DeadlineExpired
from harness.transport.errors import Cause, Unavailable
from harness.transport.ssh.keyring import Keyring, LockedKeyError, UnusableKeyError, WrongPassphraseError
from harness.transport.ssh.library import load_paramiko
from harness.transport.ssh.transport import SshTransport
from harness.transport.ssh.tty import Tty
from tests.patience import patient, scaled

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import Events, Sshd

PHRASE = "correct horse"
ROOT = Path(__file__).parents[3]


def soon(seconds: float = 30.0) -> Deadline:
    return Deadline.after(patient(seconds))


class Person:
    """Sits at a terminal: sees what it shows, and types."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.seen = ""

    def wait_for(self, text: str, times: int = 1) -> None:
        until = time.monotonic() + scaled(30)
        while self.seen.count(text) < times:
            assert time.monotonic() < until, f"no {text!r} in {self.seen!r}"
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self._master, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"it hung up before {text!r}: {self.seen!r}") from None

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def look(self) -> str:
        """All that was shown until now."""
        while select.select([self._master], [], [], 0.2)[0]:
            self.seen += os.read(self._master, 65536).decode(errors="replace")
        return self.seen


class Desk:
    """A terminal, the person at it, and a keyring that asks there."""

    def __init__(self) -> None:
        master, self._slave = pty.openpty()
        self._master = master
        self.person = Person(master)
        self.opened = 0
        self.keyring = Keyring(self._open)

    def _open(self) -> Tty:
        self.opened += 1
        return Tty(os.dup(self._slave))

    @property
    def shows_what_is_typed(self) -> bool:
        return bool(termios.tcgetattr(self._slave)[3] & termios.ECHO)

    def close(self) -> None:
        self.keyring.close()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
def desk() -> Iterator[Desk]:
    load_paramiko()
    found = Desk()
    yield found
    found.close()
    assert threading.active_count() < 20


@pytest.fixture(scope="module", params=["ed25519"])
def locked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key under the passphrase. `pem` is an RSA key in the older form."""
    path = tmp_path_factory.mktemp("locked") / "key"
    kind = ["-t", "rsa", "-m", "PEM"] if request.param == "pem" else ["-t", request.param]
    if "rsa" in kind:
        kind += ["-b", "2048"]  # a larger one takes a second to make
    kind += ["-a", "2"]  # rounds of the passphrase's hash: the usual 16 or more are slow on purpose
    subprocess.run(["ssh-keygen", "-q", *kind, "-N", PHRASE, "-f", str(path)], check=True)
    return path


each_type = pytest.mark.parametrize("locked", ["ed25519", "ecdsa", "rsa", "pem"], indirect=True)


# -- the keyring


@each_type
def test_a_locked_key_is_opened_by_its_passphrase_only(locked: Path) -> None:
    load_paramiko()
    keyring = Keyring()
    with pytest.raises(LockedKeyError):
        keyring.key(locked, None)
    with pytest.raises(WrongPassphraseError):
        keyring.key(locked, "wrong")
    public = Path(f"{locked}.pub").read_text().split()[1]
    assert keyring.key(locked, PHRASE).get_base64() == public
    assert keyring.key(locked, None).get_base64() == public, "it is open now"
    assert keyring.refusal(locked) == "nobody can be asked for it"


def test_a_file_that_changes_is_opened_anew(tmp_path: Path) -> None:
    load_paramiko()
    keyring, path = Keyring(), tmp_path / "key"
    found = set()
    for _ in range(2):
        path.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], input=b"y\n", check=True)
        found.add(keyring.key(path, None).get_base64())
    assert len(found) == 2


@pytest.mark.parametrize("content", [b"", b"no key", b"\x00\xff" * 100, b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_what_is_no_key(tmp_path: Path, content: bytes) -> None:
    load_paramiko()
    (tmp_path / "key").write_bytes(content)
    for path in (tmp_path / "key", tmp_path / "none"):
        with pytest.raises(UnusableKeyError, match=r"cannot be (used|read): "):
            Keyring().key(path, None)


def test_the_person_is_asked_once_and_nothing_is_shown(desk: Desk, locked: Path, events: Events) -> None:
    with ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(desk.keyring.ask, locked, events=events, deadline=soon()) for _ in range(8)]
        desk.person.wait_for("Passphrase for ")
        assert not desk.shows_what_is_typed
        assert [wait for wait in waits if wait.done()] == []
        desk.person.type(f"{PHRASE}\n")
        for wait in waits:
            wait.result()
    desk.keyring.key(locked, None)
    assert desk.shows_what_is_typed
    assert desk.person.look().count("Passphrase") == 1
    assert PHRASE not in desk.person.seen + str(events.seen) + repr(desk.keyring.__dict__)
    assert len(events.of("ssh.passphrase_wanted")) == len(events.of("ssh.passphrase_done")) == 1


def test_a_slip_of_the_hand(desk: Desk, locked: Path, events: Events) -> None:
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(desk.keyring.ask, locked, events=events, deadline=soon())
        desk.person.wait_for("Passphrase for ")
        desk.person.type("wrong\n")
        desk.person.wait_for("It does not open the key.")
        desk.person.wait_for("Passphrase for ", 2)
        desk.person.type("corect\x7f\x7f\x7f\x7frrect horse\n")
        wait.result()
    desk.keyring.key(locked, None)


@pytest.mark.parametrize(
    ("typed", "refusal"),
    [
        (["a\n", "b\n", "\n"], "the 3 that were given at the terminal do not open it"),
        (["\x04"], "none was given at the terminal"),
    ],
)
def test_who_does_not_know_it_is_not_asked_again(
    desk: Desk, locked: Path, events: Events, typed: list[str], refusal: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(desk.keyring.ask, locked, events=events, deadline=soon())
        for number, text in enumerate(typed, 1):
            desk.person.wait_for("Passphrase for ", number)
            desk.person.type(text)
        wait.result()
    assert desk.keyring.refusal(locked) == refusal
    desk.keyring.ask(locked, events=events, deadline=soon())
    assert desk.opened == 1
    assert desk.shows_what_is_typed


def test_what_was_typed_before_is_no_answer(desk: Desk, locked: Path, events: Events) -> None:
    desk.person.type("ls\n")
    time.sleep(0.1)
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(desk.keyring.ask, locked, events=events, deadline=soon())
        desk.person.wait_for("Passphrase for ")
        desk.person.type(f"{PHRASE}\n")
        wait.result()
    assert "does not open" not in desk.person.look()


def test_the_question_outlives_the_deadline_of_who_needs_the_answer(desk: Desk, locked: Path, events: Events) -> None:
    for _ in range(2):
        with pytest.raises(DeadlineExpired):
            desk.keyring.ask(locked, events=events, deadline=soon(0.2))
    desk.person.wait_for("Passphrase for ")
    desk.person.type(f"{PHRASE}\n")
    desk.keyring.ask(locked, events=events, deadline=soon())
    desk.keyring.key(locked, None)
    assert desk.person.look().count("Passphrase") == 1


def test_cancelling_withdraws_it_and_gives_the_terminal_back(desk: Desk, locked: Path, events: Events) -> None:
    cancellation = Cancellation()
    with ThreadPoolExecutor(1) as pool:
        deadline = Deadline.after(scaled(60), cancellation=cancellation)
        wait = pool.submit(desk.keyring.ask, locked, events=events, deadline=deadline)
        desk.person.wait_for("Passphrase for ")
        cancellation.cancel("enough")
        with pytest.raises(Cancelled):
            wait.result()
    desk.keyring.close()
    assert desk.shows_what_is_typed
    assert desk.keyring.refusal(locked) == "", "nobody refused"


def test_closing_withdraws_it_and_gives_the_terminal_back(desk: Desk, locked: Path, events: Events) -> None:
    with pytest.raises(DeadlineExpired):
        desk.keyring.ask(locked, events=events, deadline=soon(0.2))
    desk.person.wait_for("Passphrase for ")
    before = len(os.listdir("/proc/self/fd"))
    desk.keyring.close()
    assert desk.shows_what_is_typed
    assert len(os.listdir("/proc/self/fd")) == before - 2


def test_two_keys_are_asked_for_one_after_the_other(desk: Desk, tmp_path: Path, events: Events) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", f"phrase of {path.name}", "-f", str(path)]
        subprocess.run(argv, check=True)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(desk.keyring.ask, path, events=events, deadline=soon()) for path in paths]
        for number in (1, 2):
            desk.person.wait_for("Passphrase for ", number)
            desk.person.wait_for(": ", number)
            assert desk.person.seen.count("Passphrase for ") == number
            asked = desk.person.seen.rpartition("Passphrase for ")[2].partition(":")[0]
            desk.person.type(f"phrase of {Path(asked).name}\n")
        for wait in waits:
            wait.result()
    for path in paths:
        desk.keyring.key(path, None)


# -- logging in


@pytest.fixture
def guarded(sshd: Sshd, locked: Path) -> Sshd:
    """Lets the locked key in, and no other."""
    shutil.copy(f"{locked}.pub", sshd.folder / "authorized")
    sshd.start()
    return sshd


def test_hosts_share_what_was_typed(guarded: Sshd, locked: Path, desk: Desk, events: Events) -> None:
    spec = guarded.spec(key_files=(str(locked),), connect_timeout=5.0)
    boxes = [SshTransport(spec, events=events, keyring=desk.keyring) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(box.run, "echo in", deadline=soon(60)) for box in boxes]
        desk.person.wait_for("Passphrase for ")
        desk.person.type(f"{PHRASE}\n")
        assert [answer.result().out for answer in answers] == ["in"] * 4
    for box in boxes:
        box.close()
    assert desk.person.look().count("Passphrase") == 1
    assert PHRASE not in str(events.seen)


def test_an_attempt_ends_at_its_deadline_and_the_next_gets_in(
    guarded: Sshd, locked: Path, desk: Desk, events: Events
) -> None:
    box = SshTransport(guarded.spec(key_files=(str(locked),)), events=events, keyring=desk.keyring)
    with pytest.raises(Unavailable, match="was not given at the terminal in time") as caught:
        box.run("echo in", deadline=soon(1.0))
    assert caught.value.cause is Cause.AUTH
    desk.person.wait_for("Passphrase for ")
    desk.person.type(f"{PHRASE}\n")
    assert box.run("echo in", deadline=soon()).out == "in"
    box.close()


def test_without_a_terminal_the_error_says_what_to_do(guarded: Sshd, locked: Path, events: Events) -> None:
    for keyring, why in (
        (None, "nobody can be asked for it"),
        (Keyring(lambda: None), "there is no terminal to ask for it at"),
    ):
        box = SshTransport(guarded.spec(key_files=(str(locked),)), events=events, keyring=keyring)
        with pytest.raises(Unavailable) as caught:
            box.run("echo in", deadline=soon())
        box.close()
        message = caught.value.message
        assert f"The key {locked} is under a passphrase, the agent does not hold it, and {why}" in message
        assert f"run `ssh-add {locked}`, or set ansible_ssh_private_key_passphrase" in message


@each_type
def test_the_inventory_may_give_it(guarded: Sshd, locked: Path, events: Events) -> None:
    for changes in (
        {"key_files": (str(locked),), "passphrase": PHRASE},
        {"key_files": (), "key": locked.read_text(), "passphrase": PHRASE},
    ):
        box = SshTransport(guarded.spec(**changes), events=events)
        assert box.run("echo in", deadline=soon()).out == "in"
        box.close()
    for changes in (
        {"key_files": (str(locked),), "passphrase": "wrong one"},
        {"key_files": (), "key": locked.read_text(), "passphrase": "wrong one"},
    ):
        box = SshTransport(guarded.spec(**changes), events=events)
        with pytest.raises(Unavailable, match="ansible_ssh_private_key_passphrase") as caught:
            box.run("echo in", deadline=soon())
        box.close()
        assert caught.value.cause is Cause.AUTH
        assert "wrong one" not in str(caught.value) + str(events.seen) + repr(guarded.spec(**changes))


def test_a_whole_run_asks_at_its_terminal(guarded: Sshd, locked: Path, tmp_path: Path) -> None:
    """`harness run` with a controlling terminal, its live view and all."""
    key = guarded.host_key
    (tmp_path / "known").write_text(f"[127.0.0.1]:{guarded.port} {key.type} {key.base64}\n")
    (tmp_path / "hosts.ini").write_text(
        f"[all]\nbox ansible_host=127.0.0.1\nbox2 ansible_host=127.0.0.1\n[all:vars]\nansible_port={guarded.port}\n"
        f"ansible_user=root\nansible_ssh_private_key_file={locked}\n"
        f"ansible_ssh_common_args=-F none -o UserKnownHostsFile={tmp_path / 'known'} -o IdentityAgent=none\n"
    )
    (tmp_path / "looks.py").write_text(
        "from harness import check\n\n\n@check\ndef in_it(target):\n    assert target.read('echo in') == 'in'\n"
    )
    argv = [sys.executable, "-m", "harness", "run", "--no-settle", "-i", "hosts.ini", "--logs", "logs", "looks.py"]
    child, master = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.environ.pop("SSH_AUTH_SOCK", None)
        os.execve(argv[0], argv, {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"})
    person = Person(master)
    try:
        person.wait_for("Passphrase for ")
        time.sleep(0.5)  # The live view would have drawn over it by now.
        assert person.look().rstrip().endswith(f"Passphrase for {locked}:")
        person.type(f"{PHRASE}\n")
        person.wait_for("record: ")
    finally:
        status = os.waitpid(child, 0)[1]
        os.close(master)
    assert os.waitstatus_to_exitcode(status) == 0
    assert "2 passed" in person.seen
    assert person.seen.count("Passphrase for ") == 1
    assert PHRASE not in person.seen
    for file in (tmp_path / "logs").rglob("*.json*"):
        assert PHRASE not in file.read_text()
