"""Selection by tags is Ansible's own."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from harness.api.tags import is_selected

TAGS = ("always", "never", "tagged", "untagged", "net", "disk")
WORDS = ("all", *TAGS)


def subsets(words: tuple[str, ...], most: int) -> list[frozenset[str]]:
    found = chain.from_iterable(combinations(words, size) for size in range(most + 1))
    return [frozenset(each) for each in found]


@pytest.mark.parametrize(
    ("own", "wanted", "skipped", "runs"),
    [
        ({"never", "destroy"}, set(), set(), False),
        ({"never", "destroy"}, {"all"}, set(), False),
        ({"never", "destroy"}, {"tagged"}, set(), False),
        ({"never", "destroy"}, {"destroy"}, set(), True),
        ({"never"}, {"never"}, set(), True),
        ({"net"}, {"all"}, set(), True),
        (set(), {"all"}, set(), True),
        (set(), {"untagged"}, set(), True),
        ({"net"}, {"untagged"}, set(), False),
        (set(), {"tagged"}, set(), False),
        ({"always"}, {"net"}, set(), True),
        ({"always"}, {"net"}, {"always"}, False),
        ({"net"}, set(), {"net"}, False),
        ({"net"}, set(), {"tagged"}, False),
        (set(), set(), {"tagged"}, True),
        (set(), set(), {"untagged"}, False),
        ({"always", "net"}, set(), {"all"}, True),
        ({"net"}, set(), {"all"}, False),
    ],
)
def test_what_runs(own: set[str], wanted: set[str], skipped: set[str], runs: bool) -> None:
    assert is_selected(own, wanted, skipped) is runs


def test_it_is_what_ansible_says() -> None:
    taggable = pytest.importorskip("ansible.playbook.taggable")

    class Task(taggable.Taggable):  # type: ignore[misc, name-defined]
        """A task outside a play: its own tags are all that it has."""

        def __init__(self, tags: frozenset[str]) -> None:
            self._loader = None
            self.tags = sorted(tags)

        def _get_all_taggable_objects(self) -> list[object]:
            return []

    for own in subsets(TAGS, 2):
        task = Task(own)
        for wanted in subsets(WORDS, 2):
            for skipped in subsets(WORDS, 2):
                # Ansible's command line has `all` where no tags are given.
                theirs = task.evaluate_tags(wanted or {"all"}, skipped, {})
                assert is_selected(own, wanted, skipped) is theirs, (own, wanted, skipped)
