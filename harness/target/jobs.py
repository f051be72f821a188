"""The manager's job queue, and which job waits for which. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_JOB = re.compile(r"^\W*([0-9]{1,18})\s+(\S+)\s+([a-z-]+)\s+(waiting|running)\b")
# `--before` makes systemctl say below each job which jobs must end before it. Its label is not looked at: up to
# systemd 245 or so it was the wrong one ("blocking job").
_HOLDER = re.compile(r"^\W+[a-z ]*\bjob ([0-9]{1,18}) \(")


@dataclass(frozen=True, slots=True)
class Job:
    """An entry of the queue: `state` is `waiting` or `running`; `after` are the ids of the jobs that must end first."""

    id: int
    unit: str
    type: str
    state: str
    after: tuple[int, ...] = ()

    @property
    def running(self) -> bool:
        return self.state == "running"


def parse_jobs(text: str) -> tuple[Job, ...]:
    """Reads `systemctl list-jobs --no-legend [--before]`: columns JOB UNIT TYPE STATE, and below a job those that must
    end before it. What is neither is passed over."""
    jobs: list[Job] = []
    for line in text.split("\n"):
        if match := _JOB.match(line):
            jobs.append(Job(int(match[1]), match[2], match[3], match[4]))
        elif (match := _HOLDER.match(line)) and jobs:
            last = jobs[-1]
            jobs[-1] = Job(last.id, last.unit, last.type, last.state, (*last.after, int(match[1])))
    return tuple(jobs)
