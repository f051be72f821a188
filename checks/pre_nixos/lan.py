"""The LAN that it found: named, with an address, as the kernel and as the network's own manager have it."""

from __future__ import annotations

import json
from typing import Any

from harness import NotYet, Skip, Target, check

from ._pre_nixos import not_there, read_status, read_steps

LAN = "lan"


@check(tags=["pre_nixos", "network"], budget=20)
def has_an_address(target: Target) -> str:
    """`lan` has a carrier, an IPv4 address that holds beyond it, and a route; the oneshot's status says the same."""
    status = read_status(target)
    link = _link(target)
    found = [each for each in link["addr_info"] if (each["family"], each["scope"]) == ("inet", "global")]
    addresses = [f"{each['local']}/{each['prefixlen']}" for each in found]
    if not addresses:
        carrier = "a carrier" if "LOWER_UP" in link["flags"] else "no carrier"
        said = "; ".join(step.message for step in read_steps(target) if step.state == "missing")
        raise NotYet(f"{LAN} has {carrier}, and no IPv4 address{f'; the oneshot said: {said}' if said else ''}")
    routes = json.loads(target.read(f"ip -json -4 route show dev {LAN}"))
    assert routes, f"{LAN} has the address {addresses[0]}, and no route"
    told = status.get("LAN_ADDRESS", "")
    assert told in addresses, f"{LAN} has {', '.join(addresses)}; the oneshot's status says {told or 'none'}"
    return f"{LAN} (was {status.get('LAN_WAS')}) has {', '.join(addresses)} and {len(routes)} routes"


@check(tags=["pre_nixos", "network"], budget=20)
def networkd_agrees(target: Target) -> str:
    """systemd-networkd has `lan` as routable and configured."""
    result = target.run(f"networkctl list --no-legend --no-pager {LAN}")
    if result.exit_status == 127:
        raise Skip("the target's network is not kept by systemd-networkd")
    # IDX LINK TYPE OPERATIONAL SETUP (networkctl(1))
    words = result.out.split()
    if not result.ok or len(words) != 5:
        _link(target)
        raise NotYet(f"networkctl does not tell of {LAN}: {result.err or result.out or 'no output'}")
    _, name, _, operational, setup = words
    assert (operational, setup) == ("routable", "configured"), (
        f"systemd-networkd has {name} as {operational} ({setup}), not as routable (configured)"
    )
    return f"systemd-networkd has {name} as {operational} ({setup})"


def _link(target: Target) -> dict[str, Any]:
    """The kernel's own view. Raises Never or NotYet where there is no such interface."""
    # With -4 there is no link at all where it has no such address.
    result = target.run(f"ip -json address show dev {LAN}")
    if not result.ok:
        missing = "; ".join(step.message for step in read_steps(target) if step.state == "missing")
        not_there(target, f"there is no interface {LAN}{f' ({missing})' if missing else ''}")
    try:
        # iproute2 prints an empty object for each link that a filter leaves out.
        return next(link for link in json.loads(result.out) if link)
    except (ValueError, StopIteration) as error:
        raise NotYet(f"`ip` does not tell of {LAN}: {result.out or 'no output'}") from error
