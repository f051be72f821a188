"""The pytest plugin as a person uses it: pytest is run on a suite of theirs, against real machines of an inventory."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET

import pytest

from harness.report.plan_file import read_plan
from harness.testing.pty_guest import PtyGuest

from .conftest import Place


def test_one_test_for_each_selected_target(place: Place) -> None:
    place.write(
        "test_mine.py",
        """
        import pytest

        def test_says_hello(target):
            assert target.read("echo hello") == "hello"

        @pytest.mark.parametrize("word", ["a", "b"])
        def test_words(target, word):
            assert target.read(f"echo {word}") == word

        def test_of_my_own():
            pass
        """.replace("\n        ", "\n"),
    )
    assert place.pytest("-v") == 0, place.output
    wanted = [f"box{n} test_words[box{n}-{word}]" for n in (1, 2) for word in "ab"]
    assert set(place.outcomes()) == {"box1 test_says_hello[box1]", "box2 test_says_hello[box2]", *wanted}
    assert set(place.outcomes().values()) == {"passed"}
    # One target after the other, and tests without one are left alone.
    order = [line.split("::")[1].split()[0] for line in place.output.splitlines() if "PASSED" in line]
    assert order[:3] == ["test_says_hello[box1]", "test_words[box1-a]", "test_words[box1-b]"]
    assert "test_of_my_own" in order
    assert "7 passed" in place.output

    assert place.pytest("--harness-limit", "box2") == 0, place.output
    assert {name.split()[0] for name in place.outcomes()} == {"box2"}


def test_the_record_is_that_of_a_run(place: Place) -> None:
    place.write(
        "suite/test_mine.py",
        "def test_good(target):\n"
        "    assert target.run('true', transport='ssh').ok\n"
        "def test_bad(target):\n"
        "    'Is not so.'\n"
        "    assert target.read('echo 4') == '5'\n",
    )
    assert place.pytest("--harness-limit", "box1") == 1, place.output
    events = place.events()
    assert [event["event.sequence"] for event in events] == list(range(1, len(events) + 1))
    actions = [event["event.action"] for event in events]
    assert (actions[0], actions[-1]) == ("run.start", "run.end")
    assert (events[-1]["harness.exit_code"], events[-1]["harness.counts"]["failed"]) == (1, 1)
    assert actions.count("target.start") == actions.count("target.end") == 1
    (plan,) = read_plan((place.folder / "logs" / "latest").resolve())
    assert [check["id"] for check in plan["checks"]] == [
        "suite/test_mine.py::test_good[box1]",
        "suite/test_mine.py::test_bad[box1]",
    ]
    assert plan["checks"][1]["description"] == "Is not so."
    commands = place.events("command")
    assert [(c["host.name"], c["test.case.name"], c["harness.command"]) for c in commands] == [
        ("box1", "test_good[box1]", "true"),
        ("box1", "test_bad[box1]", "echo 4"),
    ]
    ends = place.events("check.end")
    assert [(e["test.suite.name"], e["harness.outcome"]) for e in ends] == [
        ("suite/test_mine", "passed"),
        ("suite/test_mine", "failed"),
    ]
    bad = place.results()["box1 test_bad[box1]"]
    assert (bad["attempts"], bad["commands"], bad["transports"]) == (1, 1, ["ssh"])
    assert "assert '4' == '5'" in bad["message"]
    assert bad["location"].endswith("suite/test_mine.py:5")
    root = ET.parse(place.record / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert f"record: logs/{place.record.name}" in place.output
    assert place.record.stat().st_mode & 0o777 == 0o700


def test_a_marked_test_is_carried_as_a_check(place: Place) -> None:
    place.write(
        "test_mine.py",
        """
import itertools
import threading
import pytest

LOOKS = itertools.count(1)

@pytest.fixture
def prepared(target):
    target.run("echo prepared")
    yield next(LOOKS)
    target.run("echo put back")

@pytest.mark.harness(interval=0.05)
def test_comes(target, prepared, tmp_path):
    assert threading.current_thread() is threading.main_thread()
    file = target.vars["counter"]
    target.run(f"echo x >> {file}")
    assert len(target.read(f"cat {file}").split()) == 4
    assert prepared == 1, "the fixtures are set up once"

@pytest.mark.harness(interval=0.05, budget=4)
def test_never_comes(target):
    print("looking")
    target.read("ls /no/such")

