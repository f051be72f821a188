"""The words between us and a shell: the reader in any chunking, the program in every shell that is here."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.transport.ssh.shell import (
    EXTERNAL,
    LEFTOVERS,
    Answer,
    AnswerReader,
    check_command,
    end_program,
    escape,
    first_word,
    fresh_nonce,
    one_shot_program,
    one_shot_request,
    opening,
    quote,
    request,
)
from tests.patience import scaled

NONCE = "00112233445566778899aabbccddeeff"
SHELLS = [
    [name] if name != "busybox" else ["busybox", "sh"]
    for name in ("dash", "bash", "busybox", "mksh")
    if shutil.which(name)
]


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


# Output that comes as near to our ending as output can: pieces of the nonce, numbers, line ends.
near_misses = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.integers(0, 31).map(lambda size: NONCE[:size].encode()),
        st.integers(1, 32).map(lambda size: NONCE[size:].encode()),
        st.sampled_from([b"\n", b" 0 0\n", b"0", NONCE.upper().encode()]),
    ),
    max_size=8,
).map(b"".join)


@given(
    out=near_misses,
    err=near_misses,
    status=st.integers(0, 255),
    flag=st.booleans(),
    rest=st.binary(max_size=10),
    out_cuts=st.lists(st.integers(0, 200), max_size=6),
    err_cuts=st.lists(st.integers(0, 200), max_size=6),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=400, deadline=None)
def test_any_chunking_gives_the_output_byte_for_byte(
    out: bytes,
    err: bytes,
    status: int,
    flag: bool,
    rest: bytes,
    out_cuts: list[int],
    err_cuts: list[int],
    order: object,
) -> None:
    if NONCE.encode() in out or NONCE.encode() in err:
        return  # 2**-128
    reader = AnswerReader(NONCE)
    out_pieces = chunks(out + f"{NONCE} {status} {int(flag)}\n".encode() + rest, out_cuts)
    err_pieces = chunks(err + f"{NONCE}\n".encode(), err_cuts)
    seen: Answer | None = None
    while out_pieces or err_pieces:
        take_out = bool(out_pieces) and (not err_pieces or order.random() < 0.5)  # type: ignore[attr-defined]
        if take_out:
            reader.feed(out_pieces.pop(0))
        else:
            reader.feed(stderr=err_pieces.pop(0))
        seen = reader.answer
    # A cut may fall anywhere: in what is no ending yet, out and err may be longer, never in the answer.
    assert seen is not None
    assert (seen.stdout, seen.stderr, seen.number, seen.flags) == (out, err, status, int(flag))
    assert seen.rest == (rest, b"")
    assert reader.partial == (out, err)


@given(out=st.binary(max_size=60), err=st.binary(max_size=60))
def test_without_both_endings_there_is_no_answer(out: bytes, err: bytes) -> None:
    reader = AnswerReader(NONCE)
    reader.feed(out, err)
    assert reader.answer is None
    reader.feed(f"{NONCE} 0 0\n".encode())
    assert reader.answer is None, "stderr has not ended"
    assert reader.partial == (out, err)


@pytest.mark.parametrize("tail", [b" x 0\n", b"\n", b" 0\n", b" 0 0 0\n", b" -1 0\n"])
def test_an_ending_that_is_none_of_ours_is_no_answer(tail: bytes) -> None:
    reader = AnswerReader(NONCE)
    reader.feed(NONCE.encode() + tail, NONCE.encode() + b"\n")
    with pytest.raises(ValueError, match="malformed"):
        _ = reader.answer


def test_nonces_differ() -> None:
    assert len({fresh_nonce() for _ in range(1000)}) == 1000


def test_a_nul_byte_is_refused_with_a_reason() -> None:
    with pytest.raises(UsageError, match="NUL"):
        check_command("echo a\0b")


@dataclass
class LocalShell:
    """A persistent shell at the other end of three pipes, as a clean channel is."""

    process: subprocess.Popen[bytes]
    pid: int = 0
    tells: bool = False

    def ask(self, data: bytes, nonce: str, seconds: float = 20.0) -> Answer:
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        self.process.stdin.write(data)
        self.process.stdin.flush()
        reader = AnswerReader(nonce)
        until = time.monotonic() + scaled(seconds)
        while time.monotonic() < until:
            ready, _, _ = select.select([self.process.stdout, self.process.stderr], [], [], 0.5)
            for stream in ready:
                data = os.read(stream.fileno(), 65536)
                assert data, "the shell went away"
                reader.feed(**{"stdout" if stream is self.process.stdout else "stderr": data})
            answer = reader.answer
            if answer is not None:
                return answer
        raise AssertionError(f"no answer; so far {reader.partial!r}")

    def run(self, command: str) -> Answer:
        nonce = fresh_nonce()
        return self.ask(request(command, nonce), nonce)


@pytest.fixture(scope="module", params=SHELLS, ids=lambda argv: argv[0])
def shell(request: pytest.FixtureRequest) -> Iterator[LocalShell]:
    process = subprocess.Popen(
        request.param,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={"PATH": os.environ["PATH"], "_keep": "1"},
    )
    local = LocalShell(process)
    nonce = fresh_nonce()
    greeting = local.ask(opening(nonce), nonce)
    local.pid, local.tells = greeting.number, bool(greeting.flags)
    yield local
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.close()
    assert process.wait(scaled(10)) == 0, "a shell whose input ends must end"
    process.stdout.close()
    process.stderr.close()


def test_the_greeting_names_the_process_and_proves_proc(shell: LocalShell) -> None:
    assert shell.pid == shell.process.pid
    assert shell.tells


@pytest.mark.parametrize(
    ("command", "stdout", "stderr", "status"),
    [
        ("echo hi", b"hi\n", b"", 0),
        ("printf 'no newline'", b"no newline", b"", 0),
        ("", b"", b"", 0),
        ("exit 7", b"", b"", 7),
        ("echo out; echo err >&2; exit 3", b"out\n", b"err\n", 3),
        ("printf 'a\\0b\\0'", b"a\0b\0", b"", 0),
        ("kill -9 $$", b"", b"", 137),
        ("kill -TERM $$", b"", b"", 143),
        ("cat", b"", b"", 0),
        ('read x; echo "<$x>"', b"<>\n", b"", 0),
        ("x=1; cd /; set -e; false; echo never", b"", b"", 1),
        ("echo \"it's\"\necho 'a\"b'\n", b"it's\na\"b\n", b"", 0),
        ("cat <<'E'\n$HOME `x` \\\nE", b"$HOME `x` \\\n", b"", 0),
        ("exec >/dev/null; echo gone", b"", b"", 0),
        ("printf '%s' \"$_h_n$_h_c$_h_s$_h_x\"; echo $#", b"0\n", b"", 0),
        ("echo x >/dev/stderr; echo y >&2; echo z >/dev/stdout", b"z\n", b"x\ny\n", 0),
    ],
)
def test_commands(shell: LocalShell, command: str, stdout: bytes, stderr: bytes, status: int) -> None:
    answer = shell.run(command)
    assert (answer.stdout, answer.stderr, answer.number) == (stdout, stderr, status)
    assert answer.rest == (b"", b"")


@pytest.mark.parametrize(
    "command",
    [
        "uname -r",
        "cat /proc/sys/kernel/osrelease",
        "printenv PATH",
        "ls -d '/no such place'",
        "expr 1 = 2",
        "cat",
        "env",
        "sh -c 'echo \"$0 $#\"; echo e >&2; exit 9'",
        "/bin/echo 'a   b' c",
    ],
)
def test_plain_words_are_the_same_with_a_shell_of_their_own_and_without(shell: LocalShell, command: str) -> None:
    nonce, again = fresh_nonce(), fresh_nonce()
    slow = shell.ask(request(command, nonce, external=False), nonce)
    asked = shell.run(command)
    if not asked.flags & EXTERNAL:
        pytest.skip("a word of this shell")
    quick = shell.ask(request(command, again, external=True, rested=False), again)
    assert not quick.flags & LEFTOVERS
    if command == "env":
        # bash counts the shells that it is inside of, and dash names its own directory.
        drop = (b"SHLVL=", b"_=", b"PWD=", b"OLDPWD=")
        assert [line for line in slow.stdout.split() if not line.startswith(drop)] == [
            line for line in quick.stdout.split() if not line.startswith(drop)
        ]
    else:
        assert (slow.stdout, slow.stderr, slow.number) == (quick.stdout, quick.stderr, quick.number)


@pytest.mark.parametrize("word", ["echo", "cd /", "exit 3", "if", "{", "no-such-program-here", ".", "export x", ":"])
def test_words_of_the_shell_are_no_programs(shell: LocalShell, word: str) -> None:
    assert not shell.run(word).flags & EXTERNAL


@pytest.mark.parametrize(
    "command",
    [
        "a=b",
        "a$b",
        "a; b",
        "a\nb",
        "a\n",
        "a &",
        "a | b",
        "a >b",
        "a *",
        "a ~",
        'a "b"',
        "a 'b",
        "(a)",
        "",
        " a",
        "a #b",
        "a `b`",
        "a \\b",
        "a {b}",
        "a [b]",
        "a ?",
        "!a",
        "a 'b\nc'",
        "a\tb",
        "ä",
    ],
)
def test_what_a_shell_might_expand_has_no_first_word(command: str) -> None:
    assert first_word(command) == ""


@pytest.mark.parametrize("command", ["if", "'", '"', "$(", "${", ")", "<<E", "case", "a |", "\\", "#", "`"])
def test_text_that_does_not_parse_harms_only_itself(shell: LocalShell, command: str) -> None:
    answer = shell.run(command)
    assert answer.stdout == b""
    after = shell.run("echo fine")
    assert (after.stdout, after.stderr, after.number) == (b"fine\n", b"", 0)


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_arrives_as_it_is(shell: LocalShell, text: str) -> None:
    answer = shell.run(f"printf %s {quote(text)}")
    assert (answer.stdout, answer.stderr, answer.number) == (text.encode(), b"", 0)


def test_all_bytes_arrive_as_they_are(shell: LocalShell) -> None:
    every = bytes(range(1, 256))
    text = every.decode("utf-8", "surrogateescape")
    assert shell.run(f"printf %s {quote(text)}").stdout == every


def test_a_command_lives_in_a_process_of_its_own(shell: LocalShell) -> None:
    shell.run("cd /; export LEAK=1; umask 0; ulimit -n 10; trap 'echo trap' EXIT; f() { :; }")
    answer = shell.run('echo "$LEAK"; umask; ulimit -n; [ $$ = PID ] || echo own'.replace("PID", str(shell.pid)))
    lines = answer.stdout.decode().split("\n")
    assert lines[0] == ""
    assert lines[1].endswith("22")
    assert lines[2] != "10"
    assert lines[3] == "own"


def test_no_descriptor_of_ours_is_left_open_to_a_command(shell: LocalShell) -> None:
    numbers = set(shell.run("ls /proc/self/fd").stdout.split())
    assert not numbers & {b"4", b"5", b"10"}, numbers
    # `ls` itself opens one, for the directory.
    assert numbers == {b"0", b"1", b"2", b"3"}


def test_pipelines_are_told_from_leftovers(shell: LocalShell) -> None:
    for _ in range(20):
        answer = shell.run("true | true | cat; (true); x=$(echo 1); echo $x | tr 1 2")
        assert answer.stdout == b"2\n"
    quiet = [shell.run("echo 1 | cat").flags & LEFTOVERS for _ in range(10)]
    # Processes of others may come to be meanwhile; they are looked at and found harmless.
    assert not all(quiet), "every pipeline was taken for a leftover"


def test_a_child_that_holds_a_stream_is_told(shell: LocalShell) -> None:
    for redirection in ("2>/dev/null", ">/dev/null", ""):
        answer = shell.run(f"sleep 5.25 {redirection} & echo $!")
        assert answer.flags & LEFTOVERS, redirection
        os.kill(int(answer.stdout or shell.run("pgrep -nf 'sleep 5.25'").stdout), 9)


@pytest.mark.skipif(not shutil.which("setsid"), reason="no setsid here")
def test_a_daemon_that_holds_a_stream_is_told_even_in_a_session_of_its_own(shell: LocalShell) -> None:
    # `wait` would not see it, nor would its parent: it was started by one that is gone.
    answer = shell.run("(setsid sh -c 'sleep 5.5 2>/dev/null; echo late' </dev/null &) ; sleep 0.2")
    assert answer.flags & LEFTOVERS
    subprocess.run(["pkill", "-f", "sleep 5.5"], check=False)


@pytest.mark.skipif(not shutil.which("setsid"), reason="no setsid here")
def test_a_daemons_child_is_told_though_who_made_its_session_is_gone(shell: LocalShell) -> None:
    answer = shell.run("(setsid sh -c 'sleep 5.75 & exit' </dev/null &) ; sleep 0.2")
    assert answer.flags & LEFTOVERS
    subprocess.run(["pkill", "-f", "sleep 5.75"], check=True)


def test_what_others_start_meanwhile_is_none_of_the_commands(shell: LocalShell) -> None:
    """They hold streams of their own; each is alive while we look. Between its fork and its program, on a busy machine,
    one may hold the command's too for a moment."""
    others = []
    held = 0
    try:
        for _ in range(20):
            thread = threading.Timer(0.01, lambda: others.append(subprocess.Popen(["sleep", "30"])))
            thread.start()
            held += bool(shell.run("sleep 0.05; echo on").flags & LEFTOVERS)
            thread.join()
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert held < 10, "it holds for any of them"


