"""From a console in any state to a shell that answers.

Prompts are never believed to be a shell: a shell is what joins two halves of a word that we typed apart. Prompts for
a name and a password are recognised only at the very end of the stream, after it fell quiet. The kernel's and systemd's
lines are no part of that stream. Where it does not fall quiet all the same, a prompt is only likely, and a name may be
typed at it. A password is typed nowhere before the terminal has shown that it echoes nothing: words of a prompt may be
anybody's, and a shell that is still starting is as quiet as a prompt.

Old text may pour out when we come, with prompts and refusals in it, and pause at any byte of it. So once more was heard
than an answer to what we typed (*doubt*), a prompt counts only where it answers a newline of ours, typed after the
terminal has echoed a word of ours: what comes behind that echo is not older than the word. A refusal always has to be
confirmed so: a login prompt answers, and no shell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.drawn_screen import MENU_ON_SCREEN, DrawnScreen
from harness.errors import DeadlineExpired
from harness.events.emitter import Emitter
from harness.transport.errors import Cause, Unavailable
from harness.transport.serial.console import Console, strip_ansi
from harness.transport.serial.echo import await_echo, echo_is_off
from harness.transport.serial.prompts import (
    Prompt,
    booting,
    classify,
    ends_with_shell_prompt,
    refusal,
    timed_out,
    unexpected,
)
from harness.transport.serial.reader import Reader
from harness.transport.serial.requests import Nonce, request
from harness.transport.serial.sieve import Sieved

_QUIET = 0.12
_PROMPT_QUIET = 0.04  # the same where a prompt for a name or a password stands at the end: it is complete
_SLICE = 0.6  # seconds: in a flood a prompt is soon out of what is kept
_FIRST_WORD = 4.5  # seconds, beyond the first half one, that a console is given to say anything at all
_AFTER_ECHO = 1.0  # seconds, from the echo of a newline to what answers it
_UNFINISHED = 0.4  # seconds without a word after which a line that does not end as a prompt does is complete
_MEASURABLE = 8  # bytes that tell something of a line's rate
_PROBE_WAIT = 1.5
_BURST = 4.0
# Seconds for an echo: at least, and with many words from the console. A line editor echoes once it is scheduled, which
# takes as long as any other answer of the machine, so the longest of those that were measured counts that many times.
_ECHO_QUIET, _ECHO_AT_MOST, _ECHO_SPARE = 0.08, 5.0, 4
_ECHO_MACHINE = 0.4  # seconds, at most, that count of what the machine took from the name to the password's prompt
_ECHO_SHARE = 1 / 16  # of the time that is left, at most
_ECHO_DOUBT, _ECHO_DOUBT_LONGEST, _ECHO_DOUBT_SPARE = 0.7, 1.5, 20  # the same in doubt
_TURNS_DOWN_AGAIN = 4  # times that a refusal is looked at, where others write login prompts all the while
_LATE_LOGINS = 3  # logins that the machine may end before they are through
_PASSWORD_PROMPT = 5.0  # and that long from the name to the password's prompt, when that seemed to be there
_AFTER_LOGIN = 20.0  # a slow machine may take that long from the password to the first prompt
# A newline, and before it what takes back a line that somebody typed by half (Ctrl-E, Ctrl-U): it must not be run.
_WAKE = b"\x05\x15\n"
_ONLY_WAKE = re.compile(rb"(?:\^[EU]|\s)*")
_CTRL_C = b"\x03"
# What may be open on the console, gentlest first: a command or an open quote; a pager; vi; a stopped output; nano; a
# program that ignores interrupts; one that waits for the end of its input; one that can only be put aside. Strokes are
# typed apart: an escape that stands too near to the next key is taken for a function key.
_RESCUES = (
    (_CTRL_C,),
    (b"q", _CTRL_C),
    (b"\x1b", b"\x1b", b":q!\r", _CTRL_C),
    (b"\x11", _CTRL_C),
    (b"\x18", b"n", _CTRL_C),
    (b"\x1c",),
    (b"\x04",),
    (b"\x1a",),
)
# Terminals' answers: to a cursor position request (busybox ash, zsh), to a device attributes request (fish).
_QUERIES = ((re.compile(rb"\x1b\[6n"), b"\x1b[1;1R"), (re.compile(rb"\x1b\[0?c"), b"\x1b[?6c"))


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in on the console. No password means that none is asked for."""

    user: str
    password: str | None


