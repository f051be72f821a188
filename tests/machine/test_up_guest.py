"""Machines that are left up: found, used, and ended by others. The guests boot nothing at all; QEMU is real."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import MachineError
from harness.events.emitter import NullEmitter
from harness.machine import up as ups
from harness.machine.machine import Machine
from harness.machine.spec import MachineSpec
from tests.patience import scaled

pytestmark = pytest.mark.guest


@pytest.fixture
def started(tmp_path: Path) -> Machine:
    iso = tmp_path / "empty.iso"
    iso.write_bytes(bytes(65536))
    spec = MachineSpec.from_vars("web 1", {"qemu_iso": str(iso), "qemu_memory": 32}, base=tmp_path)
    assert spec is not None
    machine = Machine(spec, name="web 1", folder=tmp_path / "logs" / "r1" / "web%201", events=NullEmitter())
    machine.start(Deadline.after(scaled(60)))
    return machine


def ended(up: ups.Up) -> bool:
    until = time.monotonic() + scaled(30)
    while up.alive and time.monotonic() < until:
        time.sleep(0.05)
    return not up.alive


def test_what_is_left_up_is_found_used_and_ended(started: Machine, tmp_path: Path) -> None:
    index = tmp_path / "logs" / "up"
    started.keep(run="r1", index=index)
    started.stop()
    up = ups.find(index, "web%201")
    assert up is not None
    assert (up.name, up.run, up.ssh_port) == ("web 1", "r1", started.ssh_port)
    assert up.console_log.exists()
    assert stat.S_IMODE((up.folder / ups.NAME).stat().st_mode) == 0o600
    assert ups.all_up(index) == [up]
    # All of the logs may be moved.
    (tmp_path / "logs").rename(tmp_path / "moved")
    index = tmp_path / "moved" / "up"
    up = ups.find(index, "web%201")
    assert up is not None
    # Another one uses it, and leaves it alone.
    other = Machine.that_is(up, started.spec, events=NullEmitter())
    assert (other.alive, other.console_address) == (True, started.console_address)
    other.stop()
    assert up.alive
    assert ups.end(up, Deadline.after(scaled(30)))
    ups.forget(up, index)
    assert not ups.end(up, Deadline.after(scaled(30))), "there is nothing left to be ended"
    assert not Path(up.console_address).parent.exists()
    assert ups.find(index, "web%201") is None
    assert ups.all_up(index) == []
    assert not list(index.glob("web*"))


def test_what_is_kept_for_a_time_ends_by_itself(started: Machine, tmp_path: Path) -> None:
    started.keep(run="r1", index=tmp_path / "up", seconds=1)
    up = started.up
    assert up is not None
    assert up.until is not None
    assert ended(up)
    assert time.time() >= up.until
    assert ups.all_up(tmp_path / "up") == []


def test_a_process_that_only_has_its_number_is_not_it(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "100"])
    try:
        folder = tmp_path / "r" / "web"
        folder.mkdir(parents=True)
        assert ups.born(other.pid) > 0
        up = ups.Up(
            "web", "r", other.pid, ups.born(other.pid) + 1, 1, 0, {}, "", "", "tcg", False, folder, None, 0.0, None
        )
        ups.write(up, tmp_path / "up")
        assert ups.find(tmp_path / "up", "web") is None
        assert not ups.end(up, Deadline.after(5))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert ups.born(other.pid) == 0


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"version": 1}', '{"version": 2, "name": "x"}', json.dumps({"version": 1, "pid": "x"})],
)
def test_what_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / ups.NAME).write_text(text)
    assert ups.read(tmp_path) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_index_that_cannot_be_made_is_an_error(started: Machine, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(MachineError, match="cannot note"):
        started.keep(run="r", index=tmp_path / "no" / "up")
    started.stop()
