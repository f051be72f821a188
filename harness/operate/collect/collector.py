"""Asks a target for all that a recipe names, and keeps every answer in a file of its own."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace

from harness import __version__
from harness.api.check import Skip
from harness.errors import Cancelled, DeadlineExpired, HarnessError
from harness.operate.collect.bounded import SBIN, TIMED_OUT, TIMER_FACT, TIMERS, Timer, bounded, kept, kept_stderr
from harness.operate.collect.catalogue import Command, Recipe
from harness.operate.collect.index import SUMMARY, Bounds, Entry, Index, State, Stream
from harness.operate.collect.recording import RecordingLink
from harness.operate.collect.store import Store, file_name
from harness.operate.collect.summary import summary
from harness.operate.explain import explain_target, explain_unit
from harness.operate.questions import SERVICES, Kind, Question, names_told, unit_name
from harness.target.settle import expected_to_fail
from harness.target.target import Target
from harness.target.values import seconds as told_seconds
from harness.transport.contract import CommandResult
from harness.transport.errors import Timeout, TransportError

CONNECT = 60.0
"""Seconds that the first command may take: it is the one that connects, and logs in."""
ANSWER = 30.0
"""Seconds that the answer of a command may be on its way after it has ended: a console is slow."""
LOST = 2
"""After so many commands in a row that no transport carried, the others are not tried: each would wait in vain."""

Told = Callable[[Entry], None]
"""Told each entry as it is kept."""


def facts_command(recipe: Recipe) -> str:
    """Finds out what of all that the recipe's commands need, or lack, is there."""
    words = ["systemd", "openrc", "runit", *(word for each in recipe.commands for word in (*each.needs, *each.lacks))]
    return (
        f"{SBIN}\n{TIMERS}\nfor w in {' '.join(map(shlex.quote, dict.fromkeys(words)))}; do\n"
        'case $w in /*) [ -e "$w" ];; systemd) [ -d /run/systemd/system ];; openrc) [ -d /run/openrc ];; '
        'runit) [ -d /run/runit ];; *) command -v "$w" >/dev/null 2>&1;; esac && echo "$w"\ndone; true'
    )


