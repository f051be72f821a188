"""Each cause as a row: recorded evidence in, the name of the cause and its headline out."""

# ruff: noqa: E501, W291 - a row of a table is easier to read as one line

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.diagnosis.answers import parse_answer, parse_iptables, parse_nft
from harness.diagnosis.diagnose import LONGEST_HEADLINE, STATE_RULES, diagnose
from harness.diagnosis.evidence import Evidence, LogLine, MachineState, TransportObservation
from harness.diagnosis.rules import Certainty
from harness.diagnosis.rules_log import LOG_RULES
from harness.diagnosis.rules_text import CONSOLE_RULES, OUTSIDE, RECEIVED_RULES
from harness.transport.errors import Contact

TC = """\
dev ens3
filter parent ffff: protocol ip pref 49152 u32 chain 0
filter parent ffff: protocol ip pref 49152 u32 chain 0 fh 800: ht divisor 1
filter parent ffff: protocol ip pref 49152 u32 chain 0 fh 800::800 order 2048 key ht 800 bkt 0 terminal flowid ??? not_in_hw  (rule hit 31 success 12)
  match 00000016/0000ffff at nexthdr+0 (success 12 )
\taction order 1: gact action drop
\t random type none pass val 0
\t index 1 ref 1 bind 1 installed 40 sec used 3 sec
\tAction statistics:
\tSent 552 bytes 12 pkt (dropped 12, overlimits 0 requeues 0)
\tbacklog 0b 0p requeues 0
"""
HEALTHY = """\

=== who
0

=== clock
1795934923

=== system
running

=== units
Id=ssh.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success

Id=sshd.service
LoadState=not-found
ActiveState=inactive
SubState=dead
Result=success

=== log

=== listen
State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess
LISTEN 0      128          0.0.0.0:22        0.0.0.0:*    users:(("sshd",pid=2869,fd=3))
LISTEN 0      128             [::]:22           [::]:*    users:(("sshd",pid=2869,fd=4))

=== link
ens3	1	up	0x1003
lo	1	unknown	0x9

=== addresses
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: ens3    inet 10.0.2.15/24 brd 10.0.2.255 scope global ens3\\       valid_lft 86380sec preferred_lft 86380sec
2: ens3    inet6 fe80::5054:ff:fe12:3456/64 scope link \\       valid_lft forever preferred_lft forever

=== routes
default via 10.0.2.2 dev ens3
10.0.2.0/24 dev ens3 proto kernel scope link src 10.0.2.15

=== filter

=== hosts_deny

=== hosts_allow

=== program
there
libwrap

=== processes
S

=== account
passwd	0	/root	/bin/bash
groups	root
shadow	set	20228	99999		
now	1795934923

=== settings
port 22
listenaddress 0.0.0.0:22
permitrootlogin without-password
pubkeyauthentication yes
passwordauthentication yes
strictmodes yes
usedns no
usepam yes
forcecommand none
authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2
authenticationmethods any
maxstartups 10:30:100

=== keys
path	/root	drwx------ 12 0 0 4096 Nov 29 06:48 /root
path	/root/.ssh	drwx------ 2 0 0 4096 Nov 29 06:48 /root/.ssh
path	/root/.ssh/authorized_keys	-rw------- 1 0 0 91 Nov 29 06:48 /root/.ssh/authorized_keys
file	/root/.ssh/authorized_keys	1	1

=== df
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/vda           2000000   900000   1000000      48% /
tmpfs                50000      500     49500       1% /run

=== inodes
Filesystem       Inodes  IUsed    IFree IUse% Mounted on
/dev/vda         125000  40000    85000   33% /
tmpfs             50000    500    49500    1% /run

=== memory
MemTotal:         500000 kB
MemFree:          300000 kB
MemAvailable:     400000 kB
SwapFree:              0 kB

=== load
0.10 0.10 0.05 1/98 614
32768
2

=== root
/dev/vda / ext4 rw,relatime 0 0

=== resolver
nameserver 10.0.2.3

=== end
"""
"""What the script prints on a healthy Debian 12 guest."""


def ssh(contact: Contact, **changes: Any) -> TransportObservation:
    usual: dict[str, Any] = {"address": "127.0.0.1:44283", "user": "root", "message": f"vm1: {contact.value}"}
    return TransportObservation("ssh", contact, **{**usual, **changes})


def evidence(contact: Contact, *edits: tuple[str, str], log: tuple[str, ...] = (), **changes: Any) -> Evidence:
    """The evidence of a machine that is healthy but for these edits of its answer."""
    text = HEALTHY
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    machine = parse_answer(text, over="serial")
    user = changes.pop("user", "root")
    if machine.account is not None:
        machine = replace(machine, account=replace(machine.account, name=user))
    machine = replace(machine, log=tuple(LogLine(line, "sshd") for line in log))
    seen = (ssh(contact, user=user, **changes), TransportObservation("serial", Contact.ANSWERED))
    return Evidence("vm1", seen, machine, port=22, host="127.0.0.1")


REFUSED, RESET, CLOSED, SILENT = Contact.REFUSED, Contact.RESET, Contact.CLOSED, Contact.SILENT
LOGIN, LATE, NO_SHELL = Contact.LOGIN_REFUSED, Contact.LOGIN_TIMED_OUT, Contact.NO_SHELL
AFTER_TEXT, NOT_SSH, KEX = Contact.CLOSED_AFTER_TEXT, Contact.NOT_SSH, Contact.KEX

