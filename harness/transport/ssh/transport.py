"""The SSH transport: commands over paramiko that cannot lie, hang, or leave things behind.

A command takes one round trip on a persistent shell (:mod:`harness.transport.ssh.shell`); one with stdin
has a channel of
its own. Shells are opened as commands run side by side, within a bound, and kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.deadline import Deadline
from harness.errors import Cancelled, DeadlineExpired, InfrastructureError
from harness.events.emitter import Emitter
from harness.transport.contract import CommandResult, Damage, Followed, Progress, Window
from harness.transport.errors import Cause, Damaged, Timeout, TransportError
from harness.transport.limits import too_long
from harness.transport.ssh.channel import ChannelClosedError, PeerSilentError
from harness.transport.ssh.follow import Follower
from harness.transport.ssh.hostkeys import HostKey
from harness.transport.ssh.keyring import Keyring
from harness.transport.ssh.pool import ChannelPool
from harness.transport.ssh.remote_shell import RemoteShell
from harness.transport.ssh.shell import (
    ARGUMENT_LIMIT,
    EXTERNAL,
    LEFTOVERS,
    Answer,
    AnswerReader,
    AnswerTooLongError,
    check_command,
    encode,
    first_word,
    fresh_nonce,
    one_shot_program,
    one_shot_request,
    request,
)
from harness.transport.ssh.spec import SshSpec
from harness.transport.ssh.turns import Lease

if TYPE_CHECKING:
    from harness.transport.ssh.files import Files

_RESTED = 0.002
"""Seconds between two commands after which others may have started more processes than are worth looking at."""

__all__ = ["END_GRACE", "SshSpec", "SshTransport"]

END_GRACE = 1.0
"""Seconds past a command's deadline that ending it on the target may take."""


