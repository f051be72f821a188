"""Collecting from targets that are none: what is kept, what bounds it, and what is left when something ends it."""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled, UsageError
from harness.events import NullEmitter
from harness.operate.collect.catalogue import STANDARD, Command, Recipe, catalogue_of
from harness.operate.collect.collector import Collector
from harness.operate.collect.index import NAME, SUMMARY, Bounds, Index, State, read_index
from harness.operate.collect.replay import collected_folders, replayed
from harness.operate.collect.store import CollectError, Store
from harness.operate.explain import NotCollected, explain_target
from harness.target.target import Target
from harness.transport.contract import CommandResult, Fallback
from harness.transport.errors import Cause, Timeout, TransportLost, Unavailable
from tests.clocks import ManualClock
from tests.patience import scaled

LOOKS = Path(__file__).parents[1] / "target" / "looks"
VALIDATOR = Draft202012Validator(
    json.loads((resources.files("harness.operate.collect") / "index.schema.json").read_text())
)


class Shell:
    """A link to this machine's own shell. `before` may raise, or do something else, before a command's turn."""

    def __init__(self, before: Callable[[str], CommandResult | None] = lambda _command: None) -> None:
        self.before = before
        self.asked: list[str] = []

    def run(self, command: str, *, deadline: Deadline, **_: Any) -> CommandResult:
        self.asked.append(command)
        given = self.before(command)
        if given is not None:
            return given
        deadline.check("running a command")
        done = subprocess.run(["sh", "-c", command], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        return answer(command, done.stdout, done.returncode, done.stderr)

    def put(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is written on a target")

    get = put


def answer(command: str, stdout: bytes = b"", status: int = 0, stderr: bytes = b"") -> CommandResult:
    fallback = Fallback("ssh", "refused", "nobody listens")
    return CommandResult(command, stdout, stderr, status, "serial", 5.0, 5.5, 0.5, fallbacks=(fallback,))


def a_target(link: Any, deadline: Deadline | None = None, **variables: object) -> Target:
    return Target("vm1", (), variables, link, deadline or Deadline.after(scaled(60)), NullEmitter())


def a_recipe(*commands: Command, units: tuple[str, ...] = ()) -> Recipe:
    return Recipe("r", "", commands, units)


def numbered(count: int) -> Recipe:
    return a_recipe(
        *(Command(f"c{n}", f"echo this is {n}; echo and err {n} >&2; exit {n}") for n in range(1, count + 1))
    )


def collect(
    folder: Path,
    recipe: Recipe,
    link: Any = None,
    *,
    deadline: Deadline | None = None,
    mask: Callable[[str], str] = str,
    units: tuple[str, ...] = (),
    target: Target | None = None,
    **bounds: Any,
) -> Index:
    target = target or a_target(link or Shell(), deadline)
    index = Collector(target, recipe, Store(folder, mask), bounds=Bounds(**bounds), units=units).collect()
    written = json.loads((folder / NAME).read_text())
    assert [error.message for error in VALIDATOR.iter_errors(written)] == []
    assert read_index(folder) == index
    for path in [folder, *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {stream.file for entry in index.entries for stream in entry.streams} | {NAME, SUMMARY}
    return index


def test_each_file_holds_its_own_commands_output(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    index = collect(folder, numbered(30))
    for n in range(1, 31):
        assert (folder / f"c{n}.txt").read_text() == f"this is {n}\n"
        assert (folder / f"c{n}.err.txt").read_text() == f"and err {n}\n"
        entry = next(entry for entry in index.entries if entry.name == f"c{n}")
        assert (entry.state, entry.exit_status, entry.transport) == (State.HAD, n, "serial")
        assert (entry.started, entry.duration, entry.fell_back_from) == (5.0, 0.5, ("ssh",))
    assert index.complete
    assert r"| [c7.txt](<c7.txt>) | echo this is 7; echo and err 7 \>&2; exit 7 | 7 |" in (folder / SUMMARY).read_text()


def test_the_whole_catalogue_on_this_machine(tmp_path: Path) -> None:
    """Everything that is here answers; what is not here is left out, and says why."""
    index = collect(tmp_path / "x", catalogue_of([]).recipe(STANDARD))
    assert not index.of(State.NOT_HAD, State.PARTIAL)
    had = {entry.name: entry for entry in index.of(State.HAD)}
    assert had["kernel-version"].exit_status == 0
    assert (tmp_path / "x" / "kernel-version.txt").read_text().startswith("Linux ")
    assert (tmp_path / "x" / "mounts.txt").read_text() == Path("/proc/mounts").read_text()
    assert all(entry.why.startswith("the target has ") for entry in index.of(State.LEFT_OUT))


def test_bytes_stay_as_they_are_and_secrets_do_not(tmp_path: Path) -> None:
    recipe = a_recipe(Command("raw", r"printf 'a\377\000b hunter22 \303\244\n'; echo hunter22 >&2"))
    collect(tmp_path / "x", recipe, mask=lambda text: text.replace("hunter22", "********"))
    assert (tmp_path / "x" / "raw.txt").read_bytes() == b"a\xff\x00b ******** \xc3\xa4\n"
    assert "hunter22" not in "".join(path.read_text(errors="replace") for path in (tmp_path / "x").glob("*.*"))


def test_what_is_too_long_is_cut_and_marked_in_the_file_the_index_and_the_summary(tmp_path: Path) -> None:
    index = collect(tmp_path / "x", a_recipe(Command("long", "seq 1 100000", size=34)))
    text = (tmp_path / "x" / "long.txt").read_text()
    assert text == "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n[harness: cut here after 33 bytes; there was more]\n"
    stream = index.entries[-1].stdout
    assert stream is not None
    assert stream.cut
    assert "| cut |" in (tmp_path / "x" / SUMMARY).read_text()


def test_the_bound_of_the_whole_ends_it_and_what_was_had_stays(tmp_path: Path) -> None:
    recipe = a_recipe(*(Command(f"c{n}", "seq 1 10000") for n in range(9)))
    index = collect(tmp_path / "x", recipe, file_bytes=20_000, total_bytes=50_000)
    assert 0 < len(index.of(State.NOT_HAD)) < 9
    assert index.ended_early == "the bound of the whole was reached (50000 bytes)"
    assert index.size < 51_000
    assert not index.complete


def on(words: str, do: Callable[[str], Any]) -> Callable[[str], CommandResult | None]:
    return lambda command: do(command) if words in command else None


def raises(error: Exception) -> Callable[[str], Any]:
    def do(_command: str) -> Any:
        raise error

    return do


def test_a_command_that_does_not_end_leaves_what_it_said_and_the_others_go_on(tmp_path: Path) -> None:
    timeout = Timeout("it was ended", transport="ssh", stdout=b"half a li", stderr=b"oh")
    index = collect(tmp_path / "x", numbered(4), Shell(on("this is 2", raises(timeout))))
    entry = index.of(State.PARTIAL)[0]
    assert (entry.name, entry.exit_status, entry.why[:14]) == ("c2", None, "it did not end")
    assert (tmp_path / "x" / "c2.txt").read_text() == "half a li"
    assert (tmp_path / "x" / "c2.err.txt").read_text() == "oh"
    assert index.entries[-1].exit_status == 4
    assert "partial: it did not end" in (tmp_path / "x" / SUMMARY).read_text()


def test_a_target_ends_what_takes_too_long_by_itself(tmp_path: Path) -> None:
    recipe = a_recipe(Command("slow", "echo begun; exec sleep 600", timeout=1), Command("next", "echo next"))

    def timed(command: str) -> CommandResult | None:
        if "begun" not in command:
            return None
        done = subprocess.run(["sh", "-c", command], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        return CommandResult(command, done.stdout, done.stderr, done.returncode, "ssh", 1.0, 2.0, 1.0)

    index = collect(tmp_path / "x", recipe, Shell(timed))
    slow, after = index.entries[-2:]
    assert (slow.state, slow.exit_status, slow.why) == (State.PARTIAL, None, "it did not end in 1.0 s")
    assert (tmp_path / "x" / "slow.txt").read_text() == "begun\n"
    assert after.state is State.HAD


LOST = TransportLost("the connection is gone", cause=Cause.LOST, transport="ssh")


def test_one_lost_command_is_told_and_the_others_are_asked(tmp_path: Path) -> None:
    index = collect(tmp_path / "x", numbered(4), Shell(on("this is 2", raises(LOST))))
    assert [(entry.name, entry.why) for entry in index.of(State.NOT_HAD)] == [("c2", "the connection is gone")]
    assert index.entries[-1].state is State.HAD


def test_a_transport_that_stays_lost_ends_it_and_what_was_had_stays(tmp_path: Path) -> None:
    link = Shell(
        lambda command: raises(LOST)(command) if any(f"this is {n};" in command for n in range(3, 9)) else None
    )
    index = collect(tmp_path / "x", numbered(8), link)
    assert [entry.name for entry in index.of(State.NOT_HAD)] == ["c3", "c4", "c5", "c6", "c7", "c8"]
    assert "no transport served 2 commands in a row; the last: the connection is gone" in index.ended_early
    assert sum("this is" in command for command in link.asked) == 4  # the others would wait in vain
    assert (tmp_path / "x" / "c2.txt").read_text() == "this is 2\n"
    assert "It ended early" in (tmp_path / "x" / SUMMARY).read_text()


def test_a_target_that_never_answers_leaves_an_index_that_says_so(tmp_path: Path) -> None:
    gone = Unavailable("nobody listens", cause=Cause.REFUSED, transport="ssh")
    link = Shell(raises(gone))
    index = collect(tmp_path / "x", numbered(3), link)
    assert not index.reached
    assert len(link.asked) == 1
    assert {entry.why for entry in index.entries} == {"nobody listens"}
    assert "not known how it stands" in (tmp_path / "x" / SUMMARY).read_text()


def test_an_interrupt_keeps_what_was_had(tmp_path: Path) -> None:
    cancellation = Cancellation()

    def interrupt(_command: str) -> None:
        cancellation.cancel("interrupted by SIGINT")
        raise Cancelled("interrupted by SIGINT")

    deadline = Deadline.after(scaled(60), cancellation=cancellation)
    index = collect(tmp_path / "x", numbered(5), Shell(on("this is 3", interrupt)), deadline=deadline)
    assert [entry.name for entry in index.of(State.NOT_HAD)] == ["c3", "c4", "c5"]
    assert index.ended_early == "interrupted by SIGINT"
    assert (tmp_path / "x" / "c2.txt").read_text() == "this is 2\n"


def test_the_deadline_of_the_whole_keeps_what_was_had(tmp_path: Path) -> None:
    clock = ManualClock()

    def late(command: str) -> None:
        clock.now += 20

    deadline = Deadline.after(50, clock=clock)
    index = collect(tmp_path / "x", numbered(5), Shell(on("this is", late)), deadline=deadline, seconds=50)
    assert [entry.state for entry in index.entries[-5:]] == [State.HAD, State.HAD, *[State.NOT_HAD] * 3]
    assert index.ended_early == "the time for all of it was over (50 s)"
    assert index.duration == 60


def test_two_collections_are_not_mixed_and_a_full_disk_is_told(tmp_path: Path) -> None:
    collect(tmp_path / "x", numbered(1))
    with pytest.raises(UsageError, match="holds something already"):
        Store(tmp_path / "x", str)
    store = Store(tmp_path / "y", str)
    (tmp_path / "y").rmdir()
    (tmp_path / "y").symlink_to("/dev/full")
    with pytest.raises(CollectError, match="cannot write"):
        Collector(a_target(Shell()), numbered(1), store).collect()


# -- what waits for what, recorded and replayed ------------------------------------------------------------------------


def look(name: str) -> str:
    return "\n".join(json.loads((LOOKS / f"{name}.json").read_text())["output"])


class Systemd(Shell):
    """A guest as it was recorded: a deadlock, units that failed, a queue full of jobs."""

    def __init__(self) -> None:
        super().__init__(self.say)

    def say(self, command: str) -> CommandResult | None:
        if "list-jobs --full" not in command:
            return None
        if "o system" in command:
            return answer(command, look("(target)").encode())
        unit = shlex.split(next(line for line in command.splitlines() if line.startswith("a=$(s show"))[3:])[5]
        unit = unit.replace("sshd.service", "ssh.service")  # its alias
        if (LOOKS / f"{unit}.json").exists():
            return answer(command, look(unit).encode())
        return answer(command, look("ssh.service").replace("sshd.service", "").replace("ssh.service", unit).encode())


def test_the_folder_explains_what_the_target_did_in_the_same_words(tmp_path: Path) -> None:
    target = a_target(Systemd(), expected_failed_units=["limited.service"])
    live = explain_target(target)
    assert "a deadlock, which nothing ends" in "\n".join(live.sentences) or live.more
    named = explain_target(target, ["late", "slow.service", "broken", "sshd"])
    index = collect(tmp_path / "x", a_recipe(), target=target, units=("late", "slow.service", "broken", "ssh"))
    again, same = replayed(tmp_path / "x")
    assert same == index
    assert explain_target(again) == live
    assert explain_target(again, ["late", "slow.service", "broken", "sshd"]) == named
    assert (index.standing, index.sentence, index.sentences) == (live.standing.value, live.sentence, live.sentences)
    summary = (tmp_path / "x" / SUMMARY).read_text()
    assert summary.startswith("# vm1: not settled")


def test_what_was_not_collected_says_so(tmp_path: Path) -> None:
    collect(tmp_path / "x", a_recipe(), target=a_target(Systemd()), units=("broken",))
    target, _ = replayed(tmp_path / "x")
    answer = explain_target(target, ["broken", "cron.service"])
    assert [reason.unit for reason in answer.reasons] == ["broken.service"]
    assert answer.unanswered[0][0] == "cron.service"
    assert "was not collected" in answer.unanswered[0][1]
    assert not answer.settled
    with pytest.raises(NotCollected):
        target.run("uptime")


def test_an_answer_that_is_gone_or_cut_is_not_taken_for_one(tmp_path: Path) -> None:
    collect(tmp_path / "x", a_recipe(), target=a_target(Systemd()))
    target, _ = replayed(tmp_path / "x")
    (tmp_path / "x" / "why" / "system.txt").unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        explain_target(target)
    document = json.loads((tmp_path / "x" / NAME).read_text())
    for entry in document["entries"]:
        if entry["name"] == "why/system":
            entry["stdout"]["cut"] = True
    (tmp_path / "x" / NAME).write_text(json.dumps(document))
    with pytest.raises(NotCollected, match="was cut"):
        explain_target(replayed(tmp_path / "x")[0])


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "harness.collected/9"}', "[1]", "\x00"])
def test_what_is_no_index_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(UsageError):
        read_index(tmp_path)


def test_a_file_of_an_index_may_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    collect(tmp_path / "x", numbered(1))
    text = (tmp_path / "x" / NAME).read_text().replace('"c1.txt"', '"../../etc/passwd"')
    (tmp_path / "x" / NAME).write_text(text)
    with pytest.raises(UsageError, match="leads out of the folder"):
        read_index(tmp_path / "x")


def test_folders_are_found_from_above(tmp_path: Path) -> None:
    collect(tmp_path / "out" / "vm1", numbered(1))
    collect(tmp_path / "out" / "vm2", numbered(1))
    collect(tmp_path / "run" / "targets" / "vm1" / "collected", numbered(1))
    both = [tmp_path / "out" / "vm1", tmp_path / "out" / "vm2"]
    assert collected_folders(tmp_path / "out") == both
    assert collected_folders(both[0]) == collected_folders(both[0] / NAME) == both[:1]
    assert collected_folders(tmp_path / "run") == [tmp_path / "run" / "targets" / "vm1" / "collected"]
    assert collected_folders(tmp_path / "run" / "targets" / "vm1") == collected_folders(tmp_path / "run")
    assert collected_folders(tmp_path / "nowhere") == []
