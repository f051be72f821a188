"""The catalogue of diagnostics, and what a person may write beside the inventory."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.inventory import load
from harness.operate.collect.bounded import Keep
from harness.operate.collect.catalogue import STANDARD, Catalogue, catalogue_of, read_catalogue

OURS = catalogue_of([])


def read(folder: Path, text: str) -> Catalogue:
    path = folder / "collect.yml"
    path.write_text(text)
    return read_catalogue(path, OURS)


@pytest.mark.parametrize("shell", [["dash"], ["bash"], ["busybox", "sh"]], ids=" ".join)
def test_every_shell_understands_every_command(shell: list[str]) -> None:
    for command in OURS.commands.values():
        subprocess.run([*shell, "-n", "-c", command.run], check=True)
        assert command.about, command.name


def test_the_standard_recipe_holds_all_that_is_promised() -> None:
    names = {command.name for command in OURS.recipe(STANDARD).commands}
    assert names == set(OURS.commands)
    promised = (
        *("units", "failed-units", "jobs", "unsettled-journal", "journal", "sshd-config", "sockets", "addresses"),
        *("routes", "mounts", "space", "block-devices", "kernel-log", "time", "processes", "os-release"),
        *("openrc-services", "syslog-ring", "interfaces-kernel"),
    )
    assert names >= set(promised)


def test_where_there_is_no_systemd_something_else_is_asked() -> None:
    standard = OURS.recipe(STANDARD).commands
    bare = {command.name for command in standard if not command.unmet(frozenset({"/proc/net/route", "/etc/inittab"}))}
    assert {"kernel-log", "sockets-kernel", "routes-kernel", "inittab", "mounts"} <= bare
    assert not bare & {"units", "journal", "sockets", "addresses"}
    whole = {command.name for command in standard if not command.unmet(frozenset({"systemd", "ss", "ip", "ps"}))}
    assert {"units", "jobs", "sockets", "addresses", "processes"} <= whole
    assert not whole & {"sockets-kernel", "routes-kernel", "inittab"}


def test_commands_beside_the_inventory_are_part_of_standard_and_come_first(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "commands:\n  mine: cat /etc/mine\n"
        "  long:\n    run: journalctl -u mine\n    about: its log\n    needs: [systemd, /etc/mine]\n"
        "    timeout: 1m30s\n    size: 64K\n    keep: end\n"
        "recipes:\n  ours:\n    extends: storage\n    commands: [mine, 'sockets*']\n    units: [mine.service]\n"
        "  few: [mine, jobs]\n",
    )
    standard = found.recipe(STANDARD).commands
    assert [command.name for command in standard[:2]] == ["mine", "long"]
    assert len(standard) == len(OURS.recipe(STANDARD).commands) + 2
    long = found.commands["long"]
    assert (long.needs, long.timeout, long.size, long.keep) == (("systemd", "/etc/mine"), 90.0, 65536, Keep.END)
    ours = found.recipe("ours")
    assert [command.name for command in ours.commands[-4:]] == ["mine", "sockets", "sockets-netstat", "sockets-kernel"]
    assert ours.units == ("mine.service",)
    assert [command.name for command in found.recipe("few").commands] == ["mine", "jobs"]


def test_what_is_ours_can_be_changed(tmp_path: Path) -> None:
    found = read(
        tmp_path, "commands:\n  time: date\nrecipes:\n  standard:\n    extends: standard\n    units: [a.service]\n"
    )
    names = [command.name for command in found.recipe(STANDARD).commands]
    assert names == [command.name for command in OURS.recipe(STANDARD).commands]
    assert found.commands["time"].run == "date"
    assert "a.service" in found.recipe(STANDARD).units


WRONG = [
    ("commands: [a]\n", 1, "`commands` must be a mapping"),
    ("command:\n  a: b\n", 1, "did you mean 'commands'"),
    ("commands:\n  a:\n    about: x\n", 2, "has no `run`"),
    ("commands:\n  a:\n    run: x\n    neds: ss\n", 4, "did you mean 'needs'"),
    ("commands:\n  Ä b:\n    run: x\n", 2, "cannot be the name of a command"),
    ("commands:\n  ../x: y\n", 2, "cannot be the name of a command"),
    ("commands:\n  a:\n    run: x\n    timeout: soon\n", 4, "must be a time above 0"),
    ("commands:\n  a:\n    run: x\n    size: much\n", 4, "must be a size"),
    ("commands:\n  a:\n    run: x\n    keep: middle\n", 4, "beginning or end"),
    ("commands:\n  a:\n    run: x\n    needs: 'a;b'\n", 4, "names programs, paths"),
    ("commands:\n  a:\n    run: [x]\n", 3, "`run` must be a text"),
    ("commands:\n  a: x\n  a: y\n", 3, "stands twice"),
    ("recipes:\n  r:\n    commands: [joobs]\n", 3, "did you mean 'jobs'"),
    ("recipes:\n  r:\n    extends: nobody\n", 3, "which does not stand before it"),
    ("recipes:\n  r: {}\n", 2, "has neither"),
    ("commands:\n  a: 'x\n", 3, "no valid YAML"),
    ("- a\n", 1, "must be a mapping"),
]


@pytest.mark.parametrize(("text", "line", "words"), WRONG)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert words in str(caught.value)
    source = caught.value.source
    assert source is not None
    assert (Path(source.path).name, source.line) == ("collect.yml", line)


def test_an_empty_file_adds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing yet\n") == OURS


def test_a_recipe_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="did you mean 'quick'") as caught:
        OURS.recipe("qick")
    assert "standard, quick, sshd, network, storage" in str(caught.value)


def test_it_may_stand_in_an_inventory_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text("a ansible_host=x\n")
    (tmp_path / "collect.yml").write_text("commands:\n  mine: true\n".replace("true", "uptime"))
    assert [host.name for host in load([str(tmp_path)]).select("all")] == ["a"]
    assert "mine" in catalogue_of([str(tmp_path)]).commands
    assert "mine" in catalogue_of([str(tmp_path / "hosts.ini")]).commands
    assert "mine" not in catalogue_of(["a,b,"]).commands
