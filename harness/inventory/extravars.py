"""`-e key=value`, `-e @file`, `-e '{"json": 1}'`, with the quoting rules of Ansible's command line."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping, Sequence

from harness.errors import UsageError
from harness.inventory.documents import load_document
from harness.inventory.model import Model
from harness.inventory.places import Assigned, Place, mask_secrets
from harness.inventory.tree import assigned
from harness.inventory.values import kind
from harness.inventory.varsfiles import read_variables
from harness.inventory.vault import Vault

_ESCAPE = re.compile(
    r"\\U[0-9a-fA-F]{8}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\N\{[^}]+\}|\\[\\'\"abfnrtv]"
)  # fmt: skip
_BLOCKS = (("{{", "}}"), ("{%", "%}"), ("{#", "#}"))


def read_extra_vars(words: Sequence[str], model: Model, vault: Vault) -> list[tuple[str, dict[str, Assigned]]]:
    """One layer for each `-e`, weakest first. Raises UsageError."""
    layers = []
    for word in words:
        if not word:
            continue
        origin = "-e"
        if word.startswith("@"):
            origin = "-e @file"
            path = os.path.abspath(os.path.expanduser(word[1:]))
            layers.append((origin, read_variables(path, model, vault)))
            continue
        model.book.keep("-e", [*model.book.texts.get("-e", []), word])
        place = Place("-e", len(model.book.texts["-e"]))
        if word[0] in "/.":
            raise model.book.error("expected key=value", place, hint=f"For a file, write -e @{word}")
        if word[0] in "[{":
            # Positions inside the word are of no use: it stands on one line of the command.
            document = load_document(word, "-e", model.book, model.notices)
            if not isinstance(document, Mapping):
                raise model.book.error(f"expected a mapping of variables, got {kind(document)}", place)
            found = {name: Assigned(item.value, place) for name, item in assigned(document, place).items()}
        else:
            found = {name: Assigned(value, place) for name, value in _pairs(word, place, model).items()}
        layers.append((origin, found))
    return layers


def _pairs(word: str, place: Place, model: Model) -> dict[str, str]:
    try:
        parts = split_words(word)
    except ValueError as error:
        raise _error(str(error), place, model) from None
    pairs: dict[str, str] = {}
    for part in parts:
        text = _unescape(part)
        at = next((i for i, c in enumerate(text) if c == "=" and i > 0 and text[i - 1] != "\\"), -1)
        if at < 0:
            # The rest of a secret with a blank and without quotes must not be shown either.
            shown = f", got {part.strip()!r}" if part.strip() in mask_secrets(word) else ""
            raise _error(f"expected key=value{shown}", place, model)
        pairs[text[:at].strip()] = _unquote(text[at + 1 :].strip())
    return pairs


def _error(message: str, place: Place, model: Model) -> UsageError:
    return model.book.error(message, place, hint="For example: -e 'name=value' -e @file.yml -e '{\"name\": 1}'")


def split_words(text: str) -> list[str]:
    """Splits at blanks and newlines outside quotes and Jinja blocks; quotes stay. Raises ValueError.

    Blocks are counted in each part between two blanks as a whole, as Ansible does it; a backslash alone joins lines.
    """
    words: list[str] = []
    quote = ""
    depths = [0] * len(_BLOCKS)
    for number, line in enumerate(text.split("\n")):
        if number and words:
            words[-1] += "\n"
        for position, part in enumerate(line.split(" ")):
            inside = bool(quote) or any(depths)
            if not part and position:
                if words:
                    words[-1] += " "
                continue
            if part == "\\" and not quote:
                continue
            quote = _quote_after(part, quote)
            for index, (opening, closing) in enumerate(_BLOCKS):
                depths[index] = max(0, depths[index] + part.count(opening) - part.count(closing))
            if inside:
                words[-1] += (" " if position else "") + part
            elif part:
                words.append(part)
    if quote or any(depths):
        raise ValueError("a quote or a Jinja block is not closed")
    return [word for word in words if word.strip()]


def _quote_after(part: str, quote: str) -> str:
    """The quote that is open behind `part`, when `quote` was open before it."""
    before = ""
    for character in part:
        if character in "'\"" and before != "\\":
            quote = "" if quote == character else quote or character
        before = character
    return quote


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: codecs.decode(match[0], "unicode-escape"), text)


def _unquote(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and text[-2] != "\\":
        return text[1:-1]
    return text