LOGGED = [
    # (what sshd logged, what came of SSH, the user, the cause, words of the headline)
    ("ROOT LOGIN REFUSED FROM 10.0.2.2 port 40112", LOGIN, "root", "permit-root-login", "PermitRootLogin does not allow it"),
    (
        "User root from 10.0.2.2 not allowed because not listed in AllowUsers",
        LOGIN, "root", "allow-users", "sshd refuses root: the user is not listed in AllowUsers",
    ),
    ("User bob from 10.0.2.2 not allowed because listed in DenyUsers", LOGIN, "bob", "deny-users", "bob: the user is listed in DenyUsers"),
    (
        "User bob from 10.0.2.2 not allowed because a group is listed in DenyGroups",
        LOGIN, "bob", "deny-groups", "a group of the user is listed in DenyGroups",
    ),
    (
        "User bob from 10.0.2.2 not allowed because none of user's groups are listed in AllowGroups",
        LOGIN, "bob", "allow-groups", "no group of the user is listed in AllowGroups",
    ),
    ("User bob from 10.0.2.2 not allowed because not in any group", LOGIN, "bob", "allow-groups", "AllowGroups"),
    (
        "User bob from 10.0.2.2 not allowed because shell /bin/zsh does not exist",
        LOGIN, "bob", "shell-missing", "the login shell /bin/zsh does not exist",
    ),
    (
        "User bob from 10.0.2.2 not allowed because shell /bin/x is not executable",
        LOGIN, "bob", "shell-not-executable", "the login shell /bin/x is not executable",
    ),
    ("User bob from 10.0.2.2 not allowed because account is locked", LOGIN, "bob", "account-locked", "the account is locked"),
    ("Invalid user bob from 10.0.2.2 port 40112", LOGIN, "bob", "no-account", "the machine has no such user"),
    (
        "Authentication refused: bad ownership or modes for directory /root/.ssh",
        LOGIN, "root", "key-file-modes", "bad ownership or modes of /root/.ssh",
    ),
    (
        "Authentication refused: bad ownership or modes for file /root/.ssh/authorized_keys",
        LOGIN, "root", "key-file-modes", "bad ownership or modes of /root/.ssh/authorized_keys",
    ),
    (
        "Could not open user 'bob' authorized keys '/home/bob/.ssh/authorized_keys': Permission denied",
        LOGIN, "bob", "key-file-unreadable", "/home/bob/.ssh/authorized_keys: Permission denied",
    ),
    (
        "Authentication tried for root with correct key but not from a permitted host (host=10.0.2.2, ip=10.0.2.2, required=10.9.0.1).",
        LOGIN, "root", "key-restricted-source", "from= option does not permit",
    ),
    (
        "userauth_pubkey: key type ssh-rsa not in PubkeyAcceptedAlgorithms [preauth]",
        LOGIN, "root", "key-algorithm", "key type ssh-rsa is not in PubkeyAcceptedAlgorithms",
    ),
    ("error: Authentication key ED25519 SHA256:abc revoked by file /etc/ssh/revoked", LOGIN, "root", "key-revoked", "RevokedKeys"),
    ("error: key_cert_check_authority: Certificate invalid: not yet valid", LOGIN, "root", "certificate-expired", "not yet valid by the machine's clock"),
    (
        "pam_unix(sshd:account): account bob has expired (account expired)",
        LOGIN, "bob", "account-expired", "the account bob has expired",
    ),
    (
        "pam_unix(sshd:account): expired password for user root (root enforced)",
        NO_SHELL, "root", "password-expired", "the password of root has expired: root enforced",
    ),
    (
        "pam_access(sshd:account): access denied for user `bob' from `10.0.2.2'",
        LOGIN, "bob", "pam-access", "access.conf does not allow the login",
    ),
    (
        "pam_faillock(sshd:auth): Consecutive login failures for user bob account temporarily locked",
        LOGIN, "bob", "pam-faillock", "pam_faillock has locked bob",
    ),
    ("pam_listfile(sshd:auth): Refused user bob for service sshd", LOGIN, "bob", "pam-listfile", "pam_listfile refuses bob"),
    (
        'pam_succeed_if(sshd:auth): requirement "uid >= 1000" not met by user "root"',
        LOGIN, "root", "pam-succeed-if", "the requirement uid >= 1000 is not met",
    ),
    (
        "PAM unable to dlopen(pam_none.so): /lib/security/pam_none.so: cannot open shared object file: No such file or directory",
        LOGIN, "root", "pam-module-missing", "PAM cannot load a module that sshd's PAM settings name: pam_none.so",
    ),
    ("fatal: Access denied for user bob by PAM account configuration [preauth]", LOGIN, "bob", "pam-account", "PAM refuses the account bob"),
    ("error: PAM: pam_open_session(): Module is unknown", NO_SHELL, "root", "pam-session", "PAM opens no session for root: Module is unknown"),
    ("refused connect from 10.0.2.2 (10.0.2.2)", CLOSED, "root", "hosts-deny", "/etc/hosts.deny matches 10.0.2.2"),
    (
        "drop connection #10 from [10.0.2.2]:40110 on [10.0.2.15]:22 past MaxStartups",
        CLOSED, "root", "max-startups", "MaxStartups logins are under way",
    ),
    (
        "drop connection #0 from [10.0.2.2]:40110 on [10.0.2.15]:22 penalty: failed authentication",
        AFTER_TEXT, "root", "penalties", "PerSourcePenalties",
    ),
    (
        "Unable to negotiate with 10.0.2.2 port 40110: no matching host key type found. Their offer: ssh-ed25519 [preauth]",
        KEX, "root", "negotiation", "no matching host key type found",
    ),
    ("fatal: no hostkeys available -- exiting.", CLOSED, "root", "host-key-missing", "sshd has no usable host key"),
    (
        "Permissions 0644 for '/etc/ssh/ssh_host_ed25519_key' are too open.",
        CLOSED, "root", "host-key-modes", "/etc/ssh/ssh_host_ed25519_key: the permissions 0644 are too open",
    ),
    (
        "error: Bind to port 22 on 0.0.0.0 failed: Address already in use.",
        CLOSED, "root", "port-taken", "sshd cannot listen on port 22: another program does",
    ),
    (
        "error: Bind to port 22 on 10.9.9.9 failed: Cannot assign requested address.",
        CLOSED, "root", "listen-address", "sshd cannot listen on 10.9.9.9",
    ),
    (
        "/etc/ssh/sshd_config line 3: Bad yes/no argument: maybe",
        CLOSED, "root", "settings-invalid", "/etc/ssh/sshd_config line 3: Bad yes/no argument: maybe",
    ),
    ("Missing privilege separation directory: /run/sshd", CLOSED, "root", "privsep-directory", "/run/sshd is missing"),
    ("fatal: Privilege separation user sshd does not exist", CLOSED, "root", "privsep-user", "its user sshd does not exist"),
    (
        "error: maximum authentication attempts exceeded for root from 10.0.2.2 port 40112 ssh2 [preauth]",
        LOGIN, "root", "max-auth-tries", "more keys and passwords were offered than MaxAuthTries allows",
    ),
    ("fatal: Timeout before authentication for 10.0.2.2 port 40112", LATE, "root", "login-grace-time", "LoginGraceTime"),
    ("Failed password for root from 10.0.2.2 port 40112 ssh2", LOGIN, "root", "wrong-password", "the password of root is refused"),
    ('fatal: bad ownership or modes for chroot directory "/home/bob"', Contact.LOST, "bob", "chroot", "ChrootDirectory /home/bob"),
    ("error: fork: Cannot allocate memory", CLOSED, "root", "fork", "cannot start a process for the connection: Cannot allocate memory"),
    (
        "Failed publickey for root from 10.0.2.2 port 40112 ssh2: ED25519 SHA256:abc",
        LOGIN, "root", "key-not-authorized", "it is not among the authorized keys",
    ),
    ("User bob authorized keys /home/bob/.ssh/authorized_keys is not a regular file", LOGIN, "bob", "key-file-not-a-file", "is not a regular file"),
    ("Certificate invalid: name is not a listed principal", LOGIN, "bob", "certificate-principal", "does not name this user"),
    (
        "pam_unix(sshd:account): account bob has expired (failed to change password)",
        LOGIN, "bob", "password-inactive", "its password was not changed in time",
    ),
    ("pam_time(sshd:account): couldn't get the service name", LOGIN, "bob", "pam-time", "time.conf does not allow"),
    ("pam_limits(sshd:session): Too many logins (max 0) for bob", NO_SHELL, "bob", "pam-limits", "pam_limits refuses the session of bob"),
    ("drop connection #3 from [10.0.2.2]:1 on [10.0.2.15]:22 past PerSourceMaxStartups", CLOSED, "root", "max-startups-source", "PerSourceMaxStartups"),
    ("error: openpty: No such file or directory", NO_SHELL, "root", "no-terminal", "sshd gets no terminal for root"),
    ("error: write: No space left on device", Contact.LOST, "root", "disk-full", "no space left on a filesystem"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "contact", "user", "cause", "words"), LOGGED)
