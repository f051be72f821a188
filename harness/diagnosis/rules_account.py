"""Causes at the login: the account, its keys, and what sshd is set to. Pure."""

from __future__ import annotations

import fnmatch

from harness.diagnosis.evidence import Account, Evidence, KeyFile, MachineState, TransportObservation
from harness.diagnosis.rules import AT_LOGIN, Certainty, Found, StateRule
from harness.diagnosis.text import listed, quoted
from harness.transport.errors import Contact

_NO_LOGIN_SHELLS = ("nologin", "false", "true", "sync", "git-shell", "rssh", "scponly")
_REFUSED = frozenset((Contact.LOGIN_REFUSED, Contact.LOST))


def _account(evidence: Evidence) -> Account | None:
    return evidence.machine.account if evidence.machine is not None else None


def _day(day: int) -> str:
    """Return a day of shadow(5) as a date."""
    import datetime

    try:
        return str(datetime.date(1970, 1, 1) + datetime.timedelta(days=day))
    except OverflowError:
        return f"day {day}"


def no_account(evidence: Evidence, seen: TransportObservation) -> Found | None:
    account = _account(evidence)
    if account is None or account.exists:
        return None
    del seen
    return Found(f"the machine has no user {account.name}", Certainty.SAID, ("neither /etc/passwd nor getent has it",))


def account_expired(evidence: Evidence, seen: TransportObservation) -> Found | None:
    account, machine = _account(evidence), evidence.machine
    if account is None or machine is None or account.expires is None or machine.today is None:
        return None
    del seen
    if account.expires > machine.today:
        return None
    return Found(
        f"the account {account.name} has expired: /etc/shadow ends it on {_day(account.expires)}",
        Certainty.SAID,
        (f"the machine's date is {_day(machine.today)}",),
    )


def password_expired(evidence: Evidence, seen: TransportObservation) -> Found | None:
    account, machine = _account(evidence), evidence.machine
    if account is None or machine is None or machine.today is None or account.changed is None:
        return None
    del seen
    if account.changed == 0:
        return Found(
            f"the password of {account.name} must be changed before the account can be used",
            Certainty.SHOWN,
            ("/etc/shadow: the day of the last change is 0",),
        )
    if account.longest is None or account.longest >= 99999 or account.changed + account.longest >= machine.today:
        return None
    end = account.changed + account.longest
    grace = account.grace
    if grace is not None and grace >= 0 and end + grace < machine.today:
        what = f"the account {account.name} is closed: its password expired on {_day(end)} and was not changed in time"
    else:
        what = f"the password of {account.name} expired on {_day(end)}, and must be changed"
    return Found(
        what, Certainty.SHOWN, (f"/etc/shadow: changed on {_day(account.changed)}, valid for {account.longest} days",)
    )


def nologin_shell(evidence: Evidence, seen: TransportObservation) -> Found | None:
    account = _account(evidence)
    if account is None or not account.exists:
        return None
    del seen
    name = account.shell.rpartition("/")[2]
    if name in _NO_LOGIN_SHELLS:
        return Found(
            f"the login shell of {account.name} is {account.shell}: it runs no commands",
            Certainty.SAID,
            (f"/etc/passwd: shell {account.shell}",),
        )
    if account.shell and not account.shell_runs:
        return Found(
            f"the login shell of {account.name}, {account.shell}, does not exist or is not executable",
            Certainty.SAID,
            (f"/etc/passwd: shell {account.shell}",),
        )
    return None


def nologin_file(evidence: Evidence, seen: TransportObservation) -> Found | None:
    account, machine = _account(evidence), evidence.machine
    if machine is None or not machine.nologin or (account is not None and account.uid == 0):
        return None
    del seen
    path, text = machine.nologin[0]
    return Found(
        f"the machine lets no user but root log in: {path} exists (pam_nologin(8))",
        Certainty.SHOWN,
        (f"{path} says {quoted(text)}",) if text.strip() else (),
    )


