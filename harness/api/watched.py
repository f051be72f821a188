"""Assertions whose calls are remembered: what a check saw is then told when it does not hold.

`assert target.read("cat /x") == "y"` has two values, and Python keeps neither. A check's file is compiled here so that
each part of an assertion that would have to be evaluated again to be known (a call, a subscript) is also bound to a
name that no program can have: `@LINE:COLUMN:…`, its own place. Nothing is evaluated twice, or in another order.
"""

from __future__ import annotations

import ast
import importlib.machinery
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNSEEN = ...
"""The value of a part that was not evaluated, because what stands before it had decided already."""


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a check's file with its assertions watched. `__pycache__` has no part in it."""

    def get_code(self, fullname: str) -> types.CodeType | None:
        """The module's code. Raises SyntaxError."""
        path = self.get_filename(fullname)
        return watched(self.get_data(path), path)


def watched(source: bytes, path: str) -> types.CodeType:
    """The code of a file with the assertions of its functions watched. Raises SyntaxError."""
    tree = ast.parse(source, path)
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]:
        _Watcher().generic_visit(function)
    code: types.CodeType = compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)
    return code


def parts(test: ast.expr) -> Iterator[ast.expr]:
    """The parts of an assertion whose values are worth telling and cannot be had later, the outer ones first."""
    if isinstance(test, ast.Compare):
        for side in (test.left, *test.comparators):
            yield from parts(side)
    elif isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from parts(value)
    elif isinstance(test, ast.UnaryOp):
        yield from parts(test.operand)
    elif isinstance(test, ast.Call | ast.Subscript | ast.Attribute | ast.BinOp) and _evaluates(test):
        yield test
        inner = test.value if isinstance(test, ast.Attribute) else None
        while isinstance(inner, ast.Attribute):
            inner = inner.value
        if isinstance(inner, ast.Call | ast.Subscript):
            yield inner


def name_of(part: ast.expr) -> str:
    """What a part's value is bound to."""
    return f"@{part.lineno}:{part.col_offset}:{part.end_lineno}:{part.end_col_offset}"


@dataclass(frozen=True, slots=True)
class Part:
    """A watched part of an assertion: what it is bound to, how it is written, and whether it is the whole."""

    name: str
    text: str
    whole: bool


def watched_parts(test: ast.expr) -> tuple[Part, ...]:
    """The watched parts of an assertion."""
    return tuple(Part(name_of(part), ast.unparse(part), part is test) for part in parts(test))


def seen(watched: Sequence[Part], variables: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Each part that was evaluated, as it is written, with its value."""
    found = [(part, variables.get(part.name, UNSEEN)) for part in watched]
    # That the whole assertion was False is no news.
    return [(part.text, value) for part, value in found if value is not UNSEEN and not (part.whole and value is False)]


def _evaluates(part: ast.expr) -> bool:
    inside = list(ast.walk(part))
    if any(isinstance(node, ast.Yield | ast.YieldFrom | ast.Await) for node in inside):
        return False
    return any(isinstance(node, ast.Call | ast.Subscript) for node in inside)


class _Watcher(ast.NodeTransformer):
    """Binds the parts of the assertions in one function. What is inside of it (functions, classes) is not its own."""

    def visit_Assert(self, node: ast.Assert) -> Any:
        """An assertion, after its names were set to `UNSEEN`: a loop may have been here before."""
        chosen = list(parts(node.test))
        if not chosen:
            return node
        names = [ast.Name(name_of(part), ast.Store()) for part in chosen]
        unset = ast.Assign([*names], ast.Constant(UNSEEN))
        node.test = _Binder(chosen).visit(node.test)
        return [ast.copy_location(unset, node), node]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        return node


class _Binder(ast.NodeTransformer):
    def __init__(self, chosen: list[ast.expr]) -> None:
        self._chosen = {id(part) for part in chosen}

    def visit(self, node: ast.AST) -> Any:
        """Binds a part that was chosen, and what was chosen inside of it."""
        mine = id(node) in self._chosen
        name = name_of(node) if mine and isinstance(node, ast.expr) else ""
        node = self.generic_visit(node)
        if name and isinstance(node, ast.expr):
            return ast.copy_location(ast.NamedExpr(ast.Name(name, ast.Store()), node), node)
        return node
