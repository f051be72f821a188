"""Test Linux machines that are still coming up, over SSH and over the serial console.

What the author of a check needs is here; everything else has a room of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api.check import Never, NotYet, Skip
from harness.api.declare import check

if TYPE_CHECKING:
    from harness.target.target import Target

__all__ = ["Never", "NotYet", "Skip", "Target", "__version__", "check"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`Target` is only needed for annotations, so it is imported when asked for: `harness --help` stays quick."""
    if name == "Target":
        from harness.target.target import Target

        return Target
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
