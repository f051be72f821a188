"""What checks print belongs to their attempts, and to nobody else's output."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.engine import captured
from harness.engine.captured import Capture, attributed, shortened
from harness.soak.ending import Ending
from harness.target.target import Target
from tests.soak.fakes import a_check
from tests.soak.test_soak import Place


def test_each_thread_prints_into_its_own_capture(capsys: pytest.CaptureFixture[str]) -> None:
    barrier = threading.Barrier(8)

    def work(number: int) -> str:
        capture = Capture()
        with capture.active():
            barrier.wait()
            for line in range(50):
                print(number, line)
                print(number, line, file=sys.stderr)
            sys.stdout.buffer.write(b"raw \xff\n")
        print("outside", number)
        return capture.text

    with attributed(), ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(work, range(8)))
    for number, text in enumerate(texts):
        lines = [f"{number} {line}" for line in range(50)]
        assert text.splitlines() == [*(line for line in lines for _ in range(2)), "raw \\xff"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert sorted(shown.err.splitlines()) == [f"outside {number}" for number in range(8)]


def test_output_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "LARGEST", 100)
    capture = Capture()
    for _ in range(50):
        capture.write("0123456789")
    assert capture.text == "0123456789" * 10 + "\n[400 more characters were discarded]"
    assert len(capture.text) < 200


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    text = "a" * 9_000_000 + "z" * 9_000_000
    short = shortened(text)
    assert len(short) < captured.SHOWN + 100
    assert short.startswith("aaa")
    assert short.endswith("zzz")
    assert "18,000,000 characters" in short
    assert shortened("x") == "x"


def test_output_stands_with_its_attempt_and_its_result(tmp_path: Path) -> None:
    place = Place(tmp_path)
    seen: list[int] = []

    def look(target: Target) -> str:
        seen.append(1)
        print(f"attempt {len(seen)} of {target.name}")
        assert len(seen) > 1
        return "y" * 1_000_000

    with attributed():
        place.carry(a_check("one", look), ending=Ending(iterations=1))
    events = place.events("check.output")
    assert [(each["harness.attempt"], each["harness.text"]) for each in events] == [
        (1, "attempt 1 of a\n"), (2, "attempt 2 of a\n"),
    ]  # fmt: skip
    (whole,) = (tmp_path / "long").iterdir()
    assert whole.read_text() == "y" * 1_000_000
    assert max(len(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()) < 20_000


def test_stdout_of_json_is_the_document_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import os, subprocess, sys, threading\nfrom harness import check\nprint('imported')\n\n"
        "@check(budget=5)\ndef prints(target):\n    print('captured')\n    os.write(1, b'low')\n"
        "    subprocess.run(['echo', 'program'])\n"
        "    thread = threading.Thread(target=print, args=('thread',))\n    thread.start()\n    thread.join()\n"
    )
    (tmp_path / "inv.ini").write_text("vm1 ansible_host=127.0.0.1 ansible_port=1 settle=no\n")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "-i", "inv.ini", "mine.py", "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ((check,),) = [target["checks"] for target in json.loads(done.stdout)["targets"]]
    assert check["output"] == "captured\n"
    for word in ("imported", "low", "program", "thread"):
        assert word in done.stderr
    junit = next(tmp_path.glob("logs/2*/junit.xml")).read_text()
    assert "<system-out>captured" in junit
