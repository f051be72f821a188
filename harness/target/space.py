"""Filesystems that are full: why a program fails that cannot write, whatever it says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import Cancelled, HarnessError

if TYPE_CHECKING:
    from harness.target.target import Target

SPACE_COMMAND = "df -Pk 2>/dev/null | head -c 20000; echo ==; head -c 40000 /proc/mounts"
FULL_KB = 1024
"""A filesystem with less than so many kilobytes left is full for whoever writes more than a line."""
_SMALLEST_KB = 4096
"""Smaller filesystems are made to hold one thing, and full by design."""
_SECONDS = 15.0


def full_filesystems(text: str) -> tuple[tuple[str, int], ...]:
    """Return the mount points of full filesystems that can be written to, each with the kilobytes left.

    `text` is what `SPACE_COMMAND` prints: POSIX `df -Pk`, then /proc/mounts. Lines that cannot be read are left out.
    """
    table, _, mounts = text.partition("\n==\n")
    options = {words[1]: words[3].split(",") for words in map(str.split, mounts.split("\n")) if len(words) > 3}
    found: list[tuple[str, int]] = []
    for line in table.split("\n"):
        words = line.split(None, 5)
        if len(words) != 6 or not (words[1].isdecimal() and words[3].lstrip("-").isdecimal()):
            continue
        mount = words[5]
        if "rw" in options.get(mount, ()) and int(words[1][:18]) >= _SMALLEST_KB and int(words[3][:18]) < FULL_KB:
            found.append((mount, max(0, int(words[3][:18]))))
    return tuple(found)


def space_remark(target: Target) -> str:
    """Return `; the filesystem / is full (0 kB left)` for an explanation of what failed, or nothing.

    One round trip. A target that does not answer costs the remark only. Raises Cancelled.
    """
    try:
        result = target.run(SPACE_COMMAND, timeout=_SECONDS)
    except Cancelled:
        raise
    except HarnessError:
        return ""
    full = full_filesystems(result.stdout.decode("utf-8", "backslashreplace"))
    return "".join(f"; the filesystem {mount} is full ({left} kB left)" for mount, left in full[:3])
