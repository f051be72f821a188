"""From the command line's words to an inventory."""

from __future__ import annotations

import os
from collections.abc import Sequence

from harness.errors import UsageError
from harness.inventory.extravars import read_extra_vars
from harness.inventory.inventory import Inventory
from harness.inventory.merge import Merger, bases
from harness.inventory.model import Model
from harness.inventory.places import Book
from harness.inventory.script import ProgramOutputs
from harness.inventory.sources import Reader, expand_source
from harness.inventory.templates import Templater
from harness.inventory.varsfiles import VarsFiles
from harness.inventory.vault import load_vault

MOST_DEPTH = 200
"""Groups in groups."""


def _folder_of(path: str) -> str:
    """The folder in which all files of a source lie, without links."""
    real = os.path.realpath(os.path.expanduser(path))
    return real if os.path.isdir(real) else os.path.dirname(real)


def load(
    sources: Sequence[str],
    *,
    extra_vars: Sequence[str] = (),
    playbook_dirs: Sequence[str] = (),
    vault_password_file: str | None = None,
    validate: bool = True,
    untrusted: bool = False,
    outputs: ProgramOutputs | None = None,
) -> Inventory:
    """Reads inventory sources, in order, as Ansible does.

    `sources`: files, folders, programs, lists of hosts with a comma. `extra_vars`: what stands behind `-e`.
    `playbook_dirs`: the folders of check modules; their group_vars and host_vars count as Ansible's
    playbook-adjacent ones.
    With `untrusted`, nothing of it is run and nothing outside its folders is read: no programs, no lookups, no links.
    `outputs` remembers what programs print, and is asked before one is run.
    With `validate`, the variables that have a meaning here are checked on all hosts as well.

    Raises UsageError with path, line, column and the line's text for whatever cannot be used.
    """
    vault = load_vault(vault_password_file)
    model = Model(Book())
    reader = Reader(model, vault, outputs=outputs or ProgramOutputs())
    paths = [expand_source(source) for source in sources if source]
    if untrusted:
        model.inside = tuple(dict.fromkeys(_folder_of(path) for path in (*paths, *playbook_dirs)))
    try:
        for path in paths:
            reader.read(path)
        model.reconcile()
        if any(node.depth > MOST_DEPTH for node in model.groups.values()):
            raise UsageError(f"the inventory's groups lie more than {MOST_DEPTH} deep in one another")
    except RecursionError:
        raise UsageError("the inventory is nested too deeply: groups in groups, or values in values") from None
    except (MemoryError, OverflowError) as error:
        raise UsageError(f"the inventory holds what cannot be kept: {error or type(error).__name__}") from None
    extra = read_extra_vars(extra_vars, model, vault)
    play = list(dict.fromkeys(os.path.abspath(os.path.expanduser(folder)) for folder in playbook_dirs))
    merger = Merger(model, VarsFiles(model, vault), bases(paths), [os.path.realpath(p) for p in play], extra)
    inventory = Inventory(merger, Templater(model.book, vault, lookups=not untrusted), play)
    if validate:
        from harness.inventory.validate import raise_first_problem

        raise_first_problem(inventory)
    return inventory
