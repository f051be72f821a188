"""Host certificates: made by ssh-keygen, shown by a real OpenSSH server, and judged as OpenSSH's client judges them."""

from __future__ import annotations

import base64
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.transport.errors import Cause, Unavailable
from harness.transport.ssh.certificates import Certificate
from harness.transport.ssh.hostkeys import HostKey, parse_public_keys
from harness.transport.ssh.transport import SshTransport
from tests.patience import scaled

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import Events, Sshd

NOW = time.time()


def make_key(path: Path, kind: str = "ed25519") -> HostKey:
    """Write a key pair of this kind to `path` and `path.pub`, and return the public key."""
    private, public = key_pair(kind, path.name)
    path.touch(mode=0o600)
    path.write_bytes(private)
    Path(f"{path}.pub").write_bytes(public)
    [key] = parse_public_keys(public.decode())
    return key


@cache
def key_pair(kind: str, name: str) -> tuple[bytes, bytes]:
    """Return the files of a key pair. It is the same one each time: an RSA key takes a third of a second to make."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        bits = ["-b", "2048"] if kind == "rsa" else []
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-f", str(path)], check=True)
        return path.read_bytes(), Path(f"{path}.pub").read_bytes()


def sign(authority: Path, key: Path, *more: str, names: str = "127.0.0.1,box") -> Path:
    """A certificate beside the key."""
    what = ["-h"] if "-O" not in more else []
    argv = ["ssh-keygen", "-q", "-s", str(authority), "-I", "the box", *what, *more, *(["-n", names] if names else [])]
    subprocess.run([*argv, f"{key}.pub"], check=True, capture_output=True)
    return key.with_name(f"{key.name}-cert.pub")


def parsed(path: Path) -> Certificate:
    return Certificate.from_blob(base64.b64decode(path.read_text().split()[1]))


# -- what a certificate says


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("by", ["ed25519", "ecdsa", "rsa"])
def test_what_an_authority_says_is_read_and_checked(tmp_path: Path, kind: str, by: str) -> None:
    authority, key = make_key(tmp_path / "ca", by), make_key(tmp_path / "host", kind)
    certificate = parsed(sign(tmp_path / "ca", tmp_path / "host"))
    assert (certificate.key, certificate.authority, certificate.id) == (key, authority, "the box")
    assert certificate.problem("127.0.0.1", NOW) == ""
    assert str(certificate) == f"'the box', signed by {authority}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("certificates")
    make_key(place / "ca")
    make_key(place / "host")
    return place


@pytest.mark.parametrize(
    ("names", "host", "problem"),
    [
        ("box", "box", ""),
        ("BOX", "box", ""),
        ("other,box", "box", ""),
        ("*.example", "box.example", ""),
        ("*.example", "box.other", "it is for *.example, not for box.other"),
        ("box", "boxer", "it is for box, not for boxer"),
        ("", "anything", ""),
    ],
)
def test_names(folder: Path, names: str, host: str, problem: str) -> None:
    assert parsed(sign(folder / "ca", folder / "host", names=names)).problem(host, NOW) == problem


def test_times(folder: Path) -> None:
    certificate = parsed(sign(folder / "ca", folder / "host", "-V", "20200102000000Z:20200103000000Z"))
    begin, end = 1577923200, 1578009600
    assert certificate.problem("box", begin - 1) == "it is valid only from 2020-01-02 00:00 UTC on"
    assert certificate.problem("box", begin) == ""
    assert certificate.problem("box", end - 1) == ""
    assert certificate.problem("box", end) == "it expired on 2020-01-03 00:00 UTC"


def test_a_users_certificate_vouches_for_no_host(folder: Path) -> None:
    argv = ["ssh-keygen", "-q", "-s", str(folder / "ca"), "-I", "me", "-n", "box", str(folder / "host.pub")]
    subprocess.run(argv, check=True, capture_output=True)
    assert parsed(folder / "host-cert.pub").problem("box", NOW) == "it is a user's, not a host's"


def test_a_signature_with_sha_1_is_none(tmp_path: Path) -> None:
    make_key(tmp_path / "ca", "rsa")
    make_key(tmp_path / "host")
    old = parsed(sign(tmp_path / "ca", tmp_path / "host", "-t", "ssh-rsa"))
    assert old.problem("box", NOW) == "it is signed with SHA-1"


@pytest.fixture(scope="module", params=["ed25519", "ecdsa", "rsa"])
def whole(request: pytest.FixtureRequest, folder: Path) -> bytes:
    """A certificate that holds, of each type of key."""
    make_key(folder / request.param, request.param)
    return base64.b64decode(sign(folder / "ca", folder / request.param).read_text().split()[1])


@settings(max_examples=300)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_can_be_changed(folder: Path, whole: bytes, at: int, bit: int) -> None:
    blob = bytearray(whole)
    blob[at % len(blob)] ^= 1 << bit
    try:
        certificate = Certificate.from_blob(bytes(blob))
    except ValueError:
        return
    [authority] = parse_public_keys((folder / "ca.pub").read_text())
    assert certificate.authority != authority or certificate.problem("box", NOW) != ""


@given(blob=st.binary(max_size=200))
def test_no_bytes_break_the_reader(blob: bytes) -> None:
    with pytest.raises(ValueError, match=r"^"):
        Certificate.from_blob(blob)


# -- against a server


def outcome(sshd: Sshd, events: Events, lines: str, tmp_path: Path) -> str:
    """What our client makes of these known hosts: `in`, or why not. OpenSSH's own client must think the same."""
    known = tmp_path / "known"
    known.write_text(lines)
    transport = SshTransport(sshd.spec(host_keys=(), known_hosts=(str(known),)), events=events)
    try:
        ours = transport.run("echo in", deadline=Deadline.after(scaled(20))).out
    except Unavailable as error:
        ours = error.message if error.cause is Cause.HOST_KEY else repr(error)
    finally:
        transport.close()
    options = [f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=none", "StrictHostKeyChecking=yes", "BatchMode=yes"]
    argv = ["ssh", "-F", "none", "-p", str(sshd.port), "-i", str(sshd.client_key), "-o", "IdentityAgent=none"]
    argv += [word for option in options for word in ("-o", option)]
    theirs = subprocess.run([*argv, "root@127.0.0.1", "echo in"], capture_output=True, text=True, check=False)
    assert (ours == "in") == (theirs.stdout == "in\n"), theirs.stderr
    return ours


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_server_is_known_by_its_authority(sshd: Sshd, events: Events, tmp_path: Path, kind: str) -> None:
    (sshd.folder / "host_ed25519").unlink()
    make_key(sshd.folder / "host_ed25519", kind)
    authority = make_key(tmp_path / "ca")
    certificate = sign(tmp_path / "ca", sshd.folder / "host_ed25519")
    sshd.start(f"HostCertificate {certificate}")
    line = f"@cert-authority [127.0.0.1]:{sshd.port} {authority.type} {authority.base64}\n"
    assert outcome(sshd, events, line, tmp_path) == "in"
    assert f"signed by {authority}" in events.of("ssh.connected")[0]["certificate"]
    # The authority of a host is that at all of its ports; of another host it is none.
    assert outcome(sshd, events, line.replace(f"[127.0.0.1]:{sshd.port}", "127.0.0.*"), tmp_path) == "in"
    wrong = outcome(sshd, events, line.replace(f"[127.0.0.1]:{sshd.port}", "127.0.1.*"), tmp_path)
    assert wrong.endswith("which is not known")


def test_a_server_is_not_known_by_what_does_not_hold(sshd: Sshd, events: Events, tmp_path: Path) -> None:
    authority, other = make_key(tmp_path / "ca"), make_key(tmp_path / "other")
    key = sshd.host_key
    believed = f"@cert-authority * {authority.type} {authority.base64}\n"
    for made, line, why in (
        (("-V", "20200101:20200102"), believed, "it expired on 2020-01-02"),
        ((), f"@cert-authority * {other.type} {other.base64}\n", "the authority is not one that is known"),
        ((), f"{believed}@revoked * {authority.type} {authority.base64}\n", "which is revoked in"),
        ((), f"{believed}@revoked * {key.type} {key.base64}\n", "which is revoked in"),
        ((), f"* {authority.type} {authority.base64}\n", "is known"),
    ):
        sshd.start(f"HostCertificate {sign(tmp_path / 'ca', sshd.folder / 'host_ed25519', *made)}")
        assert why in outcome(sshd, events, line, tmp_path)
        sshd.stop()
    sshd.start(f"HostCertificate {sign(tmp_path / 'ca', sshd.folder / 'host_ed25519', names='elsewhere')}")
    assert "it is for elsewhere, not for 127.0.0.1" in outcome(sshd, events, believed, tmp_path)
    # As with ssh, its plain key may be known all the same.
    plain = f"[127.0.0.1]:{sshd.port} {key.type} {key.base64}\n"
    assert outcome(sshd, events, believed + plain, tmp_path) == "in"


def test_a_server_with_no_certificate_is_not_known_by_an_authority(sshd: Sshd, events: Events, tmp_path: Path) -> None:
    authority, key = make_key(tmp_path / "ca"), sshd.host_key
    sshd.start()
    believed = f"@cert-authority * {authority.type} {authority.base64}\n"
    assert "but it shows no certificate" in outcome(sshd, events, believed, tmp_path)
    assert outcome(sshd, events, f"{believed}* {key.type} {key.base64}\n", tmp_path) == "in"


def test_a_certificate_does_not_stand_in_the_way_of_a_pinned_key(sshd: Sshd, events: Events, tmp_path: Path) -> None:
    make_key(tmp_path / "ca")
    sshd.start(f"HostCertificate {sign(tmp_path / 'ca', sshd.folder / 'host_ed25519')}")
    transport = SshTransport(sshd.spec(), events=events)
    assert transport.run("echo in", deadline=Deadline.after(scaled(20))).out == "in"
    transport.close()
    [connected] = events.of("ssh.connected")
    assert connected["certificate"] is None


def test_a_host_is_known_at_another_port_by_its_key_at_the_usual_one(
    sshd: Sshd, events: Events, tmp_path: Path
) -> None:
    sshd.start()
    key, other = sshd.host_key, make_key(tmp_path / "other")
    assert outcome(sshd, events, f"127.0.0.1 {key.type} {key.base64}\n", tmp_path) == "in"
    said = outcome(sshd, events, f"127.0.0.1 {other.type} {other.base64}\n", tmp_path)
    assert said.endswith("which is not known"), "another port may be another machine"
    assert events.of("finding") == []
