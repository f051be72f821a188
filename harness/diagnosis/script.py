"""The question that is put to a machine whose SSH does not serve, over the transport that is left. Pure.

It is one POSIX shell script, so one round trip, bounded in time and output.

Each part of its answer begins with a line `=== NAME`. A part that cannot be answered is left out: what is not known is
not the same as nothing. No hash of a password is printed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from harness.target.observe import SOCKETS

LOG_LINES = 80
LOG_SECONDS = 300
"""Seconds of the log that are asked for: getting a shell on a console may take long, and our own attempt was before
that. What is older than the attempt is left out when the answer is read."""
_UNITS_ASKED = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")
_LOG_OF = (
    *(f"_COMM={name}" for name in ("sshd", "sshd-session", "sshd-auth", "dropbear")),
    *(f"SYSLOG_IDENTIFIER={name}" for name in ("sshd", "sshd-session", "sshd-auth")),
)
_SETTINGS_ASKED = (
    "port",
    "listenaddress",
    "addressfamily",
    "permitrootlogin",
    "allowusers",
    "denyusers",
    "allowgroups",
    "denygroups",
    "maxstartups",
    "maxsessions",
    "persourcemaxstartups",
    "usedns",
    "usepam",
    "strictmodes",
    "authenticationmethods",
    "pubkeyauthentication",
    "passwordauthentication",
    "kbdinteractiveauthentication",
    "authorizedkeysfile",
    "authorizedkeyscommand",
    "forcecommand",
    "chrootdirectory",
    "logingracetime",
    "maxauthtries",
    "pubkeyacceptedalgorithms",
    "loglevel",
)
_BLOB = re.compile(r"[A-Za-z0-9+/=]{16,1024}")

# `timeout` of coreutils and of busybox from 1.30 on take the seconds as the first word; without it nothing is bounded
# but by the transport's own deadline.
_HEAD = r"""
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin"
u=@USER@
h() { command -v "$1" >/dev/null 2>&1; }
if timeout 1 true >/dev/null 2>&1; then t() { timeout "$@"; }; else t() { shift; "$@"; }; fi
s() { printf '\n=== %s\n' "$1"; }
c() { head -c "$1"; }
s who; id -u
s clock; date +%s
"""
_UNITS = r"""
if [ -d /run/systemd/system ]; then
s system; t 5 systemctl show -p SystemState --value
s units; t 5 systemctl show -p Id,LoadState,ActiveState,SubState,Result,TasksCurrent,TasksMax -- @UNITS@ | c 4000
h journalctl && for i in @UNITS@; do
[ "$(t 5 systemctl show -p ActiveState --value -- "$i")" = failed ] || continue
i=$(t 5 systemctl show -p InvocationID --value -- "$i")
[ -n "$i" ] || continue
s unit_log; t 8 journalctl -b -q --no-pager -o cat -n 10 "_SYSTEMD_INVOCATION_ID=$i" 2>/dev/null | c 4000
done
fi
"""
_LOG = r"""
if [ -d /run/systemd/system ] && h journalctl; then
j() { t 8 journalctl -b -q --no-pager -o json -n @LINES@ --since=-@SECONDS@s "$@" @MATCHES@; }
if l=$(j --output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM 2>&1); then s log; printf '%s\n' "$l" | c 60000
else s log_failed; printf '%s\n' "$l" | c 300; fi
else
for f in /var/log/auth.log /var/log/secure /var/log/messages /var/log/syslog; do
[ -r "$f" ] && { s syslog; tail -n 400 "$f" | grep -E 'sshd|dropbear|pam_' | tail -n 40 | c 20000; break; }
done
h logread && { s syslog; t 5 logread 2>/dev/null | grep -E 'sshd|dropbear|pam_' | tail -n 40 | c 20000; }
fi
"""
_SOCKETS = r"""
if h ss && l=$(t 5 ss -l -t -n -p 2>/dev/null); then s listen; printf '%s\n' "$l" | c 12000
else s sockets; { @SOCKETS@; } | c 20000; fi
"""
_LINK = r"""
s link
for d in /sys/class/net/*; do
[ -e "$d/flags" ] || continue
a=; o=; f=
{ read -r a <"$d/carrier"; read -r o <"$d/operstate"; read -r f <"$d/flags"; } 2>/dev/null
printf '%s\t%s\t%s\t%s\n' "${d##*/}" "$a" "$o" "$f"
done | c 4000
if h ip; then
s addresses; t 5 ip -o addr 2>/dev/null | c 6000
s routes; { t 5 ip route; t 5 ip -6 route; } 2>/dev/null | head -n 20 | c 3000
elif h ifconfig; then s ifconfig; t 5 ifconfig -a 2>/dev/null | c 6000; fi
"""
_FILTER = r"""
if h nft && l=$(t 5 nft list ruleset 2>/dev/null); then s filter; printf '%s\n' "$l" | c 16000; fi
if h iptables-save && l=$(t 5 iptables-save -c 2>/dev/null); then s iptables; printf '%s\n' "$l" | c 12000; fi
if h ip6tables-save && l=$(t 5 ip6tables-save -c 2>/dev/null); then s ip6tables; printf '%s\n' "$l" | c 12000; fi
if h tc; then
s traffic
for d in /sys/class/net/*; do
d=${d##*/}; [ "$d" = lo ] || { printf 'dev %s\n' "$d"; t 3 tc -s filter show dev "$d" ingress 2>/dev/null; }
done | c 6000
fi
for f in deny allow; do
[ -r /etc/hosts.$f ] && { s hosts_$f; grep -v -E '^[[:space:]]*(#|$)' /etc/hosts.$f | head -n 20 | c 2000; }
done
d=$(command -v sshd 2>/dev/null) || d=
s program
if [ -n "$d" ]; then echo there; grep -q -F libwrap.so "$d" 2>/dev/null && echo libwrap; else echo missing; fi
s processes
for d in /proc/[0-9]*/stat; do
{ read -r l <"$d"; } 2>/dev/null || continue
case $l in *'(sshd)'*|*'(dropbear)'*|*'(sshd-listener)'*) l=${l##*') '};; *) continue;; esac
while read -r g; do
case $g in 0::*) grep -q '^frozen 1' "/sys/fs/cgroup${g#0::}/cgroup.events" 2>/dev/null && l=frozen;; esac
done 2>/dev/null <"${d%/stat}/cgroup"
printf '%s\n' "${l%% *}"
done 2>/dev/null | head -n 40
"""
_ACCOUNT = r"""
q() {
while IFS=: read -r a b w g n m x; do
[ "$a" = "$u" ] && { printf 'passwd\t%s\t%s\t%s\n' "$w" "$m" "$x"; break; }
done
}
s account
l=$(q </etc/passwd)
case $u in -*) ;; *) [ -n "$l" ] || l=$(t 4 getent passwd "$u" 2>/dev/null | q);; esac
if [ -n "$l" ]; then printf '%s\n' "$l"; else echo none; fi
e=${l%	*}; e=${e##*	}; x=${l##*	}
[ -z "$x" ] || { [ -f "$x" ] && [ -x "$x" ]; } || echo shell_missing
case $u in -*) ;; *) printf 'groups\t%s\n' "$(id -Gn "$u" 2>/dev/null)";; esac
[ -r /etc/shadow ] && while IFS=: read -r a b w n m g i x k; do
[ "$a" = "$u" ] || continue
case $b in '') b=empty;; '!'*|'*'*) b=locked;; *) b=set;; esac
printf 'shadow\t%s\t%s\t%s\t%s\t%s\n' "$b" "$w" "$m" "$i" "$x"; break
done </etc/shadow
printf 'now\t%s\n' "$(date +%s)"
for f in /run/nologin /etc/nologin /var/run/nologin; do
[ -e "$f" ] && { printf 'nologin\t%s\t' "$f"; head -c 200 "$f" | tr '\n\t' '  '; echo; break; }
done
"""
_SETTINGS = r"""
if h sshd; then
d=$(command -v sshd)
k() { t 8 "$d" -T "$@" 2>&1; }
if l=$(k -C "user=$u,host=unknown.invalid,addr=192.0.2.1") || l=$(k); then
s settings; printf '%s\n' "$l" | grep -E '^(@SETTINGS@) ' | c 6000
else s settings_failed; printf '%s\n' "$l" | c 600; fi
fi
r() {
z=$1; y=
while :; do case $z in *"$2"*) y=$y${z%%"$2"*}$3; z=${z#*"$2"};; *) break;; esac; done
printf %s "$y$z"
}
if [ -n "$e" ]; then
s keys
k=$(printf '%s\n' "$l" | while read -r a b; do [ "$a" = authorizedkeysfile ] && { printf %s "$b"; break; }; done)
[ -n "$k" ] || k='.ssh/authorized_keys'
set -f
for f in $k; do
f=$(r "$(r "$f" %h "$e")" %u "$u")
case $f in none) continue;; /*) ;; *) f=${e%/}/$f;; esac
for d in "$e" "${f%/*}" "$f"; do
if [ -e "$d" ]; then printf 'path\t%s\t%s\n' "$d" "$(ls -ldnL "$d" 2>/dev/null)"
elif [ "$d" != "$f" ]; then continue
fi
done
if [ -r "$f" ] && [ -f "$f" ]; then
n=$(grep -c -v -E '^[[:space:]]*(#|$)' "$f"); w=
for b in @BLOBS@; do [ "$w" = 1 ] && break; w=0; grep -q -F -e "$b" "$f" && w=1; done
printf 'file\t%s\t%s\t%s\n' "$f" "$n" "$w"
elif [ -e "$f" ]; then printf 'file\t%s\t\t\n' "$f"
elif [ -x "$e" ]; then printf 'missing\t%s\n' "$f"; fi
done
set +f
fi
"""
_RESOURCES = r"""
s df; t 5 df -Pk / /run /tmp /var /var/log /home 2>/dev/null | c 3000
s inodes; t 5 df -Pi / /run /tmp /var /var/log /home 2>/dev/null | c 3000
s memory; grep -E '^(MemTotal|MemAvailable|MemFree|SwapFree):' /proc/meminfo
s load; cat /proc/loadavg; cat /proc/sys/kernel/pid_max; grep -c '^processor' /proc/cpuinfo
s root; grep ' / ' /proc/mounts | tail -n 1 | c 500
s resolver; grep -E '^nameserver' /etc/resolv.conf 2>/dev/null | c 500
s end
"""


def machine_question(user: str, *, blobs: Sequence[str] = ()) -> str:
    """Return the script. `user` is who logs in over SSH, `blobs` are the public keys that were offered, in base64."""
    parts = (_HEAD, _UNITS, _LOG, _SOCKETS, _LINK, _FILTER, _ACCOUNT, _SETTINGS, _RESOURCES)
    values = {
        "USER": shlex.quote(user),
        "LINES": str(LOG_LINES),
        "SECONDS": str(LOG_SECONDS),
        "SOCKETS": SOCKETS,
        "UNITS": " ".join(_UNITS_ASKED),
        "MATCHES": " + ".join(_LOG_OF),
        "SETTINGS": "|".join(_SETTINGS_ASKED),
        "BLOBS": " ".join(shlex.quote(blob) for blob in blobs if _BLOB.fullmatch(blob)),
    }
    text = "\n".join(part.strip("\n") for part in parts) + "\ntrue"
    return re.sub("@([A-Z]+)@", lambda match: values[match[1]], text)
