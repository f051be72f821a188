"""Files over a console, in parts that are verified one by one: after a lost console the next part goes on from there.

A file on its way to the guest lies beside its place, closed to others, under a name made of its own and of its content;
so a later attempt, in another run even, goes on from what is there and holds.
"""

from __future__ import annotations

import hashlib
import os
import shlex

from harness.deadline import Deadline
from harness.tolerant import count
from harness.transport.contract import Progress
from harness.transport.serial.command import Command
from harness.transport.serial.frames import checksum_holds
from harness.transport.serial.requests import Nonce
from harness.transport.serial.session import Session
from harness.transport.serial.transfer import send_input

PUT_CHUNK = 128 << 10  # bytes that a lost console costs at most: five seconds of what a guest takes
GET_CHUNK = 512 << 10
_SUMS = ("sha256sum", "md5sum", "cksum")
_TRIES = 3
_MISMATCH = 9
_CHANGED = "changed while it was read"


class Upload:
    """One file on its way to the guest. `go_on` may be called again with a new session, where the last was lost."""

    def __init__(self, data: bytes, path: str, mode: int, progress: Progress | None = None) -> None:
        """`mode`: the file's permissions in the end."""
        self.path = path
        self.done = 0
        """Bytes that the guest has, verified."""
        self._data = data
        self._mode = mode
        self._progress = progress

    @property
    def total(self) -> int:
        return len(self._data)

    def go_on(self, session: Session, deadline: Deadline) -> None:
        """Carries the rest, compares the whole, and gives it its name.

        Raises OSError with what the guest said; Damaged; TransportLost and the like, then `done` tells how far it came.
        """
        said = _Guest(session, deadline)
        _, error, status = said.run(f"if [ -d {_q(self.path)} ]; then echo 'is a directory' >&2; exit 1; fi")
        if status:
            raise _os_error(f"cannot write {self.path}", error, status)
        if len(self._data) > PUT_CHUNK and said.sum and said.has("cat", "rm"):
            part = part_name(self.path, self._data)
            for _ in range(_TRIES):
                if self._append(said, part) and said.sum_holds(f"<{_q(part)}", self._data):
                    break
                self.done = 0
            else:
                raise OSError(f"cannot write {self.path} on the guest: what is written to {part} does not stay there")
        else:
            part = f"{self.path}.{Nonce.fresh().whole}"
            self._send(said, self._data)
            said.must(f"umask 077; cat >{_q(part)} || {{ s=$?; rm -f {_q(part)}; exit $s; }}", self.path, input=True)
        name = _q(self.path)
        script = f"chmod {self._mode:o} {_q(part)} && mv -f {_q(part)} {name} && exit; s=$?; rm -f {_q(part)}; exit $s"
        said.must(script, self.path)
        self.done = len(self._data)

    def _append(self, said: _Guest, part: str) -> bool:
        """Adds what is missing to the part that the guest has; false where somebody else changed it meanwhile."""
        self.done = self._find(said, part)
        self._tell(self.done)
        while self.done < len(self._data):
            chunk = self._data[self.done : self.done + PUT_CHUNK]
            self._send(said, chunk)
            # A part that was appended, but whose answer was lost with the console, has another size by now.
            grown = f'umask 077; [ "$(wc -c <{_q(part)})" -eq {self.done} ] || exit {_MISMATCH}; cat >>{_q(part)}'
            _, error, status = said.run(grown, input=True)
            if status == _MISMATCH:
                return False
            if status:
                raise _os_error(f"cannot write {self.path}", error, status)
            self.done += len(chunk)
        return True

    def _find(self, said: _Guest, part: str) -> int:
        """How many bytes of the part that lies there are right; others are cut off. Makes an empty one otherwise."""
        name = _q(part)
        out, _, status = said.run(f"[ -f {name} ] && [ ! -h {name} ] && [ -O {name} ] && wc -c <{name}")
        size = count(out.split()[0]) if not status and out.split() else 0
        if 0 < size <= len(self._data) and said.sum_holds(f"<{name}", self._data[:size]):
            return size
        chunks = min(size, len(self._data)) // PUT_CHUNK
        if chunks:
            whole = self._data[: chunks * PUT_CHUNK]
            _, _, status = said.run(f"dd if=/dev/null of={name} bs={PUT_CHUNK} seek={chunks} 2>/dev/null")
            if not status and said.sum_holds(f"<{name}", whole):
                return len(whole)
        # It is made only where nothing stands, so that nobody's link is followed.
        said.must(f"rm -f {name}; umask 077; set -C; : >{name}", self.path)
        return 0

    def _send(self, said: _Guest, data: bytes) -> None:
        start = self.done
        send_input(said.session, data, said.deadline, lambda done, total: self._tell(start + done))

    def _tell(self, done: int) -> None:
        if self._progress is not None and self._data:
            self._progress(done, len(self._data))


