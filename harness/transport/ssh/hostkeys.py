"""Host keys: what a machine shows, what we know of it, and whether the two agree.

No trust on first use: a key is known because it is pinned (we built the machine, or read the key over its
serial console) or because a `known_hosts` file names it. The file's format is that of sshd(8),
"SSH_KNOWN_HOSTS FILE FORMAT".
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import functools
import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from harness.transport.contract import CommandResult

READ_HOST_KEYS = (
    # The running daemon's own settings first: a board may keep its keys elsewhere. dropbear has no .pub
    # files.
    "for f in $(PATH=$PATH:/usr/sbin:/sbin; sshd -T 2>/dev/null | while read -r k v; do "
    '[ "$k" = hostkey ] && echo "$v.pub"; done) /etc/ssh/ssh_host_*_key.pub; do '
    '[ -r "$f" ] && cat "$f"; done; '
    "for f in /etc/dropbear/dropbear_*_host_key; do "
    '[ -r "$f" ] && dropbearkey -y -f "$f" 2>/dev/null; done; :'
)
"""Prints the public host keys of the machine it runs on, one a line, in OpenSSH's form."""

PREFERRED_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)


def _take_string(blob: bytes, at: int) -> tuple[bytes, int]:
    if at + 4 > len(blob):
        raise ValueError("key blob ends early")
    size = int.from_bytes(blob[at : at + 4], "big")
    if at + 4 + size > len(blob):
        raise ValueError("key blob ends early")
    return blob[at + 4 : at + 4 + size], at + 4 + size


@dataclass(frozen=True, slots=True)
class HostKey:
    """A public host key. `type` is the key's own name (`ssh-ed25519`), `base64` its blob as
    `known_hosts` writes it.
    """

    type: str
    base64: str

    @classmethod
    def from_blob(cls, blob: bytes) -> HostKey:
        """From the wire's form (RFC 4253, 6.6). Raises ValueError when it is none."""
        name, _ = _take_string(blob, 0)
        return cls(name.decode("ascii"), base64.b64encode(blob).decode("ascii"))

    @classmethod
    def from_text(cls, text: str) -> HostKey | None:
        """From `TYPE BASE64 [comment]`; None when the line holds no such key."""
        fields = text.split()
        if len(fields) < 2:
            return None
        try:
            blob = base64.b64decode(fields[1], validate=True)
            key = cls.from_blob(blob)
        except (binascii.Error, ValueError, UnicodeDecodeError):
            return None
        return key if key.type == fields[0] else None

    @property
    def blob(self) -> bytes:
        """The wire's form."""
        return base64.b64decode(self.base64)

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it: `SHA256:` and unpadded base64."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode("ascii").rstrip("=")

    @property
    def bits(self) -> int:
        """The key's size in bits; 0 for a type that we do not know."""
        if self.type == "ssh-ed25519":
            return 256
        if self.type.startswith("ecdsa-sha2-nistp"):
            return int(self.type.removeprefix("ecdsa-sha2-nistp"))
        if self.type in ("ssh-rsa", "ssh-dss"):
            blob = self.blob
            _, at = _take_string(blob, 0)
            first, at = _take_string(blob, at)
            number = _take_string(blob, at)[0] if self.type == "ssh-rsa" else first
            return int.from_bytes(number, "big").bit_length()
        return 0

    def __str__(self) -> str:
        return f"{self.type} {self.fingerprint}"


def parse_public_keys(text: str) -> tuple[HostKey, ...]:
    """The keys in lines of `TYPE BASE64 [comment]`, each once; other lines are passed over."""
    found = (HostKey.from_text(line) for line in text.splitlines())
    return tuple(dict.fromkeys(key for key in found if key is not None))


def read_host_keys(run: Callable[[str], CommandResult]) -> tuple[HostKey, ...]:
    """Reads the machine's own host keys by a command on it, over a transport that needs no such key (serial).

    `run` runs one command; its errors are passed on. The result is empty when the machine shows no key.
    """
    return parse_public_keys(run(READ_HOST_KEYS).stdout.decode("utf-8", "backslashreplace"))


@dataclass(frozen=True, slots=True)
class KnownHostLine:
    """One line of a `known_hosts` file. Its key is read when it is asked for: most lines speak of other hosts."""

    marker: str
    patterns: tuple[str, ...]
    text: str

    @property
    def key(self) -> HostKey | None:
        """None when the line holds no key that we know how to read; ssh passes over it too."""
        return HostKey.from_text(self.text)

    def matches(self, name: str) -> bool:
        """Whether the line speaks of `name` (a host, or `[host]:port`)."""
        if self.patterns and self.patterns[0].startswith("|1|"):
            return _hashed_matches(self.patterns[0], name)
        hit = False
        for pattern in self.patterns:
            negated = pattern.startswith("!")
            if _wildcard(pattern.removeprefix("!").lower(), name.lower()):
                if negated:
                    return False
                hit = True
        return hit


