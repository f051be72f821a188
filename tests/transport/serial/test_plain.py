"""What is known of a command, and above all what is not."""

from __future__ import annotations

import pytest

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
