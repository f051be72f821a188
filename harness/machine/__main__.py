"""`python -m harness.machine IMAGE`: starts one machine and shows how to reach it, for looking at a guest by hand."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from harness.deadline import Deadline
from harness.events.emitter import NullEmitter
from harness.machine.image import ensure_image
from harness.machine.machine import Machine
from harness.machine.spec import MachineSpec


def main(argv: list[str]) -> int:
    values = dict(item.split("=", 1) for item in argv if "=" in item)
    values.setdefault("qemu_image", next((item for item in argv if "=" not in item), "debian"))
    spec = MachineSpec.from_vars("guest", values, base=Path.cwd())
    assert spec is not None
    image = None
    deadline = Deadline.after(1800)
    if spec.recipe:
        image = ensure_image(spec.recipe, events=NullEmitter(), deadline=deadline, progress=print)
    with tempfile.TemporaryDirectory(prefix="harness-logs-") as folder:
        machine = Machine(spec, name="guest", folder=Path(folder), events=NullEmitter(), image=image)
        machine.start(deadline)
        try:
            print(f"console: {machine.console_address}\nlog: {machine.console_log}\npid: {machine.pid}")
            if image is not None:
                print(f"ssh -i {image.client_key} -p {machine.ssh_port} {image.user}@127.0.0.1")
                print(f"login: {image.user}, password in {image.path}/manifest.json")
            print("Enter or Ctrl-C ends it.", flush=True)
            sys.stdin.readline()
        except KeyboardInterrupt:
            pass
        finally:
            machine.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