def test_what_sshd_logged_is_the_cause(line: str, contact: Contact, user: str, cause: str, words: str) -> None:
    found = diagnose(evidence(contact, log=("Server listening on 0.0.0.0 port 22.", line), user=user))
    assert found.first is not None
    assert found.first.name == cause
    assert words in found.headline
    assert f"sshd logged '{line}"[:60] in found.headline


STATE = [
    # (what came of SSH, the edits of a healthy machine's answer, the cause, words of the headline)
    (CLOSED, [("0.0.0.0:22", "0.0.0.0:2222"), ("[::]:22", "[::]:2222")], "other-port", "sshd listens on port 2222, and not on port 22"),
    (REFUSED, [("0.0.0.0:22", "0.0.0.0:2222"), ("[::]:22", "[::]:2222")], "other-port", "and not on port 22"),
    (CLOSED, [("0.0.0.0:22", "127.0.0.1:22"), ("[::]:22", "[::1]:22")], "listen-address", "listens on 127.0.0.1 only"),
    (CLOSED, [("0.0.0.0:22 ", "10.9.9.9:22 "), ("[::]:22", "10.9.9.9:22")], "listen-address", "sshd listens on 10.9.9.9 only"),
    (NOT_SSH, [('"sshd",pid', '"python3",pid')], "other-program", "on port 22 of the machine 'python3' listens, and not sshd"),
    (SILENT, [('"sshd",pid', '"nc",pid')], "other-program", "'nc' listens, and not sshd"),
    (CLOSED, [('"sshd",pid=2869,fd=3))', '"a",pid=1,fd=1))'), ("0.0.0.0:22", "0.0.0.0:80"), ("[::]:22", "[::]:80"), ('"sshd"', '"a"')],
     "nobody-listens", "nothing listens on port 22"),
    (SILENT, [("ens3\t1\tup\t0x1003", "ens3\t0\tdown\t0x1003")], "link-down", "the link of ens3 is down: it has no carrier"),
    (SILENT, [("ens3\t1\tup\t0x1003", "ens3\t\tdown\t0x1002")], "link-down", "the network interface ens3 is not set up"),
    (Contact.NO_ROUTE, [("ens3\t1\tup\t0x1003\n", "")], "link-down", "no network interface but loopback"),
    (SILENT, [("inet 10.0.2.15/24", "none 10.0.2.15/24")], "no-address", "ens3 has no IP address"),
    (Contact.TIMED_OUT, [("default via 10.0.2.2 dev ens3\n10.0.2.0/24 dev ens3 proto kernel scope link src 10.0.2.15\n", "")],
     "no-route", "the machine has no route"),
    (SILENT, [("=== filter\n", "=== filter\ntable inet f {\n chain i {\n  type filter hook input priority 0; policy accept;\n"
               "  tcp dport 22 counter packets 7 bytes 420 drop\n }\n}\n")],
     "packet-filter", "packet filter drops connections to port 22 (7 packets so far)"),
    (SILENT, [("=== filter\n", "=== filter\ntable inet f {\n chain i {\n  type filter hook input priority filter; policy drop;\n"
               "  iifname \"lo\" accept\n  ct state established,related accept\n  tcp dport { 80, 443 } accept\n }\n}\n")],
     "packet-filter", "chain i: policy drop"),
    (SILENT, [("=== filter\n", "=== iptables\n*filter\n:INPUT ACCEPT [3:180]\n[5:300] -A INPUT -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n")],
     "packet-filter", "-A INPUT -p tcp -m tcp --dport 22 -j DROP"),
    (REFUSED, [("=== filter\n", "=== iptables\n*filter\n:INPUT DROP [9:540]\n[1:60] -A INPUT -i lo -j ACCEPT\n"
                "[5:300] -A INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset\nCOMMIT\n")],
     "packet-filter", "rejects connections to port 22"),
    (CLOSED, [("=== hosts_deny\n", "=== hosts_deny\nsshd: ALL\n")], "hosts-deny", "/etc/hosts.deny has 'sshd: ALL'"),
    (CLOSED, [("=== hosts_deny\n", "=== hosts_deny\nALL: ALL\n")], "hosts-deny", "/etc/hosts.deny has 'ALL: ALL'"),
    (SILENT, [("=== processes\nS", "=== processes\nT")], "process-stopped", "sshd's process is stopped"),
    (CLOSED, [("SubState=running\n", "SubState=running\nTasksCurrent=1\nTasksMax=1\n")], "tasks-exhausted", "it has 1 of at most 1 tasks (TasksMax)"),
    (SILENT, [("inet 10.0.2.15/24 brd 10.0.2.255", "inet 10.9.9.9/24")], "wrong-address", "it has 10.9.9.9/24"),
    (SILENT, [("=== routes\n", "=== routes\nblackhole 10.0.2.2\n")], "discarding-route", "discards what it sends to 10.0.2.2 (blackhole)"),
    (SILENT, [("=== routes\n", "=== routes\nprohibit 10.0.0.0/8 metric 5\n")], "discarding-route", "discards what it sends to 10.0.0.0/8"),
    (SILENT, [("=== hosts_deny\n", f"=== traffic\n{TC}\n=== hosts_deny\n")], "traffic-control", "traffic control drops packets that come in on ens3"),
    (SILENT, [("=== processes\nS", "=== processes\nfrozen\nS")], "process-stopped", "sshd's processes are frozen"),
    (SILENT, [("LISTEN 0      128          0.0.0.0:22", "LISTEN 129    128          0.0.0.0:22")],
     "accept-queue-full", "129 wait in the queue of port 22"),
    (CLOSED, [("ActiveState=active\nSubState=running", "ActiveState=failed\nSubState=failed"), ("Result=success", "Result=exit-code"),
              ("0.0.0.0:22", "0.0.0.0:80"), ("[::]:22", "[::]:80"), ('"sshd"', '"a"')], "unit-not-up", "ssh.service has failed (Result=exit-code)"),
    (CLOSED, [("ActiveState=active\nSubState=running", "ActiveState=failed\nSubState=failed"), ("Result=success", "Result=exit-code"),
              ("0.0.0.0:22", "0.0.0.0:80"), ("[::]:22", "[::]:80"), ('"sshd"', '"a"'),
              ("=== system\n", "=== unit_log\nServer listening on nothing\nsshd: no hostkeys available -- exiting.\nfarewell\n=== system\n")],
     "unit-not-up", "ssh.service has failed (Result=exit-code); it said: 'sshd: no hostkeys available -- exiting.'"),
    (CLOSED, [("ActiveState=active\nSubState=running", "ActiveState=failed\nSubState=failed"), ("Result=success", "Result=signal"),
              ("0.0.0.0:22", "0.0.0.0:80"), ("[::]:22", "[::]:80"), ('"sshd"', '"a"'), ("=== system\n", "=== unit_log\none\ntwo\n=== system\n")],
     "unit-not-up", "it said: 'two'"),
    (CLOSED, [("LoadState=loaded\nActiveState=active\nSubState=running", "LoadState=masked\nActiveState=inactive\nSubState=dead")],
     "unit-not-up", "ssh.service is masked"),
    (CLOSED, [("=== system\nrunning", "=== system\nstarting"), ("ActiveState=active\nSubState=running", "ActiveState=inactive\nSubState=dead")],
     "unit-not-up", "the boot is not finished: ssh.service has not been started yet"),
    (LOGIN, [("without-password", "no")], "permit-root-login", "PermitRootLogin is no"),
    (LOGIN, [("usedns no", "usedns no\nallowusers alice bob")], "user-lists", "the user is not listed in AllowUsers"),
    (LOGIN, [("usedns no", "usedns no\ndenyusers ro*")], "user-lists", "the user is listed in DenyUsers"),
    (LOGIN, [("usedns no", "usedns no\nallowgroups wheel")], "user-lists", "no group of the user is listed in AllowGroups"),
    (LOGIN, [("shadow\tset\t20228\t99999\t\t", "shadow\tset\t20228\t99999\t\t1")], "account-expired", "ends it on 1970-01-02"),
    (NO_SHELL, [("shadow\tset\t20228\t99999", "shadow\tset\t0\t99999")], "password-expired", "must be changed"),
    (LOGIN, [("shadow\tset\t20228\t99999\t\t", "shadow\tset\t20000\t30\t5\t")], "password-expired", "was not changed in time"),
    (NO_SHELL, [("/bin/bash", "/usr/sbin/nologin")], "shell-nologin", "the login shell of root is /usr/sbin/nologin"),
    (NO_SHELL, [("/bin/bash\n", "/bin/zsh\nshell_missing\n")], "shell-nologin", "/bin/zsh, does not exist or is not executable"),
    (LOGIN, [("passwd\t0\t/root\t/bin/bash", "none")], "no-account", "the machine has no user root"),
    (LOGIN, [("usepam yes", "usepam no"), ("shadow\tset", "shadow\tlocked")], "account-locked", "is locked"),
    (LOGIN, [("file\t/root/.ssh/authorized_keys\t1\t1", "missing\t/root/.ssh/authorized_keys")],
     "keys-missing", "/root/.ssh/authorized_keys does not exist"),
    (LOGIN, [("file\t/root/.ssh/authorized_keys\t1\t1", "file\t/root/.ssh/authorized_keys\t0\t0")], "keys-missing", "are empty"),
    (LOGIN, [("file\t/root/.ssh/authorized_keys\t1\t1", "file\t/root/.ssh/authorized_keys\t2\t0")],
     "keys-missing", "the key that we offer is not among the authorized keys of root"),
    (LOGIN, [("drwx------ 2 0 0 4096 Nov 29 06:48 /root/.ssh", "drwxrwxrwx 2 0 0 4096 Nov 29 06:48 /root/.ssh")],
     "key-file-modes", "bad ownership or modes of /root/.ssh, which others than its owner may write"),
    (LOGIN, [("-rw------- 1 0 0", "-rw------- 1 1000 1000")], "key-file-modes", "belongs to uid 1000"),
    (LOGIN, [("authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2", "authorizedkeysfile none")],
     "keys-missing", "AuthorizedKeysFile is none"),
    (LOGIN, [("pubkeyauthentication yes", "pubkeyauthentication no")], "authentication-methods", "PubkeyAuthentication is no"),
    (LOGIN, [("authenticationmethods any", "authenticationmethods publickey,password")], "authentication-methods", "more than one proof"),
    (LATE, [("usedns no", "usedns yes")], "use-dns", "UseDNS yes"),
    (NO_SHELL, [("forcecommand none", "forcecommand /bin/date")], "force-command", "ForceCommand for root"),
    (CLOSED, [("=== settings\n", "=== settings_failed\n/etc/ssh/sshd_config: line 1: Bad configuration option: Foo\n=== other\n")],
     "settings-invalid", "Bad configuration option: Foo"),
    (SILENT, [("=== system\nrunning", "=== system\nmaintenance")], "maintenance", "emergency or rescue mode"),
    (SILENT, [("0.10 0.10 0.05 1/98 614\n32768", "9.10 0.10 0.05 1/32768 614\n32768")], "processes-exhausted", "32768 of 32768"),
    (LOGIN, [("passwd\t0\t/root", "passwd\t1000\t/root"), ("now\t1795934923", "now\t1795934923\nnologin\t/run/nologin\tSystem is going down."),
             ("1 0 0 91", "1 1000 1000 91"), ("12 0 0", "12 1000 1000"), ("2 0 0", "2 1000 1000")],
     "nologin-file", "/run/nologin exists (pam_nologin(8)) (/run/nologin says 'System is going down.')"),
]  # fmt: skip


