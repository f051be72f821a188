"""`harness init`: an inventory, a first check and settings to begin with."""

from __future__ import annotations

import argparse
from pathlib import Path

FILES = ("inventories/hosts.ini", "checks/first.py", "harness.toml")
_SOURCE = Path(__file__).parent / "begin"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb."""
    parser = subparsers.add_parser(
        "init",
        help="write an inventory and a first check to begin with",
        description=f"Writes {', '.join(FILES[:-1])} and {FILES[-1]}, with comments that explain them, and says what "
        "to run next. What is there already is never written over, unless --force says so.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", nargs="?", default=".", metavar="DIR", help="where to (default: this folder)")
    parser.add_argument("--force", action="store_true", help="write over what is there already")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes all files or, where one is there already, none."""
    import shlex

    folder = Path(arguments.folder)
    for path in begin(folder, force=arguments.force):
        print(f"wrote {path}")
    inventory, check = FILES[:2]
    print("\nWhat the inventory says, what would be checked, and the first run (it builds the guest if need be):\n")
    if folder.resolve() != Path.cwd():
        print(f"  cd {shlex.quote(str(folder))}")
    print(f"  harness inventory -i {inventory} check")
    print(f"  harness run -i {inventory} {check} --list")
    print(f"  harness run -i {inventory} {check}")
    return 0


def begin(folder: Path, *, force: bool = False) -> list[Path]:
    """Writes the files; returns where they are. Raises UsageError where one is there and `force` is not given, or
    where they cannot be written."""
    from harness.errors import UsageError

    paths = [folder / name for name in FILES]
    there = [str(path) for path in paths if path.exists() or path.is_symlink()]
    if there and not force:
        raise UsageError(
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already; nothing was written",
            hint="Name another folder, or write over them with --force.",
        )
    for name, path in zip(FILES, paths, strict=True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((_SOURCE / name).read_bytes())
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
    return paths
