"""Executable inventories: run with `--list`, and with `--host NAME` where `_meta` is missing.

The protocol: Ansible's documentation, "Developing dynamic inventory / Inventory scripts".
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping

from harness.bounded import MOST
from harness.errors import UsageError
from harness.inventory.documents import json_error, load_json
from harness.inventory.draft import AddChild, AddGroup, AddHosts, Draft, SetVars
from harness.inventory.places import Assigned, Book, Place
from harness.inventory.tree import assigned
from harness.inventory.values import Located, Unsafe, kind

SCRIPT_SECONDS = 300.0
"""Of one call of a script."""
ALL_CALLS_SECONDS = 900.0
"""Of all calls of a script in one load: without `_meta` it is run once for each host."""
_SHOWN = 2000

Run = Callable[[list[str]], str]
"""Runs the script with these arguments; returns what it printed. Raises UsageError."""


class ProgramOutputs:
    """What inventory programs printed, by path and arguments: it is remembered, and what is given is not asked for
    again, so that a later load has the same inventory."""

    def __init__(self, known: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.by_path: dict[str, dict[str, str]] = {path: dict(texts) for path, texts in (known or {}).items()}

    def runner(self, path: str, run: Run) -> Run:
        """Return `run`, which runs the program at `path`, with this memory."""

        def remembered(arguments: list[str]) -> str:
            key = json.dumps(arguments)
            texts = self.by_path.get(path, {})
            if key not in texts:
                text = run(arguments)
                texts = self.by_path.setdefault(path, {})
                texts[key] = text
            return texts[key]

        return remembered


class NotAScriptError(Exception):
    """The file's executable bit is set, but it is neither a program nor has a `#!` line."""


