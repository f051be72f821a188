"""Causes that the machine's own log gives: what sshd, PAM and the TCP wrappers write (auth.c, auth2*.c, sshd.c, servconf.c
and misc.c of OpenSSH 7.4 to 10.0; the modules of Linux-PAM 1.3 to 1.6; hosts_access(3)). Pure."""

# ruff: noqa: E501 - a row of a table is easier to read as one line

from __future__ import annotations

from harness.diagnosis.rules import ANY, AT_LOGIN, BEFORE_GREETING, Certainty, TextRule, at, text_rule
from harness.transport.errors import Contact

_NOT_ALLOWED = r"User (?P<user>\S+) from \S+ not allowed because "

_AT_LOGIN = at(
    AT_LOGIN,
    # -- who may log in (sshd_config(5))
    text_rule(
        "permit-root-login", r"^ROOT LOGIN REFUSED FROM ",
        "sshd refuses the login of root: PermitRootLogin does not allow it", lasting=True, only_user="root",
    ),
    text_rule(
        "allow-users", _NOT_ALLOWED + "not listed in AllowUsers",
        "sshd refuses {user}: the user is not listed in AllowUsers", lasting=True,
    ),
    text_rule(
        "deny-users", _NOT_ALLOWED + "listed in DenyUsers",
        "sshd refuses {user}: the user is listed in DenyUsers", lasting=True,
    ),
    text_rule(
        "deny-groups", _NOT_ALLOWED + "a group is listed in DenyGroups",
        "sshd refuses {user}: a group of the user is listed in DenyGroups", lasting=True,
    ),
    text_rule(
        "allow-groups", _NOT_ALLOWED + "(?:none of user's groups are listed in AllowGroups|not in any group)",
        "sshd refuses {user}: no group of the user is listed in AllowGroups", lasting=True,
    ),
    text_rule(
        "shell-missing", _NOT_ALLOWED + r"shell (?P<shell>\S+) does not exist",
        "sshd refuses {user}: the login shell {shell} does not exist", lasting=True,
    ),
    text_rule(
        "shell-not-executable", _NOT_ALLOWED + r"shell (?P<shell>\S+) is not executable",
        "sshd refuses {user}: the login shell {shell} is not executable", lasting=True,
    ),
    text_rule(
        "account-locked", _NOT_ALLOWED + "account is locked",
        "sshd refuses {user}: the account is locked", lasting=True,
    ),
    text_rule(
        "no-account", r"^(?:Invalid user (?P<user>\S+) from|input_userauth_request: invalid user (?P<other>\S+))",
        "sshd refuses {user}: the machine has no such user", lasting=True,
    ),
    # -- keys
    text_rule(
        "key-file-modes",
        r"^Authentication refused: bad ownership or modes for (?:directory|file) (?P<path>.+)$",
        "sshd ignores the authorized keys of {user}: bad ownership or modes of {path}", lasting=True,
    ),
    text_rule(
        "key-file-not-a-file", r"^(?:User \S+ )?[Aa]uthorized keys (?:file )?(?P<path>\S+) is not a regular file",
        "sshd ignores the authorized keys of {user}: {path} is not a regular file", lasting=True,
    ),
    text_rule(
        "key-file-unreadable",
        r"^(?:error: )?Could not open (?:user '[^']*' )?authorized keys '(?P<path>[^']+)': (?P<why>.+)$",
        "sshd cannot read the authorized keys of {user}, {path}: {why}", lasting=True,
    ),
    text_rule(
        "key-restricted-source", r"^Authentication tried for (?P<user>\S+) with correct key but not from a permitted host",
        "sshd refuses the key of {user}: its from= option does not permit the address that we come from", lasting=True,
    ),
    text_rule(
        "key-algorithm", r"(?:key type (?P<type>\S+) not in PubkeyAccepted(?:Algorithms|KeyTypes))",
        "sshd refuses the key of {user}: the key type {type} is not in PubkeyAcceptedAlgorithms", lasting=True,
    ),
    text_rule(
        "key-revoked", r"(?:Authentication key .* revoked by file|WARNING: authentication attempt with a revoked)",
        "sshd refuses the key of {user}: it is revoked (RevokedKeys)", lasting=True,
    ),
    text_rule(
        "certificate-expired", r"(?:^|: )[Cc]ertificate invalid: (?P<why>expired|not yet valid)",
        "sshd refuses the certificate of {user}: it is {why} by the machine's clock", lasting=True,
    ),
    text_rule(
        "certificate-principal", r"[Cc]ertificate (?:invalid: name is not a listed principal|does not contain an authorized principal)",
        "sshd refuses the certificate of {user}: it does not name this user", lasting=True,
    ),
    # -- PAM
    text_rule(
        "account-expired", r"pam_unix\([\w-]+:account\): account (?P<user>\S+) has expired \(account expired\)",
        "the account {user} has expired (shadow(5))", lasting=True,
    ),
    text_rule(
        "password-expired", r"pam_unix\([\w-]+:account\): expired password for user (?P<user>\S+?) \((?P<why>[^)]+)\)",
        "the password of {user} has expired: {why}", lasting=True,
    ),
    text_rule(
        "password-inactive",
        r"pam_unix\([\w-]+:account\): account (?P<user>\S+) has expired \((?P<why>failed to change password)\)",
        "the account {user} has expired: its password was not changed in time", lasting=True,
    ),
    text_rule(
        "pam-access", r"pam_access\([\w-]+:\w+\): access denied for user [`'](?P<user>[^`']+)'",
        "pam_access refuses {user}: /etc/security/access.conf does not allow the login", lasting=True,
    ),
    text_rule(
        "pam-faillock", r"pam_(?:faillock|tally2?)\([\w-]+:\w+\): (?:Consecutive login failures for user (?P<user>\S+) account temporarily locked|user (?P<other>\S+) .*tally)",
        "pam_faillock has locked {user} after failed logins",
    ),
    text_rule(
        "pam-listfile", r"pam_listfile\([\w-]+:\w+\): Refused user (?P<user>\S+)",
        "pam_listfile refuses {user}", lasting=True,
    ),
    text_rule(
        "pam-succeed-if", r"pam_succeed_if\([\w-]+:\w+\): requirement \"(?P<why>[^\"]*)\" not met by user \"(?P<user>[^\"]*)\"",
        "pam_succeed_if refuses {user}: the requirement {why} is not met", lasting=True,
    ),
    text_rule(
        "pam-time", r"pam_time\([\w-]+:\w+\)",
        "pam_time refuses {user}: /etc/security/time.conf does not allow the login at this time",
    ),
    text_rule(
        "pam-limits", r"pam_limits\([\w-]+:session\): (?:[Tt]oo many logins|[Cc]ould not set limit|error .*limit).*",
        "pam_limits refuses the session of {user}", lasting=True,
    ),
    text_rule(
        "pam-module-missing", r"PAM (?:unable to dlopen|adding faulty module)[:(]? ?(?P<module>[^):]+)",
        "PAM cannot load a module that sshd's PAM settings name: {module}", lasting=True,
    ),
    text_rule(
        "pam-account", r"Access denied for user (?P<user>\S+) by PAM account configuration",
        "PAM refuses the account {user}", certainty=Certainty.SHOWN,
    ),
    text_rule(
        "pam-session", r"PAM: pam_open_session\(\): (?P<why>.+)",
        "PAM opens no session for {user}: {why}",
    ),
)  # fmt: skip
_BEFORE_LOGIN = at(
    BEFORE_GREETING | {Contact.CLOSED_AFTER_TEXT, Contact.NOT_SSH, Contact.KEX, Contact.LOST},
    text_rule(
        "hosts-deny", r"^(?:warning: )?refused connect from (?P<peer>\S+)",
        "the TCP wrappers refuse the connection: /etc/hosts.deny matches {peer}", lasting=True,
    ),
    text_rule(
        "max-startups", r"(?:past MaxStartups|beginning MaxStartups throttling)",
        "sshd drops the connection: MaxStartups logins are under way already",
    ),
    text_rule(
        "penalties", r"drop connection .* (?:penalty:|PerSourcePenalties)",
        "sshd drops the connection: PerSourcePenalties shuts the source out for a while after failed logins",
    ),
    text_rule(
        "max-startups-source", r"past PerSourceMaxStartups",
        "sshd drops the connection: PerSourceMaxStartups logins from one source are under way already",
    ),
    text_rule(
        "negotiation", r"Unable to negotiate with \S+ port \d+: (?P<why>no matching [^.]+)",
        "sshd and the harness have no common algorithm: {why}", lasting=True,
    ),
    text_rule(
        "host-key-missing", r"(?:no hostkeys available|sshd: no hostkeys)",
        "sshd has no usable host key", lasting=True,
    ),
    text_rule(
        "host-key-modes", r"Permissions (?P<mode>\d+) for '(?P<path>[^']+)' are too open",
        "sshd ignores its host key {path}: the permissions {mode} are too open", lasting=True,
    ),
    text_rule(
        "port-taken", r"Bind to port (?P<port>\d+) on (?P<on>\S+) failed: Address already in use",
        "sshd cannot listen on port {port}: another program does", lasting=True,
    ),
    text_rule(
        "listen-address", r"Bind to port (?P<port>\d+) on (?P<on>\S+) failed: Cannot assign requested address",
        "sshd cannot listen on {on}: the machine does not have that address (ListenAddress)",
    ),
    text_rule(
        "settings-invalid", r"^(?P<file>/\S+)(?: line |: line )(?P<line>\d+): (?P<why>(?:Bad|Unsupported|[Mm]issing|[Ii]nvalid|keyword|Deprecated option .* fatal).+)",
        "sshd's settings are not valid: {file} line {line}: {why}", lasting=True,
    ),
    text_rule(
        "privsep-directory", r"Missing privilege separation directory: (?P<path>\S+)",
        "sshd cannot serve: its privilege separation directory {path} is missing",
    ),
    text_rule(
        "privsep-user", r"Privilege separation user (?P<who>\S+) does not exist",
        "sshd cannot serve: its user {who} does not exist", lasting=True,
    ),
)  # fmt: skip
_LATER = at(
    AT_LOGIN,
    text_rule(
        "max-auth-tries", r"maximum authentication attempts exceeded for (?:invalid user )?(?P<user>\S+)",
        "sshd ended the login of {user}: more keys and passwords were offered than MaxAuthTries allows", lasting=True,
    ),
    text_rule(
        "login-grace-time", r"(?:fatal: )?[Tt]imeout before authentication for",
        "sshd ended the login of {user}: it was not through within LoginGraceTime",
    ),
    text_rule(
        "wrong-password", r"^Failed password for (?P<user>\S+) from",
        "the password of {user} is refused: it is another one", lasting=True,
    ),
    text_rule(
        "chroot", r"(?:bad ownership or modes for chroot directory(?: component)?|chroot\(\")\s*\"?(?P<path>[^\"]+)\"?",
        "sshd cannot put {user} into ChrootDirectory {path}", lasting=True,
    ),
    text_rule(
        "no-terminal", r"(?:openpty|session_pty_req: session \d+ alloc failed|pty allocation)",
        "sshd gets no terminal for {user}",
    ),
    text_rule(
        "key-not-authorized", r"^Failed publickey for (?P<user>\S+) from",
        "sshd refuses the key of {user}: it is not among the authorized keys",
        lasting=True, certainty=Certainty.SHOWN,
    ),
)  # fmt: skip
_ALWAYS = at(
    ANY,
    text_rule(
        "fork", r"fork(?: of unprivileged child)?(?: failed)?: (?P<why>Cannot allocate memory|Resource temporarily unavailable)",
        "sshd cannot start a process for the connection: {why}",
    ),
    text_rule(
        "disk-full", r"(?:No space left on device)", "the machine has no space left on a filesystem",
    ),
)  # fmt: skip

LOG_RULES: tuple[TextRule, ...] = (*_AT_LOGIN, *_BEFORE_LOGIN, *_LATER, *_ALWAYS)
"""Those that are the reason come before those that only follow from it."""
