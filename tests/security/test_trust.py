"""Who is believed, and what is done with what others wrote."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shlex
import shutil
import signal
import string
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli import config
from harness.cli.main import main
from harness.deadline import Deadline
from harness.errors import HarnessError, UsageError
from harness.events.pieces import PieceMask
from harness.events.redact import MASK, Redactor
from harness.inventory import load
from harness.printing import CommandBreaker, printable
from harness.target.spec import target_spec
from harness.transport.serial.spec import SerialSpec
from harness.transport.ssh.config import expand_tokens, resolve
from harness.transport.ssh.hostkeys import parse_known_hosts
from harness.transport.ssh.spec import SshSpec
from harness.transport.ssh.transport import SshTransport
from tests.patience import scaled
from tests.security import hostile_sshd as sshd

# -- names that a shell would run --------------------------------------------------------------------------------

_SHELL = [
    "$(touch P)",
    "`touch P`",
    ";touch P",
    "|touch P",
    "&touch P",
    ">P",
    "<P",
    "'",
    '"',
    "\\",
    "{a,b}",
    "a b",
    "\n",
    "-oProxyCommand=x",
]


@pytest.mark.parametrize("evil", _SHELL)
@pytest.mark.parametrize("where", ["host", "name", "user", "alias", "option", "jump"])
def test_a_name_that_a_shell_would_run_is_refused_before_any_expansion(evil: str, where: str, tmp_path: Path) -> None:
    name = evil if evil.startswith("-") else f"x{evil}"
    if (where, evil) in (("user", "a b"), ("jump", "\n")):
        return  # ssh takes a blank in a user's name, and what stands around a jump host's
    choices: dict[str, dict[str, Any]] = {
        "host": {"host": name},
        "name": {"name": name},
        "user": {"user": name},
        "alias": {"host_key_alias": name},
        "option": {"options": (("hostname", name),)},
        "jump": {"options": (("proxyjump", name),)},
    }
    spec = SshSpec(**{"name": "h", "host": "h", "config_file": str(tmp_path / "config"), **choices[where]})
    (tmp_path / "config").write_text("Host *\n")
    with pytest.raises(UsageError):
        expand_tokens("nc %h %p %r %n", spec)
    if where != "name":
        with pytest.raises(UsageError):
            resolve(spec, deadline=Deadline.after(5))


def test_a_host_of_that_name_is_a_usage_error_and_nothing_is_run(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "i.ini").write_text("x$(touch${IFS}P) ansible_ssh_common_args='-o ProxyCommand=\"nc %h %p\"'\n")
    assert main(["exec", "-i", "i.ini", "all", "--", "true"]) == 2
    assert not (tmp_path / "P").exists()


# -- man in the middle -------------------------------------------------------------------------------------------


def _connect(server: sshd.HostileSshd, **changes: Any) -> str:
    """What came of connecting; empty where it went well."""
    from dataclasses import replace

    from tests.security.attacks import _Events

    base = SshSpec(
        name="box",
        host="127.0.0.1",
        port=server.port,
        user="root",
        password="secret pw",
        use_agent=False,
        default_keys=False,
        use_config=False,
    )
    ssh = SshTransport(replace(base, **changes), events=_Events())
    try:
        ssh.open(Deadline.after(10))
    except HarnessError as error:
        return str(error)
    finally:
        ssh.close()
    return ""


def test_accept_new_remembers_and_the_next_key_gets_no_password(tmp_path: Path) -> None:
    known = tmp_path / "ssh" / "known_hosts"
    changes = {"host_key_policy": "accept-new", "known_hosts": (str(known),), "learned_hosts": str(known)}
    with sshd.HostileSshd() as server:
        _connect(server, **changes)
        assert server.passwords == ["secret pw"]
        lines = parse_known_hosts(known.read_text())
        assert [line.key for line in lines] == [server.host_key]
        assert known.stat().st_mode & 0o077 == 0
        import paramiko

        server.key = paramiko.ECDSAKey.generate()
        assert "is known" in _connect(server, **changes)
        assert len(server.passwords) == 1


def test_without_checking_a_changed_key_gets_no_password(tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    with sshd.HostileSshd() as before, sshd.HostileSshd() as server:
        known.write_text(f"[127.0.0.1]:{server.port} {before.host_key.type} {before.host_key.base64}\n")
        assert _connect(server, host_key_policy="off", known_hosts=(str(known),))
        assert server.passwords == []
        known.write_text("")
        _connect(server, host_key_policy="off", known_hosts=(str(known),))
        assert server.passwords, "an unknown key may still be logged in to"


def test_a_jump_host_is_checked_whatever_is_said_of_the_target() -> None:
    from harness.transport.ssh.config import jumps

    spec = SshSpec.from_vars("h", {"ansible_host_key_checking": False, "ansible_ssh_common_args": "-J bastion"})
    assert spec is not None
    assert spec.host_key_policy == "off"
    assert [hop.host_key_policy for hop in jumps(spec)] == ["strict"]


@pytest.mark.parametrize(
    ("address", "trusted", "believed"),
    [
        ("socket://10.0.0.1:23", False, False),
        ("rfc2217://h:1", False, False),
        ("socket://h:1", True, True),
        ("/dev/ttyUSB0", False, True),
        ("run/console.sock", False, True),
    ],
)
def test_host_keys_are_learnt_over_consoles_that_authenticate(address: str, trusted: bool, believed: bool) -> None:
    spec = SerialSpec.from_vars("h", {"serial_socket": address, **({"serial_trusted": "yes"} if trusted else {})})
    assert spec is not None
    assert spec.authenticated is believed


# -- what is printed ---------------------------------------------------------------------------------------------

_EVIL = "\x1b]0;t\x07\x1b]52;c;eA==\x07\x1bc\x9b2J\u202e\r\x7f\u2066\U000e0041"


def _drives_no_terminal(text: str) -> bool:
    return not any(
        (ord(char) < 32 and char not in "\n\t") or 0x7F <= ord(char) < 0xA0 or char in "\u202e\u2066" for char in text
    )


@given(st.text())
def test_nothing_that_is_printed_drives_a_terminal(text: str) -> None:
    assert _drives_no_terminal(printable(text))
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize("arguments", [["--graph"], ["--list"], ["check"], ["--host", "nobody"]])
def test_an_inventorys_names_and_values_are_escaped(arguments: list[str], tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "i.json").write_text(json.dumps({"all": {"hosts": {f"h{_EVIL}": {"ansible_port": f"x{_EVIL}"}}}}))
    main(["inventory", "-i", str(tmp_path / "i.json"), *arguments])
    told = capsys.readouterr()
    assert _drives_no_terminal(told.out + told.err)
    if arguments == ["--list"]:
        json.loads(told.out)


_ORDERS = [
    "::set-output name=deploy::yes",
    "::add-mask::x",
    "##[error]z",
    "##vso[task.complete]",
    "##teamcity[x]",
    "  ::x::",
    "\t\u00a0::x::",
]


def _obeyed(text: str) -> bool:
    """As a runner reads it: .NET's ReadLine and TrimStart."""
    lines = text.replace("\r", "\n").split("\n")
    return any(line.strip().startswith("::") for line in lines) or any(
        f"##{word}" in text for word in ("[", "vso[", "teamcity[")
    )


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([*_ORDERS, "\n", "\r", " ", "x", ":", "::", "#", "##", "["]), max_size=12).map("".join),
    st.integers(1, 5),
)
def test_no_ci_system_obeys_what_is_printed_in_any_pieces(text: str, size: int) -> None:
    breaker, data = CommandBreaker(), CommandBreaker()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert not _obeyed("".join(breaker.text(piece) for piece in pieces))
    assert not _obeyed(b"".join(data.data(piece.encode()) for piece in pieces).decode())


