"""The guest's program made short: the same program, whatever its layout and its names."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import IO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.transport.serial import requests
from harness.transport.serial.guest import DIRS, fill, packed, program, readable_program
from harness.transport.serial.plain import analyse
from harness.transport.serial.requests import Nonce
from harness.transport.serial.typed import cut, shorten
from tests.patience import scaled

SHELLS = {
    "sh": ["sh"],
    "dash": ["dash"],
    "bash": ["bash", "--posix"],
    "busybox": ["busybox", "sh"],
    "zsh": ["zsh", "--emulate", "sh"],
}
OURS = re.compile(r"(?<![A-Za-z0-9_])h[A-Z0-9]{1,2}(?![A-Za-z0-9_])")

SHORTENED = [
    ("# a comment\n  a;\n\n    # another\n\tb;\n", "a; b;"),
    ("a '#' \"# b\" c#d $# ${#x} ${x#y} \\# ; # e 'f\nb;", "a '#' \"# b\" c#d $# ${#x} ${x#y} \\# ; b;"),
    ("a;# no blank before it\nb;", "a; b;"),
    ("h_x=1;\necho $h_x ${h_x} ${#h_x} ${h_x:-$h_x};", "hA=1; echo $hA ${hA} ${#hA} ${hA:-$hA};"),
    ('echo "$h_x ${h_x%"$h_x"} $((h_x+$h_x*(h_x)))";', 'echo "$hA ${hA%"$hA"} $((hA+$hA*(hA)))";'),
    ('h_f() {\n  :;\n};\nh_f "$(h_f; (h_f))"&', 'hA() { :; }; hA "$(hA; (hA))"&'),
    ("for h_i in a b; do\n  read -r h_i h_j <f;\ndone;", "for hA in a b; do read -r hA hB <f; done;"),
    ("$h_a $h_ab $h_ab $xh_a xh_a oh_a=1 $h;", "$hB $hA $hA $xh_a xh_a oh_a=1 $h;"),
    ("x=$(case $h_x in\n  a) b;;\n  *)\n    c;;\nesac; d);\ne;", "x=$(case $hA in a) b;; *) c;; esac; d); e;"),
    ("case \"$h_a;\" in\n  *') # '*) b;;\nesac;", "case \"$hA;\" in *') # '*) b;; esac;"),
    (
        "a |\n  b &&\n  c ||\n  d \\\n  e &\nif f; then\n  g;\nelse\n  (\n  i ) \\\n;\nfi",
        "a | b && c || d e & if f; then g; else ( i ) ; fi",
    ),
    ("awk '{print;}\n    END{print \"#x\"}';", None),
    ("awk '{print;\n    x}\n    END{y}' f;", "awk '{print; x} END{y}' f;"),
    ("echo $hA $hC $h_x 'hB';", "echo $hA $hC $hD 'hB';"),
    ("printf '%s  %s' \"a  b\" $((1<<2));", "printf '%s  %s' \"a  b\" $((1<<2));"),
    ('echo "\'" $h_x "\'" \'"\' $h_x;', 'echo "\'" $hA "\'" \'"\' $hA;'),
    ("", ""),
]


@pytest.mark.parametrize(("source", "wanted"), SHORTENED)
def test_shortened(source: str, wanted: str | None) -> None:
    if wanted is None:  # a `#` in quotes over several lines may begin a comment, which would swallow what follows
        with pytest.raises(ValueError, match="line 1: single quotes over lines"):
            shorten(source)
    else:
        assert shorten(source) == wanted


REFUSED = [
    ("a;\nb\nc;", "line 2: the line ends with 'b'"),
    ("{ a; }\nb;", "line 1: the line ends with '{ a; }'"),
    ("if a; then\n  b;\nfi\nc;", "line 3: the line ends with 'fi'"),
    ("x=$(a)\nb;", r"line 1: the line ends with 'x=\$\(a\)'"),
    ("x=$(case a in\n  b) c;;\nesac)\nd;", r"line 3: the line ends with 'esac\)'"),
    ("a # comment;\nb;", "line 1: the line ends with 'a'"),
    ("find . -exec a \\;\nb;", "line 1: the line ends with"),
    ("echo then\nb;", "line 1: the line ends with 'echo then'"),
    ("echo {\nb;", r"line 1: the line ends with 'echo \{'"),
    ("for x in\na; do b; done;", "line 1: the line ends with 'for x in'"),
    ("a;\nb\\\nc;", "line 2: a line goes on with a backslash"),
    ('a;\necho "b;\nc";', "line 2: a double quote that does not end"),
    ('echo "b \\\nc";', "line 1: a line goes on inside quotes"),
    ("echo 'b\nc';", "line 1: single quotes over lines"),
    ("a;\n\necho 'b;", "line 3: a single quote without its end"),
    ("echo ${x:-\na};", "line 1: an expansion that does not end"),
    ("echo $((1 +\n1));", "line 1: `\\$\\(\\(` that does not end"),
    ("a;\n( b;\nc;", "line 2: a `\\(` without its"),
    ("a;\nb; )", "line 2: a `\\)` without its"),
    ("cat <<E;\nh_x\nE\n", "line 1: a here-document"),
    ("echo `h_x`;", "line 1: a backquote"),
    ('echo "`h_x`";', "line 1: a backquote"),
    ("echo $'h_x';", "line 1: \\$'"),
    ("trap 'h_leave' 0;", "line 1: a name of ours in single quotes"),
    ('echo "h_x";', "line 1: h_x in a double quote"),
    ("echo ${x:-h_x};", "line 1: h_x in an expansion"),
    ("a;\necho /tmp/h_x;", "line 2: h_x in a longer word"),
    ("echo h_x.txt;", "line 1: h_x in a longer word"),
    ("x=h_x;", "line 1: h_x in a longer word"),
    ('echo h_x"$y";', "line 1: h_x in a longer word"),
    ("echo $1h_x;", "line 1: h_x in a longer word"),
    ("echo a\\ h_x;", "line 1: h_x in a longer word"),
    ("echo $(a)h_x;", "line 1: h_x in a longer word"),
]


@pytest.mark.parametrize(("source", "why"), REFUSED)
def test_refused_with_its_line(source: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}"):
        shorten(source)


def test_the_most_frequent_names_are_the_shortest_and_there_are_enough() -> None:
    names = [f"h_n{i}" for i in range(200)]
    source = ";\n".join(f"{name}={i}; : " + " ".join([f"${name}"] * (i % 7)) for i, name in enumerate(names)) + ";"
    short = shorten(source)
    assert short == shorten(source)
    found = re.findall(r"(?:^|; )(h\w+)=(\d+);", short)
    assert [int(i) for _, i in found] == list(range(200))
    assert len({name for name, _ in found}) == 200
    assert {len(name) for name, i in found if int(i) % 7 == 6} == {2}


# Programs that say what they did, so that what they mean can be compared: statements, each a line or several.
_VALUES = st.sampled_from(["h_a", "h_b", "h_ab", "h_long_name"])
_STATEMENTS: st.SearchStrategy[str] = st.deferred(
    lambda: st.lists(_SIMPLE | _COMPOUND, min_size=1, max_size=4).map("\n".join)
)
_TEXTS = st.sampled_from(["#", "a  b", "# no comment", ";", "{", "do", "'", "(", "|", "\\\\", "x=1", "case x in"])


def _fill(template: str) -> st.SearchStrategy[str]:
    """The template with a name for each @N and a text for each @T."""

    @st.composite
    def filled(draw: st.DrawFn) -> str:
        return "".join(
            draw(_VALUES) if part == "@N" else draw(_TEXTS) if part == "@T" else part
            for part in re.split(r"(@[NT])", template)
        )

    return filled()


_SIMPLE: st.SearchStrategy[str] = st.one_of(
    *map(
        _fill,
        [
            '@N="@T"; # a comment; with "quotes',
            '    printf \'<%s>\\n\' "$@N @T ${@N}" \\\n        "${#@N}" $((${#@N}+1));',
            '# @N is "@T\n@N="$@N@T";',
            "@N=$(printf '%s #' \"${@N#a}\");",
            'printf %s "$@N" | # to\n\tcat;',
            '[ -n "$@N" ] &&\n    @N=;',
            '@N="${@N:-"@T"}";',
        ],
    )
)
_COMPOUND: st.SearchStrategy[str] = st.builds(
    lambda frame, inside: frame.replace("@S", inside),
    st.one_of(
        *map(
            _fill,
            [
                'if [ "$@N" = "@T" ]; then\n  @S\nelse\n  :;\nfi;',
                "for @N in a '#' \"b  c\"; do # each\n@S\ndone;",
                'case "$@N" in # what\n  "@T") @S\n    :;;\n  *)\n    @S\n    echo other;;\nesac;',
                "{\n@S\n} |\ncat;",
                "( @S\n  : );",
                "h_f() { # again\n  @S\n};\nh_f;",
                '@N="$( @S\n  echo end)";',
            ],
        )
    ),
    _STATEMENTS,
)


@given(_STATEMENTS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_does_what_it_did(source: str) -> None:
    """Laid out or typed, dash says the same; and what is typed is one line without any of our long names."""
    short = shorten(source)
    assert "\n" not in short
    assert "h_" not in short
    laid_out, typed = (
        subprocess.run(["dash", "-c", text], capture_output=True, stdin=subprocess.DEVNULL, timeout=scaled(60))
        for text in (source, short)
    )
    assert b"yntax" not in laid_out.stderr
    assert (laid_out.stdout, laid_out.returncode) == (typed.stdout, typed.returncode)


@given(st.text(alphabet="h_aA1 $\"'{}()#;|&\\\n=`<x", max_size=40))
@settings(max_examples=500, deadline=None)
def test_anything_is_shortened_or_refused(source: str) -> None:
    try:
        said = shorten(source)
    except ValueError as error:
        said = str(error)
        assert re.match(r"line [1-9]\d*: ", said)
    assert "\n" not in said


@given(st.lists(st.text("ab;", min_size=1, max_size=30), min_size=1).map(" ".join), st.integers(40, 80))
def test_pieces_join_to_what_they_were_cut_from(line: str, limit: int) -> None:
    pieces = cut(line, limit)
    assert " ".join(pieces) == line
    assert all(0 < len(piece) <= limit for piece in pieces)


# -- the program itself ----------------------------------------------------------------------------------------------


def both(folder: str = "/tmp") -> dict[str, str]:
    """The program as people read it and as it is typed, for the same console."""
    name, hello = "harness-abcd2345", ("abcd", "efgh")
    return {
        "laid out": fill(readable_program(), name=name, hello=hello, inline=1000, dirs=(folder,)),
        "typed": " ".join(program(name=name, hello=hello, inline=1000, dirs=(folder,))),
        "compressed": " ".join(program(name=name, hello=hello, inline=1000, dirs=(folder,), has_tools=True)),
    }


def test_what_does_without_gzip_and_base64_is_typed_only_where_they_are_missing() -> None:
    whole, shorter = readable_program(), readable_program(has_tools=True)
    assert not re.search(r"\bh_spell\b|\bh_cut_text\b|-d '' -n 1|\bod -An|^ *# [][]", shorter, re.MULTILINE)
    assert len(re.findall(r"^ *# \[ only", whole, re.MULTILINE)) == whole.count("# ]\n") == 5
    pieces = program(name="harness-abcd2345", hello=("abcd", "efgh"), inline=256, dirs=DIRS, has_tools=True)
    assert sum(map(len, packed(pieces))) < 6600


@pytest.mark.parametrize("kind", ["laid out", "typed", "compressed"])
@pytest.mark.parametrize("shell", SHELLS)
def test_the_program_is_well_formed(shell: str, kind: str, tmp_path: Path) -> None:
    text = both()[kind]
    assert re.search("@[A-Z]+@", text) is None
    (tmp_path / "program").write_text(text)
    ran = subprocess.run([*SHELLS[shell], "-n", tmp_path / "program"], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_program_does_not_take_longer_to_type() -> None:
    pieces = program(name="harness-abcd2345", hello=("abcd", "efgh"), inline=1000, dirs=DIRS)
    assert sum(map(len, pieces)) < 14_900
    assert all(piece.isascii() and piece.isprintable() and len(piece) <= 700 for piece in pieces)


def test_no_command_that_is_known_meets_the_names_that_are_typed() -> None:
    """What speaks of one of them gets a shell of its own."""
    typed = both()["typed"]
    assert "h_" not in typed
    names = set(OURS.findall(typed))
    assert len(names) > 60
    for name in names:
        for command in (
            f"echo ${name}",
            f"echo ${{{name}}}",
            f"echo ${{#{name}}}",
            f"{name}=1 ls",
            f"{name}=1; true",
            name,
        ):
            assert not analyse(command).fork, command


def request(verb: str, *arguments: str) -> str:
    return requests.request(verb, Nonce("abcd", "ef23"), *arguments).decode()  # type: ignore[arg-type]


def other(verb: str, number: int, *arguments: str) -> str:
    """A request with another nonce."""
    return requests.request(verb, Nonce("abcd", f"ef2{number + 3}"), *arguments).decode()  # type: ignore[arg-type]


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_the_program_says_the_same_however_it_is_laid_out(shell: str, tmp_path: Path) -> None:
    lines = [
        request("N"),
        request("R", "b", "echo hello; echo b >&2; false"),
        request("S"),
        other("R", 1, "f", "echo 'a  b'; exit 3"),
        other("S", 1),
        request("I", "0", "some\\0012input\\0000"),
        request("D", "n"),
        other("R", 2, "fin", "cat; echo e >&2"),
        request("A", "0", "echo ${x-long}"),
        other("R", 3, "pa", "-"),
        other("R", 4, "fe", "echo $?; exit 5"),
        other("R", 4, "fe", "it is not run again"),
        other("R", 5, "fenk20", "printf '%s\\n' 0123456789abcdef0123456789; exit 6"),
        other("L", 5, "p", "7", "1p;"),
        other("S", 5).replace("~", "^"),
        request("S"),
        request("Q"),
        request("K", "TERM"),
        request("X"),
    ]
    said = {}
    for kind, text in both(str(tmp_path)).items():
        process = subprocess.Popen(
            [*SHELLS[shell], "-c", f"g=; eval {shlex.quote(text)}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        answers = [_answer(process.stdout)]
        for line in lines:
            process.stdin.write(line)
            process.stdin.flush()
            answers.append(_answer(process.stdout))
        assert process.wait() == 0
        process.stdin.close()
        process.stdout.close()
        assert list(tmp_path.iterdir()) == []
        said[kind] = [re.sub(r"(hello):\d+:(.*\|)\d+", r"\1:\2", answer) for answer in answers]
    assert said["typed"] == said["laid out"]
    bodies = [answer.splitlines()[-1].split("<")[1].split("|")[0] for answer in said["typed"]]
    assert bodies[2] == "=1:6:2:hello~b~"
    assert bodies[4] == "=3:5:0:a  b~"
    assert bodies[6] == "I19"
    assert bodies[8].startswith("+0:")
    assert bodies[10] == "=0:5:0:long~"
    assert bodies[11] == bodies[12] == "=5:2:0:0~"
    assert bodies[13] == "+6:w:2:-:0"
    assert said["typed"][14].startswith("cdefp1:MDEyMzQ1Njc4OWFiY2Rl|")
    assert bodies[14:] == ["L7", "!", "S-", "Q!", "K-", "Xbye"]


def _answer(stream: IO[str]) -> str:
    """All up to a message, which is the last that is said."""
    said = ""
    while True:
        line = stream.readline()
        assert line, f"it ended after {said!r}"
        said += line
        if re.match(r"abcdef2[3-9]<|abcdefgh<", line):
            return said
