"""Files over a real OpenSSH server, by SFTP and over the shell, with all that can happen to them on the way."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.deadline import Cancellation, Deadline
from harness.errors import Cancelled, UsageError
from harness.transport.errors import Damaged, Timeout, TransportLost, Unavailable
from harness.transport.limits import ANSWER_LIMIT
from harness.transport.ssh import files as files_module
from harness.transport.ssh.files_shell import errno_of
from harness.transport.ssh.spec import Become
from harness.transport.ssh.transport import SshTransport
from tests.patience import patient, scaled

if TYPE_CHECKING:
    from tests.transport.ssh.conftest import Events, FaultProxy, Sshd

PIECE = 1 << 20
MIB = 1 << 20


def soon(seconds: float = 60.0) -> Deadline:
    return Deadline.after(patient(seconds))


def noise(size: int) -> bytes:
    return os.urandom(size)


def parts(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.endswith(".part")]


@pytest.fixture(scope="module", params=["sftp", "shell"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """With `Subsystem sftp`, and without."""
    from tests.transport.ssh.conftest import make_sshd

    sshd = make_sshd(tmp_path_factory.mktemp("files"))
    sshd.sftp = "internal-sftp" if request.param == "sftp" else ""
    sshd.start()
    yield sshd
    sshd.stop()


@pytest.fixture
def box(server: Sshd, events: Events) -> Iterator[SshTransport]:
    transport = SshTransport(server.spec(), events=events)
    yield transport
    transport.close()


@pytest.fixture
def cut(server: Sshd) -> Iterator[FaultProxy]:
    """A way to the server that may be cut."""
    from tests.transport.ssh.conftest import FaultProxy

    faulty = FaultProxy(server.port)
    yield faulty
    faulty.close()


@pytest.fixture
def far(server: Sshd, cut: FaultProxy, events: Events) -> Iterator[Callable[[], SshTransport]]:
    """Transports that go through `cut`."""
    made: list[SshTransport] = []

    def make() -> SshTransport:
        made.append(SshTransport(server.spec(port=cut.port), events=events))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


# -- whole


@pytest.mark.parametrize("size", [0, 1, 32767, 32768, 32769, MIB, MIB + 1, 5 * MIB])
def test_what_was_put_is_there_and_what_is_got_is_it(box: SshTransport, tmp_path: Path, size: int) -> None:
    data, place = noise(size), tmp_path / "file"
    box.put(data, str(place), deadline=soon())
    assert place.read_bytes() == data
    assert box.get(str(place), deadline=soon()) == data
    assert parts(tmp_path) == []


def test_the_way_is_the_one_that_the_server_has(
    box: SshTransport, server: Sshd, events: Events, tmp_path: Path
) -> None:
    for _ in range(3):
        box.put(b"x", str(tmp_path / "file"), deadline=soon())
    assert len(events.of("ssh.no_sftp")) == (0 if server.sftp else 1), "it is asked once a connection"


@pytest.mark.parametrize("name", ['it\'s a "file" $x', "-rf", "with\nnewline", "ü %s %d*", "F" * 255, "caf\udce9"])
def test_any_name(box: SshTransport, tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    box.put(b"content", str(place), deadline=soon())
    assert place.read_bytes() == b"content"
    assert box.get(str(place), deadline=soon()) == b"content"


def test_a_relative_path_begins_at_home(box: SshTransport) -> None:
    name = f".harness-test-{os.getpid()}"
    place = Path(box.run("pwd", deadline=soon()).out, name)
    try:
        box.put(b"content", name, deadline=soon())
        assert place.read_bytes() == b"content"
        assert box.get(name, deadline=soon()) == b"content"
    finally:
        place.unlink(missing_ok=True)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o750, 0o400, 0o4755, 0])
def test_the_mode_is_the_one_asked_for(box: SshTransport, tmp_path: Path, mode: int) -> None:
    place = tmp_path / "file"
    box.put(b"x", str(place), deadline=soon(), mode=mode)
    assert place.stat().st_mode & 0o7777 == mode


def test_nobody_else_may_read_a_part(box: SshTransport, tmp_path: Path) -> None:
    modes: list[int] = []

    def look(done: int, total: int) -> None:
        modes.extend((tmp_path / name).stat().st_mode & 0o777 for name in parts(tmp_path))

    box.put(noise(3 * MIB), str(tmp_path / "file"), deadline=soon(), mode=0o644, progress=look)
    assert set(modes) == {0o600}


def test_progress_is_told_as_it_goes(box: SshTransport, tmp_path: Path) -> None:
    size = 5 * MIB + 3
    steps: list[tuple[int, int]] = []
    box.put(noise(size), str(tmp_path / "f"), deadline=soon(), progress=lambda done, total: steps.append((done, total)))
    assert (steps[0], steps[-1]) == ((0, size), (size, size))
    assert len(steps) >= 6
    assert steps == sorted(steps)
    steps.clear()
    box.get(str(tmp_path / "f"), deadline=soon(), progress=lambda done, total: steps.append((done, total)))
    assert (steps[0], steps[-1]) == ((0, size), (size, size))
    assert len(steps) >= 6
    assert steps == sorted(steps)


def test_a_file_may_come_from_a_path(box: SshTransport, tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(b"content")
    box.put(tmp_path / "from", str(tmp_path / "to"), deadline=soon())
    assert (tmp_path / "to").read_bytes() == b"content"
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            box.put(wrong, str(tmp_path / "to"), deadline=soon())


def test_memory_holds_a_file_once_at_most(box: SshTransport, tmp_path: Path) -> None:
    size = 48 * MIB
    (tmp_path / "from").write_bytes(noise(MIB) * 48)
    box.run(":", deadline=soon())
    tracemalloc.start()
    try:
        box.put(tmp_path / "from", str(tmp_path / "to"), deadline=soon())
        put_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        got = box.get(str(tmp_path / "to"), deadline=soon())
        get_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(got) == size
    assert put_peak < size / 2
    assert get_peak < size * 1.5


def test_files_of_the_kernels_own_have_no_size_and_are_whole(box: SshTransport) -> None:
    assert box.get("/proc/filesystems", deadline=soon()) == Path("/proc/filesystems").read_bytes()
    kernel = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if kernel.exists():
        assert box.get(str(kernel), deadline=soon()) == kernel.read_bytes()


def test_a_file_that_grows_is_what_it_was(box: SshTransport, tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.write_bytes(noise(3 * MIB))
    before = place.read_bytes()

    def grow(done: int, total: int) -> None:
        with place.open("ab") as file:
            file.write(b"one more line\n")

    assert box.get(str(place), deadline=soon(), progress=grow) == before


def test_a_file_that_changes_all_the_while_is_never_believed(box: SshTransport, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(bytes(2 * MIB))

    def change(done: int, total: int) -> None:
        if done:
            with place.open("r+b") as file:
                file.write(noise(16))

    with pytest.raises(Damaged, match="changes while it is read"):
        box.get(str(place), deadline=soon(), progress=change)


def test_many_at_once_to_one_place(box: SshTransport, tmp_path: Path) -> None:
    data = noise(MIB + 77)
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(box.put, data, str(tmp_path / "f"), deadline=soon()) for _ in range(12)]:
            done.result()
    assert (tmp_path / "f").read_bytes() == data
    assert parts(tmp_path) == []


# -- refused


def test_what_is_missing(box: SshTransport, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"box: .*/none cannot be read: .*[Nn]o such file") as caught:
        box.get(str(tmp_path / "none"), deadline=soon())
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(FileNotFoundError, match=r"none/x cannot be written: .*([Nn]o such|nonexistent)"):
        box.put(b"x", str(tmp_path / "none" / "x"), deadline=soon())


def test_what_is_a_folder(box: SshTransport, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a directory"):
        box.get(str(tmp_path), deadline=soon())
    with pytest.raises(IsADirectoryError, match="is a directory"):
        box.put(b"x", str(tmp_path), deadline=soon())
    assert parts(tmp_path) == parts(tmp_path.parent) == []


def test_what_would_wait_for_ever_or_fill_all_memory(box: SshTransport, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError, match="no regular file"):
            box.get(str(path), deadline=soon())
    with (tmp_path / "large").open("wb") as file:
        file.truncate(ANSWER_LIMIT + 1)
    with pytest.raises(OSError, match="more than 256 MiB") as caught:
        box.get(str(tmp_path / "large"), deadline=soon())
    assert caught.value.errno == errno.EFBIG


@pytest.fixture
def user() -> Iterator[str]:
    """Whose password is `some pw`."""
    if os.getuid() != 0 or not shutil.which("useradd"):
        pytest.skip("needs root and useradd")
    name = f"hxf{os.getpid()}"
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", name], check=True)
    subprocess.run(["chpasswd"], input=f"{name}:some pw\n", text=True, check=True)
    yield name
    subprocess.run(["pkill", "-KILL", "-u", name], check=False)
    subprocess.run(["userdel", "-rf", name], check=False, capture_output=True)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that anybody may look into, and root write to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_what_the_user_may_not(server: Sshd, events: Events, user: str, public: Path) -> None:
    (public / "secret").write_bytes(b"x")
    (public / "secret").chmod(0o600)
    (public / "closed").mkdir(mode=0o700)
    box = SshTransport(server.spec(user=user, key_files=(), password="some pw"), events=events)
    try:
        with pytest.raises(PermissionError, match=r"secret cannot be read: .*[Pp]ermission denied"):
            box.get(str(public / "secret"), deadline=soon())
        with pytest.raises(PermissionError, match=r"/x cannot be written: .*[Pp]ermission denied"):
            box.put(b"x", str(public / "x"), deadline=soon())
        with pytest.raises(PermissionError, match=r"closed/x cannot be read: .*[Pp]ermission denied"):
            box.get(str(public / "closed" / "x"), deadline=soon())
    finally:
        box.close()


def test_a_full_disk(box: SshTransport, mounted: Path) -> None:
    (mounted / "file").write_bytes(b"old")
    with pytest.raises(OSError, match=r"file cannot be written: .*[Nn]o space") as caught:
        box.put(noise(4 * MIB), str(mounted / "file"), deadline=soon())
    assert caught.value.errno == errno.ENOSPC
    assert (mounted / "file").read_bytes() == b"old", "it is replaced by a whole one only"
    assert parts(mounted) == [], "the room is given back"
    box.put(noise(MIB), str(mounted / "file"), deadline=soon())


def test_a_file_system_that_is_read_only(box: SshTransport, mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(OSError, match=r"[Rr]ead-only") as caught:
        box.put(b"x", str(mounted / "file"), deadline=soon())
    assert caught.value.errno == errno.EROFS


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("sh: 1: cannot open /x: No such file", errno.ENOENT),
        ("sh: 1: cannot create /none/x: Directory nonexistent", errno.ENOENT),
        ("cat: can't open '/x': Permission denied", errno.EACCES),
        ("mv: cannot move: Operation not permitted", errno.EACCES),
        ("dd: error writing '/x': No space left on device", errno.ENOSPC),
        ("sh: can't create /x: Read-only file system", errno.EROFS),
        ("cat: write error: Disk quota exceeded", errno.EDQUOT),
        ("it is a directory", errno.EISDIR),
        ("sh: 1: cannot create /file/x: Not a directory", errno.ENOTDIR),
        ("the dog ate it", errno.EIO),
    ],
)
def test_words_have_numbers(words: str, number: int) -> None:
    assert errno_of(words) == number


# -- interrupted


def test_a_put_goes_on_where_the_connection_was_cut(
    far: Callable[[], SshTransport], cut: FaultProxy, events: Events, tmp_path: Path
) -> None:
    data, steps, box = noise(12 * MIB), list[int](), far()
    box.run(":", deadline=soon())
    cut.carried, cut.cut_after = 0, 8 * MIB
    box.put(data, str(tmp_path / "f"), deadline=soon(), progress=lambda done, total: steps.append(done))
    assert (tmp_path / "f").read_bytes() == data
    assert parts(tmp_path) == []
    assert len(events.of("ssh.lost")) == 1
    assert cut.carried < 17 * MIB, "what was there was not sent again"
    assert 0 not in steps[1:]


def test_a_get_goes_on_where_the_connection_was_cut(
    far: Callable[[], SshTransport], cut: FaultProxy, events: Events, tmp_path: Path
) -> None:
    data, steps, box = noise(12 * MIB), list[int](), far()
    (tmp_path / "f").write_bytes(data)
    box.run(":", deadline=soon())
    cut.carried, cut.cut_after = 0, 8 * MIB
    assert box.get(str(tmp_path / "f"), deadline=soon(), progress=lambda done, total: steps.append(done)) == data
    assert len(events.of("ssh.lost")) == 1
    assert cut.carried < 17 * MIB
    assert 0 not in steps[1:]


def test_cut_anywhere_a_file_is_whole_or_not_there(
    far: Callable[[], SshTransport], cut: FaultProxy, tmp_path: Path
) -> None:
    data, box = noise(100_000), far()
    for number, after in enumerate(range(50, 140_000, 7_401)):
        place = tmp_path / f"f{number}"
        box.run(":", deadline=soon())
        cut.cut_after = after
        try:
            box.put(data, str(place), deadline=soon())
            assert place.read_bytes() == data
            assert box.get(str(place), deadline=soon()) == data
        except (TransportLost, Unavailable):  # Unavailable: the connection that was to go on
            assert not place.exists() or place.read_bytes() == data
        cut.cut_after = None


def test_a_connection_that_gets_no_further_is_not_made_for_ever(
    far: Callable[[], SshTransport], cut: FaultProxy, events: Events, tmp_path: Path
) -> None:
    box = far()
    box.run(":", deadline=soon())
    cut.cut_after = cut.cut_every = 25_000
    with pytest.raises((TransportLost, Unavailable)):
        box.put(noise(3 * MIB), str(tmp_path / "f"), deadline=soon())
    assert 1 < len(events.of("ssh.connected")) < 10
    assert not (tmp_path / "f").exists()


def test_the_next_put_goes_on_from_what_an_earlier_process_left(
    far: Callable[[], SshTransport], cut: FaultProxy, tmp_path: Path
) -> None:
    data = noise(8 * MIB)
    first = far()
    cancellation = Cancellation()

    def leave(done: int, total: int) -> None:
        if done > 4 * MIB:
            cancellation.cancel("enough")

    with pytest.raises(Cancelled):
        first.put(
            data, str(tmp_path / "f"), deadline=Deadline.after(scaled(60), cancellation=cancellation), progress=leave
        )
    first.close()
    assert not (tmp_path / "f").exists()
    assert len(parts(tmp_path)) == 1
    steps: list[int] = []
    far().put(data, str(tmp_path / "f"), deadline=soon(), progress=lambda done, total: steps.append(done))
    assert steps[0] >= 4 * MIB
    assert (tmp_path / "f").read_bytes() == data
    assert parts(tmp_path) == []


def part_of(data: bytes, place: Path) -> Path:
    digest = hashlib.sha256(data).hexdigest()
    name = hashlib.sha256(f"{place.name}\0{digest}".encode()).hexdigest()[:32]
    return place.with_name(f".harness-{name}.part")


@pytest.mark.parametrize("left", [b"something else", b"x" * 3 * MIB, b""])
def test_a_part_that_is_none_of_this_content_is_not_gone_on_with(
    box: SshTransport, tmp_path: Path, left: bytes
) -> None:
    data, place, steps = noise(2 * MIB), tmp_path / "f", list[int]()
    part_of(data, place).write_bytes(left)
    box.put(data, str(place), deadline=soon(), progress=lambda done, total: steps.append(done))
    assert steps[0] == 0
    assert place.read_bytes() == data
    assert parts(tmp_path) == []


def test_a_right_part_is_gone_on_with(box: SshTransport, tmp_path: Path) -> None:
    data, place, steps = noise(2 * MIB), tmp_path / "f", list[int]()
    part_of(data, place).write_bytes(data[: MIB + 5])
    box.put(data, str(place), deadline=soon(), progress=lambda done, total: steps.append(done))
    assert steps[0] == MIB + 5
    assert place.read_bytes() == data


def test_a_part_that_somebody_else_laid_there_is_not_used(box: SshTransport, tmp_path: Path) -> None:
    data, place = noise(MIB), tmp_path / "f"
    part = part_of(data, place)
    part.write_bytes(data[:1000])
    os.chown(part, 65534, 65534)
    box.put(data, str(place), deadline=soon())
    assert place.read_bytes() == data
    assert place.stat().st_uid == os.getuid(), "else they could change it later"
    victim = tmp_path / "victim"
    victim.write_bytes(data[:1000])
    part.symlink_to(victim)
    box.put(data, str(place), deadline=soon())
    assert victim.read_bytes() == data[:1000]
    assert place.read_bytes() == data
    assert not place.is_symlink()


def test_a_deadline_in_the_middle_is_kept_and_what_is_there_too(
    far: Callable[[], SshTransport], cut: FaultProxy, tmp_path: Path
) -> None:
    data, place, box, steps = noise(12 * MIB), tmp_path / "f", far(), list[int]()
    box.run(":", deadline=soon())

    def note(done: int, total: int) -> None:
        steps.append(done)

    cut.mode = "narrow"
    began = time.monotonic()
    with pytest.raises(Timeout, match=r"was not written before the deadline: \d+ of 12582912 bytes"):
        box.put(data, str(place), deadline=soon(1.5))
    assert time.monotonic() - began < 10
    cut.mode = "pass"
    box.put(data, str(place), deadline=soon(), progress=note)
    assert steps[0] > 0
    assert place.read_bytes() == data
    cut.mode = "narrow"
    with pytest.raises(Timeout, match=r"was not read before the deadline: \d+ of 12582912 bytes"):
        box.get(str(place), deadline=soon(1.5))
    cut.mode = "pass"
    steps.clear()
    assert box.get(str(place), deadline=soon(), progress=note) == data
    assert steps[0] > 0


def test_a_get_that_is_gone_on_with_is_of_the_same_file(
    far: Callable[[], SshTransport], cut: FaultProxy, tmp_path: Path
) -> None:
    place, box = tmp_path / "f", far()
    place.write_bytes(noise(12 * MIB))
    box.run(":", deadline=soon())
    cut.mode = "narrow"
    with pytest.raises(Timeout):
        box.get(str(place), deadline=soon(1.5))
    cut.mode = "pass"
    other = noise(12 * MIB)
    place.write_bytes(other)
    assert box.get(str(place), deadline=soon()) == other


def test_cancelling_ends_a_put_and_a_get_at_once(
    far: Callable[[], SshTransport], cut: FaultProxy, tmp_path: Path
) -> None:
    box = far()
    (tmp_path / "f").write_bytes(noise(MIB))
    box.run(":", deadline=soon())
    for work in (
        lambda deadline: box.put(noise(5 * MIB), str(tmp_path / "g"), deadline=deadline),
        lambda deadline: box.get(str(tmp_path / "f"), deadline=deadline),
    ):
        cancellation = Cancellation()
        cut.mode = "hole"
        timer = threading.Timer(0.3, cancellation.cancel, ["enough"])
        began = time.monotonic()
        timer.start()
        with pytest.raises(Cancelled, match="enough"):
            work(Deadline.after(scaled(60), cancellation=cancellation))
        assert time.monotonic() - began < 5
        cut.mode = "pass"


def test_nothing_is_left_open(box: SshTransport, tmp_path: Path) -> None:
    def cycle() -> None:
        box.put(b"x", str(tmp_path / "f"), deadline=soon())
        box.get(str(tmp_path / "f"), deadline=soon())
        with pytest.raises(FileNotFoundError):
            box.get(str(tmp_path / "none"), deadline=soon())

    cycle()
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    for _ in range(20):
        cycle()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
    assert box.counts["connects"] == 1


# -- odd servers


def all_of_it(box: SshTransport, folder: Path) -> None:
    data = noise(3 * MIB + 11)
    part_of(data, folder / "f").write_bytes(b"other")
    box.put(data, str(folder / "f"), deadline=soon(), mode=0o640)
    assert (folder / "f").read_bytes() == data
    assert (folder / "f").stat().st_mode & 0o777 == 0o640
    assert box.get(str(folder / "f"), deadline=soon()) == data
    with pytest.raises(FileNotFoundError):
        box.get(str(folder / "none"), deadline=soon())


@pytest.mark.parametrize("without", ["sums", "dd", "head"])
@pytest.mark.parametrize("sftp", ["internal-sftp", ""])
def test_a_target_with_few_programs(sshd: Sshd, events: Events, tmp_path: Path, without: str, sftp: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    left_out = {"sums": ("sha256sum", "openssl"), "dd": ("dd",), "head": ("head",)}[without]
    for name in ("sh", "cat", "wc", "chmod", "mv", "rm", "dd", "head", "sha256sum", "openssl"):
        if name not in left_out:
            (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    sshd.sftp, sshd.environment = sftp, f"PATH={tools}"
    sshd.start()
    box = SshTransport(sshd.spec(), events=events)
    try:
        assert not box.run(f"command -v {left_out[0]}", deadline=soon()).ok
        all_of_it(box, tmp_path)
    finally:
        box.close()


def test_an_account_with_sftp_and_no_shell(sshd: Sshd, events: Events, tmp_path: Path) -> None:
    sshd.start("ForceCommand internal-sftp")
    box = SshTransport(sshd.spec(), events=events)
    try:
        all_of_it(box, tmp_path)
    finally:
        box.close()


@pytest.mark.parametrize("program", ["/bin/echo Welcome to this box", "/bin/false", "/nonexistent/sftp-server"])
def test_a_subsystem_that_is_no_sftp(sshd: Sshd, events: Events, tmp_path: Path, program: str) -> None:
    sshd.sftp = program
    sshd.start()
    box = SshTransport(sshd.spec(), events=events)
    try:
        all_of_it(box, tmp_path)
    finally:
        box.close()
    assert "files go over its shell" in events.of("ssh.no_sftp")[0]["message"]


def test_a_subsystem_that_says_nothing(
    sshd: Sshd, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "_SFTP_PATIENCE", 0.3)
    sshd.sftp = "/bin/sleep 1000"
    sshd.start()
    box = SshTransport(sshd.spec(), events=events)
    try:
        all_of_it(box, tmp_path)
    finally:
        box.close()


def test_under_become_it_is_the_other_users_file(shared_sshd: Sshd, events: Events, public: Path, user: str) -> None:
    own = public / "own"
    own.mkdir()
    shutil.chown(own, user)
    box = SshTransport(shared_sshd.spec(become=Become("su", user)), events=events)
    try:
        all_of_it(box, own)
        assert (own / "f").owner() == user
        with pytest.raises(PermissionError):
            box.put(b"x", str(public / "not-theirs"), deadline=soon())
    finally:
        box.close()
