"""The working half of the plugin: registered where there is an inventory, it follows pytest through its session."""

from __future__ import annotations

import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from harness import __version__
from harness.api.check import WHOLE_TARGET
from harness.api.discovery import refuse_without_assertions
from harness.deadline import Deadline
from harness.engine.findings.finding import Ruling
from harness.engine.findings.rules import finding_rules
from harness.engine.life import tell
from harness.engine.outcome import GOOD, CheckResult, RunResult
from harness.engine.plan import Options
from harness.errors import HarnessError, UsageError
from harness.events import EventLog, Level, Record
from harness.events.clock_watch import ClockWatch
from harness.inventory import Host, load
from harness.printing import harmless, printable
from harness.pytest.moment import Moment
from harness.pytest.targets import Targets
from harness.pytest.trial import TRIAL, Trial, trial_of
from harness.pytest.verdict import not_run
from harness.pytest.witness import Witness
from harness.report import folder as run_folder
from harness.report.folder import RunFolder
from harness.report.plan_file import write_plan
from harness.report.write import write_reports
from harness.target.spec import resolved, target_spec
from harness.target.target import Target

T = TypeVar("T")

_TOLD = ("machine.started", "image.build", "image.progress", "target.settled", "target.unreachable", "internal.error")
_TOLD_VERBOSELY = ("boot.stage",)
_NAMED = 10
_FAREWELL = 60.0
"""Seconds that the fixtures of a session that ends early have to put things back."""


def open_suite(config: pytest.Config) -> Suite:
    """Reads the inventory and chooses its targets; nothing is touched. Raises HarnessError."""
    refuse_without_assertions()
    option = config.getoption
    if option("numprocesses", None) or hasattr(config, "workerinput"):
        raise UsageError(
            "--harness-inventory does not go with -n (pytest-xdist)",
            hint="Each worker would start machines of its own, and a console has one owner. Machines are started side "
            "by side anyway: see --harness-forks.",
        )
    folders = [Path(argument.partition("::")[0]) for argument in config.args]
    inventory = load(
        option("harness_inventory"),
        extra_vars=option("harness_extra_vars"),
        playbook_dirs=[str(path if path.is_dir() else path.parent) for path in folders],
        vault_password_file=option("harness_vault_password_file"),
    )
    hosts = inventory.select("all", limit=option("harness_limit"))
    resolved([target_spec(host) for host in hosts])  # whatever in them cannot be used is told now
    for host in hosts:
        finding_rules(host)
    options = Options(
        forks=option("harness_forks"),
        keep=option("harness_keep"),
        settle=option("harness_settle"),
        timeout_scale=option("harness_timeout_scale"),
        budget=option("harness_budget"),
        window=option("harness_window"),
        transport=option("harness_transport"),
    )
    return Suite(config, {host.name: host for host in hosts}, options, [str(each) for each in inventory.warnings])


def in_these_flags(text: str) -> str:
    """Return an error's message for pytest's output: with the flags of pytest in the place of those of `harness run`,
    and with nothing in it that a terminal or a CI system would obey."""
    return harmless(re.sub(r"(?<!\S)--(limit|logs|extra-vars|vault-password-file|transport)\b", r"--harness-\1", text))


