"""What became of commands and steps on a console, as text or as JSON lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from harness.cli.printing import raw, said
from harness.errors import ExitCode
from harness.printing import printable

if TYPE_CHECKING:
    from harness.operate.script import Answer
    from harness.operate.steps import Done

_SHOWN = 4096


class Answers:
    """Prints each command's answer when it is there, and knows the exit code in the end."""

    def __init__(self, name: str, *, as_json: bool, quiet: bool) -> None:
        self.count = 0
        self.exit_code = int(ExitCode.PASSED)
        self._name = name
        self._as_json = as_json
        self._quiet = quiet

    def tell(self, answer: Answer) -> None:
        """Prints it."""
        self.count += 1
        code = ExitCode.UNREACHABLE if answer.unanswered else ExitCode.FAILED if answer.failed else ExitCode.PASSED
        self.exit_code = max(self.exit_code, int(code))
        if self._as_json:
            said(self._plain(answer))
        else:
            self._text(answer)

    def _plain(self, answer: Answer) -> dict[str, Any]:
        result, error = answer.result, answer.error
        plain: dict[str, Any] = {"name": self._name, "line": answer.line.number, "command": answer.line.command}
        if result is not None:
            plain |= {
                "exit_status": result.exit_status,
                "stdout": result.stdout,
                "stderr": result.stderr,
                "transport": result.transport,
            }
        elif error is not None:
            plain |= {
                "exit_status": None,
                "stdout": getattr(error, "stdout", b""),
                "stderr": getattr(error, "stderr", b""),
                "transport": "serial",
                "error": str(error),
                "cause": str(error.cause),
            }
        return plain | {"duration": round(answer.duration, 6)}

    def _text(self, answer: Answer) -> None:
        result, error = answer.result, answer.error
        if not self._quiet:
            _put(sys.stdout, _ours(f"$ {answer.line.command}\n"))
        out: bytes = result.stdout if result is not None else getattr(error, "stdout", b"")
        err: bytes = result.stderr if result is not None else getattr(error, "stderr", b"")
        _put(sys.stdout, out)
        _put(sys.stderr, err)
        if result is not None and not self._quiet:
            newline = b"" if not out or out.endswith(b"\n") else b"\n"
            _put(sys.stdout, newline + f"[exit status {result.exit_status}, {answer.duration:.2f} s]\n".encode())
        if error is not None:
            _put(sys.stderr, _ours(f"harness: {error}\n"))


class StepLines:
    """Prints what the console says while steps are carried out, and what became of each."""

    def __init__(self, name: str, *, as_json: bool, quiet: bool) -> None:
        self._name = name
        self._as_json = as_json
        self._quiet = quiet
        self._open = False

    def output(self, data: bytes) -> None:
        """What the console said."""
        if not self._as_json:
            _put(sys.stdout, data)
            self._open = not data.endswith(b"\n")

    def tell(self, done: Done) -> None:
        """What became of a step."""
        from harness.operate.steps import Send

        kind = "send" if isinstance(done.step, Send) else "expect"
        if self._as_json:
            plain: dict[str, Any] = {"name": self._name, "step": done.number, kind: done.step.text}
            if kind == "expect":
                plain |= {"matched": done.matched is not None, "match": done.matched or b"", "seen": done.seen}
            said(plain | {"duration": round(done.duration, 6)})
        if done.failed:
            self.close()
            seen = done.seen[-_SHOWN:].decode("utf-8", "backslashreplace")
            told = "".join(f"    {line}\n" for line in seen.splitlines()) if seen.strip() else "    (nothing)\n"
            cut = f", the last {_SHOWN} bytes of it" if len(done.seen) > _SHOWN else ""
            words = f"step {done.number}: --expect {done.step.text!r} met nothing in {done.duration:.1f} s"
            _put(
                sys.stderr,
                _ours(f"harness: {words}; what {self._name} said since the match before{cut}:\n{told}"),
            )

    def close(self) -> None:
        """Ends the line that is open."""
        if self._open and not self._quiet:
            _put(sys.stdout, b"\n")
        self._open = False


def _put(stream: Any, data: bytes) -> None:
    if data:
        sys.stdout.flush()
        raw(stream, data)


def _ours(words: str) -> bytes:
    return printable(words).encode("utf-8", "backslashreplace")
