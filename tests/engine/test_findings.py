"""Reports out of console lines: each whole, whatever stands between its lines; none in what a machine says anyway."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.findings.finding import Severity
from harness.engine.findings.kinds import BY_NAME, CUT_HERE, KINDS, SEEN, begins, markdown
from harness.engine.findings.reader import Line, Report, ReportReader
from harness.machine.boot_signs import FAILURE_SIGNS
from harness.transport.errors import Cause
from harness.transport.serial.console import as_text
from harness.transport.serial.signs import find_sign

from .reports import HARMLESS, KMSG, REPORTS

CONSOLES = Path(__file__).parent / "consoles"
BOOTS = Path(__file__).parents[1] / "machine" / "consoles"
DOCS = Path(__file__).parents[2] / "docs" / "findings.md"
STAMPED = [(name, text) for name, text in REPORTS if BY_NAME[name].printk] + list(KMSG)
SPOKEN = [(name, text) for name, text in REPORTS if not BY_NAME[name].printk]
_UNSTAMPED = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")
PER_LINE = 0.01


def read(lines: Iterable[str], *, step: float = PER_LINE) -> list[Report]:
    """The reports in those lines, `step` seconds apart, and a long silence after them."""
    reader = ReportReader()
    found: list[Report] = []
    now = 0.0
    for number, text in enumerate(lines, 1):
        now += step
        found += reader.feed(Line(text, number), now)
    found += reader.tick(now + 60)
    assert reader.due is None
    return sorted(found, key=lambda report: report.first.sequence)


def recorded(path: Path) -> list[str]:
    return [as_text(line) for line in path.read_bytes().split(b"\n")]


def stamped(text: str, *, start: float = 12.0, caller: str = "") -> list[str]:
    """The lines as the kernel prints them on a console."""
    return [f"[{start + n / 1000:12.6f}]{caller} {line}" for n, line in enumerate(text.split("\n"))]


def summary(reports: Iterable[Report]) -> list[tuple[str, int]]:
    return [(report.kind.name, len(report.lines)) for report in reports]


def test_every_kind_has_a_text() -> None:
    assert {name for name, _ in (*REPORTS, *KMSG)} == {kind.name for kind in KINDS}
    assert len(BY_NAME) == len(KINDS) + len(SEEN)
    assert not any(begins(text) in SEEN for _, text in REPORTS)


def test_the_documentation_holds_the_table() -> None:
    assert markdown() in DOCS.read_text(encoding="utf-8"), "run: python -m harness.engine.findings.kinds"


@pytest.mark.parametrize(("name", "text"), STAMPED)
@pytest.mark.parametrize("caller", ["", "[    T1]", "[   C12]"])
def test_a_stamped_report_is_one_finding_and_whole(name: str, text: str, caller: str) -> None:
    lines = stamped(text, caller=caller)
    (report,) = read(["[    0.000000] Linux version 6.1", *lines, "[   99.000000] something else"])
    assert (report.kind.name, report.lines) == (name, tuple(lines))
    assert (report.first.sequence, report.last.sequence) == (2, 1 + len(lines))
    assert _UNSTAMPED.sub("", lines[0]).startswith(report.title[:20]) or CUT_HERE.search(lines[0])


@pytest.mark.parametrize(("name", "text"), REPORTS)
def test_a_report_without_stamps_is_one_finding_and_whole(name: str, text: str) -> None:
    lines = text.split("\n")
    (report,) = read(lines)
    assert (report.kind.name, report.lines) == (name, tuple(lines))


@pytest.mark.parametrize(("name", "text"), REPORTS)
def test_its_first_line_alone_is_enough(name: str, text: str) -> None:
    """A quiet console has the gravest lines only."""
    first = next(line for line in text.split("\n") if begins(line) is not None)
    assert summary(read([first])) == [(name, 1)]


@pytest.mark.parametrize("console", ["debian", "autologin", "busybox", "stall"])
def test_the_recorded_boots_have_no_finding(console: str) -> None:
    assert read(recorded(BOOTS / f"{console}.log")) == []


def test_a_whole_verbose_boot_has_no_finding() -> None:
    lines = recorded(CONSOLES / "boot.log")
    assert len(lines) > 500
    assert read(lines) == []


def test_harmless_lines_are_no_finding() -> None:
    assert read(HARMLESS) == []
    for line in HARMLESS:
        assert read([line, *stamped(line)]) == [], line


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(recorded(CONSOLES / "boot.log") + HARMLESS), max_size=60))
def test_no_order_of_ordinary_lines_is_a_finding(lines: list[str]) -> None:
    assert read(lines) == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=30))
def test_no_text_breaks_it(lines: list[str]) -> None:
    for report in read(lines):
        assert report.lines


@pytest.mark.parametrize(
    ("console", "wanted"),
    [
        ("panic", [("panic", 16)]),
        ("emergency", [("emergency_shell", 7)]),
        ("rescue", [("emergency_shell", 2)]),
        ("initramfs", [("initramfs_shell", 5)]),
        ("no_boot", [("boot_loader", 1)]),
    ],
)
def test_boots_that_fail_are_found(console: str, wanted: list[tuple[str, int]]) -> None:
    assert summary(read(recorded(BOOTS / f"{console}.log"))) == wanted


def test_what_a_guest_reported() -> None:
    reports = read(recorded(CONSOLES / "reports.log"))
    assert summary(reports) == [
        ("segfault", 2),
        ("oom_kill", 78),
        ("io_error", 4),
        ("hung_task", 39),
        ("panic", 36),
    ]
    by_name = {report.kind.name: report for report in reports}
    assert by_name["oom_kill"].title.startswith("tail invoked oom-killer")
    assert "Killed process 270 (tail)" in by_name["oom_kill"].lines[-1]
    assert by_name["hung_task"].lines[-1].endswith("</TASK>")
    assert by_name["panic"].title == "Kernel panic - not syncing: sysrq triggered crash"
    assert "end Kernel panic" in by_name["panic"].lines[-1]


def test_what_failing_units_print() -> None:
    """One of its lines has a kernel's behind it; one report is partly in the kernel's log."""
    assert summary(read(recorded(CONSOLES / "failing_units.log"))) == [
        ("ordering_cycle", 4),
        ("timed_out", 1),
        ("dependency_failed", 1),
        ("unit_failed", 2),
        ("dependency_failed", 1),
    ]


# -- noise, chunks, bounds ---------------------------------------------------------------------------------------

NOISE = st.lists(
    st.sampled_from(
        [
            "",
            "[  OK  ] Started dbus.service - D-Bus System Message Bus.",
            "         Starting ssh.service - OpenBSD Secure Shell server...",
            "vm1 login: ",
            "root@vm1:~# ",
            "Call Trace:",
            " indented by a program",
            "BUG: of a program's own",
        ]
    ),
    max_size=3,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(STAMPED), st.data())
def test_others_words_between_and_before_its_lines_do_not_tear_a_report(
    sample: tuple[str, str], data: st.DataObject
) -> None:
    name, text = sample
    lines = stamped(text)
    said = ["[    0.000000] Linux version 6.1"]
    for line in lines:
        said += data.draw(NOISE)
        # A kernel's line may stand behind what a program has written without ending it.
        said.append(data.draw(st.sampled_from(["", "vm1 login: ", "[  OK  ] Started x.", "Call Trace:"])) + line)
    (report,) = read([*said, *data.draw(NOISE)])
    assert (report.kind.name, report.lines) == (name, tuple(lines))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([sample for sample in STAMPED if BY_NAME[sample[0]].body is not None]), st.data())
def test_the_kernels_own_words_between_do_not_lose_a_report(sample: tuple[str, str], data: st.DataObject) -> None:
    """Where a report holds whatever the kernel says, they are in it; elsewhere they are left out."""
    name, text = sample
    other = "[   12.500000] e1000e 0000:00:02.0 eth0: NIC Link is Up 1000 Mbps Full Duplex"
    lines = stamped(text)
    said: list[str] = []
    for number, line in enumerate(lines):
        said.append(line)
        # Behind `cut here` it cannot be told from what the programmer had to say.
        if not CUT_HERE.search(line) and number > 1 and data.draw(st.booleans()):
            said.append(other)
    (report,) = read(said)
    assert report.kind.name == name
    assert [line for line in report.lines if line != other] == lines


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(STAMPED), min_size=1, max_size=5))
def test_reports_one_after_another_are_all_found(samples: list[tuple[str, str]]) -> None:
    said: list[str] = []
    for number, (_, text) in enumerate(samples):
        said += stamped(text, start=12.0 + number)
    reader = ReportReader()
    found: list[str] = []
    now = 0.0
    for number, line in enumerate(said, 1):
        # Twenty seconds of silence before each: more than any report waits.
        now += 20 if line.startswith(f"[{12.0 + len(found):12.6f}]") or "000000]" in line else PER_LINE
        found += [report.kind.name for report in reader.feed(Line(line, number), now)]
    found += [report.kind.name for report in reader.flush()]
    assert found == [name for name, _ in samples]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["oops", "kernel_warning", "hung_task", "rcu_stall", "oom_kill", "soft_lockup", "io_error"]))
def test_a_panic_ends_whatever_is_being_told(name: str) -> None:
    text = next(text for kind, text in STAMPED if kind == name)
    half = stamped(text)[: max(1, len(text.split("\n")) - 1)]
    panic = stamped(REPORTS[0][1], start=13.0)
    reports = read([*half, *panic])
    assert {report.kind.name for report in reports} == {name, "panic"}
    assert next(report for report in reports if report.kind.name == "panic").lines == tuple(panic)


def test_two_kinds_at_once_are_kept_apart_where_they_can_be() -> None:
    said = [
        "[    1.000000] I/O error, dev vda, sector 8 op 0x1:(WRITE) flags 0x800",
        "[    1.000001] EXT4-fs error (device vda): ext4_journal_check_start:83: comm dd: Detected aborted journal",
        "[    1.000002] Buffer I/O error on dev vda, logical block 1, lost sync page write",
        "[    1.000003] EXT4-fs (vda): Remounting filesystem read-only",
        "[    1.000004] EXT4-fs (vda): I/O error while writing superblock",
    ]
    found = {report.kind.name: [line[15:] for line in report.lines] for report in read(said)}
    assert {name: len(lines) for name, lines in found.items()} == {"io_error": 2, "ext_error": 2, "read_only": 1}


def test_a_report_is_bounded_and_keeps_its_beginning_and_its_end() -> None:
    body = [f" function_{n}+0x1/0x2" for n in range(5000)]
    lines = stamped("\n".join(["BUG: kernel NULL pointer dereference, address: 0", *body, "---[ end trace 0 ]---"]))
    (report,) = read(lines)
    assert len(report.lines) == 201
    assert report.lines[:150] == tuple(lines[:150])
    assert report.lines[-50:] == tuple(lines[-50:])
    assert report.lines[150] == f"… {5002 - 200} lines left out …"
    (long,) = read([f"[    1.000000] BUG: {'x' * 100_000}"])
    assert len(long.text) <= 1000
    assert len(long.title) <= 240


def test_silence_ends_a_report_and_the_reader_says_when() -> None:
    reader = ReportReader()
    assert reader.feed(Line("[    1.000000] INFO: task sh:1 blocked for more than 120 seconds.", 1), 10.0) == []
    assert reader.due == 12.0
    assert reader.feed(Line("[    1.000001] Call Trace:", 2), 11.0) == []
    assert reader.due == 13.0
    assert reader.tick(12.9) == []
    (report,) = reader.tick(13.0)
    assert len(report.lines) == 2
    assert reader.due is None


def test_a_stalled_cpu_may_take_ten_seconds_to_say_where_it_is() -> None:
    name, text = next(sample for sample in STAMPED if sample[0] == "rcu_stall")
    assert summary(read(stamped(text), step=10.0)) == [(name, len(text.split("\n")))]


def test_what_others_say_for_long_ends_a_report() -> None:
    talk = [f"[   13.{n:06d}] usb 1-{n}: new device" for n in range(60)]
    late = "[   14.000000] Call Trace:"
    (report,) = read(["[   12.000000] INFO: task sh:1 blocked for more than 120 seconds.", *talk, late])
    assert len(report.lines) == 1


def test_cut_here_with_nothing_known_after_it_is_a_warning_all_the_same() -> None:
    text = "------------[ cut here ]------------\nmade up by a vendor\nModules linked in:\n---[ end trace 1 ]---"
    (report,) = read(stamped(text))
    assert (report.kind.name, report.title) == ("kernel_warning", "made up by a vendor")
    assert len(report.lines) == 4


def test_where_the_kernel_stamps_its_lines_a_programs_words_are_no_report() -> None:
    fake = [
        "Kernel panic - not syncing: in a log file",
        "BUG: found by a linter",
        "Out of memory: Killed process 1 (x)",
    ]
    assert read(["[    1.000000] hello", *fake]) == []
    assert len(read(fake)) == 3, "without stamps they cannot be told apart"


def test_systemd_says_it_twice_and_it_is_one_finding() -> None:
    said = [
        "[    9.000000] systemd[1]: Failed to start systemd-networkd-wait-online.service - Wait for Network.",
        "[FAILED] Failed to start systemd-netw…rvice - Wait for Network.",
        "[    9.100000] systemd[1]: Failed to start other.service - Another one.",
    ]
    assert summary(read(said)) == [("unit_failed", 2), ("unit_failed", 1)]


def test_the_consoles_other_readers_know_a_panic_by_the_same_words() -> None:
    for name, text in REPORTS:
        if name == "panic":
            title = text.split("\n")[0]
            assert any(sign.failure == "panic" and sign.pattern.search(title) for sign in FAILURE_SIGNS)
            sign = find_sign(title.encode())
            assert sign is not None
            assert sign.cause is Cause.PANIC


def test_severities() -> None:
    assert Severity.CRITICAL.reaches(Severity.ERROR)
    assert Severity.ERROR.reaches(Severity.ERROR)
    assert not Severity.WARNING.reaches(Severity.ERROR)
    for name in ("panic", "oops", "bug", "soft_lockup", "emergency_shell"):
        assert BY_NAME[name].severity is Severity.CRITICAL
    assert [kind.name for kind in KINDS if kind.ends_target] == ["panic"]
