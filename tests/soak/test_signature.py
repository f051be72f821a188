"""The same failure has the same signature, another failure another one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.soak.signature import LONGEST, signature


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:44283 refuses the connection", "127.0.0.1:40001 refuses the connection"),
        ("did not settle in 30 s and 12 attempts: it changed at 1.5 s", "did not settle in 60 s and 9 attempts: it changed at 22.0 s"),  # noqa: E501
        ("refused (after 30 s and 12 attempts)", "refused (after 3 s and 1 attempt)"),
        ("ssh.service failed; it said: Nov 23 03:40:54 sshd[123]: fatal", "ssh.service failed; it said: Nov  3 13:00:01 sshd[99]: fatal"),  # noqa: E501
        ("job 12 waits since 2026-11-23T03:40:54Z", "job 7 waits since 2026-11-24 11:00:00.123+01:00"),
        ("invocation 8f14e45fceea167a5a36dedd4bea2543 changed", "invocation c9f0f895fb98ab9159f51fd0297e236d changed"),
        ("oops at 0xffffffff81000000", "oops at 0xffffffffc0123456"),
        ("fe80::5054:ff:fe12:3456 is gone", "fe80::1 is gone"),
        ("\x1b[31mred\x1b[0m line", "red   line\n"),
        ("refused; (same cause as vm1 sshd/inside::unit_settled)", "refused"),
    ],
)  # fmt: skip
def test_what_differs_each_time_is_left_out(one: str, other: str) -> None:
    assert signature(one) == signature(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ssh.service failed", "cron.service failed"),
        ("refuses the connection", "closed the connection before its banner"),
        ("permission denied", "no such file"),
    ],
)
def test_another_failure_is_another_one(one: str, other: str) -> None:
    assert signature(one) != signature(other)


def test_the_target_is_named_as_one_only_where_it_stands_whole() -> None:
    assert signature("vm1: no answer from vm1.lab and vm10", ["vm1"]) == signature(
        "vm2: no answer from vm2.lab and vm10", ["vm2"]
    )
    assert signature("vm10 is gone", ["vm1"]) != signature("vm1 is gone", ["vm1"])


@given(st.text(st.characters(), max_size=400))
def test_any_text_has_one_short_line(text: str) -> None:
    found = signature(text, ["vm1"])
    assert len(found) <= LONGEST
    assert "\n" not in found
