"""Half of 10,000 commands on real shells behind damaging lines; see `benchmarks/damage.py`.

They take a minute or so: they carry the mark `damage`, and `-m "not damage"` leaves them out.
"""

from __future__ import annotations

import pytest

from .many_damaged import check_all


@pytest.mark.damage
@pytest.mark.usefixtures("runtime_dir")
def test_thousands_of_commands_over_lines_that_double_or_insert_bytes() -> None:
    check_all(("double", "insert", "all"))
