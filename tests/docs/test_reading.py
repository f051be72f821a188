"""The documentation's tests have teeth: what is not tested, not understood or not true is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.place import Place, matches
from tests.docs.reading import Block, Command, File, Unclear, inline_commands, read
from tests.docs.reasons import problem


def page(folder: Path, text: str) -> tuple[list[File], list[Block]]:
    (folder / "page.md").write_text(text, encoding="utf-8")
    return read(folder / "page.md", "page.md")


def test_what_a_page_says(tmp_path: Path) -> None:
    files, blocks = page(
        tmp_path,
        "<!-- file: a/b.ini -->\n```ini\nvm1\n```\n\n<!-- run: guest, exit 2 -->\n```console\n$ one 'a\n> b'\nit\n"
        "\nprints\n$ two\n```\n\n```console\n$ three\n```\n\n<!-- not run: needs hours -->\n```console\n$ four\n```\n",
    )
    assert files == [File("page.md", 2, "a/b.ini", "vm1\n")]
    one = Command("one 'a\nb'", 8, ("it", "", "prints"))
    assert blocks == [
        Block("page.md", 7, (one, Command("two", 13, ())), guest=True, exit_status=2),
        Block("page.md", 16, (Command("three", 17, ()),)),
        Block("page.md", 21, (Command("four", 22, ()),), not_run="needs hours"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("    harness run -i x y\n", "looks like a command"),
        ("```\nharness run -i x y\n```\n", "looks like a command"),
        ("```text\n$ ls\n```\n", "looks like a command"),
        ("```sh\nls\n```\n", "write commands in a block `console`"),
        ("```console\nls\n```\n", "stands before the first `$ `"),
        ("```console\n```\n", "without a command"),
        ("<!-- run: guest -->\n\nWords.\n", "stands before no block"),
        ("<!-- run: guest -->\n```python\n```\n", "before a block that is no `console`"),
        ("<!-- run: gest -->\n```console\n$ ls\n```\n", "`run: gest` is not understood"),
    ],
)
def test_what_cannot_be_tested_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(Unclear) as caught:
        page(tmp_path, text)
    assert words in str(caught.value)
    assert str(caught.value).startswith("page.md:")


@pytest.mark.parametrize(
    ("why", "typed", "words"),
    [
        ("I do not like it", "ls", "the reasons are: needs a board"),
        ("needs hours", "harness run -i x y", "Nothing in it says so"),
        ("needs hours", "harness soak -i x y --for 8h", ""),
        ("shown by tests/none.py", "ls", "there is no test tests/none.py"),
        ("shown by tests/docs/test_reading.py", "harness nosuchverb", "does not speak of"),
        ("shown by tests/cli/test_soak.py", "harness soak --resume latest", ""),
    ],
)
def test_reasons_are_held_against_what_is_typed(why: str, typed: str, words: str) -> None:
    typed = typed.replace("nosuchverb", "nosuch" + "verbs")  # so that it does not stand in this file
    said = problem(Block("page.md", 1, (Command(typed, 2, ()),), not_run=why))
    assert (words in said) if words else said == ""


@pytest.mark.parametrize(
    ("expected", "printed", "equal"),
    [
        (["a", "b"], "a\nb\n\n", True),
        (["a"], "a\nb\n", False),
        (["a  1.2"], "a    1.2 \n", True),
        (["a … c"], "a b c\n", True),
        (["a … c"], "a b\n c\n", False),
        (["a", "…", "c"], "a\nb\nb\nc\n", True),
        (["a", "…", "c"], "a\nc\n", True),
        (["…", "c"], "a\n", False),
        (["a.b"], "aXb\n", False),
    ],
)
def test_what_is_printed_is_compared(expected: list[str], printed: str, equal: bool) -> None:
    assert matches(expected, printed) is equal


def test_what_goes_wrong_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path)
    commands = (Command("true", 1, ()), Command("echo x; exit 3", 2, ()), Command("echo x", 3, ("y",)))
    status, output = place.carry_out(Block("page.md", 1, commands))
    assert "page.md:2: echo x; exit 3\nexit status 3, and the page expects 0" in status
    assert "page.md:3: echo x\nprinted something else" in output
    assert place.carry_out(Block("page.md", 1, commands[2:], varies=True)) == []
    assert place.carry_out(Block("page.md", 1, commands[1:2], exit_status=3)) == []


def test_what_looks_like_a_prompt_may_be_printed(tmp_path: Path) -> None:
    text = "```console\n$ one\n```\n\n<!-- printed -->\n```text\n$ a\nb\n```\n"
    assert page(tmp_path, text)[1] == [Block("page.md", 1, (Command("one", 2, ("$ a", "b")),))]
    with pytest.raises(Unclear):
        page(tmp_path, text.partition("\n\n")[2])  # after no command


def test_commands_in_running_text(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("One.\n\nType `harness run` or `ls`.\n")
    assert list(inline_commands(tmp_path / "page.md")) == [(3, "harness run")]
