"""The targets of a pytest session: started side by side, settled, and given back in the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, TypeVar

from harness.api.check import Check, Settings
from harness.deadline import SYSTEM_CLOCK, Cancellation, Deadline
from harness.engine.attempts import MakeTarget
from harness.engine.console import ConsoleTail
from harness.engine.findings.rules import finding_rules
from harness.engine.findings.watch import Findings
from harness.engine.life import Life, Means
from harness.engine.outcome import CheckResult, TargetResult
from harness.engine.plan import Options, scale_for
from harness.engine.workers import WorkerPool
from harness.events import EventLog
from harness.inventory import Host
from harness.pytest.carry import CallingThread
from harness.pytest.loop import LoopThread
from harness.pytest.moment import Interruptible, Moment, MovingDeadline, MovingEmitter
from harness.report.folder import UP, RunFolder
from harness.target.session import TargetSession
from harness.target.spec import target_spec
from harness.target.target import Target
from harness.transport.ssh.keyring import Keyring
from harness.transport.ssh.tty import Tty

T = TypeVar("T")

_CALLS = 8
"""Threads for commands of tests. A test looks at one target from one thread, mostly."""


class Targets:
    """The targets that the selected tests need. `start` comes first, `stop` last, whatever happened between.

    All methods are called on pytest's own thread. An interrupt that comes while they wait cancels what can be, and goes
    on once that has ended.
    """

    def __init__(self, options: Options, *, folder: RunFolder, log: EventLog, moment: Moment) -> None:
        self._options = options
        self._folder = folder
        self._log = log
        self._moment = moment
        self._cancellation = Cancellation()
        findings = Findings()
        self._keyring = Keyring(Tty.open)
        self._loop = LoopThread()
        self._calls = ThreadPoolExecutor(_CALLS, thread_name_prefix="harness-call")
        self._lives: dict[str, Life] = {}
        self._targets: dict[str, Target] = {}
        self.console = ConsoleTail()
        pool = WorkerPool(options.forks)
        self._means = Means(pool, pool, findings, self.console)
        self._watch = contextlib.ExitStack()
        log.subscribe(self.console)
        log.subscribe(findings)

    def start(self, hosts: Sequence[Host], tests: Mapping[str, int]) -> None:
        """Starts all machines, up to `forks` at once, and waits until they have settled. `tests`: how many each has.

        What goes wrong with one of them is told by its tests.
        """
        self._watch.enter_context(SYSTEM_CLOCK.watched())
        self._until(self._start(hosts, tests))

    def target(self, name: str) -> Target:
        """The target, for as long as the session lasts. Only where its start came to an end."""
        if name not in self._targets:
            life = self._lives[name]
            events = MovingEmitter(self._moment, name, life.events)
            made = life.session.target(MovingDeadline(self._moment), events, self._moment.tell)
            self._targets[name] = replace(
                made, link=Interruptible(made.link, self._calls), transport=self._options.transport
            )
        return self._targets[name]

    def life(self, name: str) -> Life:
        """How a target fares."""
        return self._lives[name]

    def carry(
        self, name: str, check: Check, settings: Settings, *, make_target: MakeTarget, transport: str | None
    ) -> tuple[CheckResult, BaseException | None]:
        """A check's verdict, and what interrupted it between two attempts. They are made on the thread that calls."""
        life, own = self._lives[name], Cancellation()
        interrupts: list[BaseException] = []

        def interrupted(by: BaseException) -> None:
            interrupts.append(by)
            own.cancel(f"interrupted by {type(by).__name__}")

        thread = CallingThread(interrupted)
        outer = life.limit.cancellation
        forget = outer.on_cancel(lambda: own.cancel(outer.reason))
        run = life.carry(
            check,
            settings,
            make_target=make_target,
            pool=thread,
            limit=replace(life.limit, cancellation=own),
            transport=transport,
        )
        future = self._loop.begin(run)
        future.add_done_callback(lambda _future: thread.over())
        try:
            thread.serve()
        finally:
            forget()
        return future.result(), interrupts[0] if interrupts else None

    def stop(self, results: Mapping[str, list[CheckResult]]) -> tuple[TargetResult, ...]:
        """Stops (or keeps) what was started, and tells what came of each target, in the order of their start."""
        try:
            return self._until(self._stop(results))
        finally:
            self._watch.close()
            self._keyring.close()
            self._calls.shutdown(wait=False)
            self._means.shutdown()
            self._loop.close()

    # -- on the event loop -----------------------------------------------------------------------------------

    async def _start(self, hosts: Sequence[Host], tests: Mapping[str, int]) -> None:
        forks = asyncio.Semaphore(self._options.forks)

        async def one(life: Life) -> None:
            async with forks:
                await _start(life, tests.get(life.name, 0))

        self._lives = {host.name: self._life(host) for host in hosts}
        await asyncio.gather(*(one(life) for life in self._lives.values()))

    async def _stop(self, results: Mapping[str, list[CheckResult]]) -> tuple[TargetResult, ...]:
        ends = (_stop(life, results.get(name, [])) for name, life in self._lives.items())
        return tuple(await asyncio.gather(*ends))

    def _life(self, host: Host) -> Life:
        events = self._log.bind(target=host.name)
        session = TargetSession(
            host,
            target_spec(host).stretched(scale_for(host, self._options)),
            folder=self._folder.target(host.name),
            events=events,
            run=self._folder.run,
            secrets=self._log,
            keyring=self._keyring,
            ups=self._folder.path.parent / UP,
        )
        limit = Deadline.never(cancellation=self._cancellation)
        return Life(
            host, self._options, session, means=self._means, rules=finding_rules(host), events=events, limit=limit
        )

    # -- between the threads ---------------------------------------------------------------------------------

    def _until(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = self._loop.begin(work)
        try:
            wait([future])
        except BaseException as interrupt:
            self._cancellation.cancel(f"interrupted by {type(interrupt).__name__}")
            wait([future])
            raise
        return future.result()


async def _start(life: Life, tests: int) -> None:
    """Starts the machine, where there is one, and waits until it has settled; what goes wrong is `trouble`."""

    async def up() -> None:
        await life.begin(life.session.start, life.session.start_timeout)
        if life.wants_settling:
            await life.is_settled()

    life.events.emit("target.start", f"{life.name}: {tests} tests", check_count=tests)
    await life.through(up())


async def _stop(life: Life, results: list[CheckResult]) -> TargetResult:
    """Ends the machine (or leaves it up), and tells what came of the target."""
    reach = await life.take_down()
    return life.result(results, reach=reach, things="tests")
