"""The shell programs that do faults to a guest from inside, and undo them. POSIX sh, run as root.

What they start ends by itself after its time, should nobody be able to end it. What is to be undone stands in files
below /run, which no boot and no snapshot keeps.
"""

from __future__ import annotations

import shlex
import time

from harness.soak.faults.fault import Fault, jump_seconds

_NOTES = "/run/harness-fault"
# Where the boot's own services are to be started again, whatever has become of them.
_START_STOPPED = f"""\
[ -s {_NOTES}-@NAME@ ] || exit 0
for unit in $(cat {_NOTES}-@NAME@); do
  systemctl -q is-active "$unit" || {{ systemctl reset-failed "$unit" 2>/dev/null; systemctl start "$unit"; }}
done
rm -f {_NOTES}-@NAME@"""
# Of the processes by a name (of sshd only its master: the sessions' own processes have it as their parent).
# All are found before the first is killed: then the sessions' processes have no other parent than PID 1 either.
_KILL = f"""\
found=
for folder in /proc/[0-9]*; do
  {{ read -r name <"$folder/comm"; }} 2>/dev/null || continue
  [ "$name" = @TARGET@ ] || continue
  if [ @MASTER@ = 1 ]; then
    parent=
    while read -r key value; do [ "$key" = PPid: ] && parent=$value; done <"$folder/status"
    [ "$parent" = 1 ] || continue
  fi
  unit=$(sed -n 's|^0::.*/\\([^/]*\\.service\\)$|\\1|p' "$folder/cgroup" 2>/dev/null)
  [ -n "$unit" ] && echo "$unit" >>{_NOTES}-@NAME@
  found="$found ${{folder#/proc/}}"
done
[ -n "$found" ] && kill -KILL $found || {{ echo "no process is called "@TARGET@ >&2; exit 1; }}"""
_STOP_SSHD = f"""\
units=
for unit in ssh.socket sshd.socket ssh.service sshd.service dropbear.service; do
  systemctl -q is-active $unit && units="$units $unit"
done
[ -n "$units" ] || {{ echo "no unit of sshd is active" >&2; exit 1; }}
echo $units >{_NOTES}-@NAME@
systemctl stop $units"""
_FILL = """\
file=@FOLDER@/.harness-fault
set -- $(df -Pk @FOLDER@ | tail -n 1)
left=$4 at=0
: >"$file" || exit 1
if command -v fallocate >/dev/null; then
  while [ "$left" -ge 4 ]; do
    if fallocate -o $((at * 1024)) -l $((left * 1024)) "$file" 2>/dev/null; then
      at=$((at + left))
    else
      left=$((left / 2))
    fi
  done
else
  dd if=/dev/zero of="$file" bs=1048576 2>/dev/null
  dd if=/dev/zero bs=4096 2>/dev/null >>"$file"
fi
:"""
_TAKE_MEMORY = """\
while read -r key value unit; do [ "$key" = MemAvailable: ] && free=$value; done </proc/meminfo
size=$((free * @SHARE@ / 100))
mkdir -p /run/harness-memory && mount -t tmpfs -o size=${size}k,mode=700 harness-memory /run/harness-memory || exit 1
dd if=/dev/zero of=/run/harness-memory/taken bs=1048576 2>/dev/null
:"""
_GIVE_MEMORY = """\
while grep -q ' /run/harness-memory ' /proc/mounts; do umount -l /run/harness-memory || exit 1; done
rmdir /run/harness-memory 2>/dev/null
:"""
_END_LOOPS = f"""\
[ -s {_NOTES}-@NAME@ ] || exit 0
kill $(cat {_NOTES}-@NAME@) 2>/dev/null
rm -f {_NOTES}-@NAME@"""
_BURN = f"""\
loops=@LOOPS@
[ "$loops" -gt 0 ] || loops=$(grep -c '^processor' /proc/cpuinfo)
while [ "$loops" -gt 0 ]; do
  timeout @SECONDS@ sh -c 'while :; do :; done' </dev/null >/dev/null 2>&1 &
  echo $! >>{_NOTES}-@NAME@
  loops=$((loops - 1))
done"""
_CHATTER = f"""\
[ -w /dev/console ] || {{ echo "/dev/console cannot be written" >&2; exit 1; }}
timeout @SECONDS@ sh -c 'n=0; while :; do n=$((n + 1)); echo "harness: noise $n" >/dev/console; sleep @REST@; done' \\
  </dev/null >/dev/null 2>&1 &
echo $! >>{_NOTES}-@NAME@"""


def begin(fault: Fault) -> str:
    """The program that does a fault. It ends with 0 where the fault is active (or done), else it says why it is not."""
    seconds = f"{fault.seconds:.0f}" if fault.seconds >= 1 else "1"
    match fault.kind.name:
        case "sshd-kill":
            return _with(_KILL, fault, TARGET="sshd", MASTER="1")
        case "kill":
            return _with(_KILL, fault, TARGET=shlex.quote(fault.argument), MASTER="0")
        case "sshd-stop":
            return _with(_STOP_SSHD, fault)
        case "disk-full":
            return _with(_FILL, fault, FOLDER=shlex.quote(fault.argument.rstrip("/")) or "''")
        case "memory":
            return _with(_TAKE_MEMORY, fault, SHARE=fault.argument.rstrip("%"))
        case "cpu":
            return _with(_BURN, fault, LOOPS=fault.argument, SECONDS=seconds)
        case "clock-jump":
            return f"date -u -s @$(($(date +%s) + {jump_seconds(fault.argument)})) >/dev/null"
        case "console-noise":
            return _with(_CHATTER, fault, SECONDS=seconds, REST=f"{1 / int(fault.argument):.4f}")
    raise ValueError(f"{fault.name} is not done from inside")


def undo(fault: Fault, now: float | None = None) -> str:
    """The program that undoes it; does nothing where there is nothing to undo. `now`: seconds since the epoch."""
    match fault.kind.name:
        case "sshd-kill" | "kill" | "sshd-stop":
            return _with(_START_STOPPED, fault)
        case "disk-full":
            return f"rm -f {shlex.quote(fault.argument.rstrip('/'))}/.harness-fault"
        case "memory":
            return _GIVE_MEMORY
        case "cpu" | "console-noise":
            return _with(_END_LOOPS, fault)
        case "clock-jump":
            at = time.time() if now is None else now
            return f"date -u -s @{at:.3f} >/dev/null 2>&1 || date -u -s @{at:.0f} >/dev/null"
    raise ValueError(f"{fault.name} is not undone from inside")


def _with(program: str, fault: Fault, **values: str) -> str:
    for name, value in {"NAME": fault.kind.name, **values}.items():
        program = program.replace(f"@{name}@", value)
    return program
