"""Follows each test that looks at a target, carries those that are marked, and writes down what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

import harness
from harness.api.assertion import stack
from harness.api.check import Never, NotYet, Skip
from harness.deadline import Deadline
from harness.engine.life import tell
from harness.engine.outcome import CheckResult, Outcome
from harness.errors import HarnessError
from harness.events import Emitter, EventLog
from harness.printing import harmless
from harness.pytest.carry import Attempts
from harness.pytest.moment import Moment
from harness.pytest.targets import Targets
from harness.pytest.trial import TRIAL, Trial
from harness.pytest.verdict import NoTarget, details, reconciled, verdict_of
from harness.target.host import TargetHost
from harness.target.target import Target
from harness.transport.contract import Result

T = TypeVar("T")

_HOME = str(Path(harness.__file__).parent)


class Witness:
    """The hooks of a test's life. pytest calls them all on its main thread."""

    def __init__(self, targets: Targets, *, log: EventLog, moment: Moment, full_trace: bool) -> None:
        self._targets = targets
        self._log = log
        self._moment = moment
        self._full_trace = full_trace

    # -- its three phases ------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, T, T]:
        trial = item.stash.get(TRIAL, None)
        if trial is not None:
            trial.started, trial.began = time.time(), time.monotonic()
            if not trial.again:
                self._begin(trial)
        with self._phase(item):
            return (yield)

    @pytest.hookimpl(specname="pytest_runtest_setup")
    def pytest_refuse_without_target(self, item: pytest.Item) -> None:
        """After pytest's own reasons to skip a test, before its fixtures. Raises NoTarget."""
        trial = item.stash.get(TRIAL, None)
        trouble = self._targets.life(trial.target).trouble if trial is not None else None
        if trouble is not None:
            raise NoTarget(*trouble)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, T, T]:
        with self._phase(item):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, T, T]:
        with self._phase(item):
            return (yield)

    @contextmanager
    def _phase(self, item: pytest.Item) -> Iterator[None]:
        """Each of the three may take the test's budget; what ends it is told from the person's own line on."""
        trial = item.stash.get(TRIAL, None)
        if trial is None:
            yield
            return
        deadline = self._targets.life(trial.target).limit.clamp(trial.settings.budget)
        self._moment.begin(trial.target, deadline, self._events(trial), trial.counts.count)
        try:
            yield
        except Skip as skip:
            raise pytest.skip.Exception(str(skip) or "skipped", _use_item_location=True) from None
        except (HarnessError, NotYet, Never) as error:
            if not self._full_trace:
                _cut(error, item)
            raise

    # -- a test that is carried as a check -------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, T, T]:
        trial = pyfuncitem.stash.get(TRIAL, None)
        if trial is None or not trial.again:
            return (yield)
        function = pyfuncitem.obj
        pyfuncitem.obj = partial(self._carry, trial, function)
        try:
            return (yield)
        finally:
            pyfuncitem.obj = function

    def _carry(self, trial: Trial, function: Callable[..., Any], **arguments: Any) -> None:
        __tracebackhide__ = True
        attempts = Attempts(function, partial(_anew, arguments))

        def make_target(deadline: Deadline, events: Emitter, on_result: Callable[[Result], None]) -> Target:
            self._moment.begin(trial.target, deadline, events, on_result)
            return replace(self._targets.target(trial.target))

        check = replace(trial.check, function=attempts)
        trial.result, interrupt = self._targets.carry(
            trial.target, check, trial.settings, make_target=make_target, transport=trial.transport
        )
        result = trial.result
        if interrupt is not None:
            raise interrupt
        if attempts.interrupted or result.outcome is not Outcome.PASSED:
            attempts.reraise()
        if result.outcome is not Outcome.PASSED:
            pytest.fail(result.message, pytrace=False)

    # -- what came of it -------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        trial = item.stash.get(TRIAL, None)
        if trial is None:
            return report
        error = call.excinfo.value if call.excinfo is not None else None
        if call.when == "call" or (call.when == "setup" and error is not None):
            result = trial.result or self._judge(trial, error, item)
            trial.result = reconciled(replace(result, console=self._console(result)), report)
            for name, value in (("target", trial.target), ("attempts", result.attempts)):
                item.user_properties.append((f"harness.{name}", value))
        elif call.when == "teardown" and error is not None and trial.result is not None:
            words = f"its tear-down failed: {type(error).__name__}: {error}"
            self._events(trial).emit(
                "check.error",
                words,
                level="error",
                error_type=type(error).__name__,
                error_message=str(error),
                stack=stack(error),
            )
            trial.result = replace(trial.result, outcome=Outcome.ERROR, message=words)
        if report.failed and trial.result is not None:
            report.sections.append(("harness", details(trial.result)))
        self._mask(report)
        return report

    def _judge(self, trial: Trial, error: BaseException | None, item: pytest.Item) -> CheckResult:
        """The verdict on a test that was called once, or that did not come to be called."""
        if trial.again:
            self._begin(trial)
        result = verdict_of(trial, error, str(item.path))
        tell(result, self._log.bind(target=trial.target))
        return result

    def _begin(self, trial: Trial) -> None:
        words = f"{trial.check.label} on {trial.target}"
        self._events(trial).emit("check.start", words, level="debug", check_id=trial.check.id)

    def _console(self, result: CheckResult) -> tuple[str, ...]:
        good = result.outcome in (Outcome.PASSED, Outcome.SKIPPED)
        return () if good else self._targets.console.of(result.target)

    def _mask(self, report: pytest.TestReport) -> None:
        """No secret of the inventory is shown in pytest's report, and nothing of a target's drives a terminal."""
        report.sections = [(name, harmless(text)) for name, text in self._log.redact(report.sections)]
        if isinstance(report.longrepr, tuple):  # why it was skipped, with its place
            path, line, reason = report.longrepr
            report.longrepr = (path, line, harmless(self._log.redact(reason)))
        if hasattr(report, "wasxfail"):
            report.wasxfail = harmless(self._log.redact(report.wasxfail))
        if report.failed:
            shown = report.longreprtext
            masked = harmless(self._log.redact(shown))
            if masked != shown:
                report.longrepr = masked

    def _events(self, trial: Trial) -> Emitter:
        return self._log.bind(target=trial.target, module=trial.check.module, check=trial.check.name)


def _anew(arguments: dict[str, Any], target: Target) -> dict[str, Any]:
    """A test's arguments for one attempt: where one is the target or its `host`, it is this attempt's."""

    def fresh(value: Any) -> Any:
        if isinstance(value, Target):
            return target
        return target.host if isinstance(value, TargetHost) else value

    return {name: fresh(value) for name, value in arguments.items()}


def _cut(error: BaseException, item: pytest.Item) -> None:
    """Ends the traceback where it enters the harness: the last line shown is the person's own."""
    error.__cause__, error.__suppress_context__ = None, True
    theirs = None
    step = error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if name == str(item.path) or Path(name).name == "conftest.py":
            theirs = step
        elif theirs is not None and name.startswith(_HOME):
            theirs.tb_next = None
            return
        elif theirs is not None:
            theirs = step
        step = step.tb_next