class ScriptRunner:
    """Runs an inventory script with a limit of time for each call and for all of them, and with one of MOST bytes for
    what all of them print. On expiry the script's whole process group is ended."""

    def __init__(
        self, path: str, book: Book, *, seconds: float = SCRIPT_SECONDS, all_seconds: float = ALL_CALLS_SECONDS
    ) -> None:
        """`seconds` are for one call, `all_seconds` for all of them together."""
        self._path = path
        self._book = book
        self._seconds = seconds
        self._all_seconds = all_seconds
        self._calls = 0
        self._spent = 0.0  # seconds
        self._printed = 0  # bytes

    def __call__(self, arguments: list[str]) -> str:
        """Return what the script prints when it is run with these arguments. Raises UsageError where it fails or goes
        beyond a limit, NotAScriptError where the file is no program."""
        shown = " ".join([self._path, *arguments])
        began = time.monotonic()
        self._calls += 1
        process = self._started(arguments)
        left = self._all_seconds - self._spent
        try:
            out, err = _outputs(process, min(self._seconds, left), MOST - self._printed)
        except subprocess.TimeoutExpired:
            if self._seconds <= left:
                raise self._error(f"the inventory script {shown!r} did not end within {self._seconds:.0f} s") from None
            raise self._over(f"takes more than {self._all_seconds:.0f} s") from None
        except OverflowError:
            if self._calls == 1:
                raise self._error(f"the inventory script {shown!r} printed more than {MOST >> 20} MiB") from None
            raise self._over(f"prints more than {MOST >> 20} MiB") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()
            self._spent += time.monotonic() - began
        self._printed += len(out)
        complaint = err.decode("utf-8", "backslashreplace").strip()[-_SHOWN:]
        if process.returncode:
            how = (
                f"was ended by signal {-process.returncode}"
                if process.returncode < 0
                else f"ended with status {process.returncode}"
            )
            raise self._error(
                f"the inventory script {shown!r} {how}",
                hint=f"It wrote: {complaint}" if complaint else "It wrote nothing to standard error.",
            )
        try:
            return out.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._error(
                f"the inventory script {shown!r} printed bytes that are no UTF-8 (at byte {error.start})"
            ) from None

    def _started(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [self._path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            with open(self._path, "rb") as stream:
                if error.errno == 8 and stream.read(2) != b"#!":
                    raise NotAScriptError from None
            reason = error.strerror or str(error)
            raise self._error(
                f"the inventory script cannot be run: {reason}", hint="Check its first line (#!)."
            ) from None

    def _over(self, what: str) -> UsageError:
        return self._error(
            f"the inventory script {self._path!r} {what} in all: it was run {self._calls} times, once for each host",
            hint="Have it print '_meta' with the 'hostvars' of all hosts for --list: it is run once then.",
        )

    def _error(self, message: str, hint: str = "") -> UsageError:
        return self._book.error(message, Place(self._path), hint=hint)


def _outputs(process: subprocess.Popen[bytes], seconds: float, most: int) -> tuple[bytes, bytes]:
    """Return all of standard output and the end of standard error, when the process has ended. Raises TimeoutExpired,
    and OverflowError where it prints more than `most` bytes."""
    end = time.monotonic() + seconds
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, kept in ((process.stdout, out), (process.stderr, err)):
            selector.register(stream, selectors.EVENT_READ, kept)
        while selector.get_map():
            remaining = end - time.monotonic()
            if remaining <= 0:
                raise subprocess.TimeoutExpired(process.args, seconds)
            for key, _ in selector.select(remaining):
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    selector.unregister(key.fileobj)
                key.data.extend(piece)
            if len(out) > most:
                raise OverflowError
            if len(err) > 8 * _SHOWN:
                del err[: -4 * _SHOWN]
    process.wait(max(0.0, end - time.monotonic()))
    return bytes(out), bytes(err)


def read_script(draft: Draft, run: Run) -> None:
    """Runs the script and reads its JSON into `draft`. Raises UsageError; NotAScriptError when it is none."""
    document = _parse(run(["--list"]), f"{draft.path} --list", draft.book)
    here = Place(f"{draft.path} --list")
    if not isinstance(document, Located):
        raise draft.book.error(f"the inventory script printed {kind(document)}, expected a mapping of groups", here)
    hostvars = _hostvars(draft, document, here)
    hosts: dict[str, Place] = {}
    for name, data in document.items():
        if name != "_meta":
            _group(draft, str(name), data, document.place(name), hosts)
    if hostvars is None and hosts:
        draft.notice("the inventory script gives no '_meta', so it is run once more for each host", here)
    for host, place in hosts.items():
        values: object
        if hostvars is None:
            text = run(["--host", host])
            values = _parse(text, f"{draft.path} --host {host}", draft.book) if text.strip() else {}
            place = Place(f"{draft.path} --host {host}")
        else:
            values = hostvars.get(host, {})
        if not isinstance(values, Mapping):
            raise draft.book.error(f"the variables of host {host!r} must be a mapping, got {kind(values)}", place)
        draft.steps.append(AddHosts([host], None, None, assigned(values, place), place))


def _parse(text: str, path: str, book: Book) -> object:
    book.keep(path, text.splitlines())
    try:
        return load_json(text, path)
    except json.JSONDecodeError as error:
        if not text.strip():
            raise book.error("the inventory script printed nothing, expected JSON", Place(path)) from None
        raise json_error(error, path, book) from None
    except (ValueError, RecursionError) as error:
        raise book.error(f"this JSON cannot be read: {error}", Place(path)) from None


def _hostvars(draft: Draft, document: Located, here: Place) -> Mapping[object, object] | None:
    meta = document.get("_meta", {})
    place = document.place("_meta")
    if not isinstance(meta, Mapping):
        raise draft.book.error(f"'_meta' must be a mapping, got {kind(meta)}", place)
    profile = meta.get("profile", "inventory_legacy")
    if not isinstance(profile, str) or not profile.startswith("inventory_"):
        raise draft.book.error(f"'_meta.profile' is no inventory's: {profile!r}", place)
    if "_meta" not in document:
        return None
    found = meta.get("hostvars")
    if not isinstance(found, Mapping):
        raise draft.book.error(f"'_meta.hostvars' must be a mapping, got {kind(found)}", place)
    return found


def _group(draft: Draft, name: str, data: object, place: Place, hosts: dict[str, Place]) -> None:
    def error(message: str, at: Place = place) -> UsageError:
        return draft.book.error(f"group {name!r}: {message}", at)

    draft.steps.append(AddGroup(name, place))
    if not isinstance(data, Located):
        # Ansible's oldest form: the group is its list of hosts.
        data = _wrap(place, hosts=data)
    elif not data.keys() & {"hosts", "vars", "children"}:
        # ... and the other one: the group is its only host, and all keys are variables, never templates.
        variables = {key: Assigned(_untrusted(value), data.place(key)) for key, value in data.items()}
        draft.notice(f"group {name!r} has none of hosts, vars, children: read as a host with these variables", place)
        hosts[name] = place
        draft.steps.append(AddHosts([name], name, None, {}, place))
        draft.steps.append(SetVars(name, {str(key): value for key, value in variables.items()}))
        return
    if "hosts" in data:
        names = data["hosts"]
        if not isinstance(names, list):
            raise error(f"'hosts' must be a list, got {kind(names)}", data.place("hosts"))
        for host in names:
            if not isinstance(host, str) or not host:
                raise error(f"{host!r} in 'hosts' is no name", data.place("hosts"))
            hosts.setdefault(host, data.place("hosts"))
        draft.steps.append(AddHosts(names, name, None, {}, data.place("hosts")))
    if "vars" in data:
        values = data["vars"]
        if not isinstance(values, Mapping):
            raise error(f"'vars' must be a mapping, got {kind(values)}", data.place("vars"))
        draft.steps.append(SetVars(name, assigned(values, data.place("vars"))))
    if "children" in data:
        children = data["children"]
        if not isinstance(children, (list, Mapping)):
            raise error(f"'children' must be a list, got {kind(children)}", data.place("children"))
        for child in children:
            draft.steps.append(AddGroup(child, data.place("children")))
            draft.steps.append(AddChild(name, child, data.place("children")))


def _wrap(place: Place, **sections: object) -> Located:
    found = Located(place)
    found.update(sections)
    return found


def _untrusted(value: object) -> object:
    if isinstance(value, str):
        return Unsafe(value)
    if isinstance(value, Mapping):
        return {key: _untrusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_untrusted(item) for item in value]
    return value
