"""What we say to a shell on a clean channel, and how its answer is told from everything else.

A persistent `sh` reads calls of one function from its stdin. A command runs in a `sh -c` of its own that
writes straight
into the channel's two streams; when it has ended, the shell writes a fresh nonce to both, with the exit
status on stdout. The nonce is known to that shell only: it is typed to its stdin, never in an argv,
never in the environment,
and nothing echoes it. What stands before it is the command's output, byte for byte.

What could still lie is a process that the command left behind and that holds the streams: its late output would stand
in the next command's answer. So after each command the shell looks at the processes that came to be meanwhile (the
kernel's last process id, proc(5), `/proc/loadavg`): when one of them still lives and may hold a stream, or belongs to
our session, the shell says so and is not used again. Those in any other session that is older than the command are not
looked at closely: what descends from the command is in our session, or in one that was made since. Where that cannot be
known, each command gets a channel of its own.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from harness.errors import UsageError

LEFTOVERS = 1
"""What the command left behind may write into the channel."""

EXTERNAL = 2
"""The first word of the command is a program, none of the shell's own words."""

ARGUMENT_LIMIT = 100_000
"""Linux takes at most 128 KiB in one argument (MAX_ARG_STRLEN, execve(2)); longer commands are given
over otherwise.
"""

# Names start with `_h_` so that no variable of the target's login environment is met (it would be
# exported on).
# The command is run in a subshell for this: dash writes "Killed" into a simple command's own redirected
# stderr.
_PROGRAM = r"""exec 3>&1 4>&2 >/dev/null 2>&1
_h_m=0
_h_last() { _h_p=; read -r _h_x _h_x _h_x _h_x _h_p </proc/loadavg; }
_h_one() {
[ -d "/proc/$1" ] || return 0
read -r _h_line <"/proc/$1/stat" || { [ -d "/proc/$1" ] || return 0; return 1; }
case $_h_line in *") "*) ;; *) return 1;; esac
set -- "$1" ${_h_line##*) }
[ "$2" = Z ] && return 0
[ "$5" = "$_h_sid" ] && return 1
[ "$5" -gt 0 ] && [ "$5" -le "$_h_0" ] && return 0
[ -r "/proc/$1/fd" ] || { [ -d "/proc/$1" ] || return 0; return 1; }
for _h_f in "/proc/$1/fd"/*; do
if [ "$_h_f" -ef /proc/$$/fd/3 ] || [ "$_h_f" -ef /proc/$$/fd/4 ]; then return 1; fi
done
return 0
}
_h_alone() {
[ "$_h_m" = 1 ] && [ -n "$_h_b" ] && [ -n "$_h_p" ] || return 1
[ "$_h_p" -eq $((_h_b+1)) ] && return 0
_h_0=$_h_b
while :; do
_h_e=$_h_p
[ "$_h_e" -lt "$_h_b" ] && return 1
[ $((_h_e-_h_b)) -gt 256 ] && return 1
while [ "$_h_b" -lt "$_h_e" ]; do
_h_b=$((_h_b+1))
[ ! -d "/proc/$_h_b" ] || _h_one "$_h_b" || return 1
done
_h_last
[ "$_h_p" = "$_h_e" ] && return 0
done
}
_h_end() {
_h_s=$?; _h_b=$_h_p
_h_last; _h_l=$2; _h_alone || _h_l=$((_h_l+1))
printf '%s\n' "$1" >&4
printf '%s %s %s\n' "$1" "$_h_s" "$_h_l" >&3
}
_h_word() {
_h_k=0
case $(command -v -- "$1") in /*) _h_k=2;; esac
}
_h_prove() {
[ -d /proc/1 ] && [ /proc/$$/fd/3 -ef /proc/$$/fd/3 ] && ! [ /proc/$$/fd/3 -ef /proc/$$/fd/0 ] || return 1
read -r _h_line </proc/$$/stat || return 1
set -- ${_h_line##*) }
_h_sid=$4
(:) & _h_c=$!
wait "$_h_c"
_h_last
[ "$_h_p" -ge "$_h_c" ] && [ $((_h_p-_h_c)) -lt 256 ]
}
_h_prove && _h_m=1
"""

_ONE_SHOT = (
    # Nothing in here may mean a thing to csh or fish, should one of them be the login shell: no
    # backslash before a quote, no `!`.
    'IFS= read -r _h_n; IFS= read -r _h_c; exec 3>&1 4>&2 2>/dev/null; printf "%s %s 0\\n" "$_h_n" "$$" >&3; '
    'printf "%s\\n" "$_h_n" >&4; _h_c=$(printf %b. "$_h_c"); (BODY >&3 2>&4 3>&- 4>&-); _h_s=$?; '
    'printf "%s %s 0\\n" "$_h_n" "$_h_s" >&3; printf "%s\\n" "$_h_n" >&4'
)


