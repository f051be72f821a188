"""`harness image`: build, list and find the guest images."""

from __future__ import annotations

import argparse
import sys

_DESCRIPTION = """\
Guest images are built from recipes, kept in the cache folder, and built by themselves when an inventory needs one.

  harness image build debian
  harness image list
  harness image path debian
"""
_TIMEOUT = 1800.0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb."""
    parser = subparsers.add_parser(
        "image",
        help="build, list and find guest images",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="build an image, unless it is there")
    build.add_argument("name", metavar="RECIPE", help="a recipe, such as debian")
    build.add_argument("--force", action="store_true", help="build it anew")
    build.add_argument(
        "--timeout", type=float, default=_TIMEOUT, metavar="S", help="give up after S seconds (%(default)g)"
    )
    build.set_defaults(run=_build)
    listing = actions.add_parser("list", help="the recipes, and the images that are built")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run=_list)
    path = actions.add_parser("path", help="print the folder of an image")
    path.add_argument("name", metavar="RECIPE", help="a recipe, such as debian")
    path.set_defaults(run=_path)


def _build(args: argparse.Namespace) -> int:
    from harness.deadline import Deadline
    from harness.events.emitter import NullEmitter
    from harness.machine.image import ensure_image

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    image = ensure_image(
        args.name, events=NullEmitter(), deadline=Deadline.after(args.timeout), progress=progress, force=args.force
    )
    print(image.path)
    return 0


def _list(args: argparse.Namespace) -> int:
    import json

    from harness.machine.image import describe, image_folder, list_images
    from harness.machine.recipe import recipe_names

    current = {name: image_folder(name) for name in recipe_names()}
    images = list_images()
    if args.json:
        value = {
            "recipes": sorted(current),
            "images": [describe(image) | {"current": image.path in current.values()} for image in images],
        }
        print(json.dumps(value, indent=2))
        return 0
    built = {image.path for image in images}
    for name, folder in current.items():
        print(f"{name}: {folder if folder in built else 'not built (harness image build ' + name + ')'}")
    for image in images:
        if image.path not in current.values():
            print(f"{image.recipe}, of a former recipe, not used any more: {image.path}")
    return 0


def _path(args: argparse.Namespace) -> int:
    import shlex

    from harness.errors import ExitCode
    from harness.machine.image import image_folder, load_image

    folder = image_folder(args.name)
    if load_image(folder) is None:
        print(
            f"harness: the image {args.name} is not built\n  harness image build {shlex.quote(args.name)}",
            file=sys.stderr,
        )
        return int(ExitCode.FAILED)
    print(folder)
    return 0
