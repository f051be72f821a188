"""Planted faults, each named by the first sentence; and healthy machines that raise no alarm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.fault import Fault, Healthy
from tests.corpus.faults import FAULTS, HEALTHY
from tests.corpus.runner import FEW, ask_healthy, line_of, plant_and_ask

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]


@pytest.mark.parametrize("fault", [each for each in FAULTS if each.quick], ids=lambda each: each.name)
def test_a_fault_is_named(fault: Fault, tmp_path: Path) -> None:
    score = plant_and_ask(fault, tmp_path, FEW)
    assert score.run_named, line_of(score)
    assert score.why_named, line_of(score)


@pytest.mark.parametrize("healthy", [each for each in HEALTHY if each.quick], ids=lambda each: each.name)
def test_a_healthy_machine_raises_no_alarm(healthy: Healthy, tmp_path: Path) -> None:
    assert ask_healthy(healthy, tmp_path) == []
