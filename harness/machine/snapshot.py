"""A running machine saved into its throw-away disk, and put back: memory, devices and disks in one moment.

QMP's `snapshot-save` and `snapshot-load` (QEMU 6.0 and later) are jobs: they are begun, looked after until they are
concluded, and dismissed. https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html#qapidoc-1739
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.deadline import Deadline
from harness.errors import MachineError
from harness.machine.qmp import QmpClient, QmpError

_POLL = 0.02
_TAG = "harness"


def save(qmp: QmpClient, deadline: Deadline) -> None:
    """Saves the machine in the place of what was saved before; its CPUs stand still meanwhile, and run on afterwards.

    Raises MachineError where one of its disks cannot be put back, or QEMU refuses.
    """
    # QEMU refuses a name that is taken, as it is by the snapshot that the machine was restored from.
    _job(qmp, "snapshot-delete", deadline)
    _job(qmp, "snapshot-save", deadline)
    qmp.execute("cont", deadline=deadline)


def load(qmp: QmpClient, deadline: Deadline) -> None:
    """Puts the machine back to what was saved, in a QEMU whose CPUs have not run yet. They stand still until `cont`.

    Raises MachineError.
    """
    _job(qmp, "snapshot-load", deadline)


def writable_nodes(blocks: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The nodes of all disks that the guest may write to, out of QMP's `query-block`. Pure.

    Raises MachineError where one of them keeps no snapshots, or there is none: memory could be put back, but not that.
    """
    found: list[str] = []
    for block in blocks:
        inserted = block.get("inserted")
        if inserted is None or inserted["ro"]:
            continue
        if inserted["drv"] != "qcow2":
            raise MachineError(
                f"the machine's drive {block['device'] or inserted['node-name']} is {inserted['drv']} and writable: "
                "it cannot be put back to a snapshot",
                hint="Make it read-only or a qcow2 overlay (qemu_disk_mode=overlay), or choose another reset.",
            )
        found.append(str(inserted["node-name"]))
    if not found:
        raise MachineError(
            "the machine has no disk that a snapshot could be kept in",
            hint="Give it a small one (qemu_disks=[1G]), or choose another reset.",
        )
    return tuple(found)


def _job(qmp: QmpClient, command: str, deadline: Deadline) -> None:
    name = f"harness-{command}"
    # Each QEMU gives the nodes names of its own; their order is that of the command line.
    nodes = writable_nodes(qmp.execute("query-block", deadline=deadline))
    memory = {} if command == "snapshot-delete" else {"vmstate": nodes[0]}
    qmp.execute(command, deadline=deadline, job_id=name, tag=_TAG, devices=list(nodes), **memory)
    while True:
        jobs = {job["id"]: job for job in qmp.execute("query-jobs", deadline=deadline)}
        job = jobs.get(name)
        if job is None:
            raise QmpError(f"QEMU has lost its job {command}")
        if job["status"] == "concluded":
            break
        deadline.sleep(_POLL)
        deadline.check(f"waiting for QEMU's {command}")
    qmp.execute("job-dismiss", deadline=deadline, id=name)
    if job.get("error"):
        raise QmpError(f"QEMU's {command} failed: {job['error']}")
