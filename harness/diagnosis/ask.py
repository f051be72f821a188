"""Goes on asking where SSH does not serve: over the transport that is left, and makes a diagnosis of what it learns."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.check import Never, NotYet, Skip
from harness.diagnosis.answers import parse_answer, whole_sections
from harness.diagnosis.diagnose import Diagnosis, diagnose
from harness.diagnosis.evidence import Evidence, MachineState, TransportObservation
from harness.diagnosis.rules import Certainty
from harness.diagnosis.rules_network import sshd_unit_down
from harness.diagnosis.script import machine_question
from harness.diagnosis.text import one_line
from harness.errors import DeadlineExpired
from harness.target.standing import Standing
from harness.transport.errors import Contact, Timeout, TransportError
from harness.transport.link import Unreachable

if TYPE_CHECKING:
    from harness.target.target import Target
    from harness.transport.contract import CommandResult
    from harness.transport.ssh.spec import SshSpec

ASKING = 60.0
"""Seconds that the question may take, a login on a slow console included."""
_CLOCKS = 3.0
"""Seconds by which the two clocks' paces, and a whole second of the machine's, may differ."""
_MOST_KEYS = 8


def observations_of(error: TransportError, *, address: str = "", user: str = "") -> tuple[TransportObservation, ...]:
    """Return what came of each transport, by the error that its use ended with. `address` and `user` are SSH's."""
    errors = error.errors if isinstance(error, Unreachable) else (error,)
    return tuple(
        TransportObservation(
            transport=each.transport,
            contact=each.contact,
            address=address if each.transport == "ssh" else "",
            user=user,
            message=each.message,
            received=_received(each),
            hint=each.hint,
        )
        for each in errors
    )


def diagnose_error(error: TransportError, *, target: str, address: str = "", user: str = "") -> Diagnosis:
    """Return a diagnosis by the error alone: nobody is asked."""
    return diagnose(Evidence(target, observations_of(error, address=address, user=user)))


def console_cause(target: str, lines: Sequence[str]) -> str:
    """Return why nothing on a machine answers, by the last lines of its console's log; empty where they do not say."""
    seen = (TransportObservation("serial", Contact.NO_SHELL),)
    found = diagnose(Evidence(target, seen, console=tuple(lines)))
    return found.headline if found.first is not None and found.first.certainty >= Certainty.SHOWN else ""


def unreachable_message(found: Diagnosis, error: TransportError) -> str:
    """Return the message of a verdict on a target that no transport serves: the cause, then what each transport met."""
    if not found.headline:
        return error.message
    errors = error.errors if isinstance(error, Unreachable) else (error,)
    others = [
        f"{each.transport}: {each.message}" for each in errors if one_line(each.message, 300) not in found.headline
    ]
    return "; ".join((found.headline, *others))


def diagnose_ssh(
    target: Target,
    error: TransportError,
    *,
    took: float = 20.0,
    transports: Sequence[str] | None = None,
    console: Callable[[], Sequence[str]] = lambda: (),
    qmp: str = "",
) -> Diagnosis:
    """Return why SSH does not serve, where an attempt has just ended with `error`.

    The machine is asked over each other transport in turn (of `transports`, where they are given), until one answers.
    `took` is how long ago the attempt began, in seconds: only what the machine has logged since then counts. `console`
    returns the console's last lines once nothing has answered, `qmp` is QEMU's run state. Raises Cancelled.
    """
    endpoint = target.endpoint
    began = time.monotonic() - took
    address, user = (str(endpoint), endpoint.user) if endpoint is not None else ("", "")
    observations = list(observations_of(error, address=address, user=user))
    failed = {each.transport for each in observations}
    not_asked: list[tuple[str, str]] = []
    machine: MachineState | None = None
    unit, unit_waits = "", False
    blobs = offered_keys(endpoint.spec) if endpoint is not None else ()
    for transport in target.transports if transports is None else transports:
        if transport in failed:
            continue
        try:
            machine = ask_machine(target, transport, user=user or "root", began=began, blobs=blobs)
        except TransportError as silence:
            observations += observations_of(silence)
            not_asked.append(("the machine itself", f"{transport}: {one_line(silence.message)}"))
        except (Skip, DeadlineExpired) as silence:
            not_asked.append(("the machine itself", f"{transport}: {one_line(str(silence))}"))
        else:
            observations.append(TransportObservation(transport, Contact.ANSWERED))
            unit, unit_waits = _explain_sshd_unit(target, transport, machine)
            break
    return diagnose(
        Evidence(
            target=target.name,
            observations=tuple(observations),
            machine=machine,
            port=_inner_port(target),
            outer_port=endpoint.port if endpoint is not None else 22,
            host=endpoint.host if endpoint is not None else "",
            console=() if machine is not None else tuple(console()),
            qmp=qmp,
            sshd_unit=unit,
            sshd_unit_waits=unit_waits,
            not_asked=tuple(not_asked),
        )
    )


