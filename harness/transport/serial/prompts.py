"""What the end of a console's stream asks for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

from harness.transport.serial.console import strip_ansi


class Prompt(Enum):
    """What stands at the end of a console's stream."""

    NAME = "a login prompt"
    PASSWORD = "a password prompt"  # noqa: S105 - a description
    NEW_PASSWORD = "a demand for a new password"  # noqa: S105 - a description
    REFUSED = "a refused login"
    MAINTENANCE = "a demand for root's password for maintenance"
    MAINTENANCE_ENTER = "a maintenance shell that opens with Enter"
    ROOT_LOCKED = "a maintenance shell that is closed, since the root account is locked"
    NOT_YET = "a machine that lets nobody in yet"
    TIMED_OUT = "a login that the machine ended because it took too long"
    HARNESS = "a shell that an earlier run left behind"
    OTHER = "something else"


_NEW_PASSWORD = re.compile(
    rb"(?:required to change your password|password (?:has )?expired|(?:new|retype|current|old)(?: unix)? password: *\Z"
    rb"|\(current\) unix password: *\Z|must (?:be )?change)",
    re.IGNORECASE,
)
# sulogin(8) of util-linux, sysvinit and busybox, as systemd's emergency and rescue modes run it.
_CONTROL_D = rb"[^\n]*\s*\(or (?:press|type) Control-D[^\n]*\): ?\Z"
_MAINTENANCE = re.compile(
    rb"root password for (?:system )?maintenance" + _CONTROL_D + rb"|root password for login: ?\Z", re.IGNORECASE
)
# Its second line alone asks for nothing that can be known: with Enter, the whole question is asked again.
_MAINTENANCE_ENTER = re.compile(
    rb"Press Enter for (?:system )?maintenance" + _CONTROL_D + rb"|\A\s*\(or (?:press|type) Control-D[^\n]*\): ?\Z",
    re.IGNORECASE,
)
_ROOT_LOCKED = re.compile(rb"Cannot open access to console, the root account is locked")
_REFUSED = re.compile(
    rb"(?:login incorrect|authentication failure|permission denied|incorrect password|maximum number of tries"
    rb"|access denied|account (?:has )?expired|account is locked|not allowed)",
    re.IGNORECASE,
)
_TIMED_OUT = re.compile(rb"login timed out|timed out after \d+ seconds", re.IGNORECASE)
_NOT_YET = re.compile(rb"(?:system is booting up|not permitted to log in yet|pam_nologin)", re.IGNORECASE)
_NAME = re.compile(rb"(?:^|[\n\s])(?:[\w.-]+ )?(?:login|user ?name|user) ?: *\Z", re.IGNORECASE)
_PASSWORD = re.compile(rb"(?:password|passwort|passphrase|passcode)(?: for [^\n:]+)? ?: *\Z", re.IGNORECASE)
# The same where somebody else writes all the while: a prompt's own words, whatever stands behind them.
_NAME_AMID = re.compile(rb"(?:^|[^\w.-])(?!last )(?:[\w.-]+ login|username) ?: (?!\S+ \(automatic)", re.IGNORECASE)
_PASSWORD_AMID = re.compile(rb"(?:password|passwort|passphrase|passcode)(?: for [^\n:]+)? ?: ", re.IGNORECASE)
_LINE_END = re.compile(rb"\r+\n")
_SHELL_PROMPT = re.compile(rb"(?:^|\n)[^\n]{0,200}[$#%>] ?\Z")
_HARNESS = re.compile(rb"(?:^|\n)[a-z2-9]{8}<![^|\n]*\|\d{1,19}>|(?:^|\n)([a-z2-9]{8}):[^\n]*:\1(?:\n|$)")


