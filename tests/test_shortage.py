"""What this machine lacks: told apart from what a check, a target or harness itself does wrong."""

from __future__ import annotations

import errno
import os

import pytest

from harness.cli import main
from harness.errors import ExitCode, InfrastructureError
from harness.shortage import shortage

SHORT = [
    OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    MemoryError(),
    RuntimeError("can't start new thread"),
    RuntimeError("can't allocate lock"),
    ImportError("/x/_rust.abi3.so: failed to map segment from shared object"),
    ImportError("libc.so.6: cannot open shared object file: Too many open files"),
    ImportError("libz.so.1: cannot allocate memory in static TLS block"),
    InfrastructureError("no room"),
]
NOT_SHORT = [
    OSError(errno.ENOENT, os.strerror(errno.ENOENT)),
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    RuntimeError("a mistake"),
    ImportError("cannot import name 'x' from 'y'"),
    ModuleNotFoundError("No module named 'x'"),
    AssertionError("can't start new thread"),
]


@pytest.mark.parametrize("error", SHORT, ids=repr)
def test_a_shortage_is_named_and_has_its_own_exit_code(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert shortage(error)
    assert main._internal(error) == int(ExitCode.INFRASTRUCTURE)
    said = capsys.readouterr().err
    assert said == f"harness: {shortage(error)}\n"


@pytest.mark.parametrize("error", NOT_SHORT, ids=repr)
def test_any_other_error_is_none(error: Exception) -> None:
    assert shortage(error) == ""


def test_a_fault_is_reported_where_no_file_can_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    assert main._internal(KeyError("a mistake")) == int(ExitCode.INTERNAL)
    said = capsys.readouterr().err
    assert "internal error: KeyError: 'a mistake'" in said
    assert "No space left on device" in said
