"""The attacks that cost memory or time: each is a function that returns when it was withstood. Run many in one process,
whose memory is bounded: `python -m tests.security.attacks NAME...` prints a line of JSON for each."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import resource
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, HarnessError, UsageError
from harness.transport.errors import Damaged, TransportError
from tests.patience import factor
from tests.security import hostile_sshd as sshd
from tests.security.peak import peak_growth
from tests.security.receiver_attacks import RECEIVER_ATTACKS

MEMORY = 1000 << 20
"""Bytes of address space (RLIMIT_AS) of a process that withstands them."""
SECONDS = 15.0
"""Of each attack; more on a machine that is busier than two of these processes make it."""
ATTACKS: dict[str, Callable[[], None]] = dict(RECEIVER_ATTACKS)


def attack(function: Callable[[], None]) -> Callable[[], None]:
    ATTACKS[function.__name__] = function
    return function


class _Events:
    def emit(self, action: str, message: str, **fields: object) -> None: ...

    def bind(self, **fields: object) -> _Events:
        return self


def _command(server: sshd.HostileSshd, *, seconds: float = 8.0, become: bool = False) -> Exception:
    """The error that a command on a hostile server ends with."""
    from harness.transport.ssh.spec import Become, SshSpec
    from harness.transport.ssh.transport import SshTransport

    spec = SshSpec(
        name="box", host="127.0.0.1", port=server.port, user="root", password="pw", use_agent=False, default_keys=False,
        use_config=False, known_hosts=(), host_keys=(server.host_key,), answer_limit=8 << 20,
        become=Become(password="pw2") if become else None,
    )  # fmt: skip
    ssh = SshTransport(spec, events=_Events())
    try:
        result = ssh.run("true", deadline=Deadline.after(seconds))
    except (HarnessError, DeadlineExpired) as error:
        return error
    finally:
        ssh.close()
    raise AssertionError(f"it was believed: {result}")


@attack
def ssh_endless_output() -> None:
    with sshd.HostileSshd(attack=sshd.endless_output) as server:
        error = _command(server)
        assert isinstance(error, Damaged), repr(error)
        assert "longer than 8 MiB" in str(error)


@attack
def ssh_answer_at_its_limit() -> None:
    """An answer that is just allowed takes about twice its size at the peak, while it is copied."""
    size = 48 << 20
    grown = peak_growth(lambda: _limited_answer(size))
    assert grown < size * 5 // 2 + (24 << 20), f"{grown >> 20} MiB for {size >> 20} MiB"


def _limited_answer(size: int) -> None:
    from harness.transport.ssh.spec import SshSpec
    from harness.transport.ssh.transport import SshTransport

    with sshd.HostileSshd(attack=sshd.long_output(size)) as server:
        spec = SshSpec(
            name="box", host="127.0.0.1", port=server.port, user="root", password="pw", use_agent=False,
            default_keys=False, use_config=False, known_hosts=(), host_keys=(server.host_key,), answer_limit=size,
        )  # fmt: skip
        ssh = SshTransport(spec, events=_Events())
        try:
            assert len(ssh.run("true", deadline=Deadline.after(60)).stdout) == size
        finally:
            ssh.close()


@attack
def ssh_beyond_the_window() -> None:
    with sshd.HostileSshd(attack=sshd.beyond_the_window) as server:
        assert isinstance(_command(server), TransportError)


@attack
def ssh_status_that_is_none() -> None:
    for number in (b"99999", b"256", b"9" * 5000):
        with sshd.HostileSshd(attack=sshd.status(number)) as server:
            assert isinstance(_command(server), TransportError)


@attack
def ssh_profile_without_end() -> None:
    with sshd.HostileSshd(program=sshd.flood) as server:
        began = time.monotonic()
        assert isinstance(_command(server), TransportError)
        assert time.monotonic() - began < 12


@attack
def ssh_sudo_without_end() -> None:
    with sshd.HostileSshd(program=sshd.flood) as server:
        assert isinstance(_command(server, become=True), TransportError)


@attack
def ssh_banner_without_end() -> None:
    for raw in (sshd.endless_banner, sshd.endless_preamble):
        with sshd.HostileSshd(raw=raw) as server:
            assert isinstance(_command(server, seconds=4.0), TransportError)


@attack
def ssh_huge_packet() -> None:
    with sshd.HostileSshd(raw=sshd.huge_packet) as server:
        assert isinstance(_command(server, seconds=4.0), TransportError)


@attack
def sftp_unasked_answers() -> None:
    from harness.transport.ssh.spec import SshSpec
    from harness.transport.ssh.transport import SshTransport

    with sshd.HostileSshd(sftp=sshd.unasked_sftp) as server:
        spec = SshSpec(
            name="box", host="127.0.0.1", port=server.port, user="root", password="pw", use_agent=False,
            default_keys=False, use_config=False, known_hosts=(), host_keys=(server.host_key,),
        )  # fmt: skip
        ssh = SshTransport(spec, events=_Events())
        try:
            ssh.get("/etc/motd", deadline=Deadline.after(6))
        except (TransportError, OSError, DeadlineExpired):
            pass
        else:
            raise AssertionError("it was believed")
        finally:
            ssh.close()


# -- consoles ----------------------------------------------------------------------------------------------------


def _message(nonce: str, body: str) -> bytes:
    from harness.transport.serial.guest import digest

    text = f"{nonce}<{body}"
    return f"{text}|{digest(text)}>\n".encode()


@attack
def console_forged_counts() -> None:
    from harness.transport.serial.frames import AnswerTooLongError, Exchange
    from harness.transport.serial.requests import Nonce

    honest = Exchange(Nonce("abcd", "efgh"))
    honest.feed(_message(honest.nonce.whole, "=0:2:0:ok"))
    assert honest.resolve() is not None, "what this test forges would be believed"
    for body in ("+0:z:999999999999:-:0", "+0:z:5000000:z:268435455", "+99999:z:1:-:0", f"={'9' * 5000}:1:1:ab"):
        nonce = Nonce.fresh()
        exchange = Exchange(nonce)
        exchange.feed(_message(nonce.whole, body))
        try:
            found = exchange.resolve()
        except AnswerTooLongError:
            continue
        assert found is None or isinstance(found, list), found
        assert found is None or all(len(part.indices) <= 5000 for part in found)


@attack
def console_forged_gzip() -> None:
    from harness.transport.serial.frames import AnswerTooLongError, Exchange
    from harness.transport.serial.requests import Nonce

    packed = gzip.compress(b"\0" * (64 << 20), 9)
    nonce = Nonce.fresh()
    exchange = Exchange(nonce, limit=16 << 20)
    text = base64.b64encode(packed).decode()
    lines = [text[at : at + 1000] for at in range(0, len(text), 1000)]
    for index, line in enumerate(lines, 1):
        exchange.feed(f"{nonce.tag}p{index}:{line}.\n".encode())
    exchange.feed(_message(nonce.whole, f"+0:z:{len(lines)}:-:0"))
    try:
        exchange.resolve()
    except AnswerTooLongError:
        return
    raise AssertionError("it was unpacked")


@attack
def console_lines_without_end() -> None:
    from harness.transport.serial.frames import AnswerTooLongError, Exchange
    from harness.transport.serial.requests import Nonce

    nonce = Nonce.fresh()
    exchange = Exchange(nonce, limit=1 << 20)
    for index in range(1, 40_000):
        exchange.feed(f"{nonce.tag}p{index}:{'QUFB' * 30}.\n".encode())
    exchange.feed(b"x" * (1 << 20))
    try:
        exchange.resolve()
    except AnswerTooLongError:
        assert len(exchange.unfinished()) < 1 << 18
        return
    raise AssertionError("all of it was kept")


@attack
def console_listener_that_fails() -> None:
    """An exception in whoever listens must not leave a console that counts as open and is deaf."""
    import socket

    from harness.transport.serial.console import Console

    class Faulty:
        error: TransportError | None = None

        def feed(self, data: bytes, at: float) -> None:
            raise ValueError("5000 digits")

        def lost(self, error: TransportError) -> None:
            self.error = error

    class Good:
        heard = b""

        def feed(self, data: bytes, at: float) -> None:
            self.heard += data

        def lost(self, error: TransportError) -> None: ...

    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = f"{folder}/c"
        listener.bind(path)
        listener.listen(1)
        console = Console(path, name="box", events=_Events())
        faulty, good = Faulty(), Good()
        console.subscribe(faulty)
        console.subscribe(good)
        console.open(Deadline.after(5))
        other, _ = listener.accept()
        other.sendall(b"one\n")
        assert sshd.wait(5, lambda: faulty.error is not None and b"one" in good.heard)
        other.sendall(b"two\n")
        assert sshd.wait(5, lambda: b"two" in good.heard), "the reader is gone"
        console.close()
        other.close()


@attack
def console_two_findings() -> None:
    """A regular expression that was made of the second line would take for ever on the first."""
    from harness.engine.findings.finding import Ruling, Severity
    from harness.engine.findings.reader import Line, ReportReader
    from harness.engine.findings.rules import FindingRules, Selector
    from harness.patterns import LinearPattern

    reader = ReportReader()
    for text in ("a" * 200, "...a" * 60 + "!", "...a" * 60, ("a..." * 900)):
        reader.feed(Line(f"[FAILED] Failed to start {text}", 1), 0.0)
    reports = reader.flush()
    rules = FindingRules(forbidden=(Selector("~(a+)+b$", LinearPattern("(a+)+b$", multiline=True)),))
    for report in reports:
        assert report.kind.severity in Severity
        assert rules.ruling(report.kind, report.text + "a" * 5000 + "!") is Ruling.REPORTED


@attack
def console_boot_flood() -> None:
    from harness.machine.boot_wait import BootFailed, BootListener, wait_for_boot

    class Flooding:
        def __init__(self) -> None:
            self.stopped = threading.Event()
            self.hands_off = ""

        def subscribe(self, listener: BootListener) -> Callable[[], None]:
            def flood() -> None:
                while not self.stopped.is_set():
                    listener.feed(b"some noise of a boot\n" * 3000, time.monotonic())

            threading.Thread(target=flood, daemon=True).start()
            return self.stopped.set

        def write(self, data: bytes, *, deadline: Deadline) -> None: ...

    began = time.monotonic()
    try:
        wait_for_boot(Flooding(), name="vm", events=_Events(), deadline=Deadline.after(1.0), stall=60, started=began)
    except BootFailed:
        assert time.monotonic() - began < 10
        return
    raise AssertionError("it booted")


# -- inventories -------------------------------------------------------------------------------------------------


def _refused(name: str, text: str, variable: str = "") -> None:
    """The inventory is refused with words for a person."""
    from harness.inventory import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text)
        try:
            inventory = load([str(path)], validate=False)
            if variable:
                inventory.host("h1").setting(variable)
        except UsageError:
            return
    raise AssertionError(f"{text[:60]!r} was taken")


@attack
def inventory_ranges() -> None:
    _refused("i.ini", "h[0:999999999]\n")
    _refused("i.ini", "h" + "[0:9]" * 7 + "\n")
    _refused("i.ini", "h" + "[0:0]" * 900 + "\n")
    _refused("i.ini", f"h[0:{'9' * 5000}]\n")


@attack
def inventory_aliases() -> None:
    lists = "".join(f"    a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    merges = "".join(f"    a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10))
    _refused("i.yml", f"all:\n  vars:\n    a0: &a0 [x, y]\n{lists}")
    _refused("i.yml", f"all:\n  vars:\n    a0: &a0 {{x: y}}\n{merges}")


@attack
def inventory_depth() -> None:
    _refused("i.json", "[" * 5_000)
    _refused("i.yml", "[" * 5_000)
    _refused("i.toml", "a = " + "[" * 5_000)
    _refused("i.toml", f"a = {'9' * 5000}")
    _refused("i.ini", "".join(f"[g{n}:children]\ng{n + 1}\n" for n in range(700)) + "[g700]\nh1\n")


@attack
def inventory_numbers() -> None:
    many = "9" * 400
    for name in ("ansible_port", "qemu_memory", "check_budget", "boot_timeout", "qemu_cpus", "serial_baudrate"):
        _refused("i.ini", f"h1 {name}={many}\n", name)
    digits = "7" * 9000
    for number in (f"0x{digits}", f"0o{digits}", f"-0b{'1' * 20000}", f"{{'a': [{{0x{digits}: 1}}, 2]}}"):
        _refused("i.ini", f'h1 v="{number}"\n', "v")
    for number in (f"0x{digits}", f"0{digits}", f"1:{':'.join(['59'] * 3000)}", f"{{a: [-0x{digits}]}}"):
        _refused("i.yml", f"all: {{hosts: {{h1: {{v: {number}}}}}}}\n", "v")
    _refused("i.toml", f"[all.hosts.h1]\nv = [0x{digits}]\n", "v")


@attack
def inventory_templates() -> None:
    for expression in (
        "'a' * 10**10", "[0] * 10**9", "9**(9**9)", "'x'.ljust(10**11)", "'x'|center(10**11)", "range(10**9)|list",
        "'%99999999999d'|format(1)", "'%99999999999d' % 1", "'{:99999999999}'.format(1)", "lipsum(n=10**9)",
    ):  # fmt: skip
        _refused("i.yml", f'all: {{hosts: {{h1: {{ansible_user: "{{{{ {expression} }}}}"}}}}}}\n', "ansible_user")


@attack
def inventory_devices() -> None:
    from harness.inventory import load

    with tempfile.TemporaryDirectory() as folder:
        os.mkfifo(f"{folder}/pipe.ini")
        for path in (f"{folder}/pipe.ini", "/dev/zero"):
            try:
                load([path])
            except UsageError:
                continue
            raise AssertionError(f"{path} was read")


@attack
def completion_of_a_bomb() -> None:
    from harness.inventory.names import names

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "i.ini").write_text("h[0:999999999]\nok\n")
        names([f"{folder}/i.ini"])


def main(names: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    asyncio.set_event_loop_policy(None)
    for name in names:
        began, patience = time.monotonic(), factor()
        problem = ""
        try:
            ATTACKS[name]()
        except BaseException:
            problem = traceback.format_exc()
        allowed = SECONDS * max(patience, factor())
        answer = {"name": name, "seconds": time.monotonic() - began, "allowed": allowed, "problem": problem}
        print(json.dumps(answer), flush=True)
    sys.stdout.flush()
    os._exit(0)  # what still floods is not waited for


if __name__ == "__main__":
    main(sys.argv[1:])
