from __future__ import annotations

import errno
import hashlib
import json
import os
import shlex
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.outcome import CheckResult, Observation, Outcome
from harness.events import EventLog, Record
from harness.events.log import RecordWriteError
from harness.events.record import Stamps, plain, to_record
from harness.events.redact import MASK, Redactor
from harness.events.ulid import UlidFactory, encode


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_an_event_is_on_file_before_a_subscriber_sees_it(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    seen: list[bool] = []
    log.subscribe(lambda record: seen.append(record["event.id"] in log.path.read_text()))
    log.emit("run.note", "hello")
    assert seen == [True]


def test_names_are_the_published_ones(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    bound = log.bind(target="vm1", module="sshd/outside", check="banner")
    bound.emit(
        "attempt.end", "seen", attempt=2, transport="ssh", duration=0.25, outcome="failed", seen="x", final=False
    )
    (record,) = lines(log.path)
    assert record["cicd.pipeline.run.id"] == "r"
    assert record["host.name"] == "vm1"
    assert record["test.suite.name"] == "sshd/outside"
    assert record["test.case.name"] == "banner"
    assert record["event.duration"] == 250_000_000
    assert record["event.outcome"] == "failure"
    assert record["harness.outcome"] == "failed"
    assert record["harness.attempt"] == 2


def test_order_and_sequence_agree_from_many_threads(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")

    def write(name: int) -> None:
        for number in range(200):
            log.emit("run.note", f"{name}:{number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = lines(log.path)
    assert [record["event.sequence"] for record in records] == list(range(1, 1601))
    ids = [record["event.id"] for record in records]
    assert ids == sorted(set(ids))


def test_a_full_disk_is_told_and_leaves_whole_lines() -> None:
    log = EventLog(Path("/dev/full"), run="r")
    with pytest.raises(RecordWriteError, match="No space left"):
        log.emit("run.note", "hello")
    with pytest.raises(RecordWriteError):
        log.emit("run.note", "again")


def test_a_write_that_fails_half_way_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    log.emit("run.note", "first")
    calls = []
    real_write = os.write

    def half(fd: int, data: bytes) -> int:
        calls.append(fd)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real_write(fd, data[: len(data) // 2])

    monkeypatch.setattr("harness.events.writer.os.write", half)
    with pytest.raises(RecordWriteError):
        log.emit("run.note", "second")
    monkeypatch.undo()
    assert [record["message"] for record in lines(log.path)] == ["first"]


def test_secrets_are_masked_everywhere(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    log.add_secret("hunter2")
    log.add_secret("-----BEGIN KEY-----\nAAAAB3Nza\n-----END KEY-----")
    log.bind(command="echo hunter2").emit("run.note", "typed hunter2", list=[{"a": "xhunter2x"}], key="AAAAB3Nza")
    text = log.path.read_text()
    assert "hunter2" not in text
    assert "AAAAB3Nza" not in text
    assert text.count(MASK) == 4


def test_a_secret_inside_another_is_masked_whole() -> None:
    redact = Redactor()
    redact.add("secret")
    redact.add("secretive")
    assert redact("a secretive secret") == f"a {MASK} {MASK}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters()) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values, st.text(st.characters()))
def test_any_value_becomes_one_line(tmp_path_factory: pytest.TempPathFactory, value: object, message: str) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    log = EventLog(path, run="r")
    log.emit("run.note", message, value=value)
    log.close()
    raw = path.read_bytes()
    assert raw.count(b"\n") == 1
    assert json.loads(raw)["event.sequence"] == 1


@given(st.binary())
def test_bytes_are_shown_and_never_dropped(data: bytes) -> None:
    shown = plain(data)
    back = shown.encode().decode("unicode_escape").encode("latin-1") if b"\\" not in data else None
    if data.isascii():
        assert shown == data.decode("ascii")
    elif back is not None and all(ord(char) < 128 for char in shown):
        assert back == data


def test_none_is_left_out() -> None:
    assert to_record({"location": None, "attempt": 1}) == {"harness.attempt": 1}


@given(st.lists(st.floats(0, 2**40, allow_nan=False), min_size=2, max_size=50))
def test_ulids_grow_even_when_the_clock_steps_back(times: list[float]) -> None:
    make = UlidFactory()
    made = [make(at) for at in times]
    assert made == sorted(set(made))
    assert all(len(each) == 26 for each in made)


def test_ulid_encoding_is_the_specifications() -> None:
    assert encode(0) == "0" * 26
    assert encode(2**128 - 1) == "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
    assert encode(0x01563E3AB5D3D6764C61EFB99302BD5B) == "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def test_a_record_handler_sees_them_in_order(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    seen: list[Record] = []
    log.subscribe(seen.append)
    for number in range(3):
        log.emit("run.note", str(number))
    assert [record["message"] for record in seen] == ["0", "1", "2"]


def test_results_are_masked_like_events(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    log.add_secret("hunter2")
    result = CheckResult(
        "vm1", "c", "m", "m.py::c", Outcome.FAILED, "it said hunter2", 0.0, 0.0, 1,
        observations=(Observation(1, 0.0, Outcome.FAILED, "hunter2"),), console=("login hunter2",),
        repeat="harness run -e ansible_password=hunter2",
    )  # fmt: skip
    masked = log.redact(result)
    assert "hunter2" not in repr(masked)
    assert masked.outcome is Outcome.FAILED
    assert masked.observations[0].attempt == 1


@pytest.mark.parametrize("secret", ["pa'ss-word", 'pa"ss', "pa\\ss", "pä ss\tx"])
def test_a_secret_is_known_in_the_forms_that_it_takes(tmp_path: Path, secret: str) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    log.add_secret(secret)
    for shown in (
        repr(secret),
        json.dumps(secret),
        shlex.quote(secret),
        shlex.join(["-e", f"x={secret}"]),
        f"<{secret}>",
    ):
        assert MASK in log.redact(shown), shown


def test_a_password_that_is_a_name_masks_no_names(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    for word in ("failed", "debian", "ssh"):
        log.add_secret(word)
    log.emit("run.note", "debian failed", target="debian", transport="ssh", outcome="failed")
    (record,) = lines(log.path)
    assert (record["host.name"], record["harness.transport"], record["harness.outcome"]) == ("debian", "ssh", "failed")
    assert record["message"] == f"{MASK} {MASK}"
    result = CheckResult("debian", "c", "m", "m.py::c", Outcome.FAILED, "it failed", 0.0, 0.0, 1, transports=("ssh",))
    masked = log.redact(result)
    assert (masked.target, masked.outcome, masked.transports) == ("debian", Outcome.FAILED, ("ssh",))
    assert masked.message == f"it {MASK}"


def test_a_reader_that_fails_is_told_no_more_and_changes_nothing(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    calls = []

    def reader(record: Record) -> None:
        calls.append(record["message"])
        raise SystemExit(1)  # as rich does where the pipe is closed

    log.subscribe(reader)
    log.emit("run.note", "one")
    log.emit("run.note", "two")
    assert calls == ["one"]
    assert [record["event.action"] for record in lines(log.path)] == ["run.note", "run.reader_lost", "run.note"]


def test_a_record_that_cannot_be_written_is_told_once() -> None:
    told: list[RecordWriteError] = []
    log = EventLog(Path("/dev/full"), run="r", on_failure=told.append)
    log.emit("run.note", "one")
    log.emit("run.note", "two")
    assert [str(error).splitlines()[0] for error in told] == [
        "cannot write the record /dev/full: No space left on device"
    ]
    assert log.failed is told[0]


def test_a_long_text_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    log.add_secret("hunter2")
    seen: list[Record] = []
    log.subscribe(seen.append)
    text = "flood " * 10_000 + "hunter2"
    masked = "flood " * 10_000 + MASK
    log.emit("run.note", text, text=text, inside={"deep": [text]}, short="x" * 32_000)
    (record,) = lines(log.path)
    assert seen == [record]
    (path,) = (tmp_path / "long").iterdir()
    assert path.name == f"{hashlib.sha256(masked.encode()).hexdigest()}.txt"
    assert path.read_text() == masked
    assert path.stat().st_mode & 0o777 == 0o600
    for shown in (record["message"], record["harness.text"], record["harness.inside"]["deep"][0]):
        assert shown == f"{masked[:4096]}… [4096 of {len(masked)} characters; the whole is in long/{path.name}]"
    assert record["harness.short"] == "x" * 32_000


def test_what_is_no_json_leaves_no_gap(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", run="r")
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(TypeError):
        log.emit("run.note", "too deep", value=deep)
    log.emit("run.note", "large", value=2**70, small=-(2**63))
    (record,) = lines(log.path)
    assert record["event.sequence"] == 1
    assert (record["harness.value"], record["harness.small"]) == (str(2**70), -(2**63))


@given(st.floats(0, 4e9))
def test_a_stamp_is_the_times_own(seconds: float) -> None:
    told = datetime.fromisoformat(Stamps()(seconds))
    assert abs((told - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() - seconds) < 2e-6


def test_a_record_that_cannot_be_brought_to_the_disk_is_reported_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(number: int) -> Callable[[int], None]:
        def fsync(_fd: int) -> None:
            raise OSError(number, os.strerror(number))

        return fsync

    for folder, number in (("pipe", errno.EINVAL), ("told", errno.EIO), ("raised", errno.EIO)):
        (tmp_path / folder).mkdir()
        told: list[RecordWriteError] = []
        log = EventLog(
            tmp_path / folder / "events.jsonl", run="r", on_failure=None if folder == "raised" else told.append
        )
        log.emit("run.note", "begins")
        with monkeypatch.context() as patch:
            patch.setattr("harness.events.writer.os.fsync", fails(number))
            if folder == "raised":
                with pytest.raises(RecordWriteError, match="cannot be brought to the disk: Input/output error"):
                    log.close()
            else:
                log.close()
        assert [str(each.message) for each in told] == (
            [f"the record {log.path} was written, but cannot be brought to the disk: Input/output error"]
            if folder == "told"
            else []
        )
        log.close()
        assert b"run.note" in log.path.read_bytes()
