"""The frame protocol against damage: the check, refusals, and both sides as pure code, to which shells are held."""

from __future__ import annotations

import random
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.serial_model import (
    SCENARIOS,
    Command,
    GuestModel,
    RandomFaults,
    Scenario,
    converse,
    every_single_fault,
    random_faults,
    single_faults,
)
from harness.transport.serial.dialogue import Dialogue, Failure
from harness.transport.serial.frames import Answer, Exchange
from harness.transport.serial.guest import ALPHABET, BLANK, PRIME, digest, program, readable_program
from harness.transport.serial.requests import Nonce, request
from tests.patience import scaled

SHELLS = {
    "dash": ["dash"],
    "bash": ["bash", "--posix"],
    "busybox": ["busybox", "sh"],
    "zsh": ["zsh", "--emulate", "sh"],
}
HELLO = Nonce("abcd", "efgh")
NONCE = Nonce("abcd", "ef23")


# -- the check ---------------------------------------------------------------------------------------------------------


def in_shell(shell: str, lines: list[bytes]) -> list[str]:
    """The check of each line as a real shell works it out; `bad` where it refuses one."""
    text = readable_program()
    function = text[text.index("h_digest() {") : text.index("# -- What the guest has")]
    script = f"LC_ALL=C; set -f; h_blank=$(printf '\\{ord(BLANK):03o}')\n{function}\n"
    script += "while IFS= read -r h_text; do if h_digest; then echo $h_check; else echo bad; fi; done"
    data = b"".join(line + b"\n" for line in lines)
    done = subprocess.run([*SHELLS[shell], "-c", script], input=data, capture_output=True, check=True)
    return done.stdout.decode().split("\n")[:-1]


def ours(line: bytes) -> str:
    try:
        return str(digest(line))
    except ValueError:
        return "bad"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_check_is_the_same_in_every_shell(shell: str) -> None:
    rng = random.Random(1)
    lines = [b"~", b"a b", b"a  b", b"a b ", b"~a  b  c ", bytes(range(0x21, 0x7F)), bytes(range(0x7E, 0x20, -1))]
    lines += [b"ab" + bytes([byte]) + b"cd" for byte in range(3, 256) if byte != 10]
    lines += ["".join(rng.choices(ALPHABET[1:] + "  ", k=size)).lstrip().encode() for size in range(1, 150)]
    lines += ["".join(rng.choices(ALPHABET[1:], k=size)).encode() for size in (300, 640, 1000)]
    assert in_shell(shell, lines) == [ours(line) for line in lines]


def changes(line: bytes, at: int) -> Iterator[bytes]:
    """Every change of the one character."""
    for new in range(0x21, 0x7F):
        if new != line[at]:
            yield line[:at] + bytes([new]) + line[at + 1 :]


def test_every_line_with_one_character_changed_has_another_check() -> None:
    rng = random.Random(2)
    for size in (1, 12, 18, 19, 37, 60, 120):
        line = "".join(rng.choices(ALPHABET[1:], k=size)).encode()
        right = digest(line)
        assert all(digest(other) != right for at in range(size) for other in changes(line, at))


def weights(size: int) -> list[list[int]]:
    """What one more in a digit adds to the check, for each of the three digits of each character."""
    base = b"!" * size
    found = []
    for new in (b"1", b"2", b"3"):
        found.append([(digest(base[:at] + new + base[at + 1 :]) - digest(base)) % PRIME for at in range(size)])
    return found


def test_no_two_changes_in_a_line_of_up_to_eighty_characters_cancel() -> None:
    """All that one character's change can add, of all positions: no two of them add up to nothing."""
    for size in (20, 60, 80):
        base = digest(b"!" * size)
        for at in range(0, size, 7):
            alone = {
                (digest(b"!" * at + bytes([c]) + b"!" * (size - at - 1)) - base) % PRIME for c in range(0x22, 0x7F)
            }
            assert len(alone) == 0x7F - 0x22
            assert 0 not in alone
        adds: set[int] = set()
        count = 0
        for at in range(size):
            here = {(digest(b"!" * at + bytes([c]) + b"!" * (size - at - 1)) - base) % PRIME for c in range(0x22, 0x7F)}
            both = here | {PRIME - value for value in here}
            count += len(both)
            adds |= both
        assert len(adds) == count


