"""Secrets in texts that come in pieces, in the forms that they take, and where a text was cut."""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.events import EventLog
from harness.events.pieces import PieceMask
from harness.events.redact import MASK, Redactor
from harness.transport.serial.console import Console

SECRET = "Canary-9f8e7d6c5b"
letters = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)
secrets = st.text("abcXYZ019'\"\\/+ é€-", min_size=6, max_size=24).filter(lambda text: len(text.strip()) == len(text))


def redactor(*known: str) -> Redactor:
    redact = Redactor()
    for each in known:
        redact.add(each)
    return redact


@given(secrets, letters, letters, st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_however_a_stream_is_cut_no_secret_can_be_put_together(
    secret: str, before: str, after: str, sizes: list[int]
) -> None:
    redact = redactor(secret)
    mask = PieceMask(redact)
    text, said, at = f"{before}{secret}{after}", [], 0
    for size in [*sizes, len(text)]:
        said.append(mask(text[at : at + size]))
        at += size
    whole = "".join(said)
    if secret not in before and secret not in after:
        assert secret not in whole.replace(MASK, "\0")
    # Of the beginning no more is shown than tells nothing; of the rest, nothing.
    for size in range(6, len(secret)):
        shown = secret[:size]
        assert before + shown + MASK not in whole, "this much of a secret was shown"


@given(letters, letters)
def test_what_holds_no_secret_is_not_changed(before: str, after: str) -> None:
    mask = PieceMask(redactor("\ue000never\ue000"))
    assert mask(before) + mask(after) == before + after


def test_a_user_whose_password_begins_with_his_name_is_still_shown() -> None:
    mask = PieceMask(redactor("root4711"))
    assert mask("vm1 login: root") == "vm1 login: root"
    assert mask("4711") == MASK


@pytest.mark.parametrize("cut", range(1, len(SECRET)))
@pytest.mark.parametrize("how", ["quiet", "newline"])
def test_a_console_that_echoes_a_secret_in_two_reads(tmp_path: Path, cut: int, how: str) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    log.add_secret(SECRET)
    console = Console("unix:///nowhere", name="guest", events=log.bind(target="vm1"))
    data = f"# echo {SECRET} > x".encode()
    at = len("# echo ") + cut
    console._split(data[:at])
    if how == "quiet":
        console._record_open_line()  # as after a second without a word
        console._split(data[at:] + b"\r\n")
    else:
        console._split(b"\r\n" + data[at:] + b"\r\n")
    log.close()
    said = "".join(json.loads(line)["message"] for line in log.path.read_text().splitlines())
    assert SECRET not in said
    shown = max(size for size in range(len(SECRET)) if SECRET[:size] in said)
    assert shown < 6
    assert SECRET[cut:] not in said
    assert MASK in said
    assert said.startswith("# echo ")
    assert said.endswith(" > x")


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_character_is_not_cut(tmp_path: Path, cut: int) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    console = Console("unix:///nowhere", name="guest", events=log)
    data = "é€🐧".encode()
    console._split(data[:cut])
    console._record_open_line()
    console._split(data[cut:] + b"\n")
    said = "".join(json.loads(line)["message"] for line in log.path.read_text().splitlines())
    assert said == "é€🐧"


@given(secrets, st.binary(max_size=5), st.binary(max_size=5))
def test_a_secret_is_known_in_base64_wherever_it_stands(secret: str, before: bytes, after: bytes) -> None:
    redact = redactor(secret)
    data = before + secret.encode() + after
    for encoded in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        masked = redact(encoded)
        assert MASK in masked
        assert len(masked.replace(MASK, "")) <= len(encoded) - (len(secret.encode()) * 8 // 6 - 1)


@given(secrets)
def test_a_secret_is_known_in_its_forms(secret: str) -> None:
    redact = redactor(secret)
    for shown in (
        secret,
        repr(secret),
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        shlex.quote(secret),
        f"https://user:{quote(secret, safe='')}@host/",
        f"<{secret}>",
    ):
        assert MASK in redact(shown), shown


@pytest.mark.parametrize("mark", ["…", "..."])
def test_a_text_that_was_cut_in_a_secret_shows_little_of_it(mark: str) -> None:
    redact = redactor(SECRET)
    for size in range(len(SECRET)):
        shown = redact(f"`login {SECRET[:size]}{mark}` had not ended {mark}")
        assert SECRET[:6] not in shown
        assert shown.startswith("`login ")
        assert shown.endswith(f" had not ended {mark}")


def test_keys_of_mappings_are_masked_too() -> None:
    assert redactor(SECRET)({SECRET: [{"x": SECRET}]}) == {MASK: [{"x": MASK}]}


@given(st.lists(st.text("ab", min_size=3, max_size=6), min_size=1, max_size=12), st.text("abc", max_size=20))
def test_many_secrets_are_masked_as_each_would_be(known: list[str], text: str) -> None:
    masked = redactor(*known)(text)
    assert not any(each in masked for each in known)
    covered = [False] * len(text)
    for each in known:
        at = text.find(each)
        while at >= 0:
            covered[at : at + len(each)] = [True] * len(each)
            at = text.find(each, at + 1)
    # Nothing is masked that belongs to no secret; where two overlap, the rest of the second may be left.
    rest = masked.replace(MASK, "")
    assert sum(not each for each in covered) <= len(rest)