def account_locked(evidence: Evidence, seen: TransportObservation) -> Found | None:
    account, machine = _account(evidence), evidence.machine
    if account is None or machine is None or account.password != "locked":  # noqa: S105 - a word, no password
        return None
    if _setting(machine, "usepam") == "yes":
        return None  # sshd leaves it to PAM, which lets keys in
    del seen
    return Found(
        f"the account {account.name} is locked, and sshd asks no PAM (UsePAM no)",
        Certainty.SHOWN,
        ("/etc/shadow: the password field begins with ! or *",),
    )


# -- what sshd is set to


def _setting(machine: MachineState, name: str) -> str:
    return " ".join(machine.settings.get(name, ()))


def _matches(patterns: tuple[str, ...], name: str) -> bool:
    """Return whether sshd's list of patterns names it (`PATTERNS` of ssh_config(5)); a host part is not looked at."""
    words = [word.partition("@")[0] if "@" in word else word for line in patterns for word in line.split()]
    if any(word.startswith("!") and fnmatch.fnmatchcase(name, word[1:]) for word in words):
        return False
    return any(fnmatch.fnmatchcase(name, word) for word in words if not word.startswith("!"))


def permit_root_login(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine, account = evidence.machine, _account(evidence)
    if machine is None or not machine.settings:
        return None
    is_root = account.uid == 0 if account is not None and account.uid is not None else seen.user == "root"
    value = _setting(machine, "permitrootlogin")
    if not is_root or value not in ("no", "forced-commands-only"):
        return None
    return Found(
        f"sshd refuses the login of {seen.user or 'root'}: PermitRootLogin is {value}",
        Certainty.SHOWN,
        (f"`sshd -T`: permitrootlogin {value}",),
    )


def user_lists(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine, account = evidence.machine, _account(evidence)
    if machine is None or not machine.settings or not seen.user:
        return None
    groups = account.groups if account is not None else ()
    deny, allow = machine.settings.get("denyusers", ()), machine.settings.get("allowusers", ())
    if deny and _matches(deny, seen.user):
        return _list_found(seen.user, "the user is listed in DenyUsers", "denyusers", deny)
    if allow and not _matches(allow, seen.user):
        return _list_found(seen.user, "the user is not listed in AllowUsers", "allowusers", allow)
    deny, allow = machine.settings.get("denygroups", ()), machine.settings.get("allowgroups", ())
    if deny and any(_matches(deny, group) for group in groups):
        return _list_found(seen.user, "a group of the user is listed in DenyGroups", "denygroups", deny)
    if allow and groups and not any(_matches(allow, group) for group in groups):
        return _list_found(seen.user, "no group of the user is listed in AllowGroups", "allowgroups", allow)
    return None


def _list_found(user: str, what: str, name: str, values: tuple[str, ...]) -> Found:
    return Found(f"sshd refuses {user}: {what}", Certainty.SHOWN, (f"`sshd -T`: {name} {quoted(' '.join(values))}",))


def methods_off(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None or not machine.settings:
        return None
    del seen
    several = _setting(machine, "authenticationmethods")
    if "," in several:
        return Found(
            f"sshd wants more than one proof for a login: AuthenticationMethods is {several}",
            Certainty.SHOWN,
            (f"`sshd -T`: authenticationmethods {several}",),
        )
    if _setting(machine, "pubkeyauthentication") == "no":
        return Found(
            "sshd takes no keys: PubkeyAuthentication is no",
            Certainty.SHOWN,
            ("`sshd -T`: pubkeyauthentication no",),
        )
    return None


def keys_missing(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None or not machine.knows("keys"):
        return None
    files = [each for each in machine.keys if each.is_file]
    user = seen.user or "the user"
    if _setting(machine, "authorizedkeysfile") == "none":
        return Found(
            "sshd reads no authorized keys: AuthorizedKeysFile is none",
            Certainty.SHOWN,
            ("`sshd -T`: authorizedkeysfile none",),
        )
    if not files:
        return None
    have = [each for each in files if each.exists]
    if not have:
        where = listed([each.path for each in files])
        verb = "does not exist" if len(files) == 1 else "do not exist"
        return Found(f"there is no file with authorized keys for {user}: {where} {verb}", Certainty.SHOWN)
    if all(each.keys == 0 for each in have):
        return Found(
            f"the authorized keys of {user} are empty: {listed([each.path for each in have])}", Certainty.SHOWN
        )
    if all(each.has_ours is False for each in have):
        counted = sum(each.keys or 0 for each in have)
        where = listed([each.path for each in have])
        return Found(
            f"the key that we offer is not among the authorized keys of {user}: {where} has {counted} "
            f"{'other' if counted == 1 else 'others'}",
            Certainty.SHOWN,
        )
    return None


def key_modes(evidence: Evidence, seen: TransportObservation) -> Found | None:
    """StrictModes: the file, its directory and the home must belong to the user or root, and nobody else may write."""
    machine = evidence.machine
    if machine is None or _setting(machine, "strictmodes") == "no":
        return None
    owner = machine.account.uid if machine.account is not None else None
    for each in machine.keys:
        if not each.exists or not each.mode:
            continue
        if problem := _mode_problem(each, owner):
            return Found(
                f"sshd ignores the authorized keys of {seen.user or 'the user'}: bad ownership or modes of "
                f"{each.path}, which {problem}",
                Certainty.SHOWN,
                (f"ls -l: {each.mode}, uid {each.uid}",),
            )
    return None


def _mode_problem(file: KeyFile, owner: int | None) -> str:
    if file.uid is not None and owner is not None and file.uid not in (0, owner):
        return f"belongs to uid {file.uid}"
    if len(file.mode) >= 10 and (file.mode[5] == "w" or file.mode[8] == "w"):
        return "others than its owner may write"
    if file.is_file and file.mode[0] not in "-l":
        return "is not a regular file"
    return ""


def use_dns(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None or _setting(machine, "usedns") != "yes":
        return None
    servers = listed(machine.nameservers) or "none"
    slow = seen.contact is Contact.LOGIN_TIMED_OUT
    return Found(
        "sshd waits for the name service before it answers a login (UseDNS yes)",
        Certainty.SHOWN if slow else Certainty.POSSIBLE,
        ("`sshd -T`: usedns yes", f"name servers: {servers}"),
    )


def force_command(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None:
        return None
    command = _setting(machine, "forcecommand")
    if command in ("", "none"):
        return None
    return Found(
        f"sshd runs a ForceCommand for {seen.user or 'the user'} in place of our commands: {quoted(command, 80)}",
        Certainty.SHOWN,
        ("`sshd -T`: forcecommand",),
    )


def settings_invalid(evidence: Evidence, seen: TransportObservation) -> Found | None:
    machine = evidence.machine
    if machine is None or not machine.settings_complaint:
        return None
    del seen
    return Found(
        f"sshd's settings are not valid: {quoted(machine.settings_complaint)}", Certainty.SHOWN, ("`sshd -T`",)
    )


ACCOUNT_RULES: tuple[StateRule, ...] = (
    StateRule("no-account", _REFUSED, no_account, lasting=True),
    StateRule("account-expired", AT_LOGIN, account_expired, lasting=True),
    StateRule("permit-root-login", _REFUSED, permit_root_login, lasting=True),
    StateRule("user-lists", _REFUSED, user_lists, lasting=True),
    StateRule("shell-nologin", AT_LOGIN, nologin_shell, lasting=True),
    StateRule("nologin-file", AT_LOGIN, nologin_file),
    StateRule("keys-missing", _REFUSED, keys_missing, lasting=True),
    StateRule("key-file-modes", _REFUSED, key_modes, lasting=True),
    StateRule("authentication-methods", _REFUSED, methods_off, lasting=True),
    StateRule("account-locked", _REFUSED, account_locked, lasting=True),
    StateRule("password-expired", AT_LOGIN, password_expired, lasting=True),
    StateRule("force-command", frozenset((Contact.NO_SHELL, Contact.LOST)), force_command, lasting=True),
    StateRule("use-dns", AT_LOGIN | {Contact.SILENT, Contact.KEX}, use_dns, lasting=True),
)
