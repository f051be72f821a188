"""The commands of the documentation that need a machine are typed beside one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs.place import Place
from tests.docs.reading import Block, Command
from tests.docs.test_commands import PAGES, page_of


@pytest.mark.guest
@pytest.mark.timeout(900)
def test_what_needs_a_machine_is_carried_out_beside_one(tmp_path: Path) -> None:
    """One machine for all pages: it is up before the first command, and down after the last."""
    pages = [page_of(path) for path in PAGES]
    place = Place(tmp_path)
    wrong = place.carry_out(_ours_alone("harness up -i inventories/local.ini -e qemu_start=snapshot --keep-for 20m"))
    assert not wrong, wrong
    done: set[Block] = set()
    try:
        for files, blocks in pages:
            typed = [block for block in blocks if not block.not_run]
            if not any(block.guest for block in typed):
                continue
            place.write(files)
            for block in typed:
                # What several pages have in common is done once.
                same = replace(block, page="", line=0, commands=tuple(replace(c, line=0) for c in block.commands))
                if same not in done:
                    wrong += place.carry_out(block)
                    done.add(same)
            place.keep_a_run()
    finally:
        wrong += place.carry_out(_ours_alone("harness down"))
    assert not wrong, "\n\n".join(wrong)


def _ours_alone(text: str) -> Block:
    return Block("(the test itself)", 0, (Command(text, 0, ()),))