@pytest.mark.skipif(not shutil.which("setsid"), reason="no setsid here")
def test_a_daemon_that_let_go_of_the_streams_does_not_cost_the_shell(shell: LocalShell) -> None:
    flags = []
    for _ in range(5):
        answer = shell.run("(setsid sleep 1.75 </dev/null >/dev/null 2>&1 &) ; sleep 0.1; echo ok")
        assert answer.stdout == b"ok\n"
        flags.append(answer.flags & LEFTOVERS)
    assert not all(flags)


def test_one_shot_programs_run_under_any_login_shell() -> None:
    command = "printf '%s|' \"it's\" 'a\\\\b' '!x' \"$1\" \"ü\"; cat; echo err >&2; exit 5"
    for login in (["sh"], ["bash"], ["zsh"], ["fish"], ["tcsh"], ["busybox", "sh"]):
        if shutil.which(login[0]) is None:
            continue
        nonce = fresh_nonce()
        done = subprocess.run(
            [*login, "-c", one_shot_program(command)],
            input=one_shot_request(command, nonce) + b"in\0put",
            capture_output=True,
            timeout=scaled(30),
            check=False,
        )
        greeting, reader = AnswerReader(nonce), AnswerReader(nonce)
        greeting.feed(done.stdout, done.stderr)
        hello = greeting.answer
        assert hello is not None, (login, done)
        reader.feed(*hello.rest)
        answer = reader.answer
        assert answer is not None, (login, done)
        assert answer.stdout == "it's|a\\\\b|!x||ü|".encode() + b"in\0put", login
        assert (answer.stderr, answer.number) == (b"err\n", 5)


