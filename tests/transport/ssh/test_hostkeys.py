"""Host keys: parsing held against ssh-keygen, and the verdicts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.transport.contract import CommandResult
from harness.transport.ssh.hostkeys import (
    HostKey,
    Known,
    Verdict,
    judge,
    known_name,
    look_up,
    parse_known_hosts,
    parse_public_keys,
    read_host_keys,
)

TYPES = [("ed25519", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048"), ("rsa", "3072")]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[HostKey, str]]:
    """Keys of all types, each with what ssh-keygen says of it."""
    folder = tmp_path_factory.mktemp("keys")
    found = {}
    for kind, bits in TYPES:
        path = folder / f"{kind}{bits}"
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-b", bits, "-N", "", "-f", str(path)], check=True)
        told = subprocess.run(["ssh-keygen", "-lf", f"{path}.pub"], capture_output=True, text=True, check=True)
        [key] = parse_public_keys(Path(f"{path}.pub").read_text())
        found[f"{kind}{bits}"] = (key, told.stdout)
    return found


def test_fingerprints_and_sizes_are_those_of_ssh_keygen(keys: dict[str, tuple[HostKey, str]]) -> None:
    for key, told in keys.values():
        bits, fingerprint, *_ = told.split()
        assert (str(key.bits), key.fingerprint) == (bits, fingerprint)


@given(text=st.text(max_size=200))
def test_no_text_breaks_the_parsers(text: str) -> None:
    parse_public_keys(text)
    for line in parse_known_hosts(text):
        line.matches("host")


@given(blob=st.binary(max_size=100))
def test_no_blob_breaks_the_key(blob: bytes) -> None:
    import base64

    line = f"ssh-ed25519 {base64.b64encode(blob).decode()}"
    for key in parse_public_keys(line):
        assert key.blob == blob


def test_lines_that_are_no_keys_are_passed_over(keys: dict[str, tuple[HostKey, str]]) -> None:
    key = keys["ed25519256"][0]
    text = f"# hello\n\nssh-rsa {key.base64} wrong type\n{key.type} !!!\n{key.type} {key.base64} root@box\r\n" * 2
    assert parse_public_keys(text) == (key,)


@pytest.mark.parametrize("port", [22, 2222])
@pytest.mark.parametrize("hashed", [False, True])
def test_known_hosts_is_read_as_ssh_keygen_reads_it(
    keys: dict[str, tuple[HostKey, str]], tmp_path: Path, port: int, hashed: bool
) -> None:
    key, other = keys["ed25519256"][0], keys["rsa2048"][0]
    file = tmp_path / "known"
    name = known_name("box.example", port)
    file.write_text(
        f"{name},192.0.2.1 {key.type} {key.base64} comment\n{name} {other.type} {other.base64}\n"
        f"elsewhere {other.type} {other.base64}\n"
    )
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], capture_output=True, check=False).returncode == 0
    known = look_up(name, [tmp_path / "none", file])
    assert set(known.keys) == {key, other}
    assert known.types[0] == "ssh-ed25519"
    assert str(file) in known.origin
    assert look_up("box.example:1", [file]).keys == ()


@pytest.mark.parametrize(
    ("patterns", "name", "hit"),
    [
        ("*.example", "box.example", True),
        ("*.example", "box.other", False),
        ("box?", "box1", True),
        ("*.example,!bad.example", "bad.example", False),
        ("!bad.example,*.example", "bad.example", False),
        ("BOX", "box", True),
        ("[box]:22*", "[box]:2222", True),
        ("[b]ox", "box", False),
        ("box", "boxer", False),
    ],
)
def test_patterns(keys: dict[str, tuple[HostKey, str]], patterns: str, name: str, hit: bool) -> None:
    key = keys["ed25519256"][0]
    [line] = parse_known_hosts(f"{patterns} {key.type} {key.base64}")
    assert line.matches(name) is hit


def test_markers(keys: dict[str, tuple[HostKey, str]], tmp_path: Path) -> None:
    key, other = keys["ed25519256"][0], keys["rsa2048"][0]
    file = tmp_path / "known"
    file.write_text(f"@revoked box {key.type} {key.base64}\n@cert-authority box {other.type} {other.base64}\n")
    known = look_up("box", [file])
    assert known.keys == ()
    assert judge(key, known) is Verdict.REVOKED
    assert judge(other, known) is Verdict.UNKNOWN, "an authority's key is no host's"


def test_verdicts(keys: dict[str, tuple[HostKey, str]]) -> None:
    key, rsa, rsa2 = (keys[name][0] for name in ("ed25519256", "rsa2048", "rsa3072"))
    assert judge(key, Known()) is Verdict.UNKNOWN
    assert judge(key, Known((key, rsa))) is Verdict.KNOWN
    assert judge(rsa2, Known((key, rsa))) is Verdict.CHANGED
    assert judge(rsa, Known((key,))) is Verdict.UNKNOWN, "another type may just not have been seen yet"
    assert judge(rsa, Known((key,), complete=True)) is Verdict.CHANGED, "but not where all are known"


def test_keys_are_read_over_any_transport(keys: dict[str, tuple[HostKey, str]]) -> None:
    key = keys["ed25519256"][0]

    def run(command: str) -> CommandResult:
        done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
        assert done.returncode == 0, done
        text = f"[ 12.3] noise\n{key.type} {key.base64} root@box\n".encode()
        return CommandResult(command, text, b"", 0, "serial", 0.0, 0.0, 0.0)

    assert read_host_keys(run) == (key,)