def one_digit() -> set[int]:
    """What a change of one digit of a check can add to it."""
    return {step * 10**place % PRIME for place in range(13) for step in range(-9, 10) if step}


def test_no_change_of_a_character_and_of_a_digit_of_the_check_holds() -> None:
    """A flipped bit at the end of a line must not be made good by a flipped bit in its check."""
    digits = one_digit()
    for size in (1, 2, 17, 18, 19, 36, 45, 60, 80, 120):
        added = weights(size)
        for at in range(size):
            for character in ALPHABET[1:]:
                line = b"!" * at + character.encode() + b"!" * (size - at - 1)
                change = (digest(line) - digest(b"!" * size)) % PRIME
                assert change not in digits, (size, at, character)
            # Of any character to any other: each of its three digits by up to four.
            first, second, third = (plane[at] for plane in added)
            assert not digits & {
                (a * first + b * second + c * third) % PRIME
                for a in range(-4, 5)
                for b in range(-4, 5)
                for c in range(-3, 4)
                if a or b or c
            }, (size, at)


def test_flipped_bits_in_a_request_and_in_its_check_are_never_believed() -> None:
    """All pairs of flipped bits, one of them in the check, of two requests as they are typed."""
    for command in ("echo 'a b'; echo 146 >&2; false", "exit 112"):
        line = request("R", NONCE, "b", command).rstrip(b"\n")
        separator = line[:1]
        text, _, check = line.rpartition(separator)
        for at in range(len(text)):
            for bit in range(7):
                other = text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :]
                if not other.isascii() or not other.decode().isprintable():
                    continue
                damaged = str(digest(other)).encode()
                changed = sum(one != two for one, two in zip(check, damaged, strict=False))
                assert len(check) != len(damaged) or changed > 1, (other, damaged, check)


