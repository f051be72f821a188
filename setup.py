"""Makes the manual's pages while the package is built, so that `man harness` finds them where it is installed.

All else stands in setup.cfg. What makes the pages imports nothing but Python's own library."""

import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from harness.cli.man import made, write  # noqa: E402 - it is found only now

pages = write(made(), ROOT / "build" / "man")
setup(data_files=[("share/man/man1", [str(page.relative_to(ROOT)) for page in pages])])
