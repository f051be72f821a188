"""One command's exchange with the guest, as a state machine: what was heard and the time in, what to type next out.

Pure: no I/O, no clock and no thread of its own, so that the tests run it against a model of the guest over a line that
damages anything. :class:`~harness.transport.serial.command.Command` connects it with a console.

What it keeps to:

- a command is typed again, with a new nonce, only after the guest has said of the old one that it was never run. That
  is the verified answer (``S-``) to a question that names the nonce and was typed after the command. Nothing else is a
  refusal: neither silence nor ``!``, which names no request;
- an answer is believed when its check holds, and what is damaged is read again;
- a command has timed out only where the guest has said that it was running when it was ended, or where the line has
  done no damage; and not where the line took more than half of its time until its request arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from harness.transport.serial.frames import Answer, Exchange, Missing
from harness.transport.serial.requests import Nonce, Verb

_FIRST_POLL = 0.3  # seconds after which the guest is asked how the command stands
_LONGEST_POLL = 5.0
_DEAD_AFTER = 10.0  # seconds without a sign of life while we ask again and again
_DEAD_AFTER_LONGEST = 60.0  # a machine may be suspended for a while: with half of the time left it is waited for
_DEAD_AFTER_SIGN = 1.5  # the same, when the console has shown a panic, a boot or a login prompt
_SILENT_AT_DEADLINE = 2.0  # the same, at the deadline: whether to blame the command or the console
_SHORTEST_PATIENCE = 0.05  # seconds that an answer to a question is waited for, at least
_LONGEST_PATIENCE = 2.0
_AFTER_DAMAGE = 1.2  # how much longer the rest of an answer is waited for, for each question about lines in vain
_TRIES = 40  # times that a command is typed
_STUCK = 60  # times that lines are asked for and none comes
_WIDTHS = (64, 32)  # of lines, where those before were too long to arrive
_MISSING_SHARE = 0.5  # of a stream's lines; where more are missing, shorter ones will do better
_HURT = 4  # questions in a row whose answer is damaged, after which shorter lines are asked for
_UNDECODABLE = 6  # times that all lines are there and do not hold as a whole
_SHORTEST_SCRIPT = 16  # characters of a list of lines
_HELD = 0.1  # seconds that something holds a command's output open, after which it is not waited for
_QUIET = 0.03  # seconds without a byte: what we cause to be written in the middle of a burst would hit our own lines


@dataclass(frozen=True, slots=True)
class Send:
    """Type this request, under the nonce of the present exchange."""

    verb: Verb
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to be done until more is heard, or until this time."""

    until: float


class Failure(StrEnum):
    """Why there is no answer."""

    NOT_RUN = "not run"  # it did not arrive whole, and the guest has confirmed that
    DEAD = "dead"  # nobody answers
    UNREADABLE = "unreadable"  # it may have run, but no whole answer came until the deadline
    STUCK = "stuck"  # lines that were read again and again came damaged
    TIMEOUT = "timeout"  # it was running at its deadline
    LATE = "late"  # the same, but its request arrived whole only in the second half of its time
    FULL = "!full"  # the guest has no room for the output
    LOST = "!lost"  # what carries the output on the guest was ended
    ENCODE = "!encode"  # the guest has no means to hand the output over
    FORGOTTEN = "forgotten"  # the guest had confirmed the command, and knows nothing of it now


_SAID = {str(failure): failure for failure in (Failure.FULL, Failure.LOST, Failure.ENCODE)}


