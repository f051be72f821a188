"""Recipes, the cache and the build: whole or absent, built once. The builder here is a stand-in of a few lines;
the real one runs in the guests' tests."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.deadline import Deadline
from harness.errors import MachineError, UsageError
from harness.events.emitter import NullEmitter
from harness.machine.accel import boot_sector, judge
from harness.machine.build import bootstrap_argv, host_mirrors, host_options
from harness.machine.cache import locked, remove_leftovers
from harness.machine.doctor import requirement_names
from harness.machine.image import describe, ensure_image, image_folder, list_images
from harness.machine.recipe import is_recipe, load_recipe, recipe_names
from harness.machine.seed import pack_seed
from harness.machine.tool import can_contain, need
from tests.patience import scaled

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]

# Packs a root with a kernel in it, after as long as the test wants; the tarball is the last argument but the mirrors.
STAND_IN = r"""#!/bin/sh
echo "I: installing remaining packages..." >&2
echo run >> "$COUNT"
[ -z "$FAIL" ] || { echo "E: the mirror is on fire" >&2; exit 25; }
sleep "${SLEEP:-0}" &
trap "kill $!; exit 1" TERM
wait $!
for out in "$@"; do case $out in *root.tar) break ;; esac; done
root=$(mktemp -d)
mkdir -p "$root/boot"; echo k > "$root/boot/vmlinuz-6"; echo i > "$root/boot/initrd.img-6"
tar -C "$root" -cf "$out" .; rm -rf "$root"
"""


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private cache and the stand-in on PATH; returns the file that counts its runs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "mmdebstrap").write_text(STAND_IN)
    (programs / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_DEBIAN_MIRROR", "http://mirror.invalid/debian")
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    monkeypatch.delenv("FAIL", raising=False)
    return tmp_path / "count"


def make(progress: Callable[[str], None] = lambda line: None, *, force: bool = False) -> Path:
    deadline = Deadline.after(scaled(120))
    return ensure_image("debian", events=NullEmitter(), deadline=deadline, progress=progress, force=force).path


def test_an_image_is_built_once_and_its_secrets_are_private(builder: Path) -> None:
    lines: list[str] = []
    folder = make(lines.append)
    assert make() == folder == image_folder("debian")
    assert builder.read_text() == "run\n"
    assert any("installing remaining packages" in line for line in lines)
    image = list_images()[0]
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json",
        "disk.raw",
        "vmlinuz",
        "initrd.img",
        "client_key",
        "client_key.pub",
        "build.log",
    }
    for path in (folder / "manifest.json", image.client_key, image.disk):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(image.password) >= 16
    assert image.password not in repr(image) + json.dumps(describe(image)) + "".join(lines)
    assert [key.split()[0] for key in image.host_keys] == ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]


def test_force_builds_anew_with_new_secrets(builder: Path) -> None:
    make()
    first = list_images()[0].password
    make(force=True)
    assert builder.read_text() == "run\nrun\n"
    assert list_images()[0].password != first


def test_a_failed_build_leaves_nothing_and_speaks(builder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(MachineError) as caught:
        make()
    assert "E: the mirror is on fire" in str(caught.value)
    assert "exit status 25" in str(caught.value)
    assert [path.name for path in image_folder("debian").parent.iterdir()] == [f"{image_folder('debian').name}.lock"]


CHILD = """
    from harness.deadline import Deadline
    from harness.events.emitter import NullEmitter
    from harness.machine.image import ensure_image
    def tell(line): print(line, flush=True)
    ensure_image("debian", events=NullEmitter(), deadline=Deadline.after(60), progress=tell)
