"""Which commands are known to write only through the descriptors they are given. Pure.

Output is kept in plain files where that is known, because each pipe costs the guest a process (100 ms under emulation).
It must be known: a program that opens /dev/stdout or /dev/stderr by name (`echo x >/dev/stderr`) truncates a
file that stands behind it, but not a pipe. And a command that asks for nothing that only a shell of its own has
(``$$``, `set`, variables named as ours) may run in a fork of our shell, which saves another process.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_PROGRAMS = frozenset(
    {
        ":", "[", "arch", "basename", "cat", "cd", "cksum", "cut", "date", "df", "dirname", "dmesg", "du", "echo",
        "exit", "expr", "false", "file", "findmnt", "free", "getconf", "getent", "grep", "groups", "head",
        "hostname", "hostnamectl", "id", "ip", "journalctl", "last", "loginctl", "ls", "lsblk", "lscpu", "lsmod",
        "lsof", "lspci", "lsusb", "md5sum", "mkdir", "modinfo", "mount", "networkctl", "nproc", "pgrep", "pidof",
        "printenv", "printf", "ps", "pwd", "readlink", "realpath", "resolvectl", "rm", "rmdir", "seq", "sha1sum",
        "sha256sum", "sleep", "sort", "ss", "stat", "sysctl", "systemctl", "tail", "test", "timedatectl", "touch",
        "tr", "true", "umount", "uname", "uniq", "uptime", "wc", "who", "whoami",
    }
)  # fmt: skip
_BETWEEN = frozenset((";", "&&", "||", "|", "\n"))
_WORDS = frozenset(("if", "then", "else", "elif", "fi", "while", "until", "do", "done", "!", "{", "}"))
_REDIRECT = re.compile(r"(?<![\w>&<])(?:[12]?>&[12]|[12]?>>?\s*/dev/null|<\s*/dev/null)(?=$|[\s;|&)])")
_OWN_SHELL = re.compile(r"\$[^A-Za-z_?]|\$\{[^A-Za-z_]|\$\{?h[A-Z0-9]|\$\{?(?:PPID|IFS|LINENO|OPTIND)|`|\$$")
_REACHES_OUT = re.compile(r"/dev/|/proc/|/fd")


@dataclass(frozen=True, slots=True)
class Plain:
    """`files`: its output may be kept in plain files. `fork`: it needs no shell of its own."""

    files: bool
    fork: bool


def analyse(command: str) -> Plain:
    """What is known of the command; where in doubt, nothing."""
    if not command.isascii() or "\n" in command:
        return Plain(False, False)
    text = _REDIRECT.sub(" ", command)
    fork = _OWN_SHELL.search(command) is None and not re.search(r"\b(?:exec|set|trap|alias|eval|read|env)\b", command)
    if _REACHES_OUT.search(text) or "&" in text.replace("&&", "") or any(c in text for c in "<>()`\\"):
        return Plain(False, fork and _only_known(text))
    known = _only_known(text)
    return Plain(known and fork, known and fork)


def _only_known(text: str) -> bool:
    """Whether each command in it is one of the programs above."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.commenters = ""
    lexer.whitespace_split = True
    first = True
    try:
        for token in lexer:
            if token in _BETWEEN:
                first = True
            elif first:
                if token in _WORDS:
                    first = token not in ("fi", "done", "}")
                    continue
                if token not in _PROGRAMS:
                    return False
                first = False
            elif token in ("sh", "-exec", "-fprint", "-fprintf", "--output", "-o") and "sort" in text:
                return False
    except ValueError:
        return False
    return not first or not text.strip()
