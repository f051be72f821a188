"""The pytest plugin: its options, its marker, its fixtures.

Every pytest of an environment loads this, whether it has to do with targets or not, so nothing of the rest of the house
is imported before `--harness-inventory` asks for it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.pytest.suite import Suite
    from harness.target.target import Target

SUITE = "harness-suite"
"""The name under which the working half is registered, once there is an inventory."""

MARKER = (
    "harness(budget=…, attempt_timeout=…, interval=…, interval_max=…, window=…, transport=…, once=False): "
    "look at the target again until the test passes, as a check of `harness run` does; times in seconds"
)
NO_INVENTORY = "there is no target: name an inventory with --harness-inventory"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--harness-…`: the flags of `harness run` that make sense here, with their meanings."""
    group = parser.getgroup("harness", "harness: tests on machines of an inventory")
    inventory = "file, folder, program or list of hosts (h1,h2 or h1,) that names the targets; may be repeated"
    group.addoption("--harness-inventory", action="append", default=[], metavar="SOURCE", help=inventory)
    group.addoption("--harness-limit", metavar="PATTERN", help="only the hosts that also match this (@file reads it)")
    group.addoption(
        "--harness-extra-vars", action="append", default=[], metavar="VARS", help="key=value, @file, or a mapping"
    )
    group.addoption("--harness-vault-password-file", metavar="FILE", help="the password for vaulted values")
    group.addoption("--harness-transport", choices=("ssh", "serial"), help="insist on one transport")
    group.addoption(
        "--harness-budget", type=_seconds, metavar="S", help="total seconds of each test, instead of its own"
    )
    group.addoption("--harness-window", type=_seconds, metavar="S", help="seconds that each marked test must hold")
    group.addoption("--harness-timeout-scale", type=_factor, metavar="X", help="multiply the times allowed")
    group.addoption(
        "--harness-settle", action="store_true", default=None, help="wait until a target has settled (default)"
    )
    group.addoption(
        "--harness-no-settle", action="store_false", dest="harness_settle", help="do not wait until it has settled"
    )
    group.addoption(
        "--harness-forks", type=_positive, default=5, metavar="N", help="machines started side by side (default 5)"
    )
    group.addoption("--harness-keep", action="store_true", help="leave the machines up, and print how to reach them")
    group.addoption("--harness-logs", default="logs", metavar="DIR", help="where the record goes (default logs/)")


def pytest_configure(config: pytest.Config) -> None:
    """Reads the inventory. Raises UsageError for whatever in it cannot be used, before anything is collected."""
    config.addinivalue_line("markers", MARKER)
    if not config.getoption("harness_inventory"):
        return
    from harness.errors import HarnessError
    from harness.pytest.suite import in_these_flags, open_suite

    try:
        suite = open_suite(config)
    except HarnessError as error:
        raise pytest.UsageError(in_these_flags(str(error))) from None
    config.pluginmanager.register(suite, SUITE)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each target, where a test has to do with one."""
    suite = _suite(metafunc.config)
    if suite is not None and "_harness_target_name" in metafunc.fixturenames:
        metafunc.parametrize("_harness_target_name", suite.names, ids=suite.names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def _harness_target_name(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", ""))


@pytest.fixture(scope="session")
def harness_target(request: pytest.FixtureRequest, _harness_target_name: str) -> Target:
    """The target, for fixtures of a module or of the session. It waits and records as the present test's does."""
    suite = _suite(request.config)
    if suite is None:
        pytest.fail(NO_INVENTORY, pytrace=False)
    return suite.target(_harness_target_name)


@pytest.fixture
def target(request: pytest.FixtureRequest, harness_target: Target) -> Target:
    """The target that this test looks at: `run`, `read`, `put`, `get`, `unit`, `journal`, `host`, …"""
    suite = _suite(request.config)
    assert suite is not None, "harness_target has told so"
    return suite.target_of(request.node, harness_target)


def _suite(config: pytest.Config) -> Suite | None:
    return config.pluginmanager.get_plugin(SUITE)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return value


def _factor(text: str) -> float:
    value = _seconds(text)
    if not value:
        raise argparse.ArgumentTypeError("a factor of 0 leaves no time at all")
    return value


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)
