"""Small pure parts, each against Ansible's own function."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.inventory.addresses import expand_ranges, is_ipv4, is_ipv6, parse_address
from harness.inventory.extravars import split_words
from harness.inventory.patterns import split_pattern
from harness.inventory.places import is_secret_name, mask_secrets

pytest.importorskip("ansible", reason="ansible-core is needed to compare with")
addresses: Any = pytest.importorskip("ansible.parsing.utils.addresses")
manager: Any = pytest.importorskip("ansible.inventory.manager")
inventory_plugins: Any = pytest.importorskip("ansible.plugins.inventory")
splitter: Any = pytest.importorskip("ansible.parsing.splitter")

pieces = st.lists(
    st.sampled_from(
        [
            "a", "b-1", "_", "-", ".", ":", "::", "[", "]", "1", "01", "22", "255", "256", "f",
            "ffff", "fe80", "[1:3]", "[a:c]",
            "[01:10:3]", "[a:f]", "[0:ff]", ":22", "10.0.0.1", "::1", "fd00::", "ffff:",
            "0:0:0:0:0:", "é", " ", "%eth0",
        ]
    ),
    max_size=9,
).map("".join)  # fmt: skip


def attempt(function: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except Exception as error:
        return type(error).__name__ and "refused"


@settings(max_examples=1500, deadline=None)
@given(text=pieces, ranges=st.booleans())
def test_addresses(text: str, ranges: bool) -> None:
    theirs = attempt(addresses.parse_address, text, allow_ranges=ranges)
    assert attempt(parse_address, text, ranges=ranges) == theirs
    assert is_ipv6(text) == bool(addresses.patterns["ipv6"].match(text))
    if "[" not in text:
        assert is_ipv4(text) == bool(addresses.patterns["ipv4"].match(text))


@settings(max_examples=1500, deadline=None)
@given(text=st.text(alphabet="[]:019afz|x-", max_size=14))
def test_ranges(text: str) -> None:
    if "[" not in text:
        return
    theirs = attempt(inventory_plugins.expand_hostname_range, text)
    mine = attempt(expand_ranges, text)
    if mine == "refused":
        # A range that names nothing is refused by ours only.
        assert theirs in ("refused", []) or not theirs
    else:
        assert mine == theirs


@settings(max_examples=1000, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(["a", "web*", ":", ",", "&", "!", "[1:3]", "[0]", "~x", " ", "::1", ".", "1"]), max_size=8
    )
)
def test_patterns_are_split_alike(text: list[str]) -> None:
    pattern = "".join(text)
    assert split_pattern(pattern) == manager.split_host_pattern(pattern)


@settings(max_examples=1500, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(["a=1", "b", " ", "  ", "'", '"', "\\'", "{{", "}}", " x ", "{%", "%}", "=", "\n", "é"]),
        max_size=9,
    )
)
def test_words_of_extra_vars(text: list[str]) -> None:
    line = "".join(text)
    theirs = attempt(splitter.split_args, line)
    mine = attempt(split_words, line)
    if mine == "refused" or theirs == "refused":
        assert mine == theirs
    else:
        assert [word.strip() for word in mine] == [word.strip() for word in theirs if word.strip()]


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("h ansible_password=x y=1", "h ansible_password=******** y=1"),
        ("password: 'a b'", "password: ********"),
        ('  "api_token": "x",', '  "api_token": ********,'),
        ("ansible_become_pass = a b c", "ansible_become_pass = ********"),
        ("compass=north passport=1", "compass=north passport=1"),
        ("-e ansible_password={{ x }}", "-e ansible_password=********"),
    ],
)
def test_secrets_in_lines(line: str, masked: str) -> None:
    assert mask_secrets(line) == masked


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("ansible_password", True),
        ("db_token", True),
        ("secret", True),
        ("s3_secret_key", True),
        ("aws_access_key", True),
        ("registry_credentials", True),
        ("ssh_public_key", False),
        ("keyboard", False),
        ("bypass", False),
        ("password_file", False),
        ("ansible_ssh_private_key_file", False),
    ],
)
def test_secret_names(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret
