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
from functools import lru_cache

_PROGRAMS = frozenset(
    """
    : [ arch arp base32 base64 basename blkid blockdev bootctl bridge btrfs busctl cat cd chgrp chmod chown cksum cmp
    column comm coredumpctl cp cryptsetup curl cut date df diff dig dirname dmesg dmsetup dpkg-query du echo egrep
    ethtool exit expand expr factor false fdisk fgrep file findmnt fmt fold free getcap getconf getent getfacl grep
    groups head hexdump host hostid hostname hostnamectl id ifconfig ip ip6tables iptables iw join journalctl jq kill
    last ln localectl locale loginctl logname losetup ls lsattr lsblk lscpu lsipc lsmod lsns lsof lspci lsusb
    lvdisplay lvs md5sum mdadm mkdir mkfifo mknod mktemp modinfo mount mountpoint mv nc netstat networkctl nft nl
    nmcli nproc nslookup numfmt nvme od openssl oomctl paste pathchk pgrep pidof ping pinky pkill pmap printenv printf
    prlimit ps pvdisplay pvs pwd rdmsr readlink realpath resolvectl rev rm rmdir route seq sfdisk sha1sum sha224sum
    sha256sum sha384sum sha512sum shuf sleep sort ss ssh-keyscan sshd stat strings sum swapon sync sysctl systemctl
    systemd-analyze systemd-cgls systemd-detect-virt tac tail taskset tc test timedatectl touch tr tree true truncate
    tsort tty udevadm umount uname unexpand uniq uptime users vgdisplay vgs vmstat w wc wg who whoami xxd zcat
    zfs zpool
    """.split()  # noqa: SIM905 - a list of 120 lines tells no more
)
_BETWEEN = frozenset((";", "&&", "||", "|", "\n"))
_WORDS = frozenset(("if", "then", "else", "elif", "fi", "while", "until", "do", "done", "!", "{", "}"))
_REDIRECT = re.compile(r"(?<![\w>&<])(?:[12]?>&[12]|[12]?>>?\s*/dev/null|<\s*/dev/null)(?=$|[\s;|&)])")
_OWN_SHELL = re.compile(r"\$[^A-Za-z_?]|\$\{[^A-Za-z_]|\$\{?h[A-Z0-9]|\$\{?(?:PPID|IFS|LINENO|OPTIND)|`|\$$")
_REACHES_OUT = re.compile(r"/dev(?![\w/])|/dev/+(?:std|fd|tty|console|[^\w])|/proc/\S*fd|/proc/self|/fd")
# What runs the words that follow it, after its own options and, for `timeout`, a duration.
_WRAPPERS = frozenset(("nice", "sudo", "time", "timeout"))
_QUOTED = re.compile(r"'[^']*'")
_ADDRESS = r"(?:\d+|\$|/[^/;{}\n]*/)"
# sed: print, delete, substitute; it has commands that write files and run programs too.
_SED = re.compile(
    rf" *(?:{_ADDRESS}(?:,{_ADDRESS})? *!?)? *(?:[pdqDPQ=]|s(?P<by>[/|,#:])(?:(?!(?P=by))[^;\n])*(?P=by)"
    r"(?:(?!(?P=by))[^;\n])*(?P=by)[gpIi0-9]*) *"
)
_AWK_REACHES_OUT = re.compile(r"[|>@]|system|getline|close|printf? *\(")
_WRAPPERS_OWN = re.compile(r"-.*|\d+(?:\.\d+)?[smhd]?")
_BUILTINS = frozenset(
    """
    . : alias autoload bg bind break builtin caller case cd chdir command compgen complete compopt continue declare
    dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi float for function functions
    getopts hash help history if in integer jobs kill let limit local logout mapfile noglob popd print printf pushd
    pwd read readarray readonly rehash repeat return sched select set setopt shift shopt source suspend test then
    time times trap true ttyctl type typeset ulimit umask unalias unfunction unhash unlimit unset unsetopt until
    vared wait whence where which while zcompile zle zmodload zstyle
    """.split()  # noqa: SIM905 - a list of 100 lines tells no more
)
# A name as our own functions have it on the console is none, nor is what `command` and `exec` take for an option.
_PROGRAM = re.compile(r"(?!-|h[A-Z0-9]{1,2}(?: |$))[\w./+-]+(?= |$)", re.ASCII)
_SHELLS = frozenset(("sh", "bash", "dash"))
_ASSIGNMENT = re.compile(r"[A-Za-gi-z_]\w*=.*", re.DOTALL)


# Printable ASCII but the quote itself, what is expanded inside, and `~`, which stands for a newline in an answer.
_WORD = r"""(?:[\w./:,@%+=-]|\$\?|'[ -&(-\[\]-}]*'|"[ !#%-\[\]-_a-}]*")+"""
_WORDS_ONLY = rf"(?:true|false|echo(?: +{_WORD})*)(?: *(?:>&2|2>&1))?"
_BUILTIN = re.compile(rf"{_WORDS_ONLY}(?: *(?:;|&&|\|\|) *{_WORDS_ONLY})*", re.ASCII)
_LONGEST_BUILTIN = 120


