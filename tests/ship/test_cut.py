"""Events that are too long for a receiver."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.events.reader import Position
from harness.ship.cut import Cutter, TooLong, cut, shortened
from harness.ship.event import Event

HEAD = {"@timestamp": "2026-11-23T08:04:15.746158Z", "event.id": "01M83PYAR20SHYHHHK0TCDN0J8", "event.sequence": 7}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=3000)
VALUES = st.recursive(
    TEXTS | st.integers(-(2**53), 2**53) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=10,
)


@given(
    st.dictionaries(st.text(min_size=1, max_size=10).map("harness.{}".format), VALUES, max_size=6),
    st.integers(900, 4000),
)
@settings(deadline=None)
def test_it_fits_and_the_whole_is_kept(fields: dict[str, object], limit: int) -> None:
    record = HEAD | fields
    try:
        fitting, wholes = cut(record, limit)
    except TooLong:
        assert len(fields) > 2  # what is short in each field is not cut
        return
    assert len(orjson.dumps(fitting)) <= limit
    assert list(fitting) == list(record)
    for key, value in record.items():
        if fitting[key] == value:
            continue
        whole = value if isinstance(value, str) else orjson.dumps(value).decode()
        assert whole in wholes
        begin, _, mark = fitting[key].rpartition("… [")
        digest = hashlib.sha256(whole.encode()).hexdigest()
        assert mark == f"{len(begin)} of {len(whole)} characters; the whole is in long/{digest}.txt]"
        assert whole.startswith(begin)
    if len(orjson.dumps(record)) <= limit:
        assert (fitting, wholes) == (record, [])


@given(TEXTS, st.integers(150, 2000))
def test_as_much_as_fits_is_kept(text: str, size: int) -> None:
    made = shortened(text, size)
    assert len(orjson.dumps(made)) <= size
    begin = made.rpartition("… [")[0]
    if len(begin) < len(text):
        # One character more would take at least what it adds itself.
        assert len(orjson.dumps(made)) + len(orjson.dumps(text[len(begin)])) - 2 > size - 1


def test_names_are_never_cut() -> None:
    with pytest.raises(TooLong, match="bytes more than"):
        cut(HEAD | {"message": "x" * 100}, 100)


def test_the_whole_stays_in_the_run(tmp_path: Path) -> None:
    record = HEAD | {"message": "é" * 5000, "harness.plan": {"targets": ["x" * 3000]}}
    line = orjson.dumps(record)
    made = Cutter(tmp_path).fit(Event(line, record, Position(7)), 2000)
    assert len(made.line) <= 2000
    assert made.id == HEAD["event.id"]
    wholes = ["é" * 5000, orjson.dumps(record["harness.plan"]).decode()]
    files = {file.name: file for file in (tmp_path / "long").iterdir()}
    assert sorted(file.read_text() for file in files.values()) == sorted(wholes)
    for name, file in files.items():
        assert name == f"{hashlib.sha256(file.read_bytes()).hexdigest()}.txt"
        assert name in made.line.decode()
        assert file.stat().st_mode & 0o777 == 0o600
    assert Cutter(tmp_path).fit(Event(line, record, Position(7)), 2000) == made
    assert len(list((tmp_path / "long").iterdir())) == 2
