"""A JSON document in pieces: what is an iterator in it is written item by item, and never whole in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from harness.events.record import plain


def json_pieces(document: dict[str, Any]) -> Iterator[str]:
    """Yield the document as indented JSON with its line end. Iterators, as values of it or of mappings in it, become
    arrays; each is used up."""
    yield from _mapping(document, "")
    yield "\n"


def _mapping(document: dict[str, Any], indent: str) -> Iterator[str]:
    inner = f"{indent}  "
    separator = "{\n"
    for name, value in document.items():
        yield f"{separator}{inner}{_text(name, inner)}: "
        separator = ",\n"
        if isinstance(value, Iterator):
            yield from _array(value, inner)
        elif isinstance(value, dict) and value:
            yield from _mapping(value, inner)
        else:
            yield _text(value, inner)
    yield f"\n{indent}}}" if document else "{}"


def _array(items: Iterator[Any], indent: str) -> Iterator[str]:
    inner = f"{indent}  "
    separator = "[\n"
    for item in items:
        yield f"{separator}{inner}{_text(item, inner)}"
        separator = ",\n"
    yield "[]" if separator == "[\n" else f"\n{indent}]"


def _text(value: Any, indent: str) -> str:
    # No string holds a line end of its own in JSON: it is escaped.
    return orjson.dumps(plain(value), option=orjson.OPT_INDENT_2).decode().replace("\n", f"\n{indent}")
