"""The order in which a target's checks start. Pure."""

from __future__ import annotations

import random

from harness.engine.plan import Options, PlanItem


def in_order(items: tuple[PlanItem, ...], options: Options) -> list[PlanItem]:
    """The order in which checks start: as declared, or drawn with the seed; each after those that it needs."""
    drawn = list(items)
    if options.shuffle:
        random.Random(options.seed).shuffle(drawn)  # noqa: S311 - an order, no secret
    by_id = {item.check.id: item for item in drawn}
    placed: dict[str, PlanItem] = {}

    def place(item: PlanItem) -> None:
        for need in item.check.needs:
            if need not in placed:
                place(by_id[need])
        placed[item.check.id] = item

    for item in drawn:
        if item.check.id not in placed:
            place(item)
    return list(placed.values())
