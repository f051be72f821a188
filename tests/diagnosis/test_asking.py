"""The question that is put to a machine, in real shells; and whom it is put to."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from checks.sshd._sshd import explain_silence
from harness.api.check import Never, NotYet, diagnosis_of, with_diagnosis
from harness.deadline import Deadline
from harness.diagnosis.answers import parse_answer
from harness.diagnosis.ask import diagnose_ssh, offered_keys, unreachable_message
from harness.diagnosis.evidence import MachineState
from harness.diagnosis.script import machine_question
from harness.errors import DeadlineExpired
from harness.events import NullEmitter
from harness.target.network import SshEndpoint
from harness.target.shared import SharedQuestions
from harness.target.target import Target
from harness.transport.contract import CommandResult
from harness.transport.errors import Cause, Contact, Timeout, TransportError, Unavailable
from harness.transport.link import Unreachable
from harness.transport.ssh.spec import SshSpec
from tests.diagnosis.test_causes import HEALTHY
from tests.patience import scaled

BUSYBOX = shutil.which("busybox") or ""


def asked(shell: list[str], user: str, folder: Path, **environment: str) -> tuple[MachineState, str]:
    """What this machine says of itself, asked by a shell."""
    done = subprocess.run(
        [*shell, "-c", machine_question(user, blobs=("AAAAC3NzaC1lZDI1NTE5AAAAInotthere",))],
        capture_output=True,
        text=True,
        errors="backslashreplace",
        cwd=folder,
        env={**os.environ, **environment},
        timeout=scaled(60),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return parse_answer(done.stdout, over="serial"), done.stdout


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_real_machine_answers(shell: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found, text = asked([shell], "root", tmp_path)
    assert {"who", "clock", "listen", "link", "account", "df", "memory", "load", "end"} <= found.sections
    assert found.account is not None
    assert (found.account.exists, found.account.uid, found.account.home) == (True, 0, "/root")
    assert found.today is not None
    assert found.today > 20000
    assert [each for each in found.interfaces if each.name == "lo"]
    assert [each for each in found.spaces if each.mount == "/" and each.free_kb]
    assert found.memory_total_kb
    assert "$6$" not in text
    assert "$y$" not in text
    assert port in [each.port for each in found.listeners]


def test_who_listens_is_read_from_the_kernel_where_there_is_no_ss(tmp_path: Path) -> None:
    """A busybox target: no ss, no ip of iproute2, no getent, no timeout of coreutils."""
    if not BUSYBOX:
        pytest.skip("there is no busybox")
    (tmp_path / "bin").mkdir()
    for name in ("head", "grep", "tail", "cat", "id", "date", "ls", "df", "tr", "timeout", "ifconfig", "sh"):
        (tmp_path / "bin" / name).symlink_to(BUSYBOX)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found, _ = asked([BUSYBOX, "sh"], "root", tmp_path, PATH=str(tmp_path / "bin"))
    assert found.knows("listen")
    assert port in [each.port for each in found.listeners]
    assert all(not each.owner for each in found.listeners)


@pytest.mark.parametrize("user", ["no such user", "-x", "a'b; touch harm; '", "$(touch harm)", "a\nb", "[.*"])
def test_a_user_name_is_never_a_part_of_the_script(user: str, tmp_path: Path) -> None:
    found, _ = asked(["dash"], user, tmp_path)
    assert found.account is not None
    assert not found.account.exists
    assert not (tmp_path / "harm").exists()


# -- whom it is put to


class Transports:
    """A link: each transport gives an answer, or raises. `look` is the answer to a look at systemd, empty for none."""

    def __init__(self, *, look: str = "", **answers: str | TransportError) -> None:
        self.answers = answers
        self.look = look
        self.asked: list[str] = []

    def run(self, command: str, *, transport: str | None = None, **_: Any) -> CommandResult:
        assert transport is not None
        self.asked.append(transport)
        said = self.look if self.look and "list-jobs" in command else self.answers[transport]
        if isinstance(said, TransportError):
            raise said
        return CommandResult(command, said.encode(), b"", 0, transport, 0.0, 0.0, 0.0)

    def put(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no file is carried")

    get = put


def a_target(link: Transports, **changes: Any) -> Target:
    spec = SshSpec("vm1", "127.0.0.1", 44283, "root", use_agent=False)
    deadline = Deadline.after(scaled(30))
    return Target(
        name="vm1",
        groups=(),
        vars={},
        link=link,
        deadline=deadline,
        events=NullEmitter(),
        endpoint=SshEndpoint(spec, deadline, NullEmitter(), None, 22),
        transports=("ssh", "serial"),
        **changes,
    )


REFUSAL = Unavailable("vm1: refused the login", cause=Cause.AUTH, transport="ssh")
NOW = 1795934923


def entry(ago: float, message: str) -> str:
    fields = {"MESSAGE": message, "SYSLOG_IDENTIFIER": "sshd", "__REALTIME_TIMESTAMP": str(int((NOW - ago) * 1e6))}
    return json.dumps(fields)


def test_the_log_counts_from_our_own_attempt_on() -> None:
    old = entry(200, "User root from 10.0.2.2 not allowed because not listed in AllowUsers")
    new = entry(4, "Authentication refused: bad ownership or modes for directory /root")
    link = Transports(serial=HEALTHY.replace("=== log\n", f"=== log\n{old}\n{new}\n"))
    found = diagnose_ssh(a_target(link), REFUSAL, took=5.0)
    assert link.asked == ["serial"]
    assert [each.name for each in found.causes] == ["key-file-modes", "ssh-login-refused"]
    assert found.lasting


def recorded_look(unit: str) -> str:
    """Return what a guest answered about a unit, as if it had been sshd's."""
    kept = json.loads((Path(__file__).parents[1] / "target" / "looks" / f"{unit}.json").read_text())
    return "\n".join(kept["output"]).replace(unit, "ssh.service")