@pytest.mark.parametrize(("contact", "edits", "cause", "words"), STATE)
def test_the_state_of_the_machine_is_the_cause(
    contact: Contact, edits: list[tuple[str, str]], cause: str, words: str
) -> None:
    found = diagnose(evidence(contact, *edits))
    assert found.first is not None
    assert (found.first.name, words in found.headline) == (cause, True), found.headline


POSSIBLE = [
    (SILENT, [("1000000      48%", "0      100%")], "the filesystem / is full"),
    (LOGIN, [("85000   33%", "0  100%")], "the filesystem / has no inodes left"),
    (SILENT, [("MemAvailable:     400000", "MemAvailable:       4000"), ("MemFree:          300000", "MemFree:            3000")], "short of memory"),
    (LATE, [("0.10 0.10", "40.0 30.1")], "its load is 40 on 2 CPUs"),
    (CLOSED, [("rw,relatime", "ro,relatime")], "mounted read-only"),
    (SILENT, [("=== routes\n", "=== routes\nblackhole 192.168.9.0/26 proto 80\n")], "discards what it sends to 192.168.9.0/26"),
    (CLOSED, [("=== hosts_deny\n", "=== hosts_deny\nsshd: ALL\n"), ("=== hosts_allow\n", "=== hosts_allow\nsshd: 10.\n")], "/etc/hosts.deny has"),
]  # fmt: skip


