"""A target's files by SFTP."""

from __future__ import annotations

import contextlib
import errno
import posixpath
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.transport.ssh.content import Content
from harness.transport.ssh.files_shell import refusal
from harness.transport.ssh.sftp import (
    ANEW,
    FAILURE,
    FOR_READING,
    FOR_WRITING,
    NO_SUCH_FILE,
    PERMISSION_DENIED,
    PIECE,
    STATVFS,
    Sftp,
    SftpStatusError,
)

_NUMBERS = {NO_SUCH_FILE: errno.ENOENT, PERMISSION_DENIED: errno.EACCES}


@dataclass(frozen=True, slots=True)
class SftpFiles:
    """Files over an SFTP session with the target called `name`. All methods raise OSError when the target refuses, and
    what the session raises. Paths are absolute: a shell may start elsewhere than the SFTP server."""

    sftp: Sftp
    name: str

    def absolute(self, path: str, deadline: Deadline) -> str:
        """The path from the root; a relative one begins where the server starts."""
        return path if path.startswith("/") else posixpath.join(self.sftp.real_path(".", deadline), path)

    def look(self, path: str, deadline: Deadline) -> int:
        """The size of a file that can be read; 0 also for files of the kernel's own (proc(5))."""
        with self._refusals(path, "read", deadline):
            found = self.sftp.look(path, deadline)
        self._check_kind(path, found.mode, "read")
        if not stat.S_ISREG(found.mode):
            raise refusal(errno.EINVAL, f"{self.name}: {path} cannot be read: it is no regular file")
        return found.size

    def check_place(self, path: str, deadline: Deadline) -> None:
        """Raises IsADirectoryError where a file cannot take the name."""
        try:
            found = self.sftp.look(path, deadline)
        except SftpStatusError:
            return  # It is not there, or writing beside it will tell.
        self._check_kind(path, found.mode, "written")

    def read(self, path: str, start: int, stop: int | None, deadline: Deadline, take: Callable[[bytes], None]) -> None:
        """Gives `take` the bytes from `start` up to `stop`, or to the end of the file, in order."""
        with self._refusals(path, "read", deadline):
            handle = self.sftp.open(path, FOR_READING, deadline)
            self.sftp.read(handle, start, stop, deadline, take)
            self.sftp.close(handle, deadline)

    def write(self, path: str, content: Content, start: int, deadline: Deadline, tell: Callable[[int], None]) -> None:
        """Writes `content` from `start` on, from 0 to a new file; `tell` is told how many bytes are there."""
        done = start

        def acked(size: int) -> None:
            nonlocal done
            done += size
            tell(done)

        with self._refusals(path, "written", deadline):
            handle = self.sftp.open(path, FOR_WRITING, deadline) if start else self._anew(path, deadline)
            self.sftp.write(handle, start, content.pieces(start, PIECE), deadline, acked)
            self.sftp.close(handle, deadline)

    def _anew(self, path: str, deadline: Deadline) -> bytes:
        try:
            return self.sftp.open(path, ANEW, deadline)
        except SftpStatusError as error:
            if error.code != FAILURE:
                raise
        # Something has the name: the rest of an earlier try, and none that can be gone on with.
        self.sftp.remove(path, deadline)
        return self.sftp.open(path, ANEW, deadline)

    def give_name(self, part: str, path: str, mode: int, deadline: Deadline) -> None:
        """Gives a part its mode and then, at once (rename(2)), its name."""
        with self._refusals(path, "written", deadline):
            self.sftp.set_mode(part, mode, deadline)
            self.sftp.rename(part, path, deadline)

    def remove(self, path: str, deadline: Deadline) -> None:
        """Removes a file, if it is there."""
        with self._refusals(path, "removed", deadline):
            try:
                self.sftp.remove(path, deadline)
            except SftpStatusError as error:
                if error.code != NO_SUCH_FILE:
                    raise

    def _check_kind(self, path: str, mode: int, what: str) -> None:
        if stat.S_ISDIR(mode):
            raise refusal(errno.EISDIR, f"{self.name}: {path} cannot be {what}: it is a directory")

    @contextlib.contextmanager
    def _refusals(self, path: str, what: str, deadline: Deadline) -> Iterator[None]:
        try:
            yield
        except SftpStatusError as error:
            number, words = _NUMBERS.get(error.code, errno.EIO), error.text
            if error.code == FAILURE:
                number, words = self._reason(path, words, deadline)
            raise refusal(number, f"{self.name}: {path} cannot be {what}: {words}") from None

    def _reason(self, path: str, words: str, deadline: Deadline) -> tuple[int, str]:
        """Version 3 has one word for a full disk and all else that may happen: the file system is asked."""
        if STATVFS not in self.sftp.extensions:
            return errno.EIO, words
        try:
            space = self.sftp.space(posixpath.dirname(path), deadline)
        except SftpStatusError:
            return errno.EIO, words
        if space.read_only:
            return errno.EROFS, "its file system is read-only"
        if space.left < PIECE or space.full:
            return errno.ENOSPC, "no space is left there" + (" for more files" if space.full else "")
        return errno.EIO, f"{words} (the server gives no reason)"
