"""What must never be shown, wherever in the variables it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
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


def test_a_password_in_a_url_is_masked_where_the_value_is_of_the_wrong_kind(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text("all:\n  hosts:\n    vm1:\n      harness_ship: {to: 'relp://user:hunter22@logs:1'}\n")
    with pytest.raises(UsageError) as caught:
        load([str(file)]).host("vm1").setting("harness_ship")
    assert "hunter22" not in str(caught.value)
    assert "relp://user:********@logs:1" in str(caught.value)
