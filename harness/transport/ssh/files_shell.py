"""A target's files by way of its shell: works under become, and where there is no SFTP.

Needs `cat`, `wc`, `chmod`, `mv`, `rm`; with `dd` a file goes in pieces, so that it can be gone on with.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.deadline import Deadline
from harness.tolerant import count
from harness.transport.contract import CommandResult
from harness.transport.ssh.content import Content
from harness.transport.ssh.shell import quote

_PIECE = 1 << 20

_WORDS = (
    (r"no such file|nonexistent|not found", errno.ENOENT),
    (r"permission denied|not permitted", errno.EACCES),
    (r"is a directory", errno.EISDIR),
    (r"not a directory", errno.ENOTDIR),
    (r"no space left", errno.ENOSPC),
    (r"quota", errno.EDQUOT),
    (r"read-only file system", errno.EROFS),
    (r"file too large", errno.EFBIG),
)

# In these scripts "$1" is the file, and messages are in the language of _WORDS.
_NO_FOLDER = """if [ -d "$1" ]; then echo 'it is a directory' >&2; exit 1; fi; """
_LOOK = (
    # To open a pipe or a terminal may wait for ever.
    """if [ -e "$1" ] && [ ! -f "$1" ]; then echo 'it is no regular file' >&2; exit 1; fi; """
    """exec <"$1" || exit 1; wc -c; command -v dd || :"""
)
_OWN_SIZE = """if [ -f "$1" ] && [ ! -L "$1" ] && [ -O "$1" ]; then wc -c <"$1"; fi"""
_DIGEST = (
    """exec <"$1" || exit 1; """
    "if command -v sha256sum >/dev/null 2>&1; then s=sha256sum; "
    "elif command -v openssl >/dev/null 2>&1; then s='openssl dgst -sha256 -r'; else exit 0; fi; "
)
_OF_ALL = 'd=$($s); echo "${d%% *}"'
_OF_FIRST = '[ "$(printf ab | head -c 1 2>/dev/null)" = a ] || exit 0; d=$(head -c %d | $s); echo "${d%%%% *}"'
# The first piece makes the file: with -C the shell opens what is not there yet, and nothing else (O_EXCL).
_BEGIN = """umask 077; rm -f -- "$1"; set -C; cat >"$1\""""
_WRITE = """if command -v dd >/dev/null; then dd of="$1" bs=%d seek=%d conv=notrunc; else cat >>"$1"; fi"""
_READ = """dd if="$1" bs=%d skip=%d count=1"""
_STATISTICS = re.compile(r"records (in|out)|bytes.* copied")


class Run(Protocol):
    """Runs a command; see :class:`~harness.transport.contract.Transport`."""

    def __call__(self, command: str, *, deadline: Deadline, stdin: bytes | None = None) -> CommandResult: ...


def refusal(number: int, message: str) -> OSError:
    """An OSError of the class that goes with `number` (FileNotFoundError, …), whose text is the message alone."""
    error = type(OSError(number, ""))(message)
    error.errno = number
    return error


def errno_of(words: str) -> int:
    """The error number that a program's words mean; EIO for words that mean none."""
    lowered = words.lower()
    return next((number for pattern, number in _WORDS if re.search(pattern, lowered)), errno.EIO)


@dataclass(frozen=True, slots=True)
class ShellFiles:
    """Files over the shell of the target called `name`. All methods raise OSError, with the target's own words, when it
    refuses, and what `run` raises."""

    run: Run
    name: str

    def absolute(self, path: str, deadline: Deadline) -> str:
        """The path as the shell is to be given it."""
        del deadline
        return path

    def look(self, path: str, deadline: Deadline) -> int:
        """The size of a file that can be read."""
        return count(next(iter(self._ask(_NO_FOLDER + _LOOK, path, deadline, "read").split()), 0))

    def check_place(self, path: str, deadline: Deadline) -> None:
        """Raises IsADirectoryError where a file cannot take the name."""
        self._ask(_NO_FOLDER, path, deadline, "written")

    def own_size(self, path: str, deadline: Deadline) -> int:
        """The size of a file that belongs to our user and is no link; 0 where there is none."""
        return count(self._ask(_OWN_SIZE, path, deadline, "read"))

    def digest(self, path: str, size: int | None, deadline: Deadline) -> str | None:
        """The SHA-256 of the file's first `size` bytes, or of all; None where no tool of the target can tell."""
        script = _DIGEST + (_OF_ALL if size is None else _OF_FIRST % size)
        found = self._ask(script, path, deadline, "read").strip()
        return found.decode() if re.fullmatch(b"[0-9a-f]{64}", found) else None

    def read(self, path: str, start: int, stop: int | None, deadline: Deadline, take: Callable[[bytes], None]) -> None:
        """Gives `take` the bytes from `start` up to `stop`, or to the end of the file, in order."""
        size, *tool = self._ask(_NO_FOLDER + _LOOK, path, deadline, "read").split()
        stop = count(size) if stop is None else stop
        while tool and start < stop:
            skip, lead = divmod(start, _PIECE)
            data = self._ask(_READ % (_PIECE, skip), path, deadline, "read")
            wanted = data[lead : lead + stop - start]
            start += len(wanted)
            take(wanted)
            if len(data) < _PIECE:
                break
        if start < stop:
            # dd takes a short read for a whole piece: files of the kernel's own (proc(5)) end too early that way.
            take(self._ask('cat <"$1"', path, deadline, "read")[start:stop])

    def write(self, path: str, content: Content, start: int, deadline: Deadline, tell: Callable[[int], None]) -> None:
        """Writes `content` from `start` on, from 0 to a new file; `tell` is told how many bytes are there."""
        start -= start % _PIECE
        if not start:
            first = next(content.pieces(0, _PIECE), b"")
            self._ask(_BEGIN, path, deadline, "written", stdin=first)
            start = len(first)
            tell(start)
        for piece in content.pieces(start, _PIECE):
            self._ask(_WRITE % (_PIECE, start // _PIECE), path, deadline, "written", stdin=piece)
            start += len(piece)
            tell(start)

    def give_name(self, part: str, path: str, mode: int, deadline: Deadline) -> None:
        """Gives a part its mode and then, at once (rename(2)), its name."""
        script = f'{_NO_FOLDER}chmod {mode:o} -- {quote(part)} && mv -f -- {quote(part)} "$1"'
        self._ask(script, path, deadline, "written")

    def remove(self, path: str, deadline: Deadline) -> None:
        """Removes a file, if it is there."""
        self._ask('rm -f -- "$1"', path, deadline, "removed")

    def _ask(self, script: str, path: str, deadline: Deadline, what: str, *, stdin: bytes | None = None) -> bytes:
        command = f"LC_ALL=C; export LC_ALL; set -- {quote(path)}; {script}"
        result = self.run(command, deadline=deadline, stdin=stdin)
        if result.ok:
            return result.stdout
        words = "; ".join(line for line in result.err.splitlines() if not _STATISTICS.search(line))
        words = words or f"exit status {result.exit_status}"
        raise refusal(errno_of(words), f"{self.name}: {path} cannot be {what}: {words}")