class Login:
    """Gets a shell on an open console."""

    def __init__(self, console: Console, heard: Sieved[Reader], who: Credentials, *, events: Emitter) -> None:
        self._console = console
        self._heard = heard
        self._reader = heard.listener
        self._who = who
        self._events = events
        self._names = 0
        self._sure_names = 0  # of those, given at a prompt that was no mere likelihood
        self._passwords = 0
        self._timeouts = 0
        self._probed: list[bytes] = []
        self._ended_programs = 0
        self._place = 0
        self._lines = 0  # of others, when we last typed
        self._expected: tuple[Prompt, ...] = (Prompt.NAME,)  # what may be in the answer to what we typed last
        self._foreign = False  # login prompts or refusals were heard that are others' text
        self._doubt = False  # so, or because somebody writes all the while: what is heard may be others' text
        self._asked = False  # what stands there answers a newline of ours, behind an echo of ours
        self._refusals = 0
        self._echo_took = 0.0
        self._typed_at = 0.0
        self._prompt_took = 0.0  # from the name to the password's prompt
        self._amid = False  # somebody wrote all the while that we waited for a quiet
        self._calm_at = 0.0
        self._maintenance = False  # root's password for maintenance was given
        self._timed_out_at = -1
        self._ended_by = ""
        self._answered = 0
        self.logged_in = False

    def get_shell(self, deadline: Deadline) -> None:
        """Returns when a shell has answered a probe of ours.

        Raises Unavailable: LOGIN (refused, or a password is asked for and none is given), PASSWORD_EXPIRED,
        NO_SHELL (nothing answered until the deadline); Eof; Cancelled.
        """
        if self._console.hands_off:
            raise self._hands_off(self._console.hands_off)
        start = self._calm_at = deadline.clock.monotonic()
        try:
            self._get_shell(deadline)
        except DeadlineExpired:
            raise self._no_shell(deadline.clock.monotonic() - start) from None

    def _get_shell(self, deadline: Deadline) -> None:
        self._wake(deadline)
        rescues = iter(_RESCUES)
        logged_in_at: float | None = None
        silent_probes = 0
        rested = False  # all rescues were tried: from here on only patience helps
        while True:
            deadline.check("waiting for a shell on the console")
            self._wait_out_a_burst(deadline)
            prompt = self._look(deadline)
            if self._doubt and not self._asked and prompt in (Prompt.NAME, Prompt.OTHER, Prompt.TIMED_OUT):
                self._ask_again(deadline)
                continue
            if prompt is Prompt.OTHER:
                if self._is_unfinished(deadline):
                    continue
                if rested:
                    deadline.sleep(_PROBE_WAIT)
                if silent_probes == 0:
                    self._refuse_drawn_screen()
                if self._probe(deadline):
                    return
                if self._classify() is not Prompt.OTHER:
                    continue
                if booting(self._reader.since(self._place), self._heard.others(self._lines)):
                    # The machine is coming up: nothing to be rescued, and nothing to be typed into it in a hurry.
                    self._reader.settle(self._reader.total, deadline, quiet=1.0, at_most=3.0)
                    continue
                silent_probes += 1
                now = deadline.clock.monotonic()
                if logged_in_at is not None and now - logged_in_at < _AFTER_LOGIN:
                    continue
                if silent_probes >= 2 and not rested:
                    strokes = next(rescues, None)
                    rested = strokes is None
                    self._rescue(strokes or (b"\n",), deadline)
            elif prompt is Prompt.NAME:
                self._give_name(deadline)
            elif prompt is Prompt.PASSWORD:
                if self._give_password(deadline):
                    logged_in_at = deadline.clock.monotonic()
            elif prompt in (Prompt.MAINTENANCE, Prompt.MAINTENANCE_ENTER, Prompt.ROOT_LOCKED):
                if self._open_maintenance(prompt, deadline):
                    logged_in_at = deadline.clock.monotonic()
            elif prompt is Prompt.HARNESS:
                self._end_program(deadline)
            elif prompt is Prompt.NOT_YET:
                deadline.sleep(1.0)
                self._names = self._passwords = 0
                self._type(b"\n", deadline)
                self._settle(deadline, 1.0)
            elif prompt is Prompt.TIMED_OUT:
                self._note_timeout()
                self._wait_for_more(deadline)
            elif prompt is Prompt.NEW_PASSWORD:
                self._decline_change(deadline)
            elif self._names:
                self._take_refusal(deadline)
            elif classify(self._reader.since(self._place), amid=self._amid, past=True) is Prompt.NAME:
                if self._doubt and not self._asked:
                    self._ask_again(deadline)
                else:
                    self._give_name(deadline)
            else:  # somebody else's refused login stands there
                self._wait_for_more(deadline)

    # -- steps -------------------------------------------------------------------------------------------------

    def _classify(self) -> Prompt:
        return classify(self._reader.since(self._place), amid=self._amid)

    def _wake(self, deadline: Deadline) -> None:
        """Types a newline, and measures how long the first answer takes. A line that has not said anything yet may be a
        slow one: nothing more is typed at once."""
        began, timing = deadline.clock.monotonic(), self._console.timing
        self._type(_WAKE, deadline, expected=(Prompt.NAME,))
        self._settle(deadline, 0.5)
        if self._reader.total == self._place:
            self._reader.wait_for_more(self._place, deadline, at_most=_FIRST_WORD)
            if self._reader.total > self._place:
                timing.note_answer(max(0.0, self._reader.first_after(self._place) - began))
            self._settle(deadline, 0.5)
        if self._is_only_wake():
            # The terminal has echoed it; who reads it takes a while on a busy machine.
            self._reader.wait_for_more(self._reader.total, deadline, at_most=timing.window(_AFTER_ECHO))
            self._settle(deadline, 0.5)
        heard, seconds = self._reader.total - self._place, self._reader.last - self._reader.first_after(self._place)
        if heard and not self._amid:
            timing.note_answer(max(0.0, self._reader.first_after(self._place) - began))
            if heard >= _MEASURABLE and seconds > 0:
                timing.note_bytes(heard, seconds)

    def _is_unfinished(self, deadline: Deadline) -> bool:
        """Whether more is heard of a line that may be the beginning of a prompt, on a machine that is slow to print."""
        seen, total = self._reader.since(self._place), self._reader.total
        if self._amid or not seen.split(b"\n")[-1].strip() or ends_with_shell_prompt(seen):
            return False
        self._hush(self._place, deadline, self._console.timing.window(2 * _UNFINISHED), quiet=_UNFINISHED)
        return self._reader.total > total

    def _is_only_wake(self) -> bool:
        """Whether nothing was heard but the terminal's echo of what wakes a login."""
        seen = self._reader.since(self._place)
        return bool(seen) and _ONLY_WAKE.fullmatch(strip_ansi(seen)) is not None

    def _wait_out_a_burst(self, deadline: Deadline) -> None:
        """What pours out for a few seconds (a console server's old text, the end of a boot) is not typed into."""
        while self._amid and deadline.clock.monotonic() - self._calm_at < _BURST:
            deadline.check("waiting for the console to fall quiet")
            self._hush(self._reader.total, deadline, 0.5)

    def _look(self, deadline: Deadline) -> Prompt:
        """Return what stands on the console. A password prompt that would be answered, and a demand for a new password,
        are such only where nothing is echoed: their words may be anybody's."""
        prompt = self._classify()
        if unexpected(self._reader.since(self._place), *self._expected):
            self._foreign = True
        unechoed = prompt is Prompt.PASSWORD and self._names > 0 and not self._passwords and not self._is_name_echoed()
        self._doubt = self._doubt or self._amid or self._foreign or unechoed
        if prompt is Prompt.PASSWORD and self._names:
            return prompt if self._is_password_read(deadline) else Prompt.OTHER
        if prompt is Prompt.NEW_PASSWORD and not echo_is_off(
            self._console, self._reader, deadline, wait=self._echo_wait(deadline)
        ):
            return Prompt.OTHER
        return prompt

    def _is_password_read(self, deadline: Deadline) -> bool:
        """Whether the terminal echoes nothing; a login that was given a name may take a while to get there."""
        end = deadline.clamp(_PASSWORD_PROMPT)
        while not self._amid and not self._passwords and not self._is_name_echoed() and not end.expired:
            self._reader.wait_for_more(self._reader.total, end, at_most=_SLICE)
        if self._classify() is not Prompt.PASSWORD:
            return False
        while not echo_is_off(self._console, self._reader, deadline, wait=self._echo_wait(deadline)):
            if end.expired or self._passwords:
                return False
            deadline.sleep(0.2)
        return True

    def _is_name_echoed(self) -> bool:
        return self._who.user.encode() in strip_ansi(self._reader.since(self._place))

    def _echo_wait(self, deadline: Deadline) -> float:
        """Return the seconds that an echo is given: by what was measured, but little of the time that is left. A getty
        that takes long to start says less of the terminal, whose echo needs no process."""
        took = max(self._console.timing.latency, self._echo_took)
        if self._doubt:
            least = max(_ECHO_DOUBT, min(_ECHO_DOUBT_LONGEST, _ECHO_DOUBT_SPARE * took))
        else:
            least = max(_ECHO_QUIET, min(_ECHO_MACHINE, self._prompt_took))
        wanted = self._console.timing.window(max(least, _ECHO_SPARE * took))
        return min(wanted, max(_ECHO_DOUBT_LONGEST, deadline.remaining() * _ECHO_SHARE))

    def _ask_again(self, deadline: Deadline) -> None:
        """Types a newline, and has only what was written after it for an answer."""
        self._ended_by = self._words() or self._ended_by
        echo = await_echo(
            self._console, self._reader, deadline, quiet=max(1.0, self._echo_wait(deadline)), at_most=_ECHO_AT_MOST
        )
        if echo is not None:
            self._echo_took = max(self._echo_took, echo[1])
            self._reader.settle(echo[0], deadline, quiet=0.03, at_most=0.3)  # the rest of it
        self._type(b"\n", deadline, expected=(Prompt.NAME,))
        self._settle_for_prompt(deadline, 4.0, echoed="")
        self._asked = True

    def _take_refusal(self, deadline: Deadline) -> None:
        """The login was refused, it seems. Raises Unavailable where that is so.

        It is so where a login prompt is back. Where others wrote meanwhile, what they wrote may have been taken for
        this login's prompts, so that it was no login with this name and password: once, it is tried anew.
        """
        words = self._words()
        if not self._is_login_back(deadline):
            return
        self._refusals += 1
        if (self._foreign or not self._passwords) and self._refusals == 1:
            self._doubt = True
            self._names = self._passwords = 0
            return
        raise self._error(
            Cause.LOGIN,
            f"the login of {self._who.user} was refused{words}",
            "check serial_user and serial_password (or ansible_user, ansible_password) in the inventory",
        )

    def _is_login_back(self, deadline: Deadline) -> bool:
        """Whether a login prompt answers, and no shell."""
        for _ in range(_TURNS_DOWN_AGAIN):
            self._ask_again(deadline)
            self._wait_out_a_burst(deadline)
            found = self._classify()
            if found is Prompt.OTHER:
                return False
            if found in (Prompt.NAME, Prompt.PASSWORD) and not (self._amid and self._foreign):
                return True
        return not self._probe(deadline)

    def _probe(self, deadline: Deadline) -> bool:
        """Whether a shell answers. Waits for a login's slow shell, but not where a prompt shows up instead."""
        nonce = Nonce.fresh()
        place, began = self._reader.total, deadline.clock.monotonic()
        self._probed.append(nonce.whole.encode())
        # The answer to an earlier one may only have been slow.
        answers = re.compile(b"|".join(self._probed))
        line = f' echo {nonce.first}""{nonce.second}\n'.encode()
        self._type(line, deadline)
        end = deadline.clamp(self._console.timing.window(_PROBE_WAIT, typed=len(line), heard=len(line)))
        while not end.expired:
            if self._reader.wait_until(answers, place, deadline, at_most=0.25):
                if nonce.whole.encode() in self._reader.since(place):
                    self._console.timing.note_answer(deadline.clock.monotonic() - began)
                self._settle_after(place, deadline)
                return True
            self._answer_queries(deadline)
            if self._reader.total > place and classify(self._reader.since(place)) is not Prompt.OTHER:
                self._reader.settle(place, deadline, quiet=_QUIET, at_most=0.5)
                return nonce.whole.encode() in self._reader.since(place)
        deadline.check("waiting for a shell on the console")
        if self._reader.total > place:
            # A slow line is still at it.
            self._hush(place, deadline, self._console.timing.window(0.5, heard=len(line)))
        return answers.search(self._reader.since(place)) is not None

    def _settle_after(self, place: int, deadline: Deadline) -> None:
        """Lets the prompt come, and the questions that go with it, before anything else is typed."""
        self._reader.settle(place, deadline, quiet=0.03, at_most=0.3)
        self._answer_queries(deadline)

    def _give_name(self, deadline: Deadline) -> None:
        # What the machine says of it may be lost with the old login's terminal.
        if self._passwords or timed_out(self._reader.since(self._place)):
            self._note_timeout()
        self._names += 1
        self._sure_names += not self._amid
        if self._sure_names > 4:
            raise self._error(
                Cause.LOGIN,
                f"the login prompt came back {self._sure_names - 1} times for {self._who.user}",
                "is the name right, and may it log in on this console (/etc/securetty, pam_access)?",
            )
        self._events.emit("serial.login", f"logging in as {self._who.user}", user=self._who.user)
        self._type(f"{self._who.user}\n".encode(), deadline, expected=(Prompt.PASSWORD,))
        # The name is echoed at once; the password's prompt takes its time on a slow machine.
        self._settle_for_prompt(deadline, 15.0, echoed=self._who.user)
        self._prompt_took = max(0.0, self._reader.last - self._typed_at)

    def _give_password(self, deadline: Deadline) -> bool:
        if not self._names:  # a login that somebody else began
            self._type(b"\n", deadline)
            self._settle_for_prompt(deadline, 8.0, echoed="")  # refusing it takes a few seconds
            return False
        if self._who.password is None:
            raise self._error(
                Cause.LOGIN,
                f"the console asks for the password of {self._who.user} and none is given",
                "set serial_password (or ansible_password) for this host, in a vault or the environment",
            )
        if self._passwords and self._doubt and not self._refusals:
            self._refusals += 1
            self._names = self._passwords = 0
            self._type(b"\n", deadline)
            self._settle_for_prompt(deadline, 8.0, echoed="")
            return False
        if self._passwords:
            raise self._error(
                Cause.LOGIN,
                f"the console asked for the password of {self._who.user} again",
                "check serial_password (or ansible_password) in the inventory",
            )
        self._passwords += 1
        self._type(f"{self._who.password}\n".encode(), deadline, secret=True, expected=(Prompt.REFUSED, Prompt.NAME))
        self.logged_in = True
        # Amid somebody's writing a shell is not told from it by waiting.
        self._settle_for_prompt(deadline, 6.0 if self._amid else 15.0, echoed="")
        return True

    def _open_maintenance(self, prompt: Prompt, deadline: Deadline) -> bool:
        """Answer sulogin(8), which asks for root's password in emergency and rescue modes; whether it was answered.

        The shell is not ended afterwards: its end would let the boot go on (systemd.special(7), `emergency.target`).
        Raises Unavailable(LOGIN) where there is no password to answer with, or it was refused.
        """
        what = "the machine is in emergency or rescue mode"
        if prompt is Prompt.ROOT_LOCKED:
            raise self._error(
                Cause.LOGIN,
                f"{what}, and its shell is closed: 'Cannot open access to console, the root account is locked'",
                "set a password for root in the image, or boot with SYSTEMD_SULOGIN_FORCE=1",
            )
        if prompt is Prompt.MAINTENANCE_ENTER:
            self._type(b"\n", deadline)
        elif self._who.user != "root" or self._who.password is None:
            raise self._error(
                Cause.LOGIN,
                f"{what}: the console asks for root's password for maintenance, and none is given",
                "set serial_user=root and serial_password for this host, in a vault or the environment",
            )
        elif self._maintenance:
            raise self._error(
                Cause.LOGIN,
                f"{what}: the console asks for root's password for maintenance, and refuses the one that is given",
                "check serial_password (or ansible_password) in the inventory",
            )
        elif not echo_is_off(self._console, self._reader, deadline, wait=self._echo_wait(deadline)):
            deadline.sleep(0.2)
            return False
        else:
            self._maintenance = True
            self._events.emit("serial.login", f"{what}; giving root's password for maintenance", user="root")
            self._type(f"{self._who.password}\n".encode(), deadline, secret=True)
        self._settle_for_prompt(deadline, 15.0, echoed="")
        return True

    def _decline_change(self, deadline: Deadline) -> None:
        """A new password is demanded. An empty answer ends that, so that nobody finds the console in it."""
        error = self._error(
            Cause.PASSWORD_EXPIRED,
            f"the password of {self._who.user} must be changed before it can be used",
            "log in by hand once and change it, or lift the demand with `chage -d -1 USER` in the image",
        )
        self._type(b"\n", deadline)
        if self._passwords:
            raise error
        self._settle_for_prompt(deadline, 8.0, echoed="")  # it was demanded of somebody else, before us

    def _note_timeout(self) -> None:
        """The machine ended our login before it was through: it may be tried again, but not for ever."""
        if not self._names or self._timed_out_at == self._place:
            return
        self._timed_out_at = self._place
        self._passwords = 0
        self._timeouts += 1
        self._ended_by = self._words() or self._ended_by
        if self._timeouts >= _LATE_LOGINS:
            raise self._error(
                Cause.LOGIN,
                f"the machine ended the login of {self._who.user} {self._timeouts} times{self._ended_by}",
                "is it overloaded, or does its login wait for a network (PAM)? LOGIN_TIMEOUT is in /etc/login.defs",
            )

    def _wait_for_more(self, deadline: Deadline) -> None:
        """A login has ended: its getty will come by itself, else it is asked for."""
        before = self._reader.total
        self._reader.settle(before, deadline, quiet=0.3, at_most=self._console.timing.window(4.0))
        if self._reader.total == before:
            self._type(b"\n", deadline)
            self._settle(deadline, 2.0)

    def _end_program(self, deadline: Deadline) -> None:
        """Ends a program of ours that an earlier run left behind. A console may ignore Ctrl-C: SIGINT is ignored in a
        shell that was started with `&`, or no key sends it (`stty intr undef`)."""
        leave = b"\n" + request("X", Nonce.fresh())
        # The last but one is for the program's loader: forget all that was typed, and run nothing.
        ways = (_CTRL_C, leave, b"\n@\n@\n.\n", b"\n\x04")
        self._type(ways[self._ended_programs % len(ways)], deadline)
        self._ended_programs += 1
        self._settle(deadline, 1.0)
        # What it answered to that may have been its last: who is there now?
        self._type(b"\n", deadline)
        self._settle(deadline, 1.0)

    def _rescue(self, strokes: tuple[bytes, ...], deadline: Deadline) -> None:
        self._events.emit(
            "serial.rescue",
            f"no shell answers; typing {b''.join(strokes)!r} to end what stands on the console",
            level="warning",
        )
        for stroke in strokes:
            self._type(stroke, deadline)
            self._settle(deadline, 0.5)

    # -- typing and hearing ------------------------------------------------------------------------------------

    def _type(
        self,
        data: bytes,
        deadline: Deadline,
        *,
        secret: bool = False,
        expected: tuple[Prompt, ...] = (Prompt.REFUSED, Prompt.NAME),
    ) -> None:
        self._place, self._lines = self._reader.total, self._heard.count
        self._expected, self._asked = expected, False
        self._console.write(data, deadline=deadline, secret=secret)
        self._typed_at = deadline.clock.monotonic()

    def _settle(self, deadline: Deadline, at_most: float) -> None:
        self._hush(self._place, deadline, self._console.timing.window(at_most))
        self._answer_queries(deadline)

    def _hush(self, place: int, deadline: Deadline, at_most: float, *, quiet: float = _QUIET) -> None:
        """Waits for a quiet, and notes whether there was one."""
        self._amid = not self._reader.settle(place, deadline, quiet=quiet, at_most=at_most)
        if not self._amid:
            self._calm_at = deadline.clock.monotonic()

    def _settle_for_prompt(self, deadline: Deadline, at_most: float, *, echoed: str) -> None:
        """Waits for a prompt that is known, or for anything that is more than the echo and then a longer quiet."""
        end = deadline.clamp(self._console.timing.window(at_most))
        quiet = _PROMPT_QUIET
        while not end.expired:
            deadline.check("waiting for the login to answer")
            rest = max(0.05, min(_SLICE, end.remaining()))
            self._hush(self._place, deadline, rest, quiet=quiet)
            seen = self._reader.since(self._place)
            if quiet < _QUIET:
                if self._is_only_answer():
                    break
                quiet = _QUIET
                continue
            if self._classify() is not Prompt.OTHER or (not self._amid and ends_with_shell_prompt(seen)):
                break
            more = strip_ansi(seen).decode("utf-8", "replace").replace("\r", "\n").strip() not in ("", echoed)
            if more and quiet > _QUIET and not self._amid:
                break
            if not more:
                deadline.sleep(0.05)
            quiet = 0.5 if more else _QUIET
        self._answer_queries(deadline)

    def _is_only_answer(self) -> bool:
        """Whether what was heard is a prompt for a name or a password that was expected, and nobody has written but the
        login: then it is complete."""
        seen = self._reader.since(self._place)
        if self._doubt or self._amid or self._heard.count > self._lines or unexpected(seen, *self._expected):
            return False
        return self._classify() in (Prompt.NAME, Prompt.PASSWORD)

    def _answer_queries(self, deadline: Deadline) -> None:
        """Answers a shell that asks its terminal something and would wait; each question once."""
        seen = self._reader.since(self._answered)
        self._answered = self._reader.total
        for question, answer in _QUERIES:
            if question.search(seen):
                self._console.write(answer, deadline=deadline)

    def _words(self) -> str:
        words = refusal(self._reader.since(self._place))
        return f": {words}" if words else ""

    def _error(self, cause: Cause, message: str, hint: str) -> Unavailable:
        return Unavailable(
            f"{message} (console {self._console.name})",
            cause=cause,
            transport="serial",
            seen=self._reader.since(self._place)[-2048:],
            hint=hint,
        )

    def _refuse_drawn_screen(self) -> None:
        """Raise Unavailable where what answered a newline drew a frame: an installer's dialogue, a boot menu. Other
        keys would choose something there. An editor that somebody left open draws none, and is ended."""
        screen = DrawnScreen()
        screen.feed(self._reader.since(0))
        if screen.is_framed:
            raise self._hands_off(MENU_ON_SCREEN, screen.lines())

    def _hands_off(self, why: str, rows: tuple[str, ...] = ()) -> Unavailable:
        shown = "".join(f"\n    {row}" for row in rows)
        return Unavailable(
            f"nothing is typed on the console {self._console.name}: {why}{shown}",
            cause=Cause.NO_SHELL,
            transport="serial",
            seen=self._reader.since(0)[-2048:],
            hint="`harness console` shows it, and types what you type",
        )

    def _no_shell(self, seconds: float) -> Unavailable:
        own, others = self._reader.since(0)[-1024:], b"\n".join(self._heard.others()[-12:])
        seen = others[-1024:] + b"\n" + own
        lines = strip_ansi(seen).decode("utf-8", "backslashreplace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return Unavailable(
            f"no shell answered on the console {self._console.name} within {seconds:.1f} s; "
            + (f"it last said {last[-200:]!r}" if last else "it said nothing at all"),
            cause=Cause.NO_SHELL,
            transport="serial",
            seen=seen,
            hint="is the machine up, does it have a login on this console (console=ttyS0, serial-getty@ttyS0)?",
        )
