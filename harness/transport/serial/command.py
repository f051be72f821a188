"""One command over a loaded session: type it, watch over it, read back what was damaged, end it at its deadline."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from harness.deadline import Deadline
from harness.errors import Cancelled, DeadlineExpired
from harness.transport.contract import Damage
from harness.transport.errors import Cause, Damaged, Timeout, TransportLost
from harness.transport.limits import too_long
from harness.transport.serial.frames import Answer, AnswerTooLongError, Exchange, Missing
from harness.transport.serial.reader import woken_by
from harness.transport.serial.requests import Nonce
from harness.transport.serial.session import Session

_FIRST_POLL = 0.3
_LONGEST_POLL = 5.0
_DEAD_AFTER = 10.0  # seconds without a word while we ask again and again
_DEAD_AFTER_SIGN = 1.5  # the same, when the console has shown a panic, a boot or a login prompt
_SILENT_AT_DEADLINE = 2.0  # the same, at the deadline: whether to blame the command or the console
_RE_READS = 60
_RESERVE = 1.0  # of the deadline, at most, for ending the command and reading what it wrote


# Why the guest has no answer that could be believed, and what to do.
_NO_ANSWER = {
    "!full": (
        "the guest has no room left to keep the command's output",
        "free some space below {folder}, or let the command write less",
    ),
    "!lost": (
        "what carries the command's output on the guest was ended, and part of the output is lost",
        "a `cat` of ours was killed there; was the guest out of memory, or out of room for a while?",
    ),
    "!encode": (
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

    def __init__(self, session: Session, text: str, mode: str, deadline: Deadline, *, shown: str = "") -> None:
        self._session = session
        self._text = text
        self._shown = shown or text
        self._mode = mode
        self._deadline = deadline
        self._clock = deadline.clock
        self._reserve = min(_RESERVE, deadline.remaining() * 0.1)
        self._kill_at = deadline.at - self._reserve
        self._killed = 0
        self._re_reads = 0
        self._sent = 0
        self._refused = False
        self._delivered = False  # the whole request was typed
        self._polled_at = 0.0  # 0: no poll is unanswered
        self._answered_at = 0.0
        self._interval = _FIRST_POLL
        self._damage_seen = 0
        self._drains = 0
        self._lines = 0
        self._bulk_began: tuple[float, int] | None = None
        self._earlier = Damage()

    def run(self) -> Outcome:
        """Raises Timeout (the command was ended), TransportLost and its kinds, Cancelled."""
        try:
            exchange = self._type()
            while True:
                answer = self._wait_for_answer(exchange)
                if isinstance(answer, Answer):
                    return self._finish(exchange, answer)
                if answer is None:
                    exchange = self._type()
                else:
                    self._read_again(exchange, answer)
        except AnswerTooLongError:
            self._abandon()
            raise too_long(
                "the console", self._shown[:200], self._session.answer_limit, "serial", self._session.since(0)
            ) from None
        except Cancelled:
            self._abandon()
            raise
        except DeadlineExpired as error:
            if not self._delivered:
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
            error.may_have_run = error.may_have_run or (self._sent > 0 and not self._refused)
            raise

    # -- typing ------------------------------------------------------------------------------------------------

    def _type(self) -> Exchange:
        if self._sent >= 8:
            raise TransportLost(
                "the command did not reach the guest whole in 8 tries; it was not run",
                cause=Cause.DAMAGED,
                transport="serial",
                seen=self._session.since(0)[-2048:],
                hint="somebody else types on this console, or the line loses what is typed (baud rate, flow control)",
            )
        if self._sent:
            self._session.slow_down()
            self._earlier += replace(self._session.damage(), resyncs=1)
        self._sent += 1
        nonce = Nonce.fresh()
        exchange = self._session.begin(nonce)
        self._session.sign = None
        self._refused = self._delivered = False
        self._session.send("R", nonce, self._mode, self._text, deadline=self._deadline)
        self._delivered = True
        self._answered_at = self._clock.monotonic()
        self._polled_at = 0.0
        self._damage_seen = 0
        return exchange

    def _poll(self, exchange: Exchange) -> None:
        if self._polled_at == 0.0:
            self._polled_at = self._clock.monotonic()
        self._interval = min(self._interval * 2, _LONGEST_POLL)
        self._session.send("S", exchange.nonce, deadline=self._deadline)

    # -- waiting -----------------------------------------------------------------------------------------------

    def _wait_for_answer(self, exchange: Exchange) -> Answer | list[Missing] | None:
        """The answer, or what to read again, or None where the guest says that it has not run it."""
        session = self._session
        next_poll = self._clock.monotonic() + self._interval
        while True:
            poll = False
            with woken_by(self._deadline, session.condition), session.condition:
                session.check(self._deadline)
                lines = exchange.lines_seen()
                state = exchange.resolve()
                if state is not None:
                    self._lines = max(self._lines, lines)
                    return state
                messages = exchange.messages()
                now = self._clock.monotonic()
                if messages or lines > self._lines:
                    if self._bulk_began is None:
                        self._bulk_began = (now, session.total)
                    self._lines = lines
                    self._answered_at = now
                    self._polled_at = 0.0
                    next_poll = now + self._interval
                if not messages:
                    poll, rest = self._next_step(exchange, now, next_poll)
                    if not poll:
                        session.condition.wait(rest)
            for message in messages:
                if message in ("-", "!bad", "!verb"):
                    self._refused = True
                    return None
                self._take_state(exchange, message)
            if poll:
                self._poll(exchange)
                next_poll = self._clock.monotonic() + self._interval
            self._look_at_the_clock(exchange)

    def _next_step(self, exchange: Exchange, now: float, next_poll: float) -> tuple[bool, float]:
        """Whether to ask for the state now, else how long to wait for something to happen."""
        session = self._session
        if now >= next_poll:
            # What we cause to be written in the middle of a stream could hit our own lines.
            if now - session.heard >= 0.1 or now - self._answered_at >= 1.0:
                return True, 0.0
            next_poll = now + 0.05
        rest = max(0.0, min(next_poll, self._wake_at()) - now)
        if exchange.damaged > self._damage_seen:
            # A line of ours was hit. Not in the middle of a burst: what we cause to be written would hit our own lines.
            quiet = now - session.heard
            if quiet >= 0.03 or now - self._answered_at >= 0.4:
                self._damage_seen = exchange.damaged
                self._re_reads += 1
                return True, 0.0
            return False, min(rest, 0.03 - quiet)
        if session.sign is not None and self._polled_at == 0.0:
            return True, 0.0
        if self._polled_at:
            patience = _DEAD_AFTER_SIGN if session.sign else _DEAD_AFTER
            if now - self._polled_at >= patience and now - self._answered_at >= patience:
                raise self._dead(now)
            rest = min(rest, max(0.01, self._polled_at + patience - now))
        return False, rest

    def _wake_at(self) -> float:
        if not self._killed:
            return self._kill_at
        return min(self._deadline.at, self._kill_at + self._reserve * 0.4 * self._killed)

    def _take_state(self, exchange: Exchange, message: str) -> None:
        """Reads a state: ``*`` runs, ``*a`` answers, ``*s`` ended (a child holds its output), ``*x`` nobody runs."""
        if message in _NO_ANSWER:
            what, hint = _NO_ANSWER[message]
            folder = self._session.guest.folder if self._session.guest else "its folder"
            raise Damaged(
                what, cause=Cause.DAMAGED, transport="serial", may_have_run=True, hint=hint.format(folder=folder)
            )
        if message == "*s":
            self._drains += 1
            if self._drains == 1:
                self._interval = 0.1
        if message == "*x" or (message == "*s" and self._drains >= 2):
            self._drains = 0
            self._session.send("F", exchange.nonce, deadline=self._deadline)
        if message != "*s":
            self._drains = 0
        session = self._session
        if session.sign is not None:
            session.sign = None  # the shell is alive: it was only text

    def _dead(self, now: float) -> TransportLost:
        sign = self._session.sign
        seen = self._session.since(0)[-2048:]
        if sign is None:
            return TransportLost(
                f"the console's shell has not answered for {now - self._answered_at:.0f} s while a command ran",
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

    # -- reading again -----------------------------------------------------------------------------------------

    def _read_again(self, exchange: Exchange, missing: list[Missing]) -> None:
        """Asks for the lines that did not hold, in requests that are short enough to be typed."""
        for part in missing:
            for script in _scripts(part.indices):
                self._re_reads += 1
                if self._re_reads > _RE_READS + self._lines // 8:
                    raise Damaged(
                        f"the answer was damaged again and again, {self._re_reads} re-reads did not mend it",
                        cause=Cause.DAMAGED,
                        transport="serial",
                        seen=self._session.since(0)[-2048:],
                        may_have_run=True,
                        hint="what prints on this console all the time? `dmesg -n 1` quiets the kernel",
                    )
                done = f".{self._re_reads}"
                self._session.send(
                    "L", exchange.nonce, part.stream, str(self._re_reads), script, deadline=self._deadline
                )
                self._wait_for_end(exchange, done)

    def _wait_for_end(self, exchange: Exchange, done: str) -> None:
        """Waits until the guest says that it has read these lines out; a word that was lost is not waited for long."""
        session = self._session
        started = self._clock.monotonic()
        lines = exchange.lines_seen()
        while True:
            with woken_by(self._deadline, session.condition), session.condition:
                session.check(self._deadline)
                messages = exchange.messages()
                now = self._clock.monotonic()
                if exchange.lines_seen() != lines:
                    lines, started = exchange.lines_seen(), now
                if messages:
                    self._answered_at = now
                if done in messages or any(m.startswith("!") for m in messages):
                    return
                if now - max(started, session.heard if session.sign is None else 0) > 0.5 or now - started > 2.0:
                    if now - self._answered_at > _DEAD_AFTER or (session.sign and now - started > _DEAD_AFTER_SIGN):
                        raise self._dead(now)
                    return
                session.condition.wait(0.1)
            self._look_at_the_clock(exchange)

    def _finish(self, exchange: Exchange, answer: Answer) -> Outcome:
        damage = self._earlier + replace(self._session.damage(), re_reads=self._re_reads)
        if self._bulk_began is not None:
            began, heard = self._bulk_began
            seconds = self._clock.monotonic() - began
            self._session.measured(self._session.total - heard, seconds, answer.stdout or answer.stderr)
        if self._killed:
            raise self._timeout(answer)
        return Outcome(answer, damage)

    # -- ending ------------------------------------------------------------------------------------------------

    def _look_at_the_clock(self, exchange: Exchange) -> None:
        """Near the deadline the command is asked to end, then made to; past it there is no more waiting."""
        now = self._clock.monotonic()
        if now >= self._deadline.at:
            if self._killed < 2:  # it passed while this process did not run
                self._abandon()
            else:
                self._session.give_up()
            if self._polled_at and now - self._polled_at > _SILENT_AT_DEADLINE:
                raise self._dead(now)
            raise self._timeout(None)
        if now >= self._wake_at() and self._killed < 2:
            self._killed += 1
            signal = "TERM" if self._killed == 1 else "KILL"
            self._session.send("K", exchange.nonce, signal, deadline=self._deadline)
            self._interval = 0.1

    def _abandon(self) -> None:
        """The command is ended without waiting for it to end."""
        nonce = self._session.exchange.nonce
        self._session.give_up()
        with contextlib.suppress(TransportLost, DeadlineExpired):
            self._session.send("K", nonce, "KILL", deadline=Deadline.after(0.5))

    def _timeout(self, answer: Answer | None) -> Timeout:
        text = self._shown if len(self._shown) < 200 else self._shown[:197] + "..."
        return Timeout(
            f"`{text}` had not ended at its deadline; it was ended on the target"
            + ("" if answer else ", which has not confirmed it yet"),
            transport="serial",
            stdout=answer.stdout if answer else b"",
            stderr=answer.stderr if answer else b"",
            seen=self._session.since(0)[-2048:],
            hint="give it more time, or look at what it waits for",
        )


def _scripts(indices: tuple[int, ...], size: int = 500) -> list[str]:
    """The indices as programs for `sed -n`: ``3p;4p;9p``."""
    out: list[str] = []
    script = ""
    for index in indices:
        item = f"{index}p;"
        if len(script) + len(item) > size:
            out.append(script)
            script = ""
        script += item
    return [*out, script] if script else out
