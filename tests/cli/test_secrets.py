"""Canaries in every place where a secret may stand, a real run over a console, and a search of all that it left."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.testing.pty_guest import PtyGuest
from harness.transport.serial.requests import escape
from tests.patience import scaled
from tests.transport.ssh.conftest import Sshd, make_sshd

ROOT = Path(__file__).parents[2]
GETTY = ROOT / "tests/transport/serial/getty.py"
VAULT = Path(sys.executable).parent / "ansible-vault"
PLACES = (
    "login", "ssh", "become", "plain_token", "api_key", "nested", "inlist", "vaulted", "vaultfile", "extra",
    "templated", "group", "key1", "key2", "awkward",
)  # fmt: skip
CANARY = {place: f"Cnry{place}-{number * 7919:06x}" for number, place in enumerate(PLACES, 1)}
CANARY["awkward"] = "Cnry'q\"b\\s é"
CHECKS = '''
from harness import check

@check
def everywhere(target):
    """Puts each of them wherever a check can."""
    {binds}
    for name in sorted(vars()):
        value = vars()[name]
        if not isinstance(value, str):
            continue
        target.run("echo " + __import__("shlex").quote(value))
        target.run("cat", stdin=value.encode())
        target.run("cat", stdin=(value * 90).encode())
        target.put(value.encode(), "{folder}/file-of-" + target.name)
        target.note("a note of " + value, **{{"text": value, "inside": {{value: [value]}}}})
    target.run("true # " + "x" * 700 + login)
    target.run("true # " + "y" * 640 + "é" + awkward)
    return {{"seen": login, "more": [vaulted, key1]}}

@check(budget=2)
def fails(target):
    assert target.read("printf %s '{login}'") == "other", "it was {vaulted} and {awkward_repr}"

@check(budget=0)
def breaks(target):
    raise RuntimeError("{nested} in a traceback")

@check(budget=100, interval=0.2)
def waits(target):
    target.read("cat {folder}/heard")
'''


def vault(word: str, home: Path, *arguments: str, stdin: str = "") -> str:
    (home / "vault-password").write_text(word)
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [str(VAULT), *arguments, "--vault-password-file", "vault-password"],
        cwd=home, input=stdin, text=True, capture_output=True, check=True, env=environment,
    ).stdout  # fmt: skip


@pytest.fixture
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = make_sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[PtyGuest]:
    (tmp_path / "run").mkdir(mode=0o700)
    with PtyGuest(
        [sys.executable, str(GETTY), "", shutil.which("bash") or "sh", "--norc", "-i"],
        tmp_path / "run" / "console",
        env={"GETTY_PASSWORD": CANARY["login"]},
        respawn=True,
    ) as made:
        yield made


def test_no_secret_reaches_what_a_run_leaves(tmp_path: Path, guest: PtyGuest, sshd: Sshd) -> None:
    sealed = vault("Cnryvaultpassword", tmp_path, "encrypt_string", "--stdin-name", "vaulted", stdin=CANARY["vaulted"])
    block = "\n".join("      " + line for line in sealed.splitlines())
    (tmp_path / "inv.yml").write_text(f"""
