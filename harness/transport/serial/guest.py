"""The guest's side of the serial transport: one POSIX sh program, typed into the console and kept in a variable.

Nothing is installed. The program reads checked requests, one a line, runs each command in a process group of its
own and keeps its output until the next command, so that a damaged answer is *read again* and never run again. It
needs only builtins; base64, gzip, awk, sed, sha256sum, md5sum and cksum are used where the guest has them.

How a request and an answer look is told in :mod:`harness.transport.serial.requests` and
:mod:`harness.transport.serial.frames`.
"""

from __future__ import annotations

import shlex

PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
# One set of characters for each bit of ASCII; counting the members of each tells any two characters apart.
# The space is left out: as a field separator it would not be counted one by one.
PLANES = tuple("".join(c for c in PRINTABLE[1:] if ord(c) >> bit & 1) for bit in range(7))
WEIGHTS = (1, 1009, 18433, 300007, 4500007, 60000011, 700000001)
SENTINELS = ("@", "@", "@", "@", "@", "@", "!")

# Each line ends where a blank may follow, because the lines are joined by blanks when they are typed. The names begin
# with h and a capital or a digit, so that they do not meet those of a command. fd 9 is the console.
_AGENT = r"""
hE=${LC_ALL-}; hF=${LC_ALL+s}; LC_ALL=C; hM=$(umask); umask 077; set -f; unset IFS; hG=$g;
stty -echo -ixon -opost isig icanon icrnl -tostop 2>/dev/null;
exec 9>&1 2>/dev/null; set -m 2>/dev/null; hBYE=; hQ=; hP=; hK=0; hA=; hJ=0; hT=;
hD() { printf '%s<%s|%s:%s>\n' "$1" "$2" "${#2}" "$2" >&9; };
hH() { command -v "$1" >/dev/null 2>&1; };
@SUM@
for hL in stty cat mkfifo gzip base64 awk sed sha256sum md5sum cksum od rm mkdir sleep sync;
do hH $hL && hT="$hT,$hL"; done; hT="$hT,";
hO=; for hL in @DIRS@; do
[ -d "$hL" ] || continue;
if mkdir "$hL/.@NAME@" 2>/dev/null; then hO="$hL/.@NAME@/"; else hO="$hL/.@NAME@."; fi;
if : 2>/dev/null >"$hO"t; then break; fi; hO=; done;
hVX() { hB=; hU=0; while IFS= read -r -d '' -n 1 hL || [ -n "$hL" ]; do
if [ -z "$hL" ]; then hB="$hB 0"; else hB="$hB $(printf %x "'$hL")"; fi; hU=$((hU+1));
[ $((hU%32)) -ne 0 ] || { printf '%s\n' "$hB"; hB=; }; done; [ -z "$hB" ] || printf '%s\n' "$hB"; };
hVE() { trap '' 15; case $hT in *,base64,*) base64 $hWR;; *,od,*) od -An -v -tx1;; *) hVX;; esac |
while IFS= read -r hL; do printf '%s\n' "$1$hL"; done; };
hVI() { case $hJM in b) printf %s "$hJV" | base64 -d;; z) printf %s "$hJV" | base64 -d | gzip -d;;
*) printf %b "$hJV";; esac; };
hVC() { trap : 15; ( trap - 15; exec 2>&4 4>&- 5>&-; h8; hEX $1 ); echo "s$?" >&5; };
hVP() { printf '%s\n' "$h4" | { hI=0; hU=0; h3=137; while IFS= read -r hL; do case $hL in
p*) hI=$((hI+1)); hL=$hI/${hL#p}; printf '%s\n' "${hC}p$hI:$hL|$hL." >&9;;
q*) hU=$((hU+1)); hL=$hU/${hL#q}; printf '%s\n' "${hC}q$hU:$hL|$hL." >&9;; s*) h3=${hL#s};; esac; done;
hL=v; case $hT in *,base64,*) hL=w;; esac; h5=$hL; [ $hI -gt 0 ] || hL=-; [ $hU -gt 0 ] || h5=-;
hD $hQ "+$h3:$hL:$hI:$h5:$hU"; }; };
hVR() { trap - 0 1 2; trap : 15; h4=$( { { { case $1 in *i*) hVI | hVC $1;; *) hVC $1 </dev/null;; esac; } |
hVE p >&5; } 4>&1 | hVE q >&5; } 5>&1 ); trap hVP USR1; hVP;
hI=$(exec sh -c 'echo $PPID'); while :; do kill -s STOP $hI; done; };
hVT() { hL=; read -r hL <"/proc/$hP/stat" || return 0; case ${hL##*\) } in T*) return 0;; esac; return 1; };
hVA() { hVT && kill -s USR1 $hP && kill -s CONT $hP; while ! hVT; do :; done; };
hX() { trap - 0; [ "$hCAT" != v ] || kill -s KILL $hP; [ -n "$hP" ] && { h6=TERM; set +f; h0; };
hH rm && [ -n "$hO" ] && { set +f; rm -rf "${hO%/}" "$hO"*; set -f; };
[ -n "$hG" ] && stty "$hG"; [ -z "$hBYE" ] || hD $hBYE bye; exit 0; };
trap hX 0 1 2 15;
hR() { hS=; hL=; hB=; while IFS= read -r hL; do case $hL in *[!\ -}]*) hB=1; return;; esac; hS="$hS$hL~"; done <"$1";
case $hL in *[!\ -}]*) hB=1;; esac; hS="$hS$hL"; };
hV() { if [ -n "$hAWK" ]; then
awk -v "t=$hC$1" -v "f=$hO$1$hK" -v "g=${hO}n" '{x=x s t NR ":" $0 "."; s="\n"} NR%12==0{print x; print x >f; x=s=""}
END{if(s){print x; print x >f} print NR+0 >g}' >&9;
else hI=0; : >"$hO$1$hK"; while IFS= read -r hL; do hI=$((hI+1)); printf '%s\n' "$hC$1$hI:$hL." >>"$hO$1$hK";
printf '%s\n' "$hC$1$hI:$hL." >&9; done; echo $hI >"${hO}n"; fi; };
hN() { hI=0; hB=; hU=0; : >"$hO$1$hK"; while IFS= read -r -d '' -n 1 hL || [ -n "$hL" ]; do
if [ -z "$hL" ]; then hB="${hB}0,"; else hB="$hB$(printf %x, "'$hL")"; fi; hU=$((hU+1));
[ $((hU%32)) -eq 0 ] && { hI=$((hI+1)); printf '%s\n' "$hC$1$hI:$hI/$hB|$hI/$hB." >>"$hO$1$hK"; hB=; }; done <"$2";
[ -n "$hB" ] && { hI=$((hI+1)); printf '%s\n' "$hC$1$hI:$hI/$hB|$hI/$hB." >>"$hO$1$hK"; }; echo $hI >"${hO}n"; hZ=$hU;
while IFS= read -r hL; do printf '%s\n' "$hL" >&9; done <"$hO$1$hK"; };
hY() { hL=; case $hT in *,sha256sum,*) hL=$(sha256sum <"$1");; *,md5sum,*) hL=$(md5sum <"$1");;
*,cksum,*) hL=$(cksum <"$1");; esac; hL=${hL%% *}; };
hW() { hS=; hL=-; if [ ! -s "$2" ]; then echo 0 >"${hO}n"; else case $hCZ$hT in
,*,gzip,*base64,*) gzip -1 -c <"$2" | base64 $hWR | hV $1; hL=z;;
*,base64,*sum,*) { hY "$2"; echo "$hL" >"${hO}c"; } & base64 $hWN <"$2" | hV $1;
wait $!; read -r hL <"${hO}c"; hL=b$hL;;
*sum,*od,*) od -An -v -tx1 <"$2" | hV $1; hY "$2"; hL=x$hL;;
*) if [ -n "$hRD" ]; then hN $1 "$2"; hL=d$hZ; else hL=!encode; echo 0 >"${hO}n"; fi;; esac; fi; hS=$hL; read
-r hL <"${hO}n"; hS="$hS:$hL"; };
h1() { hZ=; hB=;
if [ -n "$hPROC" ]; then read -r hI h6 </proc/self/fdinfo/7; read -r hI h7 </proc/self/fdinfo/8;
if [ $((h6+h7)) -le $hMAX ]; then
hR "${hO}o$hK"; h4=$hS; [ -n "$hB" ] || { hR "${hO}e$hK"; h5=$hS; };
[ -z "$hB" ] && [ ${#h4} -eq $h6 ] && [ ${#h5} -eq $h7 ] && hZ="=$h3:$h6:$h7:$h4$h5"; fi; fi;
[ -n "$hZ" ] || { : >"${hO}a$hK"; hW p "${hO}o$hK"; hB=$hS; hW q "${hO}e$hK"; hZ="+$h3:$hB:$hS";
case $hZ in *!*) hZ=!encode;; esac; };
printf '%s\n' "$hZ" >"${hO}h$hK"; hD $hQ "$hZ"; };
h8() { trap - 0 1 2 15; umask $hM; exec 9>&-; set +f;
if [ -n "$hF" ]; then LC_ALL=$hE; else unset LC_ALL; fi; };
hEX() { case $1 in *e*) set --; eval "$h9";; *) exec sh -c "$h9";; esac; };
h5E() { h3=$?; trap - 0; trap : 15; LC_ALL=C; set -f; umask 077; unset IFS; h4=; h5=; h1; };
h2() { trap - 0 1 2; exec 7>"${hO}o$hK" 8>"${hO}e$hK"; h4=; h5=;
case $1 in
fe*) trap h5E 0; trap 'exit 143' 15; umask $hM; set +f; if [ -n "$hF" ]; then LC_ALL=$hE; else unset LC_ALL; fi; set --;
{ eval "$h9"; } <"$hI" >&7 2>&8; exit $?;;
f*) trap : 15; ( exec <"$hI" >&7 2>&8 7>&- 8>&-; h8; hEX $1 ); h3=$?; echo $h3 >"${hO}s$hK";;
p*) trap '' 15; cat <"${hO}v$hK" >&7 7>&- 8>&- & cat <"${hO}w$hK" >&8 7>&- 8>&- & trap : 15;
( exec <"$hI" >"${hO}v$hK" 2>"${hO}w$hK" 7>&- 8>&-; h8; hEX $1 ); h3=$?; echo $h3 >"${hO}s$hK";
while ! wait; do :; done;;
*) trap '' 15; { { ( trap - 15; exec <"$hI" 3>&- 7>&- 8>&-; h8; hEX $1 ) 2>&1 >&3; echo $? >"${hO}s$hK"; } |
cat >&8 3>&-; } 3>&1 | cat >&7; read -r h3 <"${hO}s$hK"; trap : 15;; esac;
echo x >"${hO}t"; if [ ! -s "${hO}t" ]; then hZ=!full; hD $hQ "$hZ"; else h1; fi; };
h0() { h4=" $hP "; h5=; while [ "$h4" != "$h5" ]; do h5=$h4; for hL in /proc/[0-9]*/stat; do hI=;
read -r hI <"$hL" || continue; hU=${hI%% *}; hI=${hI##*\) }; set -- $hI;
case $h4 in *" $hU "*) continue;; esac;
if [ -n "$hJC" ] && [ "$3" = "$hP" ]; then h4="$h4$hU "; else case $h4 in *" $2 "*) h4="$h4$hU ";; esac; fi; done; done;
[ "$h4" != " $hP " ] || [ -n "$hPROC" ] || h4=" -$hP ";
set --; for hL in $h4; do [ "$hL" = "$hP" ] && [ $h6 = KILL ] || set -- "$@" "$hL"; done;
[ $# -eq 0 ] || { [ -n "$hO" ] && [ -e "${hO}a$hK" ]; } || kill -s $h6 -- "$@"; };
hFN=0; hFF() { case $hT in *,cat,mkfifo,*) ;; *) return;; esac; hU=$hK; while [ $hU -lt $((hK+16)) ];
do set -- "$@" "${hO}v$hU" "${hO}w$hU"; hU=$((hU+1)); done; mkfifo "$@" && hFN=$((hK+16)); };
hWR='-w 304'; base64 $hWR </dev/null >/dev/null 2>&1 || hWR=; hAWK=; case $hT in *,awk,*) hAWK=1;; esac;
hPROC=; exec 7</dev/null; hI=;
read -r hI hL </proc/self/fdinfo/7 && [ "$hI" = pos: ] && hPROC=1; exec 7<&-; hMAX=@MAX@;
hJV=; hJM=; hRD=$(echo x | { IFS= read -r -d '' -n 1 hL; [ "$hL" = x ] && echo 1; });
case $hT$hRD in *base64*|*,od,*|*,1) ;; *) hMAX=1000000;; esac;
hCAT=p; case $hT in *,cat,*) ;; *) hCAT=f;; esac; [ -n "$hO" ] || hCAT=v;
read -r hB </proc/sys/kernel/random/boot_id; read -r hU hI </proc/uptime;
hI=; while read -r hL h4 h5; do [ "$hL" = Uid: ] && hI=$h4; done </proc/self/status; hJC=; case $- in *m*) hJC=m;; esac;
hHI="hello:$$:${hI:-?}:${hB:-?}:$hCAT:$hJC:$hPROC:$hT:$hO";
hD @HELLO@ "$hHI"; while IFS= read -r hL; do hX=${hL#* * }; set -- $hL; hN=$4$5;
if [ "${#hX}" -eq "$1" ] && h_S && [ "$h3" -eq "$2" ]; then case $3 in
R) [ -n "$hP" ] && [ -s "${hO}h$hK" ] && wait $hP;
[ -n "$hO" ] && { [ -s "${hO}p$hK" ] || [ -s "${hO}q$hK" ]; } && for hL in o e p q; do : >"$hO$hL$hK"; done;
hK=$((hK+1)); hQ=$hN; hC=${4#??}${5%??}; hI=/dev/null; case $6 in *i*) hI=${hO}i;; esac;
hCZ=; hWN=$hWR; case $6 in *n*) case $hT in *sum,*) hCZ=n; hWN=${hWR:+-w 1216};; esac;; esac;
case $6 in *a*) h9=$(printf %bx "$hA"); h9=${h9%x};; *) h9=${hX#* * * * };; esac;
case $6 in
v*) [ -z "$hP" ] || { kill -s KILL $hP; wait $hP; }; ( hVR $6 ) & hP=$!;;
b*) hP=; { :; eval "$h9"; h3=$?; echo .; } </dev/null >"${hO}o" 2>"${hO}e"; hR "${hO}o"; h4=${hS%.~}; hZ=;
[ "$h4" != "$hS" ] || hZ=!full; h5=; [ -s "${hO}e" ] && { h9=$hB; hR "${hO}e"; h5=$hS; hB=$hB$h9; };
[ -z "$hB" ] || hZ=!encode; hZ=${hZ:-=$h3:${#h4}:${#h5}:$h4$h5}; hD $hQ "$hZ";;
p*) [ $hK -lt $hFN ] || hFF; if [ $hK -lt $hFN ]; then ( h2 $6 ) & else ( h2 q${6#p} ) & fi; hP=$!;;
*) ( h2 $6 ) & hP=$!;; esac;
[ $((hK%16)) -eq 0 ] && hH rm && [ $hK -gt 20 ] && {
set --; hI=$((hK-20)); while [ $hI -lt $((hK-2)) ]; do
set -- "$@" "${hO}o$hI" "${hO}e$hI" "${hO}s$hI" "${hO}a$hI" "${hO}h$hI" "${hO}p$hI" "${hO}q$hI";
set -- "$@" "${hO}v$hI" "${hO}w$hI";
hI=$((hI+1)); done; rm -f "$@" & };;
A) hI=${hX#* * * * }; [ $6 -eq 0 ] && hA=; [ ${#hA} -eq $6 ] && hA="$hA$hI"; hD $hN +${#hA};;
I) hI=${hX#* * * * }; [ $6 -eq 0 ] && { hJ=0; hJV=; [ $hCAT = v ] || : >"${hO}i"; };
[ $hJ -eq $6 ] && { if [ $hCAT = v ]; then hJV="$hJV$hI"; else printf %b "$hI" >>"${hO}i"; fi; hJ=$((hJ+${#hI})); };
hD $hN +$hJ;;
D) hJM=$6; if [ $hCAT = v ]; then hL=; case $hT in *,sha256sum,*) hL=$(hVI | sha256sum);;
*,md5sum,*) hL=$(hVI | md5sum);; *,cksum,*) hL=$(hVI | cksum);; esac; hD $hN "+${hL%% *}"; continue; fi;
case $6 in b) base64 -d <"${hO}i" >"${hO}j";; z) base64 -d <"${hO}i" | gzip -d >"${hO}j";; esac;
case $6 in n) ;; *) cat <"${hO}j" >"${hO}i"; : >"${hO}j";; esac; hY "${hO}i"; hD $hN "+$hL";;
S) if [ "$hN" != "$hQ" ]; then hD $hN -;
elif [ $hCAT = v ]; then if ! kill -0 $hP; then hD $hN '*x'; elif hVT; then hVA; else hD $hN '*'; fi;
elif [ -z "$hP" ]; then hD $hN "$hZ";
elif [ -s "${hO}h$hK" ]; then IFS= read -r hI <"${hO}h$hK"; hD $hN "$hI";
elif ! kill -0 $hP; then hD $hN '*x'; elif [ -e "${hO}a$hK" ]; then hD $hN '*a';
elif [ -e "${hO}s$hK" ]; then hD $hN '*s'; else hD $hN '*'; fi;;
K) if [ "$hN" = "$hQ" ] && [ -n "$hP" ]; then h6=$6; set +f; h0; set -f; fi; hD $hN "k$6";;
F) if [ "$hN" = "$hQ" ] && [ $hCAT != v ] && [ -n "$hP" ] && [ ! -s "${hO}h$hK" ]; then kill -s KILL $hP; wait $hP; hI=;
read -r hI <"${hO}s$hK";
( h3=${hI:-137}; h4=; h5=; exec 7>>"${hO}o$hK" 8>>"${hO}e$hK"; hPROC=; h1 ) & hP=$!; else hD $hN -; fi;;
L) hI=${hX#* * * * * }; if [ "$hN" != "$hQ" ]; then :; elif [ $hCAT = v ]; then hVA; else case $hT in
*,sed,*) sed -n "$hI" "$hO$6$hK" >&9;;
*) h6=0; while IFS= read -r hL; do h6=$((h6+1)); case ";$hI" in *";${h6}p"*) printf '%s\n' "$hL" >&9;; esac; done
<"$hO$6$hK";; esac; fi; hD $hN ".$7";;
N) hD $hN "$hHI";;
X) hBYE=$hN; exit 0;;
*) hD $hN "!verb";; esac; else hD "$hN" "!bad"; fi; done;
"""