class Dialogue:
    """One command. `step` is called again whenever something was heard, and at the time that it has named."""

    def __init__(
        self,
        command: Callable[[int], tuple[str, ...]],
        begin: Callable[[Nonce, bool], Exchange],
        *,
        now: float,
        reserve: float,
        deadline: float,
        patience: float = 0.0,
        first_poll: float = _FIRST_POLL,
        script: int = 500,
        delay: float = 0.0,
        new_nonce: Callable[[], Nonce] = Nonce.fresh,
    ) -> None:
        """`command` gives the arguments of the command's request, for the how manieth try (from 1) they are needed.

        `begin` starts an exchange (with whether each data line will have a check), `patience` is how long an answer is
        waited for (seconds, 0: not known), `first_poll` after how many seconds the guest is asked first, `script` the
        longest list of lines that is asked for at once, `delay` the seconds that the line itself takes for an answer.
        `now` and `deadline` are times of the clock that `step` is told; the command is ended `reserve` seconds before.
        """
        self._command = command
        self._begin = begin
        self._new_nonce = new_nonce
        self._began = self._typed_at = now
        self._kill_at = deadline - reserve
        self._reserve = reserve
        self._deadline = deadline
        self.patience = patience
        self._delay = delay
        self._dead_after = delay + min(_DEAD_AFTER_LONGEST, max(_DEAD_AFTER, (deadline - now) / 2))
        self._first_poll = max(first_poll, delay)
        self._script = self._longest_script = script
        self.exchange: Exchange | None = None
        self.tries = 0
        self.re_reads = 0
        self.killed = 0
        self.refused = False
        """The guest has confirmed that the latest try was not run."""
        self.earlier_damage = 0
        self._running = False  # the guest has said that it runs, or has run it
        self._ended = False  # it has said that it ended by itself
        self._ended_by_us = False
        self._kill_acknowledged = 0
        self._kill_sent_at = 0.0
        self._interval = first_poll
        self._next_poll = now
        self._asked_at = 0.0  # 0: no question is unanswered
        self._first_asked_at = 0.0
        self._asked_with: Verb = "R"
        self._unanswered = 0
        self.answered_at = now
        """When the guest gave the last sign of life, which may have been damaged."""
        self.verified_at = now
        self._lines = 0
        self._lines_at = now
        self._damage_seen = 0
        self._refusals_seen = 0
        self.is_written = False
        """Whether the command had ended when that was asked last, while what it left behind wrote to its output."""
        self._held_since: float | None = None  # when its output was first said to be held open
        self._given_up = False  # who holds it is not waited for any more
        self._reading = 0  # the number of the request to read lines that is not answered yet
        self._reading_at = now  # when that one was typed
        self._slow_reads = 0  # how much longer such an answer is waited for, because earlier ones were only slow
        self._stuck = 0
        self._hurt = 0
        self._hurt_at = 0.0
        self._widths = list(_WIDTHS)
        self._anew: tuple[Nonce, str] | None = None  # the nonce so far, and the width, of an answer that is said anew
        self._renamed: tuple[Nonce, Nonce, str] | None = None  # the latest such request, as long as it may still arrive

    def move_deadline(self, deadline: float) -> None:
        """Set another deadline; the command is ended as long before it as before the first one."""
        self._deadline = deadline
        self._kill_at = deadline - self._reserve

    # -- the one way in ----------------------------------------------------------------------------------------

    def step(self, now: float, heard: float, *, sign: bool = False) -> Send | Wait | Answer | Failure:
        """Return what to do. `heard`: when the last byte came; `sign`: the console looks as if the shell were gone."""
        if self.exchange is None or self.refused:
            if now >= self._kill_at:
                return self.at_deadline(now)
            if self.tries >= _TRIES:
                return Failure.NOT_RUN
            return self._type(now)
        exchange = self.exchange
        missing = exchange.resolve()
        if isinstance(missing, Answer):
            return Failure.LATE if missing.ended and self.killed and self._is_late() else missing
        failure = self._take_news(exchange, now)
        if failure is not None:
            return failure
        if self.refused:
            return self.step(now, heard, sign=sign)
        if now >= self._deadline:
            return self.at_deadline(now)
        kill = self._kill(now) if missing is None else None
        if kill is not None:
            return kill
        if self._is_dead(now, sign=sign):
            return Failure.DEAD
        if missing is not None:
            if self._stuck > _STUCK or exchange.undecodable > _UNDECODABLE:
                return Failure.STUCK
            return self._read_again(missing, exchange, now, heard)
        return self._poll(exchange, now, heard, sign=sign)

    @property
    def may_have_run(self) -> bool:
        """False only where nothing was typed, or the guest has confirmed that it was not run."""
        return self.tries > 0 and not self.refused

    def at_deadline(self, now: float) -> Failure:
        """Return why there is no answer when there is no more time to wait for one."""
        if not self.may_have_run:
            return Failure.NOT_RUN
        if self._asked_at and now - max(self._first_asked_at, self.answered_at) > _SILENT_AT_DEADLINE + self._delay:
            return Failure.DEAD
        if self._ended_by_us:
            return Failure.LATE if self._is_late() else Failure.TIMEOUT
        damaged = self.tries > 1 or self.damaged > 0
        unreadable = damaged or (self._ended and not self.is_written)
        return Failure.UNREADABLE if unreadable else Failure.TIMEOUT

    @property
    def damaged(self) -> int:
        """How often the line was seen to have damaged something of ours."""
        exchange = self.exchange
        return self.earlier_damage + (0 if exchange is None else exchange.damaged + exchange.refused)

    def _is_late(self) -> bool:
        """Whether the line lost the request until the command had less than half of its time left to run in."""
        return self.tries > 1 and self._typed_at - self._began > (self._kill_at - self._began) / 2

    # -- typing ------------------------------------------------------------------------------------------------

    def _type(self, now: float) -> Send:
        if self.exchange is not None:
            self.earlier_damage += self.exchange.damaged + self.exchange.refused
        self.tries += 1
        self._typed_at = now
        arguments = self._command(self.tries)
        self.exchange = self._begin(self._new_nonce(), False)
        self.refused = False
        self._damage_seen = self._refusals_seen = 0
        self._lines = self._unanswered = self._hurt = 0
        self._widths = list(_WIDTHS)
        self._anew = self._renamed = None
        self._asked_at = 0.0
        self.answered_at = self._lines_at = now
        self._interval = self._first_poll
        self._next_poll = now + (self._interval if self.tries == 1 else self._wait_for_answer())
        return Send("R", arguments)

    def _ask(self, verb: Verb, now: float, *arguments: str) -> Send:
        if self._asked_at:
            self._unanswered += 1
        else:
            self._first_asked_at = now
        self._asked_at = now
        self._asked_with = verb
        return Send(verb, arguments)

    def _wait_for_answer(self) -> float:
        """How long an answer to the present question is waited for: longer each time, in case it is only slow."""
        return min(_LONGEST_PATIENCE + self._delay, self._patience() * 1.5 ** min(self._unanswered, 12))

    def _patience(self) -> float:
        """How long an answer of this guest is waited for where nothing says that it is slow, in seconds."""
        return min(_LONGEST_PATIENCE + self._delay, max(_SHORTEST_PATIENCE, self.patience or _FIRST_POLL, self._delay))

    def _wait_for_lines(self) -> float:
        """How long the next of the lines that are read again is waited for."""
        longest = _LONGEST_PATIENCE + self._delay
        return min(longest, self._wait_for_answer() * 1.5**self._slow_reads)

    # -- hearing -----------------------------------------------------------------------------------------------

    def _take_news(self, exchange: Exchange, now: float) -> Failure | None:
        """Note what has come. A damaged line is a sign of life, but answers nothing."""
        lines, messages = exchange.taken, exchange.messages()
        if lines > self._lines:
            self._lines, self._lines_at = lines, now
            self._stuck = 0
            self._running = self._ended = True
        if exchange.damaged > self._damage_seen or exchange.refused > self._refusals_seen:
            self.answered_at = now
            self._unanswered = 0
            self._hurt_at = self._hurt_at or now
        else:
            self._hurt_at = 0.0
        if self._anew is not None and (exchange.has_ended or exchange.taken):
            self._anew = None
            self._running = True
        if messages or self._lines_at == now:
            self._hurt = 0
            self.verified_at = now
            if self._asked_at and self._unanswered == 0 and messages and self._asked_with in ("S", "K"):
                self._note_answer_time(now - self._asked_at)
            self.answered_at = now
            self._asked_at = 0.0
            self._unanswered = 0
            self._next_poll = now + self._interval
        for message in messages:
            failure = self._take_message(message, now)
            if failure is not None:
                return failure
        return None

    def _note_answer_time(self, took: float) -> None:
        self.patience = min(self.patience or took * 4, max(_SHORTEST_PATIENCE, took * 4))

    def _take_message(self, message: str, now: float) -> Failure | None:
        verb, rest = message[:1], message[1:]
        if message in _SAID:
            return _SAID[message]
        if message == "E0" and self._anew is not None:
            # The exchange goes on under the nonce that it had, unless the request arrives once more.
            self._running = True
            self._widths = []
            self.exchange = self._begin(self._anew[0], True)
            self._anew = None
        elif message in ("S-", "K-", "E-"):
            return self._take_refusal(message)
        elif verb == "K":
            self._running = True
            self._kill_acknowledged = self.killed
            if rest == "r":
                self._ended_by_us = True
            elif not self._ended_by_us:
                self._ended = True
            self._next_poll = 0.0
        elif verb == "L" and rest == str(self._reading):
            self._reading = 0
            self._note_answer_time(now - self._reading_at)
            self._slow_reads = max(0, self._slow_reads - 1)
            self._script = min(self._longest_script, self._script * 2)
        elif verb == "S":
            self._running = True
            self._anew = None
            self._take_state(rest)
        return None

    def _take_refusal(self, message: str) -> Failure | None:
        """Note that the guest runs, or ran, no command that has the nonce of the present exchange."""
        assert self.exchange is not None
        if self._anew is not None and message != "E-":
            return None  # the new nonce is known there once the request for it has arrived
        if self._renamed is not None and self.exchange.nonce == self._renamed[0]:
            # A request for a new nonce that was typed twice has arrived after all.
            nonce, new, width = self._renamed
            self._anew = (nonce, width)
            self.exchange = self._begin(new, True)
            self._renamed = None
            self._next_poll = 0.0
            return None
        if self._running:
            return Failure.FORGOTTEN
        self.refused = True
        return None

    def _take_state(self, state: str) -> None:
        """Read a state: ``*`` runs, ``*a`` answers, ``*s`` ended (a child holds its output), ``*d`` ended (its
        output is still carried), ``*x`` nobody runs."""
        self.is_written = state == "*d"
        self._ended = self._ended or state in ("*a", "*s", "*d")
        if state == "*x":
            self._given_up = True
        elif state != "*s":
            self._held_since = None
        elif self._held_since is None:
            self._held_since = self.answered_at
            self._interval = 0.1
            self._next_poll = 0.0
        elif self.answered_at - self._held_since >= _HELD:
            # Said at two moments: a question that was typed twice is answered twice at one.
            self._given_up = True

    # -- asking ------------------------------------------------------------------------------------------------

    def _poll(self, exchange: Exchange, now: float, heard: float, *, sign: bool) -> Send | Wait:
        if self._given_up:
            self._given_up, self._held_since = False, None
            return self._ask("F", now)
        quiet = now - heard
        due = self._next_poll
        if self._asked_at:
            due = self._asked_at + self._wait_for_answer()
        hurt = exchange.damaged > self._damage_seen or exchange.refused > self._refusals_seen
        if hurt:
            # After a quiet, or where there is none; and less often, the longer nothing comes whole.
            again = max(min(heard + _QUIET, self._hurt_at + 0.4), self._asked_at + _QUIET * 1.5 ** min(self._hurt, 9))
            if now >= again:
                self._hurt += 1
                self.re_reads += exchange.damaged > self._damage_seen
                if self._hurt >= _HURT and exchange.damaged > self._damage_seen and self._may_say_anew():
                    return self._say_anew(now)
                self._damage_seen, self._refusals_seen = exchange.damaged, exchange.refused
                return self._ask_state(now)
            due = again
        if sign and not self._asked_at:
            return self._ask_state(now)
        if now >= due:
            if quiet >= 0.1 or now - self.answered_at >= 1.0 or self._asked_at:
                return self._ask_state(now)
            due = now + 0.05
        return Wait(self._at_most(due, sign=sign))

    def _ask_state(self, now: float) -> Send:
        self._interval = min(self._interval * 2, _LONGEST_POLL)
        if self._anew is not None:
            nonce, width = self._anew
            return self._ask("E", now, nonce.first, nonce.second, width)
        return self._ask("S", now)

    def _at_most(self, until: float, *, sign: bool) -> float:
        ends = [until, self._deadline, self._wake_at()]
        if self._asked_at:
            patience = _DEAD_AFTER_SIGN + self._delay if sign else self._dead_after
            ends.append(max(self._first_asked_at, self.answered_at) + patience)
        return min(ends)

    def _is_dead(self, now: float, *, sign: bool) -> bool:
        patience = _DEAD_AFTER_SIGN + self._delay if sign else self._dead_after
        return self._asked_at > 0 and now - max(self._first_asked_at, self.answered_at) >= patience

    def _read_again(self, missing: list[Missing], exchange: Exchange, now: float, heard: float) -> Send | Wait:
        """Ask for the lines that did not hold, few enough for one request that is likely to arrive."""
        self._running = self._ended = True
        if self._reading:
            # A busy guest says the lines one by one: who asks again meanwhile makes it say them twice.
            due = max(self._reading_at, self._lines_at) + self._wait_for_lines()
            if exchange.refused > self._refusals_seen:
                due = heard + _QUIET
            elif exchange.damaged > self._damage_seen:
                # It has answered, and what ends the answer, or the refusal of the question, came damaged.
                due = min(due, heard + self._patience() * _AFTER_DAMAGE ** min(self._slow_reads, 6))
            due = max(due, min(heard + _QUIET, self._reading_at + _LONGEST_PATIENCE + self._delay))
            if now < due:
                # A command that has ended is not ended once more, however late it is.
                return Wait(min(due, self._deadline, max(self._first_asked_at, self.answered_at) + _DEAD_AFTER))
            if self._lines_at <= self._reading_at:
                self._script = max(_SHORTEST_SCRIPT, self._script // 2)
            self._slow_reads = min(self._slow_reads + 1, 12)
        if self._may_say_anew() and (self._stuck >= 4 or any(_is_large(part) for part in missing)):
            return self._say_anew(now)
        self._stuck += 1
        self.re_reads += 1
        self._damage_seen, self._refusals_seen = exchange.damaged, exchange.refused
        self._reading, self._reading_at = self.re_reads, now
        part = missing[0]
        script = lines_script(part.indices, self._script)
        return self._ask("L", now, part.stream, str(self._reading), script)

    def _may_say_anew(self) -> bool:
        return bool(self._widths) and self._anew is None

    def _say_anew(self, now: float) -> Send:
        """Have the answer said in shorter lines, under a new nonce: a line of the old ones is none of the new."""
        assert self.exchange is not None
        nonce = self.exchange.nonce
        self.earlier_damage += self.exchange.damaged + self.exchange.refused
        width, new = str(self._widths.pop(0)), self._new_nonce()
        self._anew, self._renamed = (nonce, width), (nonce, new, width)
        self.exchange = self._begin(new, True)
        self._damage_seen = self._refusals_seen = self._lines = 0
        self._reading = self._stuck = self._hurt = 0
        self._lines_at = now
        self.re_reads += 1
        return self._ask_state(now)

    # -- ending ------------------------------------------------------------------------------------------------

    def _wake_at(self) -> float:
        """When the next step towards the command's end is due: TERM, KILL, no more waiting."""
        if not self.killed:
            return self._kill_at
        if self.killed >= 2:
            return self._deadline
        return min(self._deadline, self._kill_at + self._reserve * 0.4 * self.killed)

    def _kill(self, now: float) -> Send | None:
        if now >= self._wake_at() and self.killed < 2:
            self.killed += 1
            self._interval = 0.1
        elif self.killed == self._kill_acknowledged or now < self._kill_sent_at + self._wait_for_answer():
            return None
        self._kill_sent_at = now
        return self._ask("K", now, "TERM" if self.killed == 1 else "KILL")


def _is_large(part: Missing) -> bool:
    return len(part.indices) > max(2, part.count * _MISSING_SHARE)


def lines_script(indices: tuple[int, ...], size: int) -> str:
    """Return the first of the ascending indices as a program for `sed -n`, ``3p;4p;9p;``, of `size` at most."""
    script = ""
    for index in indices:
        item = f"{index}p;"
        if script and len(script) + len(item) > size:
            break
        script += item
    return script