class SshTransport:
    """Runs commands on one host over SSH. Connects at first use, and again after the connection was lost."""

    name = "ssh"

    def __init__(self, spec: SshSpec, *, events: Emitter, keyring: Keyring | None = None) -> None:
        """`keyring` may ask a person for passphrases; without one nobody is asked."""
        self.spec = spec
        self._events = events.bind(transport="ssh")
        self._pool = ChannelPool(spec, events=self._events, keyring=keyring or Keyring())
        self._files: Files | None = None
        self._count_lock = threading.Lock()
        self._externals: dict[str, bool] = {}
        self._commands = 0
        self._timeouts = 0

    @property
    def counts(self) -> dict[str, int]:
        """What happened so far: commands, timeouts, connects, channels, late_answers."""
        return {"commands": self._commands, "timeouts": self._timeouts, **self._pool.counts}

    def run(self, command: str, *, deadline: Deadline, stdin: bytes | None = None) -> CommandResult:
        """See :class:`~harness.transport.contract.Transport`.

        After the deadline at most :data:`END_GRACE` is spent on ending the command on the target.
        """
        result = self._run(command, deadline=deadline, stdin=stdin)
        if reconnects := self.take_reconnects():
            result = replace(result, damage=result.damage + Damage(reconnects=reconnects))
        return result

    def _run(self, command: str, *, deadline: Deadline, stdin: bytes | None = None) -> CommandResult:
        """Run it. What it was connected anew for is left to whoever answers the call: a file's steps are not calls."""
        check_command(command)
        started, began = time.time(), time.monotonic()
        late = self._pool.counts["late_answers"]
        if stdin is None and len(encode(command)) <= ARGUMENT_LIMIT:
            answer = self._on_shell(command, deadline)
        else:
            answer = self._on_its_own(command, stdin or b"", deadline)
        with self._count_lock:
            self._commands += 1
        if answer.number > 255:
            raise Damaged(
                f"{self.spec.name}: this ended with the status {answer.number}, which is none: {_shorten(command)}",
                cause=Cause.DAMAGED,
                transport=self.name,
                may_have_run=True,
            )
        return CommandResult(
            command=command,
            stdout=answer.stdout,
            stderr=answer.stderr,
            exit_status=answer.number,
            transport=self.name,
            started=started,
            ended=time.time(),
            duration=time.monotonic() - began,
            damage=Damage(late_answers=self._pool.counts["late_answers"] - late),
        )

    def put(
        self,
        data: bytes | Path,
        path: str,
        *,
        deadline: Deadline,
        mode: int = 0o600,
        progress: Progress | None = None,
    ) -> None:
        """See :meth:`harness.transport.ssh.files.Files.put`."""
        self._to_files().put(data, path, deadline=deadline, mode=mode, progress=progress)

    def get(self, path: str, *, deadline: Deadline, progress: Progress | None = None) -> bytes:
        """See :meth:`harness.transport.ssh.files.Files.get`."""
        return self._to_files().get(path, deadline=deadline, progress=progress)

    def follow(self, command: str, *, deadline: Deadline, on_word: Callable[[], None]) -> Followed:
        """See :class:`~harness.transport.contract.Follows`. It runs as the login user, whoever commands become."""
        return Follower(self._pool, command, deadline, on_word)

    def interactive(
        self, command: str, window: Window | None, *, deadline: Deadline, on_word: Callable[[], None]
    ) -> RemoteShell:
        """See :class:`~harness.transport.contract.Interacts`. It runs as whom commands run as."""
        check_command(command)
        return RemoteShell(self._pool, self.spec, command, window, deadline=deadline, on_word=on_word)

    def close(self) -> None:
        """Gives the connection, its thread and its channels back."""
        self._pool.close()

    # -- what the link asks

    def take_reconnects(self) -> int:
        """See :class:`~harness.transport.contract.CountsReconnects`."""
        return self._pool.take_reconnects()

    @property
    def unknown_host_key(self) -> HostKey | None:
        """The key that the host showed and that nobody knows, until keys are pinned."""
        return self._pool.unknown_host_key

    def pin_host_keys(self, keys: tuple[HostKey, ...]) -> None:
        """From now on the host must show one of these keys."""
        self._pool.pinned = keys
        self._pool.unknown_host_key = None

    def open(self, deadline: Deadline) -> None:
        """Connects and starts a shell, unless one waits for work: the next command is then served at once.

        Raises Unavailable, TransportLost, Cancelled, UsageError.
        """
        if not self._pool.ready:
            self._pool.release(self._pool.shell(deadline), keep=True)

    # -- files

    def _to_files(self) -> Files:
        """Made with the first file: most connections carry none."""
        from harness.transport.ssh.files import Files

        with self._count_lock:
            if self._files is None:
                become = self.spec.become is not None
                self._files = Files(
                    self._pool,
                    self._run,
                    name=self.spec.name,
                    become=become,
                    events=self._events,
                    most=self.spec.answer_limit,
                )
            return self._files

    # -- commands

    def _on_shell(self, command: str, deadline: Deadline) -> Answer:
        lease = self._pool.shell(deadline)
        nonce = fresh_nonce()
        reader = AnswerReader(nonce, limit=self.spec.answer_limit)
        word = first_word(command)
        rested = time.monotonic() - lease.used > _RESTED
        text = request(command, nonce, external=self._externals.get(word), rested=rested, shell=self.spec.shell)
        try:
            answer = lease.io.exchange(reader, deadline=deadline, stdin=text)
        except BaseException as error:
            raise self._failure(error, lease, reader, command) from None
        late = sum(map(len, answer.rest))
        self._pool.note_late(late)
        if word:
            self._externals[word] = bool(answer.flags & EXTERNAL)
        lease.used = time.monotonic()
        self._pool.release(lease, keep=lease.tells and not answer.flags & LEFTOVERS and not late)
        return answer

    def _on_its_own(self, command: str, stdin: bytes, deadline: Deadline) -> Answer:
        lease = self._pool.alone(one_shot_program(command, shell=self.spec.shell), deadline)
        nonce = fresh_nonce()
        reader = AnswerReader(nonce, limit=self.spec.answer_limit)
        try:
            greeting = lease.io.exchange(AnswerReader(nonce), deadline=deadline, stdin=one_shot_request(command, nonce))
            lease.pid = greeting.number
            reader.feed(*greeting.rest)
            if not stdin:
                lease.io.end_of_input(deadline)
            answer = reader.answer or lease.io.exchange(reader, deadline=deadline, stdin=stdin, eof=True)
        except BaseException as error:
            raise self._failure(error, lease, reader, command) from None
        self._pool.release(lease, keep=False)
        return answer

    def _failure(self, error: BaseException, lease: Lease, reader: AnswerReader, command: str) -> BaseException:
        """After a failed exchange: ends the command on the target, closes its channel, and says what
        went wrong.
        """
        import paramiko

        connection = lease.connection
        text = _shorten(command)
        try:
            if isinstance(error, AnswerTooLongError):
                seen = reader.give_up()
                lease.io.close()  # so that what prints without end is refused its next byte
                self._pool.end_remote(lease, Deadline.after(END_GRACE))
                return too_long(self.spec.name, text, self.spec.answer_limit, self.name, seen)
            stdout, stderr = reader.partial
            if isinstance(error, DeadlineExpired):
                return self._timed_out(lease, text, stdout, stderr)
            if isinstance(error, Cancelled):
                self._pool.end_remote(lease, Deadline.after(END_GRACE / 4))
                return error
            if not isinstance(
                error,
                PeerSilentError | ChannelClosedError | paramiko.SSHException | EOFError | OSError | ValueError,
            ):
                return error
            if isinstance(error, PeerSilentError):
                why = f"({error}) while this ran: {text}"
                self._pool.drop(connection, str(error))
            elif not connection.alive:
                why = f"while this ran: {text}"
                self._pool.drop(connection, f"while a command ran: {connection.cause_of_death() or error}")
                if connection.shortage:
                    return InfrastructureError(connection.shortage)
            else:
                why = f"in part: the shell of this command went away: {text}"
            return connection.lost(why, may_have_run=True, seen=stdout or stderr)
        finally:
            self._pool.release(lease, keep=False)

    def _timed_out(self, lease: Lease, text: str, stdout: bytes, stderr: bytes) -> TransportError:
        connection = lease.connection
        left = self._pool.end_remote(lease, Deadline.after(END_GRACE))
        if left is None and not connection.probe(Deadline.after(END_GRACE / 4)):
            silence = connection.silence()
            self._pool.drop(connection, "no sign of life at a command's deadline")
            return connection.lost(
                f"(no sign of life for {silence:.1f} s, at the deadline of this: {text})",
                may_have_run=True,
                seen=stdout or stderr,
            )
        with self._count_lock:
            self._timeouts += 1
        ending = {
            0: "It was ended on the target, with its children.",
            None: "Whether it was ended on the target is not known.",
        }.get(left, f"{left} of its processes could not be ended (another user's?).")
        return Timeout(
            f"{self.spec.name}: this did not end before its deadline: {text}\n  {ending}",
            transport=self.name,
            stdout=stdout,
            stderr=stderr,
            seen=(stdout or stderr)[-2048:],
            hint=f"{len(stdout)} bytes of stdout and {len(stderr)} of stderr came until then.",
        )


def _shorten(command: str) -> str:
    line = command.strip().replace("\n", "; ")
    return line if len(line) <= 80 else line[:77] + "..."
