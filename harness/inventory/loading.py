"""From the command line's words to an inventory."""

from __future__ import annotations

import os
from collections.abc import Sequence

from harness.inventory.extravars import read_extra_vars
from harness.inventory.inventory import Inventory
from harness.inventory.merge import Merger, bases
from harness.inventory.model import Model
from harness.inventory.places import Book
from harness.inventory.sources import Reader, expand_source
from harness.inventory.templates import Templater
from harness.inventory.varsfiles import VarsFiles
from harness.inventory.vault import load_vault


def load(
    sources: Sequence[str],
    *,
    extra_vars: Sequence[str] = (),
    playbook_dirs: Sequence[str] = (),
    vault_password_file: str | None = None,
    validate: bool = True,
) -> Inventory:
    """Reads inventory sources, in order, as Ansible does.

    `sources`: files, folders, programs, lists of hosts with a comma. `extra_vars`: what stands behind `-e`.
    `playbook_dirs`: the folders of check modules; their group_vars and host_vars count as Ansible's
    playbook-adjacent ones.
    With `validate`, the variables that have a meaning here are checked on all hosts as well.

    Raises UsageError with path, line, column and the line's text for whatever cannot be used.
    """
    vault = load_vault(vault_password_file)
    model = Model(Book())
    reader = Reader(model, vault)
    paths = [expand_source(source) for source in sources if source]
    for path in paths:
        reader.read(path)
    model.reconcile()
    extra = read_extra_vars(extra_vars, model, vault)
    play = list(dict.fromkeys(os.path.abspath(os.path.expanduser(folder)) for folder in playbook_dirs))
    merger = Merger(model, VarsFiles(model, vault), bases(paths), [os.path.realpath(p) for p in play], extra)
    inventory = Inventory(merger, Templater(model.book, vault), play)
    if validate:
        from harness.inventory.validate import raise_first_problem

        raise_first_problem(inventory)
    return inventory