def test_what_passes_at_random_is_one_in_a_prime() -> None:
    """The check is spread evenly: of 2 ** 40 values, 40,000 damaged lines meet none twice, and fill 64 boxes."""
    rng = random.Random(3)
    line = bytearray(b"~R~ab2d~ef3h~fe~echo~first~second;~exit~112")
    seen = set()
    boxes = [0] * 64
    for _ in range(40_000):
        other = bytearray(line)
        for _ in range(rng.randrange(2, 6)):
            at = rng.randrange(len(other))
            other[at : at + 1] = bytes(rng.choices(range(0x21, 0x7F), k=rng.randrange(3)))
        seen.add(bytes(other))
    checks = {digest(text) for text in seen}
    assert len(checks) == len(seen)
    assert digest(bytes(line)) not in checks - {digest(text) for text in seen if text == line}
    for check in checks:
        boxes[check * 64 // PRIME] += 1
    average = len(checks) / 64
    assert all(abs(count - average) < 6 * average**0.5 for count in boxes)


def test_what_the_old_sum_let_pass_is_told() -> None:
    line = request("R", NONCE, "f", "echo first second; exit 112")
    assert b" " not in line
    text = b"echo first second"
    others = (b"echo second first", b"echo\tfirst second", b"echo\xa0first second", b"ecoh first second", b"dcho girst")
    assert len({ours(text), *map(ours, others[2:])}) >= 3
    assert ours(b"echo\xa0first second") == ours(b"echo\tfirst second") == "bad"
    assert digest(b"exit 112") != digest(b"exit 121")
    assert digest(b"hello world") != digest(b"helo worlld")


# -- requests and their refusals ---------------------------------------------------------------------------------------

KNOWN = {
    "echo hello": Command(b"hello\n"),
    "echo 'a  b'; false": Command(b"a  b\n", b"", 1),
    "printf '%s\\n' 0123456789abcdef0123456789; exit 6": Command(b"0123456789abcdef0123456789\n", b"", 6),
}
REQUESTS = [
    request("N", NONCE),
    request("R", NONCE, "b", "echo hello"),
    request("S", NONCE),
    request("E", Nonce("abcd", "ef28"), "abcd", "ef23", "16"),
    request("S", Nonce("zzzz", "zzzz")),
    request("R", Nonce("abcd", "ef24"), "f", "echo 'a  b'; false"),
    request("R", Nonce("abcd", "ef25"), "fenk20", "printf '%s\\n' 0123456789abcdef0123456789; exit 6"),
    request("L", Nonce("abcd", "ef25"), "p", "7", "1p;2p;"),
    request("E", Nonce("abcd", "ef26"), "abcd", "ef25", "16"),
    request("E", Nonce("abcd", "ef26"), "abcd", "ef25", "16"),
    request("S", Nonce("abcd", "ef26")),
    request("E", Nonce("abcd", "ef29"), "abcd", "ef25", "16"),
    request("K", Nonce("abcd", "ef26"), "TERM"),
    request("K", Nonce("abcd", "ef25"), "TERM"),
    request("F", Nonce("abcd", "ef26")),
    request("A", NONCE, "0", "echo~hello".replace("~", " ")),
    request("A", NONCE, "10", " more"),
    request("A", NONCE, "10", " more"),
    request("I", NONCE, "0", "some\\0012input"),
    request("D", NONCE, "n"),
    request("D", NONCE, "n"),
]


def damaged_lines(seed: int, count: int) -> list[bytes]:
    """Requests with one fault each, cut into lines as a terminal would; the whole ones among them now and then."""
    rng = random.Random(seed)
    lines: list[bytes] = []
    while len(lines) < count:
        line = rng.choice(REQUESTS)
        faults = list(single_faults(rng.randrange(len(line) - 1)))
        hurt = rng.choice(faults)(line, 0) if rng.random() < 0.85 else line
        parts = hurt.replace(b"\r", b"\n").split(b"\n")
        # What a terminal itself takes for an end or an erasure is not for a pipe to show.
        lines += parts[: -1 if parts[-1] == b"" else None]
    return lines


@pytest.mark.parametrize("shell", SHELLS)
def test_the_model_says_what_the_program_says_in_a_real_shell(shell: str, tmp_path: Path) -> None:
    """The same lines, damaged and whole, to both, one after the other."""
    lines = [line[:-1] for line in REQUESTS] + damaged_lines(4, 500) + [line[:-1] for line in REQUESTS]
    pieces = program(name="model", hello=("abcd", "efgh"), inline=256, dirs=(str(tmp_path),))
    # zsh ends where it is told to control jobs and has no terminal.
    typed = " ".join(pieces).replace("set -m 2>/dev/null;", ":;" if shell == "zsh" else "set -m 2>/dev/null;")
    process = subprocess.Popen(
        [*SHELLS[shell], "-c", f"g=; eval {shlex.quote(typed)}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        greeting = process.stdout.readline()
        assert greeting.startswith(b"abcdefgh<Nhello:"), (greeting, process.poll())
        said = greeting.split(b"<", 1)[1].rsplit(b"|", 1)[0].decode()
        model = GuestModel(HELLO, KNOWN, greeting=said)
        for line in lines:
            if b"\0" in line and shell == "zsh":
                continue  # the others drop it, zsh has it in the line and refuses that
            process.stdin.write(line + b"\n")
            process.stdin.flush()
            wanted = b"".join(piece for _, piece in model.receive(line))
            got = b"".join(process.stdout.readline() for _ in range(wanted.count(b"\n")))
            assert got == wanted, line
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(scaled(20))
    assert model.unknown == []


def test_a_damaged_request_does_nothing_and_is_refused_by_nobody() -> None:
    """Every single fault at every byte of every kind of request: it is whole, or the answer names none."""
    refused = 0
    for line in REQUESTS:
        for at in range(len(line) - 1):
            for fault in single_faults(at):
                hurt = fault(line, 0)
                model = GuestModel(HELLO, KNOWN)
                for part in hurt.replace(b"\r", b"\n").split(b"\n")[:-1]:
                    for _, said in model.receive(part):
                        if said.startswith(b"abcdefgh<!|"):
                            refused += 1
                        else:
                            assert part.replace(b"\0", b"") == line[:-1], (line, hurt)
                assert model.unknown == []
    assert refused > 10_000


def test_a_damaged_answer_is_none() -> None:
    """Every single fault at every byte of every kind of answer: what is believed is what was said."""
    answers = [
        GuestModel.say(NONCE.whole, body)
        for body in (
            "=112:6:0:a  b c~",
            "+0k:w:3:-:0",
            "S-",
            "S*",
            "S*s",
            "K-",
            "Kr",
            "Ke",
            "L7",
            "F-",
            "E-",
            "!full",
            "A640",
        )
    ]
    data = f"{NONCE.tag}p1:aGVsbG8gd29ybGQK"
    answers += [f"{data}|{digest(data)}.\n".encode(), GuestModel.say(HELLO.whole, "!")]

    def believed(stream: bytes) -> tuple[object, ...]:
        exchange = Exchange(NONCE, guest=HELLO, checked=True)
        exchange.feed(stream + b"\n")
        lines = [(name, *sorted(found.lines.items())) for name, found in exchange._streams.items() if found.lines]
        return exchange._answer, exchange._bulk, tuple(exchange.messages()), exchange.refused, tuple(lines)

    nothing = believed(b"")
    for answer in answers:
        right = believed(answer)
        assert right != nothing
        for at in range(len(answer)):
            for fault in single_faults(at):
                assert believed(fault(answer, 0)) in (right, nothing), (answer, fault(answer, 0))


def test_a_frame_whose_nonce_was_hit_is_damage_and_a_late_one_is_not() -> None:
    late = GuestModel.say("zzzzyyyy", "=0:0:0:")
    for stream, damaged in ((late, 0), (late.replace(b"zy", b"z"), 1), (b"total |12> 34.\n", 0)):
        exchange = Exchange(NONCE, guest=HELLO)
        exchange.feed(stream)
        assert exchange.damaged == damaged, stream


# -- conversations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_clean_conversation_has_the_answer(scenario: Scenario) -> None:
    outcome = converse(scenario, 1)
    assert isinstance(outcome.verdict, Answer)
    assert outcome.bad == ""


@pytest.mark.parametrize("scenario", SCENARIOS[:4], ids=lambda scenario: scenario.name)
def test_no_single_fault_is_believed_or_runs_a_command_twice(scenario: Scenario) -> None:
    """A seeded share; `python -m benchmarks.serial_model` has every byte of every scenario."""
    figures = every_single_fault(scenario, every=5, first=2)
    assert figures.bad == []
    # What is left are bytes that end the shell (Ctrl-C) or stop it.
    assert figures.answers + figures.failures[Failure.TIMEOUT] > figures.conversations * 0.99


def test_no_double_fault_burst_or_rate_is_believed() -> None:
    figures = random_faults(range(400))
    assert figures.bad == []
    assert figures.answers > figures.conversations * 0.9


def test_a_refusal_of_a_question_is_none_of_the_command() -> None:
    """A status poll that loses a digit of its nonce, verb or check: the command is not run again."""
    slow = SCENARIOS[2]
    clean = converse(slow, 1)
    first = len(request("R", NONCE, slow.mode, slow.text))
    for at in range(first - 2, clean.typed):
        for fault in single_faults(at):
            outcome = converse(slow, 1, fault)
            assert outcome.bad == "", at


def test_an_answer_that_is_said_anew_is_no_second_command() -> None:
    """Rates at which answers are asked for under new nonces, some of which arrive late, twice, or not at all."""
    for seed in range(150):
        rng = random.Random(seed)
        for scenario in (SCENARIOS[0], SCENARIOS[4]):
            outcome = converse(scenario, seed, RandomFaults(rng, rate=0.03), RandomFaults(rng, rate=0.03))
            assert outcome.bad == "", seed


def test_what_never_arrives_was_not_run_and_says_so() -> None:
    """Only commands are hurt, so the guest can confirm that it ran none of them."""

    def hurt(data: bytes, start: int) -> bytes:
        del start
        return data[:20] + b"x" + data[20:] if data.startswith((b"~R", b"^R")) else data

    outcome = converse(SCENARIOS[0], 1, hurt)
    assert outcome.verdict is Failure.NOT_RUN
    assert outcome.bad == ""


def test_an_answer_that_never_arrives_is_no_timeout() -> None:
    def hurt(data: bytes, start: int) -> bytes:
        del start
        return data.replace(b"112:", b"121:").replace(b"112k:", b"121k:")

    outcome = converse(SCENARIOS[0], 1, from_guest=hurt)
    assert outcome.verdict in (Failure.UNREADABLE, Failure.STUCK)
    assert outcome.bad == ""


@pytest.mark.parametrize("answered", [True, False])
def test_a_command_that_arrives_shortly_before_its_deadline_has_not_timed_out(answered: bool) -> None:
    """The line, and not the command, took the time. It is ended, and its end is seen, or only acknowledged (`Kr`)."""
    slow = Scenario("late", "sleep 1.5; echo done", Command(b"done\n", seconds=1.5), deadline=2.0)

    def verdict(lost: int) -> Answer | Failure:
        def hurt(data: bytes, start: int) -> bytes:
            nonlocal lost
            del start
            lost -= data.startswith(b"~R")
            return data[:20] + b"x" + data[20:] if lost >= 0 and data.startswith(b"~R") else data

        def unanswered(data: bytes, start: int) -> bytes:
            del start
            return data if answered or b"143k" not in data else b""

        outcome = converse(slow, 1, hurt, unanswered)
        assert outcome.bad == ""
        return outcome.verdict

    assert verdict(1) == Answer(0, b"done\n", b"")
    assert verdict(34) is Failure.LATE
    still = Scenario("ended", "sleep 50", Command(b"", seconds=50.0), deadline=2.0)
    assert converse(still, 1).verdict == Answer(143, b"", b"", ended=True)


def test_a_guest_that_is_suspended_for_a_while_is_waited_for() -> None:
    """As with a laptop's lid, or QMP's `stop`: for as long as half of the deadline, from any moment of the command."""
    answer = Answer(0, b"done\n", b"")
    for begin in (0.0, 0.001, 0.3, 1.0, 1.499):
        command = Command(b"done\n", seconds=1.5)
        suspended = Scenario("suspended", "sleep 1.5", command, deadline=90.0, suspended=(begin, begin + 30.0))
        outcome = converse(suspended, 1)
        assert (outcome.verdict, outcome.bad) == (answer, ""), begin
        short = replace(suspended, deadline=20.0)
        outcome = converse(short, 1)
        assert (outcome.verdict, outcome.bad) == (Failure.DEAD, ""), begin


def test_an_answer_that_is_too_long_for_the_line_is_said_in_shorter_lines() -> None:
    def hurt(data: bytes, start: int) -> bytes:
        del start
        return data if len(data) < 90 else data[:50] + data[51:]

    for scenario in (SCENARIOS[0], SCENARIOS[5]):
        text = "echo it"
        command = Command(scenario.command.stdout * 8, b"", 7)
        outcome = converse(Scenario("long", text, command), 1, from_guest=hurt)
        assert outcome.verdict == Answer(7, command.stdout, b"")
        assert outcome.bad == ""


def a_dialogue() -> Dialogue:
    """Return one from 100 s to 200 s of a clock, whose command has no arguments."""
    return Dialogue(
        lambda tries: (),
        lambda nonce, checked: Exchange(nonce, guest=Nonce.fresh()),
        now=100.0,
        reserve=1.0,
        deadline=200.0,
    )


@pytest.mark.parametrize(
    ("states", "given_up"),
    [
        ([(0.0, "*s"), (0.0, "*s")], False),
        ([(0.0, "*s"), (0.09, "*s")], False),
        ([(0.0, "*s"), (0.11, "*s")], True),
        ([(0.0, "*s"), (0.11, "*"), (0.12, "*s")], False),
        ([(0.0, "*s"), (0.11, "*"), (0.12, "*s"), (0.3, "*s")], True),
        ([(0.0, "*x")], True),
    ],
)
def test_output_is_held_open_where_that_was_said_at_two_moments(
    states: list[tuple[float, str]], given_up: bool
) -> None:
    """A question that was typed twice is answered twice at one moment; who carries the output may not have run yet."""
    dialogue = a_dialogue()
    for after, state in states:
        dialogue.answered_at = 100.0 + after
        dialogue._take_state(state)
    assert dialogue._given_up is given_up


@pytest.mark.parametrize(
    ("states", "written", "verdict"),
    [
        (["*"], False, Failure.TIMEOUT),
        (["*", "*d"], True, Failure.TIMEOUT),
        (["*d", "*s"], False, Failure.UNREADABLE),
        (["*d", "*a"], False, Failure.UNREADABLE),
    ],
)
def test_a_command_that_has_ended_is_not_said_to_run(states: list[str], written: bool, verdict: Failure) -> None:
    """What it left behind goes on writing to its output: the time-out says so."""
    dialogue = a_dialogue()
    dialogue.step(100.0, 100.0)
    for state in states:
        dialogue._take_state(state)
    assert dialogue.is_written is written
    assert dialogue.at_deadline(200.0) is verdict
