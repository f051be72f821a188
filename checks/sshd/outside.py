"""sshd as a client on the network meets it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TypeVar

from harness import NotYet, Skip, Target, check
from harness.transport.errors import Unavailable

from ._sshd import ask_sshd, explain_silence, parse_settings

T = TypeVar("T")

# Broken or retired, see RFC 9142 and OpenSSH's release notes; a server that has nothing else cannot be used safely.
WEAK_KEX = frozenset(
    {"diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1"}
)
WEAK_HOST_KEYS = frozenset({"ssh-dss", "ssh-rsa"})
SLOW_GREETING = 3.0
"""Seconds after which a server that identifies itself is reported as slow."""
MARKERS = ("ext-info-s", "kex-strict-s-v00@openssh.com")


def _ask(target: Target, question: Callable[[], T]) -> T:
    began = time.monotonic()
    try:
        return question()
    except Unavailable as refusal:
        explain_silence(target, refusal, took=time.monotonic() - began)


@check(tags=["sshd", "outside"])
def tcp_answers(target: Target) -> str:
    """The port accepts connections, and an SSH server identifies itself there."""
    words = _ask(target, target.ssh.connect)
    # The time is reported where it is long, and then coarsely: it must not make two equal observations differ.
    late = f", and the server took {words.greeted:.0f} s to identify itself" if words.greeted >= SLOW_GREETING else ""
    return f"{target.ssh} accepts connections{late}"


@check(tags=["sshd", "outside"])
def banner(target: Target) -> str:
    """The server identifies itself with protocol 2.0."""
    seen = _ask(target, target.ssh.banner)
    assert seen.protocol == "2.0", f"the banner {seen.raw!r} announces protocol {seen.protocol}, not 2.0"
    assert seen.software, f"the banner {seen.raw!r} names no software"
    return f"protocol {seen.protocol}, {seen.software}"


@check(tags=["sshd", "outside"])
def key_exchange(target: Target) -> str:
    """Key exchange works, and neither it nor the host keys rest on retired algorithms alone."""
    offered = _ask(target, target.ssh.kexinit)
    strong = [name for name in offered.kex if name not in WEAK_KEX and name not in MARKERS]
    assert strong, f"every key exchange offered is retired: {', '.join(offered.kex)}"
    host_keys = [name for name in offered.host_key if name not in WEAK_HOST_KEYS]
    assert host_keys, f"every host key algorithm offered is retired: {', '.join(offered.host_key)}"
    keys = _ask(target, target.ssh.host_keys)
    assert keys, "no key exchange could be completed with any host key type that is offered"
    return f"{strong[0]}; host keys proved: {', '.join(sorted(keys))}"


@check(tags=["sshd", "outside", "login"])
def login_with_key(target: Target) -> str:
    """A new login with the inventory's credentials succeeds and runs a command."""
    result = _ask(target, lambda: target.ssh.log_in("id -un"))
    assert result.ok, f"`id -un` ended with exit status {result.exit_status}: {result.err}"
    return f"logged in as {result.out}"


@check(tags=["sshd", "outside", "login"])
def wrong_key_refused(target: Target) -> str:
    """A key that nobody has authorized is refused."""
    import paramiko
    from cryptography.hazmat.primitives.asymmetric import ec

    stranger = paramiko.ECDSAKey(vals=(key := ec.generate_private_key(ec.SECP256R1()), key.public_key()))
    accepted = _ask(target, lambda: target.ssh.accepts_key(stranger))
    assert not accepted, f"a fresh key that was never authorized can log in as {target.ssh.user}"
    return f"refused for {target.ssh.user}"


@check(tags=["sshd", "outside", "login"])
def password_refused(target: Target) -> str:
    """Where password authentication is disabled, it is not offered, and a password is refused."""
    methods = _ask(target, target.ssh.auth_methods)
    listing = ask_sshd(target, "-T")
    if not listing.ok:
        raise NotYet(f"sshd's settings cannot be read: {listing.err or f'exit status {listing.exit_status}'}")
    if "yes" in parse_settings(listing.out).get("passwordauthentication", ()):
        raise Skip("password authentication is enabled here")
    assert "password" not in methods, (
        f"passwords are disabled in sshd's settings, yet offered on the wire: {', '.join(methods)}"
    )
    accepted = _ask(target, lambda: target.ssh.accepts_password(secrets.token_urlsafe(12)))
    assert not accepted, "a random password was accepted"
    return f"only {', '.join(methods) or 'no method'} offered"
