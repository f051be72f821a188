"""Real receivers, started for a test on free ports of the loopback and stopped with it."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.patience import scaled

_START = 20.0  # seconds; a busy machine


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def program(name: str, where: str = "apt.txt") -> str:
    """Where a program is; the test is skipped where it is not installed."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin:/lib/systemd")
    if found is None:
        pytest.skip(f"{name} is not installed ({where})")
    return found


@contextlib.contextmanager
def started(command: Sequence[str], ports: Sequence[int], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that listens on these ports; it is stopped in the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: all(map(_listens, ports)), lambda: f"{command[0]} does not listen: {log.read_text()}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(scaled(10))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(true: Callable[[], bool], otherwise: Callable[[], str], seconds: float = _START) -> None:
    """Returns when it is true; fails when it is not within that time."""
    end = time.monotonic() + scaled(seconds)
    while not true():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.02)


def _listens(port: int) -> bool:
    # Read, not tried: a connection that comes and goes is one more thing for the daemon to log.
    wanted = f":{port:04X} "
    return any(wanted in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines())


RSYSLOG = """\
global(workDirectory="{folder}" maxMessageSize="{most}"
       DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="{folder}/ca.pem"
       DefaultNetstreamDriverCertFile="{folder}/server.pem" DefaultNetstreamDriverKeyFile="{folder}/server.key")
main_queue(queue.type="Direct")
module(load="imudp")
module(load="imtcp")
module(load="imrelp" tls.tlslib="openssl")
template(name="message" type="string" string="%msg%\\n")
template(name="header" type="string" string="%hostname% %app-name% %procid% %msgid% %pri% %structured-data%\\n")
ruleset(name="events" queue.type="Direct") {{
    action(type="omfile" file="{folder}/messages" template="message" flushOnTXEnd="on" asyncWriting="off")
    action(type="omfile" file="{folder}/headers" template="header" flushOnTXEnd="on" asyncWriting="off")
}}
input(type="imudp" address="127.0.0.1" port="{tcp}" ruleset="events")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="events" StreamDriver.Name="ptcp")
input(type="imtcp" address="127.0.0.1" port="{tls}" ruleset="events" StreamDriver.Name="ossl" StreamDriver.Mode="1"
      StreamDriver.AuthMode="x509/name" PermittedPeer=["shipper.test"])
input(type="imrelp" port="{relp}" ruleset="events" maxDataSize="{most}")
input(type="imrelp" port="{relp_tls}" ruleset="events" maxDataSize="{most}" tls="on" tls.authMode="name"
      tls.permittedPeer=["shipper.test"] tls.caCert="{folder}/ca.pem" tls.myCert="{folder}/server.pem"
      tls.myPrivKey="{folder}/server.key")
"""


@dataclass
class Rsyslog:
    """rsyslogd with an input of each kind; what it got stands in `messages` and `headers`."""

    folder: Path
    tcp: int
    tls: int
    relp: int
    relp_tls: int

    def lines(self, count: int, name: str = "messages") -> list[bytes]:
        """What has arrived, once there are so many lines."""
        path = self.folder / name

        def read() -> list[bytes]:
            return path.read_bytes().splitlines() if path.exists() else []

        wait_until(lambda: len(read()) >= count, lambda: f"{len(read())} of {count}: {self.log()}")
        return read()

    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextlib.contextmanager
def rsyslog(folder: Path, most: str = "8k") -> Iterator[Rsyslog]:
    """Starts it; `most` is the longest message that it takes whole."""
    daemon = program("rsyslogd")
    folder.mkdir(exist_ok=True)
    certificates(folder)
    made = Rsyslog(folder, free_port(), free_port(), free_port(), free_port())
    ports = {"tcp": made.tcp, "tls": made.tls, "relp": made.relp, "relp_tls": made.relp_tls}
    config = folder / "rsyslog.conf"
    config.write_text(RSYSLOG.format(folder=folder, most=most, **ports))
    command = [daemon, "-n", "-f", str(config), "-i", str(folder / "pid")]
    with started(command, list(ports.values()), folder / "log"):
        yield made


def certificates(folder: Path) -> None:
    """An authority (ca.pem), a server for 127.0.0.1, and a client called shipper.test, each with its key."""
    authority = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    now = datetime.datetime.now(datetime.UTC)

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *names: x509.GeneralName) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(authority, hashes.SHA256())

    def keep(file: str, made: x509.Certificate, key: ec.EllipticCurvePrivateKey | None) -> None:
        (folder / f"{file}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        if key is not None:
            (folder / f"{file}.key").write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )

    keep("ca", certificate(name, authority), None)
    local = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    subjects: dict[str, list[x509.GeneralName]] = {
        "server": [local, x509.DNSName("localhost")],
        "client": [x509.DNSName("shipper.test")],
    }
    for file, names in subjects.items():
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, "shipper.test" if file == "client" else "localhost")]
        )
        keep(file, certificate(subject, key, *names), key)
