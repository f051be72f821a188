"""The guest's side of the serial transport: one POSIX sh program, typed into the console and kept in a variable.

Nothing is installed. The program reads checked requests, one a line, runs each command in a process group of its
own and keeps its output until the next command, so that a damaged answer is *read again* and never run again. It
needs only builtins; base64, gzip, awk, sed, sha256sum, md5sum and cksum are used where the guest has them. It
stands in guest.sh, laid out for people; :mod:`harness.transport.serial.typed` makes it short.

How a request and an answer look is told in :mod:`harness.transport.serial.requests` and
:mod:`harness.transport.serial.frames`.
"""

from __future__ import annotations

import base64
import gzip
import shlex
from functools import cache
from importlib import resources

from harness.transport.serial.typed import cut, shorten

PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
# One set of characters for each bit of ASCII; counting the members of each tells any two characters apart.
# The space is left out: as a field separator it would not be counted one by one.
PLANES = tuple("".join(c for c in PRINTABLE[1:] if ord(c) >> bit & 1) for bit in range(7))
WEIGHTS = (1, 1009, 18433, 300007, 4500007, 60000011, 700000001)
SENTINELS = ("@", "@", "@", "@", "@", "@", "!")


def _digest_function() -> str:
    steps = []
    for i, (plane, weight, sentinel) in enumerate(zip(PLANES, WEIGHTS, SENTINELS, strict=True)):
        before = "h_code=" if i == 0 else "h_code=$h_code+"
        steps.append(f"IFS={shlex.quote(plane)}; set -- $h_line{shlex.quote(sentinel)}; {before}$#*{weight};")
    # The sums are collected as text and worked out once: fewer expansions, and no octal surprises.
    return "h_digest() {\n" + "\n".join(steps) + "\nunset IFS;\nh_code=$(($h_code));\n};"


_NOTHING = sum(WEIGHTS)
_WORTH = tuple(sum(w for plane, w in zip(PLANES, WEIGHTS, strict=True) if chr(c) in plane) for c in range(128))


def digest(text: str) -> int:
    """The check value of a typed line, as the guest's shell works it out with its own field splitting.

    Differs for any two lines that differ in one character. Lost and added characters are told by the length,
    which is sent beside it.
    """
    return _NOTHING + sum(map(_WORTH.__getitem__, text.encode("ascii")))


def readable_program() -> str:
    """The program as people read it, in guest.sh; what differs from console to console is still to be filled in."""
    text = (resources.files("harness.transport.serial") / "guest.sh").read_text(encoding="ascii")
    return text.replace("@SUM@", _digest_function())


@cache
def _short_program() -> str:
    return shorten(readable_program())


def fill(text: str, *, name: str, hello: tuple[str, str], inline: int, dirs: tuple[str, ...]) -> str:
    """The program with what is this console's own.

    `name` is the unguessable name of its folder in the guest, `hello` the two halves of its first answer's nonce,
    `inline` the largest output (bytes) that is answered inside the status line, `dirs` where it may keep files.
    """
    return (
        text.replace("@DIRS@", " ".join(f'"{d}"' for d in dirs))
        .replace("@NAME@", name)
        .replace("@MAX@", str(inline))
        .replace("@HELLO@", f'{hello[0]}""{hello[1]}')
    )


def program(*, name: str, hello: tuple[str, str], inline: int, dirs: tuple[str, ...]) -> list[str]:
    """The program in pieces short enough to be typed, each of printable ASCII; its parameters are those of `fill`."""
    return cut(fill(_short_program(), name=name, hello=hello, inline=inline, dirs=dirs), 700)


def packed(pieces: list[str]) -> list[str]:
    """A program in pieces, compressed: half as much to type."""
    text = base64.b64encode(gzip.compress(" ".join(pieces).encode("ascii"), 9, mtime=0)).decode("ascii")
    return [text[at : at + 320] for at in range(0, len(text), 320)]


DIRS = ("/dev/shm", "/run", "/tmp", "/var/tmp", "${HOME:-/}", "/dev", "/")  # noqa: S108 - names only; the folder is ours


def loader(first: str, second: str) -> str:
    """The one line typed into whatever shell the login gave: starts `sh` and reads the program from us.

    It holds no backslash but one in `\\n`, no single quote inside the quotes and no newline: bash, zsh, fish, ash, dash
    and csh read it alike. Every piece is given back between two marks before it is taken, so that we can compare: `+`
    takes the one before and holds this one, `-` holds this one instead, `@` forgets all before. `.` runs what was
    taken, `z` unpacks it first (gzip, base64) and goes on reading where that fails. Whether there are the tools for
    that is said at the beginning: `z` behind the marks. How the terminal was set is kept in `g`, for the end.
    """
    return (
        f""" sh -c 't={first}""{second};g=`stty -g`;stty -echo -ixon -opost;a=;l=;z=;"""
        """command -v gzip>/dev/null&&command -v base64>/dev/null&&z=z;printf "$t+%s$z\\n" $t;"""
        """while IFS= read -r i;do case $i in +*)a="$a $l";l=${i#+};;-*)l=${i#-};;@*)a=;l=${i#@};;"""
        """z)i=`printf %s $a $l|base64 -d|gzip -d`&&a=$i&&break;;.)break;;esac;"""
        """printf "%s\\n" "$t:$l:$t";done;eval "$a"'"""
    )
