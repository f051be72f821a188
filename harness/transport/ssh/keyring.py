"""The private keys of this process: each file is opened once, and a passphrase is asked for once.

The question stands apart from who needs the answer: an attempt waits for it until its own deadline, the question stays,
and the next attempt finds the key open. A passphrase is not kept, and stands in no event, log or error.
"""

from __future__ import annotations

import contextlib
import copy
import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.deadline import Deadline
from harness.events.emitter import Emitter
from harness.transport.ssh.tty import Tty

if TYPE_CHECKING:
    import paramiko

_TRIES = 3
"""As ssh has it (ssh_config(5), NumberOfPasswordPrompts)."""


class LockedKeyError(Exception):
    """Inside this room: the file's key is under a passphrase that nobody has given yet."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is under a passphrase")
        self.path = path


class WrongPassphraseError(Exception):
    """Inside this room: the passphrase does not open the key."""


class UnusableKeyError(Exception):
    """Inside this room: the file holds no key that can be used; the text says why."""


def open_key(path: Path, passphrase: str | None) -> paramiko.PKey:
    """A key file's key. Raises LockedKeyError, WrongPassphraseError, UnusableKeyError."""
    import paramiko

    secret = None if passphrase is None else passphrase.encode("utf-8", "surrogateescape")
    try:
        # Its types say str; what it is built on takes bytes only.
        return paramiko.PKey.from_path(path, secret)  # type: ignore[arg-type]
    except OSError as error:
        raise UnusableKeyError(f"cannot be read: {error.strerror or error}") from None
    except (paramiko.SSHException, ValueError, TypeError, paramiko.pkey.UnknownKeyType) as error:
        if secret is not None:
            raise WrongPassphraseError from None
        # A TypeError is how the library says that it needs a passphrase; an empty one is none to it.
        if isinstance(error, paramiko.PasswordRequiredException | TypeError) or "password" in str(error).lower():
            raise LockedKeyError(path) from None
        raise UnusableKeyError(f"cannot be used: {error}") from None


@dataclass(slots=True)
class _Question:
    """A passphrase that is being asked for. `stop` (eventfd(2)) ends it; `waiting` is how many wait for it now."""

    stop: int
    waiting: int = 0


class Keyring:
    """Opens keys, and asks the person at the terminal for what it takes. For any number of threads. To be closed.

    `terminal` gives the terminal to ask at, None where there is none; without it nobody is ever asked.
    """

    def __init__(self, terminal: Callable[[], Tty | None] | None = None) -> None:
        self._terminal = terminal
        self._changed = threading.Condition()
        self._keys: dict[tuple[Path, int, int], paramiko.PKey] = {}
        self._questions: dict[Path, _Question] = {}
        self._refusals: dict[Path, str] = {}
        self._turn = threading.Lock()
        self._threads: list[threading.Thread] = []

    def key(self, path: Path, passphrase: str | None) -> paramiko.PKey:
        """The key of a file, opened now or before. Raises LockedKeyError, WrongPassphraseError, UnusableKeyError."""
        place = _place(path)
        with self._changed:
            found = self._keys.get(place)
        if found is None:
            try:
                found = open_key(path, None)
            except LockedKeyError:
                if passphrase is None:
                    raise
                found = open_key(path, passphrase)
            with self._changed:
                self._keys[place] = found
        # A certificate is loaded into a key; it is one connection's matter.
        return copy.copy(found)

    def refusal(self, path: Path) -> str:
        """Why the person was not, or is not to be, asked for this passphrase; empty when they may be."""
        with self._changed:
            return self._refusals.get(path, "") if self._terminal else "nobody can be asked for it"

    def ask(self, path: Path, *, events: Emitter, deadline: Deadline) -> None:
        """Asks for the passphrase of a locked key, or waits for who asks already; then the key is open, or there is a
        refusal. Raises DeadlineExpired (the question stays), Cancelled (it is withdrawn, if nobody else waits for it).
        """
        with self._changed:
            if self._refusals.get(path):
                return
            question = self._questions.get(path)
            if question is None:
                question = self._questions[path] = _Question(os.eventfd(0, os.EFD_CLOEXEC))
                asking = threading.Thread(target=self._ask, args=(path, question, events), daemon=True)
                self._threads.append(asking)
                asking.start()
            question.waiting += 1
        forget = deadline.cancellation.on_cancel(self._wake)
        try:
            with self._changed:
                while self._questions.get(path) is question:
                    deadline.check("a passphrase was waited for")
                    self._changed.wait(deadline.remaining())
        finally:
            forget()
            with self._changed:
                question.waiting -= 1
                if deadline.cancellation.cancelled and not question.waiting:
                    self._withdraw(path, question)

    def close(self) -> None:
        """Withdraws all questions. The terminal is as it was before."""
        with self._changed:
            for path, question in self._questions.items():
                self._withdraw(path, question)
        for thread in self._threads:
            thread.join()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _withdraw(self, path: Path, question: _Question) -> None:
        if self._questions.get(path) is question:
            os.eventfd_write(question.stop, 1)

    def _ask(self, path: Path, question: _Question, events: Emitter) -> None:
        """One question, in a thread of its own; they take turns at the terminal."""
        try:
            with self._turn:
                refusal = self._dialogue(path, question.stop, events)
            with self._changed:
                self._refusals[path] = refusal
        finally:
            with self._changed:
                del self._questions[path]
                os.close(question.stop)
                self._changed.notify_all()

    def _dialogue(self, path: Path, stop: int, events: Emitter) -> str:
        """Opens the key. Why it could not; empty also when the question was withdrawn."""
        tty = self._terminal() if self._terminal else None
        if tty is None:
            return "there is no terminal to ask for it at"
        with contextlib.closing(tty):
            told = f"the passphrase of {path} is asked for at the terminal"
            events.emit("ssh.passphrase_wanted", told, level="warning")
            try:
                for _ in range(_TRIES):
                    text = tty.ask(f"Passphrase for {path}: ", stop)
                    if text is None:
                        return "" if _is_set(stop) else "none was given at the terminal"
                    try:
                        self.key(path, text)
                    except WrongPassphraseError:
                        tty.tell("It does not open the key.")
                    else:
                        return ""
                return f"the {_TRIES} that were given at the terminal do not open it"
            except UnusableKeyError as error:
                return f"it {error}"
            finally:
                events.emit("ssh.passphrase_done", f"the passphrase of {path} is no longer asked for")


def _place(path: Path) -> tuple[Path, int, int]:
    """A file as it is now. Raises UnusableKeyError."""
    try:
        seen = path.stat()
    except OSError as error:
        raise UnusableKeyError(f"cannot be read: {error.strerror or error}") from None
    return path, seen.st_mtime_ns, seen.st_ino


def _is_set(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])
