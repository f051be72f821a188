"""HTTP as receivers and their certificates make it."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest

from harness.ship.http import retry_after
from harness.ship.registry import open_sink
from tests.ship.daemons import certificates
from tests.ship.receivers import HttpReceiver, serving
from tests.ship.runs import Run, Trip, ship


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("-1", None),
        ("soon", None),
        ("Mon, 23 Nov 2026 08:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 07:00:00 GMT", 0.0),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, 1795420800.0) == seconds


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """An authority, a server's certificate and a client's."""
    folder = tmp_path / "keys"
    folder.mkdir()
    certificates(folder)
    return folder


def secure(keys: Path, *, ask: bool = False) -> HttpReceiver:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(keys / "server.pem", keys / "server.key")
    if ask:
        tls.load_verify_locations(keys / "ca.pem")
        tls.verify_mode = ssl.CERT_REQUIRED
    return HttpReceiver(tls=tls)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("ask", [False, True])
def test_a_receiver_that_is_trusted(run: Run, keys: Path, host: str, ask: bool) -> None:
    run.end()
    receiver = secure(keys, ask=ask)
    ours = f"&cert={keys}/client.pem&key={keys}/client.key" if ask else ""
    with serving(receiver):
        ship(run, f"otlp+https://{host}:{receiver.port}?ca={keys}/ca.pem{ours}")
    assert len(receiver.taken) == 1


def test_a_receiver_of_another_name(run: Run, keys: Path) -> None:
    run.end()
    receiver = secure(keys)
    with serving(receiver):
        url = f"otlp+https://127.0.0.1:{receiver.port}?ca={keys}/ca.pem"
        trip = Trip(run, open_sink(f"{url}&name=other.test").sink, most=3)
        assert not trip.go()
        assert "its certificate is not trusted" in trip.told[0]
        assert "other.test" in trip.told[0]
        ship(run, f"{url}&name=localhost")
    assert len(receiver.taken) == 1


def test_a_receiver_that_is_not_trusted_gets_nothing(run: Run, keys: Path) -> None:
    run.end()
    receiver = secure(keys)
    with serving(receiver):
        trip = Trip(run, open_sink(f"otlp+https://127.0.0.1:{receiver.port}").sink, most=3)
        assert not trip.go()
    assert "its certificate is not trusted" in trip.told[0]
    assert receiver.seen == []


def test_a_receiver_that_asks_for_a_certificate_and_gets_none(run: Run, keys: Path) -> None:
    run.end()
    receiver = secure(keys, ask=True)
    with serving(receiver):
        trip = Trip(run, open_sink(f"otlp+https://127.0.0.1:{receiver.port}?ca={keys}/ca.pem").sink, most=3)
        assert not trip.go()
    assert (receiver.seen, trip.shipper.position.sequence) == ([], 0)


def test_loki(run: Run) -> None:
    run.say("one", "one", "two")
    run.end()
    receiver = HttpReceiver()
    with serving(receiver):
        ship(run, f"loki://127.0.0.1:{receiver.port}?tenant=lab&job=tests")
    (request,) = receiver.taken
    assert request.path == "/loki/api/v1/push"
    assert request.headers["X-Scope-OrgID"] == "lab"
    values = [value for stream in json.loads(request.body)["streams"] for value in stream["values"]]
    assert [value[1] for value in values] == ["begins", "one", "one", "two", "is over"]
    assert len({value[0] for value in values}) == 5
    assert [value[2]["event_id"] for value in values] == run.ids()


def test_one_connection_is_kept(run: Run) -> None:
    run.say(*(str(number) for number in range(50)))
    run.end()
    ports: set[str] = set()
    receiver = HttpReceiver()
    handle = receiver._handle

    def noted(handler: object) -> None:
        ports.add(str(getattr(handler, "client_address", "")))
        handle(handler)  # type: ignore[arg-type]

    receiver._handle = noted  # type: ignore[method-assign]
    with serving(receiver):
        ship(run, f"otlp://127.0.0.1:{receiver.port}?batch=5")
    assert len(receiver.taken) == 11
    assert len(ports) == 1
