"""Files over a console: whole or not at all, and on from where it was when the console went away."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.transport.errors import Cause, Unavailable
from harness.transport.serial import files as files_module

Within = Callable[..., Deadline]
BASH = ["bash", "--norc", "-i"]
DATA = random.Random(7).randbytes(125_000)
"""Four pieces of a put, where `small_pieces` makes them smaller."""


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carry files in pieces of a quarter of their size: a guest spends most of its time on each byte."""
    make_pieces_smaller(monkeypatch, 4)


def make_pieces_smaller(monkeypatch: pytest.MonkeyPatch, factor: int) -> None:
    """Divide the size of the pieces of a file by `factor`."""
    for name in ("PUT_CHUNK", "GET_CHUNK"):
        monkeypatch.setattr(files_module, name, getattr(files_module, name) // factor)


class Place:
    """A shell whose console can be cut at any byte of a file's way."""

    def __init__(self, bench: Any, argv: list[str] = BASH, **options: Any) -> None:
        self.folder: Path = bench.folder / "files"
        self.folder.mkdir()
        self.events = bench.events
        self.guest = bench.guest(argv, **options)
        self.transport = bench.transport(bench.console(self.guest))
        self.seen: list[tuple[int, int]] = []

    def cut_at(self, *places: int) -> Callable[[int, int], None]:
        """A progress that drops the console once at each of these."""
        left = sorted(places, reverse=True)

        def progress(done: int, total: int) -> None:
            self.seen.append((done, total))
            if left and done >= left[-1]:
                left.pop()
                self.guest.drop_client()

        return progress

    def resumed(self) -> list[int]:
        return [fields["done"] for fields in self.events.of("serial.file_resumed")]

    def names(self) -> list[str]:
        return sorted(os.listdir(self.folder))


@pytest.mark.parametrize(
    ("shell", "factor"), [(BASH, 1), (["busybox", "ash", "-i"], 4)], ids=["bash", "busybox with small pieces"]
)
def test_a_put_goes_on_behind_what_has_arrived(
    bench: Any, within: Within, monkeypatch: pytest.MonkeyPatch, shell: list[str], factor: int
) -> None:
    make_pieces_smaller(monkeypatch, factor)
    data = random.Random(7).randbytes(500_000 // factor)
    place = Place(bench, shell)
    path = place.folder / "a file"
    cuts = place.cut_at(200_000 // factor, 450_000 // factor)
    place.transport.put(data, str(path), deadline=within(120), mode=0o640, progress=cuts)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o640
    assert place.names() == ["a file"]
    first, second = (done * factor for done in place.resumed())
    assert 60_000 < first <= 200_000
    assert 300_000 < second <= 450_000
    assert place.seen[-1] == (len(data), len(data))


@pytest.mark.usefixtures("small_pieces")
def test_a_later_put_goes_on_too(bench: Any, within: Within) -> None:
    """The first one had no time: what it has carried is not carried again."""
    place = Place(bench)
    path = place.folder / "f"
    short = within(120)

    def stop(done: int, total: int) -> None:
        if done > 50_000:
            short.cancellation.cancel("enough")

    with pytest.raises(Exception, match="enough"):
        place.transport.put(DATA, str(path), deadline=short, progress=stop)
    assert not path.exists()
    (part,) = place.names()
    assert part.startswith(".f.")
    assert (place.folder / part).stat().st_mode & 0o077 == 0
    place.transport.put(DATA, str(path), deadline=within(120), progress=place.cut_at())
    assert path.read_bytes() == DATA
    assert place.seen[0][0] > 25_000
    assert place.names() == ["f"]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("harm", ["cut", "changed at its end", "changed at its start", "too long", "a link"])
def test_only_what_is_verified_counts(bench: Any, within: Within, harm: str) -> None:
    place = Place(bench)
    path = place.folder / "f"
    from harness.transport.serial.files import part_name

    part = Path(part_name(str(path), DATA))
    elsewhere = place.folder / "elsewhere"
    elsewhere.write_bytes(b"keep me")
    content = bytearray(DATA[:75_000])
    if harm == "changed at its end":
        content[-1] ^= 1
    elif harm == "changed at its start":
        content[0] ^= 1
    elif harm == "too long":
        content += DATA
    if harm == "a link":
        part.symlink_to(elsewhere)
    else:
        part.write_bytes(content)
    place.transport.put(DATA, str(path), deadline=within(120), progress=place.cut_at())
    assert path.read_bytes() == DATA
    assert elsewhere.read_bytes() == b"keep me"
    assert place.names() == ["elsewhere", "f"]
    begun = place.seen[0][0] > 50_000
    assert begun == (harm in ("cut", "changed at its end"))


@pytest.mark.usefixtures("small_pieces")
def test_a_get_goes_on_over_a_new_login(bench: Any, within: Within) -> None:
    place = Place(bench)
    data = random.Random(8).randbytes(425_000)
    (place.folder / "big").write_bytes(data)
    got = place.transport.get(str(place.folder / "big"), deadline=within(120), progress=place.cut_at(125_000, 300_000))
    assert got == data
    assert [done > 0 for done in place.resumed()] == [True, True]
    done = [at for at, _ in place.seen]
    assert done == sorted(done)
    assert place.seen[-1] == (len(data), len(data))


def test_a_file_that_changes_while_it_is_read(bench: Any, within: Within) -> None:
    place = Place(bench)
    file = place.folder / "f"
    file.write_bytes(bytes(1_500_000))

    def change(done: int, total: int) -> None:
        file.write_bytes(random.randbytes(1_500_000))

    with pytest.raises(OSError, match="changed while it was read"):
        place.transport.get(str(file), deadline=within(120), progress=change)

    def grow(done: int, total: int) -> None:
        with file.open("ab") as stream:
            stream.write(b"one more line\n")

    before = file.read_bytes()
    assert place.transport.get(str(file), deadline=within(120), progress=grow) == before


def test_a_file_that_is_no_plain_one(bench: Any, within: Within) -> None:
    """One that hands out less at a time than it is asked for, as those of /proc do."""
    place = Place(bench)
    wanted = Path("/proc/kallsyms").read_bytes()
    if len(wanted) < 1_000_000:
        pytest.skip("no long file in /proc here")
    assert place.transport.get("/proc/kallsyms", deadline=within(120)) == wanted


@pytest.mark.usefixtures("small_pieces")
def test_places_where_no_file_can_be(bench: Any, within: Within) -> None:
    place = Place(bench)
    for data in (b"x", DATA):
        with pytest.raises(OSError, match="directory"):
            place.transport.put(data, str(place.folder), deadline=within(60))
        with pytest.raises(FileNotFoundError):
            place.transport.put(data, str(place.folder / "none" / "f"), deadline=within(60))
    assert place.names() == []
    assert not [name for name in os.listdir(place.folder.parent) if name.endswith(".part")]


@pytest.mark.usefixtures("small_pieces")
def test_a_console_that_is_gone_for_good(bench: Any, within: Within) -> None:
    place = Place(bench)
    gone = threading.Event()

    def progress(done: int, total: int) -> None:
        if done > 50_000 and not gone.is_set():
            gone.set()
            threading.Thread(target=place.guest.close).start()

    with pytest.raises(Unavailable) as caught:
        place.transport.put(DATA, str(place.folder / "f"), deadline=within(8), progress=progress)
    assert caught.value.cause in (Cause.REFUSED, Cause.TIMEOUT)


def test_guests_with_few_tools(bench: Any, within: Within) -> None:
    """Without sums or `dd` a file still arrives whole; it only cannot be gone on with."""
    folder = bench.folder / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "chmod", "mv", "rm", "wc", "mkdir", "stty", "gzip", "base64"):
        (folder / name).symlink_to(shutil.which(name) or "")
    place = Place(bench, [str(folder / "sh"), "-i"], env={"PATH": str(folder)})
    data = bytes(range(1, 128)) * 1600
    place.transport.put(data, str(place.folder / "f"), deadline=within(120))
    assert (place.folder / "f").read_bytes() == data
    text = b"some text\n" * 70_000
    (place.folder / "g").write_bytes(text)
    assert place.transport.get(str(place.folder / "g"), deadline=within(120)) == text
    assert place.names() == ["f", "g"]
