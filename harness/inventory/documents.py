"""YAML and JSON files to values that know their lines.

As Ansible does, a file is read as JSON first and as YAML 1.1 (PyYAML, safe tags, plus `!vault` and `!unsafe`)
after that. Python's yaml and json are imported where they are used: `harness --help` needs neither.
"""

from __future__ import annotations

import bisect
import json
import json.decoder
import json.scanner
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.inventory.bounds import bounded_number
from harness.inventory.places import Book, Notice, Place
from harness.inventory.values import Located, Unsafe, Vaulted

if TYPE_CHECKING:
    import yaml

_SPACE = re.compile(r"[ \t\n\r]*")


def load_document(text: str, path: str, book: Book, notices: list[Notice]) -> object:
    """The value of a JSON or YAML text. Raises UsageError with line and column.

    Notices tell of mapping keys that stand twice (the last one counts, as in Ansible).
    """
    try:
        return load_json(text, path)
    except ValueError as error:
        as_json = error
    except RecursionError:
        raise book.error("this JSON is nested too deeply", Place(path)) from None
    if path.endswith(".json") and isinstance(as_json, json.JSONDecodeError):
        raise json_error(as_json, path, book)
    return _load_yaml(text, path, book, notices)


def json_error(error: json.JSONDecodeError, path: str, book: Book) -> UsageError:
    """The error for a text that should have been JSON."""
    return book.error(
        f"this is no valid JSON: {error.msg[:1].lower()}{error.msg[1:]}",
        Place(path, error.lineno, error.colno),
    )


# --- JSON ---------------------------------------------------------------------------------------------------


def load_json(text: str, path: str) -> object:
    """Reads JSON; its mappings know where their keys stand. Raises ValueError (JSONDecodeError)."""
    starts = [0]
    starts.extend(match.end() for match in re.finditer("\n", text))

    def place(offset: int) -> Place:
        line = bisect.bisect_right(starts, offset)
        return Place(path, line, offset - starts[line - 1] + 1)

    decoder: Any = json.JSONDecoder()
    decoder.parse_object = lambda *args: _json_object(args[0], args[1], args[2], place)
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    result: object = decoder.decode(text)
    return result