def fresh_nonce() -> str:
    """A word that no output holds by chance, and no command can foresee."""
    return secrets.token_hex(16)


def quote(text: str) -> str:
    """`text` as one word for a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def check_command(command: str) -> None:
    """Raises :class:`~harness.errors.UsageError` for a command that no shell can be given."""
    if "\0" in command:
        raise UsageError("the command holds a NUL byte, which no shell takes", hint="Write it as \\0 for printf.")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def opening(nonce: str) -> bytes:
    """What a fresh persistent shell is told first; it answers with the nonce, its process id, and
    whether it can tell leftovers.
    """
    return encode(f"{_PROGRAM}printf '%s %s %s\\n' {nonce} \"$$\" \"$_h_m\" >&3; printf '%s\\n' {nonce} >&4\n")


# Words of plain characters and single-quoted strings: nothing that a shell would expand.
_PLAIN = re.compile(r"([A-Za-z0-9_./+-]+)((?: +(?:[A-Za-z0-9_./:,@%+=-]|'[^'\n]*')+)*) *")

_RESERVED = frozenset(
    {
        "case",
        "coproc",
        "do",
        "done",
        "elif",
        "else",
        "esac",
        "fi",
        "for",
        "function",
        "if",
        "in",
        "select",
        "then",
        "time",
        "until",
        "while",
    }
)

_STREAMS = "</dev/null >&3 2>&4 3>&- 4>&-"


def first_word(command: str) -> str:
    """The first word of a command of nothing but plain words; empty for any other command."""
    match = _PLAIN.fullmatch(command)
    return match[1] if match and match[1] not in _RESERVED else ""


def request(command: str, nonce: str, *, external: bool | None = None, rested: bool = True, shell: str = "sh") -> bytes:
    """One command for a persistent shell.

    A command of plain words whose first is an `external` program is the same with a shell of its own and
    without; without, the
    start of one is saved, which is most of a small command's time. Where that is not known (None), the
    shell finds out first.
    `rested`: there was time since the last command for others to start processes; they are not to be looked at.
    """
    word = first_word(command)
    look = "_h_last; " if rested else ""
    plain, full = f"({command} {_STREAMS})", f"(exec {quote(shell)} -c {quote(command)} {_STREAMS})"
    if not word or external is False:
        return encode(f"{look}{full}; _h_end {nonce} 0\n")
    if external:
        return encode(f"{look}{plain}; _h_end {nonce} {EXTERNAL}\n")
    either = f"if [ $_h_k = {EXTERNAL} ]; then {plain}; else {full}; fi"
    return encode(f"_h_word {word}; _h_last; {either}; _h_end {nonce} $_h_k\n")


def one_shot_program(command: str, *, shell: str = "sh") -> str:
    """What a login shell, whichever it is, is to run for a command on a channel of its own."""
    long = len(encode(command)) > ARGUMENT_LIMIT
    body = 'eval "${_h_c%.}"' if long else 'exec "$0" -c "${_h_c%.}"'
    program = quote(_ONE_SHOT.replace("BODY", body))
    return f"exec {quote(shell)} -c {program} {quote(shell)}"


def one_shot_request(command: str, nonce: str) -> bytes:
    """What the one-shot program reads before the command's own stdin begins."""
    return f"{nonce}\n".encode() + escape(encode(command)) + b"\n"


def escape(data: bytes) -> bytes:
    """`data` on one line, for `printf %b`: octal for all that `read` or a shell's own quoting bytes
    might touch.
    """
    return b"".join(bytes((byte,)) if 32 <= byte < 127 and byte != 92 else b"\\0%03o" % byte for byte in data)


@dataclass(frozen=True, slots=True)
class Answer:
    """What stood before a nonce on both streams, and the two numbers behind it.

    A command's are its exit status, and :data:`LEFTOVERS` and :data:`EXTERNAL`; a greeting's are
    the shell's process id, and 1 when the shell can tell leftovers. `rest` is what came behind the
    ending, of both
    streams: behind a command's end it belongs to nobody.
    """

    stdout: bytes
    stderr: bytes
    number: int
    flags: int
    rest: tuple[bytes, bytes] = (b"", b"")


class AnswerTooLongError(Exception):
    """Inside this room: more came than is kept."""


GREETING_LIMIT = 1 << 20
"""Bytes that may come, from a login's profile say, before a shell answers for the first time."""
_ENDING = 256
"""Bytes that our own endings take at most."""


