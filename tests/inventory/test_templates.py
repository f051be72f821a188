"""Templates in values: Ansible's results, laziness, loops, the sandbox, secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.inventory import load

TEMPLATES = r"""
all:
  hosts:
    h1:
    other: {x: from other, nested: {deep: "{{ x }}!"}, ansible_host: 10.0.0.9}
  vars:
    n: 5
    s: text
    yes_: true
    none_: ~
    items_: [1, 2, "{{ n }}"]
    map_: {a: 1, b: "{{ s }}", c: "{{ map_.a + 1 }}"}
    plain: "{{ n }}"
    sum: "{{ n + 1 }}"
    joined: "{{ s }}-{{ n }}"
    joined_none: "a{{ none_ }}b"
    just_none: "{{ none_ }}"
    boolean: "{{ yes_ }}"
    mixed_boolean: "is {{ yes_ }}"
    list_: "{{ items_ }}"
    list_in_text: "x{{ items_ }}"
    map_in_text: "x{{ {'k': 1} }}"
    item: "{{ items_[2] }}"
    slice: "{{ items_[1:] }}"
    added: "{{ items_ + [9] }}"
    attribute: "{{ map_.b }}"
    subscript: "{{ map_['c'] }}"
    whole: "{{ map_ }}"
    condition: "{% if n > 3 %}big{% else %}small{% endif %}"
    loop: "{% for i in items_ %}{{ i }},{% endfor %}"
    empty: "{% if false %}x{% endif %}"
    comment: "{# nothing #}text"
    defaulted: "{{ missing | default('d') }}"
    default_of_broken: "{{ broken | default('cured') }}"
    unused_broken: "{{ s if true else broken }}"
    nested_text: "{{ joined }}/{{ attribute }}"
    number_text: "{{ '5' }}"
    literal: "{{ 5 }}"
    literal_list: "{{ [1, 2] }}"
    newline: "{{ s }}\n"
    blocks: "{% set v = 3 %}\n{{ v }}"
    filtered: "{{ s | upper }}"
    to_int: "{{ '7' | int + 1 }}"
    to_bool: "{{ 'yes' | bool }}"
    json_: "{{ map_ | to_json }}"
    nice_json: "{{ {'b': 1, 'a': [1]} | to_nice_json }}"
    back: "{{ '{\"a\": [1]}' | from_json }}"
    base: "{{ '/a/b.txt' | basename }} {{ '/a/b.txt' | dirname }}"
    split_: "{{ 'a,b' | split(',') }}"
    replaced: "{{ 'abc' | regex_replace('b(.)', '\\\\1x') }}"
    searched: "{{ 'abc123' | regex_search('[0-9]+') }}"
    not_found: "{{ 'abc' | regex_search('[0-9]+') }}"
    found_all: "{{ 'a1b2' | regex_findall('[0-9]') }}"
    combined: "{{ {'a': {'x': 1}, 'b': 1} | combine({'a': {'y': 2}}, recursive=true) }}"
    combined_flat: "{{ {'a': {'x': 1}} | combine({'a': {'y': 2}}) }}"
    as_items: "{{ {'a': 1} | dict2items }}"
    as_dict: "{{ [{'key': 'a', 'value': 1}] | items2dict }}"
    ternary_: "{{ (n > 3) | ternary('y', 'n') }}"
    flat: "{{ [1, [2, [3]]] | flatten }}"
    union_: "{{ [1, 2] | union([2, 3]) }}"
    both: "{{ [1, 2] | intersect([2, 3]) }}"
    without: "{{ [1, 2] | difference([2, 3]) }}"
    either: "{{ [1, 2] | symmetric_difference([2, 3]) }}"
    unique_: "{{ [2, 1, 2] | unique }}"
    b64: "{{ 'text' | b64encode }} {{ 'dGV4dA==' | b64decode }}"
    quoted: "{{ 'a b' | quote }}"
    path: "{{ ['/a', 'b'] | path_join }}"
    hashed: "{{ 'a' | hash('sha256') }} {{ 'a' | md5 }} {{ 'a' | sha1 }}"
    zipped: "{{ [1, 2] | zip(['a', 'b']) | list }}"
    ext: "{{ 'a.tar' | splitext }}"
    mapped: "{{ [{'a': 1}, {'a': 2}] | map(attribute='a') | list }}"
    selected: "{{ [1, 2, 3] | select('odd') | list }}"
    length: "{{ items_ | length }} {{ map_ | length }} {{ items_ | max }}"
    keys_: "{{ map_.keys() | list }}"
    values_: "{{ map_.items() | list }}"
    is_mapping: "{{ map_ is mapping }} {{ items_ is sequence }} {{ s is string }} {{ missing is defined }}"
    matching: "{{ 'abc' is match('a') }} {{ 'abc' is search('c') }} {{ 'abc' is regex('^b') }}"
    has: "{{ [1, 2] is contains(1) }} {{ 1 in items_ }} {{ 'a' in map_ }}"
    name: "{{ inventory_hostname }} {{ inventory_hostname_short }} {{ group_names }}"
    members: "{{ groups['all'] }} {{ groups.ungrouped | length }}"
    neighbour: "{{ hostvars['other'].x }} {{ hostvars.other.nested.deep }} {{ hostvars['other']['ansible_host'] }}"
    raw_: "{% raw %}{{ x }}{% endraw %}"
    broken: "{{ missing }}"
    broken_inside: [1, "{{ missing.x }}"]
    broken_attribute: "{{ map_.nothing }}"
    circle: "{{ round }}"
    round: "{{ circle }}"
    bad_syntax: "{{ n + }}"
    bad_type: "{{ n + s }}"
    bad_filter: "{{ n | nothing_like_it }}"
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("templates") / "hosts.yml"
    path.write_text(TEMPLATES)
    return path


