"""How much a target may make this machine keep."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import UsageError
from harness.inventory.kinds import mebibytes
from harness.transport.errors import Cause, Damaged

VARIABLE = "harness_answer_limit"
ANSWER_LIMIT = 256 << 20
"""Bytes of one answer (a command's stdout and stderr together, or a file), unless the inventory says otherwise."""


def answer_limit(host_name: str, variables: Mapping[str, object]) -> int:
    """Return the host's bound in bytes. Raises UsageError for a value that cannot be used."""
    value = variables.get(VARIABLE)
    if value is None or value == "":
        return ANSWER_LIMIT
    try:
        return mebibytes(value) << 20
    except ValueError as error:
        raise UsageError(f"host {host_name}: {VARIABLE}: {error}") from None


def too_long(name: str, what: str, limit: int, transport: str, seen: bytes = b"") -> Damaged:
    """Return the error for an answer that is longer than its bound; the rest of it was thrown away."""
    return Damaged(
        f"{name}: the answer is longer than {limit >> 20} MiB, and was not kept: {what}",
        cause=Cause.DAMAGED,
        transport=transport,
        seen=seen[-2048:],
        may_have_run=True,
        hint=f"Have the command write less (head -c), or raise {VARIABLE}.",
    )
