"""Machines that nothing is known of but what the inventory says: a live ISO and a qcow2. No systemd, no SSH."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.machine.image import Image
from tests.guest.foreign import disk_of, live_iso
from tests.operate.person import Person, harness
from tests.patience import scaled

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]

PASSWORD = "open-sesame-1"
INVENTORY = f"""\
[foreign]
live qemu_iso=live.iso serial_user=root
disk qemu_image=disk.qcow2 serial_user=keeper ansible_become=yes ansible_become_method=su

[more]
other qemu_iso=live.iso serial_user=root

[all:vars]
qemu_memory=256M
ansible_connection=serial
serial_password={PASSWORD}
ansible_become_password={PASSWORD}
"""
CHECKS = """
from pathlib import Path
from harness import check


@check
def root_is_there(target):
    assert target.host.user("root").exists
    return target.read("uname -s")


@check(budget=300)
def is_let_go(target):
    target.read("echo a run is $((1))st here >/dev/console; uname")
    assert Path(__file__).with_name("go").exists()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both machines are up, under `inv.ini`."""
    from harness.deadline import Deadline
    from harness.events.emitter import NullEmitter
    from harness.machine.image import ensure_image

    debian: Image = ensure_image("debian", events=NullEmitter(), deadline=Deadline.after(scaled(1500)), progress=print)
    assert debian.kernel is not None, "the recipe's image has a kernel of its own"
    folder = tmp_path_factory.mktemp("foreign")
    disk_of(live_iso(folder / "live.iso", debian.kernel, PASSWORD), folder / "disk.qcow2")
    (folder / "inv.ini").write_text(INVENTORY)
    (folder / "checks.py").write_text(CHECKS)
    try:
        done = harness(folder, "up", "-i", "inv.ini", "foreign", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        yield folder
    finally:
        ended = harness(folder, "down", timeout=120)
        assert ended.returncode == 0, ended.stderr


@pytest.fixture
def person(place: Path) -> Iterator[Callable[..., Person]]:
    people: list[Person] = []

    def sits_down(*arguments: str) -> Person:
        people.append(Person(place, *arguments))
        return people[-1]

    yield sits_down
    for each in people:
        each.close()


def test_exec(place: Path) -> None:
    done = harness(
        place, "exec", "-i", "inv.ini", "foreign", "--", "id -un; uname -s; cat", input=b"a word", timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == sorted(
        f"{name}  {word}".encode() for name in ("live", "disk") for word in ("root", "Linux", "a word")
    )


@pytest.mark.parametrize("name", ["live", "disk"])
def test_console_commands(place: Path, name: str) -> None:
    script = b"id -u\ndmesg | head -c 300000 >&2; exit 4\ncat /proc/uptime >/dev/null\n"
    done = harness(place, "console", "-i", "inv.ini", name, "--json", input=script, timeout=300)
    assert done.returncode == 1, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["exit_status"] for answer in answers] == [0, 4, 0]
    assert answers[0]["stdout"] == "0\n"
    assert "Linux version" in answers[1]["stderr"]


def test_console_steps(place: Path) -> None:
    """The login that the inventory knows, typed by hand."""
    steps = ["--send", r"\n", "--expect", "login: $", "--send", r"keeper\n", "--expect", "assword: $"]
    steps += ["--send", rf"{PASSWORD}\n", "--expect", r"\$ $", "--send", r"id -un\n", "--expect", "^keeper$"]
    done = harness(place, "console", "-i", "inv.ini", "disk", *steps, "--send", r"exit\n", "--expect", "login: $")
    assert done.returncode == 0, done.stdout + done.stderr


def test_checks_use_what_is_up(place: Path) -> None:
    done = harness(place, "run", "-i", "inv.ini", "--limit", "foreign", "checks.py::root_is_there", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"2 passed, 0 failed" in done.stdout
    assert done.stdout.count(b"it stays up") == 2


def test_collect(place: Path) -> None:
    done = harness(place, "collect", "-i", "inv.ini", "foreign", "-o", "collected", timeout=600)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    for name in ("live", "disk"):
        [index] = place.glob(f"collected/**/{name}/index.json")
        said = {path.name: path.read_bytes() for path in index.parent.rglob("*") if path.is_file()}
        assert any(b"Linux" in text and b"foreign" in text for text in said.values())
        assert "summary.md" in said


def test_the_console_of_a_run_that_goes_on_can_be_watched(place: Path, person: Callable[..., Person]) -> None:
    run = person("run", "-i", "inv.ini", "--limit", "other", "checks.py::is_let_go")
    run.sees(b"settled")
    eyes = person("console", "-i", "inv.ini", "other", "--tail", "500")
    eyes.sees(b"watching only")
    eyes.sees(b"a run is 1st here")
    eyes.type(b"echo typed in vain\r")
    (place / "go").touch()
    assert run.finish() == 0
    assert eyes.finish() == 0
    assert b"what was watched has ended" in eyes.seen
    assert b"in vain" not in b"".join(path.read_bytes() for path in place.glob("logs/**/targets/other/console.log"))


def test_a_machine_that_is_not_up_is_told(place: Path) -> None:
    done = harness(place, "console", "-i", "inv.ini", "other", input=b"true\n")
    assert done.returncode == 3
    assert b"the machine other is not up" in done.stderr
    assert b"harness up -i inv.ini other" in done.stderr
