"""Our side of the guest's program: load it, ask it, and get one verified answer to each command.

Nothing is typed before the piece before it was acknowledged. Whatever is damaged on the way is asked for again; the
command itself is typed again only when the guest has said that it did not run it.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import Cancelled, DeadlineExpired
from harness.events.emitter import Emitter
from harness.transport.contract import Damage
from harness.transport.errors import Cause, Damaged, TransportError, TransportLost, Unavailable
from harness.transport.limits import ANSWER_LIMIT
from harness.transport.serial.console import Console, as_text, strip_ansi
from harness.transport.serial.frames import Exchange
from harness.transport.serial.guest import DIRS, loader, packed, program, program_check
from harness.transport.serial.line_quality import LineQuality
from harness.transport.serial.reader import Reader, again, woken_by
from harness.transport.serial.requests import Nonce, Verb, request
from harness.transport.serial.signs import Sign, find_sign

_ASK_AGAIN = 1.5  # seconds without an acknowledgement after which a request is typed again
_ASK_AGAIN_PIECE = 0.25  # the same for a piece of a command or of input, where the line is known to do damage
_ASK_LONGEST = 3.0
# Seconds without any sign of life after which it is typed no more. A machine may be suspended for a while: up to the
# second figure, it is waited for with half of the time left.
_SILENT, _SILENT_LONGEST = 10.0, 60.0
_ASK_TRIES = 100
_SHORTEST_DELAY = 0.2  # seconds; less than that is within what is waited for anyway
_HEAD = 40  # characters of a request or of an answer besides what it carries
_RETIRED = 512
_QUIET = 0.03  # seconds without a byte after which what was damaged is asked for again
_LONGEST_PIECE = 700  # characters of the program that are typed at a time
_PIECE_WAIT = 2.0  # seconds without a word, at least, in which it is given back
_REST = 0.2  # seconds without a word, at least, after which nothing more is given back
_TALKING = 5  # how many times as long where the console goes on printing
_START_WAITS = (4.0, 8.0, 16.0)  # seconds without a word until what starts it is typed again
_STARTS = 3
_PACKED = "z"  # what a program says as its check that came compressed, under gzip's own checksum
_LOADS = 4  # times that a program is typed which arrives changed
_AHEAD = 8  # pieces that are typed before the first of them is given back
_MEASURABLE = 100_000  # bytes that tell how fast a line is
_SAMPLE = 65536
_LOCAL_ECHO = 100_000  # bytes a second in which our program is given back: a pty reaches three times that
# Up to which speed of the line (bytes a second) compressing costs the guest less time than it saves the line, for what
# shrinks to less than that part of itself. The quickest lines are ptys and virtual machines' own ports.
_WORTH = ((0.1, float("inf")), (0.6, 4e6), (float("inf"), 2e6))
_LATE = re.compile(rb"([a-z2-9]{8})<")
_LATE_LINE = re.compile(rb"([a-z2-9]{4})[pq][0-9]+:")


@dataclass(frozen=True, slots=True)
class Guest:
    """What the guest's program said of itself. `uid` is -1 where the guest does not know it."""

    pid: int
    uid: int
    boot_id: str
    capture: str
    job_control: bool
    tools: frozenset[str]
    folder: str


