"""Which host and user names are refused: OpenSSH's own rules (`valid_hostname`, `valid_ruser` of its ssh.c, 9.6 and
later), held before a name is expanded in a `ProxyCommand` or a `Match exec`, which a shell of this machine runs.
"""

from __future__ import annotations

from harness.errors import UsageError

_NOT_IN_HOSTS = frozenset("'`\"$\\;&<>|(){}")
_NOT_IN_USERS = frozenset("'`\";&<>|(){}")
_BLANKS = frozenset(" \t\n\v\f\r")


def host_name_problem(name: str) -> str:
    """Return why `name` cannot be a host's name or address, as ssh sees it; empty when it can."""
    if name.startswith("-"):
        return "it starts with a dash"
    return _odd(name, _NOT_IN_HOSTS | _BLANKS)


def user_name_problem(name: str) -> str:
    """Return why `name` cannot be a user's name, as ssh sees it; empty when it can."""
    if name.startswith("-"):
        return "it starts with a dash"
    if any(char in _BLANKS and name[at + 1 : at + 2] == "-" for at, char in enumerate(name)):
        return "it has a dash after a blank"
    if name.endswith("\\"):
        return "it ends with a backslash"
    return _odd(name, _NOT_IN_USERS)


def check_host_name(owner: str, variable: str, name: str) -> None:
    """Raise UsageError where ssh would refuse `name`. `owner` is the inventory's host, `variable` what named it."""
    if problem := host_name_problem(name):
        raise UsageError(
            f"{owner!r}: {variable} is {name!r}, which ssh refuses as a host name: {problem}",
            hint="Write the host's name or address; what an alias cannot hold stands in ansible_host.",
        )


def check_user_name(owner: str, variable: str, name: str) -> None:
    """Raise UsageError where ssh would refuse `name` as a user."""
    if problem := user_name_problem(name):
        raise UsageError(
            f"{owner!r}: {variable} is {name!r}, which ssh refuses as a user name: {problem}",
            hint="Write the name of the user to log in as.",
        )


def _odd(name: str, refused: frozenset[str]) -> str:
    for char in name:
        if char < " " or char == "\x7f":
            return f"it holds the control character {char!r}"
        if char in refused:
            return f"it holds {char!r}"
    return ""
