"""The verdicts of the checks of the oneshot, on targets whose every answer is written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import Never, NotYet, Skip
from harness.api.discovery import discover
from harness.deadline import Deadline
from harness.events import NullEmitter
from harness.target.standing import Standing
from harness.target.systemd import Manager
from harness.target.target import Target
from harness.target.units import UnitState
from harness.target.why import Why
from harness.transport.contract import CommandResult
from tests.patience import scaled

CHECKS = {each.name: each.function for each in discover([str(Path(__file__).parents[2] / "checks" / "pre_nixos")])}
DEADLOCK = "pre-nixos.service: start job running for 9.0 s; …: a deadlock, which nothing ends"
STEPS = ("begin", "lan", "address", "storage", "sshd", "end")

STATUS = {
    "STATE": "done",
    "STEP": "end",
    "INVOCATION": "abc",
    "LAN_WAS": "enp0s4",
    "LAN_STATE": "address",
    "LAN_ADDRESS": "192.168.77.15/24",
    "STORAGE_STATE": "planned",
    "STORAGE_PLAN": "/run/pre-nixos/plan.json",
}
PLAN: dict[str, Any] = {
    "volume_group": {"name": "main"},
    "physical_volumes": [{"device": "/dev/vdb", "bytes": 1 << 30}],
    "logical_volumes": [{"name": "slash", "bytes": 1020 << 20}],
}
LINK: list[dict[str, Any]] = [
    {},
    {
        "ifname": "lan",
        "flags": ["UP", "LOWER_UP"],
        "addr_info": [{"local": "192.168.77.15", "prefixlen": 24, "family": "inet", "scope": "global"}],
    },
]


def show(**changes: object) -> str:
    """systemctl show, of the oneshot or of sshd."""
    state: dict[str, object] = {
        "Id": "pre-nixos.service",
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "exited",
        "Result": "success",
        "Type": "oneshot",
        "RemainAfterExit": "yes",
        "InvocationID": "abc",
        "InactiveExitTimestampMonotonic": 10_000_000,
        "ActiveEnterTimestampMonotonic": 32_500_000,
        **changes,
    }
    return "\n".join(f"{key}={value}" for key, value in state.items())


def status(**changes: str) -> str:
    return "\n".join(f"{key}={value}" for key, value in {**STATUS, **changes}.items())


def journal(*steps: str, **states: str) -> str:
    """One entry a step; `address="missing"` gives that step's state."""
    return "\n".join(
        json.dumps(
            {"MESSAGE": f"about {step}", "PRE_NIXOS_STEP": step, "PRE_NIXOS_STATE": states.get(step, "ok"), "_PID": "7"}
        )
        for step in steps or STEPS
    )


