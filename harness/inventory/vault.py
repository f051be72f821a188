"""Opening what `ansible-vault` has encrypted (formats 1.1 and 1.2, AES256).

Format: Ansible's documentation, "Encrypting content with Ansible Vault / Format of files encrypted with
Ansible Vault": hex of salt, HMAC and ciphertext, each again in hex; PBKDF2-HMAC-SHA256 with 10,000 rounds
gives an AES key, an HMAC key and an initial counter; AES-256 in CTR mode, PKCS#7 padded; the HMAC is over the
ciphertext.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import io
import os
import subprocess
import threading
from dataclasses import dataclass, field

from harness.bounded import read_file
from harness.errors import Source, UsageError

HEADER = b"$ANSIBLE_VAULT"
_ROUNDS = 10_000
_HINT = "Give the password's file with --vault-password-file."
_SCRIPT_SECONDS = 300.0


class VaultError(ValueError):
    """Cannot be opened; the message says why. Callers add the place."""


def is_vaulted(data: bytes) -> bool:
    """Whether a file's content is encrypted."""
    return data.startswith(HEADER)


@dataclass(slots=True)
class Vault:
    """Opens vaulted texts with one password, or says clearly that there is none.

    `origin` names the password's file. Derived keys are kept, as deriving one takes milliseconds on purpose.
    """

    password: bytes | None = None
    origin: str = ""
    _keys: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def open(self, envelope: bytes) -> bytes:
        """The plain bytes. Raises VaultError: no password, the wrong one, or a damaged text."""
        lines = [line.strip() for line in envelope.strip().splitlines()]
        header = [part.strip() for part in lines[0].split(b";")] if lines else []
        if len(header) < 3 or header[0] != HEADER:
            raise VaultError("this is no vaulted text: its header is damaged")
        if header[1] not in (b"1.1", b"1.2") or header[2] != b"AES256":
            shown = b";".join(header[1:3]).decode("ascii", "backslashreplace")
            raise VaultError(f"this vault format is not known: {shown}")
        if self.password is None:
            raise VaultError("this is vaulted and no password was given")
        try:
            salt, digest, cipher = (
                binascii.unhexlify(part) for part in binascii.unhexlify(b"".join(lines[1:])).split(b"\n", 2)
            )
        except (binascii.Error, ValueError):
            raise VaultError("this vaulted text is damaged: it is no pair of hexadecimal digits a byte") from None
        derived = self._derive(self.password, salt)
        if not hmac.compare_digest(hmac.digest(derived[32:64], cipher, "sha256"), digest):
            raise VaultError(f"the password of {self.origin or 'the vault'} does not open this vaulted text")
        return _decrypt(cipher, derived[:32], derived[64:80])

    def _derive(self, password: bytes, salt: bytes) -> bytes:
        with self._lock:
            if salt not in self._keys:
                self._keys[salt] = hashlib.pbkdf2_hmac("sha256", password, salt, _ROUNDS, 80)
            return self._keys[salt]


def _decrypt(cipher: bytes, key: bytes, counter: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    decryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).decryptor()
    padded = decryptor.update(cipher) + decryptor.finalize()
    padding = padded[-1] if padded else 0
    if not 1 <= padding <= 16 or padded[-padding:] != bytes([padding]) * padding:
        raise VaultError("this vaulted text is damaged: its padding does not fit")
    return padded[:-padding]


def load_vault(password_file: str | None) -> Vault:
    """The vault for a password file; an executable one is run and prints the password (as in Ansible).

    Raises UsageError when the file cannot be read, fails, or is empty.
    """
    if password_file is None:
        return Vault()
    path = os.path.abspath(os.path.expanduser(password_file))
    source = Source(path)
    if os.path.isdir(path):
        raise UsageError("the vault password file is a folder", source=source)
    try:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            done = subprocess.run([path], stdout=subprocess.PIPE, timeout=_SCRIPT_SECONDS, check=False)
            if done.returncode:
                raise UsageError(f"the vault password script ended with status {done.returncode}", source=source)
            password = done.stdout.strip(b"\r\n")
        else:
            with io.BytesIO(read_file(path, most=1 << 20)) as stream:
                password = stream.read().strip()
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"the vault password script printed nothing for {_SCRIPT_SECONDS:.0f} s", source=source
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot use the vault password file: {error.strerror or error}",
            source=source,
            hint="If it is no script, take away its executable bit." if error.errno == 8 else "",
        ) from None
    if not password:
        raise UsageError("the vault password file holds no password", source=source)
    return Vault(password, password_file)


def vault_hint(error: VaultError) -> str:
    """What to do about it."""
    return _HINT if "no password" in str(error) or "does not open" in str(error) else ""