all:
  children:
    lab:
      vars: {{group_secret: {CANARY["group"]}}}
      hosts: {{board: , box: }}
  vars:
      settle: false
      ansible_password: {CANARY["ssh"]}
      ansible_become_password: {CANARY["become"]}
  hosts:
    box:
      ansible_host: 127.0.0.1
      ansible_port: {sshd.port}
      ansible_user: root
      ansible_ssh_private_key_file: {sshd.client_key}
      ansible_host_key_checking: false
    board:
      ansible_connection: serial
      serial_socket: {guest.path}
      serial_user: root
      serial_password: {CANARY["login"]}
      plain_token: {CANARY["plain_token"]}
      service_api_key: {CANARY["api_key"]}
      users: [{{name: joe, password: {CANARY["nested"]}}}, {{deep: {{db_passwd: [{CANARY["inlist"]}]}}}}]
      templated_secret: "{{{{ 'Cnry' }}}}{CANARY["templated"][4:]}"
      my_private_key: |
        -----BEGIN KEY-----
        {CANARY["key1"]}
        {CANARY["key2"]}
        -----END KEY-----
      awkward_password: {json.dumps(CANARY["awkward"])}
{block}
""")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "board.yml").write_text(f"from_a_vaulted_file: {CANARY['vaultfile']}\npin: 90210777\n")
    vault("Cnryvaultpassword", tmp_path, "encrypt", "host_vars/board.yml")
    binds = "; ".join(f"{place} = {word!r}" for place, word in CANARY.items())
    (tmp_path / "mine.py").write_text(
        CHECKS.format(
            binds=binds, folder=tmp_path, awkward_repr=CANARY["awkward"].replace("\\", "\\\\").replace('"', '\\"'),
            **{place: CANARY[place] for place in ("login", "vaulted", "nested")},
        )
    )  # fmt: skip

    command = [sys.executable, "-m", "harness", "run", "-i", "inv.yml", "--vault-password-file", "vault-password"]
    command += ["-e", f"deploy_password={CANARY['extra']}", "-vv", "--at-once=1", "mine.py"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    environment |= {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        # The console says one over two lines, as a terminal does where its line ends.
        until(tmp_path, process, '"event.action":"check.start"', '"test.case.name":"waits"')
        login = CANARY["login"]
        guest.printk(f"\r\nwrapped {login[:12]}\r\n{login[12:]} end\r\n".encode())
        until(tmp_path, process, '"event.action":"console.line"', ' end"')
        (tmp_path / "heard").touch()
        output = process.communicate(timeout=scaled(120))[0].decode()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1, output
    assert "4 passed, 2 failed" in output, output

    (folder,) = [path for path in (tmp_path / "logs").iterdir() if not path.is_symlink()]
    left = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert {path.stat().st_mode & 0o777 for path in left.values()} == {0o600}
    assert {"events.jsonl", "results.json", "junit.xml", "targets/board/console.log"} <= left.keys()
    texts = {name: path.read_text() for name, path in left.items() if not name.endswith("console.log")}
    texts["the terminal"] = output
    shown = [
        f"{place} in {name}: …{text[max(0, text.index(form) - 60) : text.index(form) + 60]}…"
        for name, text in texts.items()
        for place, word in {**CANARY, "pin": "90210777", "vault": "Cnryvaultpassword"}.items()
        for form in forms(word)
        if form in text
    ]
    assert not shown, "\n".join(shown)
    # It was all there: the run looked at each of them.
    events = [json.loads(line) for line in texts["events.jsonl"].splitlines()]
    assert sum(event["message"] == "a note of ********" for event in events) == 2 * len(CANARY)
    assert {"check.error", "console.input", "console.line", "command", "file.put"} <= {
        event["event.action"] for event in events
    }
    # Input and long commands are typed in pieces, packed: no search would find a secret in them.
    typed = [event["message"] for event in events if event["event.action"] == "console.input"]
    assert not [text for text in typed if re.search(r" [IA] \w{4} \w{4} ", text)]
    assert any(re.search(r" R \w{4} \w{4} ", text) for text in typed)
    said = [event["message"] for event in events if event["event.action"] == "console.line"]
    at = said.index("******** end")
    assert said[at - 1] == "wrapped ********"


def until(folder: Path, process: subprocess.Popen[bytes], *words: str) -> None:
    """Waits until an event of the run has all of these."""
    record = folder / "logs" / "latest" / "events.jsonl"
    while process.poll() is None:
        text = record.read_text() if record.exists() else ""
        if any(all(word in line for word in words) for line in text.splitlines()):
            return
        time.sleep(0.05)
    raise AssertionError(f"the run ended without {words}")


def forms(word: str) -> set[str]:
    """A secret as it may stand in a file."""
    data = word.encode()
    packed = {base64.b64encode(b"\0" * shift + data)[4:-4].decode() for shift in range(3)}
    return {
        escape(data),
        word,
        json.dumps(word)[1:-1],
        json.dumps(word, ensure_ascii=False)[1:-1],
        repr(word)[1:-1],
        # Four characters also stand in an event's id by chance.
        *(form for form in packed if len(form) >= 8),
    }