DOWN = HEALTHY.replace("ActiveState=active", "ActiveState=inactive").replace("SubState=running", "SubState=dead")


@pytest.mark.parametrize(
    ("unit", "words", "waits"),
    [
        ("waiter.service", "ssh.service is waiting for its automatic restart", True),
        ("needy.service", "ssh.service was not started because a dependency failed: broken-oneshot.service", False),
    ],
)
def test_why_the_unit_of_sshd_is_not_up_is_asked_of_systemd(unit: str, words: str, waits: bool) -> None:
    link = Transports(serial=DOWN, look=recorded_look(unit))
    hung_up = Unavailable("closed", cause=Cause.BANNER, transport="ssh", contact=Contact.CLOSED)
    found = diagnose_ssh(a_target(link), hung_up)
    assert found.headline.startswith(words)
    assert "does not run: it is inactive" not in found.headline
    assert found.booting is waits
    assert set(link.asked) == {"serial"}


class RecordingShare(SharedQuestions):
    """Notes the kinds of questions that are shared."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[str] = []

    def ask(self, kind: str, *arguments: Any, **options: Any) -> Any:
        self.kinds.append(kind)
        return super().ask(kind, *arguments, **options)


def test_checks_that_ask_the_same_machine_at_the_same_time_share_its_answer() -> None:
    shared = RecordingShare()
    for _ in range(2):
        found = diagnose_ssh(a_target(Transports(serial=HEALTHY), shared=shared), REFUSAL)
        assert found.first is not None
    first, second = (kind for kind in shared.kinds if "diagnosis" in kind)
    assert first == second


def test_what_was_seen_from_outside_is_the_cause_where_the_machine_does_not_answer_in_time() -> None:
    class Late(Transports):
        def run(self, command: str, **_: Any) -> CommandResult:
            raise DeadlineExpired("waiting for the console")

    hung_up = Unavailable("closed", cause=Cause.BANNER, transport="ssh", contact=Contact.CLOSED)
    with pytest.raises(NotYet) as caught:
        explain_silence(a_target(Late()), hung_up)
    assert str(caught.value).startswith("127.0.0.1:44283 accepts the connection and closes it without a word")
    kept = diagnosis_of(caught.value)
    assert kept is not None
    assert [each["what"] for each in kept["not_asked"]] == ["the machine itself"]


def late_answer(output: str) -> Timeout:
    return Timeout("`export LC_ALL=C u=root` did not end", transport="serial", stdout=output.encode())


def test_of_an_answer_that_was_cut_off_the_whole_sections_count() -> None:
    text = HEALTHY.replace("permitrootlogin without-password", "permitrootlogin no")
    found = diagnose_ssh(a_target(Transports(serial=late_answer(text.partition("=== keys")[0] + "=== ke"))), REFUSAL)
    assert found.first is not None
    assert found.first.name == "ssh-login-refused", "the section of settings may not be whole"
    assert ("sshd's effective settings", "its answer was cut off") in found.not_asked
    found = diagnose_ssh(a_target(Transports(serial=late_answer(text.partition("=== df")[0] + "=== df\n"))), REFUSAL)
    assert found.headline.startswith("sshd refuses the login of root: PermitRootLogin is no")


def test_no_code_of_the_question_is_in_what_is_said_of_a_machine_that_did_not_answer_it() -> None:
    found = diagnose_ssh(a_target(Transports(serial=late_answer(""))), REFUSAL)
    assert not any("export" in line for line in found.lines)
    asked = "serial: the machine did not answer the questions of the diagnosis in time"
    assert ("the machine itself", asked) in found.not_asked


def test_where_systemd_gives_no_reason_the_state_of_the_unit_is_the_cause() -> None:
    hung_up = Unavailable("closed", cause=Cause.BANNER, transport="ssh", contact=Contact.CLOSED)
    found = diagnose_ssh(a_target(Transports(serial=DOWN)), hung_up)
    assert found.headline.startswith("ssh.service does not run: it is inactive (dead)")
    assert not found.booting


def test_where_no_other_transport_answers_that_is_told_too() -> None:
    silence = Unavailable("no shell answered on the console", cause=Cause.NO_SHELL, transport="serial")
    found = diagnose_ssh(a_target(Transports(serial=silence)), REFUSAL)
    assert found.headline.startswith("sshd at 127.0.0.1:44283 refuses the login of root")
    assert ("the machine itself", "serial: no shell answered on the console") in found.not_asked
    assert [(each.transport, each.contact) for each in found.observations] == [
        ("ssh", Contact.LOGIN_REFUSED),
        ("serial", Contact.NO_SHELL),
    ]


def test_a_console_log_is_read_where_nothing_answers() -> None:
    silence = Unavailable("no shell answered on the console", cause=Cause.NO_SHELL, transport="serial")
    found = diagnose_ssh(
        a_target(Transports(serial=silence)), REFUSAL, console=lambda: ("[  2.0] Kernel panic - not syncing: Oops",)
    )
    assert found.first is not None
    assert found.first.name == "kernel-panic"


def test_what_was_tried_already_is_not_tried_again() -> None:
    both = Unreachable("vm1", [REFUSAL, Unavailable("busy", cause=Cause.BUSY, transport="serial")])
    link = Transports()
    found = diagnose_ssh(a_target(link), both)
    assert link.asked == []
    assert len(found.observations) == 2
    message = unreachable_message(found, both)
    assert message.startswith("sshd at 127.0.0.1:44283 refuses the login of root")
    assert message.endswith("serial: busy")
    assert "\n" not in message


def test_a_diagnosis_goes_with_the_verdict() -> None:
    found = diagnose_ssh(a_target(Transports(serial=HEALTHY)), REFUSAL)
    for error in (Never("x"), NotYet("x")):
        plain = diagnosis_of(with_diagnosis(error, found))
        assert plain is not None
        assert plain["cause"] == "ssh-login-refused"
        json.dumps(plain)
    assert diagnosis_of(ValueError()) is None


def test_keys_that_cannot_be_known_are_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIabc comment\n")
    spec = SshSpec("vm1", "127.0.0.1", key_files=(str(tmp_path / "key"),), use_agent=False)
    assert offered_keys(spec) == ("AAAAC3NzaC1lZDI1NTE5AAAAIabc",)
    assert offered_keys(SshSpec("vm1", "127.0.0.1", use_agent=True)) == ()