def _digest_function() -> str:
    steps = []
    for i, (plane, weight, sentinel) in enumerate(zip(PLANES, WEIGHTS, SENTINELS, strict=True)):
        before = "h3=" if i == 0 else "h3=$h3+"
        steps.append(f"IFS={shlex.quote(plane)}; set -- $hX{shlex.quote(sentinel)}; {before}$#*{weight};")
    # The sums are collected as text and worked out once: fewer expansions, and no octal surprises.
    return "h_S() { " + "\n".join(steps) + "\nunset IFS; h3=$(($h3)); };"


_NOTHING = sum(WEIGHTS)
_WORTH = tuple(sum(w for plane, w in zip(PLANES, WEIGHTS, strict=True) if chr(c) in plane) for c in range(128))


def digest(text: str) -> int:
    """The check value of a typed line, as the guest's shell works it out with its own field splitting.

    Differs for any two lines that differ in one character. Lost and added characters are told by the length,
    which is sent beside it.
    """
    return _NOTHING + sum(map(_WORTH.__getitem__, text.encode("ascii")))


def program(*, name: str, hello: tuple[str, str], inline: int, dirs: tuple[str, ...]) -> list[str]:
    """The program in pieces short enough to be typed, each of printable ASCII.

    `name` is the unguessable name of its folder in the guest, `hello` the two halves of its first answer's nonce,
    `inline` the largest output (bytes) that is answered inside the status line, `dirs` where it may keep files.
    """
    text = (
        _AGENT.replace("@SUM@", _digest_function())
        .replace("@DIRS@", " ".join(f'"{d}"' for d in dirs))
        .replace("@NAME@", name)
        .replace("@MAX@", str(inline))
        .replace("@HELLO@", f'{hello[0]}""{hello[1]}')
    )
    return _split(" ".join(line.strip() for line in text.strip().splitlines()), 700)


