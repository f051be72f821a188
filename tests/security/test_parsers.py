"""Every parser of a target's text takes anything: it answers, or raises the one error that it documents."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.engine.findings.reader import Line, ReportReader
from harness.machine.boot import BootWatcher
from harness.report.reasons import by_name
from harness.soak.signature import signature
from harness.target.jobs import parse_jobs
from harness.target.journal import parse_journal
from harness.target.look import parse_look
from harness.target.observe import parse_log, parse_sockets
from harness.target.processes import parse_processes
from harness.target.units import IncompleteAnswer, parse_show
from harness.target.values import span, words
from harness.transport.serial.console import as_text
from harness.transport.serial.frames import AnswerTooLongError, Exchange, inline_answer, parse_message
from harness.transport.serial.prompts import classify
from harness.transport.serial.requests import Nonce
from harness.transport.serial.sieve import Sieve
from harness.transport.ssh.hostkeys import parse_known_hosts, parse_public_keys
from harness.transport.ssh.probe import parse_banner, parse_kexinit
from harness.transport.ssh.sftp import Fields, PacketReader, SftpProtocolError

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_ODD = st.sampled_from(
    ["9" * 5000, "-1", "banana", "none", "²", "٣", "", "\x85", "\u2028", "\ud800", "nan", "1e999", "0x1"]
)
_VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | _ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
_FIELDS = st.sampled_from(
    [
        "MESSAGE",
        "MESSAGE_ID",
        "UNIT",
        "USER_UNIT",
        "JOB_ID",
        "JOB_TYPE",
        "JOB_RESULT",
        "UNIT_RESULT",
        "INVOCATION_ID",
        "PRIORITY",
        "_PID",
        "_COMM",
        "SYSLOG_IDENTIFIER",
        "__REALTIME_TIMESTAMP",
        "__MONOTONIC_TIMESTAMP",
    ]
)
_ENTRIES = st.lists(st.dictionaries(_FIELDS, _VALUES, max_size=6), max_size=4)


def _lines(entries: list[dict[str, Any]], raw: bool) -> str:
    return "\n".join(json.dumps(entry, ensure_ascii=not raw) for entry in entries)


@QUICK
@given(_ENTRIES, st.booleans())
def test_a_field_of_the_journal_costs_that_field_and_no_entry(entries: list[dict[str, Any]], raw: bool) -> None:
    found = parse_journal(_lines(entries, raw))
    assert len(found) == len(entries)
    for entry in found:
        assert 0 <= entry.priority <= 7
        entry.message.encode()  # nothing in it is half a character


@QUICK
@given(_ENTRIES, st.booleans())
def test_a_look_at_systemd_survives_any_field(entries: list[dict[str, Any]], raw: bool) -> None:
    text = "== clock\nup banana\n99 x\n== jobs\n== states\n== entries\n" + _lines(entries, raw)
    assert len(parse_look(text).entries) == len(entries)


def test_a_batch_worker_may_log_its_own_job_id() -> None:
    line = json.dumps({"MESSAGE": "hi", "PRIORITY": "banana", "JOB_ID": "c0ffee00-aaaa-bbbb-cccc-1234567890ab"})
    entry = parse_look(f"== clock\n== jobs\n== states\n== entries\n{line}\n").entries[0]
    assert (entry.message, entry.priority, entry.job) == ("hi", 6, 0)


def test_what_a_service_logs_is_not_taken_for_the_managers_word() -> None:
    line = json.dumps({"MESSAGE": "x", "UNIT": "a.service", "JOB_RESULT": "done", "_PID": "4711", "_COMM": "evil"})
    assert not parse_look(f"== clock\n== jobs\n== states\n== entries\n{line}\n").entries[0].by_manager


_TEXT_PARSERS: dict[str, tuple[Callable[[str], object], tuple[type[Exception], ...]]] = {
    "jobs": (parse_jobs, ()),
    "log": (parse_log, ()),
    "sockets": (parse_sockets, ()),
    "processes": (lambda text: parse_processes(text, text), ()),
    "show": (parse_show, (IncompleteAnswer,)),
    "look": (parse_look, (IncompleteAnswer,)),
    "journal": (parse_journal, (ValueError,)),
    "span": (span, ()),
    "words": (words, ()),
    "public keys": (parse_public_keys, ()),
    "known hosts": (lambda text: [(line.key, line.matches("h")) for line in parse_known_hosts(text)], ()),
    "inline answer": (inline_answer, ()),
    "signature": (signature, ()),
    "reasons": (lambda text: by_name(text, {text[:60] or "x": "a", "for 1 s" + text: "b"}), ()),
}
_PIECES = st.sampled_from(
    [
        "== clock\n",
        "== jobs\n",
        "== states\n",
        "== entries\n",
        "== processes\n",
        "up 1.5\n",
        "{",
        "}",
        "Id=a\n",
        "ActiveState=",
        "LoadState=x\n",
        "SubState=y\n",
        "1 a.service start running\n",
        "9" * 5000,
        "\n",
        "\n\n",
        "\t",
        ") ",
        " (",
        "==> /proc/1/cmdline <==\n",
        "0: 0100007F:0016 00000000:0000 0A ",
        "ssh-rsa AAAA",
        "|1|a|b",
        "=0:1:1:ab",
        ":",
        "²",
        "\u2028",
        "\x85",
        "\ud800",
        "for 1 s",
        '"',
        "\\",
        "=",
    ]
)


@pytest.mark.parametrize("name", _TEXT_PARSERS)
def test_a_parser_of_text_answers_or_refuses(name: str) -> None:
    parse, refusals = _TEXT_PARSERS[name]

    @QUICK
    @given(st.lists(_PIECES | st.text(max_size=6), max_size=12).map("".join))
    def holds(text: str) -> None:
        with contextlib.suppress(*refusals):
            parse(text)

    holds()


_BYTES = st.lists(
    st.binary(max_size=8)
    | st.sampled_from(
        [
            b"SSH-",
            b"2.0-",
            b"\n",
            b"\r",
            b"\x1b[",
            b"[   1.000000] ",
            b"login: ",
            b"Password: ",
            b"\x14",
            b"\xff" * 4,
            b"abcdefgh<",
            b"|1:",
            b">",
            b"abcdp1:",
            b"+0:z:999999999999:-:0",
            b"=0:1:1:ab",
            b".",
            b"9" * 5000,
        ]
    ),
    max_size=14,
).map(b"".join)


def _exchange(data: bytes) -> None:
    exchange = Exchange(Nonce("abcd", "efgh"), limit=1 << 20)
    for at in range(0, len(data), 7):
        exchange.feed(data[at : at + 7])
    exchange.messages()
    exchange.noise(final=True)
    exchange.resolve()


def _packets(data: bytes) -> None:
    reader = PacketReader()
    reader.feed(data)
    while (packet := reader.packet()) is not None:
        fields = Fields(packet)
        fields.byte()
        fields.attributes()
        fields.string()


def _watch(data: bytes) -> None:
    watcher = BootWatcher(started=0.0, stall=10.0)
    watcher.feed(data, 1.0)
    watcher.tick(2.0)


def _report(data: bytes) -> None:
    reader = ReportReader()
    for line in data.decode("latin-1").split("\n"):
        reader.feed(Line(line, 1), 0.0)
    reader.flush()


_BYTE_PARSERS: dict[str, tuple[Callable[[bytes], object], tuple[type[Exception], ...]]] = {
    "exchange": (_exchange, (AnswerTooLongError,)),
    "message": (lambda data: parse_message(data, 0), ()),
    "sftp": (_packets, (SftpProtocolError,)),
    "banner": (parse_banner, (ValueError,)),
    "kexinit": (parse_kexinit, (ValueError,)),
    "prompts": (classify, ()),
    "sieve": (lambda data: Sieve().feed(data), ()),
    "console line": (as_text, ()),
    "boot": (_watch, ()),
    "findings": (_report, ()),
}


@pytest.mark.parametrize("name", _BYTE_PARSERS)
def test_a_parser_of_bytes_answers_or_refuses(name: str) -> None:
    parse, refusals = _BYTE_PARSERS[name]

    @QUICK
    @given(_BYTES)
    def holds(data: bytes) -> None:
        with contextlib.suppress(*refusals):
            parse(data)

    holds()
