"""Foreign systems: a live ISO and a disk that boots by its own boot loader, with a kernel, busybox and nothing else. No
systemd, no SSH, a login that only whoever made it knows."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
from pathlib import Path

BUSYBOX = Path("/usr/bin/busybox")
_LOADER = Path("/usr/lib/ISOLINUX/isolinux.bin")
_HYBRID = Path("/usr/lib/ISOLINUX/isohdpfx.bin")
_CORE = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")

_BOOT = """\
serial 0 115200
default linux
prompt 0
label linux
  kernel /kernel
  initrd /initrd
  append console=ttyS0,115200 mitigations=off quiet
"""
_INIT = """\
::sysinit:/etc/rc
ttyS0::respawn:/bin/getty -L 115200 ttyS0 vt100
::ctrlaltdel:/bin/poweroff -f
"""
_RC = """\
#!/bin/sh
mkdir -p /proc /sys /dev /run /tmp /home/keeper
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
chown keeper /home/keeper
chmod 1777 /tmp
hostname foreign
echo welcome to a foreign system
"""


def initramfs(password: str) -> bytes:
    """A system of which `root` and `keeper` have that password."""
    hashed = subprocess.run(
        [str(BUSYBOX), "mkpasswd", "-m", "sha512", password], check=True, capture_output=True, text=True
    ).stdout.strip()
    applets = subprocess.run([str(BUSYBOX), "--list"], check=True, capture_output=True, text=True).stdout.split()
    entries: list[tuple[str, int, bytes]] = [(name, 0o040755, b"") for name in ("bin", "etc", "root", "home")]
    entries += [("bin/busybox", 0o104755, BUSYBOX.read_bytes())]
    entries += [(f"bin/{name}", 0o120777, b"busybox") for name in applets if name != "busybox"]
    for name, mode, text in [
        ("init", 0o755, "#!/bin/sh\nexec /bin/init\n"),
        ("etc/inittab", 0o644, _INIT),
        ("etc/rc", 0o755, _RC),
        ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nkeeper:x:1000:1000:keeper:/home/keeper:/bin/sh\n"),
        ("etc/group", 0o644, "root:x:0:\nkeeper:x:1000:\n"),
        ("etc/shadow", 0o600, f"root:{hashed}:19000:0:99999:7:::\nkeeper:{hashed}:19000:0:99999:7:::\n"),
    ]:
        entries.append((name, 0o100000 | mode, text.encode()))
    return gzip.compress(cpio([*entries, ("TRAILER!!!", 0, b"")]), 1)


def cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """A newc archive; the format: https://docs.kernel.org/driver-api/early-userspace/buffer-format.html"""
    out = io.BytesIO()
    for inode, (name, mode, data) in enumerate(entries, 1):
        encoded = name.encode() + b"\0"
        numbers = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        out.write(b"070701" + b"".join(b"%08X" % number for number in numbers) + encoded)
        out.write(b"\0" * (-out.tell() % 4))
        out.write(data)
        out.write(b"\0" * (-out.tell() % 4))
    return out.getvalue()


def live_iso(place: Path, kernel: Path, password: str) -> Path:
    """An ISO that boots from a CD drive, and from a disk that it was written to as it is."""
    tree = place.with_suffix(".tree")
    tree.mkdir()
    for source in (_LOADER, _CORE):
        shutil.copy(source, tree)
    shutil.copy(kernel, tree / "kernel")
    (tree / "initrd").write_bytes(initramfs(password))
    (tree / "isolinux.cfg").write_text(_BOOT)
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-o", str(place), "-V", "FOREIGN", "-b", "isolinux.bin"]
    command += ["-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
    subprocess.run([*command, "-isohybrid-mbr", str(_HYBRID), str(tree)], check=True, capture_output=True)
    return place


def disk_of(iso: Path, place: Path) -> Path:
    """A qcow2 with that ISO written to it."""
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(iso), str(place)], check=True)
    return place
