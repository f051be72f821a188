"""A shell program that is laid out for people, made short enough to be typed. Pure.

Comments and indentation are left out, the lines are joined by blanks, and each name that begins with ``h_`` gets a
short one (``h`` and one or two capitals or digits), the most frequent the shortest. What could change its meaning by
that is refused, with its line:

- a line that ends where no blank may stand instead: it may end with ``;``, ``|``, ``&``, ``{``, ``(``, `then`, `do`,
  `else`, a pattern's ``)``, the `in` of a `case`, or a backslash behind a blank. In single quotes it may end with
  ``;``, ``{`` or ``}``, because awk reads a blank there as it reads a newline; in double quotes nowhere.
- ``h_…`` where it may be no name: in single quotes, in double ones but as ``$h_…`` or ``${h_…``, in a longer word.
- here-documents and backquotes.
"""

from __future__ import annotations

import itertools
import re
import string
from collections import Counter
from typing import NoReturn

_NAME = re.compile(r"h_[A-Za-z0-9_]+")
_WORD = re.compile(r"[A-Za-z0-9_]+")
_OUR_NAME_IN = re.compile(r"(?<![A-Za-z0-9_])h_[A-Za-z0-9_]")
_CASE = re.compile(r"case[ \t][^\n]+?[ \t]in(?=\s)")
_LENGTH_OF = re.compile(r"#[A-Za-z_]")
_SPECIAL = re.compile(r"\$[#?!$*@\-0-9]")
_OPENS = r"(?:^|[;&|(){!]|(?:^|[\s;])(?:then|do|else|elif|if|while|until))\s*"
_CODE_MAY_END = re.compile(rf"(?<!\\)[;|&]$|{_OPENS}(?:\{{|\(|then|do|else)$|\$\($|(?:^|[\s;(])case .+ in$")
_WORDS_END = " \t\n;&|()<>"
_LETTERS = string.ascii_uppercase + string.digits


def shorten(source: str) -> str:
    """The program as one line. Raises ValueError, with the number of the line, for what cannot be typed so."""
    reader = _Reader(source)
    reader.code("")
    short = _short_names(reader.out)
    parts = [short[text] if kind == "name" else text for kind, text in reader.out]
    return " ".join(line.strip(" \t") for line in "".join(parts).split("\n") if line.strip(" \t"))


def _short_names(tokens: list[tuple[str, str]]) -> dict[str, str]:
    """A short name for each of ours, and none that stands in the program already."""
    counts = Counter(text for kind, text in tokens if kind == "name")
    taken = {word for kind, text in tokens if kind != "name" for word in _WORD.findall(text)}
    names = ("h" + "".join(rest) for size in (1, 2) for rest in itertools.product(_LETTERS, repeat=size))
    free = (name for name in names if name not in taken)
    return {name: next(free) for name in sorted(counts, key=lambda name: (-counts[name], name))}


def cut(line: str, limit: int) -> list[str]:
    """Cuts at blanks outside quotes' reach: the guest joins pieces with one blank, which must have been one."""
    pieces = []
    while len(line) > limit:
        at = line.rfind(" ", 0, limit)
        # Two blanks in a row would come back as one, and a blank at an end would be lost.
        while at > 0 and (line[at - 1] == " " or line[at + 1 : at + 2] == " "):
            at = line.rfind(" ", 0, at)
        if at <= 0:
            raise ValueError(f"no place to cut in {line!r}")
        pieces.append(line[:at])
        line = line[at + 1 :]
    pieces.append(line)
    return pieces


