"""Ours against ansible-core: the same files, the whole JSON compared."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.inventory import load
from harness.inventory.render import graph, host_json, list_json, to_json

FILES = Path(__file__).with_name("files")
EXAMPLES = int(os.environ.get("HARNESS_DIFFERENTIAL_EXAMPLES", "40"))
QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def ours(*sources: Path | str, **options: Any) -> Any:
    inventory = load([str(source) for source in sources], validate=False, **options)
    return json.loads(to_json(list_json(inventory, inventory.hosts)))


def sources() -> list[Path]:
    return sorted(path for path in FILES.iterdir() if path.suffix != ".expect")


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.name)
def test_list_of_shipped_file_is_ansibles(ansible: Any, source: Path) -> None:
    answer = ansible.inventory("-i", source, "--list")
    assert not answer.refused, answer.err
    assert ours(source) == answer.json


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.name)
def test_graph_of_shipped_file_is_ansibles(ansible: Any, source: Path) -> None:
    inventory = load([str(source)], validate=False)
    assert graph(inventory, "all", show_vars=False) == ansible.inventory("-i", source, "--graph").out.rstrip("\n")


def test_graph_with_variables_is_ansibles(ansible: Any) -> None:
    source = FILES / "beside"
    inventory = load([str(source)], validate=False)
    theirs = ansible.inventory("-i", source, "--graph", "--vars").out.rstrip("\n")
    assert graph(inventory, "all", show_vars=True) == theirs


def test_host_is_ansibles(ansible: Any, tmp_path: Path) -> None:
    """Unlike `--list`, `--host` marks no text as unsafe, but for those in a mapping below the key `vars`."""
    source = tmp_path / "hosts.yml"
    source.write_text(
        "all:\n  hosts:\n    h:\n      a: !unsafe '{{ x }}'\n      b: [!unsafe x]\n"
        "      c: {vars: {k: !unsafe x}, k: !unsafe x}\n"
        "      d: {vars: [!unsafe x]}\n      e: {vars: !unsafe x}\n      f: {g: {vars: {k: !unsafe x}}}\n"
    )
    inventory = load([str(source)], validate=False)
    assert json.loads(to_json(host_json(inventory, "h"))) == ansible.inventory("-i", source, "--host", "h").json
    assert ours(source) == ansible.inventory("-i", source, "--list").json


# --- INI made by Hypothesis -----------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "web1", "db-2", "x.example.com", "g1", "web[01:03]", "n[1:5:2]x[a:c]", "10.0.0.7"])
addresses = st.one_of(names, st.sampled_from(["a:2222", "[::1]:22", "fd00::1", "h[1:2]:2200", "[fd00::2]"]))
groups = st.sampled_from(["g1", "g2", "g3", "web", "all", "ungrouped"])
values = st.one_of(
    st.sampled_from(
        """
        1 -1 01 1.5 1e3 0x10 1_000 True true yes None null [] [1,2] {} {'a':1} (1,2) "q" 'q' "a b" 'it\\'s' a#b # ; a;b
        {{x}} "{{ x }}" = a=b == "" '' \\ a\\b 1,2 1j b'x' ... {1} -x +1 1+1 1+2j 'a' 'b' "a" + "b"
        r'x' f'x' é "é" 0 007 10.0.0.1
        """.split()  # noqa: SIM905 - quoted, none of it could be read
    ),
    st.text(alphabet="abc01 \"'\\#=;[]{}(),.:-_{}é\t", max_size=8),
)
keys = st.sampled_from(["x", "y", "ansible_port", "ansible_host", "z_1", "ansible_group_priority"])
plain_keys = keys.filter(lambda key: key != "ansible_group_priority")
host_lines = st.builds(
    lambda host, pairs, end: " ".join([host, *(f"{key}={value}" for key, value in pairs)]) + end,
    addresses,
    st.lists(st.tuples(plain_keys, values), max_size=3),
    st.sampled_from(["", "", "  ", " # comment", " ;x=1"]),
)
var_lines = st.builds(
    lambda key, between, value: f"{key}{between}{value}", plain_keys, st.sampled_from(["=", " = "]), values
)
sections = st.one_of(
    st.builds(lambda g, lines: [f"[{g}]", *lines], groups, st.lists(host_lines, max_size=3)),
    st.builds(lambda g, lines: [f"[{g}:vars]", *lines], groups, st.lists(var_lines, max_size=3)),
    st.builds(lambda g, priority: [f"[{g}:vars]", f"ansible_group_priority={priority}"], groups, st.integers(-3, 9)),
    st.builds(lambda g, lines: [f"[{g}:children]", *lines], groups, st.lists(groups, max_size=2)),
)
inis = st.builds(
    lambda head, parts: "\n".join([*head, *(line for part in parts for line in part)]) + "\n",
    st.lists(host_lines, max_size=2),
    st.lists(sections, max_size=5),
)

# What we refuse on purpose and Ansible takes (docs/inventory.md lists it).
STRICTER = ("'ungrouped' cannot be a child", "names nothing: begin must not")


def compare(answer: Any, *sources: Path, **options: Any) -> None:
    """Ours reads what Ansible reads, to the same JSON; and refuses what it refuses, or what we list as stricter."""
    refused: HarnessError | None = None
    mine: Any = None
    try:
        mine = ours(*sources, **options)
    except HarnessError as error:
        refused = error
    if refused is not None:
        strict = any(text in str(refused) for text in STRICTER)
        assert answer.refused or strict, f"only ours refuses: {refused}"
    else:
        assert not answer.refused, f"only Ansible refuses: {answer.err}"
        assert mine == answer.json


@QUICK
@given(text=inis)
def test_any_ini_is_read_as_ansible_reads_it(ansible: Any, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "hosts.ini")
        source.write_text(text)
        compare(ansible.inventory("-i", source, "--list"), source)


# --- YAML and JSON made by Hypothesis ---------------------------------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 99999), st.sampled_from(["a", "{{ x }}", "yes", "1", "1e3", "", "é"]),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
)  # fmt: skip
data = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(plain_keys, inner, max_size=2)),
    max_leaves=4,
)  # fmt: skip
variables = st.one_of(st.none(), st.dictionaries(plain_keys, data, max_size=3))
tree = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "hosts": st.one_of(st.none(), names, st.dictionaries(addresses, variables, max_size=3)),
            "vars": variables,
        },
    ),
    lambda below: st.fixed_dictionaries(
        {},
        optional={
            "hosts": st.dictionaries(addresses, variables, max_size=2),
            "vars": variables,
            "children": st.one_of(st.none(), st.dictionaries(groups, st.one_of(st.none(), below), max_size=3)),
            "other": st.one_of(st.none(), st.just("x")),
        },
    ),
    max_leaves=4,
)
trees = st.dictionaries(groups, tree, max_size=3)


@QUICK
@given(document=trees, form=st.sampled_from(["yml", "json"]))
def test_any_tree_is_read_as_ansible_reads_it(ansible: Any, document: Any, form: str) -> None:
    import yaml

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"hosts.{form}")
        source.write_text(json.dumps(document) if form == "json" else yaml.safe_dump(document, sort_keys=False))
        compare(ansible.inventory("-i", source, "--list"), source)


# --- scripts made by Hypothesis ---------------------------------------------------------------------------------

plain_hosts = st.sampled_from(["a", "b", "c", "g1", "web[1:2]"])
script_groups = st.one_of(
    st.lists(plain_hosts, max_size=3),
    st.dictionaries(plain_keys, data, max_size=2),
    st.fixed_dictionaries(
        {},
        optional={
            "hosts": st.lists(plain_hosts, max_size=3),
            "vars": st.dictionaries(plain_keys, data, max_size=2),
            "children": st.lists(groups.filter(lambda name: name != "all"), max_size=2),
        },
    ),
)
meta = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "_meta": st.fixed_dictionaries(
                {"hostvars": st.dictionaries(plain_hosts, st.dictionaries(plain_keys, data), max_size=3)}
            )
        }
    ),
)


@settings(QUICK, max_examples=max(1, EXAMPLES // 3))  # each example starts processes of its own
@given(document=st.dictionaries(groups, script_groups, max_size=4), extra=meta)
def test_any_script_is_read_as_ansible_reads_it(ansible: Any, document: Any, extra: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "list.json").write_text(json.dumps(document | extra))
        # With this ending, the text of a refused script is no YAML and no INI to Ansible either.
        script = Path(folder, "dynamic.ini")
        script.write_text(
            f'#!/bin/sh\nif [ "$1" = --list ]; then cat {folder}/list.json; else echo "{{\\"own\\": \\"$2\\"}}"; fi\n'
        )
        script.chmod(0o755)
        compare(ansible.inventory("-i", script, "--list"), script)


# --- precedence ---------------------------------------------------------------------------------------------------

layers = st.sampled_from(
    [
        "group_vars/all.yml", "group_vars/all/x.yml", "group_vars/all/y", "group_vars/g1.yaml", "group_vars/g1/a.json",
        "group_vars/g2.json", "group_vars/g2", "group_vars/ungrouped.yml", "host_vars/h1.yml",
        "host_vars/h2/deep/x.yml",
        "host_vars/h2/.hidden.yml", "host_vars/h2/old~", "host_vars/h2/no.txt", "host_vars/h1.json",
    ]
)  # fmt: skip


@QUICK
@given(
    ini=st.lists(sections, min_size=1, max_size=4),
    files=st.lists(st.tuples(st.sampled_from(["inventory", "checks"]), layers, st.integers(0, 9)), max_size=7),
    extra=st.lists(st.sampled_from(["x=extra", "y='a b' z_1=1", '{"x": [1]}', "@extra.yml"]), max_size=2),
)
def test_precedence_is_ansibles(
    ansible: Any, ini: list[list[str]], files: list[tuple[str, str, int]], extra: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        (top / "inventory").mkdir()
        (top / "checks").mkdir()
        (top / "extra.yml").write_text("x: from file\n")
        source = top / "inventory" / "hosts"
        lines = ["h1 x=host", "h2", "[g1]", "h1", "[g2]", "h1", "h2", *(line for part in ini for line in part)]
        source.write_text("\n".join(lines) + "\n")
        for place, name, number in files:
            path = top / place / name
            if path.exists() or any(parent.is_file() for parent in path.parents):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                path.write_text(json.dumps({"x": f"{place} {name} {number}", f"k{number}": number}))
        words = [word.replace("@", f"@{top}/") for word in extra]
        arguments = [word for extra_word in words for word in ("-e", extra_word)]
        answer = ansible.inventory("-i", source, "--list", "--playbook-dir", top / "checks", *arguments)
        compare(answer, source, extra_vars=words, playbook_dirs=[str(top / "checks")])


def test_sources_are_merged_in_order_as_ansible_does(ansible: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "group_vars").mkdir(parents=True)
        (tmp_path / name / "hosts").write_text(f"[g]\nh x={name}\nh{name}\n[g:vars]\ny={name}\n")
        (tmp_path / name / "group_vars" / "g.yml").write_text(f"z: {name}\n")
    for order in (("one", "two"), ("two", "one"), ("one", "two", "one")):
        paths = [tmp_path / name / "hosts" for name in order]
        arguments = [word for path in paths for word in ("-i", path)]
        assert ours(*paths) == ansible.inventory(*arguments, "--list").json


@pytest.mark.parametrize("hosts", ["a,b", "a,", "a:22,b", "h[1:2],", "[::1]:2222,x", " a , b ", "a,a,b:1"])
def test_list_of_hosts_is_ansibles(ansible: Any, hosts: str) -> None:
    assert ours(hosts) == ansible.inventory("-i", hosts, "--list").json


def test_limit_is_ansibles(ansible: Any) -> None:
    source = FILES / "groups.ini"
    inventory = load([str(source)], validate=False)
    for limit in ("web", "web:&prod", "db*", "all:!web"):
        mine = json.loads(to_json(list_json(inventory, inventory.select_names(limit=limit))))
        assert mine == ansible.inventory("-i", source, "--list", "--limit", limit).json


def test_executable_is_ansibles(ansible: Any, tmp_path: Path) -> None:
    script = tmp_path / "dynamic"
    shutil.copy(FILES / "script.py", script)
    script.chmod(0o755)
    assert ours(script) == ansible.inventory("-i", script, "--list").json
