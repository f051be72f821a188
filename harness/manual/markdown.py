"""Pages as Markdown, for the site's reference."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from harness.manual.page import Block, Definitions, Lines, Page, Paragraph

_WIDTH = 88
_KEPT = "\N{NO-BREAK SPACE}"


def markdown_of(page: Page, level: int = 2) -> Iterator[str]:
    """The lines of a page, its heading `#` times `level`, and of the pages below it."""
    yield from (f"{'#' * level} {page.command}", "")
    if page.summary:
        yield from (f"{page.summary[:1].upper()}{page.summary[1:]}.", "")
    yield from ("```text", *_wrapped(page.usage), "```", "")
    yield from _blocks(page.description)
    for group in page.groups:
        yield from (f"**{group.title[:1].upper()}{group.title[1:]}**", "")
        for argument in group.arguments:
            # A definition list, as MyST's `deflist` has it.
            flags = ", ".join(f"`{flag}`" for flag in argument.flags)
            value = f"`{argument.value}`" if argument.value else ""
            yield f"{flags} {value}".strip()
            yield from (f": {_plain(argument.meaning)}", "")
    for section in page.sections:
        yield from (f"**{section.title[:1].upper()}{section.title[1:]}**", "")
        yield from _blocks(section.blocks)
    for below in page.below:
        yield from markdown_of(below, level + 1)


def _wrapped(usage: str) -> list[str]:
    """On lines as wide as a page; what stands in brackets stays together."""
    words = re.findall(r"\[.*?\](?= |$)|\S+", usage)
    lines = textwrap.wrap(" ".join(word.replace(" ", _KEPT) for word in words), _WIDTH, subsequent_indent="    ",
                          break_long_words=False, break_on_hyphens=False)  # fmt: skip
    return [line.replace(_KEPT, " ") for line in lines]


def _blocks(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Paragraph):
            yield from (_plain(block.text), "")
        elif isinstance(block, Lines):
            yield from ("```text", *block.lines, "```", "")
        else:
            assert isinstance(block, Definitions)
            for word, meaning in block.pairs:
                yield from (f"`{word}`", f": {_plain(meaning)}", "")


def _plain(text: str) -> str:
    """Text that may hold code in backticks; what Markdown would take for its own outside of it is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _escaped(text).replace("`", r"\`")
    return "`".join(part if index % 2 else _escaped(part) for index, part in enumerate(parts))


def _escaped(text: str) -> str:
    for character in "\\*_<>[]{}|~#":
        text = text.replace(character, f"\\{character}")
    return text
