"""One command over a loaded session: type it, watch over it, read back what was damaged, end it at its deadline."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from harness.deadline import Deadline
from harness.errors import Cancelled, DeadlineExpired
from harness.transport.contract import Damage
from harness.transport.errors import Cause, Damaged, Timeout, TransportError, TransportLost
from harness.transport.limits import too_long
from harness.transport.serial.dialogue import Dialogue, Failure, Send, Wait
from harness.transport.serial.frames import Answer, AnswerTooLongError, Exchange
from harness.transport.serial.reader import woken_by
from harness.transport.serial.requests import Nonce, fits_one_line
from harness.transport.serial.session import Session
from harness.transport.serial.transfer import send_command

_RESERVE = 1.0  # of the deadline, at most, for ending the command and reading what it wrote
_FIRST_POLL = 0.3  # seconds


# Why the guest has no answer that could be believed, and what to do.
_NO_ANSWER = {
    Failure.FULL: (
        "the guest has no room left to keep the command's output",
        "free some space below {folder}, or let the command write less",
    ),
    Failure.LOST: (
        "what carries the command's output on the guest was ended, and part of the output is lost",
        "a `cat` of ours was killed there; was the guest out of memory, or out of room for a while?",
    ),
    Failure.ENCODE: (
        "the guest's shell has no means to hand over output that is not plain text",
        "it has neither base64 nor od, nor a `read -d`; let the command write ASCII text",
    ),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A command's verified answer, with what it took to get it."""

    answer: Answer
    damage: Damage


