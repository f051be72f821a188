"""The name under which this package is installed. It is not `harness`: on PyPI that name belongs to another project."""

from __future__ import annotations

NAME = "agentless-harness"


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an optional extra (`setup.cfg`, `options.extras_require`)."""
    return f"pip install '{NAME}[{extra}]'"
