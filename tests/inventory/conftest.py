"""What the inventory's tests share: Ansible to compare with, and a folder to write inventories into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.patience import scaled


@dataclass(frozen=True, slots=True)
class Answer:
    """What Ansible did: its exit code, what it printed, what it complained about."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def refused(self) -> bool:
        """Ansible went on with half an inventory, or ended: either way it did not read what was given."""
        return self.code != 0 or "Unable to parse" in self.err or "Failed to parse" in self.err


class Ansible:
    """The real ansible-core, in a process of its own."""

    def __init__(self, home: Path) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE")}
        environment |= {
            "HOME": str(home),
            "ANSIBLE_CONFIG": str(home / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
            "PYTHONWARNINGS": "ignore",
        }
        (home / "ansible.cfg").touch()
        self._stderr = home / "stderr"
        self._cwd = home / "empty"
        self._cwd.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("ansible_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def _ask(self, what: str, **request: Any) -> Answer:
        assert self._process.stdin
        assert self._process.stdout
        request |= {"what": what, "stderr": str(self._stderr), "cwd": str(self._cwd)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Answer(answer["code"], answer["out"], self._stderr.read_text(errors="replace"))

    def inventory(self, *arguments: str | Path) -> Answer:
        """`ansible-inventory` with these arguments."""
        return self._ask("inventory", arguments=[str(argument) for argument in arguments])

    def patterns(self, sources: Sequence[str | Path], patterns: Sequence[str]) -> list[Any]:
        """The hosts of each pattern, or `{"error": …}`."""
        answer: list[Any] = self._ask("patterns", sources=[str(s) for s in sources], patterns=list(patterns)).json
        return answer

    def templates(self, sources: Sequence[str | Path], host: str, names: Sequence[str]) -> Mapping[str, Any]:
        """Each variable resolved: `{"value": …}` or `{"error": …}`."""
        answer: Mapping[str, Any] = self._ask(
            "templates", sources=[str(s) for s in sources], host=host, names=list(names)
        ).json
        return answer

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=scaled(30))


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    """Ansible, started once."""
    pytest.importorskip("ansible", reason="ansible-core is needed to compare with")
    server = Ansible(tmp_path_factory.mktemp("ansible"))
    yield server
    server.close()