def test_under_github_actions_an_inventorys_name_gives_no_order(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (tmp_path / "i.json").write_text(
        json.dumps({"all": {"hosts": {"\n::set-output name=deploy::yes": {}, "##[error]z": {}}}})
    )
    main(["inventory", "-i", str(tmp_path / "i.json"), "--graph"])
    told = capsys.readouterr()
    assert "set-output" in told.out + told.err
    assert not _obeyed(told.out + told.err)


# -- secrets -----------------------------------------------------------------------------------------------------

_SECRET = st.text(st.sampled_from(string.ascii_letters + string.digits + "&<>'\"/ %$\\!#äß€"), min_size=8, max_size=20)


@settings(max_examples=40, deadline=None)
@given(_SECRET.filter(lambda text: text.strip() == text and MASK not in text))
def test_a_secret_is_masked_in_the_forms_that_tools_print(secret: str) -> None:
    data = secret.encode()
    redactor = Redactor()
    redactor.add(secret)
    forms = {
        "plain": secret,
        "url lower": quote(data).lower() if quote(data).lower().count("%") and secret.islower() else quote(data),
        "bytes": repr(data),
        "html": html.escape(secret),
        "json in json": json.dumps(json.dumps(secret)),
        "hex": data.hex(),
        "HEX": data.hex().upper(),
        "shell": shlex.quote(secret),
        "colour": f"{secret[:4]}\x1b[1;31m{secret[4:]}",
        "newline": f"{secret[:4]}\n{secret[4:]}",
        "yaml": secret.replace("'", "''"),
        "ascii": ascii(secret),
        "url in url": quote(quote(data)),
        "array of numbers": json.dumps(list(data)),
        "array of numbers, indented": json.dumps(list(data), indent=2),
        "yaml, folded": yaml.safe_dump({"k": f"{'x' * 70} {secret}"}),
        "yaml, folded within": yaml.safe_dump(secret, width=10),
    }
    for name, form in forms.items():
        masked = redactor.text(f"a {form} b")
        assert MASK in masked, (name, form, masked)
    wrapped = base64.encodebytes(b"x" * 45 + data + b"y" * 60).decode()
    assert MASK in redactor.text(wrapped)
    assert secret not in redactor.text(base64.b64decode(redactor.text("")).decode() + secret)


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("secret", ["tab\there\x1b ä!`{}", 'two  words\\ \'n "more" #~', "ünï\a\x07\x7f-€😀"])
def test_a_secret_is_masked_as_bash_and_xml_quote_it(secret: str, locale: str) -> None:
    redactor = Redactor()
    redactor.add(secret)
    script = 'printf "%q\\n" "$1"; echo "${1@Q}"; set -x; : "$1"'
    printed = subprocess.run(
        ["bash", "-c", script, "bash", secret], env={"LC_ALL": locale}, capture_output=True, check=True
    )
    for form in (*(printed.stdout + printed.stderr).decode(errors="backslashreplace").splitlines(), quoteattr(secret)):
        assert MASK in redactor.text(f"a={form} b"), form


@pytest.mark.parametrize("at", [7, 13, 19])
@pytest.mark.parametrize("gap", ["\n", "\r\n", "\n    ", " \n  "])
def test_a_secret_of_several_words_is_masked_where_its_line_is_wrapped(gap: str, at: int) -> None:
    redactor = Redactor()
    redactor.add("correct horse battery staple")
    words = "correct horse battery staple"
    at = words.index(" ", at)
    assert redactor.text(f"a {words[:at]}{gap}{words[at + 1 :]} b\nc d") == f"a {MASK} b\nc d"
    assert redactor.text(f"correct{gap}horse battery stable") == f"correct{gap}horse battery stable"


_DUMPS = {
    "xxd": ["xxd"], "xxd -u -g1": ["xxd", "-u", "-g1"], "xxd -e": ["xxd", "-e"], "xxd -i": ["xxd", "-i"],
    "xxd -p": ["xxd", "-p"], "hexdump": ["hexdump"], "hexdump -C": ["hexdump", "-C"], "od -tx1": ["od", "-An", "-tx1"],
    "od -x": ["od", "-x"], "od -tx1z": ["od", "-Ax", "-tx1z"], "od -c": ["od", "-c"], "od -An -c": ["od", "-An", "-c"],
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, argv in _DUMPS.items() if shutil.which(argv[0])])
@pytest.mark.parametrize(
    ("before", "secret"), [(0, "s3cr3t/pass word&x, long"), (10, "hunter22 äß"), (15, "abcdef0123")]
)
def test_a_secret_is_masked_in_dumps(name: str, before: int, secret: str) -> None:
    data = b"\x00\n" * before + secret.encode() + b"\xff\t the end of it"
    dump = subprocess.run(_DUMPS[name], input=data, stdout=subprocess.PIPE, check=True).stdout.decode()
    redactor = Redactor()
    redactor.add(secret)
    masked = redactor.text(f"$ {name}\n{dump}# ")
    shown = MASK if name == "xxd -p" else f"{MASK}\n"
    assert shown in masked, masked
    for at in range(len(secret) - 5):  # no six characters of it are left, and no six bytes in a row
        piece = secret[at : at + 6]
        assert piece not in masked, masked
        assert piece.encode().hex() not in re.sub(r"[\s,]|0x", "", masked).lower(), masked
    assert f"$ {name}\n" in masked
    assert masked.endswith("# ")
    pieces = PieceMask(redactor)
    seen = "".join(map(pieces, f"$ {name}\n{dump}# ".splitlines(keepends=True)))
    whole = secret.encode().hex()
    assert MASK in seen
    assert whole not in re.sub(r"[\s,]|0x|\d{7,8}:? ", "", seen).lower()
    other = Redactor()
    other.add("another word")
    assert other.text(dump) == dump


