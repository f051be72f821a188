"""Loads paramiko without what we have no use for."""

from __future__ import annotations

from harness.imports import import_without


def load_paramiko() -> None:
    """Imports paramiko; to be called before its first use.

    Its configuration parser imports `invoke`, for `Match exec` only, and takes an ImportError well. That spares
    a third of the time that paramiko's import takes (60 of 197 ms, measured); we ask `ssh -G` anyway.
    """
    import_without("paramiko", "invoke")
