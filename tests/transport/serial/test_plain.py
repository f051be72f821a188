"""What is known of a command, and above all what is not."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.transport.serial.plain import analyse

FILES = [
    "true",
    "uname -r",
    "systemctl is-active ssh.service",
    "systemctl show -p ActiveState,SubState a.service b@1.service",
    "echo a; echo b >&2; exit 3",
    "ls /nowhere 2>&1 | wc -l",
    "test -e /etc/passwd && echo yes || echo no",
    "grep -q root /etc/passwd 2>/dev/null",
    "if true; then echo yes; else echo no; fi",
    'echo "$HOME"',
    "cat /etc/hostname >/dev/null 2>&1",
    "sh -c 'echo x'",
    "timeout 5 systemctl is-active ssh",
    "timeout -k 1 2.5s ls",
    "sudo -n journalctl -b",
    "LC_ALL=C ls /",
    "cat /proc/meminfo",
    "lsblk /dev/vda",
    "head -c 10 /dev/zero | tr a b",
    "awk '{print $1}' /etc/passwd",
    "awk -F: -v x=1 '$3 == x {print $1; n++} END {print n}' /etc/passwd | sort",
    "ps -e | awk '{s += $1} END {print s}'",
    "sed -n 's/^NAME=//p' /etc/os-release",
    "sed -ne '1,3p' -e '$p' /etc/passwd",
    "sed 's|/bin|/usr|g; /x/d' /etc/passwd",
    "sha256sum /etc/passwd | cut -d ' ' -f 1",
]
NOT_FILES = [
    "echo one >/dev/stderr; echo two >/dev/stderr",
    "echo x | tee /dev/stderr",
    "sh -c 'echo x >/dev/stderr'",
    "./script",
    "python3 -c 1",
    "cat /proc/self/fd/1",
    "echo $$",
    "echo $hO",
    "echo `tty`",
    "echo $(tty)",
    "(echo x)",
    "echo x &",
    "echo 'open",
    "exec echo x",
    "find . -exec sh -c x ;",
    "env x",
    "sort -o x",
    "echo x > file",
    "set",
    "true\nfalse",
    "a=1 script",
    "sleep 1 & echo done",
    "true;",
    "/usr/local/bin/thing",
    "timeout 5 ./thing",
    "sh -c './thing'",
    "bash -c 'echo x >/dev/stderr'",
    "sh script",
    "sh",
    "true; sh",
    "sudo ./thing",
    "sudo",
    "uniq a /dev/stdout",
    "cd /dev; uniq a stdout",
    "uniq a /dev/../dev/stdout",
    "cat /proc/123/fd/1",
    "hA=1 ls",
    "sort --output=x",
    """awk '{print $1 > "out"}' x""",
    "awk '{print $1 | \"sh\"}' x",
    "awk -f program x",
    "awk 'BEGIN {system(\"./thing\")}'",
    "awk",
    'awk "{print $1}" x',
    "sed -f script x",
    "sed -i s/a/b/ x",
    "sed -n 'w out' x",
    "sed '1e ./thing' x",
    "sed 's/a/b/e' x",
    "sed 's/a/b/w out' x",
    "sed",
    "echo 'it is' \"'\" $$ \"'\"",
]


@pytest.mark.parametrize("command", FILES)
def test_known_to_write_through_its_descriptors(command: str) -> None:
    assert analyse(command).files


@pytest.mark.parametrize("command", NOT_FILES)
def test_not_known(command: str) -> None:
    assert not analyse(command).files


@pytest.mark.parametrize("command", ["echo $$", "kill -9 $$", "set", "echo $PPID", "exec true", "trap x 0", "echo $hO"])
def test_needs_a_shell_of_its_own(command: str) -> None:
    assert not analyse(command).fork


PIECES = [
    *"a7'\"$`\\~*[#>&|(){}!=%<\n\té ",
    *("true", "false", "echo", "; ", " && ", " || ", "$?", "$x", ">&2", "2>&1", "-n", "-e", "exit 3", "x=1"),
]
PROGRAMS = [
    "/usr/local/bin/thing",
    "find /etc -name 'a b' -maxdepth 1",
    "python3 -c 'print(1)'",
    'own "a;b" $HOME/*',
    "own # it is",
    "awk 'BEGIN {print 1 > \"x\"}'",
]
NOT_PROGRAMS = [
    *("own; own", "own | own", "own && own", "own &", "own >x", "own <x", "(own)", "{ own; }", "! own", "own\nown"),
    *("cd /", "type own", "printf x >y", "exec own", "if own", "time own", ". own", "test -e x -a own", "umask"),
    *(
        "x=1 own",
        "'own' a",
        "$own a",
        "own $(own)",
        "own `own`",
        "own 'a",
        "own $'a\\'' ; own 'b'",
        "own ';'",
        "env own",
    ),
    *("hA", "hA0 x", "-c own"),
]


@pytest.mark.parametrize("command", PROGRAMS)
def test_a_fork_may_become_what_names_a_program(command: str) -> None:
    plain = analyse(command)
    assert (plain.files, plain.fork, plain.program) == (False, True, True)


@pytest.mark.parametrize("command", NOT_PROGRAMS)
def test_a_fork_may_not_become_anything_else(command: str) -> None:
    assert not analyse(command).program


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox", "zsh"])
@given(words=st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_a_fork_becomes_is_all_that_there_is_to_do(shell: str, words: str) -> None:
    """`exec`ed, it does what the shell does with it, and after it the shell has nothing more to do."""
    command = f"printenv -0 X {words}"
    if not analyse(command.replace("printenv", "own")).program:
        return
    argv = [shell, "sh", "-c"] if shell == "busybox" else [shell, "-c"]
    said = [
        subprocess.run([*argv, 'eval "$1"', "sh", text], capture_output=True, cwd="/proc/self/task", check=False)
        for text in (command, f"exec {command}")
    ]
    assert (said[0].stdout, said[0].returncode) == (said[1].stdout, said[1].returncode)


BUILTIN = [
    "true",
    "false",
    "echo hello",
    "echo a; echo b >&2; false",
    "echo 'a b' && echo \"c d\" || true",
    "echo $?",
]
SIMPLE = (
    st.tuples(
        st.sampled_from(["true", "false", "echo", "echo "]),
        st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
    )
    .map(" ".join)
    .filter(lambda text: analyse(text).builtin)
)
CHANGES = re.compile(r"(_|PIPESTATUS|LINENO|RANDOM|SECONDS|SRANDOM|BASH_|EPOCH)")
"""Begins the names of variables that change by themselves."""


@pytest.mark.parametrize("command", BUILTIN)
def test_needs_no_process(command: str) -> None:
    assert analyse(command).builtin


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
@given(command=st.lists(SIMPLE, min_size=1, max_size=3).map("; ".join).filter(lambda text: analyse(text).builtin))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_needs_no_process_changes_nothing_in_the_shell_that_runs_it(shell: str, command: str) -> None:
    argv = [shell, "sh", "-c"] if shell == "busybox" else [shell, "-c"]
    with tempfile.TemporaryDirectory() as folder:
        said, before, after = (Path(folder, name) for name in ("said", "before", "after"))
        script = 'set -f; set >before; eval "$C" </dev/null >said 2>said; set >after; echo alive'
        environment = {**os.environ, "C": command}
        ran = subprocess.run([*argv, script], env=environment, cwd=folder, capture_output=True, check=True)
        assert ran.stdout == b"alive\n"
        assert _variables(after) == _variables(before)
        assert sorted(os.listdir(folder)) == ["after", "before", "said"]
        output = said.read_bytes()
    assert all(0x20 <= byte < 0x7E or byte == 0x0A for byte in output)


def _variables(listed: Path) -> list[str]:
    """Return the lines of `set`'s output, without the variables that change by themselves."""
    lines = listed.read_text(errors="surrogateescape").splitlines()
    assert lines
    return [line for line in lines if not CHANGES.match(line)]