@pytest.mark.harness(interval=0.05)
def test_has_a_mistake(target):
    target.red("x")

@pytest.mark.harness(interval=0.05, budget=20)
def test_fails_in_pytests_words(target):
    with pytest.raises(RuntimeError):
        target.host.file(target.vars["counter"]).content
        if len(target.read(f"echo y >> {target.vars['counter']}; cat {target.vars['counter']}").split()) > 6:
            raise RuntimeError

def test_unmarked(target):
    target.read("ls /no/such/either")
""",
    )
    code = place.pytest("--harness-limit", "box1", "--harness-extra-vars", f"counter={place.folder}/counter")
    assert code == 1, place.output
    results = place.results()
    comes = results["box1 test_comes[box1]"]
    assert (comes["outcome"], comes["attempts"]) == ("passed", 4)
    never = results["box1 test_never_comes[box1]"]
    assert never["outcome"] == "failed"
    assert never["attempts"] > 2
    assert len(never["observations"]) == 3
    assert re.search(r"\(after \d+\.\d s and \d+ attempts\)$", never["message"])
    mistake = results["box1 test_has_a_mistake[box1]"]
    assert (mistake["outcome"], mistake["attempts"]) == ("error", 1)
    assert results["box1 test_fails_in_pytests_words[box1]"]["outcome"] == "passed"
    assert results["box1 test_fails_in_pytests_words[box1]"]["attempts"] == 3
    assert results["box1 test_unmarked[box1]"]["attempts"] == 1
    # Each look is an event, and its commands are recorded as its own; the fixtures' as the test's.
    mine = [event for event in place.events() if event.get("test.case.name") == "test_comes[box1]"]
    assert [event["harness.attempt"] for event in mine if event["event.action"] == "attempt.end"] == [1, 2, 3, 4]
    commands = [(e["harness.command"], e.get("harness.attempt")) for e in mine if e["event.action"] == "command"]
    assert commands[0] == ("echo prepared", None)
    assert commands[-1] == ("echo put back", None)
    assert [attempt for _, attempt in commands[1:-1]] == [1, 1, 2, 2, 3, 3, 4, 4]
    # pytest's own report: the last failure as it was, and what it could not know.
    assert "NotYet: `ls /no/such` ended with exit status 2" in place.output
    assert f"box1: failed ({never['attempts']} attempts" in place.output
    assert f"attempt {never['attempts']} (" in place.output
    assert "harness/transport" not in place.output, "no traceback of ours"
    assert "AttributeError: 'Target' object has no attribute 'red'" in place.output
    assert "3 failed, 2 passed" in place.output


def test_a_window_must_hold_and_settings_come_from_everywhere(place: Place) -> None:
    place.write(
        "test_mine.py",
        """
import pytest
pytestmark = pytest.mark.harness(interval=0.05, window=0.3, budget=30)

def test_holds(target):
    return target.read("echo same")

@pytest.mark.harness(budget=4)
def test_flaps(target):
    return target.read("date +%N")

@pytest.mark.harness(once=True)
def test_once(target):
    assert target.run("false").ok
""",
    )
    place.write("inv2.ini", f"box1 {place.variables(' ')} check_interval=0.1\n")
    assert place.pytest(inventory="inv2.ini") == 1, place.output
    results = place.results()
    assert results["box1 test_holds[box1]"]["outcome"] == "passed"
    assert results["box1 test_holds[box1]"]["attempts"] >= 3
    flaps = results["box1 test_flaps[box1]"]
    assert (flaps["outcome"], flaps["flaky"]) == ("failed", True)
    assert "unstable for 4.0 s" in flaps["message"]
    assert "unstable for 4.0 s" in place.output
    assert results["box1 test_once[box1]"]["attempts"] == 1
    assert "2 failed, 1 passed" in place.output
    # The command line wins.
    assert place.pytest("--harness-budget", "45", "--harness-window", "0", "-k", "holds", inventory="inv2.ini") == 0
    (plan,) = read_plan((place.folder / "logs" / "latest").resolve())
    assert (plan["checks"][0]["budget"], plan["checks"][0]["window"]) == (45, 0)
    assert place.results()["box1 test_holds[box1]"]["attempts"] == 1


def test_fixtures_of_a_module_and_threads_of_a_test(place: Place) -> None:
    place.write(
        "test_mine.py",
        """
from concurrent.futures import ThreadPoolExecutor
import pytest