class AnswerReader:
    """Takes the channel's two streams in any pieces; `answer` is there once both have ended with the
    nonce.
    """

    def __init__(self, nonce: str, *, limit: int = GREETING_LIMIT) -> None:
        """`limit` bounds both streams together, in bytes."""
        self._limit = limit
        self._mark = nonce.encode("ascii")
        self._out = bytearray()
        self._err = bytearray()
        self._out_seen = 0
        self._err_seen = 0
        self._out_end = -1
        self._err_end = -1
        self._tail: tuple[int, bool, int] | None = None

    def feed(self, stdout: bytes = b"", stderr: bytes = b"") -> None:
        """Takes more bytes. Raises AnswerTooLongError beyond the limit."""
        self._out += stdout
        self._err += stderr
        if len(self._out) + len(self._err) > self._limit + _ENDING:
            raise AnswerTooLongError(f"more than {self._limit} bytes came")

    @property
    def answer(self) -> Answer | None:
        """The answer, or None while there is more to come. Raises ValueError when the ending is none of
        ours.
        """
        if self._out_end < 0:
            self._out_end, self._out_seen = self._find(self._out, self._out_seen)
        if self._err_end < 0:
            self._err_end, self._err_seen = self._find(self._err, self._err_seen)
        if self._out_end < 0 or self._err_end < 0:
            return None
        stop = self._out.find(b"\n", self._out_end)
        err_stop = self._err.find(b"\n", self._err_end)
        if stop < 0 or err_stop < 0:
            return None
        fields = self._out[self._out_end + len(self._mark) : stop].split()
        if len(fields) != 2 or not all(field.isdigit() and len(field) < 11 for field in fields):
            raise ValueError(f"malformed end of an answer: {bytes(self._out[self._out_end : stop][:200])!r}")
        return Answer(
            _copied(self._out, self._out_end),
            _copied(self._err, self._err_end),
            int(fields[0]),
            int(fields[1]),
            (bytes(self._out[stop + 1 :]), bytes(self._err[err_stop + 1 :])),
        )

    @property
    def partial(self) -> tuple[bytes, bytes]:
        """What came so far of the command's own output, without our ending."""
        out_end = len(self._out) if self._out_end < 0 else self._out_end
        err_end = len(self._err) if self._err_end < 0 else self._err_end
        return _copied(self._out, out_end), _copied(self._err, err_end)

    def give_up(self) -> bytes:
        """Let go of all that came, for an answer of which nothing will be used; the end of it is returned."""
        seen = bytes(self._out[-2048:]) or bytes(self._err[-2048:])
        self._out, self._err = bytearray(), bytearray()
        return seen

    def _find(self, data: bytearray, seen: int) -> tuple[int, int]:
        at = data.find(self._mark, max(0, seen - len(self._mark)))
        return at, len(data)


def _copied(data: bytearray, end: int) -> bytes:
    """The first bytes, copied once: an answer may be large."""
    with memoryview(data) as view:
        return bytes(view[:end])


def end_program(pid: int) -> str:
    """Ends a shell and all that its command started: every descendant of `pid`, and its session where
    `pid` leads one.

    Prints how many of them still live. Needs /proc; where there is none, the process group is ended.
    """
    return _END.replace("PID", str(pid)).replace("\n", " ").strip()


# No quotes but double ones, no backslash: it travels in single quotes through whatever login shell there is.
# A child's number is above its parent's, until the numbers begin anew: the first round looks there only, since to look
# at a process takes a third of a millisecond; the last one looks everywhere.
_END = """
_h_t=PID; _h_left=0;
if read -r _h_line </proc/$_h_t/stat; then
set -- ${_h_line##*) }; _h_sid=none; [ $4 = $_h_t ] && _h_sid=$4; _h_round=0;
while [ $_h_round -lt 6 ]; do
_h_round=$((_h_round+1)); _h_all=" $_h_t "; _h_grown=1; _h_deep=0;
while [ $_h_grown = 1 ] && [ $_h_deep -lt 8 ]; do
_h_grown=0; _h_deep=$((_h_deep+1));
for _h_d in /proc/[0-9]*; do
_h_i=${_h_d#/proc/};
[ $_h_round = 1 ] && [ $_h_i -lt $_h_t ] && continue;
case "$_h_all" in *" $_h_i "*) continue;; esac;
[ "$_h_i" = $$ ] && continue;
read -r _h_line <$_h_d/stat || continue;
set -- ${_h_line##*) };
[ "$1" = Z ] && continue;
case "$_h_all" in *" $2 "*) _h_all="$_h_all$_h_i "; _h_grown=1; continue;; esac;
[ "$4" = "$_h_sid" ] && { _h_all="$_h_all$_h_i "; _h_grown=1; };
done;
done;
kill -STOP $_h_all; kill -KILL $_h_all;
_h_left=0;
for _h_i in $_h_all; do
if read -r _h_line </proc/$_h_i/stat; then
set -- ${_h_line##*) };
[ "$1" = Z ] || _h_left=$((_h_left+1));
fi;
done;
[ $_h_left = 0 ] && [ $_h_round -gt 1 ] && break;
done;
else
kill -KILL -- -$_h_t; kill -KILL $_h_t;
kill -0 -- -$_h_t && _h_left=1;
fi;
echo "left $_h_left"
"""
