"""Which ssh configuration files hold for this user, and how OpenSSH's client is made to read them.

OpenSSH takes the home folder from the password database; everything else (a shell's `~`, git, Ansible's paths) takes it
from `HOME`. Where the two differ, as in many containers, `HOME` counts here, as it does for keys and known hosts.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.transport.ssh.options import HONOURED_OPTIONS
from harness.user import home as user_home

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
MOST_NESTED = 16
"""Files that include each other, as in OpenSSH (`READCONF_MAX_DEPTH`)."""
_KEYWORD = re.compile(r"\s*([A-Za-z]+)(?:\s*=\s*|\s+)(.*)")


def user_config(home: Path | None = None) -> Path:
    """Return the user's configuration file, whether it is there or not."""
    return (home or user_home()) / ".ssh" / "config"


def has_client() -> bool:
    """Whether OpenSSH's client can be asked. It refuses to work for a user who is not in the password database."""
    return shutil.which("ssh") is not None and _database_home() is not None


def system_has_settings(path: Path = SYSTEM_CONFIG) -> bool:
    """Whether the system's configuration, or a file that it includes, has an option that this program honours. The one
    that distributions install has none, so that it is not worth asking ssh for each host."""
    return _has_settings(path, path.parent, 0)


def _has_settings(path: Path, folder: Path, depth: int) -> bool:
    for keyword, value, _ in _lines(_read(path)):
        if keyword == "include" and depth < MOST_NESTED:
            if any(_has_settings(each, folder, depth + 1) for each in _included(value, folder, user_home())):
                return True
        elif keyword in HONOURED_OPTIONS:
            return True
    return False


@dataclass(slots=True)
class ConfigArguments:
    """The arguments that make ssh read the configuration, and the names of its files in ssh's messages."""

    arguments: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)

    def readable(self, message: str) -> str:
        """Return a message of ssh with the names of the files that a person knows."""
        for given, name in self.names.items():
            message = message.replace(given, name)
        return message


@contextlib.contextmanager
def config_arguments(config_file: str | None) -> Iterator[ConfigArguments]:
    """Yield the arguments for one call of ssh: `-F` with the file that was named, none where ssh finds the user's file
    by itself, and else `-F` with a copy of it in memory, in which each `Include` names files below `HOME`."""
    home = user_home()
    if config_file:
        yield ConfigArguments(("-F", config_file))
    elif _database_home() == home or not user_config(home).is_file():
        yield ConfigArguments()
    else:
        with contextlib.ExitStack() as stack:
            made = ConfigArguments()
            # `-F` keeps ssh from reading the system's file, so it is included at the end.
            more = f"\nMatch all\nInclude {SYSTEM_CONFIG}\n" if SYSTEM_CONFIG.is_file() else ""
            copy = _copy(user_config(home), home, stack, made.names, more, 0)
            made.arguments = ("-F", copy)
            yield made


def _database_home() -> Path | None:
    """Return the home folder of the password database; None where the user is not in it."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None


def _copy(
    path: Path, home: Path, stack: contextlib.ExitStack, names: dict[str, str], more: str = "", depth: int = 0
) -> str:
    """Return the path of a copy, line by line, whose `Include` lines name copies of the files that they include."""
    lines = []
    for keyword, value, line in _lines(_read(path)):
        if keyword == "include" and depth < MOST_NESTED:
            files = _included(value, home / ".ssh", home)
            copies = [_copy(each, home, stack, names, depth=depth + 1) for each in files]
            line = f"Include {' '.join(copies)}" if copies else "# no file to include"
        lines.append(line)
    file = stack.enter_context(os.fdopen(os.memfd_create(path.name), "wb"))
    with contextlib.suppress(OSError):
        os.fchmod(file.fileno(), path.stat().st_mode & 0o777)  # ssh refuses an included file that others can write
    file.write(("\n".join(lines) + "\n" + more).encode("utf-8", "surrogateescape"))
    file.flush()
    # ssh closes all descriptors that it inherits, so it gets a name that leads to this process.
    name = f"/proc/{os.getpid()}/fd/{file.fileno()}"
    names[name] = str(path)
    return name


def _read(path: Path) -> str:
    """Return the text of a file, empty where it cannot be read: ssh passes over such an included one."""
    try:
        return path.read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def _lines(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield each line's keyword in lower case (empty where it has none), its value, and the line."""
    for line in text.split("\n"):
        found = _KEYWORD.match(line)
        yield (found[1].lower(), found[2].strip(), line) if found else ("", "", line)


def _included(value: str, folder: Path, home: Path) -> list[Path]:
    """Return the files that an `Include` names: relative ones are below `folder`."""
    try:
        patterns = shlex.split(value, comments=True)
    except ValueError:
        return []
    found = []
    for pattern in patterns:
        if pattern == "~" or pattern.startswith("~/"):
            pattern = f"{home}{pattern[1:]}"
        found += [Path(each) for each in sorted(glob.glob(os.path.join(folder, os.path.expanduser(pattern))))]
    return [path for path in found if path.is_file()]
