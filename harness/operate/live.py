"""Stream a command's output while it runs, over any transport, and that outlives the transport it began on.

The transports' own commands answer when they have ended. Here the command runs apart on the target, with its output
in files of a private folder, and each *look* is an ordinary command that reads on where the last one stopped. So what
comes is verified byte for byte like every answer, over serial as over SSH, and when a connection is lost in the
middle, the next look goes on over another transport, and the command is never run a second time.

A look's answer: standard output and standard error are the next pieces of the command's own, and standard error ends
with a line `NONCE STATUS OUT ERR`: the exit status, or `-` while it runs, and how many bytes there are by now.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import Cancelled, HarnessError
from harness.tolerant import count
from harness.transport.contract import CommandResult
from harness.transport.errors import Cause, Timeout, TransportError, TransportLost
from harness.transport.link import Link

PIECE = 262144
"""Bytes of each stream that one look reads at most."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
UNREACHABLE = 60.0
"""Seconds that a target may be unreachable while a command runs on it."""
END_GRACE = 5.0
"""Seconds that ending a command may take that is not to go on."""

OnOutput = Callable[[bytes, bytes], None]
"""Called with what came next of standard output and of standard error."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended. `exit_status` is its own; `transports` are those that served, each once, in order."""

    exit_status: int
    transports: tuple[str, ...]


_STUCK = 98
_CUT = 99

# All is kept in one private folder of the target: i, o, e the streams; r is there once it was started, by whoever made
# that folder first, so that a start whose answer was lost can be typed again; g its process; s its exit status.
_FIND = """for d in /run /dev/shm /tmp /var/tmp "${HOME:-/}"; do
  d=$d/.harness-@NONCE@
  [ -d "$d" ] && break
  d=
done
"""
_START = """u=$(umask)
for t in tail head wc cat mv rm; do command -v $t >/dev/null || exit @STUCK@; done
umask 077
[ -n "$d" ] || for d in /run /dev/shm /tmp /var/tmp "${HOME:-/}"; do
  d=$d/.harness-@NONCE@
  mkdir "$d" 2>/dev/null && break
  d=
done
[ -n "$d" ] || exit @STUCK@
@INPUT@
[ $(($(wc -c <"$d/i"))) -eq @LENGTH@ ] || exit @CUT@
s=
command -v setsid >/dev/null && s=setsid
if mkdir "$d/r" 2>/dev/null; then $s sh -c '
  trap "" HUP
  echo $$ >"$1/g"
  ( trap - HUP; umask "$2"; exec sh -c "$3" ) <"$1/i"
  echo $? >"$1/t"
  mv "$1/t" "$1/s"
' sh "$d" "$u" @COMMAND@ >"$d/o" 2>"$d/e" </dev/null &
  while [ ! -e "$d/o" ] || [ ! -e "$d/e" ]; do sleep 0.1 2>/dev/null || sleep 1; done
fi
"""
_LOOK = """[ -n "$d" ] || exit @STUCK@
n=0
while [ ! -e "$d/s" ] && [ $n -lt @WAIT@ ]; do
  n=$((n+1))
  sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }
done
s=-
if [ -e "$d/g" ] && [ ! -e "$d/s" ]; then
  read -r g <"$d/g"
  kill -0 "$g" 2>/dev/null || [ -e "$d/s" ] || echo 137 >"$d/s"
fi
[ -e "$d/s" ] && read -r s <"$d/s"
o=$(($(wc -c <"$d/o")))
e=$(($(wc -c <"$d/e")))
tail -c +@OUT@ "$d/o" | head -c @PIECE@
{ tail -c +@ERR@ "$d/e" | head -c @PIECE@; echo "@NONCE@ $s $o $e"; } >&2
"""
_END = """[ -n "$d" ] || exit 0
g=
if [ ! -e "$d/s" ] && read -r g <"$d/g"; then
  for s in TERM KILL; do
    kill -s $s -- -"$g" 2>/dev/null || kill -s $s "$g" 2>/dev/null || break
    n=0
    while [ $n -lt 10 ] && kill -0 "$g" 2>/dev/null; do n=$((n+1)); sleep 0.1 2>/dev/null || sleep 1; done
  done
fi
[ -n "$g" ] && { kill -0 -- -"$g" || kill -0 "$g"; } 2>/dev/null || echo @NONCE@
rm -rf "$d"
"""


