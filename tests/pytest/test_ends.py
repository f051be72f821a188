"""How a session ends that does not end well: interrupted, cut short, with a target that is not there."""

from __future__ import annotations

import socket

import pytest

from harness.testing.pty_guest import PtyGuest

from .conftest import Place

PUT_BACK = """
import time
import pytest

@pytest.fixture(scope="session")
def lent(harness_target):
    yield
    harness_target.run("echo put the session back")

@pytest.fixture
def borrowed(target, lent):
    yield
    target.run("echo put the test back")
"""


def spoken(place: Place) -> list[str]:
    return [event["harness.command"] for event in place.events("command")]


INTERRUPTED = {
    "in a command": "def test_it(target, borrowed):\n    target.run('touch SIGN; sleep 50')",
    "in an attempt's command": (
        "@pytest.mark.harness\ndef test_it(target, borrowed):\n    target.run('touch SIGN; sleep 50')"
    ),
    "between attempts": (
        "@pytest.mark.harness(interval=30, budget=90)\n"
        "def test_it(target, borrowed):\n    assert not target.run('touch SIGN').ok"
    ),
    "in its own sleep": "def test_it(target, borrowed):\n    target.run('touch SIGN')\n    time.sleep(50)",
}


@pytest.mark.parametrize("test", INTERRUPTED.values(), ids=INTERRUPTED.keys())
def test_an_interrupt_puts_back_what_was_set_up(place: Place, test: str) -> None:
    sign = place.folder / "sign"
    place.write("test_mine.py", f"{PUT_BACK}\n{test.replace('SIGN', str(sign))}\n\ndef test_next(target): ...\n")
    process = place.start("--harness-inventory", "inv.ini", "--harness-limit", "box1")
    between = "interval" in test
    place.interrupt_when(process, lambda: place.events("attempt.end") if between else sign.exists())
    assert place.finish(process) == pytest.ExitCode.INTERRUPTED, place.output
    assert "KeyboardInterrupt" in place.output
    assert "INTERNALERROR" not in place.output
    # Both fixtures could still use the target, once each.
    assert spoken(place)[-2:] == ["echo put the test back", "echo put the session back"]
    statuses = [event.get("harness.exit_status") for event in place.events("command")]
    assert statuses[-2:] == [0, 0]
    assert {name: (r["outcome"], r["message"]) for name, r in place.results().items()} == {
        "box1 test_it[box1]": ("error", place.results()["box1 test_it[box1]"]["message"]),
        "box1 test_next[box1]": ("skipped", "not run: interrupted"),
    }
    assert place.results()["box1 test_it[box1]"]["message"].startswith("interrupted")
    ends = [e["test.case.name"] for e in place.events("check.end")]
    assert sorted(ends) == ["test_it[box1]", "test_next[box1]"], "each has one verdict"
    assert place.events("run.end")[0]["harness.exit_code"] == 2
    # What ran on the target when the interrupt came does not run on.
    place.until(lambda: not place.processes("sleep 50"))


def test_an_interrupt_ends_the_wait_for_a_target(place: Place) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        place.write(
            "inv.ini",
            f"gone ansible_host=127.0.0.1 ansible_port={nobody.getsockname()[1]} settle_timeout=300\n",
        )
        place.write("test_mine.py", "def test_it(target): ...\n")
        process = place.start("--harness-inventory", "inv.ini")
        place.interrupt_when(process, lambda: place.events("attempt.end"))
        assert place.finish(process) == pytest.ExitCode.INTERRUPTED, place.output
    assert place.outcomes() == {"gone test_it[gone]": "skipped"}
    assert place.events()[-1]["event.action"] == "run.end"


def test_a_target_that_is_not_there_is_told_by_its_tests_alone(place: Place) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        place.write(
            "inv.ini",
            f"box1 {place.variables(' ')}\n"
            f"gone ansible_host=127.0.0.1 ansible_port={port} ansible_user=root settle=true settle_timeout=1\n",
        )
        place.write(
            "test_mine.py",
            "import pytest\n"
            "def test_it(target): target.run('true')\n"
            "@pytest.mark.harness\n"
            "def test_more(target): target.run('true')\n",
        )
        assert place.pytest("-rE") == pytest.ExitCode.TESTS_FAILED, place.output
    assert place.outcomes() == {
        "box1 test_it[box1]": "passed",
        "box1 test_more[box1]": "passed",
        "gone test_it[gone]": "unreachable",
        "gone test_more[gone]": "unreachable",
    }
    assert "2 passed, 2 errors" in place.output
    assert f"127.0.0.1:{port}" in place.output
    assert "gone: unreachable (0 attempts" in place.output
    assert "Traceback" not in place.output