@dataclass(frozen=True, slots=True)
class Plain:
    """`files`: its output may be kept in plain files. `fork`: it needs no shell of its own. `builtin`: it is made of
    words that can neither wait nor change the shell that runs them, so it needs no process at all, and what it
    writes is short printable text. `program`: it names one program and its arguments, so a fork may become it.
    """

    files: bool
    fork: bool
    builtin: bool = False
    program: bool = False


@lru_cache(maxsize=1024)
def analyse(command: str) -> Plain:
    """What is known of the command; where in doubt, nothing."""
    if len(command) <= _LONGEST_BUILTIN and _BUILTIN.fullmatch(command):
        return Plain(True, True, True)
    if not command.isascii() or "\n" in command:
        return Plain(False, False)
    # What single quotes hold is a program's business, not the shell's; with other quotes about, they may hold nothing.
    shells = command if '"' in command or "\\" in command else _QUOTED.sub("''", command)
    fork = _OWN_SHELL.search(shells) is None and not re.search(r"\b(?:exec|set|trap|alias|eval|read|env)\b", shells)
    text, shells = _REDIRECT.sub(" ", command), _REDIRECT.sub(" ", shells)
    known = fork and _only_known(text)
    program = fork and _names_a_program(command)
    reaches_out = _REACHES_OUT.search(text) is not None
    odd = "&" in shells.replace("&&", "") or any(c in shells for c in "<>()`\\")
    return Plain(known and not reaches_out and not odd, known or program, program=program)


def _names_a_program(command: str) -> bool:
    """Whether it is one simple command, without redirections, whose first word is a program for any shell. What is
    quoted or escaped counts as if it were not."""
    first = _PROGRAM.match(command)
    if first is None or first[0] in _BUILTINS:
        return False
    tokens = _tokens(command)
    return tokens is not None and not any(set(token) <= set("();<>|&") for token in tokens)


def _tokens(text: str) -> list[str] | None:
    """Its words, and what stands between them; None where a quote is open."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.commenters = ""
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:
        return None


def _only_known(text: str) -> bool:
    """Whether each command in it is one of the programs above, or a shell or wrapper that is given such."""
    tokens = _tokens(text)
    if tokens is None:
        return False
    return all(_known(words) for words in _commands(tokens)) and tokens[-1:] != [";"]


def _commands(tokens: list[str]) -> list[list[str]]:
    """The words of each simple command."""
    commands: list[list[str]] = [[]]
    for token in tokens:
        if token in _BETWEEN:
            commands.append([])
        elif token not in _WORDS or commands[-1]:
            commands[-1].append(token)
    return [words for words in commands if words]


def _known(words: list[str]) -> bool:
    """Whether a simple command is known to write only through its descriptors."""
    rest = words
    while rest and (_ASSIGNMENT.fullmatch(rest[0]) or rest[0] in _WRAPPERS):
        wraps = rest[0] in _WRAPPERS
        rest = rest[1:]
        while wraps and rest and _WRAPPERS_OWN.fullmatch(rest[0]):
            rest = rest[1:]
    if not rest:
        return rest is not words and words[-1] not in _WRAPPERS
    if rest[0] in _SHELLS:
        return len(rest) > 2 and rest[1] == "-c" and analyse(rest[2]).files
    if rest[0] in _TOLD_BY_THEIR_PROGRAM:
        return _TOLD_BY_THEIR_PROGRAM[rest[0]](rest[1:])
    if rest[0] == "sort" and any(word.startswith(("-o", "--o")) for word in rest):
        return False
    return rest[0] in _PROGRAMS


def _awk(words: list[str]) -> bool:
    """Whether an awk program reads and prints, and no more: it could name files and commands as well."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        if words[at][1:2] not in ("F", "v"):
            return False
        at += 1 if len(words[at]) > 2 else 2
    return at < len(words) and _AWK_REACHES_OUT.search(words[at]) is None


def _sed(words: list[str]) -> bool:
    """Whether a sed program prints, deletes and substitutes only."""
    scripts: list[str] = []
    at = 0
    while at < len(words) and words[at].startswith("-"):
        if not re.fullmatch(r"-[nErsuz]*e?", words[at]):
            return False
        if words[at].endswith("e"):
            at += 1
            scripts += words[at : at + 1]
        at += 1
    scripts = scripts or words[at : at + 1]
    return bool(scripts) and all(_SED.fullmatch(part) for script in scripts for part in script.split(";"))


_TOLD_BY_THEIR_PROGRAM = dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _awk) | {"sed": _sed}