class Collector:
    """Carries one recipe out on one target, once.

    Whatever ends it before its time (its deadline, Ctrl-C, a lost transport, the bound of its size) leaves what was had
    until then, an index that says what was not had and why, and a summary.
    """

    def __init__(
        self,
        target: Target,
        recipe: Recipe,
        store: Store,
        *,
        bounds: Bounds | None = None,
        units: Iterable[str] = (),
        because: str = "",
        told: Told = lambda _entry: None,
    ) -> None:
        """`target` waits until the deadline of the whole. `units` are explained besides what is not settled and those
        of the recipe. `because` says what it is collected for."""
        self._target = target
        self._recipe = recipe
        self._store = store
        self._bounds = bounds or Bounds()
        self._units = tuple(units)
        self._told = told
        self._clock = target.deadline.clock
        self._began = self._clock.monotonic()
        self._ended = ""
        self._lost = 0
        self._there: frozenset[str] | None = None
        self._index = Index(
            target=target.name,
            recipe=recipe.name,
            harness=__version__,
            started=self._clock.time(),
            bounds=self._bounds,
            because=store.text(because),
            expected_failed_units=tuple(expected_to_fail(target.vars)),
        )

    def collect(self) -> Index:
        """What was had. Raises CollectError where it cannot be written."""
        folder = str(self._store.folder)
        self._target.events.emit("collect.start", f"{self._target.name}: the recipe {self._recipe.name}", folder=folder)
        self._store.save(self._index)
        self._find_facts()
        if not self._ended:
            self._explain()
        for command in self._recipe.commands:
            self._keep(self._entry_of(command))
        self._index = replace(
            self._index, duration=self._clock.monotonic() - self._began, ended_early=self._store.text(self._ended)
        )
        self._store.save(self._index)
        self._store.write_text(SUMMARY, summary(self._index))
        self._tell_end(self._index, folder)
        return self._index

    def _tell_end(self, index: Index, folder: str) -> None:
        self._target.events.emit(
            "collect.end",
            f"{index.target}: {index.files} files, {index.size} bytes"
            + (f"; ended early: {index.ended_early}" if index.ended_early else ""),
            level="info" if index.complete else "warning",
            folder=folder,
            duration=index.duration,
            counts={state.value: len(index.of(state)) for state in State},
            bytes=index.size,
        )

    # -- what there is to be asked --------------------------------------------------------------------------------

    def _find_facts(self) -> None:
        command = Command("found", facts_command(self._recipe), "the programs and paths that matter, those that exist")
        try:
            result = self._run(command.run, CONNECT)
        except (HarnessError, Skip) as error:
            self._ended = self._note(error) or _words(error)
            self._keep(self._not_had(command, self._ended))
            return
        self._there = frozenset(result.out.split())
        self._keep(self._had(command, result))

    @property
    def _timer(self) -> Timer:
        there = self._there or ()
        if f"{TIMER_FACT}kills" in there:
            return Timer.KILLS
        return Timer.PLAIN if f"{TIMER_FACT}plain" in there else Timer.NONE

    # -- what waits for what --------------------------------------------------------------------------------------

    def _explain(self) -> None:
        """Puts the questions of an explanation, and keeps them with their answers: so the explanation can be had again
        from the folder, word by word. They come first, to make the most of a short time."""
        heard: dict[str, CommandResult | Timeout] = {}
        link = RecordingLink(self._target.link, heard.__setitem__, self._bounds.command_seconds + ANSWER)
        target = replace(self._target, link=link, shared=None)
        names = list(self._units)
        names += self._recipe.units if "systemd" in (self._there or ()) else ()
        try:
            explanation = explain_target(target)
        except (HarnessError, Skip) as error:
            self._note(error)
            self._index = replace(self._index, sentences=(self._store.text(_words(error)),))
        else:
            self._index = replace(
                self._index,
                standing=explanation.standing.value,
                sentence=self._store.text(explanation.sentence),
                sentences=tuple(map(self._store.text, explanation.sentences)),
            )
            names = [*(reason.unit for reason in explanation.reasons), *names]
        # One look each, beside the one at all: so that each can be explained from the folder by its name.
        for name in dict.fromkeys(names):
            if self._ended or unit_name(name) in _looked_at(heard.values()):
                continue
            try:
                explain_unit(target, name)
            except (HarnessError, Skip) as error:
                self._note(error)
        listed = heard.get(SERVICES)
        if isinstance(listed, CommandResult):
            names += listed.out.split()
        self._keep_questions(heard, names)

    def _keep_questions(self, heard: dict[str, CommandResult | Timeout], names: Iterable[str]) -> None:
        every = [Question(Kind.SYSTEM), Question(Kind.SERVICES)]
        for name in dict.fromkeys(names):
            every += [Question(Kind.UNIT, unit_name(name)), Question(Kind.SERVICE, name)]
        for question in every:
            answer = heard.get(question.command)
            if answer is None:
                continue
            name = f"why/{question.kind.value}" + (f"-{file_name(question.name)}" if question.name else "")
            command = Command(name, question.command, str(question))
            entry = self._partial(command, answer) if isinstance(answer, Timeout) else self._had(command, answer)
            self._keep(replace(entry, question=question))

    # -- the commands ---------------------------------------------------------------------------------------------

    def _entry_of(self, command: Command) -> Entry:
        unmet = command.unmet(self._there) if self._there is not None else ""
        if unmet:
            return Entry(command.name, command.about, command.run, State.LEFT_OUT, why=unmet)
        limit = min(command.size or self._bounds.file_bytes, self._bounds.total_bytes - self._index.size)
        if limit <= 0 and not self._ended:
            self._ended = f"the bound of the whole was reached ({self._bounds.total_bytes} bytes)"
        if not self._ended:
            self._ended = self._over()
        if self._ended:
            return self._not_had(command, self._ended)
        allowed = command.timeout or self._bounds.command_seconds
        script = bounded(command.run, seconds=allowed, limit=limit, keep=command.keep, timer=self._timer)
        began = self._clock.monotonic()
        try:
            result = self._run(script, allowed + ANSWER if self._timer else allowed)
        except Timeout as error:
            self._ended = self._over()
            why = self._ended or f"it did not end in {told_seconds(self._clock.monotonic() - began)}"
            return self._partial(command, error, why, limit)
        except (HarnessError, Skip) as error:
            return self._not_had(command, self._note(error) or _words(error))
        entry = self._had(command, result, limit)
        if result.exit_status in TIMED_OUT and result.duration >= 0.9 * allowed:
            why = f"it did not end in {told_seconds(allowed)}"
            return replace(entry, state=State.PARTIAL, exit_status=None, why=why)
        return entry

    def _run(self, script: str, allowed: float) -> CommandResult:
        target = replace(self._target, deadline=self._target.deadline.clamp(allowed))
        result = target.run(script)
        self._lost = 0
        return result

    def _over(self) -> str:
        """Why nothing more can be asked; empty while it can."""
        deadline = self._target.deadline
        if deadline.cancellation.cancelled:
            return deadline.cancellation.reason
        return f"the time for all of it was over ({told_seconds(self._bounds.seconds)})" if deadline.expired else ""

    def _note(self, error: Exception) -> str:
        """Takes account of an error that is no answer; returns why nothing more is to be asked, or nothing."""
        self._ended = self._ended or self._over()
        if not self._ended and isinstance(error, Cancelled | DeadlineExpired):
            self._ended = error.message
        if not self._ended and isinstance(error, TransportError):
            self._lost += 1
            if self._lost >= LOST:
                self._ended = f"no transport served {self._lost} commands in a row; the last: {error.message}"
        return self._ended

    # -- what is kept ---------------------------------------------------------------------------------------------

    def _keep(self, entry: Entry) -> None:
        self._index = self._index.with_entry(entry)
        self._store.save(self._index)
        self._told(entry)

    def _not_had(self, command: Command, why: str) -> Entry:
        return Entry(
            command.name, command.about, self._store.text(command.run), State.NOT_HAD, why=self._store.text(why)
        )

    def _had(self, command: Command, result: CommandResult, limit: int | None = None) -> Entry:
        stdout, stderr = self._streams(command, result.stdout, result.stderr, limit)
        return Entry(
            name=command.name,
            about=command.about,
            command=self._store.text(command.run),
            state=State.HAD,
            exit_status=result.exit_status,
            transport=result.transport,
            fell_back_from=tuple(each.transport for each in result.fallbacks),
            started=result.started,
            duration=result.duration,
            stdout=stdout,
            stderr=stderr,
        )

    def _partial(self, command: Command, error: Timeout, why: str = "", limit: int | None = None) -> Entry:
        stdout, stderr = self._streams(command, error.stdout, error.stderr, limit)
        return Entry(
            name=command.name,
            about=command.about,
            command=self._store.text(command.run),
            state=State.PARTIAL,
            why=self._store.text(why or error.message),
            transport=error.transport,
            stdout=stdout,
            stderr=stderr,
        )

    def _streams(
        self, command: Command, stdout: bytes, stderr: bytes, limit: int | None
    ) -> tuple[Stream, Stream | None]:
        """Secrets are masked before anything is cut: half of one would not be known any more."""
        limit = self._bounds.total_bytes if limit is None else limit
        out = kept(self._store.masked(stdout), limit, command.keep)
        err = kept_stderr(self._store.masked(stderr), limit, command.keep)
        first = self._store.add(f"{command.name}.txt", out.data, cut=out.cut)
        second = self._store.add(f"{command.name}.err.txt", err.data, cut=err.cut) if err.data else None
        return first, second


def _looked_at(answers: Iterable[CommandResult | Timeout]) -> set[str]:
    """The units that the answers are about, by all of their names."""
    return {name for each in answers if isinstance(each, CommandResult) for name in names_told(each.stdout)}


def _words(error: Exception) -> str:
    return error.message if isinstance(error, HarnessError) else str(error)
