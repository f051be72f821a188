"""The user that this process runs as: their name and their home, also where the system knows neither.

A container may run under a number that stands in no password database: `Path.home()` and `getpass.getuser()` raise,
and programs are expected to go on.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path


def home() -> Path:
    """Return `HOME`, else the home of the password database, else the root folder, as login(1) does."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def expanded(path: str | Path) -> Path:
    """Return the path with a leading `~` or `~user` expanded. One that is known to nobody stays as it is."""
    return Path(os.path.expanduser(path))


def user_name() -> str:
    """Return the user's name (`LOGNAME`, `USER`, …, else the password database's), else their number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
