"""Which configuration files hold: `HOME` where the password database names another home, and the system's own."""

from __future__ import annotations

import getpass
import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.transport.ssh import config_files
from harness.transport.ssh.config import resolve
from harness.transport.ssh.config_files import config_arguments, system_has_settings
from harness.transport.ssh.options import HONOURED_OPTIONS, apply_arguments, apply_options
from harness.transport.ssh.spec import SshSpec
from tests.patience import patient

needs_client = pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client here")
ALIAS = "Host alias\n  HostName 192.0.2.7\n  Port 4444\n"


def _resolve(host: str = "alias", **variables: Any) -> SshSpec:
    spec = SshSpec.from_vars("box", {"ansible_host": host, **variables})
    assert spec is not None
    return resolve(spec, deadline=Deadline.after(patient(30)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `.ssh` of a `HOME` that is not the one of the password database."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".ssh"
    folder.mkdir(mode=0o700)
    return folder


def _nobody(_number: object = 0) -> NoReturn:
    raise KeyError("uid not found")


def _forget_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pwd.getpwuid", _nobody)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(KeyError):
        getpass.getuser()


@needs_client
@pytest.mark.parametrize(
    ("config", "files"),
    [
        (ALIAS, {}),
        (ALIAS.replace("\n", "\r\n"), {}),
        ("Include more\n", {"more": ALIAS}),
        ("include = 'more.d/*'  # all of them\n", {"more.d/a b": ALIAS}),
        ('Include ~/.ssh/first "~/.ssh/a b"\n', {"first": "", "a b": ALIAS}),
        ("Include missing more\n", {"more": "Include ~/.ssh/deep\n", "deep": ALIAS}),
        ("Host other\n  Include wrong\nHost alias\n  Include right\n",
         {"wrong": "Port 1\n", "right": "HostName 192.0.2.7\nPort 4444\n"}),
        ('Match exec "cat; echo noise"\n' + ALIAS, {}),
        (ALIAS + "  RemoteCommand tmux\n  RequestTTY yes\n  ControlMaster auto\n  ControlPath ~/%C\n", {}),
        ("IgnoreUnknown Use*\nUseKeychain yes\n" + ALIAS + "  ConnectTimeout 0\n  ServerAliveInterval 1m\n", {}),
    ],
)  # fmt: skip
def test_the_home_that_is_set_counts(folder: Path, config: str, files: dict[str, str]) -> None:
    (folder / "config").write_bytes(config.encode())
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    spec = _resolve()
    assert (spec.host, spec.port) == ("192.0.2.7", 4444)


@needs_client
def test_an_error_names_the_file_and_the_line(folder: Path) -> None:
    (folder / "config").write_text("# mine\nInclude more\n")
    (folder / "more").write_text("\n\nNonsense yes\n")
    (folder / "more").chmod(0o600)
    with pytest.raises(UsageError) as caught:
        _resolve()
    assert f"{folder / 'more'}: line 3: Bad configuration option: nonsense" in caught.value.message
    assert f"ssh -G -F {folder / 'config'} -- alias" in (caught.value.hint or "")


@needs_client
def test_an_included_file_that_others_can_write_is_refused_as_by_ssh(folder: Path) -> None:
    (folder / "config").write_text("Include more\n")
    (folder / "more").write_text(ALIAS)
    (folder / "more").chmod(0o666)
    with pytest.raises(UsageError, match="Bad owner or permissions"):
        _resolve()


def test_files_that_include_each_other_come_to_an_end(folder: Path) -> None:
    (folder / "config").write_text("Include config\n" + ALIAS)
    assert not system_has_settings(folder / "nothing")
    with config_arguments(None) as config:
        assert len(config.names) <= config_files.MOST_NESTED + 1


def test_a_file_that_was_named_is_used_as_it_is() -> None:
    with config_arguments("/some/file") as config:
        assert (config.arguments, config.names) == (("-F", "/some/file"), {})


def test_a_user_whom_the_system_does_not_know_is_served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config").write_text(ALIAS + "  IdentityFile ~/key\n")
    _forget_user(monkeypatch)
    spec = _resolve()
    assert (spec.host, spec.port, spec.key_files) == ("192.0.2.7", 4444, (str(folder.parent / "key"),))


@pytest.mark.parametrize(
    ("text", "files", "expected"),
    [
        ("", {}, False),
        ("Include {folder}/conf.d/*\nHost *\n    SendEnv LANG LC_*\n    HashKnownHosts yes\n", {}, False),
        ("Include conf.d/*\n", {"conf.d/a": "Ciphers aes128-ctr\nMatch final all\n"}, False),
        ("Include conf.d/*\n", {"conf.d/a": "GSSAPIAuthentication yes\n", "conf.d/b": "ProxyJump bastion\n"}, True),
        ("Host .internal\n\tproxycommand=nc %h %p\n", {}, True),
        ("# ProxyJump bastion\n", {}, False),
    ],
)
def test_the_systems_configuration_counts_where_it_sets_something(
    tmp_path: Path, text: str, files: dict[str, str], expected: bool
) -> None:
    (tmp_path / "conf.d").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "ssh_config").write_text(text.format(folder=tmp_path))
    assert system_has_settings(tmp_path / "ssh_config") is expected


def test_the_systems_configuration_is_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))  # no client: ssh knows where its own is
    monkeypatch.setattr("harness.transport.ssh.config.SYSTEM_CONFIG", folder / "system")
    monkeypatch.setattr("harness.transport.ssh.config.system_has_settings", lambda: True)
    (folder / "system").write_text(ALIAS)
    assert _resolve().port == 4444
    (folder / "config").write_text("Host *\n  Port 5555\n")
    assert (_resolve().host, _resolve().port) == ("192.0.2.7", 5555)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("1m30s", 90.0), ("2H", 7200.0), ("1w1d", 691200.0), ("0", 10.0), ("none", 10.0)],
)
def test_times_are_what_ssh_takes_for_one(text: str, seconds: float) -> None:
    spec = apply_options(SshSpec("box", "box", connect_timeout=10.0), {"connecttimeout": [text]})
    assert spec.connect_timeout == seconds
    spec = apply_options(SshSpec("box", "box", alive_interval=10.0), {"serveraliveinterval": [text]})
    assert spec.alive_interval == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "1y", "1 m", "٣"])
def test_a_time_that_ssh_does_not_take_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="invalid ConnectTimeout"):
        apply_options(SshSpec("box", "box"), {"connecttimeout": [text]})


def test_every_option_that_is_applied_is_looked_for_in_the_systems_configuration() -> None:
    asked = set()

    class Recorder(dict[str, list[str]]):
        def get(self, name: Any, _default: Any = None) -> Any:
            asked.add(name)
            return ["5"] if name == "serveraliveinterval" else []

    apply_options(SshSpec("box", "box"), Recorder())
    assert asked - {"hashknownhosts"} <= HONOURED_OPTIONS
    assert apply_arguments(SshSpec("box", "box"), "-o ConnectTimeout=1m").connect_timeout == 60.0
