"""The whole output of verbs: nothing that others wrote drives a terminal or a CI system."""

from __future__ import annotations

import json
import shlex
import struct
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from harness.cli.main import build_parser, main
from harness.cli.planning import repeat_command
from harness.cli.resuming import resume_command
from harness.inventory.patterns import Matcher
from harness.transport.ssh.spec import SshSpec
from tests.patience import scaled
from tests.security import hostile_receiver
from tests.security import hostile_sshd as sshd
from tests.security.hostile_receiver import HostileReceiver
from tests.security.test_trust import _drives_no_terminal, _obeyed
from tests.soak.fakes import a_check

EVIL = (
    "\x1b]0;title\x07\x1b]52;c;eA==\x07\x1bc\x9b2J\u202e\r\n::set-output name=deploy::yes\n ::add-mask::x\n##[error]z\n"
)
ON_ONE_LINE = EVIL.replace("\n", " \r")


class Printed:
    """Runs a verb in this process, where a CI system reads what it prints, and looks at that."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, word: str) -> tuple[int, str]:
        """The exit code, and the output; `word` must be in it, so that it is known to be the place that is meant."""
        try:
            code = main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
        found = self._capsys.readouterr()
        text = found.out + found.err
        assert word in text, text
        assert _drives_no_terminal(text), repr(text)
        assert not _obeyed(text), text
        assert "internal error" not in text, text
        return code, text


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Printed(capsys)


def _inventory(hosts: dict[str, dict[str, Any]], name: str = "i.json") -> str:
    Path(name).write_text(json.dumps({"all": {"hosts": hosts}}))
    return name


def _ssh(server: sshd.HostileSshd, **more: Any) -> dict[str, Any]:
    return {
        "ansible_host": "127.0.0.1", "ansible_port": server.port, "ansible_user": "root", "ansible_password": "pw",
        "ansible_host_key_checking": False, **more,
    }  # fmt: skip


# -- targets -----------------------------------------------------------------------------------------------------


def _says(out: bytes, err: bytes = b"", status: int = 1) -> sshd.Attack:
    def answer(server: sshd.HostileSshd, channel: paramiko.Channel, nonce: bytes) -> None:
        channel.sendall(out + nonce + b" %d 0\n" % status)
        channel.sendall_stderr(err + nonce + b"\n")

    return answer


class _Answering:
    """A command on a target that has answered with bytes of its choice."""

    def __init__(self, link: object, command: str, *, on_output: Any, **options: Any) -> None:
        self._on_output = on_output

    def run(self, deadline: object) -> Any:
        from harness.operate.live import Ended

        for piece in (b"one\rtwo  \x1b[1A", *(bytes([byte]) for byte in EVIL.encode())):
            self._on_output(piece, piece)
        return Ended(0, ("ssh",))


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    import harness.operate.live

    monkeypatch.setattr(harness.operate.live, "LiveCommand", _Answering)


def test_lines_of_several_hosts_stay_behind_their_names(printed: Printed, answering: None) -> None:
    hosts = _inventory({"one": {"ansible_host": "127.0.0.1"}, "two": {"ansible_host": "127.0.0.1"}})
    _, text = printed("exec", "-n", "-i", hosts, "all", "--", "true", word="set-output")
    assert all(line.startswith(("one", "two", "harness")) for line in text.splitlines()), text
    assert "\\x0d" in text
    printed("exec", "-n", "-i", hosts, "all", "--json", "--", "true", word="set-output")


def test_one_hosts_bytes_are_passed_on_but_no_order_to_a_ci_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], answering: None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    hosts = _inventory({"one": {"ansible_host": "127.0.0.1"}})
    for name in ("GITHUB_ACTIONS", "TF_BUILD", "GITEA_ACTIONS", "FORGEJO_ACTIONS", "TEAMCITY_VERSION"):
        monkeypatch.delenv(name, raising=False)
    assert main(["exec", "-n", "-i", hosts, "all", "--", "true"]) == 0
    assert EVIL.encode() in capsysbinary.readouterr().out
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert main(["exec", "-n", "-i", hosts, "all", "--", "true"]) == 0
    found = capsysbinary.readouterr()
    for data in (found.out, found.err):
        assert b"\x1b]52" in data
        assert not _obeyed(data.decode())


def _refuses(channel: paramiko.Channel) -> None:
    """A sudo that refuses."""
    text = f"sudo: {ON_ONE_LINE}: root is not in the sudoers file\n".encode()
    channel.sendall(text)
    channel.sendall_stderr(text)
    channel.send_exit_status(1)
    channel.close()


@pytest.mark.parametrize("verb", [["exec", "-n"], ["get"], ["put"], ["why"]])
def test_a_refusal_of_sudo_is_escaped(verb: list[str], printed: Printed) -> None:
    Path("file").write_text("x")
    words = {
        "exec": ["all", "--", "true"],
        "why": ["one"],
        "get": ["one", "/etc/motd", "-"],
        "put": ["one", "file", "/x"],
    }
    with sshd.HostileSshd(program=_refuses, sftp=_denies) as server:
        hosts = _inventory({"one": _ssh(server, ansible_become=True, ansible_become_password="pw")})
        options = ["-i", hosts, "--deadline", f"{scaled(2):.1f}"]
        printed(verb[0], *verb[1:], *options, *words[verb[0]], word="set-output")


def _denies(channel: paramiko.Channel) -> None:
    """An SFTP server that answers each request with a status, and words."""
    words = ON_ONE_LINE.encode()
    for packet in sshd._packets(channel):
        if packet[0] == 1:
            channel.sendall(struct.pack(">IBI", 5, 2, 3))
            continue
        body = b"\x65" + packet[1:5] + struct.pack(">II", 4, len(words)) + words + struct.pack(">I", 0)
        channel.sendall(struct.pack(">I", len(body)) + body)


@pytest.mark.parametrize("verb", ["get", "put"])
def test_the_words_of_an_sftp_status_are_escaped(verb: str, printed: Printed) -> None:
    Path("file").write_text("x")
    words = {"get": ["one", "/etc/motd", "-"], "put": ["one", "file", "/x"]}[verb]
    with sshd.HostileSshd(attack=_says(EVIL.encode(), EVIL.encode()), sftp=_denies) as server:
        code, _ = printed(
            verb, "-i", _inventory({"one": _ssh(server)}), "--deadline", "5", *words, word="one"
        )  # fmt: skip
        assert code


# -- inventories -------------------------------------------------------------------------------------------------

_VERBS: dict[str, list[str]] = {
    "--graph": ["inventory", "--graph"],
    "--list": ["inventory", "--list"],
    "--host": ["inventory", "--host", "nobody"],
    "check": ["inventory", "check"],
    "exec": ["exec", "-n", "all", "--", "true"],
    "get": ["get", "all", "/etc/motd", "out"],
    "why": ["why", "all"],
    "up": ["up"],
    "run": ["run", "c.py"],
    "run --list": ["run", "--list", "c.py"],
    "console": ["console", "all"],
}


@pytest.mark.parametrize("verb", _VERBS)
def test_names_of_hosts_and_groups_are_escaped(verb: str, printed: Printed) -> None:
    Path("c.py").write_text("from harness import check\n@check()\ndef c(target): pass\n")
    name = f"h{EVIL}"
    Path("i.json").write_text(
        json.dumps({f"g{EVIL}": {"hosts": {name: {"ansible_port": 1, "ansible_host": "127.0.0.1"}}}})
    )
    words = _VERBS[verb]
    printed(words[0], "-i", "i.json", *words[1:], word="")


@pytest.mark.parametrize("variable", ["ansible_port", "ansible_user", "ansible_host", "qemu_memory", "qemu_accel"])
@pytest.mark.parametrize("verb", ["check", "run --list"])
def test_values_in_errors_are_escaped(variable: str, verb: str, printed: Printed) -> None:
    words = _VERBS[verb]
    hosts = _inventory({"h": {"ansible_host": "127.0.0.1", "ansible_port": 1, variable: f"x{EVIL}"}})
    printed(words[0], "-i", hosts, *words[1:], word="h")


# -- receivers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_a_receivers_body_is_escaped(status: int, printed: Printed) -> None:
    from tests.ship.runs import Run

    run = Run(Path("20260101T000000Z-000000").absolute())
    run.end()
    body = f"set-output {EVIL}".encode()
    head = b"HTTP/1.1 %d x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    with HostileReceiver(hostile_receiver.http(head + body)) as receiver:
        url = f"otlp+http://127.0.0.1:{receiver.port}"
        printed("ship", str(run.folder), "--to", url, "--timeout", "1", word="set-output")
    log = (run.folder / "ship" / "ship.log") if (run.folder / "ship" / "ship.log").exists() else None
    assert log is None or _drives_no_terminal(log.read_text())


# -- what is pasted, and what is pointed out ---------------------------------------------------------------------

_NASTY = [
    "a b", "$(touch P)", "`touch P`", "x;touch P", "'", '"', "-rf", "*", "x\\y", "&&touch P", "--untrusted",
    "-eansible_user=root", "a,all", "all:!b", "!b", "&b", "~.*", "b[0]", "@b",
]  # fmt: skip


class Named:
    """Commands in hints that name something of a hostile name: each method returns one command, as it is printed."""

    def __init__(self, name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._name = name
        self._capsys = capsys
        self._folder = folder / f"in {name}"
        self._folder.mkdir()

    def a_target_that_is_down(self) -> str:
        from harness.cli.reaching import _not_up

        return str(getattr(_not_up(self._name, _arguments(self._name)), "hint", "")).partition("start it: ")[2]

    def a_machine_that_is_left_up(self) -> list[str]:
        import io

        from harness.cli.run import _go_on_with
        from harness.engine.outcome import RunResult, TargetResult

        target = TargetResult(self._name, (), reach=("ssh",))
        stream = io.StringIO()
        _go_on_with(RunResult("r", 0.0, 0.0, (target,)), _arguments(self._name), stream)
        return [line.strip() for line in stream.getvalue().splitlines() if line.startswith("  ")]

    def a_check_again(self) -> str:
        return repeat_command(_arguments(self._name))(self._name, a_check("c", lambda target: None))

    def a_soak_that_ends(self) -> str:
        return resume_command(Path(self._name) / "run")

    def a_key_under_a_passphrase(self) -> str:
        from harness.transport.ssh.auth import _unlock
        from harness.transport.ssh.keyring import LockedKeyError

        class Locked:
            def key(self, path: Path, passphrase: str | None) -> None:
                raise LockedKeyError(path)

            def refusal(self, path: Path) -> str:
                return "there is no terminal"

        problems: list[str] = []
        spec = SshSpec.from_vars("h", {"ansible_host": "127.0.0.1"})
        _unlock(Path(self._name), spec, problems, Locked())  # type: ignore[arg-type]
        return problems[0].partition("run `")[2].rpartition("`, or set")[0]

    def a_console_in_use(self) -> str:
        from harness.transport.errors import Unavailable
        from harness.transport.serial.ownership import Ownership

        first = Ownership("unix:///console", name=self._name)
        try:
            with pytest.raises(Unavailable) as caught:
                Ownership("unix:///console", name=self._name)
        finally:
            first.release()
        return (caught.value.hint or "").partition("; `")[2].rpartition("` shows")[0]

    def a_folder_that_others_can_read(self) -> str:
        from harness.transport.errors import Unavailable
        from harness.transport.serial.ownership import runtime_dir

        (self._folder / "harness").mkdir()
        (self._folder / "harness").chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(self._folder))
            with pytest.raises(Unavailable) as caught:
                runtime_dir()
        return (caught.value.hint or "").partition("`")[2].rpartition("` if it is yours")[0]

    def a_record_that_is_not_shipped(self) -> str:
        from harness.report.prune import look_at
        from tests.ship.runs import Run

        run = Run(self._folder / "20260101T000000Z-000000")
        run.end()
        (run.folder / "ship").mkdir()
        (run.folder / "ship" / "x.json").write_text("not known")
        (found,) = look_at(self._folder)
        return found.busy.partition(" (")[2].removesuffix(")")

    def a_soak_that_was_killed(self) -> str:
        run = self._soak()
        assert main(["status", "--logs", str(self._folder), str(run)]) == 0
        return self._capsys.readouterr().out.partition("go on with: ")[2].rstrip("\n")

    def a_soak_whose_status_is_damaged(self) -> str:
        run = self._soak()
        (run / "status.json").write_text('{"exit_code": 1}')
        assert main(["status", "--logs", str(self._folder), str(run)]) == 2
        return self._capsys.readouterr().err.partition("can still be had: ")[2].partition("\n")[0]

    def _soak(self) -> Path:
        run = self._folder / "20260101T000000Z-000000"
        run.mkdir()
        for name in ("soak.json", "trials.jsonl"):
            (run / name).touch()
        return run


@pytest.mark.parametrize("hint", [each for each in vars(Named) if not each.startswith("_")])
def test_a_hint_to_be_pasted_is_quoted(
    hint: str, tmp_path: Path, printed: Printed, capsys: pytest.CaptureFixture[str]
) -> None:
    """The words of the command are those of a command line, and the name in it is no option and no pattern."""
    for name in _NASTY:
        found = getattr(Named(name, tmp_path, capsys), hint)()
        commands = [found] if isinstance(found, str) else found
        assert all(commands)
        for command in commands:
            words = shlex.split(command)
            assert command == shlex.join(words), "nothing of it is read by a shell in any other way"
            if words[0] == "harness":
                _means(words, name)
            else:
                assert words[0] in ("chmod", "ssh-add"), command
                assert name in words[-1], command
                assert not words[-1].startswith("-"), command


_OTHERS = ("a", "b", "all.example", "rf", "x", "x-y", "untrusted")


def _means(words: list[str], name: str) -> None:
    """What harness itself makes of the command: the host or the path in it is this one, and no other."""
    given = build_parser((words[1],)).parse_args(words[1:])
    assert not getattr(given, "untrusted", False)
    assert not getattr(given, "extra_vars", [])
    places = [getattr(given, each, None) for each in ("resume", "run_name", "folder", "of", "runs")]
    place = next((each for each in places if each), None)
    if place:
        assert name in "".join(place)
    elif words[1] == "down":
        assert [each for each in (name, *_OTHERS) if any(fnmatchcase(each, one) for one in given.names)] == [name]
    else:
        named = [getattr(given, each, None) for each in ("pattern", "host", "where", "limit")]
        pattern = next(each for each in named if each)
        hosts = dict.fromkeys((name, *_OTHERS))
        matcher = Matcher(SimpleNamespace(hosts=hosts, groups={}))  # type: ignore[arg-type]
        assert matcher.hosts(":".join(pattern) if isinstance(pattern, list) else pattern) == [name], words


def _arguments(name: str) -> Any:
    import argparse

    return argparse.Namespace(
        inventory=["i.ini"], extra_vars=[], untrusted=False, vault_password_file=None, logs="logs", transport=None,
        budget=None, window=None, timeout_scale=None, target_deadline=None, reach_timeout=None, settle=True,
        fail_fast_unchanged=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("url", "pointed_out"),
    [
        ("otlp+http://logs.example.com:4318?token_env=SECRET_TOKEN", True),
        ("elastic+http://u@logs.example.com?password_env=SECRET_TOKEN", True),
        ("otlp+https://logs.example.com:4318?token_env=SECRET_TOKEN", False),
        ("otlp+http://127.0.0.1:4318?token_env=SECRET_TOKEN", False),
        ("otlp+http://[::1]:4318?token_env=SECRET_TOKEN", False),
        ("otlp+http://logs.example.com:4318", False),
    ],
)
def test_a_token_over_plain_http_is_pointed_out(
    url: str, pointed_out: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.cli.shipping import point_out_plain_tokens

    monkeypatch.setenv("SECRET_TOKEN", "hunter22hunter22")
    point_out_plain_tokens([url])
    text = capsys.readouterr().err
    assert ("unencrypted" in text) is pointed_out
    assert "hunter22" not in text


@pytest.mark.parametrize("query", ["?logging=debug", "?logging=info", "?x=1&logging=debug", "?Logging=debug"])
def test_a_console_that_pyserial_would_print_is_refused(query: str) -> None:
    from harness.transport.serial.ports import Port

    with pytest.raises((ValueError, OSError)):
        Port(f"socket://127.0.0.1:1{query}", 115200)


@pytest.fixture
def fault_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_file_of_an_internal_error_holds_no_secret_and_no_escapes(
    fault_files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import base64

    from harness.cli import history
    from harness.events import EventLog

    secret = "s3cr3t/pass word&x"
    log = EventLog(fault_files / "events.jsonl", run="r")
    log.add_secret(secret)
    forms = [secret, repr(secret.encode()), json.dumps(json.dumps(secret)), base64.b64encode(secret.encode()).decode()]

    def fail(arguments: Any) -> int:
        try:
            raise ValueError(f"first: {secret}")
        except ValueError as error:
            fault = RuntimeError(f"{forms} {EVIL}")
            fault.__dict__["redact"] = log.redact
            raise fault from error

    monkeypatch.setattr(history, "run", fail)
    assert main(["history"]) == 5
    log.close()
    text = capsys.readouterr().err
    (file,) = fault_files.glob("harness-fault-*")
    assert file.stat().st_mode & 0o077 == 0
    for whole in (text, file.read_text()):
        assert "********" in whole
        assert not any(form in whole for form in forms)
        assert _drives_no_terminal(whole)
