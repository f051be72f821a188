"""The questions that an explanation puts to a target. Each has a name of its own, so that an answer that was kept is
found again, also by a later version that words the question otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.target.look import parse_look, system_command, unit_command
from harness.target.services import service_command
from harness.target.units import IncompleteAnswer

SERVICES = r"""
if [ -d /run/openrc ]; then read -r d < /run/openrc/softlevel; set -- /etc/runlevels/"$d"/*
elif command -v sv >/dev/null; then set -- /etc/service/* /service/* /var/service/*
else set -- /etc/init.d/S[0-9][0-9]*; fi
for f in "$@"; do
[ -e "$f" ] || continue
f=${f##*/}; case $f in S[0-9][0-9]*) f=${f#S[0-9][0-9]};; esac
printf '%s\n' "$f"
done; true
""".strip("\n")
"""The names of the services that a target without systemd starts by itself: OpenRC's runlevel, runit's folder, or the
scripts of busybox's init."""


class Kind(StrEnum):
    """What a question is about."""

    SYSTEM = "system"
    """systemd's manager as a whole."""
    UNIT = "unit"
    SERVICES = "services"
    """Which services there are, where there is no systemd."""
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Question:
    """A question; `name` is the unit's or the service's."""

    kind: Kind
    name: str = ""

    @property
    def command(self) -> str:
        """How it is put to the target."""
        match self.kind:
            case Kind.SYSTEM:
                return system_command()
            case Kind.UNIT:
                return unit_command(self.name)
            case Kind.SERVICES:
                return SERVICES
            case Kind.SERVICE:
                return service_command(self.name)

    def __str__(self) -> str:
        match self.kind:
            case Kind.SYSTEM:
                return "the look at systemd as a whole"
            case Kind.UNIT:
                return f"the look at {self.name}"
            case Kind.SERVICES:
                return "the list of services"
            case Kind.SERVICE:
                return f"the look at the service {self.name}"


def names_told(answer: bytes) -> tuple[str, ...]:
    """All names of the unit that a look was at: systemd knows them as one. None where the look does not say."""
    try:
        look = parse_look(answer.decode("utf-8", "backslashreplace"))
    except IncompleteAnswer:
        return ()
    return look.asked[0].names if look.asked else ()


def unit_name(word: str) -> str:
    """The unit that a person means: a name without a kind is a service, as systemctl has it."""
    kinds = ("service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope")
    return word if word.rpartition(".")[2] in kinds and "." in word else f"{word}.service"
