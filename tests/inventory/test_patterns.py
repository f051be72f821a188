"""Patterns: the same hosts as Ansible finds, and clear errors where Ansible shrugs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ExitCode, NothingSelected, UsageError
from harness.inventory import Inventory, load

FILES = Path(__file__).with_name("files")
EXAMPLES = int(os.environ.get("HARNESS_DIFFERENTIAL_EXAMPLES", "40"))

INVENTORY = """\
lonely
[web]
web[1:5].example.com
both
[db]
db-[a:d]
both
[empty]
[v6]
fd00::1
10.0.0.[1:3]
[samename]
samename
other
[prod:children]
web
db
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("patterns") / "hosts"
    path.write_text(INVENTORY)
    return path


def found(inventory: Inventory, pattern: str) -> Any:
    try:
        return inventory.select_names(pattern)
    except NothingSelected:
        return []
    except UsageError as error:
        return error


words = st.sampled_from(
    [
        "web", "db", "all", "prod", "empty", "ungrouped", "lonely", "both", "*", "web*", "db-?",
        "*.example.com", "~web[12]",
        "~.*-[ab]", "~db|web", "fd00::1", "10.0.0.1", "10.0.0.*", "samename", "db-[ab]",
        "web1.example.com", "nobody", "no*",
        "u*", "~^l", "v6", "web[0]", "web[-1]", "db[1:2]", "db[0:0]", "db[2:]", "db[1-2]",
        "web[9]", "db[7:9]", "all[3]", "*[0]",
    ]
)  # fmt: skip
terms = st.builds(lambda mark, word: mark + word, st.sampled_from(["", "", "&", "!"]), words)
patterns = st.builds(
    lambda parts, between: between.join(parts),
    st.lists(terms, min_size=1, max_size=4),
    st.sampled_from([":", ",", " , "]),
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many=st.lists(patterns, min_size=30, max_size=30))
def test_patterns_find_what_ansible_finds(ansible: Any, hosts: Path, many: list[str]) -> None:
    inventory = load([str(hosts)], validate=False)
    for pattern, theirs in zip(many, ansible.patterns([hosts], many), strict=True):
        mine = found(inventory, pattern)
        if isinstance(mine, UsageError):
            # Ours refuses every term that names nothing; Ansible goes on without it.
            assert "matches no group and no host" in str(mine) or "names no host" in str(mine), (pattern, mine)
            assert _names_nothing(pattern) or "error" in theirs, (pattern, theirs)
        else:
            assert mine == theirs, pattern


def _names_nothing(pattern: str) -> bool:
    return any(word in pattern for word in ("nobody", "no*", "web[9]", "db[7:9]", "fd00::1"))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("web:&db", ["both"]),
        ("web,!both", [f"web{n}.example.com" for n in range(1, 6)]),
        ("!web", ["lonely", "fd00::1", "10.0.0.1", "10.0.0.2", "10.0.0.3", "samename", "other",
                   "db-a", "db-b", "db-c", "db-d"]),
        ("db[1:2]", ["db-b", "db-c"]),
        ("db[-1]", ["both"]),
        ("~db-[ab]", ["db-a", "db-b"]),
        ("web1.example.com", ["web1.example.com"]),
    ],
)  # fmt: skip
def test_pattern(hosts: Path, pattern: str, expected: list[str]) -> None:
    assert sorted(load([str(hosts)]).select_names(pattern)) == sorted(expected)


@pytest.mark.parametrize("term", ["nobody", "!nobody", "&nobody", "no*", "~nobody", "web[9]", "web[7:9]", "web:nobody"])
def test_a_term_that_names_nothing_is_an_error(hosts: Path, term: str) -> None:
    with pytest.raises(UsageError) as caught:
        load([str(hosts)]).select(term)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_misspelt_group_is_pointed_out(hosts: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'prod'"):
        load([str(hosts)]).select("prodd")


def test_an_empty_selection_has_its_own_exit_code(hosts: Path) -> None:
    for pattern in ("empty", "web:!web", "lonely:&db"):
        with pytest.raises(NothingSelected) as caught:
            load([str(hosts)]).select(pattern)
        assert caught.value.exit_code == ExitCode.NOTHING_SELECTED


def test_a_limit_that_matches_no_host_is_a_usage_error(hosts: Path) -> None:
    with pytest.raises(UsageError, match="--limit 'empty' matches no host"):
        load([str(hosts)]).select("web", limit="empty")
    with pytest.raises(NothingSelected):
        load([str(hosts)]).select("web", limit="db-a")


def test_bad_regular_expression(hosts: Path) -> None:
    with pytest.raises(UsageError, match="regular expression"):
        load([str(hosts)]).select("~web(")


@pytest.mark.parametrize("pattern", ["&", "!", "web:!", "web,&"])
def test_a_mark_alone_is_an_error(hosts: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="nothing behind it"):
        load([str(hosts)]).select(pattern)


def test_terms_from_a_file(hosts: Path, tmp_path: Path) -> None:
    retry = tmp_path / "failed.retry"
    retry.write_bytes(b"\xef\xbb\xbfdb-a\n\n  db-b  \n")
    inventory = load([str(hosts)])
    assert inventory.select_names(f"@{retry}") == ["db-a", "db-b"]
    assert set(inventory.select_names("all", limit=f"@{retry},both")) == {"db-a", "db-b", "both"}
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match=r"no file|is a folder"):
            inventory.select(f"@{missing}")


def test_no_inventory_selects_nothing(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("")
    with pytest.raises(NothingSelected):
        load([str(tmp_path / "hosts")]).select()


def test_order_is_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(INVENTORY + "".join(f"[c{n}:children]\nweb\ndb\nv6\n" for n in range(9)))
    orders = {tuple(load([str(tmp_path / "hosts")]).hosts) for _ in range(5)}
    assert len(orders) == 1


@settings(deadline=None)
@given(pattern=st.text(alphabet="abwe:,&![]~*?.-01 ", max_size=12))
def test_any_text_is_answered_or_refused(pattern: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "hosts")
        source.write_text(INVENTORY)
        inventory = load([str(source)], validate=False)
        result = found(inventory, pattern)
        assert isinstance(result, UsageError) or set(result) <= set(inventory.hosts)
