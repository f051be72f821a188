"""A program that imports Python modules once and forks a child for each `python -m MODULE …` that a test starts.

`tests.forked.Forked` starts it and sends the requests. A child has the arguments, the folder, the environment, and the
three standard streams of its request, an exit status of its own, and is ended by signals as any other process.
"""

from __future__ import annotations

import sys

_CONTROL, _LISTED = int(sys.argv[1]), sys.argv[2:]
# `python -m` puts the current folder there, not that of this file: its neighbours must not hide anybody's modules.
del sys.path[0]

import contextlib  # noqa: E402
import fcntl  # noqa: E402
import gc  # noqa: E402
import importlib  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import pkgutil  # noqa: E402
import runpy  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import struct  # noqa: E402
import termios  # noqa: E402
from typing import Any  # noqa: E402

_LENGTH = struct.Struct("!I")


def _import(listed: list[str]) -> None:
    """Import each of the modules; `NAME.*` is all modules below a package, without the programs."""
    for name in listed:
        package = importlib.import_module(name.removesuffix(".*"))
        if name.endswith(".*"):
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                if module.name.rpartition(".")[2] != "__main__":
                    importlib.import_module(module.name)


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next request with its descriptors (stdin, stdout, stderr, and the socket to answer on), or None when
    there are no more."""
    head, descriptors, _, _ = socket.recv_fds(control, _LENGTH.size, 4)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head)
    body = b""
    while len(body) < length:
        body += control.recv(length - len(body))
    return json.loads(body), descriptors


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Make this process, a new child, what the request asks for."""
    for number in range(3):
        os.dup2(descriptors[number], number)
    for number in descriptors:
        os.close(number)
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["new_session"] or request["controlling_terminal"]:
        os.setsid()
    if request["controlling_terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.path.insert(0, request["cwd"])
    sys.argv[:] = ["-m", *request["arguments"]]
    sys.stdin = sys.__stdin__ = _stream(0, "r", sys.stdin)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w", sys.stdout)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w", sys.stderr)  # type: ignore[misc]


def _stream(number: int, mode: str, like: Any) -> Any:
    """Return a standard stream for a descriptor as Python makes it at its start, with the encoding of `like`."""
    buffer: Any = open(number, f"{mode}b", closefd=False)  # noqa: SIM115 - it lives as long as the process
    stream = io.TextIOWrapper(
        buffer, like.encoding, like.errors, newline="\n", line_buffering=number == 2 or os.isatty(number)
    )
    stream.mode = mode  # type: ignore[misc]
    return stream


def _serve(control: socket.socket) -> str:
    """Fork a child for each request, and send its exit status when it has ended. Return only in a child: the module
    that it is to run. The server ends when no process holds the other end of `control`."""
    wake_read, wake_write = socket.socketpair()
    wake_read.setblocking(False)
    wake_write.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests and for the children
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
    answering: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([control, wake_read], [], [])
        if wake_read in ready:
            wake_read.recv(4096)
            for pid in list(answering):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with answering.pop(pid) as answer:
                        _answer(answer, status)
        if control not in ready:
            continue
        received = _receive(control)
        if received is None:
            os._exit(0)
        request, descriptors = received
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for each in (control, wake_read, wake_write, *answering.values()):
                each.close()
            _become(request, descriptors)
            module: str = request["module"]
            return module
        for number in descriptors[:3]:
            os.close(number)
        answering[pid] = socket.socket(fileno=descriptors[3])
        _answer(answering[pid], pid)


def _answer(answer: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever started the child does not wait for it any more
        answer.sendall(_LENGTH.pack(number))


if __name__ == "__main__":
    _import(_LISTED)
    gc.collect()
    gc.freeze()  # a child's collections need not look at what was imported, nor copy its memory
    # As `python -m` does: in this module's namespace, and what it raises ends the process.
    runpy._run_module_as_main(_serve(socket.socket(fileno=_CONTROL)))  # type: ignore[attr-defined]
