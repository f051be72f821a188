"""Whether a host may be believed to be the one that is meant: the key, or the certificate, that it showed."""

from __future__ import annotations

import shlex
import time

from harness.errors import UsageError
from harness.events.emitter import Emitter
from harness.transport.errors import Cause, Contact, Unavailable
from harness.transport.ssh.certificates import Certificate
from harness.transport.ssh.hostkeys import (
    HostKey,
    Known,
    Verdict,
    add_known_host,
    expected_fingerprints,
    judge,
    known_name,
    look_up,
)
from harness.transport.ssh.spec import SshSpec
from harness.user import expanded


class UnknownHostKeyError(Exception):
    """Inside this room only: the shown key is not known, and may be had over another transport."""

    def __init__(self, key: HostKey, error: Unavailable) -> None:
        super().__init__(str(error))
        self.key = key
        self.error = error


def known_keys(spec: SshSpec, pinned: tuple[HostKey, ...]) -> Known:
    """What is known of the spec's host: the pinned keys if there are any, else what the known_hosts
    files say.
    """
    if pinned:
        return Known(pinned, origin="pinned", complete=True)
    files = [expanded(file) for file in spec.known_hosts]
    try:
        if spec.host_key_alias:
            return look_up(spec.host_key_alias, files)
        known = look_up(known_name(spec.host, spec.port), files)
        if spec.port != 22:
            # As ssh does: what is said of the host with no port holds for its other ports, but contradicts nothing.
            known = known.and_maybe(look_up(spec.host, files))
    except OSError as error:
        raise UsageError(f"{spec.name}: the known hosts cannot be read: {error}") from None
    return known


def check_host_key(spec: SshSpec, key: HostKey, certificate: Certificate | None, known: Known, events: Emitter) -> bool:
    """Return when the host may be logged in to: true where it may be given a password. Raises
    Unavailable(cause=HOST_KEY) and :class:`UnknownHostKeyError`.

    As with ssh, checking that is switched off lets a changed key pass, but no password goes to it then; and a
    certificate that does not hold counts for nothing: its key is judged like any other.
    """
    where = f"{spec.name}: {spec.address}"
    shows = f"{where} shows the host key {key}"
    verdict = judge(key, known)
    if certificate is not None and certificate.authority in known.revoked:
        shows += f", certified by {certificate.authority}"
        verdict = Verdict.REVOKED
    if verdict is Verdict.REVOKED:
        raise Unavailable(
            f"{shows}, which is revoked in {known.origin or 'known_hosts'}",
            cause=Cause.HOST_KEY,
            transport="ssh",
            hint="Somebody holds a key that was taken back. Do not go on before you know who.",
        )
    doubt = ""
    if certificate is not None and known.authorities:
        doubt = _doubt(certificate, spec.host_key_alias or spec.host, known)
        if not doubt:
            return True
        doubt = f"; the certificate {certificate} does not vouch for it: {doubt}"
    elif known.authorities:
        doubt = "; an authority is known for it, but it shows no certificate"
    if verdict is Verdict.KNOWN:
        return True
    if spec.host_key_policy == "off":
        told = f"{where} shows {key}; checking is switched off"
        if verdict is Verdict.CHANGED:
            _changed(spec, key, known, doubt, events)
            told += f", but {expected_fingerprints(known, key)[0]} is known ({known.origin}): no password is sent to it"
        events.emit("ssh.host_key_unchecked", told, level="warning")
        return verdict is not Verdict.CHANGED
    if verdict is Verdict.CHANGED:
        raise _changed(spec, key, known, doubt, events)
    if spec.host_key_policy == "accept-new":
        _accept_new(spec, key, where, events)
        return True
    raise UnknownHostKeyError(
        key,
        Unavailable(
            f"{shows}, which is not known{doubt}",
            cause=Cause.HOST_KEY,
            contact=Contact.HOST_KEY_UNKNOWN,
            transport="ssh",
            seen=str(key).encode(),
            hint="Give the host a serial console (the key is then read over it), or compare the fingerprint "
            f"and add the key: ssh-keyscan -p {spec.port} {shlex.quote(spec.host)} >> ~/.ssh/known_hosts",
        ),
    )


def _accept_new(spec: SshSpec, key: HostKey, where: str, events: Emitter) -> None:
    """Have the key known from now on. As with ssh, a file that cannot be written is told and ends nothing."""
    file = expanded(spec.learned_hosts)
    name = spec.host_key_alias or known_name(spec.host, spec.port)
    try:
        add_known_host(name, key, file, hashed=spec.hash_known_hosts)
        told = f"accepted, as accept-new says, and added to {file}"
    except OSError as error:
        told = f"accepted, as accept-new says, but it cannot be added to {file}: {error.strerror or error}"
    events.emit("ssh.host_key_accepted", f"{where} shows {key}; {told}", level="warning")


def _doubt(certificate: Certificate, host: str, known: Known) -> str:
    if certificate.authority not in known.authorities:
        return "the authority is not one that is known for this host"
    return certificate.problem(host, time.time())


def _changed(spec: SshSpec, key: HostKey, known: Known, doubt: str, events: Emitter) -> Unavailable:
    """The finding, and the error."""
    where = f"{spec.name}: {spec.address}"
    expected = list(expected_fingerprints(known, key))
    events.emit(
        "finding",
        f"{where} shows another host key than the known one: {key.fingerprint}, not {expected[0]}",
        level="error",
        finding="host_key_changed",
        shown=str(key),
        expected=expected,
        known_from=known.origin,
    )
    name = spec.host_key_alias or known_name(spec.host, spec.port)
    return Unavailable(
        f"{where} shows the host key {key}, but {expected[0]} is known ({known.origin}){doubt}",
        cause=Cause.HOST_KEY,
        transport="ssh",
        seen=str(key).encode(),
        hint="The machine was installed anew, another has its address, or somebody is in between. "
        f"When it is the first, forget the old key: ssh-keygen -R {shlex.quote(name)}",
    )