_LOGIN_WORDS = re.compile(
    b"|".join(
        b"(?P<%s>%s)" % (kind.name.encode(), pattern.pattern)
        for kind, pattern in (
            (Prompt.REFUSED, _REFUSED),
            (Prompt.TIMED_OUT, _TIMED_OUT),
            (Prompt.NOT_YET, _NOT_YET),
            (Prompt.PASSWORD, _PASSWORD_AMID),
            (Prompt.NAME, _NAME_AMID),
        )
    ),
    re.IGNORECASE,
)

# A kernel that has run for longer than this is not booting any more: it only prints.
_BOOT_SECONDS = 120
_STAMP = re.compile(rb"\[ *(\d+)\.\d{6}\]")
_BOOTING = re.compile(rb"\[  OK  \]|A start job is running|Linux version|systemd\[1\]")


def classify(seen: bytes, *, amid: bool = False, past: bool = False) -> Prompt:
    """What the stream ends with. `seen` is everything since we last typed, without others' lines.

    `amid`: somebody writes all the while, so a prompt may have stood at the end and does no more. Then
    a prompt is only likely. `past`: a refusal in it was somebody else's.
    """
    # Programs that end their lines with CR LF on a terminal that adds a CR end them with CR CR LF.
    text = strip_ansi(_LINE_END.sub(b"\n", seen).replace(b"\r", b"\n"))
    if _HARNESS.search(text):
        return Prompt.HARNESS
    if _MAINTENANCE.search(text):
        return Prompt.MAINTENANCE
    if _MAINTENANCE_ENTER.search(text):
        return Prompt.MAINTENANCE_ENTER
    if _ROOT_LOCKED.search(text):
        return Prompt.ROOT_LOCKED
    if _NEW_PASSWORD.search(text):
        return Prompt.NEW_PASSWORD
    if _NOT_YET.search(text):
        return Prompt.NOT_YET
    if not past and _REFUSED.search(text):
        return Prompt.REFUSED
    if (_NAME_AMID if amid else _NAME).search(text):
        return Prompt.NAME
    if (_PASSWORD_AMID if amid else _PASSWORD).search(text):
        return Prompt.PASSWORD
    if _TIMED_OUT.search(text):
        return Prompt.TIMED_OUT
    return Prompt.OTHER


def unexpected(seen: bytes, *expected: Prompt) -> bool:
    """Whether words of a login stand in `seen` that do not belong to the answer to what was typed last.

    `expected`: what that answer may hold, in this order; a prompt may stand there several times in a row. Anything
    else was written by somebody else, or earlier.
    """
    text = strip_ansi(_LINE_END.sub(b"\n", seen).replace(b"\r", b"\n"))
    left = list(expected)
    for found in _LOGIN_WORDS.finditer(text):
        kind = Prompt[found.lastgroup or "OTHER"]
        while left and left[0] is not kind:
            left.pop(0)
        if not left:
            return True
    return False


def ends_with_shell_prompt(seen: bytes) -> bool:
    """Return whether the stream ends as most shells' prompts do (``$``, ``#``, ``%``, ``>``).

    It is a reason to ask a shell at once, and no proof that there is one.
    """
    return _SHELL_PROMPT.search(strip_ansi(seen.replace(b"\r", b"\n"))) is not None


def timed_out(seen: bytes) -> bool:
    """Whether a login was ended by the machine, whatever stands there by now."""
    return _TIMED_OUT.search(seen) is not None


def refusal(seen: bytes) -> str:
    """The line in which a login was refused or ended; empty where there is none."""
    for line in strip_ansi(seen.replace(b"\r", b"\n")).split(b"\n"):
        if _REFUSED.search(line) or _TIMED_OUT.search(line):
            return line.strip().decode("utf-8", "backslashreplace")
    return ""


def booting(own: bytes, others: Iterable[bytes]) -> bool:
    """Whether the machine is coming up, by what the terminal said and by the kernel's and systemd's lines."""
    if _BOOTING.search(own):
        return True
    for line in others:
        stamp = _STAMP.match(line)
        if stamp is None or int(stamp[1]) < _BOOT_SECONDS:
            return True
    return False
