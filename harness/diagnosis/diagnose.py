"""From evidence to ranked causes, and to the sentence that is read first. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from harness.diagnosis.evidence import Evidence, TransportObservation
from harness.diagnosis.rules import Certainty, Found, StateRule, TextRule
from harness.diagnosis.rules_account import ACCOUNT_RULES
from harness.diagnosis.rules_log import LOG_RULES
from harness.diagnosis.rules_machine import MACHINE_RULES
from harness.diagnosis.rules_network import NETWORK_RULES
from harness.diagnosis.rules_text import CONSOLE_OUTSIDE, CONSOLE_RULES, OUTSIDE, RECEIVED_RULES
from harness.diagnosis.text import one_line, quoted
from harness.transport.errors import Contact

STATE_RULES: tuple[StateRule, ...] = (*MACHINE_RULES, *NETWORK_RULES, *ACCOUNT_RULES)
LONGEST_HEADLINE = 500
"""Characters."""
_LOGIN_PROMPT = re.compile(r"\blogin: *\S{0,32}$")
_NEW_BOOT = re.compile(r"(?:^|\] )Linux version \d|SeaBIOS \(version|^U-Boot 20\d\d")
_FACTS = (
    ("log", "what sshd logged"),
    ("listen", "who listens on the port"),
    ("link", "the state of the link"),
    ("filter", "the packet filter"),
    ("account", "the account"),
    ("settings", "sshd's effective settings"),
    ("keys", "the authorized keys"),
)


@dataclass(frozen=True, slots=True)
class RankedCause:
    """One cause. `sentence` names what is wrong; `evidence` is the machine's own, quoted; `lasting`: waiting does not
    end it."""

    name: str
    sentence: str
    certainty: Certainty
    lasting: bool = False
    evidence: tuple[str, ...] = ()
    against: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a target cannot be used over SSH (or over nothing at all): causes, the most certain first.

    `observations` tell what came of each transport, `not_asked` what nobody could be asked, and why.
    """

    target: str
    causes: tuple[RankedCause, ...] = ()
    observations: tuple[TransportObservation, ...] = ()
    not_asked: tuple[tuple[str, str], ...] = ()
    booting: bool = False
    """The machine is still starting: what is so now may be otherwise by itself."""

    @property
    def first(self) -> RankedCause | None:
        """The cause to report first; None where there is nothing wrong."""
        return self.causes[0] if self.causes else None

    @property
    def lasting(self) -> bool:
        """Whether waiting does not end it: the machine itself gives a reason that somebody has to change."""
        if not self.causes or self.booting:
            return False
        return self.causes[0].lasting and self.causes[0].certainty >= Certainty.SHOWN

    @property
    def headline(self) -> str:
        """One sentence that names the cause, with the evidence for it; empty where there is nothing wrong."""
        if not self.causes:
            return ""
        first = self.causes[0]
        sentence = first.sentence
        if first.evidence:
            sentence += f" ({first.evidence[0]})"
        possible = [each for each in self.causes[1:] if each.certainty is Certainty.POSSIBLE]
        if first.certainty is Certainty.OUTSIDE and possible:
            sentence += f"; it may be that {possible[0].sentence}"
        return one_line(sentence, LONGEST_HEADLINE)

    @property
    def lines(self) -> tuple[str, ...]:
        """The headline, and below it what it rests on: the other evidence, the other causes, the transports."""
        if not self.causes:
            return ()
        first, *others = self.causes
        found = [self.headline]
        found += [f"evidence: {each}" for each in first.evidence[1:]]
        found += [f"against it: {each}" for each in first.against]
        found += [
            f"{'also' if each.certainty >= Certainty.SHOWN else 'possible'}: {each.sentence}"
            + (f" ({each.evidence[0]})" if each.evidence else "")
            for each in others
            if each.certainty is not Certainty.OUTSIDE
        ]
        found += [f"{each.transport}: {one_line(each.message, 300)}" for each in self.observations if each.message]
        found += [f"not asked: {what} ({why})" for what, why in self.not_asked]
        return tuple(found)

    def plain(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        return {
            "headline": self.headline,
            "cause": self.causes[0].name if self.causes else None,
            "causes": [
                {
                    "cause": each.name,
                    "sentence": one_line(each.sentence, LONGEST_HEADLINE),
                    "certainty": each.certainty.name.lower(),
                    "lasting": each.lasting,
                    "evidence": list(each.evidence),
                    "against": list(each.against),
                }
                for each in self.causes
            ],
            "transports": [
                {
                    "transport": each.transport,
                    "contact": each.contact.value,
                    "address": each.address,
                    "message": one_line(each.message, LONGEST_HEADLINE),
                    "received": one_line(each.received),
                    "origin": each.origin.value,
                }
                for each in self.observations
            ],
            "not_asked": [{"what": what, "why": why} for what, why in self.not_asked],
        }


def diagnose(evidence: Evidence) -> Diagnosis:
    """Return the causes that the evidence gives, the most certain first, of equal ones in the order of the tables."""
    failed = [each for each in evidence.observations if each.contact not in (Contact.ANSWERED, Contact.NOT_TRIED)]
    found: dict[str, RankedCause] = {}
    for cause in _all(evidence, failed):
        same = next(
            (name for name, each in found.items() if name == cause.name or each.sentence == cause.sentence), None
        )
        if same is None:
            found[cause.name] = cause
            continue
        # Two rows that name the same thing: the more certain one is reported, with the evidence of both.
        first, other = found[same], cause
        if cause.certainty > first.certainty:
            first, other = cause, found.pop(same)
        evidence_of_both = tuple(dict.fromkeys((*first.evidence, *other.evidence)))
        found[first.name] = replace(first, evidence=evidence_of_both)
    causes = sorted(found.values(), key=lambda each: -each.certainty)
    state = evidence.machine.system_state if evidence.machine is not None else ""
    return Diagnosis(
        evidence.target,
        tuple(causes),
        evidence.observations,
        _not_asked(evidence, failed),
        booting=evidence.sshd_unit_waits or state in ("initializing", "starting"),
    )


def _all(evidence: Evidence, failed: list[TransportObservation]) -> Iterator[RankedCause]:
    ssh = next((each for each in failed if each.transport == "ssh"), None)
    console = next((each for each in failed if each.transport == "serial"), None)
    alive = any(each.answered for each in evidence.observations)
    if not alive:
        yield from _console(evidence, console)
    if ssh is not None:
        yield from _log(evidence, ssh)
        yield from _received(ssh)
        yield from _state(evidence, ssh)
        yield _outside(ssh, OUTSIDE)
    if console is not None:
        if ssh is None:
            yield from _state(evidence, console)
        yield from _received(console)
        yield _outside(console, CONSOLE_OUTSIDE)


def _console(evidence: Evidence, seen: TransportObservation | None) -> Iterator[RankedCause]:
    """What the console shows of the last boot, where nothing on the machine answers."""
    lines = list(evidence.console)
    if seen is not None:
        lines += seen.received.replace("\r", "\n").split("\n")
    for index in range(len(lines) - 1, -1, -1):
        if _NEW_BOOT.search(lines[index]):
            lines = lines[index:]
            break
    for index in range(len(lines) - 1, -1, -1):
        if _LOGIN_PROMPT.search(lines[index].rstrip("\r\n")):
            lines = lines[index + 1 :]
            break
    text = "\n".join(lines)
    for rule in CONSOLE_RULES:
        found = list(rule.pattern.finditer(text))
        if found:
            match = found[-1]
            start = text.rfind("\n", 0, match.end()) + 1 if "\n" not in match[0].strip("\n") else match.start()
            line = text[max(start, 0) :].lstrip("\n").partition("\n")[0]
            yield RankedCause(
                rule.name,
                _sentence(rule, match, seen),
                rule.certainty,
                rule.lasting,
                (f"the console shows {quoted(line)}",),
            )


def _log(evidence: Evidence, seen: TransportObservation) -> Iterator[RankedCause]:
    if evidence.machine is None:
        return
    for rule in LOG_RULES:
        if seen.contact not in rule.contacts or (rule.only_user and seen.user != rule.only_user):
            continue
        for line in reversed(evidence.machine.log):
            match = rule.pattern.search(line.message)
            if match is None or not _is_ours(match, seen):
                continue
            where = f"{line.identifier or 'sshd'} logged {quoted(line.message)}"
            yield RankedCause(rule.name, _sentence(rule, match, seen), rule.certainty, rule.lasting, (where,))
            break


def _is_ours(match: re.Match[str], seen: TransportObservation) -> bool:
    groups = match.groupdict()
    names = {groups.get("user"), groups.get("other")} - {None, ""}
    return not names or not seen.user or seen.user in names


def _received(seen: TransportObservation) -> Iterator[RankedCause]:
    # The error of a login that was refused quotes what was said, which may not be the last that was received.
    texts = [seen.received]
    if seen.contact is Contact.LOGIN_REFUSED:
        texts.append(seen.message)
    for rule in RECEIVED_RULES:
        if seen.contact not in rule.contacts:
            continue
        matches = ((text, rule.pattern.search(text)) for text in texts if text.strip())
        text, match = next(((text, match) for text, match in matches if match is not None), ("", None))
        if match is not None:
            evidence_text = f"it sent {quoted(text)}" if text is seen.received else quoted(text)
            yield RankedCause(rule.name, _sentence(rule, match, seen), rule.certainty, rule.lasting, (evidence_text,))


def _state(evidence: Evidence, seen: TransportObservation) -> Iterator[RankedCause]:
    for rule in STATE_RULES:
        if seen.contact not in rule.contacts:
            continue
        found: Found | None = rule.find(evidence, seen)
        if found is not None:
            yield RankedCause(
                rule.name, one_line(found.sentence, 300), found.certainty, rule.lasting, found.evidence, found.against
            )


def _outside(seen: TransportObservation, sentences: dict[Contact, str]) -> RankedCause:
    template = sentences.get(seen.contact, "{transport} cannot be used")
    sentence = template.format(
        address=one_line(seen.address, 80) or "the server", user=one_line(seen.user, 40) or "the user",
        transport=seen.transport,
    )  # fmt: skip
    evidence = []
    if seen.received.strip() and seen.contact not in (Contact.KEX, Contact.HOST_KEY, Contact.HOST_KEY_UNKNOWN):
        evidence.append(f"it sent {quoted(seen.received)}")
    elif seen.message:
        evidence.append(one_line(seen.message, 300))
    return RankedCause(
        f"{seen.transport}-{seen.contact.value}".replace("_", "-"), sentence, Certainty.OUTSIDE, False, tuple(evidence)
    )


def _sentence(rule: TextRule, match: re.Match[str], seen: TransportObservation | None) -> str:
    """Return the rule's sentence, with what its pattern found, bounded and escaped."""
    values = {name: one_line(value or "", 120) for name, value in match.groupdict().items()}
    values["user"] = one_line(seen.user if seen is not None else "", 40) or values.get("user") or "the user"
    values["address"] = one_line(seen.address if seen is not None else "", 80) or "the server"
    return rule.sentence.format_map(_Known(values)).rstrip(": ")


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


def _not_asked(evidence: Evidence, failed: list[TransportObservation]) -> tuple[tuple[str, str], ...]:
    found = list(evidence.not_asked)
    if not any(each.transport == "ssh" for each in failed):
        return tuple(found)
    machine = evidence.machine
    if machine is None:
        if not found:
            found.append(("the machine itself", "no other transport serves"))
    else:
        why = "there is nothing there to ask" if machine.uid in (None, 0) else f"uid {machine.uid} may not read it"
        if not machine.knows("end"):
            why = "its answer was cut off"
        found += [(what, why) for name, what in _FACTS if not machine.knows(name)]
    return tuple(found)
