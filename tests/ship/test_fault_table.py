"""Each row of the fault table in docs/shipping.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "shipping.md"


def test_every_row_of_the_fault_table_has_a_test() -> None:
    lines = DOCUMENT.read_text().splitlines()
    begin = lines.index("| fault | what is done | lost | twice | told | shown by |") + 2
    rows = lines[begin : lines.index("", begin)]
    known = {name for path in HERE.glob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    assert len(rows) >= 15
    for row in rows:
        fault, _, lost, twice, told, shown = (cell.strip() for cell in row.strip("|").split(" | "))
        assert all((fault, lost, twice, told)), row
        named = set(re.findall(r"`(\w+)`", shown))
        assert named, f"no test is named for: {fault}"
        assert named <= known, f"{fault}: there is no {sorted(named - known)}"