def _json_object(
    start: tuple[str, int],
    strict: bool,
    scan_once: Callable[[str, int], tuple[Any, int]],
    place: Callable[[int], Place],
) -> tuple[object, int]:
    text, end = start
    found = Located(place(end - 1))

    def skip(at: int) -> int:
        match = _SPACE.match(text, at)
        return match.end() if match else at

    end = skip(end)
    if text[end : end + 1] == "}":
        return found, end + 1
    while True:
        if text[end : end + 1] != '"':
            raise json.JSONDecodeError("Expecting a property name in double quotes", text, end)
        at = end
        key, end = json.decoder.scanstring(text, end + 1, strict)  # type: ignore[attr-defined]
        end = skip(end)
        if text[end : end + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' after the name", text, end)
        try:
            value, end = scan_once(text, skip(end + 1))
        except StopIteration as stop:
            raise json.JSONDecodeError("Expecting a value", text, stop.value) from None
        found[key] = value
        found.keys_at[key] = place(at)
        end = skip(end)
        mark = text[end : end + 1]
        if mark == "}":
            return _special(found), end + 1
        if mark != ",":
            raise json.JSONDecodeError("Expecting ',' or '}'", text, end)
        end = skip(end + 1)


def _special(found: Located) -> object:
    """Ansible's own marks in JSON: unsafe and vaulted texts."""
    unsafe, vaulted = found.get("__ansible_unsafe"), found.get("__ansible_vault")
    if isinstance(unsafe, str):
        return Unsafe(unsafe)
    if isinstance(vaulted, str):
        return Vaulted(vaulted, found.at)
    return found


# --- YAML ---------------------------------------------------------------------------------------------------


def _load_yaml(text: str, path: str, book: Book, notices: list[Notice]) -> object:
    import yaml

    loader: Any = None
    try:
        loader = _loader_class()(text)
        loader.path, loader.book, loader.notices = path, book, notices
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_bombs(node, path, book)
        result: object = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(error, path, book) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line = before.count("\n") + 1
        raise book.error(
            f"this is no valid YAML: the character U+{ord(text[error.position]):04X} is not allowed"
            if 0 <= error.position < len(text)
            else f"this is no valid YAML: {error.reason}",
            Place(path, line, len(before) - before.rfind("\n")),
        ) from None
    except RecursionError:
        raise book.error("this YAML is nested too deeply", Place(path)) from None
    except (ValueError, OverflowError) as error:
        # An impossible date, an integer of too many digits, nesting beyond any use, bytes that are no UTF-8.
        raise book.error(f"this YAML cannot be read: {error}", Place(path)) from None
    finally:
        if loader is not None:
            loader.dispose()
    return result


MOST_NODES = 1_000_000
"""Values that a YAML document may hold once all of its aliases and merge keys stand written out."""


def _refuse_bombs(root: yaml.Node, path: str, book: Book) -> None:
    """Raise UsageError for a document that is small as it stands and huge once its aliases are written out."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()
    todo: list[tuple[Any, bool]] = [(root, False)]
    while todo:
        node, known = todo.pop()
        if id(node) in sizes or (not known and id(node) in open_nodes):
            continue  # the second: a value that holds itself, which the constructor refuses
        below = node.value if isinstance(node.value, list) else []
        children = [child for item in below for child in (item if isinstance(item, tuple) else (item,))]
        if not known:
            open_nodes.add(id(node))
            todo.append((node, True))
            todo += [(child, False) for child in children]
            continue
        sizes[id(node)] = size = 1 + sum(sizes.get(id(child), 0) for child in children)
        if size > MOST_NODES:
            place = Place(path, node.start_mark.line + 1, node.start_mark.column + 1)
            raise book.error(f"with its aliases written out, this YAML holds more than {MOST_NODES} values", place)


def _yaml_error(error: yaml.MarkedYAMLError, path: str, book: Book) -> UsageError:
    mark = error.problem_mark or error.context_mark
    place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path)
    problem = error.problem or error.context or "unknown"
    context = f" ({error.context})" if error.context and error.context != problem else ""
    hint = ""
    text = book.source(place).text
    if text[place.column - 1 : place.column] == "\t":
        hint = "YAML is indented with spaces, not with tabs."
    elif "mapping values are not allowed" in problem:
        hint = "Check the indentation; a text that holds ': ' must be quoted."
    elif "found unhashable key" in problem:
        hint = "A value that starts with '{{' must be quoted."
    return book.error(f"this is no valid YAML: {problem}{context}", place, hint=hint)


@cache
def _loader_class() -> Any:
    """The loader: made once, because importing yaml costs more than reading most inventories."""
    import yaml
    from yaml.composer import Composer
    from yaml.constructor import ConstructorError, SafeConstructor
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.resolver import Resolver
    from yaml.scanner import Scanner

    parser: Any
    if yaml.__with_libyaml__:
        from yaml.cyaml import CParser  # type: ignore[attr-defined]

        parser = CParser
    else:
        # The same parts that yaml.SafeLoader is made of, without its constructor.
        class PureParser(Reader, Scanner, Parser, Composer):
            def __init__(self, text: str) -> None:
                Reader.__init__(self, text)
                Scanner.__init__(self)
                Parser.__init__(self)
                Composer.__init__(self)

        parser = PureParser

    class Loader(parser, SafeConstructor, Resolver):  # type: ignore[misc]
        path = ""
        book = Book()
        notices: list[Notice] = []  # noqa: RUF012 - set by the caller before use
        unsafe = 0

        def __init__(self, text: str) -> None:
            parser.__init__(self, text)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)

        def where(self, node: yaml.Node) -> Place:
            return Place(self.path, node.start_mark.line + 1, node.start_mark.column + 1)

        def mapping(self, node: yaml.MappingNode) -> Any:
            found = Located(self.where(node))
            yield found
            if not isinstance(node, yaml.MappingNode):
                raise ConstructorError(
                    None, None, f"expected a mapping but found {node.id}", node.start_mark
                )  # fmt: skip
            own = {id(key) for key, _ in node.value}
            self.flatten_mapping(node)
            seen: set[object] = set()
            for key_node, value_node in node.value:
                key = self.construct_object(key_node, deep=True)
                try:
                    hash(key)
                except TypeError:
                    raise ConstructorError(
                        "while reading a mapping",
                        node.start_mark,
                        "found unhashable key",
                        key_node.start_mark,
                    ) from None
                if key in seen and id(key_node) in own:
                    place = self.where(key_node)
                    self.notices.append(
                        Notice(
                            f"the key {key!r} stands twice in this mapping; the last one counts",
                            self.book.source(place),
                        )
                    )
                if id(key_node) in own:
                    seen.add(key)
                found[key] = self.construct_object(value_node, deep=True)
                found.keys_at[key] = self.where(key_node)

        def number(self, node: yaml.ScalarNode) -> int:
            return bounded_number(self.construct_yaml_int(node))

        def text(self, node: yaml.ScalarNode) -> str:
            value: str = self.construct_scalar(node)
            return Unsafe(value) if self.unsafe else value

        def as_unsafe(self, node: yaml.Node) -> object:
            self.unsafe += 1
            try:
                return self.retagged(node)
            finally:
                self.unsafe -= 1

        def as_vault(self, node: yaml.Node) -> Vaulted:
            value = self.retagged(node)
            if not isinstance(value, str):
                raise ConstructorError(None, None, f"{node.tag} needs a text", node.start_mark)
            return Vaulted(value, self.where(node))

        def retagged(self, node: yaml.Node) -> object:
            """The node's value as if it had no tag of ours."""
            resolve: Any = self.resolve
            tag: str = resolve(type(node), node.value, (True, False))
            return self.construct_object(type(node)(tag, node.value, node.start_mark, node.end_mark), deep=True)

    constructors: dict[str, Any] = {
        "tag:yaml.org,2002:map": Loader.mapping,
        "tag:yaml.org,2002:str": Loader.text,
        "tag:yaml.org,2002:int": Loader.number,
        "!unsafe": Loader.as_unsafe,
        "!vault": Loader.as_vault,
        "!vault-encrypted": Loader.as_vault,
    }
    for tag, method in constructors.items():
        Loader.add_constructor(tag, method)
    return Loader
