"""The Jinja environment of inventories: the sandbox, and those of Ansible's filters that inventories use.

Meanings are those of Ansible's documentation of each filter; results are pinned by differential tests.
Only this module imports jinja2 at its top: it is itself imported when the first template is met.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NoReturn

import jinja2
from jinja2.lexer import Lexer
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.sandbox import SandboxedEnvironment

from harness.bounded import read_text
from harness.inventory.bounds import regex
from harness.inventory.values import jsonable


class _CodeGenerator(NativeCodeGenerator):
    """Keeps the type of a constant that stands alone: `{{ 5 }}` is a number."""

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        items = list(group)
        return repr(items[0]) if len(items) == 1 else repr("".join("" if i is None else str(i) for i in items))


class _Lexer(Lexer):
    """Takes backslashes in quoted texts as they are, as Ansible does: `regex_replace('(a)', '\\1')` means group 1."""

    def tokeniter(self, *args: Any, **options: Any) -> Iterator[tuple[int, str, str]]:
        for line, token, value in super().tokeniter(*args, **options):
            yield line, token, value.replace("\\", "\\\\") if token == "string" else value  # noqa: S105


MOST_TEXT = 16 << 20
"""Characters, or items, that one step of a template may make."""
_MOST_FILE = 1 << 20
_MOST_VALUES = 1_000_000
_MOST_BITS = 1 << 16
_SIZED = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs", "generate_lorem_ipsum", "lipsum"})
_WIDE = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(?:\*|[0-9]{7}|[0-9]*\.(?:\*|[0-9]{7}))|\{[^{}]*:[^{}]*(?:[0-9]{7}|\{)")


class _Environment(SandboxedEnvironment):
    """A sandbox in which no single step takes all memory, or all time."""

    code_generator_class = _CodeGenerator
    looked_up: set[str]
    """What templates have read of this machine's files and environment: not to be shown."""
    intercepted_binops = frozenset(("*", "**", "<<", "%"))

    @cached_property
    def lexer(self) -> Lexer:
        return _Lexer(self)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return what stands for a text's `format` method. Raises ValueError for a width beyond any use."""
        owner = getattr(value, "__self__", None)
        if isinstance(owner, str) and getattr(value, "__name__", "") in ("format", "format_map") and _too_wide(owner):
            raise ValueError("a field width beyond any use")
        return super().wrap_str_format(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right`. Raises ValueError where that would be beyond any use."""
        if operator == "*":
            sized, times = (left, right) if hasattr(left, "__len__") else (right, left)
            if hasattr(sized, "__len__") and isinstance(times, int) and len(sized) * times > MOST_TEXT:
                raise ValueError("it repeats something beyond any use")
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * max(right, 0) > _MOST_BITS:
                raise ValueError("a number beyond any use")
        elif operator == "%" and isinstance(left, str) and _too_wide(left):
            raise ValueError("a field width beyond any use")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call something from a template. Raises ValueError for an argument beyond any use (`'x'.ljust(10**12)`)."""
        owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
        if name in _SIZED and (isinstance(owner, str | bytes) or owner is None):
            _check_sizes(args, kwargs)
        return super().call(context, function, *args, **kwargs)


def _too_wide(text: str) -> bool:
    """Whether a format holds a width of more than six digits, or takes one from an argument."""
    return _WIDE.search(text) is not None


def _check_sizes(args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
    for value in (*args, *kwargs.values()):
        if isinstance(value, int) and abs(value) > MOST_TEXT:
            raise ValueError("a number beyond any use")


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same filter, which takes no number that would have it make a text beyond any use."""

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _check_sizes(args[1:], kwargs)
        return function(*args, **kwargs)

    return bounded


def make_environment() -> _Environment:
    """A sandbox with strict undefined names, set up as Ansible sets up Jinja."""
    environment = _Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.looked_up = set()
    for name in ("center", "indent", "wordwrap", "batch", "slice", "truncate"):
        environment.filters[name] = _bounded(environment.filters[name])
    formats = environment.filters["format"]
    environment.filters["format"] = lambda value, *args, **kwargs: (
        formats(value, *args, **kwargs) if not _too_wide(str(value)) else _refuse_width()
    )
    environment.filters.update(_FILTERS)
    environment.tests.update(_TESTS)

    def query(name: str, *terms: Any, default: Any = "", **options: Any) -> list[Any]:
        found = _query(name, *terms, default=default, **options)
        environment.looked_up.update(str(each) for each in found)
        return found

    def lookup(name: str, *terms: Any, **options: Any) -> Any:
        found = query(name, *terms, **options)
        return found[0] if len(found) == 1 else ",".join(map(str, found))

    environment.globals.update(lookup=lookup, query=query, q=query)
    return environment


def _refuse_width() -> NoReturn:
    raise ValueError("a field width beyond any use")


def refuse_lookups(environment: SandboxedEnvironment) -> None:
    """Let templates read nothing of this machine: no file, no environment."""

    def refused(name: str, *_terms: Any, **_options: Any) -> NoReturn:
        raise ValueError(f"lookup({name!r}) is not allowed with --untrusted")

    environment.globals.update(lookup=refused, query=refused, q=refused)


def _bare(value: Any) -> Any:
    """Plain data of what may be lazy."""
    return value.plain() if hasattr(value, "plain") else value


def to_bool(value: Any) -> bool | None:
    """Ansible's `bool` filter: yes/on/1/true are true (in any case), None stays None, all else is false."""
    if value is None or isinstance(value, bool):
        return value
    return str(value).lower() in ("yes", "on", "1", "true")


def _mandatory(value: Any, msg: str | None = None) -> Any:
    if isinstance(value, jinja2.Undefined):
        raise ValueError(msg or "mandatory variable is not defined")
    return value


def _ternary(value: Any, true_val: Any, false_val: Any, none_val: Any = None) -> Any:
    if value is None and none_val is not None:
        return none_val
    return true_val if value else false_val


def _combine(*terms: Any, recursive: bool = False, list_merge: str = "replace") -> dict[Any, Any]:
    if list_merge != "replace":
        raise ValueError("combine: only list_merge='replace' is available here")
    result: dict[Any, Any] = {}
    flat: list[Any] = []
    for term in map(_bare, terms):
        flat.extend(term if isinstance(term, list) else [term])
    for term in flat:
        result = _merge(result, term) if recursive else {**result, **term}
    return result


def _merge(below: dict[Any, Any], above: Mapping[Any, Any]) -> dict[Any, Any]:
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = _merge(dict(result[key]), value)
        else:
            result[key] = value
    return result


def _flags(ignorecase: bool, multiline: bool) -> int:
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def _regex_replace(
    value: Any, pattern: str = "", replacement: str = "", ignorecase: bool = False, multiline: bool = False
) -> str:
    replaced: str = regex("sub", pattern, str(value), _flags(ignorecase, multiline), replacement)
    return replaced


def _regex_search(value: Any, pattern: str, *groups: str, ignorecase: bool = False, multiline: bool = False) -> Any:
    match = regex("search", pattern, str(value), _flags(ignorecase, multiline))
    if match is None:
        return None
    if not groups:
        return match["groups"][0]
    names = [group.removeprefix("\\g").strip("<>").lstrip("\\") for group in groups]
    try:
        return [match["groups"][int(name) if name.isdigit() else match["names"][name]] for name in names]
    except (IndexError, KeyError):
        raise IndexError("no such group") from None


def _regex_findall(value: Any, pattern: str, multiline: bool = False, ignorecase: bool = False) -> list[Any]:
    found: list[Any] = regex("findall", pattern, str(value), _flags(ignorecase, multiline))
    return found


def _to_yaml(value: Any, default_flow_style: bool | None = None, **options: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(
        jsonable(_bare(value)), default_flow_style=default_flow_style, allow_unicode=True, **options
    )
    return text


def _from_yaml(value: Any) -> Any:
    import yaml

    found = yaml.safe_load(value)
    _count(found, 0)
    return found


def _count(value: Any, before: int) -> int:
    """Return how many values there are when aliases are written out. Raises ValueError for too many."""
    before += 1
    if before > _MOST_VALUES:
        raise ValueError(f"its aliases make more than {_MOST_VALUES} values")
    if isinstance(value, Mapping):
        for item in value.values():
            before = _count(item, before)
    elif isinstance(value, (list, tuple)):
        for item in value:
            before = _count(item, before)
    return before


def _flatten(value: Any, levels: int | None = None, skip_nulls: bool = True) -> list[Any]:
    result: list[Any] = []
    for item in _bare(value):
        if skip_nulls and item in (None, "None", "null"):
            continue
        if isinstance(item, (list, tuple)) and (levels is None or levels >= 1):
            result.extend(_flatten(item, None if levels is None else levels - 1, skip_nulls))
        else:
            result.append(item)
    return result


def _unique(items: Iterable[Any]) -> list[Any]:
    result: list[Any] = []
    for item in items:
        if item not in result:
            result.append(item)
    return result


def _digest(name: str) -> Callable[[Any], str]:
    return lambda value: hashlib.new(name, str(value).encode(), usedforsecurity=False).hexdigest()


_FILTERS: dict[str, Callable[..., Any]] = {
    "b64decode": lambda value: base64.b64decode(value).decode("utf-8", "surrogateescape"),
    "b64encode": lambda value: base64.b64encode(str(value).encode("utf-8", "surrogateescape")).decode("ascii"),
    "basename": lambda value: os.path.basename(value),
    "bool": to_bool,
    "combine": _combine,
    "dict2items": lambda value, key_name="key", value_name="value": [
        {key_name: key, value_name: item} for key, item in _bare(value).items()
    ],
    "difference": lambda a, b: _unique(item for item in _bare(a) if item not in _bare(b)),
    "dirname": lambda value: os.path.dirname(value),
    "expanduser": lambda value: os.path.expanduser(value),
    "flatten": _flatten,
    "from_json": lambda value: json.loads(value),
    "from_yaml": _from_yaml,
    "hash": lambda value, hashtype="sha1": _digest(hashtype)(value),
    "intersect": lambda a, b: _unique(item for item in _bare(a) if item in _bare(b)),
    "items2dict": lambda value, key_name="key", value_name="value": {
        item[key_name]: item[value_name] for item in _bare(value)
    },
    "mandatory": _mandatory,
    "md5": _digest("md5"),
    "path_join": lambda value: os.path.join(*([value] if isinstance(value, str) else _bare(value))),
    "quote": lambda value: shlex.quote("" if value is None else str(value)),
    "regex_escape": lambda value: re.escape(str(value)),
    "regex_findall": _regex_findall,
    "regex_replace": _regex_replace,
    "regex_search": _regex_search,
    "sha1": _digest("sha1"),
    "split": lambda value, separator=None: str(value).split(separator),
    "splitext": lambda value: list(os.path.splitext(value)),
    "symmetric_difference": lambda a, b: _unique(
        [item for item in _bare(a) if item not in _bare(b)] + [item for item in _bare(b) if item not in _bare(a)]
    ),
    "ternary": _ternary,
    "to_json": lambda value, **options: json.dumps(jsonable(_bare(value)), **options),
    "to_nice_json": lambda value, indent=4, sort_keys=True: json.dumps(
        jsonable(_bare(value)), indent=indent, sort_keys=sort_keys, separators=(",", ": ")
    ),
    "to_nice_yaml": lambda value, indent=4: _to_yaml(value, False, indent=indent),
    "to_yaml": _to_yaml,
    "type_debug": lambda value: type(_bare(value)).__name__,
    "union": lambda a, b: _unique([*_bare(a), *_bare(b)]),
    "unique": lambda value, **options: _unique(_bare(value)),
    "zip": lambda *lists: [list(row) for row in zip(*map(_bare, lists), strict=False)],
}


def _matches(how: str) -> Callable[..., bool]:
    def test(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
        return regex(how, pattern, str(value), _flags(ignorecase, multiline)) is not None

    return test


_TESTS: dict[str, Callable[..., Any]] = {
    "match": _matches("match"),
    "search": _matches("search"),
    "regex": _matches("search"),
    "contains": lambda value, item: item in _bare(value),
    "truthy": lambda value, convert_bool=False: bool(to_bool(value) if convert_bool else value),
    "falsy": lambda value, convert_bool=False: not (to_bool(value) if convert_bool else value),
    "subset": lambda a, b: set(_bare(a)) <= set(_bare(b)),
    "superset": lambda a, b: set(_bare(a)) >= set(_bare(b)),
    "any": lambda value: any(_bare(value)),
    "all": lambda value: all(_bare(value)),
}


def _no_lookup(name: str) -> NoReturn:
    raise ValueError(f"lookup({name!r}) is not available here; 'env' and 'file' are")


def _query(name: str, *terms: Any, default: Any = "", **options: Any) -> list[Any]:
    name = name.removeprefix("ansible.builtin.")
    if options or name not in ("env", "file"):
        _no_lookup(name)
    if name == "env":
        return [os.environ.get(str(term), default) for term in terms]
    found = []
    for term in terms:
        found.append(read_text(os.path.expanduser(str(term)), most=_MOST_FILE).rstrip())
    return found
