"""A recipe: what an image of ours is made of, as data files under ``recipes/<name>/``.

``recipe.toml`` (suite, packages, command line, size), ``files/`` (laid over the root), ``customize.sh`` (run once
the packages are in). A recipe with ``base = "other"`` adds to that one; where it adds nothing but files and words of
the command line, its image is that one's with the files laid over it, and no package is fetched again.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from harness.errors import Source, UsageError

RECIPES = Path(__file__).parent / "recipes"

# Raised when the builder itself changes what comes out of the same recipe.
BUILDER_VERSION = 1

_KEYS = {"base", "suite", "user", "size", "packages", "append"}
# What makes another root than the base's: then it is built from its packages.
_ROOT_KEYS = {"suite", "user", "size", "packages"}
# What the initrd and the kernel are made of, which are the base's own where files are only laid over its root.
_BOOT_FILES = ("etc/initramfs-tools/", "usr/share/initramfs-tools/", "etc/modprobe.d/", "lib/modules/", "boot/")


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """One file of the tree: where it goes (no leading slash), its bytes, its mode."""

    path: str
    data: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe with all its bases merged. `size` is in bytes; `scripts` run in order, the base's first.

    `over` names the base whose image needs only the files `layer` to be this one's; empty where packages are needed.
    """

    name: str
    suite: str
    user: str
    size: int
    packages: tuple[str, ...]
    append: str
    files: tuple[RecipeFile, ...]
    scripts: tuple[str, ...]
    over: str = ""
    layer: tuple[RecipeFile, ...] = ()

    @property
    def digest(self) -> str:
        """16 hex digits that change with anything that the image is made of."""
        state = hashlib.sha256()
        parts: list[bytes] = [
            str(BUILDER_VERSION).encode(),
            self.suite.encode(),
            self.user.encode(),
            str(self.size).encode(),
            *(name.encode() for name in self.packages),
            b"",
            self.append.encode(),
            *(script.encode() for script in self.scripts),
            b"",
        ]
        for file in self.files:
            parts += [file.path.encode(), oct(file.mode).encode(), file.data]
        for part in parts:
            state.update(len(part).to_bytes(8, "big"))
            state.update(part)
        return state.hexdigest()[:16]


def recipe_names(folder: Path = RECIPES) -> tuple[str, ...]:
    """The names that an inventory may give as `qemu_image`, sorted."""
    return tuple(sorted(path.parent.name for path in folder.glob("*/recipe.toml")))


def is_recipe(name: str, folder: Path = RECIPES) -> bool:
    """True for a recipe's name; a path to a disk image is none."""
    return bool(re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name)) and (folder / name / "recipe.toml").is_file()


def load_recipe(name: str, folder: Path = RECIPES) -> Recipe:
    """Reads a recipe and its bases. Raises :class:`UsageError` for an unknown name or a file that is no recipe."""
    return _load(name, folder, ())


def parse_size(text: str | int, *, unit: int = 1) -> int:
    """Bytes of ``512M``, ``2G``, ``1GiB``, ``10g``; a bare number counts in `unit`. Raises :class:`ValueError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|(b))?", str(text).strip().lower())
    if not match:
        raise ValueError(f"{text!r} is no size; write a number with K, M, G or T, such as 512M or 2G")
    number, scale, plain = match.groups()
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}[scale] if scale else (1 if plain else unit)
    return int(float(number) * factor)


def _load(name: str, folder: Path, seen: tuple[str, ...]) -> Recipe:
    place = folder / name / "recipe.toml"
    if name in seen:
        raise UsageError(f"the recipe {name!r} is based on itself: {' -> '.join((*seen, name))}")
    if not is_recipe(name, folder):
        raise UsageError(
            f"there is no image recipe {name!r}",
            hint=f"recipes: {', '.join(recipe_names(folder)) or 'none'}; a disk image is named by its path",
        )
    try:
        raw = tomllib.loads(place.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"this is no TOML: {error}", source=Source(str(place))) from error
    unknown = sorted(set(raw) - _KEYS)
    if unknown:
        raise UsageError(
            f"unknown key {unknown[0]!r}", source=Source(str(place)), hint=f"known: {', '.join(sorted(_KEYS))}"
        )
    base = _load(raw["base"], folder, (*seen, name)) if "base" in raw else None
    try:
        size = parse_size(raw["size"]) if "size" in raw else base.size if base else parse_size("3G")
    except ValueError as error:
        raise UsageError(str(error), source=Source(str(place))) from error
    suite = raw.get("suite") or (base.suite if base else "")
    if not suite:
        raise UsageError("a recipe without a base must name its `suite`", source=Source(str(place)))
    files = {file.path: file for file in base.files} if base else {}
    layer = tuple(read_tree(folder / name / "files"))
    files |= {file.path: file for file in layer}
    script = folder / name / "customize.sh"
    same_root = not (script.is_file() or _ROOT_KEYS & set(raw))
    same_boot = not any(file.path.startswith(_BOOT_FILES) for file in layer)
    return Recipe(
        name=name,
        suite=suite,
        user=raw.get("user") or (base.user if base else "root"),
        size=size,
        packages=tuple(sorted({*raw.get("packages", ()), *(base.packages if base else ())})),
        append=" ".join(([base.append] if base else []) + list(raw.get("append", ()))),
        files=tuple(files[path] for path in sorted(files)),
        scripts=(base.scripts if base else ()) + ((script.read_text(),) if script.is_file() else ()),
        over=raw["base"] if base and same_root and same_boot else "",
        layer=layer,
    )


def read_tree(folder: Path) -> list[RecipeFile]:
    """Every regular file below `folder`; only the executable bit of a mode counts, as in version control."""
    found = []
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                found.append(RecipeFile(path.relative_to(folder).as_posix(), path.read_bytes(), mode))
    return found
