"""Finding checks: what is found where, and what a mistake is told as."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api.check import Settings
from harness.api.discovery import discover, keyword_matcher, select
from harness.errors import NothingSelected, UsageError

GOOD = """from harness import check

@check
def first(target):
    'Says something.'

@check(tags=['slow'], budget=5)
def second(target):
    pass
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_anywhere(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", GOOD)
    first, second = discover([str(file)])
    assert (first.label, first.description) == ("mine::first", "Says something.")
    assert (second.tags, second.settings) == (frozenset({"slow"}), Settings(budget=5))
    assert first.source.line == 4


def test_a_folder_in_order_without_private_files(tmp_path: Path) -> None:
    write(tmp_path / "checks/b/x.py", GOOD)
    write(tmp_path / "checks/a.py", GOOD)
    write(tmp_path / "checks/_shared.py", "raise RuntimeError('not a check module')")
    write(tmp_path / "checks/notes.txt", "no python")
    labels = [each.label for each in discover([str(tmp_path / "checks")])]
    assert labels == ["b/x::first", "b/x::second", "a::first", "a::second"] or labels == [
        "a::first",
        "a::second",
        "b/x::first",
        "b/x::second",
    ]


def test_one_check_by_name_and_once_only(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", GOOD)
    assert [each.name for each in discover([f"{file}::second", str(file)])] == ["second", "first"]


def test_neighbours_can_be_imported(tmp_path: Path) -> None:
    write(tmp_path / "_common.py", "LIMIT = 7\n")
    write(tmp_path / "helper_of_these_tests.py", "TEXT = 'x'\n")
    file = write(
        tmp_path / "mine.py",
        "from harness import check\nfrom ._common import LIMIT\nfrom helper_of_these_tests import TEXT\n"
        "@check\ndef c(target):\n    return LIMIT, TEXT\n",
    )
    (found,) = discover([str(file)])
    assert found.function(None) == (7, "x")


def test_two_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    one = write(tmp_path / "a/mine.py", "from harness import check\n@check\ndef c(target): return 1\n")
    two = write(tmp_path / "b/mine.py", "from harness import check\n@check\ndef c(target): return 2\n")
    assert [each.function(None) for each in discover([str(one), str(two)])] == [1, 2]


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("from harness import check\n@check\ndef c(): pass\n", "must take one parameter", 3),
        ("from harness import check\n@check\ndef c(target, other): pass\n", "must take one parameter", 3),
        ("from harness import check\n@check\nasync def c(target): pass\n", "plain function", 3),
        ("from harness import check\n@check\ndef c(target): yield 1\n", "plain function", 3),
        ("from harness import check\n@check(budget='long')\ndef c(target): pass\n", "budget='long'", 3),
        ("from harness import check\n@check(transport='telnet')\ndef c(target): pass\n", "telnet", 3),
        (
            "from harness import check\n@check\ndef c(target): pass\n@check\ndef c(target): pass\n",
            "declared twice",
            5,
        ),
        ("import nothing_of_this_name\n", "nothing_of_this_name", 1),
        ("x = 1\ny = x / 0\n", "ZeroDivisionError", 2),
        ("def broken(:\n    pass\n", "invalid syntax", 1),
        ("import sys\nsys.exit(3)\n", "SystemExit", 2),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, text: str, words: str, line: int) -> None:
    file = write(tmp_path / "mine.py", text)
    with pytest.raises(UsageError, match=words) as caught:
        discover([str(file)])
    assert caught.value.source is not None
    assert Path(caught.value.source.path) == file
    assert caught.value.source.line == line
    assert caught.value.exit_code == 2


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        discover([str(tmp_path / "none")])
    with pytest.raises(NothingSelected):
        discover([str(write(tmp_path / "empty.py", "x = 1\n"))])
    with pytest.raises(UsageError, match="no check named 'third'"):
        discover([f"{write(tmp_path / 'mine.py', GOOD)}::third"])


def test_select_by_tag_and_keyword(tmp_path: Path) -> None:
    found = discover([str(write(tmp_path / "mine.py", GOOD))])
    assert [each.name for each in select(found, tags=["slow"])] == ["second"]
    assert [each.name for each in select(found, skip_tags=["slow"])] == ["first"]
    assert [each.name for each in select(found, keyword="first or second")] == ["first", "second"]
    assert [each.name for each in select(found, keyword="mine and not first")] == ["second"]
    assert [each.name for each in select(found, keyword="mine::f*")] == ["first"]
    assert select(found, keyword="third") == ()


@pytest.mark.parametrize("expression", ["and", "a or", "not", "(a", "a)", "a b", "()", "a and or b"])
def test_a_bad_expression_is_told(expression: str) -> None:
    with pytest.raises(UsageError, match="-k"):
        keyword_matcher(expression)


words = st.sampled_from(["aa", "bb", "cc"])
expressions = st.recursive(
    words,
    lambda inner: (
        st.builds("not {}".format, inner)
        | st.builds("({} and {})".format, inner, inner)
        | st.builds("({} or {})".format, inner, inner)
    ),
    max_leaves=6,
)


@given(expressions, st.sets(words))
def test_keywords_mean_what_python_means(expression: str, present: set[str]) -> None:
    label = " ".join(sorted(present))
    truth = {word: word in present for word in ("aa", "bb", "cc")}
    assert keyword_matcher(expression)(label) == eval(expression, {}, truth)
