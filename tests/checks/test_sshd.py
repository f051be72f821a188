"""What the checks of sshd do to the machine that they look at: nothing that it could trip over."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.api.discovery import discover
from tests.patience import scaled

CHECKS = {each.name: each.function for each in discover([str(Path(__file__).parents[2] / "checks" / "sshd")])}
ASK: Any = CHECKS["config_valid"].__globals__["ask_sshd"]


class Here:
    """A target that is this machine."""

    def run(self, command: str) -> Any:
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=scaled(30), check=False)
        return type("Said", (), {"err": done.stderr, "out": done.stdout, "exit_status": done.returncode})()


def test_the_folder_of_a_service_that_starts_meanwhile_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd makes sshd's folder as the service starts; taken away under it, its `sshd -t` fails, and so does it."""
    folder, sshd = tmp_path / "folder", tmp_path / "sshd"
    missing = f"Missing privilege separation directory: {folder}"
    sshd.write_text(f'#!/bin/sh\n[ -d {folder} ] && exit 0\necho "{missing}" >&2\nexit 255\n')
    sshd.chmod(0o755)
    monkeypatch.setitem(ASK.__globals__, "SSHD", str(sshd))
    assert ASK(Here(), "-t").exit_status == 0
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o777 == 0o755
