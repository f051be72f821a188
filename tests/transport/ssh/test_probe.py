"""Looking at a server from outside."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled
from harness.transport.errors import Cause, Unavailable
from harness.transport.ssh import probe as ssh_probe
from tests.patience import patient, scaled

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import FaultProxy, Sshd


def soon(seconds: float = 20.0) -> Deadline:
    return Deadline.after(patient(seconds))


def test_what_a_real_server_shows(sshd: Sshd) -> None:
    for kind in ("ecdsa", "rsa"):
        bits = ["-b", "2048"] if kind == "rsa" else []  # a larger one takes a second to make
        argv = ["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-f", str(sshd.folder / f"host_{kind}")]
        subprocess.run(argv, check=True)
    sshd.start(*(f"HostKey {sshd.folder / f'host_{kind}'}" for kind in ("ecdsa", "rsa")))
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    where = ("127.0.0.1", sshd.port)
    assert 0 < ssh_probe.tcp_connect(*where, soon()) < 20
    banner = ssh_probe.read_banner(*where, soon())
    assert banner.protocol == "2.0"
    assert banner.software.startswith("OpenSSH_")
    assert banner.raw.startswith(f"SSH-2.0-{banner.software}")
    offer = ssh_probe.read_kexinit(*where, soon())
    assert any(name.startswith("curve25519") for name in offer.kex)
    assert {"ssh-ed25519", "rsa-sha2-512"} <= set(offer.host_key)
    assert "aes128-ctr" in offer.ciphers
    assert any("sha2-256" in name for name in offer.macs)
    keys = ssh_probe.host_keys(*where, soon())
    assert set(keys) == {"ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"}
    for file, kind in (("ed25519", "ssh-ed25519"), ("ecdsa", "ecdsa-sha2-nistp256"), ("rsa", "ssh-rsa")):
        told = subprocess.run(
            ["ssh-keygen", "-lf", str(sshd.folder / f"host_{file}.pub")], capture_output=True, text=True, check=True
        ).stdout.split()
        assert [str(keys[kind].bits), keys[kind].fingerprint] == told[:2]
    until = time.monotonic() + 5
    while (threading.active_count(), len(os.listdir("/proc/self/fd"))) != before:
        assert time.monotonic() < until, "something was left behind"
        time.sleep(0.05)


def test_logins(shared_sshd: Sshd) -> None:
    import paramiko

    where = ("127.0.0.1", shared_sshd.port, "root")
    assert "publickey" in ssh_probe.auth_methods(*where, soon())
    assert ssh_probe.try_key(*where, paramiko.PKey.from_path(str(shared_sshd.client_key)), soon())
    assert not ssh_probe.try_key(*where, paramiko.RSAKey.generate(2048), soon())
    assert not ssh_probe.try_password(*where, "wrong", soon())


LOOKS: list[Callable[..., Any]] = [ssh_probe.read_banner, ssh_probe.read_kexinit, ssh_probe.host_keys]


@pytest.mark.parametrize("look", [ssh_probe.tcp_connect, *LOOKS])
def test_nobody_there(look: Callable[..., Any], sshd: Sshd) -> None:
    with pytest.raises(Unavailable) as caught:
        look("127.0.0.1", sshd.port, soon())
    assert caught.value.cause is Cause.REFUSED


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("mode", ["mute", "drop"])
def test_an_open_port_that_serves_nothing(look: Callable[..., Any], mode: str, proxy: FaultProxy) -> None:
    proxy.mode = mode
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        look("127.0.0.1", proxy.port, soon(0.4))
    assert caught.value.cause is Cause.BANNER
    assert time.monotonic() - began < 5
    assert "open port alone proves nothing" in caught.value.hint
    assert ssh_probe.tcp_connect("127.0.0.1", proxy.port, soon()) >= 0


def test_a_slow_banner_is_read_whole(proxy: FaultProxy) -> None:
    proxy.mode = "slow"
    proxy.slow_pause = 0.005
    assert ssh_probe.read_banner("127.0.0.1", proxy.port, soon()).software.startswith("OpenSSH")


def test_an_http_server_is_no_ssh_server() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        client.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 1000)
        time.sleep(0.2)
        client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(Unavailable) as caught:
        ssh_probe.read_banner("127.0.0.1", listener.getsockname()[1], soon(5))
    thread.join()
    listener.close()
    assert caught.value.cause is Cause.BANNER
    assert b"HTTP" in caught.value.seen


def test_cancelling_ends_a_look_at_once(proxy: FaultProxy) -> None:
    proxy.mode = "mute"
    cancellation = Cancellation()
    threading.Timer(0.2, cancellation.cancel, ["enough"]).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        ssh_probe.read_banner("127.0.0.1", proxy.port, Deadline.after(scaled(60), cancellation=cancellation))
    assert time.monotonic() - began < 2


@given(data=st.binary(max_size=200))
def test_no_bytes_break_the_banners_parser(data: bytes) -> None:
    try:
        banner = ssh_probe.parse_banner(data)
    except ValueError:
        return
    assert banner is None or banner.raw.startswith("SSH-")


@pytest.mark.parametrize(
    ("text", "software", "comment", "lines"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "OpenSSH_9.2p1", "Debian-2", 0),
        (b"hello\r\nthere\nSSH-2.0-dropbear\n", "dropbear", "", 2),
        (b"SSH-1.99-Cisco-1.25\n", "Cisco-1.25", "", 0),
    ],
)
def test_banners(text: bytes, software: str, comment: str, lines: int) -> None:
    for end in range(len(text)):
        assert ssh_probe.parse_banner(text[:end]) is None
    banner = ssh_probe.parse_banner(text)
    assert banner is not None
    assert (banner.software, banner.comment, len(banner.preamble)) == (software, comment, lines)


names = st.lists(st.text("abcdefghijklmnopqrstuvwxyz0123456789-@.", min_size=1, max_size=12), max_size=5)


@given(lists=st.tuples(*[names] * 10), cookie=st.binary(min_size=16, max_size=16), cut=st.integers(1, 400))
def test_kexinit_goes_around(lists: tuple[list[str], ...], cookie: bytes, cut: int) -> None:
    body = b""
    for one in lists:
        text = ",".join(one).encode()
        body += len(text).to_bytes(4, "big") + text
    payload = b"\x14" + cookie + body
    offer = ssh_probe.parse_kexinit(payload + b"\0" * 5)
    assert [list(offer.kex), list(offer.host_key), list(offer.cipher_in)] == list(lists[:3])
    assert list(offer.compression_out) == lists[7]
    with pytest.raises(ValueError, match="KEXINIT"):
        ssh_probe.parse_kexinit(payload[:-cut])
