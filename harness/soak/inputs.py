"""The inventory and check files that a soak was started with, kept by content in its run's folder.

`inputs/` mirrors the file system: `/srv/lab/inv.ini` is kept as `inputs/srv/lab/inv.ini`, readable by its owner only,
as it is written: vaulted values stay encrypted. A resumed soak reads these copies, so that it counts the same checks on
the same targets, whatever was edited since; what differs is reported.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.inventory.script import ProgramOutputs
from harness.report.folder import write_private

NAME = "inputs"
OUTPUTS = "inventory-programs.json"
"""What the inventory's programs printed when the soak began, by path and arguments; beside `inputs/`."""
LARGEST = 16 << 20
"""Bytes; a larger file is no inventory and no check, and is not kept."""
_VARIABLES = ("group_vars", "host_vars")
_BESIDE = (*_VARIABLES, "collect.yml", "collect.yaml", "known-flakes.yml", "known-flakes.yaml")
_IGNORED = frozenset({"__pycache__", ".git"})


class Inputs:
    """The kept inputs of one run's folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / NAME

    @property
    def kept(self) -> bool:
        """Whether there are any: a soak of an earlier version has none."""
        return self.root.is_dir()

    def keep(self, sources: Sequence[str], selectors: Sequence[str], files: Iterable[str] = ()) -> None:
        """Keep a copy of the inventory `sources` (as given with -i), of the check files that the `selectors` name, and
        of other `files`. Raises UsageError where one cannot be copied."""
        self.root.mkdir(mode=0o700, exist_ok=True)
        for path in inputs_of(sources, selectors, files):
            kept = self._kept(path)
            try:
                kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copyfile(path, kept)
                kept.chmod(0o700 if os.access(path, os.X_OK) else 0o600)
            except OSError as error:
                raise UsageError(f"cannot keep a copy of {path} in {self.root}: {error.strerror}") from error

    def keep_outputs(self, outputs: ProgramOutputs) -> None:
        """Keep what inventory programs printed. Raises UsageError where it cannot be written."""
        try:
            write_private(self._outputs, json.dumps(outputs.by_path) + "\n")
        except OSError as error:
            raise UsageError(f"cannot write {self._outputs}: {error.strerror}") from error

    def outputs(self) -> ProgramOutputs:
        """Return what was kept of that, for the copies of the programs; nothing where the soak is of a version that
        did not keep it. Raises UsageError where it cannot be read."""
        try:
            document = json.loads(self._outputs.read_text(encoding="utf-8"))
            known = {
                str(self._kept(Path(path))): {str(key): str(text) for key, text in texts.items()}
                for path, texts in document.items()
            }
        except FileNotFoundError:
            return ProgramOutputs()
        except (OSError, ValueError, AttributeError) as error:
            raise UsageError(
                f"{self._outputs} cannot be read: {error}",
                hint="Without the file the programs are run again: remove it if their output has not changed.",
            ) from None
        return ProgramOutputs(known)

    @property
    def _outputs(self) -> Path:
        return self.root.parent / OUTPUTS

    def changed(self, sources: Sequence[str], selectors: Sequence[str], files: Iterable[str] = ()) -> list[str]:
        """Return the paths of what has been edited, added or removed since the copies were made."""
        now = set(inputs_of(sources, selectors, files))
        before = {Path("/", kept.relative_to(self.root)) for kept in _tree(self.root) if not kept.is_symlink()}
        found = now ^ before
        found.update(path for path in now & before if not _same(path, self._kept(path)))
        return sorted(map(str, found))

    def link_others(self, sources: Sequence[str], selectors: Sequence[str]) -> None:
        """Make what lies beside the kept files (keys, images, data of a check) reachable from the copies, by links."""
        taken = set(inputs_of(sources, selectors))
        whole = [path for path in map(_absolute, _roots(sources, selectors)) if path.is_dir()]
        here = Path.cwd()
        for folder in [each for each in self.root.rglob("*") if each.is_dir() and not each.is_symlink()]:
            original = Path("/", folder.relative_to(self.root))
            near = original == here or here in original.parents or any(map(_is_copy, folder.iterdir()))
            if not near or not original.is_dir():
                continue
            for path in original.iterdir():
                copy = folder / path.name
                is_input = path in taken or path.name in (*_BESIDE, *_IGNORED) or path.suffix == ".py"
                read_whole = any(root == original or root in original.parents for root in whole)
                if is_input or os.path.lexists(copy) or (read_whole and path.suffix in ("", ".ini", ".yml", ".yaml")):
                    continue
                copy.symlink_to(path)

    def source(self, source: str) -> str:
        """Return what to read in place of an inventory source; a list of hosts stays as it is."""
        return source if "," in source else str(self._kept(_absolute(source)))

    def selector(self, selector: str) -> str:
        """Return what to read in place of a selector of checks (`path` or `path::name`)."""
        path, separator, name = selector.partition("::")
        return f"{self._kept(_absolute(path))}{separator}{name}"

    def file(self, path: str) -> str:
        """Return what to read in place of a file."""
        return str(self._kept(_absolute(path)))

    def original(self, path: str, selectors: Sequence[str]) -> str:
        """Return the path of a check file as the selectors name it, from the path of its copy."""
        for selector in selectors:
            typed = selector.partition("::")[0]
            kept = self.file(typed)
            if path == kept or path.startswith(f"{kept}/"):
                return Path(f"{typed}{path[len(kept) :]}").as_posix()
        return path

    def _kept(self, path: Path) -> Path:
        return self.root / path.relative_to("/")


def inputs_of(sources: Sequence[str], selectors: Sequence[str], files: Iterable[str] = ()) -> Iterator[Path]:
    """Yield the files to keep, with absolute paths, each once."""
    found: dict[Path, None] = {}
    for source in (each for each in sources if each and "," not in each):
        path = _absolute(source)
        found.update(dict.fromkeys(_tree(path)))
        if not path.is_dir():
            for name in _BESIDE:
                found.update(dict.fromkeys(_tree(path.parent / name)))
    for selector in selectors:
        path = _absolute(selector.partition("::")[0])
        folder = path if path.is_dir() else path.parent
        found.update(dict.fromkeys(_tree(path)))
        # What a check file imports from its own folder, and the variables beside it.
        found.update(dict.fromkeys(each for each in sorted(folder.glob("*.py")) if each.is_file()))
        for name in _VARIABLES:
            found.update(dict.fromkeys(_tree(folder / name)))
    found.update(dict.fromkeys(_absolute(each) for each in files))
    yield from found


def _roots(sources: Sequence[str], selectors: Sequence[str]) -> list[str]:
    return [*(each for each in sources if "," not in each), *(each.partition("::")[0] for each in selectors)]


def _tree(path: Path) -> Iterator[Path]:
    """Yield a file, or all files below a folder that are small enough."""
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path, followlinks=False):
        folders[:] = sorted(name for name in folders if name not in _IGNORED)
        for name in sorted(names):
            each = Path(folder, name)
            if each.is_file() and not name.endswith((".pyc", ".pyo")) and each.stat().st_size <= LARGEST:
                yield each


def _is_copy(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _same(one: Path, other: Path) -> bool:
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(os.path.expandvars(path))))
