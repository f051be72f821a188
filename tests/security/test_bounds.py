"""Bounds that hold in any thread, and on what an inventory's program prints."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.inventory import bounds, load, script
from harness.inventory.bounds import TooLongError, matching, regex, time_bound
from harness.inventory.patterns import Matcher
from tests.patience import scaled

_SLOW = {
    "a loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}x",
    "an expression": "{{ ('a' * 60 ~ '!') | regex_replace('(a+)+$', 'x') }}",
    "a choice": "{{ ('a' * 60 ~ '!') is match('(a|a)*$') }}",
    "a test": "{{ ('a' * 60 ~ '!') is match('(a+)+$') }}",
}


def _in_a_thread(call: Callable[[], object]) -> object:
    found: list[object] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(scaled(30))
    assert found, "it does not end"
    return found[0]


@pytest.mark.parametrize(
    ("name", "where"),
    [*((name, "main thread") for name in _SLOW), *((name, "worker") for name in _SLOW), ("a loop", "alarm in use")],
)
def test_a_template_ends_in_time_in_any_thread(
    name: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 0.3)
    (tmp_path / "i.yml").write_text(f'all: {{hosts: {{h: {{v: "{_SLOW[name]}"}}}}}}\n')
    host = load([str(tmp_path / "i.yml")], validate=False).host("h")

    def resolve() -> object:
        with pytest.raises(UsageError, match="takes longer than"):
            host.vars["v"]
        return "ended"

    if where == "worker":
        assert _in_a_thread(resolve) == "ended"
        return
    if where == "alarm in use":
        before = signal.signal(signal.SIGALRM, lambda number, frame: None)
        signal.setitimer(signal.ITIMER_REAL, 3600)
    try:
        resolve()
    finally:
        if where == "alarm in use":
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 1000, "the other alarm is left as it was"
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _loops_in(seconds: float) -> None:
    with time_bound(seconds):
        while True:
            pass


def test_a_thread_goes_on_after_its_bound() -> None:
    def bounded() -> object:
        with pytest.raises(TooLongError):
            _loops_in(0.05)
        with time_bound(60):
            return sum(range(1000))

    assert _in_a_thread(bounded) == 499500


@pytest.mark.parametrize(
    ("pattern", "call"),
    [("~(a+)+$", lambda run: run()), ("~(a|aa)*$", _in_a_thread)],
    ids=["the main thread", "another thread"],
)
def test_a_pattern_of_hosts_ends_in_time(
    pattern: str, call: Callable[[Callable[[], object]], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 1.0)
    hosts = dict.fromkeys(("a" * 60 + "!", "b", "a" * 5))
    matcher = Matcher(SimpleNamespace(hosts=hosts, groups={}))  # type: ignore[arg-type]

    def run() -> object:
        try:
            return matcher.hosts(pattern)
        except UsageError as error:
            return error

    began = time.monotonic()
    found = call(run)
    assert isinstance(found, UsageError), found
    assert "takes longer" in found.message
    assert time.monotonic() - began < scaled(15)


def test_a_pattern_of_hosts_means_the_same_in_a_process_of_its_own() -> None:
    names = ["web1", "web2.example", "db-1", "ä", "a b"]
    for pattern in ("web\\d+(?:\\.x)*", "(?!web).*-*", "(w)e?b\\d*", ".*\\w+$", "none|db(-)*"):
        hosts = [name for name in names if re.match(pattern, name)]
        assert _in_a_thread(lambda pattern=pattern: matching(pattern, names)) == hosts  # type: ignore[misc]


_PARTS = st.lists(
    st.sampled_from(["a", "b", "+", "*", "(", ")", "|", ".", "(?P<n>a)", "\\d", "ä", "[ab]", "?"]), max_size=6
)


@settings(max_examples=8, deadline=None)
@given(_PARTS.map("".join), st.text("abä1 ", max_size=8), st.sampled_from(["sub", "findall", "search", "match"]))
def test_a_process_of_its_own_finds_what_this_one_finds(pattern: str, text: str, kind: str) -> None:
    def outcome(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except re.error:
            return "error"

    # What follows matches nothing more, and has enough repetitions for a process of its own.
    costly = f"(?:{pattern})(?:z?){{0}}(?:z?){{0}}"
    there = _in_a_thread(lambda: outcome(lambda: regex(kind, costly, text, 0, "x")))
    assert there == (outcome(lambda: bounds._regex(kind, costly, text, 0, "x")))


def test_yaml_in_a_template_is_bounded(tmp_path: Path) -> None:
    aliases = "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\\n" for n in range(1, 10))
    (tmp_path / "i.yml").write_text(
        f"all: {{hosts: {{h: {{v: \"{{{{ 'a0: &a0 [x]\\n{aliases}' | from_yaml }}}}\"}}}}}}\n"
    )
    with pytest.raises(UsageError, match="aliases"):
        load([str(tmp_path / "i.yml")], validate=False).host("h").vars["v"]


def _program(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_program_that_prints_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "MOST", 1 << 20)
    began = time.monotonic()
    with pytest.raises(UsageError, match="printed more than 1 MiB"):
        load([_program(tmp_path / "i.sh", "exec cat /dev/zero")])
    assert time.monotonic() - began < scaled(20)


def test_a_program_that_complains_without_end_is_read(tmp_path: Path) -> None:
    body = "head -c 3000000 /dev/zero | tr '\\\\0' e >&2; echo END >&2; exit 3"
    with pytest.raises(UsageError) as caught:
        load([_program(tmp_path / "i.sh", body)])
    assert "END" in str(caught.value.hint)
    assert len(str(caught.value.hint)) < 5000


def test_a_program_whose_output_is_held_open_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.inventory.places import Book

    run = script.ScriptRunner(_program(tmp_path / "i.sh", "sleep 60 & echo '{}'; wait"), Book(), seconds=0.3)
    with pytest.raises(UsageError, match="did not end"):
        run(["--list"])


_MANY = """case $1 in
--list) echo '{"web": {"hosts": ["h1", "h2", "h3", "h4"]}}';;
--host) %s;;
esac"""


def test_all_calls_of_a_program_have_one_bound_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 10_000, 200))  # each call of a script takes 200 seconds of this clock
    bounds: list[float] = []

    def outputs(process: subprocess.Popen[bytes], seconds: float, most: int) -> tuple[bytes, bytes]:
        bounds.append(seconds)
        if seconds < 200:
            raise subprocess.TimeoutExpired("", seconds)
        return process.communicate()

    monkeypatch.setattr(script, "_outputs", outputs)
    monkeypatch.setattr(script, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    with pytest.raises(UsageError, match="takes more than 900 s in all: it was run 5 times") as caught:
        load([_program(tmp_path / "i.sh", _MANY % "echo '{}'")])
    assert "_meta" in str(caught.value.hint)
    assert bounds == [300, 300, 300, 300, 100]


def test_all_calls_of_a_program_have_one_bound_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "MOST", 1 << 20)
    body = "printf '{\"a\": \"'; head -c 400000 /dev/zero | tr '\\0' a; echo '\"}'"
    with pytest.raises(UsageError, match="prints more than 1 MiB in all: it was run 4 times") as caught:
        load([_program(tmp_path / "i.sh", _MANY % body)])
    assert "_meta" in str(caught.value.hint)


def test_what_pytest_is_given_drives_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.events.redact import Redactor
    from harness.pytest.suite import _shown
    from harness.pytest.witness import Witness
    from tests.security.test_printed import EVIL
    from tests.security.test_trust import _drives_no_terminal, _obeyed

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    report = pytest.TestReport("n", ("f", 1, "n"), {}, "failed", EVIL, "call", sections=[("Captured", EVIL)])
    witness = Witness.__new__(Witness)
    redactor = Redactor()
    redactor.add("some secret")

    class Log:
        redact = redactor

    witness._log = Log()  # type: ignore[assignment]
    witness._mask(report)
    for text in (_shown(EVIL), report.longreprtext, *(text for _, text in report.sections)):
        assert "set-output" in text
        assert _drives_no_terminal(text)
        assert not _obeyed(text)
