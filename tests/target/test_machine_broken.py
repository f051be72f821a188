"""What a machine's own status says before anybody calls its target unreachable."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import MachineError
from harness.events import NullEmitter
from harness.target.machine import TargetMachine


@pytest.mark.parametrize(
    ("status", "alive", "said"),
    [
        ("running", True, ""),
        ("paused", True, ""),
        ("io-error", True, "QEMU has stopped the machine (io-error): see qemu.log, and `df`"),
        ("internal-error", True, "QEMU has stopped the machine (internal-error)"),
        (None, True, "QEMU does not answer: no reply"),
        ("running", False, "QEMU has ended by itself (killed by SIGKILL); its own words: no space"),
    ],
)
def test_a_machine_that_qemu_has_stopped_is_broken(status: str | None, alive: bool, said: str) -> None:
    def execute(_command: str, **_: Any) -> dict[str, str]:
        if status is None:
            raise MachineError("no reply")
        return {"status": status}

    machine = TargetMachine(
        cast(Any, None),
        name="vm1",
        folder=Path(),
        events=NullEmitter(),
        run="r",
        secrets=cast(Any, None),
        ups=None,
    )
    assert machine.broken == ""
    machine._machine = cast(
        Any,
        SimpleNamespace(
            started=True,
            alive=alive,
            qmp=SimpleNamespace(execute=execute),
            qemu_log=Path("qemu.log"),
            last_words=lambda: "no space\n",
            how_it_ended=lambda: "killed by SIGKILL",
        ),
    )
    assert machine.broken.startswith(said)
    assert bool(machine.broken) == bool(said)
