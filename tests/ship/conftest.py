"""What the tests of shipping share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ship.runs import Run


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run's folder, with a record that has begun."""
    made = Run(tmp_path / "run")
    yield made
    made.log.close()
