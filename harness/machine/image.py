"""Images of ours: built from a recipe once, kept in the cache, found again by the recipe's hash."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import MachineError
from harness.events.emitter import Emitter
from harness.machine.cache import cache_folder, locked, remove_leftovers, remove_tree
from harness.machine.recipe import RECIPES, load_recipe

MANIFEST = "manifest.json"
_FILES = {"disk": "disk.raw", "kernel": "vmlinuz", "initrd": "initrd.img", "client_key": "client_key"}


@dataclass(frozen=True, slots=True)
class Image:
    """A built image. `password` is the console login's; `client_key` is the private key that root's
    authorized_keys knows; `host_keys` are public key lines (``ssh-ed25519 AAAA…``) that its sshd will offer.
    """

    recipe: str
    path: Path
    disk: Path
    kernel: Path | None
    initrd: Path | None
    append: str
    user: str
    password: str
    client_key: Path
    host_keys: tuple[str, ...]
    recipe_hash: str
    seedable: bool = True

    def __repr__(self) -> str:
        # The password must not slip into a log through a repr.
        return f"Image({self.recipe!r}, {str(self.path)!r})"


def write_manifest(folder: Path, **values: Any) -> None:
    """Writes the manifest of a built image, readable by its owner only (it holds the console's password)."""
    place = folder / MANIFEST
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as stream:
        json.dump(values, stream, indent=2)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


def load_image(folder: Path) -> Image | None:
    """The image in `folder`; None when there is none, or a part of it is missing."""
    try:
        raw = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    paths: dict[str, Any] = {name: folder / file for name, file in _FILES.items()}
    wanted = {field.name for field in fields(Image)} - {"path", *paths}
    if not isinstance(raw, dict) or not wanted <= set(raw) or not all(path.is_file() for path in paths.values()):
        return None
    values: dict[str, Any] = {name: raw[name] for name in wanted}
    values["host_keys"] = tuple(values["host_keys"])
    return Image(path=folder, **values, **paths)


def images_folder() -> Path:
    """Where the built images lie."""
    return cache_folder() / "images"


def image_folder(name: str, *, recipes: Path = RECIPES) -> Path:
    """Where the image of this recipe, as the recipe is now, lies or would lie."""
    return images_folder() / f"{name}-{load_recipe(name, recipes).digest}"


def list_images() -> list[Image]:
    """Every whole image in the cache, those of former versions of a recipe too."""
    folder = images_folder()
    found = [load_image(path) for path in sorted(folder.glob("[a-z0-9]*"))] if folder.is_dir() else []
    return [image for image in found if image is not None]


def ensure_image(
    name: str,
    *,
    events: Emitter,
    deadline: Deadline,
    progress: Callable[[str], None],
    force: bool = False,
    recipes: Path = RECIPES,
) -> Image:
    """The image of the recipe `name`, built now when it is not in the cache (or `force`).

    When another process builds it, waits for that one. Raises :class:`UsageError` for an unknown recipe and
    :class:`MachineError`, with the builder's own words, when it cannot be built before `deadline`.
    """
    recipe = load_recipe(name, recipes)
    folder = images_folder() / f"{name}-{recipe.digest}"
    asked = time.time()
    if not force and (image := load_image(folder)) is not None:
        return image

    def waiting(holder: str) -> None:
        progress(f"image {name}: process {holder} is building it; waiting")
        events.emit("image.wait", f"waiting for process {holder}, which builds the image {name}", image=name)

    doing = f"building the image {name}"
    lock = images_folder() / f"{name}-{recipe.digest}.lock"
    with locked(lock, deadline=deadline, doing=doing, waiting=waiting):
        image = load_image(folder)
        # With force, one that was built while we waited is as new as it can be.
        if image is not None and (not force or (folder / MANIFEST).stat().st_mtime >= asked):
            return image
        from harness.machine.build import build
        from harness.machine.layer import lay_over

        remove_leftovers(images_folder(), f"{name}-{recipe.digest}")
        work = images_folder() / f".{name}-{recipe.digest}.{os.getpid()}"
        events.emit("image.build.start", f"building the image {name}", image=name, recipe_hash=recipe.digest)
        started = time.monotonic()
        try:
            work.mkdir(mode=0o700)
            if recipe.over:
                base = ensure_image(recipe.over, events=events, deadline=deadline, progress=progress, recipes=recipes)
                lay_over(base, recipe, work, deadline=deadline, progress=progress)
            else:
                build(recipe, work, deadline=deadline, progress=progress)
            if folder.exists():
                # Guests that run on the old one hold its files open; the name is free for the new one.
                trash = images_folder() / f".{name}-{recipe.digest}.old-{os.getpid()}"
                folder.rename(trash)
                work.rename(folder)
                remove_tree(trash)
            else:
                work.rename(folder)
        except OSError as error:
            events.emit(
                "image.build.end",
                f"building {name} failed: {error}",
                level="error",
                image=name,
                error_message=str(error),
            )
            raise MachineError(
                f"building the image {name} failed: {error}",
                hint=f"free space and write access are needed in {images_folder()}",
            ) from error
        except MachineError as error:
            events.emit(
                "image.build.end", f"building {name} failed", level="error", image=name, error_message=error.message
            )
            raise
        finally:
            remove_tree(work)
        seconds = time.monotonic() - started
        events.emit("image.build.end", f"built the image {name} in {seconds:.0f} s", image=name, duration=seconds)
        progress(f"image {name}: built in {seconds:.0f} s")
        image = load_image(folder)
        if image is None:
            raise MachineError(f"the image {name} was built and is not whole in {folder}", hint="build it with --force")
        return image


def describe(image: Image) -> dict[str, Any]:
    """The image without its secrets, for `--json` and for people."""
    values = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(image).items()}
    values.pop("password")
    return values