@pytest.fixture(scope="module")
def lent(harness_target):
    file = f"{harness_target.vars['folder']}/{harness_target.name}"
    harness_target.put(b"lent", file)
    yield file
    harness_target.read(f"rm {file}")

def test_files(target, lent):
    assert target.get(lent) == b"lent"

def test_side_by_side(target, lent):
    with ThreadPoolExecutor(4) as pool:
        said = pool.map(target.read, [f"cat {lent}; echo {n}" for n in range(8)])
        assert list(said) == [f"lent{n}" for n in range(8)]
""",
    )
    assert place.pytest("--harness-extra-vars", f"folder={place.folder}") == 0, place.output
    # What a fixture of the last target's puts back is recorded as that target's, while the next one's test begins.
    removed = [e for e in place.events("command") if e["harness.command"].startswith("rm ")]
    assert [e["host.name"] for e in removed] == ["box1", "box2"]
    assert [e["harness.command"].rpartition("/")[2] for e in removed] == ["box1", "box2"]
    assert not (place.folder / "box1").exists()
    assert {e["host.name"] for e in place.events("file.put")} == {"box1", "box2"}


def test_testinfras_host_is_each_attempts_own(place: Place) -> None:
    """A suite that was written for testinfra needs three lines in its conftest."""
    place.write(
        "conftest.py",
        "import pytest\n@pytest.fixture(scope='module')\ndef host(harness_target):\n    return harness_target.host\n",
    )
    place.write(
        "test_mine.py",
        """
import pytest

def test_passwd(host):
    assert host.file("/etc/passwd").user == "root"
    assert host.system_info.type == "linux"

@pytest.mark.harness(interval=0.05)
def test_late(host, target):
    assert host is target.host
    target.run(f"echo x >> {target.vars['counter']}")
    assert len(host.file(target.vars["counter"]).content_string.split()) == 3
    assert host.system_info.type == "linux"
""",
    )
    code = place.pytest("--harness-limit", "box1", "--harness-extra-vars", f"counter={place.folder}/counter")
    assert code == 0, place.output
    assert place.results()["box1 test_late[box1]"]["attempts"] == 3
    # Nothing that testinfra knew in one attempt is taken for known in the next.
    facts = [
        e["harness.attempt"]
        for e in place.events("command")
        if e["harness.command"] == "uname -s" and "harness.attempt" in e
    ]
    assert facts == [1, 2, 3]


def test_over_a_console(place: Place, console: PtyGuest) -> None:
    place.write("inv.ini", f"board serial_socket={console.path} ansible_connection=serial settle=false\n")
    place.write(
        "test_mine.py",
        """
import pytest

@pytest.fixture(scope="session")
def release(harness_target):
    return harness_target.read("uname -r")

def test_release(target, release):
    assert target.host.check_output("uname -r") == release
    assert target.run("exit 3").exit_status == 3

@pytest.mark.harness(transport="ssh")
def test_needs_ssh(target):
    target.run("true")

def test_sshd_from_outside(target):
    target.ssh.banner()
""",
    )
    assert place.pytest("-rs") == 0, place.output
    assert place.outcomes() == {
        "board test_release[board]": "passed",
        "board test_needs_ssh[board]": "skipped",
        "board test_sshd_from_outside[board]": "skipped",
    }
    assert {event["harness.transport"] for event in place.events("command")} == {"serial"}
    assert "the host has no transport 'ssh'; it has serial" in place.output
    assert "test_mine.py:16: the host has no SSH endpoint" in place.output, "the place is the test's, not the plugin's"


def test_a_marked_test_is_woken_by_what_the_console_says(place: Place, console: PtyGuest) -> None:
    place.write("inv.ini", f"board {place.variables(' ')} serial_socket={console.path}\n")
    late = place.folder / "late"
    place.write(
        "test_mine.py",
        "import pytest\n"
        "def test_of_the_console(target):\n    target.run('true', transport='serial')\n"
        "@pytest.mark.harness(interval=900, interval_max=900, budget=2000)\n"
        f"def test_waits(target):\n    target.read('cat {late}')\n",
    )
    process = place.start("--harness-inventory", "inv.ini")
    place.until(lambda: place.events("attempt.end") or process.poll() is not None)
    late.write_text("here")
    console.printk(b"\r\n[    9.000000] eth0: link becomes ready\r\n")
    assert place.finish(process) == 0, place.output  # in time; it would wait for a quarter of an hour
    assert place.results()["board test_waits[board]"]["attempts"] >= 2


def test_pytests_own_outcomes(place: Place) -> None:
    place.write(
        "test_mine.py",
        """