@pytest.mark.parametrize("size", [99_000, 101_000, 400_000])
def test_commands_longer_than_an_argument_may_be(size: int) -> None:
    command = f"x={'y' * size}; echo ${{#x}}; exit 4"
    nonce = fresh_nonce()
    done = subprocess.run(
        ["sh", "-c", one_shot_program(command)],
        input=one_shot_request(command, nonce),
        capture_output=True,
        timeout=scaled(60),
        check=False,
    )
    greeting, reader = AnswerReader(nonce), AnswerReader(nonce)
    greeting.feed(done.stdout, done.stderr)
    assert greeting.answer is not None
    reader.feed(*greeting.answer.rest)
    assert reader.answer is not None
    assert (reader.answer.stdout, reader.answer.number) == (f"{size}\n".encode(), 4)


@given(data=st.binary(max_size=200).filter(lambda data: b"\0" not in data))
def test_escaped_bytes_are_one_line_of_plain_ascii(data: bytes) -> None:
    escaped = escape(data)
    assert b"\n" not in escaped
    assert all(32 <= byte < 127 for byte in escaped)


@pytest.mark.parametrize("ender", [["sh"], ["bash"], ["busybox", "sh"]], ids=lambda argv: argv[0])
def test_the_end_reaches_children_groups_and_sessions_of_their_own(ender: list[str]) -> None:
    if shutil.which(ender[0]) is None:
        pytest.skip(f"no {ender[0]} here")
    tag = f"86{os.getpid()}"
    process = subprocess.Popen(
        [
            "sh",
            "-c",
            f"sh -c 'sleep {tag}1 & setsid sleep {tag}2 & timeout {tag}9 sleep {tag}3 & (sleep {tag}4 &) ; wait'; :",
        ],
        start_new_session=True,
    )
    bystander = subprocess.Popen(["sleep", f"{tag}5"], start_new_session=True)
    try:
        until = time.monotonic() + scaled(10)
        while len(_sleeping(tag)) < 5 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(_sleeping(tag)) >= 5
        done = subprocess.run(
            [*ender, "-c", end_program(process.pid)], capture_output=True, timeout=scaled(30), check=False
        )
        assert done.stdout == b"left 0\n", done
        assert _sleeping(tag) == [f"sleep {tag}5"], "all ended but the bystander"
    finally:
        bystander.kill()
        bystander.wait()
        process.kill()
        process.wait()


def _sleeping(tag: str) -> list[str]:
    done = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 1) for line in done.stdout.splitlines()]
    return [row[1] for row in rows if len(row) == 2 and row[1].startswith(f"sleep {tag}") and "Z" not in row[0]]