def test_what_is_no_dump_stays_as_it_is() -> None:
    redactor = Redactor()
    redactor.add("abcdef")
    for text in ("61 62 63 64 65\n\n66", "a   b   c   d   e  f", "0000000   a   b   c\n  no dump\n   d   e   f"):
        assert redactor.text(text) == text


def test_a_text_that_was_clean_is_masked_when_it_becomes_a_secret() -> None:
    redactor = Redactor()
    redactor.add("something else")
    assert redactor.text("hunter22") == "hunter22"
    assert redactor.text("hunter22") == "hunter22"
    redactor.add("hunter22")
    assert redactor.text("hunter22") == MASK


# -- settings and inventories of others --------------------------------------------------------------------------


def test_settings_that_others_may_write_are_not_used(tmp_path: Path, monkeypatch: Any) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "harness.toml").write_text('[ship]\nto = ["otlp+http://127.0.0.1:1?token_file=/etc/hostname"]\n')
    monkeypatch.chdir(shared)
    assert config.load({"HOME": str(tmp_path)}).ship_to
    shared.chmod(0o777)
    with pytest.raises(UsageError, match="anybody may write"):
        config.load({"HOME": str(tmp_path)})
    shared.chmod(0o755)
    (shared / "harness.toml").chmod(0o666)
    with pytest.raises(UsageError, match=r"harness\.toml"):
        config.load({"HOME": str(tmp_path)})
    (shared / "harness.toml").chmod(0o644)
    if os.geteuid() == 0:  # a folder's owner can put any file there, one of ours, too
        os.chown(shared, 12345, -1)
        with pytest.raises(UsageError, match=r"the folder .* is another user's"):
            config.load({"HOME": str(tmp_path)})