import hypothesis
import hypothesis.strategies
import pytest
import unittest

@pytest.mark.skip(reason="not today")
def test_skipped(target): ...

@pytest.mark.xfail(reason="known")
@pytest.mark.harness(budget=4, interval=0.05)
def test_known(target):
    assert target.run("false").ok

@pytest.mark.xfail(strict=True)
def test_passes_after_all(target): ...

@pytest.mark.harness
def test_skips(target):
    pytest.skip("in the middle")

@pytest.mark.harness
def test_skips_as_unittest_does(target):
    raise unittest.SkipTest("so")

@pytest.mark.harness
def test_gives_up(target):
    from harness import Never
    raise Never("the board has no such chip")

@pytest.fixture
def broken(target):
    raise ValueError("in the fixture")

def test_set_up(broken): ...

@pytest.fixture
def broken_end(target):
    yield
    raise ValueError("in its end")

@pytest.mark.harness
def test_tear_down(broken_end): ...

@pytest.mark.harness
class TestGroup:
    def test_method(self, target):
        assert self is not None
        assert target.run("true").ok

    @hypothesis.settings(max_examples=3, deadline=None, database=None,
                         suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
    @hypothesis.given(hypothesis.strategies.integers())
    def test_of_hypothesis(self, target, number):
        assert target.read(f"echo {number}") == str(number)
""",
    )
    assert place.pytest("--harness-limit", "box1", "-rA") == 1, place.output
    outcomes = {name.removeprefix("box1 ").removesuffix("[box1]"): o for name, o in place.outcomes().items()}
    assert outcomes == {
        "test_skipped": "skipped",
        "test_known": "skipped",
        "test_passes_after_all": "failed",
        "test_skips": "skipped",
        "test_skips_as_unittest_does": "skipped",
        "test_gives_up": "failed",
        "test_set_up": "error",
        "test_tear_down": "error",
        "TestGroup::test_method": "passed",
        "TestGroup::test_of_hypothesis": "passed",
    }
    results = place.results()
    assert results["box1 test_gives_up[box1]"]["attempts"] == 1
    assert results["box1 test_known[box1]"]["attempts"] > 1
    assert "in the fixture" in results["box1 test_set_up[box1]"]["message"]
    assert "in its end" in results["box1 test_tear_down[box1]"]["message"]
    assert "2 failed, 3 passed, 3 skipped, 1 xfailed, 2 errors" in place.output


def test_no_secret_is_shown(place: Place) -> None:
    place.write(
        "test_mine.py",
        "def test_tells(target):\n"
        "    word = target.vars['api_password']\n"
        "    print('it is', word)\n"
        "    assert word == 'other'\n"
        "def test_prints(target):\n"
        "    print(target.vars['api_password'])\n",
    )
    code = place.pytest("--harness-limit", "box1", "-e", "api_password=hunter2xyz", "--showlocals")
    assert code == 4, "-e is not ours"
    secret = "api_password=hunter2xyz"
    code = place.pytest("--harness-limit", "box1", "--harness-extra-vars", secret, "--showlocals", "-rA")
    assert code == 1
    assert "hunter2xyz" not in place.output
    assert "assert '********' == 'other'" in place.output
    for file in place.record.rglob("*"):
        assert file.is_dir() or b"hunter2xyz" not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("inventory", "arguments", "words"),
    [
        ("box1 ansible_port=many\n", (), ["inv.ini:1", "ansible_port", "many"]),
        ("[boxes\nbox1\n", (), ["inv.ini:1"]),
        ("box1 harness_transports=serial\n", (), ["host 'box1' cannot be reached"]),
        (None, ("--harness-limit", "box9"), ["the pattern 'box9' matches no group and no host"]),
        (None, ("--harness-extra-vars", "check_budget=soon"), ["check_budget"]),
        (None, ("--harness-budget", "soon"), ["--harness-budget", "no number from 0 up"]),
        (None, ("--harness-forks", "0"), ["--harness-forks"]),
        (None, ("-n", "2"), ["does not go with -n", "--harness-forks"]),
    ],
)
def test_what_cannot_be_used_is_told_and_nothing_is_started(
    place: Place, inventory: str | None, arguments: tuple[str, ...], words: list[str]
) -> None:
    if inventory is not None:
        place.write("inv.ini", inventory)
    place.write("test_mine.py", "def test_it(target): ...\n")
    assert place.pytest(*arguments) == pytest.ExitCode.USAGE_ERROR, place.output
    for word in words:
        assert word in place.output
    assert "Traceback" not in place.output
    assert not (place.folder / "logs").exists()


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("budget='long'", "budget='long' is not a number of seconds"),
        ("patience=3", "it has no setting 'patience'"),
        ("3", "it takes no positional arguments"),
        ("transport='pigeon'", "transport='pigeon' is neither"),
    ],
)
def test_a_wrong_marker_is_told_with_its_place(place: Place, marker: str, words: str) -> None:
    place.write("test_mine.py", f"import pytest\n@pytest.mark.harness({marker})\ndef test_it(target): ...\n")
    assert place.pytest() == pytest.ExitCode.USAGE_ERROR, place.output
    assert "test_mine.py:2: @pytest.mark.harness of test_it[box1]: " in place.output
    assert words in place.output
    assert not (place.folder / "logs").exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def test_it(): ...", "it takes no target"),
        ("async def test_it(target): ...", "it must be a plain function"),
    ],
)
def test_a_marker_where_it_means_nothing(place: Place, body: str, words: str) -> None:
    place.write("test_mine.py", f"import pytest\n@pytest.mark.harness\n{body}\n")
    assert place.pytest() == pytest.ExitCode.USAGE_ERROR, place.output
    assert words in place.output


def test_without_an_inventory_it_does_nothing(place: Place) -> None:
    place.write(
        "test_mine.py",
        "import sys\n"
        "import pytest\n"
        "@pytest.mark.harness\n"
        "def test_nothing_was_imported():\n"
        "    mine = ('paramiko', 'serial', 'structlog', 'tenacity', 'jinja2', 'yaml', 'rich', 'asyncio')\n"
        "    assert [name for name in mine if name in sys.modules] == []\n"
        "    ours = {name.split('.')[1] for name in sys.modules if name.startswith('harness.')}\n"
        "    assert ours == {'api', 'errors', 'pytest'}\n"
        "    assert [n for n in sys.modules if n.startswith('harness.pytest.')] == ['harness.pytest.plugin']\n",
    )
    assert place.finish(place.start("-W", "error", "--strict-markers", program=subprocess.Popen)) == 0, place.output
    assert "harness:" not in place.output
    assert not (place.folder / "logs").exists()
    place.write("test_target.py", "def test_it(target): ...\n")
    assert place.finish(place.start("test_target.py")) == 1
    assert "there is no target: name an inventory with --harness-inventory" in place.output


def test_nothing_is_started_for_a_look_at_the_suite(place: Place) -> None:
    place.write("test_mine.py", "def test_it(target): ...\n")
    assert place.pytest("--collect-only", "-q") == 0, place.output
    assert "test_mine.py::test_it[box1]" in place.output
    assert place.pytest("--setup-plan") == 0, place.output
    assert place.pytest("-k", "nothing") == pytest.ExitCode.NO_TESTS_COLLECTED
    place.write("test_broken.py", "import nothing_of_that_name\n")
    assert place.pytest() == pytest.ExitCode.INTERRUPTED
    assert not (place.folder / "logs").exists()
    # Only those targets whose tests are selected.
    (place.folder / "test_broken.py").unlink()
    assert place.pytest("test_mine.py::test_it[box2]") == 0
    assert [event["host.name"] for event in place.events("target.start")] == ["box2"]


def test_a_step_of_the_clock_is_recorded(place: Place) -> None:
    place.write(
        "conftest.py",
        "from functools import partial\n"
        "from harness.events.clock_watch import ClockWatch, Times\n"
        "from harness.pytest import suite\n"
        "times = iter([Times(1e9, 5.0, 5.0), Times(1e9 + 3605, 10.0, 10.0)])\n"
        "suite.ClockWatch = partial(ClockWatch, read=lambda: next(times), interval=1e6)\n",
    )
    place.write("test_mine.py", "def test_good(target):\n    assert target.run('true').ok\n")
    assert place.pytest("--harness-limit", "box1") == 0, place.output
    (stepped,) = place.events("clock.stepped")
    assert stepped["harness.offset"] == 3600.0
