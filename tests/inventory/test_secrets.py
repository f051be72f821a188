"""What must never be shown, wherever in the variables it stands."""

from __future__ import annotations

from pathlib import Path

from harness.inventory import load


def test_secrets_inside_structures_are_known(tmp_path: Path) -> None:
    file = tmp_path / "inv.yml"
    file.write_text(
        """
all:
  hosts:
    h:
      word: nested-two
      users:
        - {name: bob, password: nested-one, keys: {api_token: "{{ word }}"}}
        - {name: eve, pin_secret: 4711}
      plain: {name: open}
"""
    )
    secrets = load([str(file)]).host("h").secret_values
    assert {"nested-one", "nested-two", "4711"} <= secrets
    assert secrets.isdisjoint({"bob", "eve", "open"})
