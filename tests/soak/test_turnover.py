"""A raw log that has grown large is packed and begun anew, without a byte lost, whoever has it open."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from harness.turnover import is_due, turn_over


def test_not_a_byte_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    said = [b"one\n" * 1000, b"two\n" * 10, b"three\n"]
    os.write(fd, said[0])
    first = turn_over(log)
    os.write(fd, said[1])
    second = turn_over(log)
    os.write(fd, said[2])
    os.close(fd)
    assert [first.name, second.name] == ["console.1.log.gz", "console.2.log.gz"]
    packed = gzip.decompress(first.read_bytes()) + gzip.decompress(second.read_bytes())
    assert packed + log.read_bytes() == b"".join(said)
    assert first.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_packed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    log = tmp_path / "console.log"
    log.write_bytes(b"words")
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        turn_over(log)
    assert log.read_bytes() == b"words"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["console.log"]


def test_only_a_large_one_is_due(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    assert not is_due(log)
    log.write_bytes(b"12345")
    assert is_due(log, 4)
    assert not is_due(log, 5)
