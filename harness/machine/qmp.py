"""QMP, QEMU's control protocol: one JSON object a line over a unix socket.

The protocol: https://www.qemu.org/docs/master/interop/qmp-spec.html
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, MachineError

_POLL = 0.1
_KEPT_EVENTS = 256


class QmpError(MachineError):
    """QEMU refused a command, or its control socket does not answer. `kind` is QMP's error class, or empty."""

    def __init__(self, message: str, *, kind: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


class QmpClient:
    """A connection to one QEMU. Commands may come from any thread; they are served in turn."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._rest = b""
        self._next = 0
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT_EVENTS)

    def connect(self, deadline: Deadline, *, alive: Callable[[], bool] = lambda: True) -> None:
        """Waits for the socket, and for the greeting on it. Raises :class:`QmpError` when `alive` says no, or on
        the deadline; :class:`Cancelled`."""
        doing = f"waiting for QEMU's control socket {self.path}"
        with self._lock:
            while self._socket is None:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    sock.connect(str(self.path))
                    self._socket = sock
                except (FileNotFoundError, ConnectionRefusedError):
                    # QEMU makes the socket a moment after it starts.
                    sock.close()
                    self._check(deadline, doing, alive)
                    deadline.sleep(0.01)
                except OSError as error:
                    sock.close()
                    raise QmpError(f"{self.path}: {error.strerror}") from error
            try:
                while "QMP" not in self._message(deadline, doing, alive):
                    pass
                self._execute("qmp_capabilities", {}, deadline)
            except BaseException:
                self._drop()
                raise

    def execute(self, command: str, *, deadline: Deadline, **arguments: Any) -> Any:
        """What QEMU returns for `command`. Raises :class:`QmpError` with QEMU's own words."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        with self._lock:
            return self._execute(command, named, deadline)

    def human(self, line: str, *, deadline: Deadline) -> str:
        """Runs a line of QEMU's human monitor (some things have no other way) and returns its text."""
        return str(self.execute("human-monitor-command", deadline=deadline, command_line=line))

    def events(self, *, deadline: Deadline) -> list[dict[str, Any]]:
        """The events since the last call; waits for at least one until `deadline`, then returns an empty list."""
        with self._lock:
            while not self._events:
                try:
                    self._keep(self._message(deadline, "waiting for an event of QEMU"))
                except DeadlineExpired:
                    break
            found = list(self._events)
            self._events.clear()
            return found

    def close(self) -> None:
        """Ends the connection; QEMU goes on. Safe to call twice."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._rest = b""

    def _execute(self, command: str, arguments: dict[str, Any], deadline: Deadline) -> Any:
        if self._socket is None:
            raise QmpError(f"not connected to {self.path}")
        self._next += 1
        ident = self._next
        request = {"execute": command, "arguments": arguments, "id": ident}
        try:
            self._socket.settimeout(max(_POLL, deadline.remaining()))
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise QmpError(f"QEMU's control socket is gone: {error}") from error
        while True:
            try:
                answer = self._message(deadline, f"waiting for QEMU's answer to {command}")
            except DeadlineExpired as error:
                raise QmpError(f"QEMU did not answer {command} in time") from error
            if answer.get("id") == ident:
                if "error" in answer:
                    error_words = answer["error"]
                    raise QmpError(f"QEMU refused {command}: {error_words['desc']}", kind=error_words["class"])
                return answer.get("return")
            # An answer to a command that we gave up before is dropped with its id.
            self._keep(answer)

    def _keep(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._events.append(message)

    def _message(self, deadline: Deadline, doing: str, alive: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        while b"\n" not in self._rest:
            if self._socket is None:
                raise QmpError(f"not connected to {self.path}")
            self._check(deadline, doing, alive)
            self._socket.settimeout(min(_POLL, max(0.001, deadline.remaining())))
            with contextlib.suppress(TimeoutError):
                try:
                    chunk = self._socket.recv(65536)
                except TimeoutError:
                    raise
                except OSError as error:
                    raise QmpError(f"QEMU's control socket is gone: {error}") from error
                if not chunk:
                    raise QmpError("QEMU closed its control socket")
                self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        message = json.loads(line)
        assert isinstance(message, dict), "QMP speaks in objects"
        return message

    @staticmethod
    def _check(deadline: Deadline, doing: str, alive: Callable[[], bool]) -> None:
        if not alive():
            raise QmpError("QEMU ended")
        deadline.check(doing)