class Download:
    """One file on its way from the guest. `go_on` may be called again with a new session, where the last was lost."""

    def __init__(self, path: str, progress: Progress | None = None) -> None:
        self.path = path
        self.done = 0
        """Bytes that are here, verified."""
        self.total = 0
        self._progress = progress
        self._got: list[bytes] = []

    def go_on(self, session: Session, deadline: Deadline) -> bytes:
        """Reads the rest, and compares the whole with what the guest has.

        Raises FileNotFoundError, PermissionError, OSError (also where the file changes all the while); Damaged;
        TransportLost and the like, then `done` tells how far it came.
        """
        said = _Guest(session, deadline)
        for _ in range(_TRIES):
            size = count(next(iter(said.must(f"wc -c <{_q(self.path)}", self.path).split()), 0))
            if not self.done or size < self.total:
                self._got, self.done, self.total = [], 0, size
            data = self._read(said)
            if data is not None:
                self.done = len(data)
                self._tell(max(self.done, self.total))
                return data
            self._got, self.done = [], 0
        raise OSError(f"cannot read {self.path} on the guest: it {_CHANGED}, {_TRIES} times")

    def _read(self, said: _Guest) -> bytes | None:
        """The file's content; None where its parts are no whole."""
        name = _q(self.path)
        while self.total > GET_CHUNK and self.done < self.total:
            script = f"dd if={name} bs={GET_CHUNK} skip={self.done // GET_CHUNK} count=1 2>/dev/null"
            out, _, status = said.run(script)
            chunk = out[: self.total - self.done]
            if status or len(chunk) < min(GET_CHUNK, self.total - self.done):
                # There is no `dd`, or this is no plain file: one of /proc gives less at a time than is asked for.
                self._got, self.done = [], 0
                break
            self._got.append(chunk)
            self.done += len(chunk)
            self._tell(self.total)
        if not self._got:
            return said.must(f"cat <{name}", self.path)
        data = b"".join(self._got)
        if len(self._got) == 1 or not said.sum:
            return data
        # A file that only grows, as logs do, is still one.
        whole = said.sum_holds(f"<{name}", data) or said.sum_holds(f"head -c {len(data)} <{name}", data)
        return data if whole else None

    def _tell(self, total: int) -> None:
        if self._progress is not None:
            self._progress(self.done, total)


def part_name(path: str, data: bytes) -> str:
    """Where a file lies until it is whole: hidden, and of another name for any other content."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:60]}.{hashlib.sha256(data).hexdigest()[:12]}.part")


class _Guest:
    """What is asked of the guest on the way, over one session."""

    def __init__(self, session: Session, deadline: Deadline) -> None:
        self.session = session
        self.deadline = deadline
        guest = session.guest
        self._tools = guest.tools if guest is not None else frozenset()
        self._capture = guest.capture if guest is not None else "p"
        self.sum = next((tool for tool in _SUMS if tool in self._tools), "")

    def has(self, *tools: str) -> bool:
        return self._tools.issuperset(tools)

    def run(self, script: str, *, input: bool = False) -> tuple[bytes, bytes, int]:  # noqa: A002
        """stdout, stderr and exit status; with `input`, what was laid down before is its stdin."""
        # The input was laid down before; a long command's pieces travel apart from it.
        mode = self._capture + ("i" if input else "")
        answer = Command(self.session, script, mode, self.deadline).run().answer
        return answer.stdout, answer.stderr, answer.status

    def must(self, script: str, path: str, *, input: bool = False) -> bytes:  # noqa: A002
        """stdout. Raises OSError with what the guest said."""
        out, error, status = self.run(script, input=input)
        if status:
            raise _os_error(f"cannot {'write' if '>' in script else 'read'} {path}", error, status)
        return out

    def sum_holds(self, source: str, data: bytes) -> bool:
        """Whether the guest's sum over a file (``<NAME``) or over what a command prints is that of `data`."""
        script = f"{self.sum} {source}" if source.startswith("<") else f"{source} | {self.sum}"
        out, _, _ = self.run(script)
        said = out.split()
        return bool(said) and checksum_holds(said[0].decode("ascii", "replace"), data)


def _q(path: str) -> str:
    return shlex.quote(path)


def _os_error(what: str, stderr: bytes, status: int) -> OSError:
    said = stderr.decode("utf-8", "backslashreplace").strip()
    message = f"{what} on the guest: {said or f'exit status {status}'}"
    lowered = said.lower()
    if "no such file" in lowered or "nonexistent" in lowered:
        return FileNotFoundError(message)
    if "permission denied" in lowered:
        return PermissionError(message)
    if "is a directory" in lowered:
        return IsADirectoryError(message)
    return OSError(message)
