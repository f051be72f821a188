"""systemd's manager on a target, the system's or a user's: units, queue, journal, and why a unit is not up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.api.check import Never, NotYet, Skip
from harness.target.jobs import Job, parse_jobs
from harness.target.journal import JournalEntry, parse_journal
from harness.target.look import (
    Look,
    jobs_command,
    journal_command,
    parse_look,
    show_command,
    system_command,
    unit_command,
)
from harness.target.standing import WINDOW, Standing, restarts
from harness.target.units import IncompleteAnswer, UnitState, parse_show
from harness.target.values import seconds
from harness.target.why import Why, explain, restarted_within, restarts_told

if TYPE_CHECKING:
    from harness.target.target import Target

_TEMPLATE = re.compile(r"@\.[a-z]+$")


@dataclass(frozen=True, slots=True)
class Manager:
    """The system's manager, or with `user` that user's (`systemctl --user`). Each method is one round trip unless it
    says otherwise.

    All raise :class:`~harness.Skip` where the target is not run by systemd, and :class:`~harness.NotYet` where the
    manager does not answer (yet).
    """

    target: Target
    user: str | None = None

    def unit(self, name: str) -> UnitState:
        """One look at a unit."""
        return self.units(name)[0]

    def units(self, *names: str) -> tuple[UnitState, ...]:
        """One look at many units, in the order of `names`. Raises Never for a name that is no unit's."""
        for name in names:
            _check_name(name)
        try:
            states = self._together(names) or parse_show(self._ask(show_command(names, self.user)))
        except IncompleteAnswer as error:
            raise NotYet(str(error)) from error
        if len(states) != len(names):
            raise NotYet(f"systemctl show answered for {len(states)} of {len(names)} units")
        return states

    def jobs(self) -> tuple[Job, ...]:
        """The job queue."""
        return parse_jobs(self._ask(jobs_command(self.user)))

    def look(self, name: str) -> Look:
        """One look at a unit and at all that it may wait for."""
        _check_name(name)
        look = self._look(unit_command(name, self.user))
        if not look.asked:
            raise NotYet(f"systemctl show did not answer for {name}") from IncompleteAnswer(name)
        return look

    def look_at_all(self) -> Look:
        """One look at the manager: its state and queue, the units that failed or are on their way, and restarts."""
        return self._look(system_command(self.user))

    def why(self, name: str) -> Why:
        """Where a unit stands, all things considered, and why it is not up yet."""
        return explain(self.look(name))

    def up(self, name: str) -> UnitState:
        """The unit's state when it is up with no job queued: one round trip then, else two.

        Raises NotYet with what it waits for; Never with its result and last words, or with what it waits for in vain.
        """
        state = self.unit(name)
        return state if state.standing is Standing.UP else _up(self.why(name))

    def settled(self, name: str, window: float = WINDOW) -> UnitState:
        """The unit's state when it is up and has been so, the same invocation, for `window` seconds of the target's own
        clock; so one look is enough.

        Raises as `up` does; NotYet, with the times, for a unit that is flapping.
        """
        look = self.look(name)
        state = _up(explain(look))
        held = look.since(state.changed_us) if state.changed_us else look.up
        if held is None or held >= window:
            return state
        if restarted_within(look, state.name, window):
            seen = f"is flapping ({restarts(state)}{restarts_told(look, state.name)})"
        else:
            seen = f"{state.reason}, but for {seconds(held)} only ({restarts(state)})"
        raise NotYet(f"{state.name} {seen}; it has to hold for {seconds(window)}")

    def journal(self, *units: str, priority: int = 7, lines: int = 200) -> tuple[JournalEntry, ...]:
        """The last entries of the units' journals in this boot, up to this syslog priority. Globs are understood, but
        not for a user's units."""
        try:
            return parse_journal(self._ask(journal_command(units, priority, lines, self.user)))
        except ValueError as error:
            raise NotYet(f"the journal of {', '.join(units)} could not be read: {error}") from error

    def _together(self, names: tuple[str, ...]) -> tuple[UnitState, ...]:
        """The units' states out of one question with all checks that ask now; none where that told too little."""
        target = self.target
        if target.shared is None:
            return ()
        result, asked = target.shared.ask(
            f"units {self.user} {target.transport}",
            names,
            lambda every: target.run(show_command(every, self.user)),
            deadline=target.deadline,
        )
        states = parse_show(result.stdout.decode("utf-8", "backslashreplace")) if result.ok else ()
        if len(states) != len(asked):
            return ()  # one of the others may be no unit's name
        by_name = dict(zip(asked, states, strict=True))
        return tuple(by_name[name] for name in names)

    def _look(self, command: str) -> Look:
        try:
            return parse_look(self._ask(command), of_user=self.user is not None)
        except IncompleteAnswer as error:
            raise NotYet(str(error)) from error

    def _ask(self, command: str) -> str:
        result = self.target.run(command)
        if result.ok:
            return result.stdout.decode("utf-8", "backslashreplace")
        said = result.err or result.out.rpartition("\n")[2] or "no output"
        if "no such user" in said.lower():
            raise Never(f"the target has no user {self.user}")
        if result.exit_status == 127 or "not been booted with systemd" in said:
            raise Skip("the target is not run by systemd")
        if match := re.search(r"Unit name (\S+) is neither|Invalid unit name \"(.+?)\"", said):
            raise Never(f"{match[1] or match[2]} cannot be the name of a unit: {said}")
        if self.user is not None and "Failed to connect" in said:
            raise NotYet(f"{self.user} has no systemd manager that answers, as there is from a login on: {said}")
        raise NotYet(f"systemd could not be asked (exit status {result.exit_status}): {said}")


def _up(why: Why) -> UnitState:
    match why.standing:
        case Standing.UP:
            return why.state
        case Standing.NEVER:
            raise Never(str(why))
        case _:
            raise NotYet(str(why))


def _check_name(name: str) -> None:
    if _TEMPLATE.search(name):
        stem, _, kind = name.partition("@.")
        raise Never(f"{name} is a template, which is never started itself: name an instance ({stem}@NAME.{kind})")
    if not name.strip():
        raise Never("a unit without a name was asked for")
