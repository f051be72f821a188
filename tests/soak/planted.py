"""A soak's trials with what was planted in them, so that reports and statistics have a truth to be held against."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

from harness.engine.outcome import Observation, Outcome
from harness.soak.signature import signature
from harness.soak.trial import Settling, Trial, TrialOutcome
from harness.soak.trials import Mark, TrialsFile

START = 1_795_000_000.0
CHECKS = (
    "sshd/console::login_on_console", "sshd/inside::unit_settled", "sshd/inside::config_valid",
    "sshd/inside::effective_settings", "sshd/inside::listening_sockets", "sshd/inside::host_keys_match",
    "sshd/inside::journal_clean", "sshd/outside::tcp_answers", "sshd/outside::banner", "sshd/outside::key_exchange",
    "sshd/outside::login_with_key", "sshd/outside::password_refused",
)  # fmt: skip
CONSOLE = ("[  OK  ] Started ssh.service", "\x1b[0;1;31m[FAILED]\x1b[0m Failed to start <b>sshd</b>", "vm1 login: ")
FLAKY, FAILING, DRIFTING, SLOW = CHECKS[8], CHECKS[6], CHECKS[1], CHECKS[9]


@dataclass(frozen=True, slots=True)
class Planted:
    """What is in it: the rates at which a check is flaky and one fails, one that takes longer and longer, a target that
    fails more often than the others, and a fault every so many iterations."""

    iterations: int = 100
    targets: tuple[str, ...] = ("vm1",)
    checks: tuple[str, ...] = CHECKS
    flaky: float = 0.03
    failing: float = 0.0
    drift: float = 0.0
    bad_target: str = ""
    fault_every: int = 0
    seed: int = 1
    unfinished: bool = False


def trials(planted: Planted) -> tuple[list[Trial], list[Mark]]:
    """All trials, those of an iteration together, and the marks of the faults."""
    made: list[Trial] = []
    marks: list[Mark] = []
    for target in planted.targets:
        drawn, now = random.Random(f"{planted.seed}:{target}"), START
        for iteration in range(1, planted.iterations + 1):
            fault: tuple[str, ...] = ()
            if planted.fault_every and iteration % planted.fault_every == 0:
                fault = (("link_down", "sshd_killed", "paused")[iteration // planted.fault_every % 3],)
                marks.append(Mark(iteration, target, "fault", fault[0], now + 1, now + 6, f"{fault[0]} for 5 s"))
                over = now + 6
                served = over + drawn.uniform(0.5, 3.0) if iteration % (3 * planted.fault_every) else None
                marks.append(Mark(iteration, target, "recovery", fault[0], over, served))
            marks.append(Mark(iteration, target, "reset", "snapshot", now - 0.5, now))
            for label in planted.checks:
                one = _trial(planted, drawn, label, target, iteration, now, fault)
                made.append(one)
                now += one.duration + 0.05
            now += 4.0
    return made, marks


def write(folder: Path, planted: Planted) -> None:
    """The same as a soak would have left it, with an unfinished iteration at its end where that is wanted."""
    made, marks = trials(planted)
    of: dict[tuple[str, int], list[Trial]] = {}
    for each in made:
        of.setdefault((each.target, each.iteration), []).append(each)
    befell: dict[tuple[str, int], list[Mark]] = {}
    for mark in marks:
        befell.setdefault((mark.target, mark.iteration), []).append(mark)
    file = TrialsFile(folder)
    for (target, iteration), mine in of.items():
        file.began(iteration, target, mine[0].started)
        for each in mine:
            file.add(each)
        for mark in befell[target, iteration]:
            file.mark(mark)
        file.ended(iteration, target, mine[-1].started + mine[-1].duration)
        if planted.unfinished and iteration == planted.iterations:
            file.began(iteration + 1, target, START * 2)
            file.add(replace(mine[0], iteration=iteration + 1))
    file.close()


def _trial(
    planted: Planted, drawn: random.Random, label: str, target: str, iteration: int, now: float, fault: tuple[str, ...]
) -> Trial:
    suite, _, check = label.partition("::")
    seconds = drawn.lognormvariate(-1.0, 0.35) * (6 if label == SLOW else 1)
    if label == DRIFTING:
        seconds *= 1 + planted.drift * iteration / planted.iterations
    is_flaky = label == FLAKY and drawn.random() < planted.flaky
    failing = planted.failing * (4 if target == planted.bad_target else 1)
    is_bad = label == FAILING and drawn.random() < failing
    serial = bool(fault) and label.startswith("sshd/inside")
    if fault:
        seconds += 3.0
    said = ""
    outcome, settling = TrialOutcome.PASSED, Settling.SETTLED
    if is_bad:
        timed_out = drawn.random() < 0.5
        outcome, settling = TrialOutcome.FAILED, Settling.CENSORED if timed_out else Settling.NEVER
        seconds = 30.0 if timed_out else seconds
        said = (
            f"{target}: ssh.service has {drawn.randint(1, 9)} errors in this boot's journal: "
            f"sshd[{drawn.randint(300, 999)}]: error: kex_exchange_identification: Connection closed by remote host "
            "(after 30 s and 12 attempts)"
        )
    elif is_flaky:
        said = f"127.0.0.1:{drawn.randint(40000, 49999)} closed the connection before its banner"
    told = bool(said)
    attempts = 12 if is_bad else drawn.choice([2, 2, 3]) if is_flaky or seconds > 2 else 1
    return Trial(
        iteration=iteration, target=target, suite=suite, check=check, outcome=outcome, started=now, duration=seconds,
        check_id=f"checks/{suite}.py::{check}", transports=("serial",) if serial else ("ssh",), flaky=is_flaky,
        attempts=attempts, seconds=seconds, settling=settling, commands=4, fallbacks=int(serial), re_reads=int(serial),
        reconnects=int(bool(fault)), faults=fault, recovery=seconds if fault and not is_bad else None, message=said,
        signature=signature(said, [target]),
        observations=_seen(attempts, seconds, said, is_bad) if told else (),
        console=CONSOLE if told else (),
        location=f"/work/checks/{suite}.py:22" if told else "",
        repeat=f"harness soak -i inventories/local.ini --limit={target} checks/{suite}.py::{check}" if told else "",
        collected=f"collected/{target}/{iteration}" if told else "",
    )  # fmt: skip


def _seen(attempts: int, seconds: float, said: str, is_bad: bool) -> tuple[Observation, ...]:
    last = (Outcome.FAILED, said) if is_bad else (Outcome.PASSED, "SSH-2.0-OpenSSH_9.2p1")
    return (Observation(attempts - 1, seconds / 2, Outcome.FAILED, said), Observation(attempts, seconds, *last))
