"""A guest with a deadlock, a unit that failed, and no sshd: collected over its console, and explained from that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import RESTORED, Run

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

BREAK_SSHD = """\
echo NoSuchSetting yes >> /etc/ssh/sshd_config
systemctl restart ssh; until systemctl is-failed ssh; do sleep 0.2; done
"""
UNITS = """\
cd /run/systemd/system
cat > pre.service <<'END'
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo preparing; systemctl reload-or-restart late; echo done'
END
cat > late.service <<'END'
[Unit]
After=pre.service
[Service]
ExecStart=/bin/sleep 1000
END
cat > fire.service <<'END'
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo the disk is on fire; sleep 1; exit 3'
END
systemctl daemon-reload; systemctl start fire; systemctl start --no-block pre
until systemctl list-jobs | grep -q 'late.*waiting'; do sleep 0.2; done
"""
RECIPES = "recipes:\n  few: [failed-units, jobs, unsettled-units, sshd-test, sockets, kernel-log]\n"
DEADLOCK = (
    r"pre\.service: start job running for .* \(`/bin/sh -c echo preparing; systemctl reload-or-restart late; "
    r"echo done`, PID \d+\); it is itself waiting for `systemctl reload-or-restart late` \(PID \d+\), which waits for "
    r"late\.service's start job; that one is ordered after pre\.service: a deadlock, which nothing ends"
)


@pytest.fixture
def verb(tmp_path: Path, harness: Callable[..., Run]) -> Iterator[Callable[..., Run]]:
    """Runs a verb on the guest, which is up for as long as the test goes on."""

    def run(name: str, *arguments: str, code: int = 0) -> Run:
        done = harness(*arguments, verb=name, folder=tmp_path)
        assert done.finish() == code, done.stdout + done.stderr
        return done

    (tmp_path / "collect.yml").write_text(RECIPES)
    (tmp_path / "inv.ini").write_text(RESTORED.read_text())
    run("up", "-i", "inv.ini", "vm1")
    run("exec", "-i", "inv.ini", "vm1", "--", BREAK_SSHD)
    yield run
    run("down", "vm1")


def times_out(text: str) -> list[str]:
    """The lines without how long things have lasted."""
    return re.sub(r"for \d[\d.]* (?:s|min(?: \d+ s)?)", "for a while", text).splitlines()


def test_what_hangs_is_collected_over_the_console_and_explained_from_the_folder(
    tmp_path: Path, verb: Callable[..., Run]
) -> None:
    verb("exec", "-i", "inv.ini", "vm1", "--", UNITS)
    live = verb("why", "-i", "inv.ini", "vm1", code=1).stdout
    # First whether it can be reached, and why not over SSH; then what is not settled.
    first, *rest = live.splitlines(keepends=True)
    assert first.startswith("vm1  no ssh    ")
    assert "nosuchsetting" in first.lower(), "the reason why sshd does not serve"
    live = "".join(line for line in rest if not line.startswith("vm1   "))
    assert re.search(rf"^vm1  never     {DEADLOCK}$", live, re.MULTILINE), live
    assert "fire.service failed (Result=exit-code, exit status 3)" in live
    assert "said: the disk is on fire" in live
    told = verb("collect", "-i", "inv.ini", "vm1", "--recipe", "few", "--unit", "ssh", "-o", "out").stdout
    assert "over serial: out/vm1/summary.md" in told
    folder = tmp_path / "out" / "vm1"
    # The same words, whenever and wherever they are asked for.
    kept = verb("why", "out", code=1).stdout
    assert times_out(kept) == times_out(live)
    assert verb("why", "out/vm1", "late", "fire", "ssh", code=1).stdout.count("vm1  never") == 3
    assert "was not collected" in verb("why", "out", "cron.service", code=4).stdout
    summary = (folder / "summary.md").read_text()
    assert summary.startswith("# vm1: not settled, and it will not be by waiting\n")
    assert re.search(DEADLOCK, summary)
    # Each file holds its own command's words.
    document = json.loads((folder / "index.json").read_text())
    assert {entry["transport"] for entry in document["entries"] if entry["state"] == "had"} == {"serial"}
    assert "fire.service" in (folder / "failed-units.txt").read_text()
    assert "ssh.service" in (folder / "failed-units.txt").read_text()
    assert re.search(r"late\.service +start +waiting", (folder / "jobs.txt").read_text())
    assert "the disk is on fire" in (folder / "unsettled-units.txt").read_text()
    assert (folder / "sshd-test.txt").read_text() == ""
    assert "NoSuchSetting" in (folder / "sshd-test.err.txt").read_text()
    assert "Linux version" in (folder / "kernel-log.txt").read_text()
    assert ":22 " not in (folder / "sockets.txt").read_text()
