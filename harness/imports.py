"""Importing a library without a part of it that we have no use for."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


def import_without(name: str, unwanted: str) -> ModuleType:
    """The module `name`, imported as where `unwanted`, an optional library of its, is not installed.

    Whoever imports `unwanted` later gets it. Must not run beside other threads that may import it.
    """
    if name in sys.modules or unwanted in sys.modules:
        return importlib.import_module(name)
    sys.modules[unwanted] = None  # type: ignore[assignment]  # importing it raises ImportError
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[unwanted]
