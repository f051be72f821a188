"""TLS for sinks: the receiver's certificate is always verified."""

from __future__ import annotations

import ssl

from harness.errors import UsageError
from harness.ship.address import Address
from harness.ship.options import Options


def context(address: Address, options: Options) -> ssl.SSLContext | None:
    """What the options `ca`, `cert`, `key` say; None for a sink without TLS. Raises UsageError where a file is wrong.

    `ca` is a file with the authorities to trust (the system's without it; a self-signed certificate is its own),
    `cert` and `key` are the certificate and key that this side shows.
    """
    if not address.encrypted:
        return None
    authorities, certificate, key = options.file("ca"), options.file("cert"), options.file("key")
    if key and not certificate:
        raise UsageError("key= is given without cert=", hint=f"In: {address}")
    try:
        made = ssl.create_default_context(cafile=str(authorities) if authorities else None)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate:
            made.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"{address}: the certificates cannot be used: {error}") from error
    return made


def reason(error: OSError) -> str:
    """Why connecting failed, for a person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return (error.strerror or str(error) or type(error).__name__).strip()
