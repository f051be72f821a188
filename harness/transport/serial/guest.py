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
import itertools
import re
import shlex
from functools import cache
from importlib import resources

from harness.transport.serial.typed import cut, shorten

# -- The check of a line -----------------------------------------------------------------------------------------------
#
# A POSIX shell cannot ask for a character's code without a process, but it can replace a set of characters by a digit,
# in one step: it splits the text at them (IFS) and joins the fields with the digit ("$*"). Each character is written as
# three digits so, in three passes over the text, and the text becomes three numbers of as many digits as it has
# characters. The remainder of all three by a prime is multiplied once more, and is the check. Without that, a change
# near the end of the text would change the remainder by a power of ten, and so one digit of the check: a line could be
# damaged in both, and hold.
#
# Every line with one character changed, and every one of up to 80 characters with two changed or exchanged, has another
# check: no such change adds up to a multiple of the prime. Nor does any with one character and one digit of its check
# changed hold. Any other change passes with a probability of 1 in 2 ** 40,
# as does a lost or added character, because the weight of each position depends on the length.

BLANK = "\x02"
"""Stands for a blank where the check is worked out: the shell joins blanks in a row where it splits text at them."""

ALPHABET = BLANK + "".join(chr(code) for code in range(0x21, 0x7F))
"""What a checked line is made of. Any other character, in the guest too, is damage."""

_BASES = (5, 5, 4)  # 5 x 5 x 4 holds the 95 characters, with the fewest sets: each costs the guest a split and a join
PRIME = (1 << 40) - 87
_FACTOR = 2718282  # a product of it and a remainder has 62 bits
_CHUNK = 18  # digits: with a 1 before them, and added to such a product, they stay below 2 ** 63


def _spell_characters() -> dict[str, tuple[int, ...]]:
    """Each character as three digits. A digit's own place is that digit: what was replaced stays what it is."""
    fixed = {str(digit): (digit, digit, min(digit, _BASES[2] - 1)) for digit in range(5)}
    spare = [
        spelling for spelling in itertools.product(*(range(base) for base in _BASES)) if spelling not in fixed.values()
    ]
    others = [character for character in ALPHABET if character not in fixed]
    return fixed | dict(zip(others, spare, strict=False))


_SPELLED = _spell_characters()
_TABLES = tuple(
    bytes(ord(str(_SPELLED[chr(code)][place])) if chr(code) in _SPELLED else 0x78 for code in range(256))
    for place in range(len(_BASES))
)


def _digest_function() -> str:
    """The same in the shell's words: h_check from h_text. Fails where another character stands in it.

    Behind the text stands a blank while it is split, because some shells drop an empty field at the end.
    """
    steps = [
        "h_check=$h_text;",
        "case $h_check in",
        # As many steps as there are blanks, but only where two of them stand together.
        "*\\ \\ *) while case $h_check in *\\ *) ;; *) false;; esac; do",
        "h_check=${h_check%%\\ *}$h_blank${h_check#*\\ };",
        "done;;",
        '*\\ *) IFS=\\ ; set -- $h_check.; IFS=$h_blank; h_check="$*"; h_check=${h_check%.};;',
        "esac;",
    ]
    # Assignments of one command take effect one after the other, and are cheaper than commands of their own.
    line = "h_digits="
    for place, base in enumerate(_BASES):
        line += ' h_plane="$h_check "'
        for digit in range(base):
            members = "".join(c for c in ALPHABET if _SPELLED[c][place] == digit)
            quoted = shlex.quote(members.replace(BLANK, "")) + ("$h_blank" if BLANK in members else "")
            line += f' IFS={quoted}; set -- $h_plane; IFS={digit} h_plane="$*"'
        line += " h_digits=$h_digits$h_plane"
    steps.append(f"{line};")
    step = f"h_sum=$(((h_sum*{_FACTOR}+1$h_plane)%{PRIME}));"
    steps += [
        "unset IFS;",
        "case $h_digits in *[!0-4\\ ]*) return 1;; esac;",
        "h_sum=0;",
        "for h_plane in $h_digits; do",
        f"while [ ${{#h_plane}} -gt {_CHUNK} ]; do",
        f"h_digits=${{h_plane#{'?' * _CHUNK}}};",
        'h_plane=${h_plane%"$h_digits"};',
        step,
        "h_plane=$h_digits;",
        "done;",
        step,
        "done;",
        f"h_check=$(((h_sum*{_FACTOR}+1)%{PRIME}));",
    ]
    return "h_digest() {\n" + "\n".join(steps) + "\n};"


def digest(text: str | bytes) -> int:
    """Return the check of a line, as the guest's shell works it out. Raise ValueError for any other character."""
    raw = text.encode("latin-1", "replace") if isinstance(text, str) else text
    raw = raw.replace(BLANK.encode(), b"\xff").replace(b" ", BLANK.encode())
    remainder = 0
    for table in _TABLES:
        digits = raw.translate(table)
        for at in range(0, len(digits), _CHUNK):
            remainder = (remainder * _FACTOR + int(b"1" + digits[at : at + _CHUNK])) % PRIME
    return (remainder * _FACTOR + 1) % PRIME


def program_check(pieces: list[str]) -> int:
    """Return what the program says as its own check (`h_program_check`) where it was typed in these pieces."""
    text = " ".join(pieces)
    check, waiting = len(text) + 1, ""  # the loader puts a blank before the first piece
    for word in text.split():
        waiting += f"{word} "
        if len(waiting) >= _PROGRAM_CHUNK:
            check, waiting = digest(f"{check} {waiting}"), ""
    return digest(f"{check} {waiting}")


_PROGRAM_CHUNK = 500  # characters; as in guest.sh

_ONLY_WITHOUT_TOOLS = re.compile(r"^ *# \[ only without gzip and base64\n.*?^ *# \]\n", re.DOTALL | re.MULTILINE)


def readable_program(*, has_tools: bool = False) -> str:
    """Return the program as people read it, in guest.sh; what differs from console to console is not filled in yet.

    `has_tools`: the guest has gzip and base64, so what does without them is left out.
    """
    text = (resources.files("harness.transport.serial") / "guest.sh").read_text(encoding="ascii")
    if has_tools:
        text = _ONLY_WITHOUT_TOOLS.sub("", text)
    return text.replace("@CHECK@", _digest_function())


@cache
def _short_program(*, has_tools: bool = False) -> str:
    return shorten(readable_program(has_tools=has_tools))


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


def program(
    *, name: str, hello: tuple[str, str], inline: int, dirs: tuple[str, ...], has_tools: bool = False
) -> list[str]:
    """Return the program in pieces short enough to be typed, each of printable ASCII.

    `has_tools` as in `readable_program`; the other parameters are those of `fill`.
    """
    text = _short_program(has_tools=has_tools)
    return cut(fill(text, name=name, hello=hello, inline=inline, dirs=dirs), 700)


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