def test_minus_x_ends_in_order(place: Place) -> None:
    place.write(
        "test_mine.py",
        f"{PUT_BACK}\n"
        "def test_fails(target, borrowed):\n    assert target.run('false').ok\n"
        "def test_next(target): ...\n",
    )
    assert place.pytest("--harness-limit", "box1", "-x") == pytest.ExitCode.TESTS_FAILED, place.output
    assert spoken(place)[-2:] == ["echo put the test back", "echo put the session back"]
    results = place.results()
    assert results["box1 test_fails[box1]"]["outcome"] == "failed"
    assert results["box1 test_next[box1]"]["message"] == "not run: pytest ended before it"
    assert place.events("target.end")


def test_a_test_that_ends_the_session(place: Place) -> None:
    place.write(
        "test_mine.py",
        "import pytest\n"
        "@pytest.mark.harness\n"
        "def test_exits(target):\n    pytest.exit('enough', returncode=7)\n"
        "def test_next(target): ...\n",
    )
    assert place.pytest("--harness-limit", "box1") == 7, place.output
    assert "Exit: enough" in place.output
    assert place.outcomes() == {"box1 test_exits[box1]": "error", "box1 test_next[box1]": "skipped"}
    place.write("test_mine.py", "import pytest\ndef test_exits(target):\n    pytest.exit('enough', returncode=7)\n")
    assert place.pytest("--harness-limit", "box1") == 7, place.output
    assert place.outcomes() == {"box1 test_exits[box1]": "error"}


def test_a_time_out_of_pytests_own_leaves_the_transport_whole(place: Place) -> None:
    place.write(
        "test_mine.py",
        "import asyncio, pytest, time\n"
        "@pytest.mark.timeout(1, method='signal')\n"
        "def test_hangs(target):\n    target.run('sleep 50')\n"
        "def test_next(target):\n    assert target.read('echo fine') == 'fine'\n"
        "@pytest.mark.harness(attempt_timeout=0.5, budget=5, interval=0.05)\n"
        "def test_runs_out(target):\n    target.run('sleep 50')\n"
        "@pytest.mark.harness(attempt_timeout=0.1, budget=1)\n"
        "def test_pays_no_heed(target):\n    time.sleep(6)\n"
        "@pytest.mark.harness(interval=0.05)\n"
        "def test_has_a_loop_of_its_own(target):\n"
        "    async def look():\n        return target.read('echo fine')\n"
        "    assert asyncio.run(look()) == 'fine'\n",
    )
    assert place.pytest("--harness-limit", "box1") == 1, place.output
    results = place.results()
    assert results["box1 test_next[box1]"]["outcome"] == "passed"
    assert results["box1 test_has_a_loop_of_its_own[box1]"]["outcome"] == "passed"
    assert results["box1 test_hangs[box1]"]["outcome"] == "failed"
    ran_out = results["box1 test_runs_out[box1]"]
    assert ran_out["outcome"] == "failed"
    assert ran_out["attempts"] > 1
    heedless = results["box1 test_pays_no_heed[box1]"]
    assert heedless["outcome"] == "error"
    assert "did not return 5 s after its attempt's deadline" in heedless["message"]
    assert "did not return 5 s after its attempt's deadline" in place.output
    assert "3 failed, 2 passed" in place.output
    # One connection served them all: what was given up did not break it.
    assert len(place.events("ssh.connected")) == 1
    place.until(lambda: not place.processes("sleep 50"))


def test_a_record_that_cannot_be_made_is_told(place: Place) -> None:
    place.write("test_mine.py", "def test_it(target): ...\n")
    place.write("logs", "a file")
    assert place.pytest() == pytest.ExitCode.USAGE_ERROR, place.output
    assert "cannot make the run's folder logs/" in place.output
    assert "with --harness-logs DIR" in place.output
    assert "Traceback" not in place.output
    assert "INTERNALERROR" not in place.output


