"""Full filesystems: read from `df` and /proc/mounts, and said of what failed."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.target.space import SPACE_COMMAND, full_filesystems

DF = """\
Filesystem     1024-blocks    Used Available Capacity Mounted on
/dev/vda           2000000 1990000         0     100% /
tmpfs                50000     500     49500       1% /run
/dev/loop0           40000   40000         0     100% /snap/x y
/dev/sr0            600000  600000         0     100% /media
none                     0       0         0        - /run/credentials
tiny                  1000    1000         0     100% /tiny
/dev/vdb           2000000 2100000     -1000     100% /data
==
/dev/vda / ext4 rw,relatime 0 0
tmpfs /run tmpfs rw,nosuid 0 0
/dev/sr0 /media iso9660 ro,relatime 0 0
none /run/credentials ramfs rw 0 0
tiny /tiny tmpfs rw 0 0
/dev/vdb /data xfs rw 0 0
"""


def test_only_filesystems_that_can_be_written_to_are_full() -> None:
    assert full_filesystems(DF) == (("/", 0), ("/data", 0))
    assert full_filesystems(DF.replace("         0     100% /\n", "    500000      80% /\n")) == (("/data", 0),)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_real_machine_answers(shell: str) -> None:
    done = subprocess.run([shell, "-c", SPACE_COMMAND], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert " / " in done.stdout.partition("\n==\n")[2]
    assert "/" not in [mount for mount, _ in full_filesystems(done.stdout)]


@given(st.text(max_size=300))
def test_no_answer_breaks_it(text: str) -> None:
    full_filesystems(text)
    full_filesystems(f"/dev/vda {text} 0 100% /\n==\n/dev/vda / ext4 rw 0 0")
