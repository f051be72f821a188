"""What is wrong is told with file, line, column, the line itself and what was expected; nothing half-read stays."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError, UsageError
from harness.inventory import load


def refused(path: Path | str, **options: object) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load([str(path)], **options)  # type: ignore[arg-type]
    return caught.value


def write(folder: Path, name: str, text: str | bytes, *, executable: bool = False) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if executable:
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


INI = [
    ("[a:children]\nb\n", 2, 1, "names a group that is not defined: 'b'"),
    ("[web]\n[a:children]\nwebb\n", 3, 1, "did you mean 'web'?"),
    ("[a:vars]\nx=1\n", 1, 2, "variables of a group that is not defined: 'a'"),
    ("[a]\n[a:hosts2]\n", 2, 4, "unknown kind: 'hosts2'"),
    ("[a]\n[a:chidren]\n", 2, 4, "did you mean 'children'?"),
    ("[a b]\n", 1, 1, "is no section"),
    ("h x=1\nh y\n", 2, 3, "expected key=value after the host, got 'y'"),
    ("[a]\nh\n[a:vars]\nnovalue\n", 4, 1, "expected key=value in [a:vars]"),
    ("h x='open\n", 1, 1, "cannot be split into words"),
    ("h[1:\n", 1, 1, "no closing bracket"),
    ("h[5:1]\n", 1, 1, "names nothing: begin must not come after end"),
    ("h[c:a]\n", 1, 1, "begin must not come after end"),
    ("h[1]\n", 1, 1, "expected [begin:end]"),
    ("h[1:2:0]\n", 1, 1, "step cannot be 0"),
    ("h[1:2:x]\n", 1, 1, "step 'x' is no number"),
    ("h[01:100]\n", 1, 1, "equally long"),
    ("h[a:5]\n", 1, 1, "two numbers or two single letters"),
    ("h[1:]\n", 1, 1, "has no end"),
    ("host:\n", 1, 1, "ends in ':'"),
    ("[a]\n[b]\n[a:children]\nb\n[b:children]\na\n", 6, 1, "closes a circle (b > a > b)"),
    ("[a]\n[a:children]\na\n", 3, 1, "cannot be its own child"),
    ("[a:children]\nungrouped\n", 2, 1, "'ungrouped' cannot be a child"),
    ("[a]\nh\n[a:vars]\nansible_group_priority=high\n", 4, 1, "must be a whole number, got 'high'"),
    ("'' x=1\n", 1, 0, "is no name for a host"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), INI, ids=[case[3] for case in INI])
def test_ini(tmp_path: Path, text: str, line: int, column: int, message: str) -> None:
    path = write(tmp_path, "hosts.ini", text)
    error = refused(path)
    assert message in str(error)
    assert error.source is not None
    assert (error.source.path, error.source.line) == (str(path), line)
    assert error.source.column == column
    assert error.source.text == text.splitlines()[line - 1]


YAML = [
    ("all:\n  hosts:\n    a: {x: 1\n", 4, "this is no valid YAML"),
    ("all:\n\thosts:\n", 2, "spaces, not with tabs"),
    ("all:\n  hosts:\n    a: b: c\n", 3, "Check the indentation"),
    ("all:\n  vars:\n    x: {{ y }}\n", 3, "must be quoted"),
    ("all:\n  hosts: [a, b]\n", 2, "'hosts' of group 'all' must be a mapping, got a list"),
    ("all:\n  children: {g: {children: 5}}\n", 2, "must be a mapping, got a number"),
    ("all:\n  hosts:\n    1:\n", 3, "put it in quotes"),
    ("all:\n  hosts:\n    h: text\n", 3, "variables of host 'h' must be a mapping"),
    ("1:\n  hosts: {a: }\n", 1, "no name for a group"),
    ("a:\n  children:\n    b:\n      children:\n        a:\n", 3, "closes a circle"),
    ("- a\n- b\n", 1, "expected a mapping of groups"),
    ("plugin: aws_ec2\nregions: []\n", 1, "plugins are not run here"),
    ("all: {vars: {v: !vault {a: 1}}}\n", 1, "needs a text"),
    ("all: {vars: {v: !mine 1}}\n", 1, "could not determine a constructor"),
    ("all: {vars: {v: 2024-13-45}}\n", 0, "this YAML cannot be read"),
    ("a: 1\n---\nb: 2\n", 2, "expected a single document"),
    ("all: \x07\n", 1, "U+0007"),
]


@pytest.mark.parametrize(("text", "line", "message"), YAML, ids=[case[2] for case in YAML])
def test_yaml(tmp_path: Path, text: str, line: int, message: str) -> None:
    error = refused(write(tmp_path, "hosts.yml", text))
    assert message in str(error)
    assert error.source is not None
    assert error.source.line == line


def test_json(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "hosts.json", '{"all": {"hosts": {"a": }}}\n'))
    assert "no valid JSON: expecting a value" in str(error)
    assert error.source is not None
    assert (error.source.line, error.source.column) == (1, 25)
    error = refused(write(tmp_path, "list.json", "[1, 2]"))
    assert "expected a mapping of groups" in str(error)


def test_toml(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "hosts.toml", "[all]\nx = \n"))
    assert "no valid TOML" in str(error)
    assert error.source is not None
    assert error.source.line == 2
    assert "must be a list of names" in str(refused(write(tmp_path, "b.toml", "[all]\nchildren = 5\n")))


def test_a_file_without_ending_is_told_as_what_it_looks_like(tmp_path: Path) -> None:
    assert "no valid YAML" in str(refused(write(tmp_path, "a", "---\nall:\n  hosts: [\n")))
    assert "is no section" in str(refused(write(tmp_path, "b", "[a b]\nh\n")))


SCRIPTS = [
    ("exit 3", "ended with status 3"),
    ("echo oops >&2; exit 1", "It wrote: oops"),
    ("kill -9 $$", "was ended by signal 9"),
    ("echo rubbish", "this is no valid JSON"),
    ("true", "printed nothing, expected JSON"),
    ("echo '[1]'", "printed a list, expected a mapping"),
    ("printf '\\377'", "no UTF-8"),
    ("""echo '{"g": {"hosts": "h"}}'""", "'hosts' must be a list, got a text"),
    ("""echo '{"g": {"hosts": [1]}}'""", "1 in 'hosts' is no name"),
    ("""echo '{"g": {"vars": 5}}'""", "'vars' must be a mapping"),
    ("""echo '{"g": {"children": "x"}}'""", "'children' must be a list"),
    ("""echo '{"_meta": []}'""", "'_meta' must be a mapping"),
    ("""echo '{"_meta": {}}'""", "'_meta.hostvars' must be a mapping"),
    ("""echo '{"_meta": {"hostvars": {"h": 5}}, "g": ["h"]}'""", "variables of host 'h' must be a mapping"),
]


@pytest.mark.parametrize(("body", "message"), SCRIPTS, ids=[case[1] for case in SCRIPTS])
def test_scripts(tmp_path: Path, body: str, message: str) -> None:
    error = refused(write(tmp_path, "script", f"#!/bin/sh\n{body}\n", executable=True))
    assert message in str(error)
    assert str(tmp_path / "script") in str(error)


def test_a_script_whose_interpreter_is_missing(tmp_path: Path) -> None:
    assert "cannot be run" in str(refused(write(tmp_path, "s", "#!/no/such/program\n", executable=True)))


def test_a_script_that_hangs_is_ended(tmp_path: Path) -> None:
    from harness.inventory.draft import Draft
    from harness.inventory.places import Book
    from harness.inventory.script import ScriptRunner, read_script

    path = write(tmp_path, "s", f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 600 & sleep 600\n", executable=True)
    book = Book()
    with pytest.raises(UsageError, match="did not end within"):
        read_script(Draft(str(path), book), ScriptRunner(str(path), book, seconds=0.5))
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_script_without_meta_is_asked_for_each_host(tmp_path: Path) -> None:
    body = """#!/bin/sh
