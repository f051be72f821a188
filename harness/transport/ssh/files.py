"""Files over a transport whose commands take any stdin and give any output: carried by the shell,
verified, then named.

The shell's way needs nothing on the target but `cat`, works under become, and where there is no SFTP
subsystem.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Protocol

from harness.deadline import Deadline
from harness.errors import HarnessError
from harness.transport.contract import CommandResult, Progress
from harness.transport.errors import Cause, Damaged
from harness.transport.ssh.shell import quote

# sha256sum is in coreutils and busybox; cksum (POSIX) is the fallback; with neither, the file is read back.
_SUM = (
    "{ sha256sum <F 2>/dev/null || openssl dgst -sha256 -r <F 2>/dev/null || echo none; } | "
    "while read -r s _; do echo $s; break; done"
)


class Runs(Protocol):
    """What runs commands."""

    name: str

    def run(self, command: str, *, deadline: Deadline, stdin: bytes | None = None) -> CommandResult: ...


class FileError(HarnessError):
    """The target refused a file's reading or writing; its own words are in the message."""


def put(
    target: Runs, data: bytes | Path, path: str, *, deadline: Deadline, mode: int, progress: Progress | None
) -> None:
    """Writes to a new file beside `path`, verifies it, gives it its mode and then its name (rename(2),
    so at once).

    Raises FileError when the target refuses, Damaged when what arrived is not what was sent.
    """
    content = data.read_bytes() if isinstance(data, Path) else data
    part = f"{path}.{secrets.token_hex(4)}.part"
    if progress is not None:
        progress(0, len(content))
    script = f"umask 077; cat >{quote(part)}"
    written = target.run(script, deadline=deadline, stdin=content)
    try:
        if not written.ok:
            raise FileError(f"{path} cannot be written: {written.err or f'exit status {written.exit_status}'}")
        _verify(target, part, path, content, deadline)
        named = target.run(
            f"chmod {mode:o} {quote(part)} && "
            f"{{ [ ! -d {quote(path)} ] || {{ echo 'is a directory' >&2; false; }}; }} "
            f"&& mv -f {quote(part)} {quote(path)}",
            deadline=deadline,
        )
        if not named.ok:
            raise FileError(f"{path} cannot be written: {named.err or f'exit status {named.exit_status}'}")
    except (FileError, Damaged):
        target.run(f"rm -f {quote(part)}", deadline=deadline)
        raise
    if progress is not None:
        progress(len(content), len(content))


def _verify(target: Runs, part: str, path: str, content: bytes, deadline: Deadline) -> None:
    sums = target.run(_SUM.replace("F", quote(part)), deadline=deadline)
    if sums.out == hashlib.sha256(content).hexdigest():
        return
    if sums.out == "none" and target.run(f"cat <{quote(part)}", deadline=deadline).stdout == content:
        return
    raise Damaged(
        f"{path}: what arrived on the target is not what was sent",
        cause=Cause.DAMAGED,
        transport=target.name,
        seen=sums.stdout[-2048:],
        hint="Is the target's file system full, or failing?",
    )


def get(target: Runs, path: str, *, deadline: Deadline, progress: Progress | None) -> bytes:
    """Reads a file. Raises FileError when the target refuses, Damaged when it changed while it was read."""
    last = ""
    for _ in range(3):
        answer = target.run(f"cat <{quote(path)} && {_SUM.replace('F', quote(path))} >&2", deadline=deadline)
        if not answer.ok:
            raise FileError(f"{path} cannot be read: {answer.err or f'exit status {answer.exit_status}'}")
        last = answer.err
        if last in ("none", hashlib.sha256(answer.stdout).hexdigest()):
            if progress is not None:
                progress(len(answer.stdout), len(answer.stdout))
            return answer.stdout
    raise Damaged(
        f"{path}: the file changes while it is read, three times over",
        cause=Cause.DAMAGED,
        transport=target.name,
        seen=last.encode()[-2048:],
        hint="Read it with a command that ends at a known place (head -c), or stop what writes to it.",
    )