@pytest.mark.parametrize("option", ["token_file=/etc/hostname", "token_env=HOME", "headers_file=/etc/hostname"])
def test_an_inventory_takes_no_secret_of_this_machine(option: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "i.ini").write_text(f"h ansible_host=127.0.0.1 harness_ship='otlp+http://127.0.0.1:1?{option}'\n")
    (tmp_path / "c.py").write_text("from harness import check\n@check()\ndef c(target): pass\n")
    os.chdir(tmp_path)
    assert main(["run", "-i", "i.ini", "c.py"]) == 2
    assert "--inventory-ship-secrets" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "h ansible_user=\"{{ lookup('file', '/etc/hostname') }}\"",
        "h ansible_ssh_common_args='-o ProxyCommand=id'",
        "h qemu_image=/etc/hostname",
        "h serial_socket=/dev/null",
        "h ansible_ssh_private_key_file=/etc/hostname",
        "h harness_ship=file:/tmp/x",
        "h ansible_user=\"{{ query('env', 'HOME') }}\"",
    ],
)
def test_an_untrusted_inventory_names_no_program_and_no_file_outside(line: str, tmp_path: Path) -> None:
    (tmp_path / "i.ini").write_text(f"{line}\n")
    with pytest.raises(UsageError):
        target_spec(load([str(tmp_path / "i.ini")], untrusted=True).host("h"))


def test_an_untrusted_inventory_runs_nothing_and_follows_no_link_out(tmp_path: Path) -> None:
    script = tmp_path / "i.sh"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho '{{}}'\n")
    script.chmod(0o755)
    with pytest.raises(UsageError, match="untrusted"):
        load([str(script)], untrusted=True)
    assert not (tmp_path / "ran").exists()
    inside = tmp_path / "inventory"
    (inside / "host_vars").mkdir(parents=True)
    (inside / "hosts").write_text("h\n")
    (tmp_path / "outside.yml").write_text("a: secret\n")
    (inside / "host_vars" / "h.yml").symlink_to(tmp_path / "outside.yml")
    with pytest.raises(UsageError, match="untrusted"):
        load([str(inside / "hosts")], untrusted=True).host("h").vars.get("a")


def test_the_check_of_an_inventory_prints_nothing_that_a_lookup_read(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "secret").write_text("root:x9Qz-hunter22:0\n")
    (tmp_path / "i.ini").write_text(f"h ansible_port=\"{{{{ lookup('file', '{tmp_path}/secret') }}}}\"\n")
    assert main(["inventory", "-i", str(tmp_path / "i.ini"), "check"]) == 2
    told = capsys.readouterr()
    assert "hunter22" not in told.out + told.err


def test_a_report_in_a_shared_folder_follows_no_link(tmp_path: Path) -> None:
    from harness.report.folder import write_private

    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (".report.html", f".report.html.{os.getpid()}"):
        (tmp_path / name).symlink_to(victim)
    write_private(tmp_path / "report.html", "text")
    assert victim.read_text() == "mine"


# -- the second signal -------------------------------------------------------------------------------------------

_STUCK = """
import re, signal, sys, threading
from harness.cli.interrupts import ending_signals
with ending_signals(lambda name: None, lambda: None):
    print("stuck", flush=True)
    threading.Thread(target=lambda: re.match("(a+)+$", "a" * 60 + "!"), daemon=True).start()
    threading.Event().wait()
"""


def test_a_second_signal_ends_a_process_that_runs_no_handler() -> None:
    with subprocess.Popen([sys.executable, "-c", _STUCK], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"stuck\n"
        end = time.monotonic() + scaled(20)
        while process.poll() is None and time.monotonic() < end:
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert process.poll() is not None
        process.kill()