class Suite:
    """The hooks of one session. pytest calls them all on its main thread."""

    def __init__(self, config: pytest.Config, hosts: Mapping[str, Host], options: Options, warnings: list[str]) -> None:
        self._config = config
        self._hosts = hosts
        self._options = options
        self._warnings = warnings
        self._moment = Moment()
        self._trials: list[Trial] = []
        self._folder: RunFolder | None = None
        self._log: EventLog | None = None
        self._targets: Targets | None = None
        self._clock_watch: ClockWatch | None = None
        self._started = self._began = 0.0
        self._result: RunResult | None = None
        self._not_written = ""

    # -- what the fixtures ask -------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The targets that were chosen, in the inventory's order."""
        return list(self._hosts)

    def target(self, name: str) -> Target:
        """The target for as long as the session lasts."""
        assert self._targets is not None, "targets are started before the first test"
        return self._targets.target(name)

    def target_of(self, item: pytest.Item, target: Target) -> Target:
        """The same for one test, with the transport that its marker insists on."""
        return target.over(item.stash[TRIAL].transport)

    # -- before the first test, after the last ---------------------------------------------------------------

    def pytest_report_header(self) -> list[str]:
        noted = [f"harness: warning: {_shown(str(warning))}" for warning in self._warnings]
        names = ", ".join(map(_shown, self.names[:_NAMED])) + (", …" if len(self._hosts) > _NAMED else "")
        return [f"harness: {len(self._hosts)} target{'s' if len(self._hosts) != 1 else ''}: {names}", *noted]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            trial = trial_of(item, self._hosts, self._options)
            if trial is not None:
                item.stash[TRIAL] = trial

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, T, T]:
        option = session.config.getoption
        ends_at_once = session.testsfailed and not option("continue_on_collection_errors")
        if not (option("collectonly") or option("setupplan", False) or ends_at_once):
            self._trials = [item.stash[TRIAL] for item in session.items if TRIAL in item.stash]
            if self._trials:
                try:
                    self._open()
                except UsageError as error:
                    raise pytest.UsageError(in_these_flags(str(error))) from None
        return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, T, T]:
        # What an interrupt or -x left set up is put back by pytest now, and may need the target for it.
        self._moment.begin("", Deadline.after(_FAREWELL))
        try:
            return (yield)
        finally:
            session.exitstatus = self._close(int(exitstatus))

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        # It is printed in the summary, and may hold a target's words and secrets of the inventory.
        text = str(warning_message.message)
        shown = harmless(text if self._log is None else self._log.redact(text))
        if shown != text:
            warning_message.message = shown

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._result is None or self._folder is None:
            return
        counts = Counter[str]()
        for target in self._result.targets:
            counts.update(target.counts)
            for line in target.reach:
                terminalreporter.write_line(_shown(line))
            for finding in target.findings:
                if finding.ruling is Ruling.REPORTED:
                    terminalreporter.write_line(
                        f"harness: {_shown(target.target)}: {_shown(finding.short)}", yellow=True
                    )
        for check in self._result.checks:
            for warning in check.warnings:
                words = f"harness: {_shown(check.target)}: {check.check}: warning: {_shown(warning)}"
                terminalreporter.write_line(words, yellow=True)
        for check in _of_the_targets(self._result):
            for line in check.message.splitlines():
                words = f"harness: {_shown(check.target)}: {check.check} {check.outcome.value}: {_shown(line)}"
                terminalreporter.write_line(words, red=True)
        facts = f"{counts['commands']} commands, {counts['fallbacks']} fallbacks, {counts['re_reads']} re-reads"
        terminalreporter.write_line(f"harness: {facts}; record: {self._folder.path}")
        if self._not_written:
            terminalreporter.write_line(f"harness: {_shown(self._not_written)}", red=True)

    def _open(self) -> None:
        """Makes the record and starts the targets that a selected test looks at."""
        self._started, self._began = time.time(), time.monotonic()
        self._folder = run_folder.create(Path(self._config.getoption("harness_logs")), self._started)
        log = self._log = EventLog(self._folder.events, run=self._folder.run, on_failure=self._record_lost)
        for host in self._hosts.values():
            for secret in host.secret_values:
                log.add_secret(secret)
        plan = write_plan(self._folder.path, map(log.redact, self._plan()))
        log.emit("run.start", f"{len(self._trials)} tests", argv=sys.argv, version=__version__, plan=plan)
        self._clock_watch = ClockWatch(log)
        self._clock_watch.start()
        tests = Counter(trial.target for trial in self._trials)
        hosts = [host for name, host in self._hosts.items() if tests[name]]
        self._targets = Targets(self._options, folder=self._folder, log=log, moment=self._moment)
        witness = Witness(self._targets, log=log, moment=self._moment, full_trace=self._config.getoption("fulltrace"))
        self._config.pluginmanager.register(witness)
        progress = _Progress(self._config)
        log.subscribe(progress)
        try:
            self._targets.start(hosts, tests)
        finally:
            progress.over = True

    def _close(self, exit_code: int) -> int:
        """Stops the machines and writes the reports; the exit code. What cannot be written is told in the summary.

        All tests may have passed on a target that did not settle, or whose console said what is forbidden: then the
        session has failed.
        """
        if self._targets is None or self._folder is None or self._log is None or self._result is not None:
            return exit_code
        interrupted = exit_code == pytest.ExitCode.INTERRUPTED
        results: dict[str, list[CheckResult]] = {}
        for trial in self._trials:
            if trial.result is None:
                trial.result = not_run(trial, interrupted)
                tell(trial.result, self._log.bind(target=trial.target))
            results.setdefault(trial.target, []).append(trial.result)
        targets = self._targets.stop(results)
        if self._clock_watch is not None:
            self._clock_watch.stop()
        duration = time.monotonic() - self._began
        result = RunResult(self._folder.run, self._started, duration, targets, interrupted)
        self._result = result = self._log.redact(result)
        if exit_code == pytest.ExitCode.OK and _of_the_targets(result):
            exit_code = int(pytest.ExitCode.TESTS_FAILED)
        if self._log.failed is None and (trouble := write_reports(result, self._folder)):
            self._not_written = str(trouble)
        counted = ", ".join(f"{count} {outcome}" for outcome, count in result.counts.items())
        level: Level = "info" if exit_code == 0 else "error"
        self._log.emit(
            "run.end", counted, level=level, duration=duration, counts=result.counts, exit_code=exit_code,
            outcome="passed" if exit_code == 0 else "failed",
        )  # fmt: skip
        self._log.close()
        return exit_code

    def _record_lost(self, error: HarnessError) -> None:
        self._not_written = str(error)

    def _plan(self) -> Iterator[dict[str, Any]]:
        """Yield each target's part of the plan, as that of `harness run`."""
        by_target: dict[str, list[Trial]] = {}
        for trial in self._trials:
            by_target.setdefault(trial.target, []).append(trial)
        for name, trials in by_target.items():
            yield {
                "target": name,
                "groups": list(self._hosts[name].groups),
                "checks": [
                    {
                        "id": trial.check.id,
                        "check": trial.check.label,
                        "description": trial.check.description,
                        "tags": [],
                        "budget": trial.settings.budget,
                        "window": trial.settings.window,
                        "needs": [],
                    }
                    for trial in trials
                ],
            }


class _Progress:
    """Tells on the terminal what the machines do while pytest waits for them; a reader of the record."""

    def __init__(self, config: pytest.Config) -> None:
        self._terminal: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
        verbosity = config.get_verbosity()
        self._told = () if verbosity < 0 else _TOLD if verbosity == 0 else _TOLD + _TOLD_VERBOSELY
        self.over = False

    def __call__(self, record: Record) -> None:
        if self._terminal is not None and not self.over and record["event.action"] in self._told:
            target = record.get("host.name", "")
            text = record["message"].partition("\n")[0].removeprefix(f"{target}: ")
            self._terminal.write_line(f"{_shown(target)}: {_shown(text)}")


def _of_the_targets(result: RunResult) -> list[CheckResult]:
    """What failed that is no test: a target did not settle, or its findings say so."""
    return [check for check in result.checks if check.module == WHOLE_TARGET and check.outcome not in GOOD]


def _shown(text: str) -> str:
    """What a machine says must not drive the person's terminal."""
    return harmless("".join(char if char.isprintable() else printable(char) for char in text).replace("\n", "\\x0a"))
