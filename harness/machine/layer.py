"""Makes an image out of another one: a copy of its disk, with files laid over the file system that is on it.

debugfs(8) writes into an ext4 file system that nobody has mounted, so nothing here needs root, and no package is
fetched. What it writes belongs to root.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from harness.deadline import Deadline
from harness.errors import MachineError
from harness.machine.recipe import Recipe, RecipeFile
from harness.machine.tool import need, run_tool

if TYPE_CHECKING:
    from harness.machine.image import Image

_SHOWN = 15


def lay_over(base: Image, recipe: Recipe, folder: Path, *, deadline: Deadline, progress: Callable[[str], None]) -> None:
    """Makes the image of `recipe` in the empty folder `folder`: its keys, its password and its boot files are `base`'s.

    Raises :class:`MachineError` where a file is not on the disk in the end as it should be, and :class:`Cancelled`.
    """
    # Imported here, since the image asks for this module.
    from harness.machine.image import write_manifest

    assert base.kernel is not None, "an image of ours has a kernel"
    assert base.initrd is not None, "an image of ours has an initrd"
    started = time.monotonic()
    progress(f"image {recipe.name}: laying {len(recipe.layer)} files over a copy of {base.recipe}")
    disk = folder / "disk.raw"
    with (folder / "build.log").open("ab") as log:
        doing = f"copying the disk of the image {base.recipe}"
        copy = [need("cp", to="to copy an image"), "--sparse=always", "--reflink=auto", "--preserve=mode"]
        run_tool([*copy, "--", str(base.disk), str(disk)], doing=doing, deadline=deadline, log=log)
        lay_files(disk, recipe.layer, folder / "layer", deadline=deadline, log=log)
    for source in (base.kernel, base.initrd, base.client_key, base.client_key.with_suffix(".pub")):
        shutil.copy(source, folder / source.name)
    write_manifest(
        folder,
        recipe=recipe.name,
        recipe_hash=recipe.digest,
        append=recipe.append,
        user=base.user,
        password=base.password,
        host_keys=list(base.host_keys),
        seedable=base.seedable,
        built=time.time(),
    )
    progress(f"image {recipe.name}: laid over {base.recipe} ({time.monotonic() - started:.0f} s)")


def lay_files(
    disk: Path, files: Sequence[RecipeFile], scratch: Path, *, deadline: Deadline, log: BinaryIO | None = None
) -> None:
    """Writes `files` into the ext4 file system on `disk`, over those that are there. `scratch` is the path of a folder
    that does not exist, and does not afterwards.

    debugfs tells no failure by its exit status, so each file is read back. Raises :class:`MachineError` for one that is
    not there as it should be, or where the file system is not clean afterwards.
    """
    scratch.mkdir(mode=0o700)
    doing = f"laying files over {disk.name}"

    def debugfs(commands: Iterable[str], *options: str) -> tuple[list[str], list[str]]:
        """What it answers, and what it complains of: in one stream the one would stand in the middle of the other."""
        script, complaints = scratch / "script", scratch / "complaints"
        script.write_text("".join(f"{command}\n" for command in commands))
        argv = [need("debugfs", to="to lay files over an image"), *options, "-f", str(script), str(disk)]
        said: list[str] = []
        apart = ["sh", "-c", 'exec "$@" 2> "$0"', str(complaints)]
        run_tool([*apart, *argv], doing=doing, deadline=deadline, on_line=said.append, log=log)
        return said, complaints.read_text(errors="backslashreplace").splitlines()

    for number, file in enumerate(files):
        place = scratch / str(number)
        place.write_bytes(file.data)
        place.chmod(file.mode)
    # What is there must be known before: making a folder again leaves half a folder behind (seen with debugfs 1.47.0).
    wanted = list(dict.fromkeys(each for file in files for each in (*_folders(file), _place(file))))
    there = _there(wanted, debugfs(f"stat {_quoted(path)}" for path in wanted)[0])
    _, complaints = debugfs(_write_script(files, scratch, there), "-w")
    # -p: with its mode; that its owner could not be set, which takes root, is only complained of.
    names = ((_quoted(_place(file)), _quoted(scratch / f"{number}.back")) for number, file in enumerate(files))
    debugfs(f"dump -p {source} {back}" for source, back in names)
    for number, file in enumerate(files):
        back = scratch / f"{number}.back"
        if not back.is_file() or back.read_bytes() != file.data or back.stat().st_mode & 0o777 != file.mode:
            raise MachineError(
                f"/{file.path} could not be laid over {disk.name}; debugfs's own words:\n"
                + "\n".join(f"    {line}" for line in complaints[:_SHOWN]),
                hint="a folder on its way may be a file or a link on the disk: name the real folder in the recipe",
            )
    # -n changes nothing, -f looks although the file system says that it is clean.
    e2fsck = need("e2fsck", to="to look at an image")
    run_tool([e2fsck, "-f", "-n", str(disk)], doing=f"looking at the file system on {disk.name}", deadline=deadline)
    shutil.rmtree(scratch)


def _place(file: RecipeFile) -> PurePosixPath:
    return PurePosixPath("/", file.path)


def _folders(file: RecipeFile) -> list[PurePosixPath]:
    """The folders on the way to a file, outermost first, without the root itself."""
    return list(reversed(_place(file).parents))[1:]


def _there(wanted: Sequence[PurePosixPath], said: Sequence[str]) -> set[PurePosixPath]:
    """Which of the paths exist, from what debugfs said of `stat` for each of them: it repeats each command first."""
    numbers = iter(range(len(wanted)))
    found: set[PurePosixPath] = set()
    number = -1
    for line in said:
        if line.startswith("debugfs: stat "):
            number = next(numbers)
        elif line.startswith("Inode: "):
            found.add(wanted[number])
    return found


def _write_script(files: Sequence[RecipeFile], scratch: Path, there: set[PurePosixPath]) -> Iterator[str]:
    made = set(there)
    for number, file in enumerate(files):
        for folder in _folders(file):
            if folder not in made:
                made.add(folder)
                # Its name alone: `mkdir "/usr"` makes one in the folder where we are.
                yield f"cd {_quoted(folder.parent)}"
                yield f"mkdir {_quoted(folder.name)}"
        place = _place(file)
        yield f"cd {_quoted(place.parent)}"
        if place in there:
            yield f"rm {_quoted(place.name)}"
        # `write` puts a file into the folder where we are, with its mode.
        yield f"write {_quoted(scratch / str(number))} {_quoted(place.name)}"


def _quoted(word: str | PurePath) -> str:
    """A word as libss reads it: in quotes, where a quote is written twice."""
    text = str(word)
    if "\n" in text:
        raise MachineError(f"a file of a recipe must have no newline in its path: {text!r}")
    return '"' + text.replace('"', '""') + '"'
