"""Host certificates: an authority's word that a key is a host's, for a time (OpenSSH's PROTOCOL.certkeys)."""

from __future__ import annotations

import base64
import fnmatch
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.transport.ssh.hostkeys import HostKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization import SSHCertificate

SUFFIX = "-cert-v01@openssh.com"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a host showed. `key` is the host's own, which it proved to hold; `authority` is the one that signed, and
    called it `id`."""

    key: HostKey
    authority: HostKey
    id: str
    parsed: SSHCertificate

    @classmethod
    def from_blob(cls, blob: bytes) -> Certificate:
        """From the wire's form. Raises ValueError when it is none, or of a kind that is not known."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

        kind = blob[4 : 4 + int.from_bytes(blob[:4], "big")]
        try:
            parsed = load_ssh_public_identity(kind + b" " + base64.b64encode(blob))
            if not isinstance(parsed, SSHCertificate):
                raise ValueError("this is a key, and no certificate")
            key, authority = _host_key(parsed.public_key()), _host_key(parsed.signature_key())
        except (UnsupportedAlgorithm, NotImplementedError) as error:
            raise ValueError(str(error)) from None
        return cls(key, authority, parsed.key_id.decode("utf-8", "backslashreplace"), parsed)

    def problem(self, host: str, now: float) -> str:
        """Why it does not vouch for `host` at `now` (seconds since the epoch); empty when it does. Who the authority is
        must be asked apart."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.serialization import SSHCertificateType

        names = [name.decode("utf-8", "backslashreplace") for name in self.parsed.valid_principals]
        if self.parsed.type is not SSHCertificateType.HOST:
            return "it is a user's, not a host's"
        if self.parsed.critical_options:
            demands = b", ".join(self.parsed.critical_options).decode("utf-8", "backslashreplace")
            return f"it demands what is not known here: {demands}"
        if now < self.parsed.valid_after:
            return f"it is valid only from {_day(self.parsed.valid_after)} on"
        if now >= self.parsed.valid_before:
            return f"it expired on {_day(self.parsed.valid_before)}"
        # "a zero-length valid principals field means the certificate is valid for any principal"
        if names and not any(fnmatch.fnmatchcase(host.lower(), name.lower().replace("[", "[[]")) for name in names):
            return f"it is for {', '.join(names)}, not for {host}"
        if bytes(self.parsed._inner_sig_type) == b"ssh-rsa":
            return "it is signed with SHA-1"
        try:
            self.parsed.verify_cert_signature()
        except (InvalidSignature, ValueError):
            return "its signature is wrong"
        return ""

    def __str__(self) -> str:
        return f"{self.id!r}, signed by {self.authority}"


def _host_key(key: object) -> HostKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    text: bytes = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[attr-defined]
    found = HostKey.from_text(text.decode("ascii"))
    if found is None:
        raise ValueError("a key of a type that is not known")
    return found


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(min(seconds, 253402300799), UTC):%Y-%m-%d %H:%M} UTC"