def _explain_sshd_unit(target: Target, transport: str, machine: MachineState) -> tuple[str, bool]:
    """Return why sshd's unit is not up, and whether waiting may end that; an empty sentence where it is up, or where
    systemd gives no answer. It costs a round trip, which only a unit that is not up is worth."""
    unit = sshd_unit_down(machine)
    if unit is None or unit.load != "loaded":
        return "", False
    try:
        why = target.over(transport).why(unit.name)
    except (TransportError, Skip, NotYet, Never, DeadlineExpired):
        return "", False
    if why.standing is Standing.UP:
        return "", False  # it has come up meanwhile
    return why.sentence, why.standing is Standing.COMING


def ask_machine(target: Target, transport: str, *, user: str, began: float, blobs: Sequence[str] = ()) -> MachineState:
    """Return what the machine says of itself over a transport. `began` is when our attempt began, by `time.monotonic`.

    Checks of a target that ask at the same time share an answer, since a console answers one question at a time. Where
    the answer is cut off by the deadline, what came before counts. Raises the transports' typed errors.
    """
    question = machine_question(user, blobs=blobs)

    def put(_names: tuple[str, ...]) -> CommandResult:
        return target.run(question, timeout=ASKING, transport=transport)

    try:
        if target.shared is None:
            result = put(())
        else:
            result, _ = target.shared.ask(f"diagnosis over {transport}: {question}", (), put, deadline=target.deadline)
        text = result.stdout.decode("utf-8", "backslashreplace")
    except Timeout as late:
        text = whole_sections(late.stdout.decode("utf-8", "backslashreplace"))
        if not text:
            raise Timeout(
                "the machine did not answer the questions of the diagnosis in time", transport=transport, seen=late.seen
            ) from late
    found = parse_answer(text, over=transport, log_since=time.monotonic() - began + _CLOCKS)
    if found.account is not None:
        found = replace(found, account=replace(found.account, name=user))
    return found


def offered_keys(spec: SshSpec) -> tuple[str, ...]:
    """Return the public keys that a login with this spec offers, in base64, as far as they are known without asking
    anybody. None where the agent, or keys by default, are offered too: then it is not known which
    keys were offered."""
    if spec.use_agent or (spec.default_keys and not spec.key_files):
        return ()
    from harness.transport.ssh.auth import parse_key

    found: list[str] = []
    texts = [] if spec.key is None else [spec.key]
    for name in spec.key_files[:_MOST_KEYS]:
        path = Path(name).expanduser()
        with contextlib.suppress(OSError, UnicodeError):
            words = Path(f"{path}.pub").read_text("utf-8").split()
            if len(words) > 1:
                found.append(words[1])
                continue
        with contextlib.suppress(OSError, UnicodeError):
            texts.append(path.read_text("utf-8"))
    for text in texts:
        with contextlib.suppress(TransportError):
            found.append(parse_key(spec, text).get_base64())
    return tuple(found)


def _inner_port(target: Target) -> int | None:
    """Return sshd's port on the machine's own side; None where it is not known, as behind a forwarded port."""
    endpoint = target.endpoint
    if endpoint is None:
        return None
    if endpoint.inner_port is not None:
        return endpoint.inner_port
    spec = endpoint.spec
    forwarded = spec.host in ("localhost", "::1") or spec.host.startswith("127.")
    return None if forwarded or spec.proxy_command or spec.proxy_jump else spec.port


def _received(error: TransportError) -> str:
    """Return what the peer sent, as text. A marker of the harness's own is none of it."""
    if error.seen == b"(it hung up)" or error.contact in (Contact.KEX, Contact.HOST_KEY, Contact.HOST_KEY_UNKNOWN):
        return ""
    return error.seen.decode("utf-8", "backslashreplace")
