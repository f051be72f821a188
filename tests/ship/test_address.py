"""What a person writes behind --to, and what they are told when it will not do."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.ship.address import mask, parse
from harness.ship.credentials import headers
from harness.ship.options import Options
from harness.ship.registry import ALIASES, SCHEMES, open_sink


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("otlp+http://logs:4318", "otlp+http://logs:4318/v1/logs"),
        ("otlp://logs", "otlp+http://logs:4318/v1/logs"),
        ("otlps://logs/otlp/v1/logs", "otlp+https://logs:4318/otlp/v1/logs"),
        ("OTLP+HTTP://logs/", "otlp+http://logs:4318/v1/logs"),
        ("opensearch+https://search?index=tests", "elastic+https://search:9200?index=tests"),
        ("loki://[fd00::1]:3100", "loki+http://[fd00::1]:3100/loki/api/v1/push"),
        ("syslog://logs", "syslog+tcp://logs:514"),
        ("syslog+tls://logs", "syslog+tls://logs:6514"),
        ("syslog+udp://logs:5514?facility=local3", "syslog+udp://logs:5514?facility=local3"),
        ("relp://logs", "relp://logs:2514"),
        ("relps://logs:2515", "relp+tls://logs:2515"),
        ("journald:", "journald:/run/systemd/journal/socket"),
        ("journald:///run/other", "journald:/run/other"),
        ("journal+http://logs", "journal+http://logs:19532/upload"),
        ("file:out.jsonl", "file:out.jsonl"),
        ("file:///var/log/out%20put", "file:/var/log/out%20put"),
        ("stdout:", "stdout:"),
        ("-", "stdout:"),
        ("otlp://me:p%40ss@logs", "otlp+http://me:********@logs:4318/v1/logs"),
        ("elastic+https://:pass@search", "elastic+https://:********@search:9200"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    opened = open_sink(url)
    assert str(opened.address) == shown
    assert "pass" not in repr(opened.address)
    again = open_sink(opened.address.without_password)
    assert again.key == opened.key


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no URL"),
        ("logs", "no URL"),
        ("https://logs:4318", "does not say what is spoken there"),
        ("otpl://logs", "Did you mean otlp"),
        ("gelf://logs", "Sinks are"),
        ("otlp://", "names no host"),
        ("otlp:logs", "names no host"),
        ("otlp://logs:99999", "no port"),
        ("otlp://logs:no", "no port"),
        ("otlp://logs?batsh=1", "Did you mean 'batch'"),
        ("otlp://logs?batch=0", "batch=0 is not a whole number"),
        ("otlp://logs?batch=1&batch=2", "given twice"),
        ("otlp://logs?gzip=maybe", "yes or no"),
        ("otlp://logs?timeout=0", "seconds above 0"),
        ("otlp://logs?header.Authorization=x", "does not belong into a URL"),
        ("otlp://logs?header.X-Api-Key=x", "does not belong into a URL"),
        ("otlp://logs?headers_file=/none", "a file that is there"),
        ("otlp://logs?token_env=NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE"),
        ("otlp://logs#part", "behind #"),
        ("otlps://logs?ca=/none", "a file that is there"),
        ("otlps://logs?ca=/etc/hostname", "certificates cannot be used"),
        ("otlps://logs?key=/etc/hostname", "without cert="),
        ("otlp://logs?ca=/etc/hostname", "no option 'ca'"),
        ("syslog://logs?facility=mine", "one of kern"),
        ("syslog://logs?max_bytes=10", "at least"),
        ("syslog+udp://logs?max_bytes=70k", "UDP datagram"),
        ("journald://logs", "journal+http"),
        ("file:", "names no file"),
        ("file://logs/x", "names no file"),
        ("file:/tmp", "is no plain file"),
        ("file:/dev/null", "is no plain file"),
        ("file:/none/out", "there is no folder /none"),
    ],
)
def test_mistakes(url: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_sink(url)
    assert said in str(caught.value)


@pytest.mark.parametrize("url", ["otlp://me:hunter2@logs:no", "otpl://me:hunter2@logs", "https://me:hunter2@logs"])
def test_a_password_is_in_no_error(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_sink(url)
    assert "hunter2" not in str(caught.value)
    assert "me:********@" in str(caught.value) or "otpl" in str(caught.value)


@given(
    st.text(
        st.characters(codec="utf-8", exclude_characters="@/?#:%[] \t\r\n", exclude_categories=["C", "Z"]), min_size=1
    )
)
def test_a_password_is_never_shown(password: str) -> None:
    assert f":{password}@" not in mask(f"otlp://me:{password}@logs") or password == "********"


def test_the_documentation_has_every_scheme_and_option() -> None:
    words = (Path(__file__).parents[2] / "docs" / "shipping.md").read_text(encoding="utf-8")
    for scheme, kind in SCHEMES.items():
        assert scheme in words
        for option in open_sink(f"{scheme}://logs" if kind.needs_host else f"{scheme}:/tmp/x").known:
            assert f"`{option}" in words, f"{option} of {scheme}"


def test_every_scheme_has_a_module_and_every_alias_a_scheme() -> None:
    assert set(ALIASES.values()) <= set(SCHEMES)
    for scheme in SCHEMES:
        assert open_sink(f"{scheme}://logs" if SCHEMES[scheme].needs_host else f"{scheme}:/tmp/x").known


def test_one_receiver_has_one_checkpoint_however_it_is_tuned() -> None:
    plain = open_sink("elastic+http://search").key
    assert open_sink("elasticsearch+http://me:x@search:9200?batch=10&gzip=no").key == plain
    assert open_sink("elastic+http://search?index=other").key != plain
    assert open_sink("elastic+https://search").key != plain
    assert open_sink("loki://logs?tenant=a").key != open_sink("loki://logs?tenant=b").key


def asked(url: str, environment: dict[str, str]) -> dict[str, str]:
    address = parse(url, port=1, path="", needs_host=True, scheme="otlp+http")
    return headers(address, Options(address), environment)


def test_credentials(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    many = tmp_path / "headers"
    many.write_text("X-Scope-OrgID: lab\nAuthorization: Token a=b:c\n")

    def basic(pair: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

    assert asked("otlp://logs", {}) == {}
    assert asked("otlp://me:a%3Ab@logs", {}) == basic("me:a:b")
    assert asked("otlp://me@logs?password_env=P", {"P": "x"}) == basic("me:x")
    assert asked(f"otlp://me@logs?password_file={secret}", {}) == basic("me:hunter2")
    assert asked("otlp://me@logs", {"HARNESS_SHIP_PASSWORD": "y"}) == basic("me:y")
    assert asked(f"otlp://logs?token_file={secret}", {}) == {"Authorization": "Bearer hunter2"}
    assert asked("otlp://logs?api_key_env=K", {"K": "abc=="}) == {"Authorization": "ApiKey abc=="}
    assert asked(f"otlp://logs?headers_file={many}", {}) == {"X-Scope-OrgID": "lab", "Authorization": "Token a=b:c"}
    assert asked("otlp://logs?headers_env=H", {"H": "a=1,b=x=y"}) == {"a": "1", "b": "x=y"}
    assert asked("otlp://logs?header.X-Lab=one", {}) == {"X-Lab": "one"}
    for url in ("otlp://logs?token_env=A&token_file=" + str(secret), "otlp://logs?headers_env=A"):
        with pytest.raises(UsageError):
            asked(url, {"A": "no header"})