class Session(Reader):
    """A loaded shell on a console. One request at a time; the caller sees to that."""

    def __init__(
        self, console: Console, *, events: Emitter, inline: int = 256, answer_limit: int = ANSWER_LIMIT
    ) -> None:
        """`answer_limit` bounds what one command may answer, in bytes."""
        super().__init__()
        self.answer_limit = answer_limit
        self._console = console
        self._events = events
        self._inline = inline
        self.condition = threading.Condition()
        self.exchange = Exchange(Nonce.fresh())
        self.heard = 0.0
        self.error: TransportError | None = None
        self.sign: Sign | None = None
        self.late = 0
        self.guest: Guest | None = None
        self.compress = True
        """Whether bulk output is better compressed, going by the last one: how fast it came, how far it shrank. Before
        the first one: how fast our program was given back."""
        self.quality = LineQuality()
        self._guest_nonce: Nonce | None = None
        self._retired: OrderedDict[bytes, bool] = OrderedDict()
        self._loading = True
        self._release: Callable[[], None] | None = None
        self._noise_before = 0

    # -- the reader's thread -----------------------------------------------------------------------------------

    def feed(self, data: bytes, at: float) -> None:
        super().feed(data, at)
        if self._loading:
            return
        with self.condition:
            news = self.exchange.feed(data)
            noise = self.exchange.noise()
            self.heard = at
            open_line = strip_ansi(self.exchange.unfinished()[-200:])
            if news:  # waking for every few lines of a long answer would cost more than reading them
                self.condition.notify_all()
        if noise:
            self._console.record(self._keep_foreign(noise))
        if noise or open_line:
            self._watch(b"\n".join([*noise, open_line]))

    def lost(self, error: TransportError) -> None:
        super().lost(error)
        with self.condition:
            self.error = error
            self.condition.notify_all()

    def _keep_foreign(self, lines: list[bytes]) -> list[bytes]:
        """Leaves out answers to requests that are over; one that was given up is recorded as late."""
        kept = []
        for line in lines:
            match = _LATE.search(line) or _LATE_LINE.search(line)
            if match is None or match[1] not in self._retired:
                kept.append(line)
            elif self._retired[match[1]] and len(match[1]) == 8:
                self.late += 1
                self._events.emit(
                    "serial.late_answer",
                    "the answer to a command that was given up came late and was not believed",
                    level="warning",
                    text=as_text(line),
                )
        return kept

    def _watch(self, text: bytes) -> None:
        sign = find_sign(text)
        if sign is not None:
            with self.condition:
                self.sign = self.sign or sign
                self.condition.notify_all()

    # -- beginning and end -------------------------------------------------------------------------------------

    def load(self, deadline: Deadline) -> Guest:
        """Starts `sh` in the shell that stands on the console and types the program into it, piece by piece.

        Raises Unavailable(cause=NO_SHELL), Eof, Cancelled, DeadlineExpired.
        """
        self._release = self._console.claim(self)
        for _ in range(_LOADS):
            hello = Nonce.fresh()
            place = self.total
            check = self._load_once(hello, place, deadline)
            guest, said = _read_hello(self._hello(deadline, place))
            if said in (check, _PACKED):
                self.guest = guest
                return guest
            self._events.emit(
                "serial.program_damaged",
                f"the program that was typed on {self._console.name} arrived changed; it is typed again",
                level="warning",
            )
            self._end_program(deadline)
        raise self._not_loaded("typed text arrives changed, also where it is given back as it was typed", place)

    def _load_once(self, hello: Nonce, place: int, deadline: Deadline) -> str:
        """Type the program and start it; return the check that it must have unless it arrived compressed."""
        mark = Nonce.fresh()
        self._loading = True
        try:
            return self._type_program(mark, hello, place, deadline)
        finally:
            own = (mark.whole.encode(), mark.first.encode())
            lines = self.since(place).split(b"\n")
            self._console.record(line for line in lines if not any(o in line for o in own))

    def _end_program(self, deadline: Deadline) -> None:
        """End the program that runs, by its own request or else by Ctrl-C, which ends it too."""
        place = self.total
        try:
            self.ask("X", deadline=deadline.clamp(self._console.timing.window(2.0)), accept=lambda body: body == "Xbye")
        except (TransportError, DeadlineExpired):
            deadline.check("ending a program that arrived changed")
            self._console.write(b"\x03", deadline=deadline)
        self.settle(place, deadline, quiet=0.2, at_most=self._console.timing.window(1.0))

    def _type_program(self, mark: Nonce, hello: Nonce, place: int, deadline: Deadline) -> str:
        """Start the loader, type the program into it, and start that. Return the check that the program must have
        unless it arrived compressed. Raises Unavailable(cause=NO_SHELL)."""
        timing, began = self._console.timing, deadline.clock.monotonic()
        line = f"{loader(mark.first, mark.second)}\n".encode()
        ready = re.compile(f"{mark.whole}\\+{mark.whole}(z?)[\r\n]".encode())
        for quiet in _START_WAITS:
            began = deadline.clock.monotonic()
            self._console.write(line, deadline=deadline)
            # A damaged one may print without an end.
            window = timing.window(quiet, typed=len(line), heard=len(line))
            found = self.wait_while_talking(ready, place, deadline.clamp(_TALKING * window), quiet=timing.window(quiet))
            if found is not None:
                break
            deadline.check("starting `sh` on the console")
            # It was damaged on the way, maybe so that it is not complete.
            self._console.write(b"\x03", deadline=deadline)
            self.settle(self.total, deadline, quiet=0.2, at_most=timing.window(1.0))
        else:
            raise self._not_loaded("`sh` did not start", place)
        # It comes behind the whole line, so a slow line shows.
        timing.note_bytes(len(line), deadline.clock.monotonic() - began - timing.latency)
        folder = f"harness-{Nonce.fresh().whole}"
        halves = (hello.first, hello.second)
        began, heard = deadline.clock.monotonic(), self.total
        started, check = False, _PACKED
        if found[1]:
            shorter = program(name=folder, hello=halves, inline=self._inline, dirs=DIRS, has_tools=True)
            began = deadline.clock.monotonic()
            started = self._start_packed(packed(shorter), mark, hello, deadline)
        if not started:
            pieces = program(name=folder, hello=halves, inline=self._inline, dirs=DIRS)
            typed, check = [*pieces, ""], str(program_check(pieces))
            if self._console.pace or self._type_ahead(typed, mark, deadline) is None:
                self._type_carefully(typed, mark, deadline, hello)
            for _ in range(_STARTS):
                self._start(".", hello, deadline)
                if self._has_started(self.total, mark, hello, deadline):
                    break
        # A first guess, until bulk output tells more.
        self.compress = self.total - heard < _LOCAL_ECHO * (deadline.clock.monotonic() - began)
        return check

    def _start(self, how: str, hello: Nonce, deadline: Deadline) -> None:
        """Let the loader run the program: from here on, answers count."""
        with self.condition:
            self.exchange = Exchange(hello)
            self._guest_nonce = hello
        self._loading = False
        self._console.write(f"{how}\n".encode(), deadline=deadline)

    def _start_packed(self, pieces: list[str], mark: Nonce, hello: Nonce, deadline: Deadline) -> bool:
        """Type the program compressed, and start it; false where the loader could not unpack it.

        Its own checksum (that of gzip, RFC 1952) covers it, so nothing needs to be waited for before it is started.
        """
        began, first = deadline.clock.monotonic(), self.total
        place: int | None = None
        if not self._console.pace:
            place = self._type_ahead(pieces, mark, deadline, end=lambda: self._start("z", hello, deadline))
        if place is not None:
            seconds = deadline.clock.monotonic() - began
            self._console.timing.note_bytes(sum(map(len, pieces)), seconds - self._console.timing.latency)
        elif not self._loading and self._await_program(hello, first, deadline):
            return True  # what is given back was damaged or late, and all had arrived
        else:
            self._loading = True
            if not self._type_carefully(pieces, mark, deadline, hello):
                return True
            place = self.total
            self._start("z", hello, deadline)
        for _ in range(_STARTS):
            started = self._has_started(place, mark, hello, deadline)
            if started is not None:
                self._loading = not started
                return started
            # It did not arrive, or the answer did not. The program itself takes it for a damaged request.
            place = self.total
            self._start("z", hello, deadline)
        return True

    def _await_program(self, hello: Nonce, place: int, deadline: Deadline) -> bool:
        """Whether the program answers behind that place; it was started, and the loader may answer instead."""
        window = self._console.timing.window(_PIECE_WAIT, typed=_LONGEST_PIECE, heard=_LONGEST_PIECE)
        return self._wait_for_text(self._said_by(hello), place, deadline, window) is not None

    @staticmethod
    def _said_by(hello: Nonce) -> re.Pattern[bytes]:
        """What the program's messages begin with that name no request."""
        return re.compile(hello.whole.encode() + b"<")

    def _has_started(self, place: int, mark: Nonce, hello: Nonce, deadline: Deadline) -> bool | None:
        """Whether the program says hello; false where it is the loader that answers, None where nobody does."""
        back = self._between(mark)
        said = self._said_by(hello)
        either = re.compile(back.pattern + b"|" + said.pattern)
        self.wait_while_talking(either, place, deadline, quiet=self._console.timing.window(_START_WAITS[0]))
        heard = self.since(place)
        return True if said.search(heard) else False if back.search(heard) else None

    def _type_ahead(
        self, pieces: list[str], mark: Nonce, deadline: Deadline, *, end: Callable[[], None] = lambda: None
    ) -> int | None:
        """Type pieces while those before are given back, and then the `end`; return the place behind the last of them.

        None where one was not given back as it was typed. Fewer are on their way than what a terminal keeps unread
        (4,095 bytes on Linux; some have 1,024).
        """
        place = self.total
        waiting: list[str] = []
        left = list(reversed(pieces))
        while left or waiting:
            if left and len(waiting) <= _AHEAD:
                waiting.append(left.pop())
                first = len(left) == len(pieces) - 1
                self._console.write(f"{'@' if first else '+'}{waiting[-1]}\n".encode(), deadline=deadline)
                if not left:
                    end()
                continue
            typed = sum(map(len, waiting))
            wanted = waiting.pop(0)
            window = self._console.timing.window(_PIECE_WAIT, typed=typed, heard=len(wanted))
            found = self._wait_for_text(self._between(mark), place, deadline, window)
            if found is None or found[1] != wanted.encode():
                return None
            place += found.end()
        return place

    def _type_carefully(self, pieces: list[str], mark: Nonce, deadline: Deadline, hello: Nonce) -> bool:
        """Type piece by piece, each until the guest has given exactly it back. Raises Unavailable(cause=NO_SHELL).

        Returns false where it is the program that answers: an earlier start has succeeded after all.
        """
        self.settle(self.total - 1, deadline, quiet=self._console.timing.window(0.2), at_most=_PIECE_WAIT)
        before: str | None = None
        for piece in pieces:
            if not self._type_piece(piece, before, mark, deadline, hello):
                with self.condition:
                    self.exchange = Exchange(hello)
                self._loading = False
                return False
            before = piece
        return True

    def _type_piece(self, piece: str, before: str | None, mark: Nonce, deadline: Deadline, hello: Nonce) -> bool:
        """Types one piece until the guest has given exactly it back. Nothing before it: all that was typed is void.

        Returns false where the program answers instead.
        """
        first = before is None
        sign = "@" if first else "+"
        timing = self._console.timing
        window = timing.window(_PIECE_WAIT, typed=_LONGEST_PIECE, heard=_LONGEST_PIECE)
        edge = mark.whole
        wanted = re.compile(re.escape(f"{edge}:{piece}:{edge}").encode())
        for tries in range(20):
            place, began = self.total, deadline.clock.monotonic()
            self._console.write(f"{sign}{piece}\n".encode(), deadline=deadline)
            if self._is_given_back(wanted, mark, place, deadline, window):
                if tries == 0:
                    self.speed_up()
                    timing.note_bytes(2 * len(piece), deadline.clock.monotonic() - began - timing.latency)
                return True
            held = self._held(mark, deadline, window)
            if held == piece.encode():
                return True
            if held is None and self._said_by(hello).search(self.since(place)):
                return False
            if before is not None:
                # It holds the piece before (ours did not arrive), or ours with damage: then it must not be taken.
                sign = "+" if held == before.encode() else "-" if held is not None else sign
            self._console.pace = max(0.002, self._console.pace)
        raise self._not_loaded("typed text does not arrive whole", self.total - 2048)

    @staticmethod
    def _between(mark: Nonce) -> re.Pattern[bytes]:
        edge = mark.whole.encode()
        return re.compile(edge + b":([^\r\n]*):" + edge + b"\r*\n")

    def _wait_for_text(
        self, wanted: re.Pattern[bytes], place: int, deadline: Deadline, window: float
    ) -> re.Match[bytes] | None:
        """Wait for `wanted` behind `place`: until nothing was heard for `window` seconds, or a few times as long where
        the console goes on printing."""
        return self.wait_while_talking(wanted, place, deadline.clamp(_TALKING * window), quiet=window)

    def _is_given_back(
        self, wanted: re.Pattern[bytes], mark: Nonce, place: int, deadline: Deadline, window: float
    ) -> bool:
        """Whether exactly that is given back. Something else may be an earlier piece, late, with ours behind it."""
        first = self._wait_for_text(self._between(mark), place, deadline, window)
        if first is None:
            return False
        rest = self._console.timing.window(_REST, heard=_LONGEST_PIECE)
        return self._wait_for_text(wanted, place, deadline, rest) is not None

    def _held(self, mark: Nonce, deadline: Deadline, window: float) -> bytes | None:
        """Ask the loader which piece it holds; None where nothing whole came."""
        place = self.total
        self._console.write(b"?\n", deadline=deadline)
        self._wait_for_text(self._between(mark), place, deadline, window)
        # Where answers to earlier pieces were late, the last one is that to the question.
        self.settle(place, deadline, quiet=self._console.timing.window(_QUIET), at_most=window)
        whole = self._between(mark).findall(self.since(place))
        return bytes(whole[-1]) if whole else None

    def _hello(self, deadline: Deadline, place: int) -> str:
        timing = self._console.timing
        for attempt in range(6):
            if attempt:
                return self.ask("N", deadline=deadline, accept=lambda body: body.startswith("Nhello:"))
            body = self._wait_message(
                lambda b: b.startswith("Nhello:"), deadline.clamp(timing.window(5.0, heard=_LONGEST_PIECE))
            )
            if body is not None:
                return body
            hello = self._guest_nonce
            if hello is not None and f"{hello.whole}<!arithmetic>".encode() in self.since(place):
                raise self._not_loaded("its shell cannot calculate with 64 bits", place)
        raise self._not_loaded("the program did not answer", place)

    def _not_loaded(self, why: str, place: int) -> Unavailable:
        seen = self.since(place)[-2048:]
        return Unavailable(
            f"no shell could be set up on the console {self._console.name}: {why}",
            cause=Cause.NO_SHELL,
            transport="serial",
            seen=seen,
            hint="look at the console's raw log; a POSIX `sh` with printf and read is needed",
        )

    def leave(self, deadline: Deadline) -> None:
        """Ends the program (its files are removed) and lets the console's own shell go on. Quiet when it is gone."""
        try:
            if self.error is None and self.guest is not None:
                self.ask("X", deadline=deadline, accept=lambda body: body == "Xbye")
        except (TransportError, DeadlineExpired):
            pass  # nobody is there any more to leave
        finally:
            self.detach()

    def detach(self) -> None:
        """Stops listening. Safe to call twice."""
        if self._release is not None:
            self._release()
            self._release = None

    # -- asking ------------------------------------------------------------------------------------------------

    def begin(self, nonce: Nonce, *, checked: bool = False) -> Exchange:
        """From now on answers to `nonce` are the ones that count; with `checked`, only data lines with a check."""
        exchange = Exchange(nonce, guest=self._guest_nonce, checked=checked, limit=self.answer_limit)
        return self.resume(exchange)

    def resume(self, exchange: Exchange) -> Exchange:
        """From now on the answers to this exchange are the ones that count."""
        with self.condition:
            old = self.exchange
            self._retire(old.nonce, given_up=False)
            self.exchange = exchange
            # An open line of the old exchange may go on in the next bytes.
            self.exchange.feed(old.unfinished())
            return self.exchange

    def give_up(self) -> None:
        """An answer to the present nonce is late from now on."""
        with self.condition:
            self._retire(self.exchange.nonce, given_up=True)
            noise, self.exchange = self.exchange.noise(), Exchange(Nonce.fresh(), guest=self._guest_nonce)
        self._console.record(noise)

    def _retire(self, nonce: Nonce, *, given_up: bool) -> None:
        for key in (nonce.whole.encode(), nonce.tag.encode()):
            self._retired[key] = given_up or self._retired.get(key, False)
        while len(self._retired) > _RETIRED:
            self._retired.popitem(last=False)

    def send(self, verb: Verb, nonce: Nonce, *arguments: str, deadline: Deadline) -> None:
        """Types one request. What is laid down with it (input, or a long command in pieces) is not put into the record:
        input may hold a secret, and a piece may hold half of one; the command has an event of its own."""
        laid_down = verb in ("I", "A")
        # The record has the blanks that are not typed, so that a secret that holds one is found and masked.
        shown = " ".join(("~", verb, nonce.first, nonce.second, *arguments))
        typed = request(verb, nonce, *arguments)
        self._console.write(typed, deadline=deadline, secret=laid_down, shown=shown)

    def ask(
        self, verb: Verb, *arguments: str, deadline: Deadline, accept: Callable[[str], bool], tries: int = _ASK_TRIES
    ) -> str:
        """Type a request that does the same when it is typed twice, until an accepted message answers it.

        Returns the message; nothing where the line damaged something in each of so many tries, so that the caller may
        ask for less. Raises DeadlineExpired, TransportLost when nobody answers, Eof, Cancelled, Damaged.
        """
        pieces = verb in ("A", "I") and not self.quality.is_clean
        timing, typed = self._console.timing, sum(map(len, arguments)) + _HEAD
        patience = timing.window(_ASK_AGAIN_PIECE if pieces else _ASK_AGAIN, typed=typed, heard=_HEAD)
        longest = timing.window(_ASK_LONGEST, typed=typed, heard=_HEAD)
        bearable = min(_SILENT_LONGEST, max(_SILENT, deadline.remaining() / 2))
        silent = timing.window(bearable, typed=typed, heard=_HEAD)
        soon = timing.window(_SILENT, typed=typed, heard=_HEAD)
        alive = deadline.clock.monotonic()
        for count in range(_ASK_TRIES):
            if count >= tries:
                return ""
            nonce = Nonce.fresh()
            exchange = self.begin(nonce)
            self.send(verb, nonce, *arguments, deadline=deadline)
            body = self._wait_answer(exchange, accept, deadline.clamp(patience))
            if body is not None:
                self.quality.note(whole=2, damaged=0)
                if self._console.pace and count == 0:
                    self.speed_up()
                return body
            deadline.check("waiting for the console's shell to acknowledge")
            now = deadline.clock.monotonic()
            self.quality.note(whole=0, damaged=1)
            if exchange.refused or exchange.damaged:
                alive = now
                if exchange.refused and count % 2:
                    self.slow_down()
            else:
                patience = min(longest, patience * 1.5)
            if now - alive > (soon if self.sign else silent):
                break
        raise TransportLost(
            f"the shell on the console {self._console.name} does not acknowledge any more",
            cause=self.sign.cause if self.sign else Cause.LOST,
            transport="serial",
            seen=self.since(0)[-2048:],
            hint="the machine hangs, or somebody else types on this console",
        )

    def delay(self, typed: int) -> float:
        """Return the seconds that the line itself may take until so many characters and a question are answered; 0
        where that is no matter."""
        seconds = self._console.timing.window(0.0, typed=typed + 2 * _HEAD, heard=_HEAD)
        return seconds if seconds >= _SHORTEST_DELAY else 0.0

    def slow_down(self) -> None:
        """The guest lost input: type slower from now on (to 2 ms after each 16 bytes, then half as fast each time)."""
        self._console.pace = min(0.05, self._console.pace * 2 or 0.002)
        self._events.emit(
            "serial.input_lost",
            f"the guest lost typed input; typing slower ({self._console.pace * 1000:.0f} ms for 16 bytes)",
            level="warning",
        )

    def speed_up(self) -> None:
        """What was typed arrived: type twice as fast as before, and without rests once they are short."""
        if self._console.pace:
            pace = self._console.pace / 2
            self._console.pace = pace if pace >= 0.001 else 0.0

    def _wait_message(self, wanted: Callable[[str], bool], end: Deadline) -> str | None:
        return self._wait_answer(None, wanted, end)

    def _wait_answer(self, exchange: Exchange | None, wanted: Callable[[str], bool], end: Deadline) -> str | None:
        """The message that is wanted; None at the end, or once something of the exchange is seen to be damaged."""
        with woken_by(end, self.condition), self.condition:
            while True:
                for body in self.exchange.messages():
                    if wanted(body):
                        return body
                self.check(end)
                rest = end.remaining()
                if end.expired:
                    return None
                if exchange is not None and (exchange.refused or exchange.damaged):
                    quiet = end.clock.monotonic() - self.heard
                    if quiet >= _QUIET:
                        return None
                    rest = min(rest, _QUIET - quiet)
                self.condition.wait(rest)

    def check(self, deadline: Deadline) -> None:
        """Raises when the console is lost or the wait was cancelled."""
        if self.error is not None:
            raise again(self.error)
        if deadline.cancellation.cancelled:
            raise Cancelled(deadline.cancellation.reason)

    def measured(self, count: int, seconds: float, data: bytes) -> None:
        """`data` came as so many bytes on the line, without a pause, in that time."""
        if count >= _MEASURABLE and data:
            sample = data[:_SAMPLE]
            shrinks = len(zlib.compress(sample, 1)) / len(sample)
            limit = next(speed for most, speed in _WORTH if shrinks < most)
            self.compress = count < limit * seconds

    def damage(self, re_reads: int = 0) -> Damage:
        """What the present exchange met so far."""
        with self.condition:
            return Damage(self.exchange.noise_bytes, self.exchange.damaged, re_reads)


def _number(text: str, body: str) -> int:
    if len(text) > 10 or not text.isdigit():
        raise Damaged(
            f"the console's shell introduced itself as {body[:200]!r}", cause=Cause.DAMAGED, transport="serial"
        )
    return int(text)


def _read_hello(body: str) -> tuple[Guest, str]:
    """Return what the program says of itself, and its check. Raises Damaged."""
    parts = body.split(":", 9)
    if len(parts) != 10:
        raise Damaged(
            f"the console's shell introduced itself as {body[:200]!r}", cause=Cause.DAMAGED, transport="serial"
        )
    # The first of them is the word `Nhello`.
    _, pid, uid, boot_id, capture, job_control, _, tools, check, folder = parts
    guest = Guest(
        pid=_number(pid, body),
        uid=_number(uid, body) if uid.isdigit() else -1,
        boot_id="" if boot_id == "?" else boot_id,
        capture=capture,
        job_control=job_control == "m",
        tools=frozenset(t for t in tools.split(",") if t),
        folder=folder,
    )
    return guest, check