@pytest.mark.parametrize(("contact", "edits", "words"), POSSIBLE)
def test_what_may_be_the_cause_is_told_as_possible(contact: Contact, edits: list[tuple[str, str]], words: str) -> None:
    found = diagnose(evidence(contact, *edits))
    assert found.first is not None
    assert found.first.name.startswith("ssh-")
    assert "; it may be that " in found.headline
    assert words in found.headline
    assert not found.lasting


RECEIVED = [
    (AFTER_TEXT, "Exceeded MaxStartups\r\n", "max-startups", "takes no more connections: MaxStartups"),
    (AFTER_TEXT, "Not allowed at this time\r\n", "penalties", "PerSourcePenalties"),
    (NOT_SSH, "HTTP/1.0 400 Bad Request\r\n\r\n", "other-program", "an HTTP server answers, and not sshd"),
    (NOT_SSH, "220 mail.example.net ESMTP Postfix\r\n", "other-program", "another server answers"),
    (NOT_SSH, "RFB 003.008\n", "other-program", "VNC"),
    (NO_SHELL, "This account is currently not available.\n", "shell-nologin", "closed with nologin(8)"),
    (LOGIN, "Your account has expired; please contact your system administrator.\n", "account-expired", "has expired"),
    (
        LOGIN,
        '"System is booting up. Unprivileged users are not permitted to log in yet."',
        "nologin-file",
        "no user but root",
    ),
    (NO_SHELL, "Password change required but no TTY available.\n", "password-expired", "must be changed"),
    (
        NO_SHELL,
        "sh: error while loading shared libraries: libc.so.6: cannot open",
        "library-missing",
        "the library libc.so.6",
    ),
    (NO_SHELL, "bash: fork: retry: Resource temporarily unavailable", "no-memory", "cannot start a process"),
    (NO_SHELL, "This service allows sftp connections only.\n", "force-command", "ForceCommand"),
    (NOT_SSH, "vm1 login: ", "telnet", "a login prompt answers"),
    (NO_SHELL, "sh: can't create /tmp/x: No space left on device", "disk-full", "no space left"),
    (NO_SHELL, "bash: /bin/ls: Input/output error", "input-output-error", "cannot read its disk"),
]