class _Reader:
    """Reads a program into `out`: names of ours (``name``), ends of patterns (``pattern``), all else (``text``).

    Comments are not in it, and a newline only where a line of code ends.
    """

    def __init__(self, source: str) -> None:
        self.out: list[tuple[str, str]] = []
        self._source = source
        self._at = 0
        self._line_begun = 0  # its place in `out`
        self._glued = -1  # where a word goes on, though what stands before could end one

    def code(self, end: str) -> None:
        """Commands, up to the `end` (``)``, or nothing for the program's)."""
        began, cases = self._at, 0
        while self._at < len(self._source):
            here = self._source[self._at]
            starts_word = self._starts_word()
            if here == ")" and cases:
                self._take(1, "pattern")
            elif here == ")":
                if not end:
                    self._refuse("a `)` without its `(`")
                self._take(1)
                return
            elif here == "(":
                self._take(1)
                self.code(")")
            elif here == "#" and starts_word:
                self._at = self._find("\n")
            elif here == "<" and self._source.startswith("<<", self._at):
                self._refuse("a here-document")
            elif here == "\n":
                self._end_line()
            elif here == "\\" and self._source.startswith("\n", self._at + 1):
                self._continue_line()
            elif word := _WORD.match(self._source, self._at):
                cases += starts_word and _CASE.match(self._source, self._at) is not None
                cases -= starts_word and word[0] == "esac" and cases > 0
                self._word(word[0], free=starts_word)
            else:
                self._quoting(here)
        if end:
            self._refuse("a `(` without its `)`", began - 1)
        self._end_line()

    # -- what stands in code -----------------------------------------------------------------------------------

    def _word(self, word: str, *, free: bool) -> None:
        if _NAME.fullmatch(word):
            after = self._source[self._at + len(word) : self._at + len(word) + 1]
            if not free or after not in f"{_WORDS_END}=":
                self._refuse(f"{word} in a longer word, where it may be no name")
            self._take(len(word), "name")
        else:
            self._take(len(word))

    def _starts_word(self) -> bool:
        return self._at != self._glued and (self._at == 0 or self._source[self._at - 1] in _WORDS_END)

    def _end_line(self) -> None:
        line = self._line()
        by_pattern = line.endswith(")") and self._last_kind() == "pattern"
        at_end = self._at >= len(self._source)
        if line and not at_end and not by_pattern and not _CODE_MAY_END.search(line):
            self._refuse(f"the line ends with {line[-12:]!r}, where no blank may follow instead of a newline")
        self._new_line(1)

    def _continue_line(self) -> None:
        if self._line() and not self.out[-1][1].endswith((" ", "\t")):
            self._refuse("a line goes on with a backslash that has no blank before it")
        self._new_line(2)

    def _new_line(self, length: int) -> None:
        self._at += length
        self.out.append(("text", "\n"))
        self._line_begun = len(self.out)

    def _line(self) -> str:
        return "".join(text for _, text in self.out[self._line_begun :]).strip(" \t")

    def _last_kind(self) -> str:
        return next(kind for kind, text in reversed(self.out) if text.strip(" \t"))

    # -- quotes and expansions ---------------------------------------------------------------------------------

    def _quoting(self, here: str, *, quoted: bool = False) -> None:
        """One quote, escape or expansion, or else one character. `quoted`: between double quotes."""
        if here == "`":
            self._refuse("a backquote; write $(…)")
        elif here == "\\":
            if self._source.startswith("\n", self._at + 1):
                self._refuse("a line goes on inside quotes or an expansion")
            self._take(2)
            self._glued = self._at
        elif here == "'" and not quoted:
            self._single()
        elif here == '"':
            self._take(1)
            self._until('"', "a double quote", self._at - 1, quoted=True)
        elif here == "$":
            self._expansion(quoted=quoted)
            self._glued = self._at
        else:
            self._take(1)

    def _single(self) -> None:
        end = self._find("'", self._at + 1)
        if end == len(self._source):
            self._refuse("a single quote without its end")
        text = self._source[self._at : end + 1]
        if _OUR_NAME_IN.search(text):
            self._refuse("a name of ours in single quotes, where it may be no name")
        lines = [line.strip(" \t") for line in text.split("\n")]
        if len(lines) > 1 and ("#" in text or not all(line.endswith((";", "{", "}")) for line in lines[:-1])):
            self._refuse("single quotes over lines that do not end with `;`, `{` or `}`, or that may hold a comment")
        self.out.append(("text", " ".join(lines) if len(lines) > 1 else text))
        self._at = end + 1

    def _until(self, end: str, what: str, began: int, *, quoted: bool) -> None:
        """Text with expansions in it, in which no name stands by itself; `what` it is, and where it began."""
        while self._at < len(self._source):
            here = self._source[self._at]
            if here == end:
                self._take(1)
                return
            if here == "\n":
                break
            if word := _WORD.match(self._source, self._at):
                if _NAME.fullmatch(word[0]):
                    self._refuse(f"{word[0]} in {what}, where it may be no name")
                self._take(len(word[0]))
            else:
                self._quoting(here, quoted=quoted)
        self._refuse(f"{what} that does not end in its line", began)

    def _expansion(self, *, quoted: bool) -> None:
        if self._source.startswith("$((", self._at):
            self._arithmetic()
        elif self._source.startswith("$(", self._at):
            self._take(2)
            self.code(")")
        elif self._source.startswith("${", self._at):
            began = self._at
            self._take(2)
            if _LENGTH_OF.match(self._source, self._at):
                self._take(1)
            if word := _WORD.match(self._source, self._at):
                self._parameter(word[0])
            self._until("}", "an expansion", began, quoted=quoted)
        elif special := _SPECIAL.match(self._source, self._at):
            self._take(len(special[0]))
        elif word := _WORD.match(self._source, self._at + 1):
            self._take(1)
            self._parameter(word[0])
        elif not quoted and self._source.startswith("$'", self._at):
            self._refuse("$'…', which not every shell knows")
        else:
            self._take(1)

    def _parameter(self, word: str) -> None:
        self._take(len(word), "name" if _NAME.fullmatch(word) else "text")

    def _arithmetic(self) -> None:
        """``$((…))``, where a name stands for its value with ``$`` or without."""
        began, depth = self._at, 0
        self._take(3)
        while self._at < len(self._source):
            here = self._source[self._at]
            if here == ")" and not depth:
                if not self._source.startswith("))", self._at):
                    break
                self._take(2)
                return
            if here == "\n":
                break
            if word := _WORD.match(self._source, self._at):
                self._parameter(word[0])
                continue
            depth += (here == "(") - (here == ")")
            self._quoting(here, quoted=True)
        self._refuse("`$((` that does not end with `))` in its line", began)

    # -- the text ----------------------------------------------------------------------------------------------

    def _take(self, length: int, kind: str = "text") -> None:
        self.out.append((kind, self._source[self._at : self._at + length]))
        self._at += length

    def _find(self, text: str, start: int | None = None) -> int:
        found = self._source.find(text, self._at if start is None else start)
        return len(self._source) if found < 0 else found

    def _refuse(self, what: str, at: int | None = None) -> NoReturn:
        line = self._source.count("\n", 0, self._at if at is None else at) + 1
        raise ValueError(f"line {line}: {what}")