class LiveCommand:
    """One command on one link, run once. `on_output` gets its output as it comes, from the calling thread."""

    def __init__(
        self, link: Link, command: str, *, on_output: OnOutput, stdin: bytes = b"", transport: str | None = None
    ) -> None:
        self._link = link
        self._command = command
        self._on_output = on_output
        self._stdin = stdin
        self._transport = transport
        self._nonce = secrets.token_hex(8)
        self._out = 0
        self._err = 0
        self._transports: list[str] = []
        self._begun = False

    def run(self, deadline: Deadline) -> Ended:
        """Runs it to its end. At the deadline, and when cancelled, it is ended on the target.

        Raises Timeout, TransportError (it may go on on the target then, which nobody can tell), Cancelled.
        """
        try:
            status = self._to_its_end(deadline)
        except _Stuck:
            return self._plain(deadline)
        except HarnessError as error:
            if self._begun or getattr(error, "may_have_run", False):
                ended = self._end()
                if deadline.expired and not isinstance(error, Cancelled):
                    raise self._timeout(ended=ended) from None
            raise
        self._end()
        return Ended(status, tuple(self._transports))

    def _to_its_end(self, deadline: Deadline) -> int:
        status = self._look(_FIND + _START, deadline, wait=3, stdin=self._stdin)
        pause = FIRST_PAUSE
        while status is None:
            deadline.check("a command runs")
            deadline.sleep(pause)
            before = (self._out, self._err)
            status = self._look_when_it_can_be(deadline)
            pause = FIRST_PAUSE if (self._out, self._err) != before else min(LONGEST_PAUSE, pause * 1.5)
        return status

    def _look_when_it_can_be(self, deadline: Deadline) -> int | None:
        """A look. Where no transport serves it is waited for one, for a while: the command goes on meanwhile."""
        patience = deadline.clamp(UNREACHABLE)
        while True:
            try:
                return self._look(_FIND, deadline)
            except (_Gone, Timeout):
                raise
            except TransportError:
                if patience.expired:
                    raise
            patience.sleep(LONGEST_PAUSE)

    def _timeout(self, *, ended: bool) -> Timeout:
        return Timeout(
            f"`{self._command[:200]}` had not ended at its deadline; "
            + ("it was ended on the target" if ended else "whether it was ended on the target is not known"),
            transport=self._transports[-1] if self._transports else "ssh",
            hint="give it more time with --deadline, or look at what it waits for",
        )

    def _look(self, script: str, deadline: Deadline, *, wait: int = 0, stdin: bytes = b"") -> int | None:
        """Passes on what came; the exit status, None while it runs."""
        while True:
            deadline.check("reading what a command writes")
            result = self._ask(script + _LOOK, deadline, wait=wait, stdin=stdin)
            self._begun = True
            if result.transport not in self._transports:
                self._transports.append(result.transport)
            err, _, last = result.stderr.rpartition(self._nonce.encode())
            words = last.split()
            if result.exit_status == _STUCK and not self._out + self._err:
                raise _Stuck
            if result.exit_status or len(words) != 3:
                raise _Gone(
                    "what the command wrote is no longer on the target: it was restarted, or cleaned"
                    + (f"; it said {result.err[-200:]!r}" if result.err else ""),
                    cause=Cause.LOST,
                    transport=result.transport,
                    may_have_run=True,
                    hint="look at the console's log, and run it again",
                )
            self._out += len(result.stdout)
            self._err += len(err)
            if result.stdout or err:
                self._on_output(result.stdout, err)
            status, out, more = words[0], count(words[1]), count(words[2])
            if self._out >= out and self._err >= more:
                return None if status == b"-" else count(status, 255, most=255)
            script, wait, stdin = _FIND, 0, b""

    def _ask(self, script: str, deadline: Deadline, *, wait: int = 0, stdin: bytes = b"") -> CommandResult:
        values = {
            "NONCE": self._nonce,
            "COMMAND": shlex.quote(self._command),
            "INPUT": 'cat >"$d/i"' if stdin else ': >"$d/i"',
            "LENGTH": str(len(stdin)),
            "OUT": str(self._out + 1),
            "ERR": str(self._err + 1),
            "PIECE": str(PIECE),
            "WAIT": str(wait),
            "STUCK": str(_STUCK),
            "CUT": str(_CUT),
        }
        text = re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], script)
        # Whatever is asked twice is done once, so it may be asked again over another transport.
        return self._link.run(text, deadline=deadline, stdin=stdin or None, repeatable=True, transport=self._transport)

    def _plain(self, deadline: Deadline) -> Ended:
        """Where the target has no folder to write to, or not the programs, the output comes at the end."""
        result = self._link.run(self._command, deadline=deadline, stdin=self._stdin or None, transport=self._transport)
        self._on_output(result.stdout, result.stderr)
        return Ended(result.exit_status, (result.transport,))

    def _end(self) -> bool:
        """End it on the target, and remove what was kept there; return whether it was seen to be gone."""
        with contextlib.suppress(HarnessError):  # it is told that it was not to go on, whether that is heard or not
            return self._nonce.encode() in self._ask(_FIND + _END, Deadline.after(END_GRACE)).stdout
        return False


class _Gone(TransportLost):
    """The target has forgotten the command."""


class _Stuck(Exception):
    """Nothing can be kept on the target."""
