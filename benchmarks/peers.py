"""Makes .venv-peers, the environment of the others that benchmarks.serial compares with.

python -m benchmarks.peers
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-peers"
PYTHON = FOLDER / "bin" / "python"


def main() -> None:
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
    wanted = Path(__file__).with_name("peers.txt")
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted], check=True)
    print(f"ready: {FOLDER}")


if __name__ == "__main__":
    main()