if [ "$1" = --list ]; then echo '{"g": ["a", "b"]}'; elif [ "$2" = a ]; then echo '{"x": 1}'; fi
"""
    inventory = load([str(write(tmp_path, "s", body, executable=True))])
    assert inventory.host("a").vars["x"] == 1
    assert "x" not in inventory.host("b").vars
    assert any("no '_meta'" in str(notice) for notice in inventory.warnings)


def test_an_executable_text_is_read_with_a_warning(tmp_path: Path) -> None:
    inventory = load([str(write(tmp_path, "hosts", "web1 x=1\n", executable=True))])
    assert inventory.hosts == ("web1",)
    assert any("executable bit" in str(notice) for notice in inventory.warnings)


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    assert "there is no inventory" in str(refused(tmp_path / "none"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    assert "holds no inventory source" in str(refused(tmp_path / "folder"))


def test_one_bad_source_in_a_folder_ends_all(tmp_path: Path) -> None:
    write(tmp_path, "1-good", "h1\n")
    bad = write(tmp_path, "2-bad", "[x\n[y z]\n")
    error = refused(tmp_path)
    assert error.source is not None
    assert error.source.path == str(bad)


@pytest.mark.parametrize("name", ["group_vars/all.yml", "host_vars/h.yml", "group_vars/all/deep.json"])
def test_variable_files(tmp_path: Path, name: str) -> None:
    hosts = write(tmp_path, "hosts", "h\n")
    path = write(tmp_path, name, "- not\n- a mapping\n")
    error = refused(hosts)
    assert error.source is not None
    assert error.source.path == str(path)
    write(tmp_path, name, "x: [1\n")
    error = refused(hosts)
    assert error.source is not None
    assert (error.source.path, error.source.line) == (str(path), 2 if name.endswith(".yml") else 1)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("novalue", "expected key=value, got 'novalue'"),
        ("a='open", "a quote or a Jinja block is not closed"),
        ("a={{ b", "a quote or a Jinja block is not closed"),
        ("/etc/file.yml", "-e @/etc/file.yml"),
        ("[1, 2]", "expected a mapping of variables, got a list"),
        ("{x", "this is no valid YAML"),
        ("@/no/such/file", "cannot read this file"),
    ],
)
def test_extra_vars(tmp_path: Path, word: str, message: str) -> None:
    hosts = write(tmp_path, "hosts", "h\n")
    assert message in str(refused(hosts, extra_vars=[word]))


def test_the_rest_of_a_secret_in_extra_vars_is_masked(tmp_path: Path) -> None:
    error = refused(write(tmp_path, "hosts", "h\n"), extra_vars=["ansible_password=hunter two"])
    assert "two" not in str(error)
    assert "expected key=value" in str(error)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    for name in ("hosts", "hosts.ini"):
        assert load([str(write(tmp_path, name, b"\xef\xbb\xbfweb1\n"))]).hosts == ("web1",)
    for name, text in (
        ("t.yml", b"all: {hosts: {w: }}"),
        ("t.json", b'{"all": {"hosts": {"w": {}}}}'),
        ("t.toml", b"[all.hosts.w]\n"),
    ):
        inventory = load([str(write(tmp_path, name, b"\xef\xbb\xbf" + text))])
        assert inventory.hosts == ("w",)
        assert list(inventory.groups) == ["all", "ungrouped"]


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    assert load([str(write(tmp_path, "a.ini", b"# caf\xe9\nh\n"))]).hosts == ("h",)
    error = refused(write(tmp_path, "b.ini", b"h x=caf\xe9\n"))
    assert error.source is not None
    assert (error.source.line, error.source.column) == (1, 8)


def test_warnings_where_ansible_warns(tmp_path: Path) -> None:
    text = "all:\n  hosts: {web: {x: 1, x: 2}}\n  children: {web: , bad-name: , text: }\n  surprise: {}\n  childen: x\n"
    warnings = [str(notice) for notice in load([str(write(tmp_path, "hosts.yml", text))]).warnings]
    for expected in (
        "both a group and a host",
        "'x' stands twice",
        "'bad-name' holds characters",
        "'surprise' in group",
    ):
        assert any(expected in warning for warning in warnings), expected
    assert any("did you mean 'children'?" in warning for warning in warnings)
    assert all("hosts.yml:" in warning for warning in warnings)


def test_secrets_are_masked_in_shown_lines(tmp_path: Path) -> None:
    text = "h ansible_password=hunter2 token='a b' qemu_memory=lots\n"
    error = refused(write(tmp_path, "hosts.ini", text))
    assert "hunter2" not in str(error)
    assert "a b" not in str(error)
    assert "qemu_memory=lots" in str(error)
    assert error.source is not None
    assert error.source.text[error.source.column - 1 :].startswith("qemu_memory")
    # A password with a blank and no quotes: the word behind the blank is a part of it.
    for line in ("h ansible_password=hunter two", "h ansible_password= two", "h a=1 api_token=x two b=1"):
        error = refused(write(tmp_path, "hosts.ini", line + "\n"))
        assert "two" not in str(error)
        assert "expected key=value after the host" in str(error)


@settings(deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=80), st.text(alphabet="[]:{}=#'\"ab1 \n-&*!|>%@`\t\\", max_size=60).map(str.encode)
    ),
    name=st.sampled_from(["hosts", "hosts.ini", "hosts.yml", "hosts.json", "hosts.toml"]),
)
def test_any_bytes_are_read_or_refused_with_a_place(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), name, data)
        refusal: HarnessError | None = None
        try:
            inventory = load([str(path)])
            for host in inventory.hosts:
                inventory.host(host).source("ansible_port")
        except HarnessError as error:
            refusal = error
        if refusal is not None:
            assert isinstance(refusal, UsageError)
            assert refusal.source is not None
            assert refusal.source.path == str(path)
