"""What an assertion that does not hold tells of what it saw."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.api.assertion import explain
from harness.api.discovery import discover
from harness.api.watched import watched
from harness.transport.contract import CommandResult

HEAD = "from harness import check\n\n"


class Told:
    """What a check gets: a machine that says what it is told to say."""

    def __repr__(self) -> str:
        return "<target vm1>"

    def read(self, command: str) -> str:
        return command.upper()

    def run(self, command: str) -> CommandResult:
        return CommandResult(command, b"inactive\n", b"", 3, "ssh", 0.0, 0.0, 0.0)


def said(tmp_path: Path, body: str) -> str:
    file = tmp_path / "one.py"
    file.write_text(f"{HEAD}@check\ndef looks(target):\n{body}")
    (found,) = discover([str(file)])
    with pytest.raises(AssertionError) as caught:
        found.function(Told())
    return explain(caught.value, found.function.__code__.co_filename)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("assert target.read('up') == 'down'", "target.read('up') = 'UP'"),
        ("assert 'x' in target.read('y')", "target.read('y') = 'Y'"),
        (
            "assert target.run('is-active x').ok",
            "target.run('is-active x') = exit status 3, stdout 'inactive'",
        ),
        (
            "assert target.run('a').exit_status == 0",
            "target.run('a').exit_status = 3, target.run('a') = exit status 3, stdout 'inactive'",
        ),
        ("assert len(target.read('abc')) < 2", "len(target.read('abc')) = 3"),
        ("assert target.read('a') and target.read('b') == 'c'", "target.read('a') = 'A', target.read('b') = 'B'"),
        # What was not evaluated has no value, whatever the loop before has left.
        (
            "for n in 'ab':\n        assert target.read(n) == 'A' and target.read('z') == 'Z'",
            "target.read(n) = 'B', n = 'b'",
        ),
        ("word = 'x'\n    assert word == 'y'", "word = 'x'"),
        ("rows = [[1]]\n    assert rows[0][0] == 2", "rows[0][0] = 1, rows = [[1]]"),
        ("assert not target.read('a')", "target.read('a') = 'A'"),
        ("if target:\n        with open('/dev/null') as f:\n            assert f.read()", "f.read() = ''"),
    ],
)  # fmt: skip
def test_values_are_told(tmp_path: Path, line: str, told: str) -> None:
    message = said(tmp_path, f"    {line}\n")
    assert message.endswith(f", where {told}"), message
    assert "<target" not in message


def test_words_of_ones_own_are_told_alone(tmp_path: Path) -> None:
    assert said(tmp_path, "    assert target.read('a') == 'b', 'not so'\n") == "not so"


def test_what_is_false_is_no_news(tmp_path: Path) -> None:
    assert said(tmp_path, "    assert target.read('a').islower()\n").endswith("islower()  (line 5)")


calls: st.SearchStrategy[str] = st.deferred(
    lambda: (
        st.sampled_from(["f(0)", "f(1)", "f('')", "g()[0]", "g()[1]", "a", "b.x", "h(f(1)).x", "1", "f(f(0)) + 1"])
        | st.builds("{} {} {}".format, calls, st.sampled_from(["==", "<", "!="]), calls).map("({})".format)
        | st.builds("{} {} {}".format, calls, st.sampled_from(["and", "or"]), calls).map("({})".format)
        | st.builds("(not {})".format, calls)
        | st.builds("({} if {} else {})".format, calls, calls, calls)
        | st.builds("any({} for i in g())".format, calls)
        | st.builds("(lambda: {})()".format, calls)
    )
)


class Enough(Exception):
    """Loops within loops would go on for hours."""


@given(calls)
@example("any(" * 40 + "f(0)" + " for i in g())" * 40)
def test_nothing_is_evaluated_twice_or_in_another_order(test: str) -> None:
    source = f"def run(f, g, h, a, b):\n    for _ in range(2):\n        assert {test}\n    return 'held'\n"

    def outcome(code: Any) -> tuple[str, list[str]]:
        log: list[str] = []

        class B:
            x = 2

        def note(name: str, value: Any) -> Any:
            log.append(name)
            if len(log) > 500:
                raise Enough
            return value

        names: dict[str, Any] = {}
        exec(code, names)
        try:
            return names["run"](
                lambda v: note(f"f{v!r}", v), lambda: note("g", [0, "y"]), lambda v: note("h", B), 0, B
            ), log
        except (AssertionError, TypeError, Enough) as error:
            return type(error).__name__, log

    assert outcome(watched(source.encode(), "x.py")) == outcome(compile(ast.parse(source), "x.py", "exec"))


def test_what_is_no_function_is_left_alone(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(watched(b"class A:\n    assert len('x') == 1\nassert len('x') == 1\n", "x.py"), names)
    assert set(names) == {"A", "__builtins__"}
    assert not [name for name in vars(names["A"]) if name.startswith("@")]