@pytest.fixture(scope="module")
def theirs(ansible: Any, source: Path) -> Any:
    host = load([str(source)]).host("h1")
    return ansible.templates([source], "h1", [name for name in host.vars if not name.startswith("inventory_")])


def names() -> list[str]:
    import yaml

    return list(yaml.safe_load(TEMPLATES)["all"]["vars"])


@pytest.mark.parametrize("name", names())
def test_template_gives_what_ansible_gives(source: Path, theirs: Any, name: str) -> None:
    host = load([str(source)]).host("h1")
    if "error" in theirs[name]:
        with pytest.raises(UsageError) as caught:
            host.vars[name]
        assert caught.value.source is not None
        assert caught.value.source.line == _line(name)
        assert name in str(caught.value)
    else:
        value = host.vars[name]
        assert json.loads(json.dumps(value)) == theirs[name]["value"]
        assert type(value) is type(theirs[name]["value"])


def _line(name: str) -> int:
    return next(n for n, line in enumerate(TEMPLATES.splitlines(), 1) if line.strip().startswith(f"{name}:"))


def test_errors_say_what_is_missing_and_where(source: Path) -> None:
    host = load([str(source)]).host("h1")
    with pytest.raises(UsageError, match=r"host 'h1', variable 'broken': 'missing' is undefined"):
        host.vars["broken"]
    with pytest.raises(UsageError, match="circle > round > circle"):
        host.vars["circle"]
    with pytest.raises(UsageError, match="line 1 of the template"):
        host.vars["bad_syntax"]


def test_values_are_the_readers_own(source: Path) -> None:
    host = load([str(source)]).host("h1")
    first = host.vars["items_"]
    assert isinstance(first, list)
    first.append("changed")
    assert host.vars["items_"] == [1, 2, 5]


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ lookup('pipe', 'id') }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ range(10000000) | list }}",
        "{% for i in range(99999999) %}{% endfor %}",
        "{{ (1).__class__ }}",
    ],
)
def test_the_sandbox_holds(tmp_path: Path, template: str) -> None:
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"h": {"x": template}}}}))
    host = load([str(tmp_path / "hosts.json")]).host("h")
    with pytest.raises(UsageError, match="variable 'x'"):
        host.vars["x"]


def test_environment_and_files_can_be_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_TEST_VALUE", "from the environment")
    (tmp_path / "key").write_text("line\n")
    (tmp_path / "hosts").write_text(
        "h a=\"{{ lookup('env', 'HARNESS_TEST_VALUE') }}\" b=\"{{ lookup('file', inventory_dir ~ '/key') }}\"\n"
    )
    host = load([str(tmp_path / "hosts")]).host("h")
    assert (host.vars["a"], host.vars["b"]) == ("from the environment", "line")


def test_unsafe_text_is_no_template(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text('all: {hosts: {h: {x: !unsafe "{{ y }}", l: [!unsafe "{%"]}}}\n')
    host = load([str(tmp_path / "hosts.yml")]).host("h")
    assert host.vars["x"] == "{{ y }}"
    assert host.vars["l"] == ["{%"]
    assert type(host.vars["x"]) is str


def test_many_threads_read_the_same_values(source: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    inventory = load([str(source)])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: inventory.host(("h1", "other")[n % 2]).vars["nested_text"], range(200)))
    assert set(found) == {"text-5/text"}


def test_jinja_and_yaml_are_imported_only_where_needed(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text("h x=1\n")
    program = (
        "import sys\nfrom harness.inventory import load\n"
        f"print(dict(load([{str(tmp_path / 'hosts.ini')!r}]).host('h').vars)['x'], "
        "sorted({'jinja2', 'yaml', 'paramiko', 'cryptography'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n"
