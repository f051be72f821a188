"""The inventory and check files of a soak, kept by content."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.api.discovery import discover
from harness.errors import UsageError
from harness.inventory import load
from harness.inventory.script import ProgramOutputs
from harness.soak.inputs import OUTPUTS, Inputs


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lab = tmp_path / "lab"
    for name, text in {
        "inventories/lab.ini": 'vm1 key="{{ inventory_dir }}/keys/id"\n',
        "inventories/group_vars/all.yml": "colour: blue\n",
        "inventories/keys/id": "a key\n",
        "checks/_common.py": "WORD = 'kept'\n",
        "checks/sub/one.py": "from harness import check\n\n@check\ndef first(target):\n    return 1\n",
        "checks/data.txt": "data\n",
    }.items():
        (lab / name).parent.mkdir(parents=True, exist_ok=True)
        (lab / name).write_text(text)
    monkeypatch.chdir(lab)
    return lab


SOURCES, SELECTORS = ["inventories/lab.ini", "other,"], ["checks"]


def test_what_was_kept_is_read_whatever_was_edited(lab: Path, tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    inputs.keep(SOURCES, SELECTORS)
    assert inputs.changed(SOURCES, SELECTORS) == []
    (lab / "inventories/lab.ini").write_text("vm9\n")
    (lab / "inventories/group_vars/all.yml").unlink()
    (lab / "inventories/host_vars").mkdir()
    (lab / "inventories/host_vars/vm1.yml").write_text("colour: red\n")
    (lab / "checks/sub/one.py").write_text("from harness import check\n\n@check\ndef second(target):\n    return 1\n")
    (lab / "checks/two.py").write_text("from harness import check\n\n@check\ndef third(target):\n    return 1\n")
    assert [Path(path).name for path in inputs.changed(SOURCES, SELECTORS)] == [
        "one.py", "two.py", "all.yml", "vm1.yml", "lab.ini",
    ]  # fmt: skip
    inputs.link_others(SOURCES, SELECTORS)
    sources = [inputs.source(each) for each in SOURCES]
    hosts = {host.name: host for host in load(sources).select("all")}
    assert set(hosts) == {"vm1", "other"}
    assert hosts["vm1"].vars["colour"] == "blue"
    assert Path(str(hosts["vm1"].vars["key"])).read_text() == "a key\n"
    found = discover([inputs.selector(each) for each in SELECTORS])
    assert [(each.label, inputs.original(each.path, SELECTORS)) for each in found] == [
        ("sub/one::first", "checks/sub/one.py")
    ]
    kept = [path for path in inputs.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(kept) == 5
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)
    assert not (inputs.root / "etc").exists()


def test_a_vaulted_value_stays_as_it_is_written(lab: Path, tmp_path: Path) -> None:
    (lab / "inventories/lab.ini").write_text("vm1 password=$ANSIBLE_VAULT;1.1;AES256\n")
    inputs = Inputs(tmp_path)
    inputs.keep(SOURCES, ["checks/sub/one.py::first"])
    assert "$ANSIBLE_VAULT" in Path(inputs.source(SOURCES[0])).read_text()
    assert inputs.selector("checks/sub/one.py::first").endswith("checks/sub/one.py::first")


def test_a_folder_of_inventories_is_kept_whole(lab: Path, tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    (lab / "inventories/keys/id").unlink()
    inputs.keep(["inventories"], SELECTORS)
    (lab / "inventories/more.ini").write_text("vm8\n")
    (lab / "inventories/untyped").write_text("vm7\n")
    inputs.link_others(["inventories"], SELECTORS)
    names = {host.name for host in load([inputs.source("inventories")], validate=False).select("all")}
    assert "vm8" not in names
    assert "vm7" not in names


def test_an_inventory_program_is_not_run_again(tmp_path: Path) -> None:
    program = tmp_path / "lab.sh"
    program.write_text(
        '#!/bin/sh\necho run >> "$0.runs"\necho \'{"all": {"hosts": ["vm1"]}, "_meta": {"hostvars": {}}}\'\n'
    )
    program.chmod(0o755)
    inputs, outputs = Inputs(tmp_path / "run"), ProgramOutputs()
    inputs.root.parent.mkdir()
    assert [host.name for host in load([str(program)], outputs=outputs).select("all")] == ["vm1"]
    inputs.keep([str(program)], [])
    inputs.keep_outputs(outputs)
    program.unlink()
    source = inputs.source(str(program))
    assert [host.name for host in load([source], outputs=inputs.outputs()).select("all")] == ["vm1"]
    assert (tmp_path / "lab.sh.runs").read_text() == "run\n"
    assert not list(inputs.root.rglob("*.runs"))
    kept = inputs.root.parent / OUTPUTS
    assert kept.stat().st_mode & 0o077 == 0
    kept.write_text("[1]")
    with pytest.raises(UsageError, match="cannot be read"):
        inputs.outputs()
    kept.unlink()
    assert inputs.outputs().by_path == {}
