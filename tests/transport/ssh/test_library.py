"""Which of paramiko's own libraries are loaded: those that cost time and are no use are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_configuration_with_a_key_is_validated_without_paramikos_optional_library(tmp_path: Path) -> None:
    program = f"""
import sys
from harness.errors import UsageError
from harness.transport.ssh.spec import SshSpec
from harness.transport.ssh.validate import resolve_all
specs = [SshSpec.from_vars(name, {{"ansible_host": "192.0.2.1", "ansible_ssh_private_key_file": "{tmp_path}/key"}})
         for name in ("a", "b", "c")]
open("{tmp_path}/key", "w").write("no key")
try:
    resolve_all(specs)
except UsageError as error:
    print(error.message)
print(sorted({{"paramiko", "invoke"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "cannot be used" in done.stdout
    assert done.stdout.endswith("['paramiko']\n")
