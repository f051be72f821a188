"""Which worker gets which tests: few guests at once, begun first, and everything else beside them.

A guest takes a whole core and more while it boots, and waits most of the time otherwise; so the first workers take the
tests with a guest, the longest first, and the rest of the workers the other tests. A worker that has nothing left of
its own kind takes of the other where that is allowed: no more guests at once than there are such workers.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

GUESTS = 2
"""So many workers of a run take the tests with a guest, where there are more workers than that."""
_GUEST = re.compile(r"tests/guest/|/test_(\w+_)?guest\.py")
_OF_THEIR_OWN = re.compile(r"tests/guest/test_(main_job|pytest|soak|findings)\.py|tests/machine/test_guest\.py")
"""Files of which each test has guests of its own; the tests of another file share one."""

_SECONDS = {
    "test_pre_nixos.py": 250,
    "test_settling.py": 100,
    "test_soak.py": 130,
    "test_healthy": 90,
    "test_a_broken_sshd": 80,
    "test_two_runs": 70,
    "test_console.py": 150,
    "tests/docs/test_guest.py": 110,
    "test_operate.py": 110,
    "test_link.py": 100,
    "test_collect.py": 50,
    "test_other_units.py": 60,
    "test_a_suite": 60,
    "serial/test_flood.py": 100,
    "serial/test_damage_d": 60,
    "serial/test_shells.py": 100,
    "ssh/test_files.py": 60,
    "serial/test_login.py": 60,
    "serial/test_become.py": 60,
    "serial/test_pipes.py": 50,
    "serial/test_files.py": 50,
    "pytest/test_plugin.py": 60,
    "pytest/test_ends.py": 50,
    "docs/test_site.py": 30,
    "cli/test_collect.py": 50,
    "ship/": 30,
}
"""What takes long, in seconds on a quiet machine: that is begun first. It only decides on the order."""


def has_guest(nodeid: str) -> bool:
    """Return whether a test boots or restores a guest, which its place says: the process that hands the tests out has
    nothing but their names. `tests/conftest.py` holds the marker against it."""
    return _GUEST.search(nodeid) is not None


def unit_of(nodeid: str) -> str:
    """Return what is to be run by one worker, in one go: mostly a file."""
    return nodeid if _OF_THEIR_OWN.search(nodeid) else nodeid.partition("::")[0]


def seconds(unit: str) -> float:
    """Return about how long a unit takes."""
    default = 30 if has_guest(unit) else 10
    return next((value for part, value in _SECONDS.items() if part in unit), default)


class GuestScheduling(LoadScopeScheduling):
    """Hands out units: those with a guest to the first workers only."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        takes_guests = self._takes_guests(node)
        units = [unit for unit in self.workqueue if takes_guests or not has_guest(unit)]
        if not units:
            # xdist holds a worker's last test back until it is told that no other follows.
            node.shutdown()
            return
        # min() takes the first of equals: in the order of the collection.
        self.workqueue.move_to_end(min(units, key=lambda unit: (not has_guest(unit), -seconds(unit))), last=False)
        super()._assign_work_unit(node)

    def _takes_guests(self, node: WorkerController) -> bool:
        takers = sorted(self.nodes, key=lambda each: str(each.gateway.id))[:GUESTS]
        return node in takers or len(self.nodes) <= GUESTS


def make_scheduler(config: pytest.Config, log: Any) -> GuestScheduling:
    """Return the scheduler of a run."""
    return GuestScheduling(config, log)
