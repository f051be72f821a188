"""Builds an image from a recipe: packages by mmdebstrap, a file system by mke2fs, keys and a password of its own.

Nothing here needs root: mmdebstrap unshares a user namespace, and fakeroot remembers the owners for mke2fs.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shlex
import shutil
import string
import subprocess
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import MachineError
from harness.machine.image import write_manifest
from harness.machine.recipe import Recipe
from harness.machine.tool import can_contain, need, run_tool

MIRROR_VARIABLE = "HARNESS_DEBIAN_MIRROR"
_KEY_TYPES = (("ed25519", ()), ("ecdsa", ("-b", "256")), ("rsa", ("-b", "3072")))
_PASSWORD_LENGTH = 20
_SECRETS = "harness-build"
# What mmdebstrap says per phase, made short; everything is in build.log while it runs.
_PHASES = re.compile(r"I: (?:downloading|extracting|installing|cleaning) .*|I: running apt-get update\.\.\.")


def build(recipe: Recipe, folder: Path, *, deadline: Deadline, progress: Callable[[str], None]) -> None:
    """Builds `recipe` into the empty folder `folder`. Raises :class:`MachineError` or :class:`Cancelled`."""
    mmdebstrap = need("mmdebstrap", to="to build an image")
    need("mke2fs", to="to build an image")
    need("ssh-keygen", to="to make an image's keys")
    root = os.geteuid() == 0
    fakeroot = [] if root else [need("fakeroot", to="to build an image without being root"), "--"]

    def tell(line: str) -> None:
        progress(f"image {recipe.name}: {line}")

    tell("making keys")
    host_keys = _make_keys(recipe, folder, deadline)
    password = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(_PASSWORD_LENGTH))
    overlay = folder / "overlay.tar"
    _write_overlay(recipe, folder, overlay, password)

    started = time.monotonic()

    def phase(line: str) -> None:
        if match := _PHASES.match(line):
            tell(f"{match.group(0)[3:]} ({time.monotonic() - started:.0f} s)")

    tarball = folder / "root.tar"
    argv = bootstrap_argv(
        recipe, mmdebstrap, overlay, tarball, root=root, mirrors=mirrors(recipe.suite), options=apt_options()
    )
    with (folder / "build.log").open("ab") as log:
        environment = dict(os.environ)
        contain = root and can_contain()
        if contain:
            # What a killed mmdebstrap leaves goes with our own folder: its mounts went with its namespace. Otherwise
            # it must not work in there: it may leave mounts, and an unshared user could not get in.
            (folder / "tmp").mkdir()
            environment["TMPDIR"] = str(folder / "tmp")
        run_tool(
            argv,
            doing=f"mmdebstrap for the image {recipe.name}",
            deadline=deadline,
            on_line=phase,
            log=log,
            env=environment,
            contain=contain,
        )
        tell(f"writing the disk ({time.monotonic() - started:.0f} s)")
        tree = folder / "root"
        tree.mkdir()
        command = disk_script(tarball, tree, folder / "disk.raw", recipe.size)
        run_tool(
            [*fakeroot, "sh", "-euc", command],
            doing=f"writing the disk of the image {recipe.name}",
            deadline=deadline,
            log=log,
        )
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        found = sorted((tree / "boot").glob(pattern))
        if not found:
            raise MachineError(
                f"the recipe {recipe.name} installed no kernel: there is no /boot/{pattern}",
                hint="its packages must name a linux-image-… and initramfs-tools",
            )
        shutil.copyfile(found[-1], folder / name)
    for name in ("root", "host-keys", "tmp"):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    for path in (overlay, tarball):
        path.unlink()
    write_manifest(
        folder,
        recipe=recipe.name,
        recipe_hash=recipe.digest,
        append=recipe.append,
        user=recipe.user,
        password=password,
        host_keys=host_keys,
        seedable=True,
        built=time.time(),
    )


def bootstrap_argv(
    recipe: Recipe,
    mmdebstrap: str,
    overlay: Path,
    tarball: Path,
    *,
    root: bool,
    mirrors: Sequence[str],
    options: Sequence[str],
) -> list[str]:
    """mmdebstrap's command line. The hooks are given as text, since an unshared user may not read our folder."""
    return [
        mmdebstrap,
        f"--mode={'root' if root else 'unshare'}",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={option}" for option in options),
        # The guest's documentation is read by nobody, and costs build time.
        *(f"--dpkgopt=path-exclude={path}" for path in ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")),
        f"--customize-hook=tar-in {shlex.quote(str(overlay))} /",
        *(f"--customize-hook={script}" for script in recipe.scripts),
        recipe.suite,
        str(tarball),
        *mirrors,
    ]


def disk_script(tarball: Path, tree: Path, disk: Path, size: int) -> str:
    """The shell commands that turn the tarball into an ext4 file system with root's own files."""
    tar, mke2fs = need("tar", to="to build an image"), need("mke2fs", to="to build an image")
    q = shlex.quote
    return "\n".join(
        [
            f"{q(tar)} --extract --file={q(str(tarball))} --directory={q(str(tree))} --numeric-owner "
            "--preserve-permissions --exclude='./dev/*'",
            # It holds the host keys and the password's hash.
            "umask 077",
            f"truncate --size={size} {q(str(disk))}",
            # A lazily initialised file system would be finished by the guest, on the guest's first seconds.
            f"{q(mke2fs)} -q -F -t ext4 -L root -m 0 -E lazy_itable_init=0 -d {q(str(tree))} {q(str(disk))}",
        ]
    )


def mirrors(suite: str) -> list[str]:
    """Where the packages come from: the environment's word, else the host's own sources for that suite, else
    none (mmdebstrap then takes Debian's)."""
    if mirror := os.environ.get(MIRROR_VARIABLE, "").strip():
        return [mirror]
    return host_mirrors(_output("apt-get", "indextargets", "--format", _TARGET_FORMAT, "Created-By: Packages"), suite)


_TARGET_FORMAT = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"


def host_mirrors(targets: str, suite: str) -> list[str]:
    """sources.list lines for `suite` from what ``apt-get indextargets`` printed; only Debian's own archives count."""
    lines: list[str] = []
    for target in targets.splitlines():
        words = target.split(" ", 3)
        if len(words) != 4 or words[3] != "Debian" or words[2] != "main" or not words[0].startswith("http"):
            continue
        if words[1] in (suite, f"{suite}-updates", f"{suite}-security"):
            line = f"deb {words[0]} {words[1]} main"
            if line not in lines:
                lines.append(line)
    # Without the suite itself the others are of no use.
    return lines if any(line.split()[2] == suite for line in lines) else []


def apt_options() -> list[str]:
    """The host apt's way out (proxies, certificates), so that the image's packages come the same way."""
    return host_options(_output("apt-config", "dump"))


def host_options(dump: str) -> list[str]:
    """The proxy and certificate lines of ``apt-config dump``, as mmdebstrap takes them."""
    wanted = re.compile(r'Acquire::https?::(?:Proxy\b[^ ]*|CaInfo|Verify-[A-Za-z]+) "[^"]+";')
    return [line.rstrip(";") for line in dump.splitlines() if wanted.fullmatch(line)]


def _output(*argv: str) -> str:
    """What a query of the host's apt prints; nothing where there is no apt (the build then uses defaults)."""
    if shutil.which(argv[0]) is None:
        return ""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.stdout if done.returncode == 0 else ""


def _make_keys(recipe: Recipe, folder: Path, deadline: Deadline) -> list[str]:
    keygen = need("ssh-keygen", to="to make an image's keys")
    doing = f"making the keys of the image {recipe.name}"
    base = [keygen, "-q", "-N", "", "-C"]
    client = folder / "client_key"
    run_tool([*base, "harness client", "-t", "ed25519", "-f", str(client)], doing=doing, deadline=deadline)
    lines = []
    (folder / "host-keys").mkdir(mode=0o700)
    for kind, bits in _KEY_TYPES:
        place = folder / "host-keys" / f"ssh_host_{kind}_key"
        run_tool([*base, f"{recipe.name} guest", "-t", kind, *bits, "-f", str(place)], doing=doing, deadline=deadline)
        lines.append(" ".join(place.with_name(place.name + ".pub").read_text().split()[:2]))
    return lines


def _write_overlay(recipe: Recipe, folder: Path, overlay: Path, password: str) -> None:
    """The recipe's files and the image's own secrets as one tar, all owned by root."""
    os.close(os.open(overlay, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with tarfile.open(overlay, "w", format=tarfile.GNU_FORMAT) as tar:
        for file in recipe.files:
            _add(tar, file.path, file.data, file.mode)
        for name in ("root/.ssh", _SECRETS):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o700, int(time.time())
            tar.addfile(entry)
        _add(tar, "root/.ssh/authorized_keys", (folder / "client_key.pub").read_bytes(), 0o600)
        for path in sorted((folder / "host-keys").iterdir()):
            _add(tar, f"etc/ssh/{path.name}", path.read_bytes(), 0o644 if path.suffix == ".pub" else 0o600)
        _add(tar, f"{_SECRETS}/password", f"{recipe.user}:{password}\n".encode(), 0o600)


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), mode, int(time.time())
    tar.addfile(entry, io.BytesIO(data))
