"""Whether a target can be reached: which transports are used, and what is told first."""

from __future__ import annotations

import pytest

from harness.diagnosis.evidence import TransportObservation
from harness.errors import Cancelled, HarnessError, NothingSelected
from harness.operate.reachability import SLOW_TIMEOUT, Reachability, probe_transports, reach_and_explain
from harness.target.network import SshEndpoint
from harness.transport.errors import Cause, Contact, TransportLost, Unavailable
from tests.diagnosis.test_asking import REFUSAL, Transports, a_target
from tests.diagnosis.test_causes import HEALTHY

SILENCE = Unavailable("no banner", cause=Cause.BANNER, transport="ssh", contact=Contact.SILENT)
PANIC = ("[    0.0] Linux version 6.1.0", "[   12.5] Kernel panic - not syncing: sysrq triggered crash")


def test_where_ssh_answers_the_console_is_left_alone() -> None:
    link = Transports(ssh="")
    found = probe_transports(a_target(link))
    assert link.asked == ["ssh"]
    assert (found.reached, found.whole, found.transport) == (True, True, "ssh")
    assert found.sentences[0].startswith("ssh answers (root@127.0.0.1:44283, ")
    assert "serial: not used" in found.sentences[0]


def test_where_ssh_does_not_the_console_is_asked_why() -> None:
    link = Transports(ssh=REFUSAL, serial=HEALTHY.replace("without-password", "no"))
    found = probe_transports(a_target(link))
    assert link.asked == ["ssh", "serial"]
    assert (found.reached, found.whole, found.transport) == (True, False, "serial")
    assert found.sentences[0] == (
        "sshd refuses the login of root: PermitRootLogin is no (`sshd -T`: permitrootlogin no)"
    )
    assert not any(sentence.startswith("to do: ") for sentence in found.sentences), "the cause is known"


@pytest.mark.parametrize(("in_time", "whole"), [(True, True), (False, False)])
def test_a_healthy_sshd_that_is_slow_is_given_more_time(
    monkeypatch: pytest.MonkeyPatch, in_time: bool, whole: bool
) -> None:
    tried: list[float] = []

    def log_in(endpoint: SshEndpoint, command: str) -> None:
        tried.append(endpoint.spec.connect_timeout)
        if not in_time:
            raise SILENCE

    monkeypatch.setattr(SshEndpoint, "log_in", log_in)
    found = probe_transports(a_target(Transports(ssh=SILENCE, serial=HEALTHY)))
    assert tried == [SLOW_TIMEOUT]
    assert found.whole is whole
    assert ("slowly" in found.sentences[0]) is whole


def test_a_cause_that_is_known_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SshEndpoint, "log_in", lambda *_: pytest.fail("it is not tried again"))
    stopped = HEALTHY.replace("=== processes\nS", "=== processes\nT")
    found = probe_transports(a_target(Transports(ssh=SILENCE, serial=stopped)))
    assert found.sentences[0].startswith("sshd's process is stopped")


def test_a_changed_host_key_is_loud() -> None:
    changed = Unavailable(
        "vm1: root@127.0.0.1:44283 shows the host key A, but B is known (known_hosts)",
        cause=Cause.HOST_KEY,
        transport="ssh",
        hint="forget the old key: ssh-keygen -R x",
    )
    found = probe_transports(a_target(Transports(ssh=changed, serial=HEALTHY)))
    assert not found.whole
    assert found.sentences[0].startswith("the host key of 127.0.0.1:44283 HAS CHANGED")
    assert "but B is known" in found.sentences[0]
    assert found.sentences[-1] == "to do: forget the old key: ssh-keygen -R x"


@pytest.mark.parametrize(
    ("lines", "first"),
    [
        (("SeaBIOS (version 1.16.2)", "No bootable device."), "the firmware finds no device to boot from"),
        (("error: no such partition.", "grub rescue> "), "GRUB cannot load the system"),
    ],
)
def test_a_console_that_ends_in_the_boot_loader_is_not_waited_for(lines: tuple[str, ...], first: str) -> None:
    link = Transports(ssh=SILENCE)
    found = probe_transports(a_target(link), console=lambda: lines)
    assert link.asked == ["ssh"]
    assert found.sentences[0].startswith(first)
    assert not any("panic" in line for line in found.sentences)


def test_after_a_panic_the_console_is_not_waited_for() -> None:
    late = Unavailable("no banner", cause=Cause.BANNER, transport="ssh", contact=Contact.SILENT)
    link = Transports(ssh=late)
    found = probe_transports(a_target(link), console=lambda: PANIC)
    assert link.asked == ["ssh"]
    assert not found.reached
    assert found.sentences[0].startswith("the kernel has panicked: sysrq triggered crash (the console shows ")


def test_a_panic_of_an_earlier_boot_counts_for_nothing_where_ssh_answers() -> None:
    found = probe_transports(a_target(Transports(ssh="")), console=lambda: PANIC)
    assert found.whole


@pytest.mark.parametrize("state", ["paused", "io-error"])
def test_what_qemu_says_is_the_answer_at_once(state: str) -> None:
    late = Unavailable("no banner", cause=Cause.BANNER, transport="ssh", contact=Contact.SILENT)
    link = Transports(ssh=late)
    found = probe_transports(a_target(link), qmp=lambda: state)
    assert link.asked == ["ssh"]
    assert f"(QMP query-status: {state})" in found.sentences[0]


def test_only_the_transport_that_is_insisted_on_is_used() -> None:
    silence = Unavailable("no shell answered", cause=Cause.NO_SHELL, transport="serial")
    link = Transports(serial=silence)
    found = probe_transports(a_target(link), transport="serial", console=lambda: ("(initramfs) ",))
    assert link.asked == ["serial"]
    assert not found.reached
    assert found.sentences[0].startswith("the boot stopped in a shell of the initramfs")


def reached(contact: Contact) -> Reachability:
    return probe_transports(a_target(Transports(ssh="" if contact is Contact.ANSWERED else REFUSAL)), transport="ssh")


def test_a_transport_that_goes_away_meanwhile_is_probed_again() -> None:
    answers = [reached(Contact.ANSWERED), reached(Contact.LOGIN_REFUSED)]

    def explain(transport: str) -> str:
        assert transport == "ssh"
        raise TransportLost("gone", cause=Cause.LOST, transport="ssh")

    found, explanation = reach_and_explain(lambda: answers.pop(0), explain)
    assert (found.reached, explanation) == (False, None)


def test_what_cannot_be_explained_is_told_and_probed_once() -> None:
    probes: list[TransportObservation] = []

    def probe() -> Reachability:
        found = reached(Contact.ANSWERED)
        probes.extend(found.observations[:1])
        return found

    def fails(error: HarnessError) -> str:
        raise error

    lost, nothing = TransportLost("gone", cause=Cause.LOST, transport="ssh"), NothingSelected("no services")
    assert reach_and_explain(probe, lambda _: fails(nothing))[1] is nothing
    assert len(probes) == 1
    assert reach_and_explain(probe, lambda _: fails(lost))[1] is lost
    assert len(probes) == 3
    with pytest.raises(Cancelled):
        reach_and_explain(probe, lambda _: fails(Cancelled("Ctrl-C")))
    assert reach_and_explain(probe, lambda _: "fine")[1] == "fine"
