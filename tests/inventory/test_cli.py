"""`harness inventory`, as a person calls it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.inventory import register
from harness.errors import ExitCode, UsageError


def harness(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    args = parser.parse_args(["inventory", *(str(argument) for argument in arguments)])
    code: int = args.run(args)
    return code


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "web.yml").write_text('colour: from file\nurl: "http://{{ ansible_host }}"\n')
    path = tmp_path / "hosts"
    path.write_text(
        "[web]\nw1 ansible_host=192.0.2.1 colour=own\nw2\n[web:vars]\ncolour=section\nansible_password=hunter2\n"
    )
    return path


def test_list_is_the_default(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("-i", hosts, "--list") == 0
    listed = json.loads(capsys.readouterr().out)
    assert harness("-i", hosts) == 0
    assert json.loads(capsys.readouterr().out) == listed
    assert listed["web"]["hosts"] == ["w1", "w2"]
    assert listed["_meta"]["hostvars"]["w1"]["url"] == "http://{{ ansible_host }}"


def test_host(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("-i", hosts, "--host", "w2", "-e", "x=1") == 0
    assert json.loads(capsys.readouterr().out)["x"] == "1"
    with pytest.raises(UsageError, match="names 2 hosts"):
        harness("-i", hosts, "--host", "web")


def test_graph(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("-i", hosts, "--graph", "web") == 0
    assert capsys.readouterr().out == "@web:\n  |--w1\n  |--w2\n"
    assert harness("-i", hosts, "--graph", "--vars") == 0
    assert "{colour = own}" in capsys.readouterr().out
    with pytest.raises(UsageError, match="did you mean 'web'"):
        harness("-i", hosts, "--graph", "wbe")


def test_explain(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("-i", hosts, "--explain", "w1", "colour") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'colour of w1 is "own"'
    assert lines[1].strip() == f"from {hosts}:2:27  (host w1)"
    places = [line.split()[1] for line in lines if line.strip().startswith(("from", "over"))]
    assert places == [f"{hosts}:2:27", f"{hosts.parent}/group_vars/web.yml:1:1", f"{hosts}:5:1"]
    assert harness("-i", hosts, "--explain", "w1", "url") == 0
    out = capsys.readouterr().out
    assert 'url of w1 is "http://192.0.2.1"' in out
    assert "written as" in out


def test_explain_shows_what_the_same_host_was_given_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hosts").write_text("[a]\nh x=1\n[b]\nh x=2\n")
    harness("-i", tmp_path / "hosts", "--explain", "h", "x")
    out = capsys.readouterr().out
    assert "x of h is 2" in out
    assert "hosts:4" in out.splitlines()[1]
    assert "hosts:2" in out.splitlines()[3]


def test_explain_masks_secrets(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harness("-i", hosts, "--explain", "w1", "ansible_password", "-e", "ansible_password=tuna")
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "tuna" not in out
    assert "********" in out


def test_a_secret_inside_another_value_is_masked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "hosts.yml"
    source.write_text(
        "all:\n  vars:\n    api_token: s3cret\n    dsn: 'pg://u:{{ api_token }}@h'\n    again: '{{ dsn | upper }}'\n"
        "    other: \"{{ hostvars['h'].api_token }}\"\n    ansible_port: '{{ dsn }}'\n    plain: '{{ 1 + 1 }}'\n"
        "    ansible_password: [s3cret]\n  hosts:\n    h:\n"
    )
    for name in ("dsn", "again", "other"):
        assert harness("-i", source, "--explain", "h", name) == 0
        out = capsys.readouterr().out
        assert "s3cret" not in out.lower()
        assert f"{name} of h is ********" in out
        assert "written as" in out
    harness("-i", source, "--explain", "h", "plain")
    assert "plain of h is 2" in capsys.readouterr().out
    assert harness("-i", source, "check") == ExitCode.USAGE
    err = capsys.readouterr().err
    assert "s3cret" not in err
    assert "expected a whole number from 1 to 65535, got ********" in err
    assert "expected a text, got ********" in err


def test_explain_of_what_is_not_there(hosts: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'colour'"):
        harness("-i", hosts, "--explain", "w1", "color")
    with pytest.raises(UsageError, match="there is no host"):
        harness("-i", hosts, "--explain", "w9", "colour")


def test_check(hosts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("-i", hosts, "check") == 0
    assert capsys.readouterr().out == "2 targets: no problem found\n"
    bad = tmp_path / "bad"
    bad.write_text("a qemu_memory=lots serial_sokcet=x\nb serial_socket=s qemu_cpus=none\nc serial_socket=s\n")
    assert harness("-i", bad, "check") == ExitCode.USAGE
    err = capsys.readouterr().err
    assert "did you mean 'serial_socket'" in err
    assert "3 targets: 3 problems" in err
    assert "expected a size" in err
    assert harness("-i", bad, "check", "--limit", "c") == 0


def test_limit(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("-i", hosts, "--list", "--limit", "w1") == 0
    assert list(json.loads(capsys.readouterr().out)["_meta"]["hostvars"]) == ["w1"]
    with pytest.raises(UsageError, match="matches no group and no host"):
        harness("-i", hosts, "--list", "--limit", "nobody")


@pytest.mark.parametrize("what", [["--graph"], ["--host", "w1"], ["--explain", "w1", "colour"], ["check"]])
def test_a_limit_that_names_nothing_is_an_error_everywhere(hosts: Path, what: list[str]) -> None:
    with pytest.raises(UsageError, match="matches no group and no host"):
        harness("-i", hosts, *what, "--limit", "nobody")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--list"], "no inventory was given"),
        (["-i", "a,", "chekc"], "unknown word 'chekc'"),
        (["-i", "a,", "--vars"], "--vars goes with --graph"),
        (["-i", "a,", "check", "--list"], "check goes without"),
    ],
)
def test_wrong_use(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        harness(*arguments)


def test_playbook_dirs_count(hosts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "checks" / "host_vars").mkdir(parents=True)
    (tmp_path / "checks" / "host_vars" / "w1.yml").write_text("colour: beside the checks\n")
    harness("-i", hosts, "--host", "w1", "--playbook-dir", tmp_path / "checks")
    assert json.loads(capsys.readouterr().out)["colour"] == "beside the checks"


def test_help_imports_little() -> None:
    program = (
        "import sys, argparse\nfrom harness.cli.inventory import register\n"
        "register(argparse.ArgumentParser().add_subparsers())\n"
        "heavy = ('harness.inventory', 'yaml', 'jinja2', 'paramiko', 'rich')\n"
        "print(sorted(name for name in sys.modules if name.startswith(heavy)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
