"""Long commands, input and files, carried to the guest in acknowledged pieces and checked as a whole."""

from __future__ import annotations

import base64
import gzip
import shlex

from harness.deadline import Deadline
from harness.transport.contract import Progress
from harness.transport.errors import Cause, Damaged
from harness.transport.serial.command import Command
from harness.transport.serial.frames import checksum_holds
from harness.transport.serial.requests import Nonce, escape, pieces
from harness.transport.serial.session import Session

_WHOLE_TRIES = 3
_CHUNK = 1 << 20  # bytes of a file that are read at a time: what a lost console costs at most


def send_command(session: Session, command: str, deadline: Deadline) -> None:
    """Lays a command that fits no line into a variable of the guest's shell."""
    _send(session, "A", escape(command.encode("utf-8", "surrogateescape")), deadline, None, 0)


def send_input(session: Session, data: bytes, deadline: Deadline, progress: Progress | None = None) -> None:
    """Lays `data` into the guest's input file, packed as well as the guest can unpack it, and compares checksums.

    Raises Damaged when it does not arrive whole in three tries.
    """
    guest = session.guest
    tools = guest.tools if guest is not None else frozenset()
    how, text = "n", ""
    if len(data) > 256 and {"base64", "cat"} <= tools:
        packed = gzip.compress(data, 6) if "gzip" in tools else data
        how = "z" if "gzip" in tools and len(packed) < len(data) * 0.95 else "b"
        text = base64.b64encode(packed if how == "z" else data).decode()
    plain = escape(data)
    if not text or len(plain) <= len(text):
        how, text = "n", plain
    for _ in range(_WHOLE_TRIES):
        _send(session, "I", text, deadline, progress, len(data))
        said = session.ask("D", how, deadline=deadline, accept=lambda body: body.startswith("+"))[1:]
        # Without a checksum tool in the guest each piece was still checked by its length and digest.
        if not said or checksum_holds(said, data):
            return
    raise Damaged(
        f"{len(data)} bytes did not arrive whole on the guest in {_WHOLE_TRIES} tries",
        cause=Cause.DAMAGED,
        transport="serial",
        hint="is there room left for them, and does somebody else type on this console?",
    )


def _send(session: Session, verb: str, text: str, deadline: Deadline, progress: Progress | None, total: int) -> None:
    """Types the pieces, each at its offset: the guest takes a piece once, however often it is typed."""
    at = 0
    for piece in pieces(text) or [""]:
        wanted = f"+{at + len(piece)}"
        session.ask("I" if verb == "I" else "A", str(at), piece, deadline=deadline, accept=wanted.__eq__)
        at += len(piece)
        if progress is not None and text:
            progress(total * at // len(text), total)


def put_file(
    session: Session, data: bytes, path: str, mode: int, deadline: Deadline, progress: Progress | None
) -> None:
    """Writes the file beside its place, compares, and moves it there. Raises OSError with what the guest said."""
    send_input(session, data, deadline, progress)
    name = shlex.quote(path)
    part = shlex.quote(f"{path}.{Nonce.fresh().whole}")
    script = (
        f"umask 077; cat >{part} && chmod {mode:o} {part} && mv -f {part} {name} && exit; s=$?; rm -f {part}; exit $s"
    )
    _, err, status = _run(session, script, "pi", deadline)
    if status:
        raise _os_error(f"cannot write {path}", err, status)


def get_file(session: Session, path: str, deadline: Deadline, progress: Progress | None) -> bytes:
    """Reads the file, in chunks where the guest has `dd`. Raises FileNotFoundError, PermissionError, OSError."""
    name = shlex.quote(path)
    out, err, status = _run(session, f"wc -c <{name}", "p", deadline)
    if status:
        raise _os_error(f"cannot read {path}", err, status)
    total = int(out.split()[0])
    got: list[bytes] = []
    if total <= _CHUNK:
        out, err, status = _run(session, f"cat <{name}", "p", deadline)
        got.append(out)
    done = len(got[0]) if got else 0
    while not status and total > _CHUNK and done < total:
        script = f"dd if={name} bs={_CHUNK} skip={done // _CHUNK} count=1 2>/dev/null"
        out, err, status = _run(session, script, "p", deadline)
        if not out:
            break
        got.append(out)
        done += len(out)
        if progress is not None:
            progress(min(done, total), total)
        if len(out) < _CHUNK:
            break
    if status:
        raise _os_error(f"cannot read {path}", err, status)
    if progress is not None:
        progress(done, max(done, total))
    return b"".join(got)


def _run(session: Session, script: str, mode: str, deadline: Deadline) -> tuple[bytes, bytes, int]:
    shown = script
    if not (script.isascii() and script.isprintable() and len(script) < 600):
        # `i` input was laid down before; the command's pieces travel apart from it.
        send_command(session, script, deadline)
        mode, script = mode + "a", "-"
    answer = Command(session, script, mode, deadline, shown=shown).run().answer
    return answer.stdout, answer.stderr, answer.status


def _os_error(what: str, stderr: bytes, status: int) -> OSError:
    said = stderr.decode("utf-8", "backslashreplace").strip()
    message = f"{what} on the guest: {said or f'exit status {status}'}"
    lowered = said.lower()
    if "no such file" in lowered or "nonexistent" in lowered:
        return FileNotFoundError(message)
    if "permission denied" in lowered:
        return PermissionError(message)
    return OSError(message)
