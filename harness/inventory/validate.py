"""Checks of all hosts before anything is touched: values of our variables, things two hosts cannot share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.errors import Source, UsageError
from harness.inventory.inventory import Host, Inventory
from harness.inventory.kinds import is_size
from harness.inventory.places import Assigned, Notice, did_you_mean
from harness.inventory.templates import is_template
from harness.inventory.variables import BY_ANY_NAME, OURS, TABLE

# Ansible's own name that is near to some of ours; pointing at it would be wrong.
_NEAR = frozenset({"check_mode"})

# Names that Ansible warns of: they mean something else in its playbooks (`ansible.vars.reserved`, core 2.19).
_RESERVED = frozenset(
    """
    action always any_errors_fatal args async async_val become become_exe become_flags become_method become_user
    block changed_when check_mode collections connection cycler debugger delay delegate_facts delegate_to dict diff
    environment fact_path failed_when force_handlers gather_facts gather_timeout handlers hosts ignore_errors
    ignore_unreachable joiner lipsum local_action lookup loop loop_control loop_with max_fail_percentage
    module_defaults name namespace no_log notify now omit order poll port post_tasks pre_tasks q query range register
    remote_user rescue retries roles run_once serial strategy tags tasks throttle timeout undef until vars_files
    vars_prompt when with_
    """.split()  # noqa: SIM905 - a list of seventy quoted words is no easier to read
)


def problems(inventory: Inventory, hosts: Sequence[Host] | None = None) -> list[UsageError]:
    """Everything that is wrong with the hosts (default: all), in order. Never raises for a host's fault."""
    chosen = [inventory.host(name) for name in inventory.hosts] if hosts is None else hosts
    found = list(_values(chosen))
    found.extend(_shared(chosen))
    return found


def odd_names(inventory: Inventory) -> list[Notice]:
    """Variables whose names are nearly those of ours, are reserved in Ansible, or are no names; each name once."""
    found: dict[str, str] = {}
    place: dict[str, Assigned] = {}
    for host in inventory.hosts:
        merged = inventory.host(host).vars.merged
        for name in merged.keys() - place.keys():
            place[name] = merged[name]
            if name in BY_ANY_NAME or name in _NEAR:
                continue
            if name in _RESERVED:
                found[name] = "means something of its own in Ansible's playbooks"
            elif not (name.isidentifier() and name.isascii()):
                found[name] = "is no valid name of a variable; templates cannot use it"
            elif hint := did_you_mean(name, OURS, cutoff=0.82):
                found[name] = f"has no meaning here; {hint}"
    return [Notice(f"variable {name!r} {found[name]}", inventory.source(name, place[name])) for name in sorted(found)]


def raise_first_problem(inventory: Inventory) -> None:
    """Raises the first problem there is, telling how many more; adds misspelt names to the warnings."""
    inventory.model.notices.extend(odd_names(inventory))
    found = problems(inventory)
    if found:
        first = found[0]
        if len(found) > 1:
            more = f"{len(found) - 1} more: see them all with harness inventory check"
            first.hint = f"{first.hint}\n  {more}" if first.hint else more
        raise first


def _values(hosts: Sequence[Host]) -> Iterator[UsageError]:
    good: set[tuple[str, type, object]] = set()
    said: set[tuple[str, Assigned | str]] = set()
    for host in hosts:
        for name, assigned in host.vars.merged.items():
            variable = BY_ANY_NAME.get(name)
            if variable is None:
                continue
            written = assigned.value
            plain = isinstance(written, (str, int, float)) and not is_template(written)
            if plain and (name, type(written), written) in good:
                continue
            try:
                value = host.vars[name]
                variable.read(value)
            except UsageError as error:
                yield error
            except ValueError as error:
                # A value that a hundred hosts have from their group is one mistake, not a hundred.
                key = (name, str(error)) if plain else (f"{host.name}.{name}", str(error))
                if (key[0] + str(assigned.place), key[1]) not in said:
                    said.add((key[0] + str(assigned.place), key[1]))
                    yield host.error(name, str(error))
            else:
                if plain:
                    good.add((name, type(written), written))


@dataclass(frozen=True, slots=True)
class _Claim:
    host: Host
    variable: str
    writes: bool

    @property
    def source(self) -> Source | None:
        return self.host.source(self.variable)


def _shared(hosts: Sequence[Host]) -> Iterator[UsageError]:
    claims: dict[tuple[str, str], _Claim] = {}
    for host in hosts:
        for what, thing, variable, writes in _claims(host):
            claim = _Claim(host, variable, writes)
            first = claims.setdefault((what, thing), claim)
            if first is not claim and first.host is host and variable != "serial_socket" and what != "disk":
                if first.variable != "serial_socket":
                    both = f" ({first.variable} and {variable})" if first.variable != variable else ""
                    yield host.error(variable, f"{what} {thing} is taken twice by this host{both}")
            elif first.host is not host and (first.writes or writes):
                yield host.error(
                    variable,
                    f"{what} {thing} is also that of host {first.host.name!r} "
                    f"({first.variable}, {first.source}); two hosts cannot share it",
                    hint=f"There: {first.source.text.strip()}" if first.source and first.source.text else "",
                )
            elif writes and not first.writes:
                claims[what, thing] = claim


def _claims(host: Host) -> Iterator[tuple[str, str, str, bool]]:
    """What a host takes: its kind, its name, the variable that says so, and whether it must have it alone."""
    merged = host.vars.merged
    if not merged.keys() & _CLAIMING:
        return
    try:
        for name in ("qemu_console_socket", "qemu_qmp_socket"):
            if name in merged:
                yield "socket", os.path.realpath(host.path(name)), name, True
        if "serial_socket" in merged:
            text = str(host.setting("serial_socket"))
            address = "://" in text and not text.startswith("unix://")
            # Both schemes lead to the same port, and two links to the same device.
            place = "//" + text.split("://")[1].partition("/")[0].partition("?")[0].lower() if address else ""
            yield "socket", place or os.path.realpath(host.path("serial_socket")), "serial_socket", True
        if "qemu_ssh_port" in merged and (port := host.setting("qemu_ssh_port")):
            yield "port", str(port), "qemu_ssh_port", True
        for pair in _list(host, "qemu_ports"):
            if isinstance(pair, tuple) and pair[0]:
                yield "port", str(pair[0]), "qemu_ports", True
        writes = host.setting("qemu_disk_mode") == "persistent"
        for disk in _list(host, "qemu_disks"):
            if not is_size(str(disk)):
                yield "disk", str(host.resolve_path(str(disk), "qemu_disks")), "qemu_disks", writes
        if "qemu_image" in merged and _is_file(text := str(host.setting("qemu_image"))):
            yield "disk", str(host.resolve_path(text, "qemu_image")), "qemu_image", writes
    except UsageError:
        # A value that cannot be read is reported as such, by the check of values.
        return


_CLAIMING = frozenset(
    {
        "qemu_console_socket", "qemu_qmp_socket", "serial_socket", "qemu_ssh_port", "qemu_ports",
        "qemu_disks", "qemu_image",
    }
)  # fmt: skip


def _list(host: Host, name: str) -> list[object]:
    found = host.setting(name) if name in host.vars else None
    return found if isinstance(found, list) else []


def _is_file(image: str) -> bool:
    """A recipe is a bare word; whatever has a slash or an ending is a path."""
    return "/" in image or "." in image


assert set(TABLE) >= _CLAIMING
