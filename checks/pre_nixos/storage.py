"""The storage: a plan for the volume group `main` with the logical volume `slash`, which has changed nothing yet."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

from harness import Never, NotYet, Target, check

from ._pre_nixos import not_there, read_status

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """A logical volume in a volume group on a disk, which is `device_bytes` large."""

    group: str
    volume: str
    device: str
    device_bytes: int
    bytes: int


@check(tags=["pre_nixos", "storage"])
def is_planned(target: Target) -> str:
    """The plan puts `main` on a disk that is there and free, `slash` fits into it, and none of it has been done."""
    status = read_status(target)
    if status.get("STORAGE_STATE") != "planned":
        not_there(target, f"the storage is {status.get('STORAGE_STATE') or 'not told of'}, not planned")
    plan = _plan(target, status.get("STORAGE_PLAN", ""))
    assert (plan.group, plan.volume) == ("main", "slash"), f"planned are {plan.group} and {plan.volume}"
    device = shlex.quote(plan.device)
    columns = target.read(f"lsblk --nodeps --noheadings --raw --bytes --output SIZE,RO {device}").split()
    size, read_only = (int(word) for word in columns)
    assert size == plan.device_bytes, f"{device} has {size} bytes; the plan says {plan.device_bytes}"
    assert not read_only, f"{device} cannot be written to"
    # LVM keeps the first MiB of a physical volume to itself.
    assert 0 < plan.bytes <= size - _MIB, f"slash ({plan.bytes} bytes) does not fit on {device} ({size} bytes)"
    # 2: nothing is known of what is on it (blkid(8))
    holds = target.run(f"blkid --probe {device}")
    assert holds.exit_status == 2, f"{device} is not free any more: {holds.out or holds.err}"
    return f"main on {device}, with slash of {plan.bytes // _MIB} of {size // _MIB} MiB; nothing is done yet"


def _plan(target: Target, path: str) -> Plan:
    result = target.run(f"cat {shlex.quote(path)}")
    if not result.ok:
        raise NotYet(f"the plan cannot be read: {result.err}")
    return parse_plan(result.out)


def parse_plan(text: str) -> Plan:
    """Reads the oneshot's plan.json. Raises Never for what is no plan of one volume on one disk."""
    try:
        plan = json.loads(text)
        (disk,), (volume,) = plan["physical_volumes"], plan["logical_volumes"]
        group, name, device = str(plan["volume_group"]["name"]), str(volume["name"]), str(disk["device"])
        return Plan(group, name, device, int(disk["bytes"]), int(volume["bytes"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Never(f"this is no plan of a volume on a disk ({type(error).__name__}: {error}): {text}") from error