def _split(line: str, limit: int) -> list[str]:
    """Cuts at blanks outside quotes' reach: the guest joins pieces with one blank, which must have been one."""
    pieces = []
    while len(line) > limit:
        at = line.rfind(" ", 0, limit)
        # Two blanks in a row would come back as one, and a blank at an end would be lost.
        while at > 0 and (line[at - 1] == " " or line[at + 1 : at + 2] == " "):
            at = line.rfind(" ", 0, at)
        if at <= 0:
            raise ValueError(f"no place to cut in {line!r}")
        pieces.append(line[:at])
        line = line[at + 1 :]
    pieces.append(line)
    return pieces


DIRS = ("/dev/shm", "/run", "/tmp", "/var/tmp", "${HOME:-/}", "/dev", "/")  # noqa: S108 - names only; the folder is ours


def loader(first: str, second: str) -> str:
    """The one line typed into whatever shell the login gave: starts `sh` and reads the program from us.

    It holds no backslash but one in `\\n`, no single quote inside the quotes and no newline: bash, zsh, fish, ash, dash
    and csh read it alike. Every piece is given back between two marks before it is taken, so that we can compare. How
    the terminal was set is kept in `g`, for the end.
    """
    return (
        f""" sh -c 't={first}""{second};g=`stty -g`;stty -echo -ixon -opost;a=;l=;printf "$t+%s\\n" $t;"""
        """while IFS= read -r i;do case $i in +*)a="$a $l";l=${i#+};;-*)l=${i#-};;.)break;;esac;"""
        """printf "%s\\n" "$t:$l:$t";done;eval "$a"'"""
    )
