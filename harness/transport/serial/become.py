"""Becoming root on a console whose login is not."""

from __future__ import annotations

import re
from enum import Enum

from harness.deadline import Deadline
from harness.transport.errors import Cause, Unavailable
from harness.transport.serial.console import Console, strip_ansi
from harness.transport.serial.echo import echo_is_off
from harness.transport.serial.prompts import Prompt, classify
from harness.transport.serial.reader import Reader
from harness.transport.serial.requests import Nonce
from harness.transport.serial.spec import Become

_QUIET = 0.2
_LONG_QUIET = 0.5
_SLOW = 10.0  # seconds that a slow machine may take from the password to root's first prompt
_COLON = re.compile(rb"[^\s:]: *\Z")


class RootShell:
    """A root shell started by sudo or su in the shell that stands on the console, and ended again."""

    def __init__(self, console: Console, reader: Reader, become: Become) -> None:
        """`reader` hears the console without others' lines."""
        self._console = console
        self._reader = reader
        self._become = become
        self._prompt = Nonce.fresh()
        self._ended = Nonce.fresh()
        self._place = 0

    def start(self, deadline: Deadline) -> None:
        """Returns when the root shell answers.

        Raises Unavailable(cause=BECOME) that says what sudo or su answered; Eof; Cancelled; DeadlineExpired.
        """
        method = self._become.method
        # `-p` gives a prompt that nothing else prints. The shell around it tells us when sudo or su has ended.
        call = f"sudo -k; sudo -p {_apart(self._prompt)} sh" if method == "sudo" else "su root"
        line = f" {call}; echo {_apart(self._ended)}"
        self._type(f"{line}\n", deadline)
        heard = self._listen(line, deadline, patient=True)
        if heard is _Heard.ASKED:
            self._give_password(deadline)
        if heard is _Heard.ENDED:
            raise self._error(f"{method} gave no root shell{self._said()}")
        while not self._answers(deadline):
            deadline.check(f"becoming root by {method}")
            seen = self._seen()
            if self._ended.whole.encode() in seen:
                raise self._error(f"{method} gave no root shell{self._said()}")
            if method == "sudo" and self._prompt.whole.encode() in seen:
                # It had asked before, torn by what others print, and has taken our question for an answer.
                self._give_password(deadline)

    def leave(self, reader: Reader, deadline: Deadline) -> bool:
        """Ends it; whether the shell around it says so. `reader` hears the console from now on."""
        place = reader.total
        self._console.write(b"exit\n", deadline=deadline)
        return reader.wait_until(self._ended.whole.encode(), place, deadline, at_most=self._console.timing.window(3.0))

    # -- steps -------------------------------------------------------------------------------------------------

    def _give_password(self, deadline: Deadline) -> None:
        """To a prompt that stands there. Raises Unavailable(cause=BECOME) where it is refused, or none is given."""
        method, password = self._become.method, self._become.password
        if password is None:
            self._interrupt(deadline)
            raise self._error(f"{method} asks for a password and none is given")
        self._type(f"{password}\n", deadline, secret=True)
        heard = self._listen("", deadline, patient=False)
        if heard is _Heard.ASKED:
            self._interrupt(deadline)
        if heard in (_Heard.ASKED, _Heard.ENDED):
            raise self._error(f"{method} refused the password{self._said()}")

    def _listen(self, typed: str, deadline: Deadline, *, patient: bool) -> _Heard:
        """Waits until it asks, has ended, or says something and then nothing. What was `typed` may come back first.

        `patient`: it may yet ask, so that nothing may be typed before it has said something.
        """
        end = deadline if patient else deadline.clamp(_SLOW)
        quiet = _QUIET
        while not end.expired:
            calm = self._reader.settle(self._place, deadline, quiet=quiet, at_most=min(0.6, end.remaining()))
            seen = self._seen()
            if self._ended.whole.encode() in seen:
                return _Heard.ENDED
            if self._asks(seen, calm, deadline):
                return _Heard.ASKED
            if calm and _words(seen, typed.encode()):
                if quiet > _QUIET:
                    return _Heard.WORDS
                quiet = _LONG_QUIET
            elif calm:
                deadline.sleep(0.05)
            elif patient:
                # Somebody writes all the while: words are not told from his.
                end = end.clamp(_SLOW)
        deadline.check(f"waiting for {self._become.method} to say something")
        return _Heard.NOTHING

    def _asks(self, seen: bytes, calm: bool, deadline: Deadline) -> bool:
        if self._become.method == "sudo":
            return self._prompt.whole.encode() in seen
        if classify(seen, amid=not calm) is Prompt.PASSWORD and calm:
            return True
        # In another language, or amid somebody's writing: then it must not echo either.
        likely = _COLON.search(seen) if calm else classify(seen, amid=True) is Prompt.PASSWORD
        return bool(likely) and echo_is_off(self._console, self._reader, deadline)

    def _answers(self, deadline: Deadline) -> bool:
        probe = Nonce.fresh()
        before = self._reader.total
        self._console.write(f" echo {_apart(probe)}\n".encode(), deadline=deadline)
        return self._reader.wait_until(
            probe.whole.encode(), before, deadline, at_most=self._console.timing.window(2.0, heard=40)
        )

    def _interrupt(self, deadline: Deadline) -> None:
        place = self._reader.total
        self._console.write(b"\x03", deadline=deadline)
        self._reader.settle(place, deadline, quiet=0.5, at_most=self._console.timing.window(3.0))

    def _type(self, text: str, deadline: Deadline, *, secret: bool = False) -> None:
        self._place = self._reader.total
        self._console.write(text.encode(), deadline=deadline, secret=secret)

    def _seen(self) -> bytes:
        return strip_ansi(self._reader.since(self._place).replace(b"\r", b""))

    def _said(self) -> str:
        """What sudo or su itself said, for the message."""
        own = (self._ended.first.encode(), self._prompt.whole.encode())
        said = self._seen().partition(self._ended.whole.encode())[0]
        lines = [line.strip() for line in said.split(b"\n") if not any(word in line for word in own)]
        told = [line.decode("utf-8", "backslashreplace") for line in lines if line]
        return f": {' / '.join(told[-2:])}" if told else ""

    def _error(self, why: str) -> Unavailable:
        return Unavailable(
            f"{why} (console {self._console.name})",
            cause=Cause.BECOME,
            transport="serial",
            seen=self._reader.since(self._place)[-2048:],
            hint="check ansible_become_method and ansible_become_password in the inventory, and that the user may",
        )


class _Heard(Enum):
    """How sudo or su went on."""

    ASKED = "it asks for a password"
    ENDED = "it has ended"
    WORDS = "it said something else, a shell's prompt maybe"
    NOTHING = "nothing"


def _words(seen: bytes, typed: bytes) -> bytes:
    """What was said beyond the echo of `typed`, which may be missing, or not all here yet."""
    said = seen.strip()
    if not typed or not said:
        return said
    if typed.strip().startswith(said):
        return b""
    _, echoed, after = seen.partition(typed.strip())
    return after.strip() if echoed else said


def _apart(nonce: Nonce) -> str:
    """Typed so that the echo is not the whole."""
    return f'{nonce.first}""{nonce.second}'
