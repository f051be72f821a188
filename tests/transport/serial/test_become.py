"""Becoming root on a console by su and sudo: nothing is typed ahead, a refusal is an error, nothing is left open."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.transport.errors import Cause, Unavailable
from harness.transport.serial.spec import Become

from .test_flood import floods
from .test_login import GETTY, MANY

Within = Callable[..., Deadline]
PYTHON = shutil.which("python3", path="/usr/bin:/bin")  # one that nobody may run, whoever owns ours
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def _namespaces() -> bool:
    if os.getuid() != 0 or PYTHON is None or shutil.which("unshare") is None:
        return False
    return subprocess.run([*NOBODY, "unshare", "-r", "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not _namespaces(), reason="needs root, and user namespaces")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that nobody may look into: pytest's own are closed to all but us."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class Place:
    """A getty, a login of somebody who is not root, and a su and a sudo of our own."""

    def __init__(self, bench: Any, folder: Path, *, style: str = "", **options: Any) -> None:
        self._bench = bench
        self.heard = folder / "heard"
        self.heard.touch()
        self.heard.chmod(0o666)
        for name in ("su", "sudo"):
            program = folder / name
            program.write_text(f"#!{PYTHON} -IS\n" + Path(__file__).with_name("su.py").read_text())
            program.chmod(0o755)
        env = {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "GETTY_HEARD": str(self.heard),
            "BECOME_STYLE": style,
            "HOME": "/tmp",
        }
        shell = [*NOBODY, "bash", "--norc", "-i"]
        self.guest = bench.guest([*GETTY, "plain", *shell], respawn=True, env=env, **options)

    def transport(self, become: Become | None, *, user: str = "joe") -> Any:
        console = self._bench.console(self.guest, raw_log=self._bench.folder / "raw.log")
        return self._bench.transport(console, user=user, password="secret", become=become, login_timeout=60)

    def lines(self) -> list[str]:
        """What was typed at its prompts, without the empty names by which it was woken."""
        return [line for line in self.heard.read_text().splitlines() if line != "name="]


PASSWORDS = {"su": "root-secret", "sudo": "user-secret"}


@pytest.mark.parametrize("method", ["su", "sudo"])
def test_root_is_become_and_left_again(bench: Any, open_folder: Path, within: Within, method: Any) -> None:
    place = Place(bench, open_folder)
    transport = place.transport(Become(method, PASSWORDS[method]))
    assert transport.run("id -u", deadline=within(60)).stdout == b"0\n"
    transport.close()
    once = ["name=joe", "password=secret", f"{method}={PASSWORDS[method]}"]
    assert place.lines() == once
    assert b"-secret" not in (bench.folder / "raw.log").read_bytes()


@pytest.mark.parametrize("method", ["su", "sudo"])
def test_nothing_stays_open_behind_us(bench: Any, open_folder: Path, within: Within, method: Any) -> None:
    """Neither root's shell nor the user's: who comes next has to log in."""
    place = Place(bench, open_folder)
    console = None
    for _ in range(2):
        transport = place.transport(Become(method, PASSWORDS[method]))
        console = transport._console
        assert transport.run("id -u", deadline=within(60)).stdout == b"0\n"
        transport.close()
        console.close()
    assert place.lines() == ["name=joe", "password=secret", f"{method}={PASSWORDS[method]}"] * 2


@pytest.mark.parametrize("method", ["su", "sudo"])
@pytest.mark.parametrize("given", ["wrong", None])
def test_a_wrong_password_is_an_error_that_says_so(
    bench: Any, open_folder: Path, within: Within, method: Any, given: Any
) -> None:
    place = Place(bench, open_folder)
    transport = place.transport(Become(method, given))
    with pytest.raises(Unavailable) as caught:
        transport.run("true", deadline=within(60))
    assert caught.value.cause is Cause.BECOME
    assert method in caught.value.message
    assert ("refused the password" if given else "none is given") in caught.value.message
    assert "ansible_become_password" in caught.value.hint
    typed = [line for line in place.lines() if line.startswith(method)]
    assert typed == ([f"{method}=wrong"] if given else typed[:1])
    transport.close()
    transport._console.close()
    # And the user's shell is not left for whoever comes next.
    names = place.lines().count("name=joe")
    time.sleep(0.5)
    again = place.transport(None)
    assert again.run("id -u", deadline=within(60)).stdout == b"65534\n"
    assert place.lines().count("name=joe") == names + 1


@pytest.mark.parametrize("method", ["su", "sudo"])
def test_without_a_password(bench: Any, open_folder: Path, within: Within, method: Any) -> None:
    place = Place(bench, open_folder, style="free")
    transport = place.transport(Become(method))
    assert transport.run("id -u", deadline=within(60)).stdout == b"0\n"


def test_a_question_that_others_have_torn_is_answered_when_it_comes_again(
    bench: Any, open_folder: Path, within: Within
) -> None:
    place = Place(bench, open_folder, style="torn")
    transport = place.transport(Become("sudo", PASSWORDS["sudo"]))
    assert transport.run("id -u", deadline=within(60)).stdout == b"0\n"
    asked = [line for line in place.lines() if line.startswith("sudo=")]
    assert asked[-1] == f"sudo={PASSWORDS['sudo']}"
    assert len(asked) == 2


def test_a_shell_that_is_not_roots_is_not_taken_for_it(bench: Any, open_folder: Path, within: Within) -> None:
    """It may be the user's own, where what sudo said at its end was torn: it is asked once more, and no further."""
    place = Place(bench, open_folder, style="not root at first")
    transport = place.transport(Become("sudo", PASSWORDS["sudo"]))
    assert transport.run("id -u", deadline=within(60)).stdout == b"0\n"
    assert place.lines()[2:] == [f"sudo={PASSWORDS['sudo']}"] * 2


