"""Services where there is no systemd: recorded answers of OpenRC and runit, and a real busybox with its scripts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api.check import Never, NotYet
from harness.deadline import Deadline
from harness.events import NullEmitter
from harness.target.services import Init, UnknownService, judge_service
from harness.target.standing import Standing
from harness.target.target import Target
from harness.transport.contract import CommandResult
from tests.patience import scaled

from .answers import a_target
from .test_systemd import look, show

CASES: list[dict[str, str]] = json.loads((Path(__file__).parent / "services.json").read_text())
BUSYBOX = shutil.which("busybox")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['from']}: {case['name']} {case['standing']}")
def test_an_answer_means_what_it_meant(case: dict[str, str]) -> None:
    state = judge_service(case["name"], case["output"])
    assert state is not None
    assert (str(state), state.standing.value) == (case["sentence"], case["standing"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sh: syntax error",
        "init",
        "init launchd",
        "init openrc\nexit 3",
        "init runit\nexit 0\nsaid \n",
        "init runit",
    ],
)
def test_half_an_answer_is_asked_for_again(text: str) -> None:
    with pytest.raises(UnknownService):
        judge_service("x", text)
    target, _ = a_target(text)
    with pytest.raises(NotYet):
        target.service("x")


@given(st.lists(st.sampled_from([line for case in CASES for line in case["output"].split("\n")]), max_size=8))
def test_whatever_is_answered_is_judged_or_asked_again(lines: list[str]) -> None:
    try:
        state = judge_service("x", "\n".join(lines))
    except UnknownService:
        return
    assert state is None or state.reason


def test_a_new_start_is_another_one_and_a_longer_time_is_not() -> None:
    def at(text: str) -> Any:
        return judge_service("web", f"init runit\nexit 0\nsaid {text}")

    assert at("run: web: (pid 9) 5s") == at("run: web: (pid 9) 6s")
    assert at("run: web: (pid 9) 5s") != at("run: web: (pid 10) 5s")


def test_under_systemd_it_is_the_units_business() -> None:
    target, link = a_target("init systemd\n", look("broken.service"))
    state = target.service("broken.service")
    assert (state.init, state.standing) == (Init.SYSTEMD, Standing.NEVER)
    assert str(state).startswith("broken.service failed (Result=exit-code, exit status 3)")
    assert len(link.asked) == 2
    target, _ = a_target("init systemd\n", look("ssh.service"))
    assert target.service_up("ssh.service").standing is Standing.UP
    assert "Id=ssh.service" in show("ssh.service")


# -- the real thing ---------------------------------------------------------------------------------------------

SCRIPT = """\
#!/bin/sh
case "$1" in
start) echo $$ > /run/lsb.pid;;
status) [ -e /run/fine ] && { echo "$0 is running"; exit 0; }; echo stopped; exit 3;;
*) echo "Usage: $0 {start|stop|status}"; exit 2;;
esac
"""

DUMB = """\
#!/bin/sh
# Whatever it is asked, it starts: it must not be asked.
touch /run/it-was-run
"""

INITTAB = """\
::sysinit:/etc/init.d/rcS
# ::respawn:/sbin/notme
ttyS0::respawn:/sbin/getty -L ttyS0 115200
::respawn:/bin/knocker -f
::shutdown:/bin/umount -a
"""


class Busybox:
    """A root with busybox in it and nothing else, entered as its own root (by a user namespace where we are not)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("bin", "dev", "etc/init.d", "run", "proc", "sbin"):
            (root / folder).mkdir(parents=True)
        (root / "dev/null").touch()
        assert BUSYBOX
        shutil.copy(BUSYBOX, root / "bin/busybox")
        for applet in ("sh", "cat", "printf", "grep", "sleep", "rm", "ln", "echo", "head", "tail", "tr"):
            (root / "bin" / applet).symlink_to("busybox")
        self.write("etc/inittab", INITTAB)
        self.write("etc/init.d/lsb", SCRIPT)
        self.write("etc/init.d/S50dumb", DUMB)
        self._enter = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m", "-p", "-f", "-R", str(root), "/bin/sh"]

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.write_text(text)
        file.chmod(0o755)

    def target(self, before: str = "") -> Target:
        """A target whose commands run there, each in processes of its own, after `before`."""
        return Target("box", (), {}, _Inside(self._enter, before), Deadline.after(scaled(60)), NullEmitter())


class _Inside:
    def __init__(self, enter: list[str], before: str) -> None:
        self._enter = enter
        self._before = before

    def run(self, command: str, **_: Any) -> CommandResult:
        script = f"busybox mount -t proc proc /proc\n{self._before}\n{command}"
        done = subprocess.run([*self._enter, "-c", script], capture_output=True, timeout=scaled(60), check=False)
        return CommandResult(command, done.stdout, done.stderr, done.returncode, "ssh", 0.0, 0.0, 0.0)

    def put(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no file is carried")

    get = put


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Busybox:
    return Busybox(tmp_path_factory.mktemp("box"))


@pytest.mark.parametrize(
    ("name", "before", "standing", "told"),
    [
        ("lsb", "rm -f /run/fine", Standing.IDLE, "lsb is not running (`/etc/init.d/lsb status` said: stopped)"),
        (
            "lsb",
            "echo > /run/fine",
            Standing.UP,
            "lsb runs (`/etc/init.d/lsb status` said: /etc/init.d/lsb is running)",
        ),
        ("dumb", "", Standing.IDLE, "dumb does not run: no process has its name"),
        ("dumb", "echo $$ > /run/dumb.pid", Standing.UP, r"dumb runs (PID 1, of /run/dumb.pid)"),
        (
            "dumb",
            "echo 4242 > /run/dumb.pid",
            Standing.NEVER,
            "dumb is dead: its pid file /run/dumb.pid names PID 4242, which is gone",
        ),
        ("dumb", "echo > /run/dumb.pid", Standing.IDLE, "dumb does not run: no process has its name"),
        (
            "knocker",
            "",
            Standing.COMING,
            "knocker does not run, but init starts it (inittab: respawn /bin/knocker -f)",
        ),
        (
            "nosuch",
            "",
            Standing.NEVER,
            "nosuch is not installed: there is no script, no program and no process of this name",
        ),
        (
            "notme",
            "",
            Standing.NEVER,
            "notme is not installed: there is no script, no program and no process of this name",
        ),
        ("grep", "", Standing.IDLE, "grep does not run: no process has its name"),
    ],
)
def test_busybox_init_and_scripts(box: Busybox, name: str, before: str, standing: Standing, told: str) -> None:
    state = box.target(before).service(name)
    assert (str(state), state.standing, state.init) == (told, standing, Init.INIT)
    assert not (box.root / "run/it-was-run").exists()


def test_a_process_is_known_by_its_name(box: Busybox) -> None:
    # The kernel keeps fifteen letters of a name.
    shutil.copy(box.root / "bin/busybox", box.root / "bin/busybox-with-a-long-name")
    start = "busybox-with-a-long-name sleep 60 >/dev/null 2>&1 & sleep 0.3"
    state = box.target(start).service("busybox-with-a-long-name")
    assert state.standing is Standing.UP, state
    assert state.reason.startswith("runs (PID ")
    assert state.instance.isdigit()


def test_service_up_raises_as_units_do(box: Busybox) -> None:
    with pytest.raises(NotYet, match="init starts it"):
        box.target().service_up("knocker")
    with pytest.raises(Never, match="not installed"):
        box.target().service_up("nosuch")
    assert box.target("echo > /run/fine").service_up("lsb").standing is Standing.UP