@pytest.mark.parametrize(("contact", "received", "cause", "words"), RECEIVED)
def test_what_the_peer_sent_is_the_cause_and_is_quoted(contact: Contact, received: str, cause: str, words: str) -> None:
    found = diagnose(Evidence("vm1", (ssh(contact, received=received),)))
    assert found.first is not None
    assert found.first.name == cause
    assert words in found.headline
    assert " ".join(received.split())[:40] in found.headline


CONSOLE = [
    (["[    2.5] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"], "kernel-panic", "VFS: Unable to mount root fs"),
    (
        ["[  9.1] Kernel panic - not syncing: sysrq triggered crash", "[  9.2] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---"],
        "kernel-panic", "the kernel has panicked: sysrq triggered crash (the console shows '[  9.1] ".replace("  ", " "),
    ),
    (["Cannot open access to console, the root account is locked.", "Press Enter to continue."], "root-locked", "the root account is locked"),
    (["You are in emergency mode.", "Give root password for maintenance"], "maintenance-shell", "asks for root's password"),
    (["/dev/vda1: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY."], "fsck-needed", "check of /dev/vda1 failed"),
    (["ALERT!  UUID=1234 does not exist.  Dropping to a shell!", "(initramfs) "], "root-device", "does not find the root file system's device"),
    (["(initramfs) "], "initramfs-shell", "a shell of the initramfs"),
    (["error: no such partition.", "grub rescue> "], "grub-rescue", "GRUB cannot load the system"),
    (["No bootable device."], "no-boot-device", "no device to boot from"),
    (["Welcome to emergency mode! After logging in, type journalctl -xb"], "emergency-mode", "emergency or rescue mode"),
    (["mount: mounting /dev/vda1 on /root failed: Invalid argument"], "root-mount", "cannot mount the root file system"),
    (["dracut:/# "], "dracut-shell", "initramfs (dracut)"),
    (["grub> "], "grub-shell", "GRUB stopped at its command line"),
    (["=> "], "u-boot-shell", "U-Boot stopped"),
    (["SeaBIOS (version 1.16.2-debian-1.16.2-1)", "Booting from ROM..", ""], "kernel-silent", "(console=ttyS0) (the console shows 'Booting from ROM..')"),
    (["SeaBIOS (version 1.16.2-debian-1.16.2-1)", "Booting from Hard Disk..."], "loader-silent", "the disk's boot loader"),
    (["UEFI Interactive Shell v2.2"], "uefi-shell", "its UEFI shell is open"),
]  # fmt: skip