def test_sudo_that_gives_no_root_is_an_error(bench: Any, open_folder: Path, within: Within) -> None:
    place = Place(bench, open_folder, style="never root")
    with pytest.raises(Unavailable, match=r"sudo did not make the console's shell root \(uid 65534\)") as caught:
        place.transport(Become("sudo", PASSWORDS["sudo"])).run("id -u", deadline=within(60))
    assert caught.value.cause is Cause.BECOME
    assert place.lines()[2:] == [f"sudo={PASSWORDS['sudo']}"] * 2


@pytest.mark.parametrize("method", ["su", "sudo"])
def test_who_may_not(bench: Any, open_folder: Path, within: Within, method: Any) -> None:
    place = Place(bench, open_folder, style="forbidden")
    with pytest.raises(Unavailable, match="not in the") as caught:
        place.transport(Become(method, PASSWORDS[method])).run("true", deadline=within(60))
    assert caught.value.cause is Cause.BECOME
    assert "secret" not in str(place.lines()[2:])


def test_one_that_says_nothing(bench: Any, open_folder: Path, within: Within) -> None:
    place = Place(bench, open_folder, style="silent")
    transport = place.transport(Become("su", "root-secret"))
    with pytest.raises(Unavailable) as caught:
        transport.run("true", deadline=within(15))
    assert caught.value.cause in (Cause.BECOME, Cause.TIMEOUT)
    assert place.lines() == ["name=joe", "password=secret"]


@pytest.mark.parametrize("kind", ["kernel", "unknown"] if MANY else ["kernel"])
@pytest.mark.parametrize("method", ["su", "sudo"])
def test_while_the_console_is_never_quiet(
    bench: Any, open_folder: Path, within: Within, method: Any, kind: str
) -> None:
    place = Place(bench, open_folder, trickle=kind == "kernel")
    transport = place.transport(Become(method, PASSWORDS[method]))
    with floods(bench, place.guest, kind):
        assert transport.run("id -u", deadline=within(100)).stdout == b"0\n"
    assert place.lines() == ["name=joe", "password=secret", f"{method}={PASSWORDS[method]}"]
    assert b"-secret" not in (bench.folder / "raw.log").read_bytes()


def test_somebody_elses_shell_is_not_taken(bench: Any, open_folder: Path, within: Within) -> None:
    """Commands never run as a user that was not asked for: who stands there is logged out."""
    place = Place(bench, open_folder)
    console = bench.console(place.guest)
    first = bench.transport(console, user="joe", password="secret")
    assert first.run("id -u", deadline=within(60)).stdout == b"65534\n"
    console.close()  # no goodbye: the shell still stands there
    with pytest.raises(Unavailable, match="refused"):
        place.transport(None, user="nobody else").run("true", deadline=within(60))
    assert [fields["user"] for fields in bench.events.of("serial.other_user")] == ["nobody"]
    assert place.lines()[2:] == ["name=nobody else", "password=secret"]


def test_a_shell_that_asks_for_no_name_is_taken_by_name_only(bench: Any, within: Within) -> None:
    """A console that always gives the same user's shell, whoever is wanted."""
    guest = bench.guest([*NOBODY, "bash", "--norc", "-i"], respawn=True, env={"HOME": "/tmp"})
    console = bench.console(guest)
    with pytest.raises(Unavailable, match="serial_user=nobody") as caught:
        bench.transport(console).run("id -un", deadline=within(60))
    assert caught.value.cause is Cause.LOGIN
    assert bench.transport(console, user="nobody").run("id -un", deadline=within(60)).stdout == b"nobody\n"