class Command:
    """One attempt of one command."""

    def __init__(self, session: Session, text: str, mode: str, deadline: Deadline) -> None:
        """`mode` is how it is run, as guest.sh has it; how it travels is added here."""
        self._session = session
        self._text = text
        self._mode = mode
        self._deadline = deadline
        self._clock = deadline.clock
        quality, now = session.quality, deadline.clock.monotonic()
        self._laid_down = False
        self._delivered = False  # a whole request was typed
        self._earlier = Damage()
        self._bulk_began: tuple[float, int] | None = None
        self._dialogue = Dialogue(
            self._arguments,
            self._begin,
            now=now,
            reserve=min(_RESERVE, deadline.remaining() * 0.1),
            deadline=deadline.end,
            patience=quality.patience,
            first_poll=_FIRST_POLL if quality.is_clean else max(0.1, quality.patience),
            script=quality.script,
            delay=session.delay(len(text)),
        )

    def run(self) -> Outcome:
        """Raises Timeout (the command was ended), TransportLost and its kinds, Cancelled."""
        dialogue = self._dialogue
        try:
            self._lay_down()
            return self._converse()
        except AnswerTooLongError:
            self._abandon()
            raise too_long(
                "the console", self._text[:200], self._session.answer_limit, "serial", self._session.since(0)
            ) from None
        except Cancelled:
            self._abandon()
            raise
        except DeadlineExpired as error:
            if not (self._delivered and dialogue.may_have_run):
                raise
            raise TransportLost(
                f"the console took nothing more that was typed while a command ran: {error.message}",
                cause=Cause.LOST,
                transport="serial",
                seen=self._session.since(0)[-2048:],
                may_have_run=True,
                hint="the machine hangs, is stopped, or its console does",
            ) from error
        except TransportLost as error:
            error.may_have_run = error.may_have_run or dialogue.may_have_run
            raise
        finally:
            self._session.quality.patience = dialogue.patience

    def _converse(self) -> Outcome:
        with woken_by(self._deadline, self._session.condition):
            return self._take_steps()

    def _take_steps(self) -> Outcome:
        session, dialogue = self._session, self._dialogue
        while True:
            with session.condition:
                session.check(self._deadline)
                now = self._clock.monotonic()
                dialogue.move_deadline(self._deadline.end)  # time that is not counted has made it later
                step = dialogue.step(now, session.heard, sign=session.sign is not None)
                if self._bulk_began is None and dialogue.exchange is not None and dialogue.exchange.taken:
                    self._bulk_began = (now, session.total)
                if session.sign is not None and dialogue.verified_at == now:
                    session.sign = None  # the shell is alive: it was only text
                if isinstance(step, Wait):
                    session.condition.wait(max(0.0, step.until - now))
                    continue
            if isinstance(step, Answer):
                return self._finish(step)
            if isinstance(step, Failure):
                raise self._failed(step)
            self._send(step)

    # -- typing ------------------------------------------------------------------------------------------------

    def _arguments(self, tries: int) -> tuple[str, ...]:
        quality = self._session.quality
        if tries > 1:
            quality.note(whole=1, damaged=1)
            if tries % 2:
                # Twice in a row is more than a byte that was hit by chance.
                self._session.slow_down()
            self._earlier += replace(self._session.damage(), resyncs=1)
        if quality.is_clean and not self._laid_down:
            return self._mode, self._text
        width = "" if quality.is_clean else f"k{quality.width}"
        laid_down = self._laid_down or not fits_one_line(self._text, quality.one_line)
        return f"{self._mode}{'a' if laid_down else ''}{width}", "-" if laid_down else self._text

    def _begin(self, nonce: Nonce, checked: bool) -> Exchange:
        self._session.sign = None
        return self._session.begin(nonce, checked=checked or not self._session.quality.is_clean)

    def _lay_down(self) -> None:
        """Carry a command over in pieces, where it fits no line."""
        if not self._laid_down and not fits_one_line(self._text, self._session.quality.one_line):
            send_command(self._session, self._text, self._deadline)
            self._laid_down = True

    def _send(self, step: Send) -> None:
        exchange = self._dialogue.exchange
        assert exchange is not None
        if step.verb == "R" and step.arguments[1] != self._text and not self._laid_down:
            # The line has become worse since the command was typed first.
            self._lay_down()
            self._session.resume(exchange)
        self._session.send(step.verb, exchange.nonce, *step.arguments, deadline=self._deadline)
        self._delivered = True

    # -- ending ------------------------------------------------------------------------------------------------

    def _finish(self, answer: Answer) -> Outcome:
        session, dialogue = self._session, self._dialogue
        taken = 0 if dialogue.exchange is None else dialogue.exchange.taken
        session.quality.note(whole=taken + 2, damaged=dialogue.damaged)
        damage = session.damage(dialogue.re_reads)
        if dialogue.tries > 1:
            damage += self._earlier
        else:
            session.speed_up()
        if self._bulk_began is not None:
            began, heard = self._bulk_began
            session.measured(session.total - heard, self._clock.monotonic() - began, answer.stdout or answer.stderr)
        if answer.ended and dialogue.killed:
            raise self._timeout(answer)
        return Outcome(answer, damage)

    def _abandon(self) -> None:
        """The command is ended without waiting for it to end."""
        nonce = self._session.exchange.nonce
        self._session.give_up()
        with contextlib.suppress(TransportLost, DeadlineExpired):
            self._session.send("K", nonce, "KILL", deadline=Deadline.after(0.5))

    def _failed(self, failure: Failure) -> TransportError:
        session, dialogue = self._session, self._dialogue
        session.quality.note(whole=1, damaged=dialogue.damaged)
        seen = session.since(0)[-2048:]
        if failure in _NO_ANSWER:
            what, hint = _NO_ANSWER[failure]
            folder = session.guest.folder if session.guest else "its folder"
            return Damaged(
                what, cause=Cause.DAMAGED, transport="serial", may_have_run=True, hint=hint.format(folder=folder)
            )
        if failure is Failure.NOT_RUN:
            return TransportLost(
                f"the command did not reach the guest whole (typed {dialogue.tries} times); it was not run",
                cause=Cause.DAMAGED,
                transport="serial",
                seen=seen,
                hint="somebody else types on this console, or the line loses what is typed (baud rate, flow control)",
            )
        if failure is Failure.DEAD:
            return self._dead()
        if failure is Failure.FORGOTTEN:
            return TransportLost(
                "the console's shell knows nothing of the command that it ran",
                cause=Cause.NO_SHELL,
                transport="serial",
                seen=seen,
                may_have_run=True,
                hint="somebody else types on this console",
            )
        if failure is Failure.STUCK:
            return Damaged(
                f"the answer was damaged again and again, {dialogue.re_reads} re-reads did not mend it",
                cause=Cause.DAMAGED,
                transport="serial",
                seen=seen,
                may_have_run=True,
                hint="what prints on this console all the time? `dmesg -n 1` quiets the kernel",
            )
        # At the deadline. A killed command that was not seen to end may need a harder signal.
        ended = dialogue.exchange is not None and dialogue.exchange.has_ended
        if ended:
            pass
        elif dialogue.killed < 2:
            self._abandon()
        else:
            session.give_up()
        if failure is Failure.UNREADABLE:
            return Damaged(
                f"no answer to `{self._shown()}` arrived whole before the deadline; whether it ran is not known",
                cause=Cause.DAMAGED,
                transport="serial",
                seen=seen,
                may_have_run=True,
                hint="the line loses or changes what is typed or answered (baud rate, flow control)",
            )
        if failure is Failure.LATE:
            return Damaged(
                f"`{self._shown()}` reached the guest whole only after {dialogue.tries} tries, too late before the "
                "deadline to end by itself; " + _was_ended(ended),
                cause=Cause.DAMAGED,
                transport="serial",
                seen=seen,
                may_have_run=True,
                hint="the line loses or changes what is typed (baud rate, flow control)",
            )
        return self._timeout(None)

    def _dead(self) -> TransportLost:
        session = self._session
        sign = session.sign
        seen = session.since(0)[-2048:]
        if sign is None:
            silent = self._clock.monotonic() - self._dialogue.answered_at
            return TransportLost(
                f"the console's shell has not answered for {silent:.0f} s while a command ran",
                cause=Cause.LOST,
                transport="serial",
                seen=seen,
                may_have_run=True,
                hint="the machine hangs, is stopped, or its console does",
            )
        what = {
            Cause.PANIC: "the kernel panicked",
            Cause.REBOOT: "the machine rebooted",
            Cause.NO_SHELL: "the shell is gone, something else took its place",
        }[sign.cause]
        return TransportLost(
            f"{what} while a command ran; the console said {sign.text!r}",
            cause=sign.cause,
            transport="serial",
            seen=seen,
            may_have_run=True,
        )

    def _shown(self) -> str:
        return self._text if len(self._text) < 200 else self._text[:197] + "..."

    def _timeout(self, answer: Answer | None) -> Timeout:
        state = "had not ended at its deadline"
        if self._dialogue.is_written:
            state = "has ended, but at its deadline something that it started still wrote to its output"
        return Timeout(
            f"`{self._shown()}` {state}; " + _was_ended(answer is not None),
            transport="serial",
            stdout=answer.stdout if answer else b"",
            stderr=answer.stderr if answer else b"",
            seen=self._session.since(0)[-2048:],
            hint="give it more time, or look at what it waits for",
        )


def _was_ended(seen: bool) -> str:
    return "it was ended on the target" if seen else "whether it was ended on the target is not known"