"""


def child() -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", textwrap.dedent(CHILD)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPOSITORY)


def read_until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"never said {word!r}")


def test_a_killed_build_leaves_no_image_and_the_next_one_cleans_up(
    builder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLEEP", "600")
    process = child()
    read_until(process, "installing")
    work = [path for path in image_folder("debian").parent.iterdir() if path.name.startswith(".debian")]
    assert len(work) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list_images() == []
    # Its builder died with it: nobody sleeps on.
    for _ in range(100):
        if not _running(str(work[0])):
            break
        time.sleep(0.05)
    assert not _running(str(work[0]))
    monkeypatch.setenv("SLEEP", "0")
    assert make().is_dir()
    assert not work[0].exists()


def test_leftovers_of_another_recipe_go_unless_it_is_being_built(tmp_path: Path) -> None:
    for name in (".one-1.77", ".two-2.88", ".two-2.old-9", ".three-3.99"):
        (tmp_path / name).mkdir()
    with locked(tmp_path / "three-3.lock", deadline=Deadline.after(10), doing="building"):
        assert remove_leftovers(tmp_path, "one-1") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [".three-3.99", "three-3.lock"]


def _running(word: str) -> bool:
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"sh") and any(word.encode() in item for item in words):
            return True
    return False


def test_two_that_want_it_at_once_build_it_once(builder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLEEP", "2")
    first = child()
    read_until(first, "installing")
    lines: list[str] = []
    folder = make(lines.append)
    assert first.wait(scaled(60)) == 0
    assert folder.is_dir()
    assert builder.read_text() == "run\n"
    assert lines == [f"image debian: process {first.pid} is building it; waiting"]


def test_waiting_for_another_build_ends_with_the_deadline(builder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLEEP", "600")
    first = child()
    read_until(first, "installing")
    with pytest.raises(MachineError, match=f"while process {first.pid} was building"):
        ensure_image("debian", events=NullEmitter(), deadline=Deadline.after(0.3), progress=lambda line: None)
    first.kill()
    first.wait()


def test_an_image_that_lost_a_part_is_built_again(builder: Path) -> None:
    (make() / "vmlinuz").unlink()
    make()
    assert builder.read_text() == "run\nrun\n"


def test_a_cache_that_may_not_be_written_is_told(
    builder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(MachineError, match="cannot be used"):
        make()


@pytest.mark.skipif(not can_contain(), reason="needs root and leave to make namespaces")
def test_a_folder_with_a_mount_below_is_left_alone(tmp_path: Path) -> None:
    """In a mount namespace of its own, so that nothing of the host can be touched."""
    code = f"""
        import subprocess, sys
        from pathlib import Path
        from harness.machine.cache import remove_tree
        inner = Path({str(tmp_path)!r}) / "a folder" / "inner"
        inner.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", str(inner)], check=True)
        (inner / "precious").write_text("x")
        assert not remove_tree(inner.parent)
        assert (inner / "precious").exists()
        subprocess.run(["umount", str(inner)], check=True)
        assert remove_tree(inner.parent)
    """
    argv = ["unshare", "--mount", sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def recipes(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / name / "files/etc").mkdir(parents=True)
        (folder / name / "recipe.toml").write_text(text)
        (folder / name / "files/etc/who").write_text(name)
        (folder / name / "customize.sh").write_text(f"echo {name}\n")
    return folder


def test_a_recipe_adds_to_its_base(tmp_path: Path) -> None:
    base = 'suite = "bookworm"\npackages = ["a"]\nappend = ["x"]\nsize = "1G"'
    folder = recipes(tmp_path, one=base, two='base = "one"\npackages = ["b"]\nappend = ["y"]')
    (folder / "one/files/etc/only").write_text("1")
    two = load_recipe("two", folder)
    assert (two.suite, two.packages, two.append, two.size) == ("bookworm", ("a", "b"), "x y", 1 << 30)
    assert {file.path: file.data for file in two.files} == {"etc/only": b"1", "etc/who": b"two"}
    assert two.scripts == ("echo one\n", "echo two\n")


def test_the_digest_follows_everything_and_nothing_else(tmp_path: Path) -> None:
    folder = recipes(tmp_path, one='suite = "s"\npackages = ["a"]')
    first = load_recipe("one", folder).digest
    assert load_recipe("one", folder).digest == first
    (folder / "one/seeds").mkdir()
    (folder / "one/seeds/x").write_text("x")
    assert load_recipe("one", folder).digest == first
    seen = {first}
    for change in (
        lambda: (folder / "one/files/etc/who").write_text("other"),
        lambda: (folder / "one/files/etc/who").chmod(0o755),
        lambda: (folder / "one/customize.sh").write_text("true"),
        lambda: (folder / "one/recipe.toml").write_text('suite = "s"\npackages = ["a", "b"]'),
    ):
        change()
        seen.add(load_recipe("one", folder).digest)
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("suite = ", "no TOML"),
        ('suit = "x"', "unknown key 'suit'"),
        ("", "must name its `suite`"),
        ('base = "one"', "based on itself"),
        ('base = "none"', "no image recipe 'none'"),
        ('suite = "s"\nsize = "big"', "no size"),
    ],
)
def test_a_bad_recipe_is_told(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        load_recipe("one", recipes(tmp_path, one=text))


@pytest.mark.parametrize(
    ("text", "file", "over"),
    [
        ('base = "one"', "etc/more", "one"),
        ('base = "one"\nappend = ["y"]', "etc/more", "one"),
        ('base = "one"\npackages = ["b"]', "etc/more", ""),
        ('base = "one"\nsize = "2G"', "etc/more", ""),
        ('base = "one"', "etc/initramfs-tools/modules", ""),
        ('base = "one"', "../customize.sh", ""),
        ('suite = "s"', "etc/more", ""),
    ],
)
def test_what_only_adds_files_is_laid_over_its_base(tmp_path: Path, text: str, file: str, over: str) -> None:
    folder = recipes(tmp_path, one='suite = "bookworm"\npackages = ["a"]', two=text)
    (folder / "two/customize.sh").unlink()
    (folder / "two/files" / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / "two/files" / file).write_text("x")
    two = load_recipe("two", folder)
    assert two.over == over
    assert {each.path for each in two.layer} >= {"etc/who"}
    # What it is over belongs to the same content all the same.
    assert load_recipe("one", folder).digest != two.digest


def test_the_image_of_a_recipe_of_files_is_its_bases_with_them(builder: Path) -> None:
    lines: list[str] = []
    image = ensure_image("pre_nixos", events=NullEmitter(), deadline=Deadline.after(scaled(120)), progress=lines.append)
    assert image.path == image_folder("pre_nixos")
    assert builder.read_text() == "run\n", "the packages were fetched once, for the base"
    base = next(each for each in list_images() if each.recipe == "debian")
    assert (image.password, image.host_keys, image.user) == (base.password, base.host_keys, base.user)
    assert image.append == base.append
    for path in (image.path / "manifest.json", image.client_key, image.disk):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(image.path.stat().st_mode) == 0o700
    assert image.password not in "".join(lines)
    script = subprocess.run(
        [need("debugfs", to="to test"), "-R", "cat /usr/local/sbin/pre-nixos", str(image.disk)],
        capture_output=True,
        check=True,
    )
    assert script.stdout.startswith(b"#!/bin/sh\n# Prepares this machine")
    # A copy of its own: what is written to one is not in the other.
    assert image.disk.stat().st_ino != base.disk.stat().st_ino
    assert image.disk.stat().st_blocks < 0.1 * image.disk.stat().st_size / 512, "what is empty takes no space"


def test_the_shipped_recipe() -> None:
    assert "debian" in recipe_names()
    assert is_recipe("debian")
    assert not is_recipe("../debian")
    recipe = load_recipe("debian")
    assert "console=ttyS0,115200" in recipe.append.split()
    modes = {file.path: file.mode for file in recipe.files}
    assert modes["etc/initramfs-tools/scripts/local-bottom/harness-seed"] == 0o755


def test_the_builders_command_line() -> None:
    recipe = load_recipe("debian")
    argv = bootstrap_argv(
        recipe, "mmdebstrap", Path("/a b/o.tar"), Path("/t.tar"), root=False, mirrors=["deb x y z"], options=["p"]
    )
    assert argv[1] == "--mode=unshare"
    assert "--customize-hook=tar-in '/a b/o.tar' /" in argv
    assert argv[-3:] == ["bookworm", "/t.tar", "deb x y z"]
    assert "--aptopt=p" in argv


def test_the_hosts_own_sources_are_used_where_they_fit() -> None:
    targets = "\n".join(
        [
            "http://a/debian/ bookworm main Debian",
            "http://a/debian/ bookworm main Debian",
            "http://a/debian/ bookworm contrib Debian",
            "http://a/debian/ bookworm-updates main Debian",
            "http://s/sec/ bookworm-security main Debian",
            "http://u/ubuntu/ bookworm main Ubuntu",
            "file:/x/ bookworm main Debian",
            "nonsense",
        ]
    )
    assert host_mirrors(targets, "bookworm") == [
        "deb http://a/debian/ bookworm main",
        "deb http://a/debian/ bookworm-updates main",
        "deb http://s/sec/ bookworm-security main",
    ]
    assert host_mirrors("http://s/sec/ bookworm-security main Debian", "bookworm") == []
    assert host_mirrors("", "bookworm") == []


def test_the_hosts_proxy_is_used() -> None:
    dump = 'APT "";\nAcquire::http::Proxy "http://127.0.0.1:3142";\nAcquire::https::CaInfo "/ca";\nAcquire::http "";\n'
    assert host_options(dump) == ['Acquire::http::Proxy "http://127.0.0.1:3142"', 'Acquire::https::CaInfo "/ca"']


def test_a_seed_keeps_modes_and_links_and_belongs_to_root(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    (seed / "etc").mkdir(parents=True)
    (seed / "etc").chmod(0o750)
    (seed / "etc/run").write_text("x")
    (seed / "etc/run").chmod(0o4755)
    (seed / "etc/link").symlink_to("/nowhere")
    pack_seed(seed, tmp_path / "seed.tar")
    assert stat.S_IMODE((tmp_path / "seed.tar").stat().st_mode) == 0o600
    assert (tmp_path / "seed.tar").stat().st_size % 512 == 0
    with tarfile.open(tmp_path / "seed.tar") as tar:
        found = {entry.name: (entry.mode, entry.linkname, entry.uid, entry.gname) for entry in tar}
    assert found == {
        "etc": (0o750, "", 0, "root"),
        "etc/run": (0o4755, "", 0, "root"),
        "etc/link": (0o777, "/nowhere", 0, "root"),
    }
    os.mkfifo(seed / "pipe")
    with pytest.raises(UsageError, match="pipe"):
        pack_seed(seed, tmp_path / "second.tar")


def test_what_the_trial_of_kvm_means() -> None:
    assert judge(99, "").works
    assert not judge(0, "").works
    assert "10 s" in judge(None, "").why
    assert judge(-6, "a\nAssertion failed\n").why.endswith("signal 6: Assertion failed")
    assert len(boot_sector()) == 512


def test_requirements_of_no_extra() -> None:
    lines = ["paramiko>=5.0", "pytest>=8; extra == 'dev'", "rich"]
    assert requirement_names(lines) == [("paramiko", (5, 0)), ("rich", (0,))]
