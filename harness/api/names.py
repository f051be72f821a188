"""The names of the checks in a file, read from its text: nothing in it is carried out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def check_names(file: Path) -> tuple[str, ...]:
    """The functions that are decorated with what the file calls `check`, in order; none where the file cannot be
    read or is no Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ()
    called = frozenset(_imported(tree))
    return tuple(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any(_spelled(each) in called for each in node.decorator_list)
    )


def _imported(tree: ast.Module) -> Iterator[str]:
    """How the decorator may be spelled in the file: `check`, `check.each`, `c.each`, `harness.check`, …"""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module in ("harness", "harness.api.declare"):
            names = [each.asname or each.name for each in node.names if each.name == "check"]
        elif isinstance(node, ast.Import):
            names = [f"{each.asname or each.name}.check" for each in node.names if each.name == "harness"]
        for name in names:
            yield name
            yield f"{name}.each"
            yield f"{name}.from_inventory"


def _spelled(decorator: ast.expr) -> str:
    return ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