def test_a_refusal_that_names_the_cause_comes_before_a_server_that_is_silent() -> None:
    console = TransportObservation(
        "serial", LOGIN, user="root", message="the login of root was refused: Your account has expired (console vm1)"
    )
    found = diagnose(Evidence("vm1", (ssh(Contact.SILENT), console)))
    assert found.first is not None
    assert found.first.name == "account-expired"
    assert found.headline.startswith("the account root has expired")
    other = replace(console, contact=Contact.TIMED_OUT)
    assert diagnose(Evidence("vm1", (ssh(Contact.SILENT), other))).first != found.first


@pytest.mark.parametrize(("lines", "cause", "words"), CONSOLE)
def test_what_the_console_shows_is_the_cause_where_nothing_answers(lines: list[str], cause: str, words: str) -> None:
    seen = (ssh(CLOSED), TransportObservation("serial", NO_SHELL, message="no shell answered"))
    found = diagnose(Evidence("vm1", seen, console=("Linux version 6.1.0", "[    1.0] before", *lines)))
    assert found.first is not None
    assert found.first.name == cause
    assert words in found.headline
    assert "the console shows" in found.headline


def test_an_earlier_boot_on_the_console_is_no_cause_of_this_one() -> None:
    lines = ("Kernel panic - not syncing: old", "[    0.0] Linux version 6.1.0", "starting")
    found = diagnose(Evidence("vm1", (TransportObservation("serial", NO_SHELL, message="none"),), console=lines))
    assert found.first is not None
    assert found.first.name == "serial-no-shell"


def test_an_emergency_before_a_login_prompt_is_over() -> None:
    lines = ("You are in emergency mode", "Debian GNU/Linux 12 vm1 ttyS0", "vm1 login: ")
    seen = (TransportObservation("serial", LOGIN, message="refused", received="Login incorrect"),)
    found = diagnose(Evidence("vm1", seen, console=lines))
    assert found.first is not None
    assert found.first.name == "serial-login-refused"


@pytest.mark.parametrize("qmp", ["paused", "io-error", "guest-panicked", "shutdown", "internal-error"])
def test_what_qemu_says_comes_first(qmp: str) -> None:
    found = diagnose(Evidence("vm1", (ssh(SILENT),), qmp=qmp))
    assert found.first is not None
    assert found.first.name == "machine-stopped"
    assert qmp in found.headline


def test_a_machine_where_ssh_answers_has_no_cause() -> None:
    healthy = evidence(Contact.ANSWERED)
    assert diagnose(healthy).causes == ()
    assert diagnose(healthy).headline == ""


@pytest.mark.parametrize("contact", sorted(set(OUTSIDE)))
def test_a_healthy_machine_gives_no_cause_but_what_was_seen_from_outside(contact: Contact) -> None:
    """Nothing in a healthy machine's state is blamed for a connection that failed on the way."""
    found = diagnose(evidence(contact))
    assert [each.name for each in found.causes] == [f"ssh-{contact.value}".replace("_", "-")]
    assert not found.lasting


@pytest.mark.parametrize("contact", sorted(set(OUTSIDE)))
def test_each_result_from_outside_is_a_sentence_of_its_own(contact: Contact) -> None:
    found = diagnose(Evidence("vm1", (ssh(contact, message="what the transport said"),)))
    assert found.headline
    assert not found.headline.endswith(":")
    assert "what the transport said" in found.headline
    assert found.not_asked == (("the machine itself", "no other transport serves"),)
    others = {diagnose(Evidence("vm1", (ssh(other, message="x"),))).headline for other in set(OUTSIDE) - {contact}}
    assert found.headline not in others


def test_a_login_of_somebody_else_is_not_ours() -> None:
    found = diagnose(evidence(LOGIN, log=("User mallory from 1.2.3.4 not allowed because not listed in AllowUsers",)))
    assert [each.name for each in found.causes] == ["ssh-login-refused"]


def test_what_the_log_says_comes_before_what_the_state_would_allow() -> None:
    found = diagnose(
        evidence(
            LOGIN,
            ("without-password", "no"),
            log=("Authentication refused: bad ownership or modes for directory /root",),
        )
    )
    assert [each.name for each in found.causes][:2] == ["key-file-modes", "permit-root-login"]
    assert any(line.startswith("also: ") for line in found.lines)


def test_a_machine_that_is_still_starting_may_change_by_itself() -> None:
    refused = ("without-password", "no")
    assert diagnose(evidence(LOGIN, refused)).lasting
    assert not diagnose(evidence(LOGIN, refused, ("=== system\nrunning", "=== system\nstarting"))).lasting


def test_two_rows_that_say_the_same_are_one_cause_with_the_evidence_of_both() -> None:
    line = "User root from 10.0.2.2 not allowed because not listed in AllowUsers"
    found = diagnose(evidence(LOGIN, ("usedns no", "usedns no\nallowusers alice"), log=(line,)))
    assert [each.name for each in found.causes] == ["allow-users", "ssh-login-refused"]
    assert found.causes[0].evidence == (f"sshd logged '{line}'", "`sshd -T`: allowusers 'alice'")


def test_a_counter_of_zero_speaks_against_a_rule() -> None:
    rule = (
        "=== filter\n",
        "=== filter\ntable inet f {\n chain i {\n  type filter hook input priority 0; policy accept;\n"
        "  tcp dport 22 counter packets 0 bytes 0 drop\n }\n}\n",
    )
    found = diagnose(evidence(SILENT, rule))
    cause = next(each for each in found.causes if each.name == "packet-filter")
    assert cause.against == ("its counter is 0: it has met no packet",)
    assert found.first is not None
    assert found.first.name == "ssh-silent" or found.first is cause


