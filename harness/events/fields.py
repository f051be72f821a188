"""Every field that an event may have: its key in the record, its type, and what it means. A key has one type, whatever
the event: an aggregator that has once seen a number there takes nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "integer", "minimum": 1}
TRUTH: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
OUTCOME: Schema = {"enum": ["passed", "failed", "skipped", "unreachable", "error", "infrastructure", "not_run"]}


@dataclass(frozen=True, slots=True)
class Field:
    """`name` is what `emit` is given; `key` what stands in the record."""

    name: str
    schema: Schema
    meaning: str
    key: str


def _field(name: str, schema: Schema, meaning: str, key: str = "") -> tuple[str, Field]:
    return name, Field(name, schema, meaning, key or f"harness.{name}")


ENVELOPE: dict[str, tuple[Schema, str]] = {
    "@timestamp": (
        {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"},
        "when, RFC 3339 in UTC, to the microsecond",
    ),
    "log.level": ({"enum": ["debug", "info", "warning", "error"]}, "how much it matters"),
    "message": (TEXT, "a sentence for people"),
    "ecs.version": (TEXT, "the version of the Elastic Common Schema"),
    "event.id": (
        {"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
        "a ULID: receivers drop duplicates by it",
    ),
    "event.sequence": (
        NUMBER,
        "the place in the total order of the run; counts from 1 without gaps, except those that a `record.gap` names",
    ),
    "event.action": (
        {"type": "string", "pattern": r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$"},
        "the kind of event: the name of its page",
    ),
    "event.dataset": ({"const": "harness.events"}, "always `harness.events`"),
    "harness.schema": (TEXT, "the version of the schema"),
}
"""What every event has."""

FIELDS: dict[str, Field] = dict(
    [
        _field("run", NAME, "the run's id", "cicd.pipeline.run.id"),
        _field("target", NAME, "the target, by its inventory name", "host.name"),
        _field("module", NAME, "the check's module", "test.suite.name"),
        _field("check", NAME, "the check's name", "test.case.name"),
        _field("attempt", NUMBER, "which attempt of the check, from 1"),
        _field("iteration", NUMBER, "which iteration of the target in a soak, from 1"),
        _field("transport", NAME, "`ssh` or `serial`"),
        _field("console", TEXT, "the name of the console"),
        _field("jump_host", TEXT, "the host on the way to the target that this is about"),
        _field("duration", COUNT, "how long it took, in nanoseconds", "event.duration"),
        _field("outcome", OUTCOME, "how it ended; `event.outcome` has ECS's word for it"),
        _field("error_message", TEXT, "the error's own words", "error.message"),
        _field("error_type", TEXT, "the error's class", "error.type"),
        _field("pid", NUMBER, "the process", "process.pid"),
        _field("accel", TEXT, "QEMU's accelerator: `kvm` or `tcg`"),
        _field("address", TEXT, "where the console is reached"),
        _field("argv", TEXTS, "the command line, a word each"),
        _field("attempts", COUNT, "attempts that were made"),
        _field("bad", COUNTS, "what counts against the target, by outcome and `flaky`"),
        _field("banner", TEXT, "what the SSH server calls itself"),
        _field("boot_id", TEXT, "the kernel's id of this boot"),
        _field("bytes", COUNT, "bytes"),
        _field("cause", NAME, "the class of the trouble, such as `refused`, `timeout`, `lost`, `auth`, `host_key`"),
        _field("certificate", TEXT, "the host certificate that the server showed"),
        _field("check_count", COUNT, "checks that are planned on the target"),
        _field("check_id", TEXT, "the check as the command line takes it: `file.py::name`"),
        _field("checks", TEXTS, "the checks that ran then"),
        _field("command", TEXT, "the command, secrets masked"),
        _field("console_address", TEXT, "the console's socket"),
        _field("counts", COUNTS, "what was counted, by name"),
        _field("damage", COUNTS, "what had to be mended on the way of the answer, by kind; empty where nothing had"),
        _field(
            "delays",
            COUNTS,
            "milliseconds that harness itself took beside what the check's budget counts, by cause: `queue`, "
            "`connecting`, `turn`, `event_loop`, `record`, `stopped`, `interpreter`, …",
        ),
        _field(
            "diagnosis",
            {"type": "object", "required": ["cause", "headline"]},
            "why SSH, or all of the target, cannot be used: the cause's name, its certainty, the sentence, the "
            "evidence for it and against it, the names of other causes, and what was not asked (docs/diagnosis.md)",
        ),
        _field("done", COUNT, "bytes carried so far"),
        _field("exit_code", {"type": "integer", "minimum": 0, "maximum": 255}, "the exit code of harness"),
        _field(
            "exit_status",
            {"type": "integer", "minimum": -1, "maximum": 255},
            "of the command; left out where it has none",
        ),
        _field("expected", TEXTS, "what was expected instead"),
        _field("fallbacks", COUNT, "how often the link left a transport"),
        _field("fell_back_from", TEXTS, "the transports that were tried before, and left"),
        _field("final", TRUTH, "whether it was the last attempt"),
        _field("answered", TRUTH, "whether an attempt saw the target: it was not cut off, and a transport served it"),
        _field("fault", NAME, "the fault, as it is written: `link-down`, `kill:cron`"),
        _field(
            "finding",
            {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
            "the name of the finding's kind (docs/findings.md)",
        ),
        _field("first_missing", NUMBER, "the `event.sequence` of the first event that is missing"),
        _field("first_line", NUMBER, "the `event.sequence` of the report's first console.line"),
        _field("flaky", TRUTH, "whether what was seen changed while it was to hold"),
        _field("flaky_count", COUNT, "passes that were flaky"),
        _field("folder", TEXT, "a folder on this machine"),
        _field("from_transport", NAME, "the transport that was left"),
        _field("host", TEXT, "the host that was connected to"),
        _field("host_key", TEXT, "the host key that the server showed"),
        _field("host_keys", TEXTS, "host keys"),
        _field("image", TEXT, "the image's name"),
        _field("iterations", COUNTS, "finished iterations: of all targets, and the least and the most of one"),
        _field("known_from", TEXT, "where the expected key is known from"),
        _field("last_missing", NUMBER, "the `event.sequence` of the last event that is missing"),
        _field("last_line", NUMBER, "the `event.sequence` of the report's last console.line"),
        _field("location", TEXT, "where in the check: `file:line`"),
        _field("may_have_run", TRUTH, "whether the command may have been run though no answer came"),
        _field("over", NAME, "the transport that it was done over"),
        _field("offset", {"type": "number"}, "seconds by which the wall clock was moved; below 0: back"),
        _field("paths", TEXTS, "paths of files on this machine"),
        _field("path", TEXT, "the file's path on the target"),
        _field(
            "plan",
            {"type": "object", "required": ["targets"]},
            "the numbers of targets and of checks on them, and the file in the run's folder that has them, a line for "
            "each target as `harness run --list --json` prints it, with its SHA-256",
        ),
        _field("port", {"type": "integer", "minimum": 1, "maximum": 65535}, "the port"),
        _field("probed_transport", NAME, "the transport that was tried"),
        _field("re_reads", COUNT, "lines of answers that were damaged and read again"),
        _field("machine_key", TEXT, "what a saved machine was made of: the name of its folder in the cache"),
        _field("recipe_hash", TEXT, "the hash of the image's recipe"),
        _field("recovered_transport", NAME, "the transport that serves again"),
        _field("reference", TEXT, "where to read more"),
        _field("reset", TEXT, "the kind of reset"),
        _field("ruling", {"enum": ["forbidden", "reported", "expected"]}, "what the inventory says of such a finding"),
        _field("seen", TEXT, "what was seen, in a sentence or a line"),
        _field("severity", {"enum": ["critical", "error", "warning"]}, "how bad it is"),
        _field("shown", TEXT, "the key that was shown"),
        _field("ssh_port", COUNT, "the port on this machine that leads to the guest's SSH; 0 where none does"),
        _field("stack", TEXT, "the whole traceback"),
        _field("stage", NAME, "firmware, kernel, initrd, userspace, login; `none` before all"),
        _field("stderr_bytes", COUNT, "bytes on the command's standard error"),
        _field("stdout_bytes", COUNT, "bytes on the command's standard output"),
        _field("text", TEXT, "the text itself"),
        _field("to_transport", NAME, "the transport that is used from now on; left out where there is none"),
        _field("total", COUNT, "bytes in all"),
        _field("tracker", TEXT, "where a known flake is being worked on"),
        _field("transports", TEXTS, "the transports that served"),
        _field("tries", COUNT, "tries that were made"),
        _field("uid", COUNT, "the user's number on the target"),
        _field("user", TEXT, "the user on the target"),
        _field("verb", NAME, "the verb of the command line"),
        _field("version", TEXT, "the version of harness"),
        _field("why", TEXT, "the reason"),
    ]
)

CONTEXT = ("run", "target", "iteration", "module", "check", "attempt", "transport", "console", "jump_host")
"""What an event may have because of where it happened; it is bound to the emitter, not given with each event."""

EVENT_OUTCOME: Schema = {"enum": ["success", "failure", "unknown"]}
NOTE = "note."
"""What a check's own fields begin with: they cannot be taken for ours, nor change the type of one."""
