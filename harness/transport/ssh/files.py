"""Files of a target: verified, resumed, and named only when they are whole.

They go by SFTP, or over the shell where there is none, or where commands run as another user. A file is put beside its
place under a name that follows from its content, private from its first byte on; the target's own checksum of it is
compared (or it is read back), and then it gets its mode and its name. What an interrupted try left is gone on with,
once its checksum was found to be right.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import posixpath
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from harness.deadline import Deadline
from harness.errors import DeadlineExpired
from harness.events.emitter import Emitter
from harness.transport import limits
from harness.transport.contract import Progress
from harness.transport.errors import Cause, Damaged, Timeout, TransportLost, Unavailable
from harness.transport.ssh.channel import ChannelClosedError, PeerSilentError
from harness.transport.ssh.connection import Connection, library_error
from harness.transport.ssh.content import Content, Partial
from harness.transport.ssh.files_sftp import SftpFiles
from harness.transport.ssh.files_shell import Run, ShellFiles, refusal
from harness.transport.ssh.pool import ChannelPool
from harness.transport.ssh.sftp import POSIX_RENAME, Sftp, SftpProtocolError
from harness.transport.ssh.turns import Lease

T = TypeVar("T")

_TRIES = 3
_SFTP_PATIENCE = 10.0
"""Seconds that a server may take to say that it speaks SFTP; then the shell is used."""


class Way(Protocol):
    """A way to a target's files: :class:`SftpFiles` or :class:`ShellFiles`."""

    def absolute(self, path: str, deadline: Deadline) -> str: ...
    def look(self, path: str, deadline: Deadline) -> int: ...
    def check_place(self, path: str, deadline: Deadline) -> None: ...
    def read(
        self, path: str, start: int, stop: int | None, deadline: Deadline, take: Callable[[bytes], None]
    ) -> None: ...
    def write(
        self, path: str, content: Content, start: int, deadline: Deadline, tell: Callable[[int], None]
    ) -> None: ...
    def give_name(self, part: str, path: str, mode: int, deadline: Deadline) -> None: ...
    def remove(self, path: str, deadline: Deadline) -> None: ...


class Job:
    """How far a file's way is. `progress` is told of every step."""

    def __init__(self, doing: str, progress: Progress | None, total: int = 0) -> None:
        self.doing = doing
        self.done = 0
        self.total = total
        self._progress = progress

    def at(self, done: int) -> None:
        """So many bytes are there."""
        self.done = done
        if self._progress is not None:
            self._progress(done, max(done, self.total))