ACCEPTED = [
    "table inet f {\n chain i {\n type filter hook input priority 0; policy drop;\n tcp dport 22 accept\n }\n}",
    "table inet f {\n chain i {\n type filter hook input priority 0; policy drop;\n tcp dport { 22, 80 } ct state new accept\n }\n}",
    "table inet f {\n chain i {\n type filter hook input priority 0; policy drop;\n tcp dport ssh accept\n drop\n }\n}",
    "table inet f {\n chain i {\n type filter hook input priority 0; policy drop;\n accept\n tcp dport 22 drop\n }\n}",
    "table inet f {\n chain i {\n type filter hook input priority 0; policy accept;\n ct state invalid drop\n udp dport 22 drop\n }\n}",
    "table inet f {\n chain i {\n type filter hook input priority 0; policy accept;\n ip saddr 10.9.0.0/16 drop\n }\n}",
    "table inet f {\n chain unused {\n tcp dport 22 drop\n }\n}",
    "table ip f {\n chain f {\n type filter hook forward priority 0; policy drop;\n }\n}",
    "*filter\n:INPUT DROP [0:0]\n[9:540] -A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT",
    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n[0:0] -A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT",
    "*filter\n:INPUT ACCEPT [0:0]\n[0:0] -A INPUT -s 10.9.0.0/16 -j DROP\nCOMMIT",
]


@pytest.mark.parametrize("rules", ACCEPTED)
def test_rules_that_let_ssh_through_are_no_cause(rules: str) -> None:
    machine = MachineState("serial", frozenset(("filter",)), filter_rules=(*parse_nft(rules), *parse_iptables(rules)))
    found = diagnose(Evidence("vm1", (ssh(SILENT),), machine, port=22))
    assert "packet-filter" not in [each.name for each in found.causes]


@given(text=st.text(max_size=400), log=st.text(max_size=200), received=st.text(max_size=200))
def test_no_answer_breaks_a_diagnosis_and_nothing_of_it_reaches_a_terminal(text: str, log: str, received: str) -> None:
    machine = parse_answer(
        f"=== listen\n{text}\n=== account\n{text}\n=== filter\n{text}\n=== df\n{text}", over="serial"
    )
    machine = replace(machine, log=(LogLine(f"Authentication refused: bad ownership or modes for file {log}", "sshd"),))
    for contact in (CLOSED, LOGIN, SILENT, NOT_SSH):
        found = diagnose(Evidence("vm1", (ssh(contact, received=received, message=log),), machine, console=(text,)))
        assert found.headline
        assert len(found.headline) <= LONGEST_HEADLINE
        assert "\n" not in found.headline
        assert found.headline.isprintable()
        found.plain()


@pytest.mark.parametrize("waits", [True, False])
def test_the_reason_of_a_unit_that_is_not_up_is_the_cause(waits: bool) -> None:
    reason = "slow.service: start job running for 5 s (`/bin/sleep 600`, PID 391); behind it waits ssh.service"
    down = evidence(SILENT, ("ActiveState=active", "ActiveState=inactive"), ("SubState=running", "SubState=dead"))
    found = diagnose(replace(down, sshd_unit=reason, sshd_unit_waits=waits))
    assert found.headline == f"{reason} (LoadState=loaded, ActiveState=inactive)"
    assert found.first is not None
    assert found.first.name == "unit-not-up"
    assert found.booting is waits
    assert down.machine is not None
    with_log = replace(down, machine=replace(down.machine, unit_log=("bad option: x",)), sshd_unit="ssh.service failed")
    assert diagnose(with_log).headline.startswith("ssh.service failed; its log has 'bad option: x' (LoadState=")
    up = diagnose(replace(evidence(SILENT), sshd_unit=reason))
    assert "unit-not-up" not in [each.name for each in up.causes], "the unit is up"


def test_the_default_route_of_ipv6_that_discards_is_no_cause() -> None:
    found = diagnose(evidence(SILENT, ("=== routes\n", "=== routes\nunreachable default dev lo metric 4294967295\n")))
    assert "discarding-route" not in [each.name for each in found.causes]


def test_an_address_that_the_machine_does_not_have_is_told_as_possible() -> None:
    found = diagnose(replace(evidence(Contact.TIMED_OUT), host="192.0.2.9", port=None))
    assert "; it may be that the machine does not have the address 192.0.2.9" in found.headline
    assert "wrong-address" in [each.name for each in found.causes]


def test_every_row_has_a_test() -> None:
    """A row of a table that no row here leads to is a claim that nothing shows."""
    assert {rule.name for rule in LOG_RULES} == {row[3] for row in LOGGED}
    named = {row[2] for row in STATE} | {"machine-stopped", "wrong-address"}
    possible = {
        each.name
        for contact, edits, _ in POSSIBLE
        for each in diagnose(evidence(contact, *edits)).causes
        if each.certainty is Certainty.POSSIBLE
    }
    assert {rule.name for rule in STATE_RULES} == named | possible
    assert {rule.name for rule in CONSOLE_RULES} == {row[1] for row in CONSOLE}
    assert {rule.name for rule in RECEIVED_RULES} == {row[2] for row in RECEIVED}
    texts = (*LOG_RULES, *CONSOLE_RULES, *RECEIVED_RULES)
    assert len({rule.name for rule in texts} | {rule.name for rule in STATE_RULES}) > 60
