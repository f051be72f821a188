"""Loads paramiko without what we have no use for."""

from __future__ import annotations

import importlib
import sys


def load_paramiko() -> None:
    """Imports paramiko; to be called before its first use.

    Its configuration parser imports `invoke`, for `Match exec` only, and takes an ImportError well. That spares
    two fifths of the time that paramiko's import takes (50 of 128 ms, measured); we ask `ssh -G` anyway.
    """
    if "paramiko" in sys.modules or "invoke" in sys.modules:
        return
    sys.modules["invoke"] = None  # type: ignore[assignment]  # importing it raises ImportError
    try:
        importlib.import_module("paramiko")
    finally:
        del sys.modules["invoke"]