class Files:
    """The files of one target, for any number of threads. `run` runs commands on it."""

    def __init__(
        self,
        pool: ChannelPool,
        run: Run,
        *,
        name: str,
        become: bool,
        events: Emitter,
        most: int = limits.ANSWER_LIMIT,
    ) -> None:
        """`most` bounds what :meth:`get` takes, in bytes: it holds the file in memory."""
        self._most = most
        self._pool = pool
        self._shell = ShellFiles(run, name)
        self._name = name
        self._events = events
        self._lock = threading.Lock()
        self._parts: set[str] = set()
        self._unfinished: dict[str, Partial] = {}
        self._no_sftp: Connection | None = None
        self._has_sftp = not become
        self._has_shell = True

    def put(self, data: bytes | Path, path: str, *, deadline: Deadline, mode: int, progress: Progress | None) -> None:
        """Writes a file. Raises OSError (FileNotFoundError, PermissionError, IsADirectoryError, or one with its errno,
        such as ENOSPC) when the target refuses, UsageError for a local file that cannot be read, Damaged when what
        arrived is not what was sent, Timeout, and what a command raises."""
        content = Content(data)
        with contextlib.closing(content), self._part_name(path, content) as part:
            job = Job("written", progress, content.size)
            self._persist(lambda: self._put(content, path, part, mode, job, deadline), path, job, deadline)

    def get(self, path: str, *, deadline: Deadline, progress: Progress | None) -> bytes:
        """Reads a file, whose content must be the same when it has been read: of one that grows, what was there at the
        beginning. Raises OSError as :meth:`put` does, Damaged for a file that changes all the while, Timeout, and what
        a command raises."""
        with self._lock:
            got = self._unfinished.pop(path, None) or Partial()
        job = Job("read", progress)
        try:
            self._persist(lambda: self._get(path, got, job, deadline), path, job, deadline)
        except OSError:
            raise
        except Exception:
            with self._lock:
                self._unfinished = {path: got}  # One at most: it may be large.
            raise
        return got.content()

    # -- one try

    def _put(self, content: Content, path: str, part: str, mode: int, job: Job, deadline: Deadline) -> None:
        with self._way(deadline) as way:
            path = way.absolute(path, deadline)
            part = posixpath.join(posixpath.dirname(path), part)
            way.check_place(path, deadline)
            try:
                for _ in range(_TRIES):
                    start = self._resume_at(way, part, content, deadline)
                    job.at(start)
                    way.write(part, content, start, deadline, job.at)
                    if self._digest(way, part, None, deadline) == content.digest:
                        way.give_name(part, path, mode, deadline)
                        return
                    way.remove(part, deadline)
            except OSError as error:
                # A full disk gets its room back. What refused the file may refuse this as well; the first no is told.
                with contextlib.suppress(OSError):
                    way.remove(part, deadline)
                raise refusal(error.errno or errno.EIO, str(error).replace(part, path)) from None
        raise self._damaged(
            path,
            f"what arrived is not what was sent, {_TRIES} times over",
            "Is the target's disk failing, or did the file change on this side meanwhile?",
        )

    def _get(self, path: str, got: Partial, job: Job, deadline: Deadline) -> None:
        with self._way(deadline) as way:
            path = way.absolute(path, deadline)

            def take(data: bytes) -> None:
                self._check_size(path, got.size + len(data))
                got.take(data)
                job.at(got.size)

            for _ in range(_TRIES):
                job.total = size = way.look(path, deadline)
                self._check_size(path, size)
                if got.size and (got.size > size or self._digest(way, path, got.size, deadline) != got.digest):
                    got.clear()
                job.at(got.size)
                way.read(path, got.size, size or None, deadline, take)
                # What came behind the first look is no part of it; where there was less, all of it is.
                if self._digest(way, path, size if got.size == size else None, deadline) == got.digest:
                    return
                got.clear()
        raise self._damaged(
            path,
            f"it changes while it is read, {_TRIES} times over",
            "Read it with a command that ends at a known place (head -c), or stop what writes to it.",
        )

    def _resume_at(self, way: Way, part: str, content: Content, deadline: Deadline) -> int:
        """How much of the content is in the part already. Only a file of our own counts: anybody may write to /tmp."""
        size = self._asked(lambda: self._shell.own_size(part, deadline)) or 0
        if 0 < size <= content.size and self._digest(way, part, size, deadline) == content.digest_of(size):
            return size
        return 0

    def _digest(self, way: Way, path: str, size: int | None, deadline: Deadline) -> str:
        """The SHA-256 of a file's first `size` bytes, or of all: computed on the target, or else read back."""
        found = self._asked(lambda: self._shell.digest(path, size, deadline))
        if found:
            return found
        digest = hashlib.sha256()
        way.read(path, 0, size, deadline, digest.update)
        return digest.hexdigest()

    def _asked(self, question: Callable[[], T]) -> T | None:
        """What the shell says; None where an account has SFTP and no shell, or where the two see different files."""
        if not self._has_shell:
            return None
        try:
            return question()
        except OSError:
            return None  # The way itself then says what is wrong, in its own words.
        except Unavailable as error:
            if error.cause is not Cause.NO_SHELL or not self._has_sftp:
                raise
            self._has_shell = False
            return None

    # -- what holds for both

    @contextlib.contextmanager
    def _part_name(self, path: str, content: Content) -> Iterator[str]:
        """The name of an unfinished file: the same for the same content and place, so that it is found again, unless
        another thread is at it."""
        plain = hashlib.sha256(f"{posixpath.basename(path)}\0{content.digest}".encode(errors="surrogateescape"))
        name, key = f".harness-{plain.hexdigest()[:32]}.part", f"{path}\0{content.digest}"
        with self._lock:
            first = key not in self._parts
            self._parts.add(key)
        try:
            yield name if first else f".harness-{secrets.token_hex(16)}.part"
        finally:
            if first:
                with self._lock:
                    self._parts.discard(key)

    def _persist(self, work: Callable[[], None], path: str, job: Job, deadline: Deadline) -> None:
        """Goes on over a new connection, as long as each gets further than the one before."""
        furthest = -1
        while True:
            try:
                work()
            except Damaged:
                raise
            except TransportLost:
                if job.done <= furthest or deadline.expired or deadline.cancellation.cancelled:
                    raise
                furthest = job.done
            except (DeadlineExpired, Timeout):
                of = f" of {job.total}" if job.total else ""
                raise Timeout(
                    f"{self._name}: {path} was not {job.doing} before the deadline: {job.done}{of} bytes were",
                    transport="ssh",
                    hint="They are kept: the same call goes on from there.",
                ) from None
            else:
                return

    @contextlib.contextmanager
    def _way(self, deadline: Deadline) -> Iterator[Way]:
        found = self._sftp(deadline) if self._has_sftp else None
        if found is None:
            yield self._shell
            return
        lease, sftp = found
        try:
            yield SftpFiles(sftp, self._name)
        except (ChannelClosedError, PeerSilentError, SftpProtocolError, EOFError, library_error()) as error:
            raise self._lost(lease, error) from None
        finally:
            self._pool.release(lease, keep=False)

    def _sftp(self, deadline: Deadline) -> tuple[Lease, Sftp] | None:
        """A session; None where the server has none to give, which is asked once a connection."""
        if self._pool.connected(deadline) is self._no_sftp:
            return None
        lease = self._pool.subsystem("sftp", deadline)
        sftp = Sftp(lease.io)
        usable = False
        try:
            sftp.begin(deadline.clamp(_SFTP_PATIENCE))
            usable = POSIX_RENAME in sftp.extensions
            why = "it cannot rename a file over another one"
        except (ChannelClosedError, SftpProtocolError) as error:
            if not lease.connection.alive:
                raise self._lost(lease, error) from None
            why = str(error)
        except PeerSilentError as error:
            raise self._lost(lease, error) from None
        except DeadlineExpired:
            deadline.check("waiting for the SFTP server")
            why = f"it gave no answer in {_SFTP_PATIENCE:g} s"
        finally:
            if not usable:
                self._pool.release(lease, keep=False)
        if usable:
            return lease, sftp
        self._no_sftp = lease.connection
        self._events.emit("ssh.no_sftp", f"{self._name} has no SFTP for us ({why}): files go over its shell")
        return None

    def _lost(self, lease: Lease, error: Exception) -> TransportLost:
        connection = lease.connection
        if isinstance(error, PeerSilentError) or not connection.alive:
            self._pool.drop(connection, f"while a file was carried: {connection.cause_of_death() or error}")
        return connection.lost(f"while a file was carried: {error}", may_have_run=True)

    def _check_size(self, path: str, size: int) -> None:
        if size > self._most:
            most = f"it holds more than {self._most >> 20} MiB, which is kept in memory"
            advice = f"read a part of it with a command, or raise {limits.VARIABLE}"
            raise refusal(errno.EFBIG, f"{self._name}: {path} cannot be read: {most}; {advice}")

    def _damaged(self, path: str, what: str, hint: str) -> Damaged:
        return Damaged(f"{self._name}: {path}: {what}", cause=Cause.DAMAGED, transport="ssh", hint=hint)
