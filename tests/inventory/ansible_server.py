# mypy: disable-error-code="import-untyped"
"""Runs ansible-core's own code for the differential tests; a program of its own, spoken to in lines of JSON.

Importing ansible takes half a second, so it is done once; each request is then served in a forked child, which
starts as clean as a fresh `ansible-inventory`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def _inventory(request: dict[str, Any]) -> None:
    from ansible.cli.inventory import InventoryCLI

    InventoryCLI.cli_executor(["ansible-inventory", *request["arguments"]])


def _patterns(request: dict[str, Any]) -> None:
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader

    manager = InventoryManager(loader=DataLoader(), sources=request["sources"])
    answers: list[Any] = []
    for pattern in request["patterns"]:
        try:
            answers.append([host.name for host in manager.get_hosts(pattern)])
        except Exception as error:  # the answer is that Ansible refuses it
            answers.append({"error": str(error)})
    print(json.dumps(answers))


def _templates(request: dict[str, Any]) -> None:
    from ansible import context
    from ansible.inventory.manager import InventoryManager
    from ansible.module_utils.common.collections import ImmutableDict
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar
    from ansible.utils.vars import transform_to_native_types
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    context.CLIARGS = ImmutableDict()
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=request["sources"])
    variable_manager = VariableManager(loader=loader, inventory=manager)
    HostVars(manager, variable_manager, loader)
    variables = variable_manager.get_vars(host=manager.get_host(request["host"]))
    templar = Templar(loader=loader, variables=variables)
    answers = {}
    for name in request["names"]:
        try:
            value = transform_to_native_types(templar.template(variables[name]), redact=False)
            answers[name] = {"value": value}
        except Exception as error:  # the answer is that Ansible refuses it
            answers[name] = {"error": str(error)}
    print(json.dumps(answers))


_SERVED = {"inventory": _inventory, "patterns": _patterns, "templates": _templates}


def _prepare() -> None:
    """Import what the children need, Ansible's plugins too: most of the time of a child went into reading the YAML file
    of all names of `ansible.builtin`, and the documentation of the plugins, which are the same for each."""
    import ansible.cli.inventory
    import ansible.template
    import ansible.vars.manager  # noqa: F401 - imported for the children
    from ansible import constants
    from ansible.plugins.loader import cache_loader, init_plugin_loader, inventory_loader, vars_loader

    init_plugin_loader()  # a child's own call of it does nothing then
    for name in constants.INVENTORY_ENABLED:
        inventory_loader.get(name)
    vars_loader.get("host_group_vars")
    cache_loader.get("memory")


def main() -> None:
    _prepare()
    channel = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(read)
                os.dup2(write, 1)
                os.dup2(os.open(os.devnull, os.O_RDWR), 0)
                os.dup2(os.open(request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
                os.chdir(request["cwd"])
                _SERVED[request["what"]](request)
                code = 0
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(write)
        with os.fdopen(read, encoding="utf-8") as stream:
            output = stream.read()
        _, status = os.waitpid(child, 0)
        channel.write(json.dumps({"code": os.waitstatus_to_exitcode(status), "out": output}) + "\n")
        channel.flush()


if __name__ == "__main__":
    main()