class Machine:
    """Answers a command by the first of `answers` whose beginning it has."""

    def __init__(self, **answers: str | tuple[int, str, str]) -> None:
        self.answers: dict[str, str | tuple[int, str, str]] = {
            "systemctl": show(),
            "cat /run/pre-nixos/status": status(),
            "cat /run/pre-nixos/plan.json": json.dumps(PLAN),
            "journalctl": journal(),
            "ip -json address": json.dumps(LINK),
            "ip -json -4 route": '[{"dst": "default"}, {"dst": "192.168.77.0/24"}]',
            "networkctl": "3 lan ether routable configured",
            "lsblk": f"{1 << 30} 0",
            "blkid": (2, "", ""),
        }
        self.answers |= {name.replace("_", " "): said for name, said in answers.items()}

    def run(self, command: str, **_: Any) -> CommandResult:
        for beginning, said in sorted(self.answers.items(), key=lambda item: -len(item[0])):
            if command.startswith(beginning):
                code, out, err = said if isinstance(said, tuple) else (0, said, "")
                return CommandResult(command, out.encode(), err.encode(), code, "ssh", 0.0, 0.0, 0.0)
        raise AssertionError(f"nobody expected {command}")

    def put(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no file is carried")

    get = put


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Carries one check out on a machine of these answers; `why` is where the oneshot stands by then."""

    def carry(name: str, *, why: Standing = Standing.NEVER, variables: Any = None, **said: Any) -> str:
        answer = Why(UnitState("pre-nixos.service", "loaded", "activating", "start"), why, DEADLOCK)
        monkeypatch.setattr(Manager, "why", lambda _self, _name: answer)
        target = Target("vm1", (), variables or {}, Machine(**said), Deadline.after(scaled(30)), NullEmitter())
        return str(CHECKS[name](target))

    return carry


def test_all_is_well(look: Callable[..., str]) -> None:
    assert look("has_done_its_work") == "pre-nixos.service is active (exited) (Result=success), and took 22 s"
    assert look("tells_its_steps") == "told of begin, lan, address, storage, sshd, end"
    assert look("tells_its_status").startswith("STATE=done, STEP=end, LAN_WAS=enp0s4")
    assert look("has_an_address") == "lan (was enp0s4) has 192.168.77.15/24 and 2 routes"
    assert look("networkd_agrees") == "systemd-networkd has lan as routable (configured)"
    assert look("is_planned") == "main on /dev/vdb, with slash of 1020 of 1024 MiB; nothing is done yet"


def test_it_may_take_as_long_as_the_inventory_says(look: Callable[..., str]) -> None:
    with pytest.raises(Never, match=r"pre-nixos.service took 22 s; pre_nixos_longest allows 20 s"):
        look("has_done_its_work", variables={"pre_nixos_longest": "20"})
    with pytest.raises(Never, match="a deadlock, which nothing ends"):
        look("has_done_its_work", systemctl=show(ActiveState="activating", SubState="start", Job=7))


def test_a_step_that_failed_is_told_with_its_words(look: Callable[..., str]) -> None:
    with pytest.raises(Never, match=r"^its step `storage` failed: about storage$"):
        look("tells_its_steps", journalctl=journal("begin", "lan", "address", "storage", storage="failed"))


def test_steps_that_are_missing_are_told_with_the_reason(look: Callable[..., str]) -> None:
    words = (
        r"^the journal has begin, lan, address, storage, sshd of its steps, and not end; pre-nixos.service: .* ends$"
    )
    with pytest.raises(Never, match=words):
        look("tells_its_steps", journalctl=journal(*STEPS[:-1]))
    with pytest.raises(NotYet, match=words):
        look("tells_its_steps", why=Standing.COMING, journalctl=journal(*STEPS[:-1]))
    with pytest.raises(NotYet, match="has none of its steps"):
        look("tells_its_steps", why=Standing.COMING, journalctl="")


def test_other_steps_may_stand_between_but_in_their_order(look: Callable[..., str]) -> None:
    assert "begin, delay, lan" in look("tells_its_steps", journalctl=journal("begin", "delay", *STEPS[1:]))
    told = look("tells_its_steps", journalctl=journal(address="missing"))
    assert "address (missing: about address)" in told
    with pytest.raises(AssertionError, match="in another order: lan, begin"):
        look("tells_its_steps", journalctl=journal("lan", "begin", *STEPS[2:]))
    with pytest.raises(NotYet, match="could not be read"):
        look("tells_its_steps", journalctl="no JSON")


def test_a_status_of_another_run_is_none(look: Callable[..., str]) -> None:
    with pytest.raises(NotYet, match=r"status is of another run \(old\); pre-nixos"):
        look("tells_its_status", why=Standing.COMING, **{"cat /run/pre-nixos/status": status(INVOCATION="old")})
    with pytest.raises(Never, match=r"status cannot be read \(No such file\); pre-nixos"):
        look("tells_its_status", **{"cat /run/pre-nixos/status": (1, "", "No such file")})
    with pytest.raises(Never, match="its status is running, at its step sshd; pre-nixos"):
        look("tells_its_status", **{"cat /run/pre-nixos/status": status(STATE="running", STEP="sshd")})
    with pytest.raises(Never, match="no KEY=VALUE: 'rm -rf /'"):
        look("tells_its_status", **{"cat /run/pre-nixos/status": "rm -rf /"})


def test_a_lan_without_an_address_is_told_as_it_is(look: Callable[..., str]) -> None:
    bare = json.dumps([{**LINK[1], "addr_info": []}])
    missing = journal(address="missing")
    with pytest.raises(NotYet, match=r"^lan has a carrier, and no IPv4 address; the oneshot said: about address$"):
        look("has_an_address", journalctl=missing, **{"ip -json address": bare})
    with pytest.raises(AssertionError, match=r"has 192.168.77.15/24; the oneshot's status says none"):
        look("has_an_address", **{"cat /run/pre-nixos/status": status(LAN_ADDRESS="")})
    with pytest.raises(AssertionError, match=r"and no route"):
        look("has_an_address", **{"ip -json -4 route": "[]"})
    gone = (1, "", 'Device "lan" does not exist.')
    with pytest.raises(NotYet, match=r"^there is no interface lan; pre-nixos"):
        look("has_an_address", why=Standing.COMING, **{"ip -json address": gone})


def test_what_networkd_thinks_of_it_is_told(look: Callable[..., str]) -> None:
    with pytest.raises(AssertionError, match=r"has lan as carrier \(configuring\), not as routable \(configured\)"):
        look("networkd_agrees", networkctl="3 lan ether carrier configuring")
    with pytest.raises(Skip):
        look("networkd_agrees", networkctl=(127, "", "networkctl: not found"))
    with pytest.raises(NotYet, match="does not tell of lan: Failed"):
        look("networkd_agrees", networkctl=(1, "", "Failed to connect"))


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ({"lsblk": "5 0"}, AssertionError, "/dev/vdb has 5 bytes; the plan says 1073741824"),
        ({"lsblk": f"{1 << 30} 1"}, AssertionError, "cannot be written to"),
        ({"blkid": (0, "/dev/vdb: TYPE=ext4", "")}, AssertionError, "not free any more: /dev/vdb: TYPE=ext4"),
        ({"cat /run/pre-nixos/plan.json": "{}"}, Never, "no plan of a volume on a disk .KeyError"),
        ({"cat /run/pre-nixos/plan.json": "{"}, Never, "no plan of a volume on a disk .JSONDecodeError"),
        ({"cat /run/pre-nixos/plan.json": (1, "", "gone")}, NotYet, "cannot be read: gone"),
        ({"cat /run/pre-nixos/status": status(STORAGE_STATE="no-disk")}, Never, "the storage is no-disk, not planned"),
    ],
)
def test_a_plan_that_does_not_hold_is_told(
    look: Callable[..., str], said: dict[str, Any], kind: type[BaseException], words: str
) -> None:
    with pytest.raises(kind, match=words):
        look("is_planned", **said)


def test_a_volume_that_does_not_fit_is_told(look: Callable[..., str]) -> None:
    plan = {**PLAN, "logical_volumes": [{"name": "slash", "bytes": 1 << 30}]}
    with pytest.raises(AssertionError, match="does not fit on /dev/vdb"):
        look("is_planned", **{"cat /run/pre-nixos/plan.json": json.dumps(plan)})
    other = {**PLAN, "volume_group": {"name": "data"}}
    with pytest.raises(AssertionError, match="planned are data and slash"):
        look("is_planned", **{"cat /run/pre-nixos/plan.json": json.dumps(other)})


def test_an_sshd_that_does_not_wait_for_it_is_told(look: Callable[..., str]) -> None:
    names = ("ssh.service", "sshd.service")
    both = "\n\n".join(show(Id=name, After="network.target pre-nixos.service") for name in names)
    assert look("comes_after_it", systemctl=both) == "ssh.service comes after pre-nixos.service"
    with pytest.raises(Never, match=r"does not come after pre-nixos.service; its After= names the services none"):
        look("comes_after_it", systemctl=both.replace("pre-nixos.service", ""))
    none = "\n\n".join(show(Id=name, LoadState="not-found") for name in names)
    with pytest.raises(Never, match="sshd has no service here"):
        look("comes_after_it", systemctl=none)