def _wildcard(pattern: str, name: str) -> bool:
    if "*" not in pattern and "?" not in pattern:
        return name == pattern
    # `[` is literal in known_hosts ([host]:port); in fnmatch it opens a class.
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _hashed_matches(entry: str, name: str) -> bool:
    parts = entry.split("|")
    if len(parts) != 4:
        return False
    try:
        salt, want = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except binascii.Error:
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), want)


def parse_known_hosts(text: str) -> tuple[KnownHostLine, ...]:
    """The lines of a `known_hosts` file; comments, and lines too short to hold a key, are passed over."""
    lines = []
    for raw in text.splitlines():
        fields = raw.split()
        marker = ""
        if fields and fields[0].startswith("@"):
            marker = fields.pop(0)
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        lines.append(KnownHostLine(marker, tuple(fields[0].split(",")), f"{fields[1]} {fields[2]}"))
    return tuple(lines)


def known_name(host: str, port: int) -> str:
    """The name under which `known_hosts` keeps a host."""
    return host if port == 22 else f"[{host}]:{port}"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one host: its keys, those that were revoked, and where this was read."""

    keys: tuple[HostKey, ...] = ()
    revoked: tuple[HostKey, ...] = ()
    origin: str = ""
    complete: bool = False
    """Pinned from the machine itself: a key of a type that is not listed is a changed key, too."""
    authorities: tuple[HostKey, ...] = ()
    """Whose certificates are believed for this host."""
    maybe: tuple[HostKey, ...] = ()
    """Keys that will do, and whose absence means nothing: those of the same host at the usual port."""

    def and_maybe(self, other: Known) -> Known:
        """With what is known of the host by a wider name."""
        return replace(
            self,
            revoked=tuple(dict.fromkeys(self.revoked + other.revoked)),
            authorities=tuple(dict.fromkeys(self.authorities + other.authorities)),
            maybe=other.keys,
            origin=", ".join(dict.fromkeys(filter(None, [self.origin, other.origin]))),
        )

    @property
    def types(self) -> tuple[str, ...]:
        """The known keys' types, the preferred first: ask the server for one of these, or it may show
        another key.
        """
        have = {key.type for key in self.keys + self.maybe}
        return tuple(name for name in PREFERRED_TYPES if name in have)


def look_up(name: str, files: Iterable[Path]) -> Known:
    """What `known_hosts` files say of `name`. A file that is not there is passed over; one that cannot
    be read is an OSError.
    """
    keys: list[HostKey] = []
    revoked: list[HostKey] = []
    authorities: list[HostKey] = []
    origins: list[str] = []
    for path in files:
        try:
            about = path.stat()
            lines = _read(path, about.st_ino, about.st_mtime_ns, about.st_size)
        except (FileNotFoundError, NotADirectoryError):
            continue
        for line in lines:
            if not line.matches(name) or (key := line.key) is None:
                continue
            place = {"": keys, "@revoked": revoked, "@cert-authority": authorities}.get(line.marker)
            if place is not None:
                place.append(key)
                origins.append(str(path))
    return Known(
        tuple(dict.fromkeys(keys)),
        tuple(dict.fromkeys(revoked)),
        ", ".join(dict.fromkeys(origins)),
        authorities=tuple(dict.fromkeys(authorities)),
    )


_adding = threading.Lock()


def add_known_host(name: str, key: HostKey, file: Path, *, hashed: bool = False) -> None:
    """Append a host's key to a `known_hosts` file, as ssh does for `StrictHostKeyChecking accept-new`: with the name
    hashed (ssh_config(5), HashKnownHosts) or in lower case. Raises OSError."""
    name = name.lower()
    if hashed:
        salt = os.urandom(20)
        digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
        name = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
    with _adding:
        if not file.parent.is_dir():
            file.parent.mkdir(mode=0o700)
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(descriptor, "r+b", buffering=0) as stream:
            line = f"{name} {key.type} {key.base64}\n".encode()
            if stream.seekable() and stream.seek(0, os.SEEK_END):
                stream.seek(-1, os.SEEK_END)
                line = line if stream.read(1) == b"\n" else b"\n" + line
            stream.write(line)


@functools.lru_cache(maxsize=8)
def _read(path: Path, *_as_it_was: int) -> tuple[KnownHostLine, ...]:
    """A file's lines. It may be long, and is asked for each host of a run: it is read again when it has changed."""
    return parse_known_hosts(path.read_text("utf-8", "backslashreplace"))


class Verdict(StrEnum):
    """What a shown key is, against what is known."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


def judge(shown: HostKey, known: Known) -> Verdict:
    """Compares a shown key with what is known of the host."""
    if shown in known.revoked:
        return Verdict.REVOKED
    if shown in known.keys or shown in known.maybe:
        return Verdict.KNOWN
    if known.complete and known.keys:
        return Verdict.CHANGED
    if any(key.type == shown.type for key in known.keys):
        return Verdict.CHANGED
    return Verdict.UNKNOWN


def expected_fingerprints(known: Known, shown: HostKey) -> Sequence[str]:
    """The fingerprints that were expected in place of `shown`, same type first."""
    ordered = sorted(known.keys, key=lambda key: key.type != shown.type)
    return [str(key) for key in ordered]
