"""A seed: a folder that is laid over the guest's root before its systemd starts, carried in as a tar on a disk."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from harness.errors import UsageError


def pack_seed(folder: Path, tarball: Path) -> None:
    """Packs `folder` as it is: modes and links kept, all owned by root. Raises :class:`UsageError` for what no
    root file system should be given (sockets, devices) or what cannot be read."""
    with (
        open(tarball, "xb", opener=_private) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            try:
                entry = tar.gettarinfo(path, arcname=name)
                if entry is None or not (entry.isfile() or entry.isdir() or entry.issym() or entry.islnk()):
                    raise UsageError(f"the seed {folder} holds {name}, which is no file, folder or link")
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = "root"
                if entry.isfile():
                    with path.open("rb") as source:
                        tar.addfile(entry, source)
                else:
                    tar.addfile(entry)
            except OSError as error:
                raise UsageError(f"the seed {folder} cannot be packed: {name}: {error.strerror}") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