def test_a_record_that_is_lost_on_the_way_is_told(place: Place) -> None:
    place.write(
        "test_mine.py",
        "import resource\n"
        "def test_fills_the_disk(target):\n"
        "    import signal\n"
        "    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))\n"
        "    for n in range(100):\n"
        "        target.run(f'echo {n}')\n",
    )
    assert place.pytest("--harness-limit", "box1") == 0, place.output
    assert "harness: cannot write the record" in place.output
    assert "INTERNALERROR" not in place.output
    assert all(event["event.sequence"] for event in place.events()), "whole lines only"


def test_a_panic_ends_the_waits_and_what_the_console_said_is_told(place: Place, console: PtyGuest) -> None:
    place.write(
        "inv.ini", f"board {place.variables(' ')} serial_socket={console.path} findings_required=['kernel_warning']\n"
    )
    sign = place.folder / "sign"
    place.write(
        "test_mine.py",
        "import pytest\n"
        "def test_of_the_console(target):\n    assert target.run('true', transport='serial').ok\n"
        "@pytest.mark.harness(interval=0.05, budget=100)\n"
        f"def test_waits(target):\n    assert not target.run('touch {sign}').ok\n"
        "def test_next(target):\n    target.run('true')\n",
    )
    process = place.start("--harness-inventory", "inv.ini", "-rA")
    place.until(lambda: sign.exists() or process.poll() is not None)
    console.printk(b"\r\n[   12.345678] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n")
    assert place.finish(process) == pytest.ExitCode.TESTS_FAILED, place.output
    results = {name.removeprefix("board ").removesuffix("[board]"): r for name, r in place.results().items()}
    assert results["test_of_the_console"]["outcome"] == "passed"
    waits = results["test_waits"]
    assert waits["outcome"] == "failed"
    assert "Kernel panic - not syncing" in waits["message"]
    assert ["panic" in each for each in waits["findings"]] == [True]
    assert results["test_next"]["outcome"] == "unreachable"
    assert results["test_next"]["message"].startswith("not run: its kernel panicked")
    assert results["findings"]["outcome"] == "failed", "what is required and was not seen"
    for words in ("its kernel panicked", "findings failed: panic (critical, forbidden", "'kernel_warning' is required"):
        assert words in place.output


def test_a_target_that_is_not_as_it_should_be_fails_the_session(place: Place, console: PtyGuest) -> None:
    place.write(
        "inv.ini", f"board {place.variables(' ')} serial_socket={console.path} findings_forbidden=['oom_kill']\n"
    )
    sign = place.folder / "sign"
    place.write(
        "test_mine.py",
        "import pathlib, time\n"
        "def test_passes(target):\n"
        "    target.run('true', transport='serial')\n"
        f"    pathlib.Path({str(sign)!r}).touch()\n"
        f"    while pathlib.Path({str(sign)!r}).exists():\n        time.sleep(0.02)\n",
    )
    process = place.start("--harness-inventory", "inv.ini")
    place.until(lambda: sign.exists() or process.poll() is not None)
    console.printk(b"\r\n[    9.100000] Out of memory: Killed process 411 (mysqld) total-vm:1kB, anon-rss:1kB\r\n")
    place.until(lambda: place.events("finding") or process.poll() is not None)
    sign.unlink()
    assert place.finish(process) == pytest.ExitCode.TESTS_FAILED, place.output
    assert "1 passed" in place.output
    assert "harness: board: findings failed: oom_kill (" in place.output
    assert place.outcomes() == {"board test_passes[board]": "passed", "board findings": "failed"}
    assert place.events("run.end")[0]["harness.exit_code"] == 1


def test_a_session_without_assertions_is_refused(place: Place) -> None:
    place.write("test_it.py", "def test_it(target):\n    assert False\n")
    place.environment["PYTHONOPTIMIZE"] = "1"
    assert place.pytest("test_it.py") == 4, place.output
    assert "removes every assertion" in place.output
    assert "Traceback" not in place.output


def test_what_a_test_did_not_look_at_is_told_in_the_summary(place: Place) -> None:
    place.write(
        "test_it.py",
        "def test_bare(target):\n    target.run('echo no >&2; false')\n\n"
        "def test_asserted(target):\n    assert not target.run('false')\n",
    )
    assert place.pytest("test_it.py", "--harness-limit", "box1") == 0, place.output
    assert place.output.count("and the check did not look at its result") == 1
    assert [len(result["warnings"]) for _, result in sorted(place.results().items())] == [0, 1]
