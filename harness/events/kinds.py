"""Every kind of event: when it is written, and which fields it has. The schema and the pages in docs/events are made of
this table (`python -m harness.events.publish`); the tests hold every `emit` in the code, and every event that any of
them writes, against it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """`always` and `maybe` are names of fields; `free` allows fields of the writer's own, below `harness.note.`."""

    action: str
    when: str
    always: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    free: bool = False


def _kind(action: str, when: str, always: str = "", maybe: str = "", *, free: bool = False) -> tuple[str, Kind]:
    return action, Kind(action, when, tuple(always.split()), tuple(maybe.split()), free)


_CHECK = "target module check"

KINDS: dict[str, Kind] = dict(
    [
        # the run
        _kind("run.start", "The run begins. The first event of every record.", "argv version plan"),
        _kind(
            "run.end",
            "The run has ended, with its verdict. The last event of every record; where it is missing the run was "
            "killed, or its record could not be written.",
            "duration exit_code counts",
            "outcome",
        ),
        _kind(
            "run.reader_lost",
            "A reader of the record (the terminal, say) failed and is told no more; the run goes on.",
            "error_type",
        ),
        _kind(
            "record.torn",
            "The record is gone on with, and ended in the middle of a line: a power cut. That piece was set "
            "aside in the file that the message names.",
        ),
        _kind(
            "record.gap",
            "Events are missing: a power cut took them, or a file of the record is missing or damaged. It is in the "
            "record where that was resumed, and is sent to a sink in place of what cannot be sent; without "
            "`last_missing` it is not known how many are missing.",
            "first_missing last_missing",
        ),
        _kind(
            "record.trouble", "A file of the record could not be turned over, compressed or removed. Nothing is lost."
        ),
        _kind("clock.stepped", "The wall clock of this machine was set while something was recorded.", "offset"),
        _kind(
            "clock.drifted", "The wall clock of this machine has moved slowly against its monotonic clock.", "offset"
        ),
        _kind("clock.suspended", "This machine was suspended; the duration is for how long.", "duration"),
        _kind(
            "run.stalled",
            "harness itself could not work for a while: it was stopped, one thread held the interpreter, or an event "
            "could not be written at once. No deadline counts that time.",
            "cause duration",
        ),
        _kind(
            "run.limits",
            "The limits of this machine (descriptors, threads, memory) allow less at once than was asked for; the "
            "message has the figures.",
        ),
        _kind(
            "record.waited",
            "The record could not be written for a while (a full disk), and everything waited for it. Nothing of it is "
            "missing.",
            "duration",
        ),
        _kind("internal.error", "A mistake in harness itself, with its whole traceback.", "stack"),
        # a target
        _kind("target.start", "Work on a target starts.", "target check_count"),
        _kind(
            "target.settled",
            "The target has settled, or has not in its time; the message says in what state it is.",
            "target duration transports",
        ),
        _kind("target.unreachable", "The target cannot be reached, over no transport.", "target", "error_type"),
        _kind(
            "target.infrastructure",
            "What carries the target has failed, or harness was short of something; there is no verdict on the target.",
            "target",
        ),
        _kind(
            "target.misconfigured",
            "What was asked for cannot work on the target, however long one waits: a usage error.",
            "target",
        ),
        _kind(
            "target.unanswered",
            "A target that is taken to be up could not be reached at the first try; the message says why, and for how "
            "long it is tried again.",
            "target error_type cause",
        ),
        _kind(
            "target.restarts_unknown",
            "At the end of a run the target's journal could not be asked for restarts of its units.",
            "target",
        ),
        _kind(
            "target.not_followed",
            "The target's journal is not followed, so that waits look again by the clock only.",
            "target",
        ),
        _kind(
            "target.stop_failed",
            "The target's machine or connections could not be ended in order.",
            "target error_type",
        ),
        _kind(
            "target.end",
            "Work on a target has ended. `harness.counts` has what its link counted.",
            "target duration counts",
        ),
        _kind("reset.start", "A target is about to be put back.", "reset"),
        _kind("reset.end", "A target was put back.", "reset duration"),
        _kind("reset.refused", "A target cannot be put back in this way; the message says why.", "reset"),
        _kind("reset.clock_behind", "The clock of a target that was put back stands in the past."),
        _kind("snapshot.saved", "The machine's state was kept, to be gone back to.", "duration"),
        # a soak
        _kind("iteration.start", "An iteration of a target begins.", "target"),
        _kind(
            "iteration.end",
            "An iteration of a target is finished, and is counted from now on.",
            "target duration counts flaky_count bad",
        ),
        _kind(
            "soak.resume",
            "A soak that was killed or interrupted is gone on with.",
            "argv version plan iterations",
        ),
        _kind("fault.start", "A fault is being done to the target from now on.", "fault"),
        _kind("fault.end", "The fault is over; the duration is how long it lasted.", "fault duration"),
        _kind(
            "soak.inputs_changed",
            "Inventory or check files differ from those that the soak began with; a resumed soak uses the kept copies.",
            "paths",
        ),
        _kind(
            "iteration.lost",
            "Lines of an earlier iteration are damaged or missing in trials.jsonl: a resumed soak runs it again.",
            "target",
        ),
        _kind("fault.missed", "A fault was drawn and not injected; the message says why.", "fault"),
        _kind("fault.failed", "A fault could not be done; the message says why.", "fault"),
        _kind(
            "fault.recovered",
            "The target serves again after a fault; the duration is from its end until then.",
            "fault duration",
        ),
        _kind("fault.unrecovered", "The target has not served again in time after a fault.", "fault"),
        _kind("fault.not_undone", "A fault could not be undone; the message says why.", "fault"),
        _kind("flake.known", "A known flake was seen (`warn: true` in its list).", "tracker"),
        # machines and images
        _kind("image.wait", "Another process builds the image; it is waited for.", "image"),
        _kind("image.build.start", "An image is being built.", "image recipe_hash"),
        _kind("image.progress", "A line that says how far an image is."),
        _kind("image.build.end", "An image was built, or could not be.", "image", "duration error_message"),
        _kind("machine.accel", "Whether QEMU runs with KVM, and why.", "accel why"),
        _kind("machine.started", "QEMU runs.", "pid argv console_address", "ssh_port"),
        _kind(
            "machine.saving",
            "The machine is to be restored and is not in the cache: it is booted once to save it, or another process "
            "does that and is waited for.",
            "machine_key",
        ),
        _kind("machine.saved", "The machine was booted, has settled, and is saved.", "machine_key duration"),
        _kind(
            "machine.restored",
            "The machine goes on from where it was saved, and answers; `harness.duration` is from the start of QEMU.",
            "machine_key duration",
        ),
        _kind("machine.stopped", "QEMU has ended.", "pid duration"),
        _kind("machine.kept", "QEMU is left running after the run (`--keep`).", "pid console_address", "ssh_port"),
        _kind(
            "machine.attached",
            "The machine was up already: it is used, and stays up.",
            "pid console_address",
            "ssh_port",
        ),
        # what an operator does by hand
        _kind("operate.start", "A verb for a person's hand begins (`harness exec`, `up`, …).", "argv version verb"),
        _kind("operate.end", "The verb has ended.", "verb duration exit_code"),
        _kind("machine.powerdown_failed", "The guest did not power down in time and was switched off."),
        _kind(
            "boot.stage",
            "The guest's boot has come to a stage; the duration is from power-on.",
            "target stage duration",
            "seen",
        ),
        _kind(
            "boot.failed",
            "The boot will not come to its end, and the message says why.",
            "target cause stage duration seen",
            "error_message",
        ),
        # the console
        _kind("console.opened", "The console is open.", "console address"),
        _kind("console.lost", "The console's other end has gone away.", "console"),
        _kind("console.closed", "The console was closed by us.", "console"),
        _kind("console.unheard", "The console cannot be opened now; it is tried again when it is needed.", "cause"),
        _kind(
            "console.listener_failed",
            "What reads the console for a transport failed on what it said; the transport is lost, the record goes on.",
            "console",
        ),
        _kind(
            "console.log_failed", "The raw log of the console cannot be written any more; the run goes on.", "console"
        ),
        _kind(
            "console.line",
            "The console said a line, or a piece of one after which it was quiet for a second. Control "
            "sequences are left out; the raw bytes are in console.log.",
            "console text",
        ),
        _kind(
            "console.input",
            "What was typed on the console. Passwords, and what a command is given to read, are masked.",
            "console text",
        ),
        _kind(
            "console.attended",
            "A person has left a console that they typed on. How much they typed is told; what, only by the console's "
            "own echo.",
            "console bytes duration",
        ),
        # transports
        _kind("ssh.connected", "An SSH connection stands.", "host port user banner host_key", "certificate"),
        _kind("ssh.lost", "An SSH connection was lost.", "cause"),
        _kind("ssh.unavailable", "SSH does not serve; the cause is classified.", "cause"),
        _kind("ssh.late_output", "A command that was given up wrote more; that was thrown away.", "bytes"),
        _kind("ssh.library", "A line that paramiko logged."),
        _kind("ssh.no_sftp", "The server has no SFTP for us; files go over its shell."),
        _kind("ssh.host_key_accepted", "A host key that was not known was accepted, as accept-new says."),
        _kind("ssh.host_key_unchecked", "The host key is not checked, since that is switched off."),
        _kind("ssh.passphrase_wanted", "Somebody at the terminal is asked for the passphrase of a key."),
        _kind("ssh.passphrase_done", "The passphrase is no longer asked for."),
        _kind("serial.login", "Logging in on the console.", "user"),
        _kind("serial.connected", "A shell answers on the console.", "user uid duration", "boot_id"),
        _kind("serial.rebooted", "The machine has booted anew since the last login."),
        _kind("serial.other_user", "The shell on the console is somebody else's; it is ended.", "user"),
        _kind("serial.rescue", "No shell answers; keys are typed that end what stands on the console."),
        _kind("serial.resync", "The console's shell is brought back to a known state."),
        _kind("serial.resync_failed", "It could not be brought back; the next command logs in anew."),
        _kind("serial.logout_failed", "The console's login could not be ended."),
        _kind("serial.input_lost", "The machine loses what is typed; it is typed slower from now on."),
        _kind(
            "serial.late_answer", "The answer to a command that was given up came late and was not believed.", "text"
        ),
        _kind("serial.program_damaged", "The program typed on the console arrived changed, and is typed again."),
        _kind(
            "serial.file_resumed",
            "The console was lost while a file was carried; it goes on after the next login.",
            "path done total cause",
        ),
        _kind(
            "link.fallback",
            "The link left a transport, and why. Left transports are tried again in the background.",
            "cause from_transport may_have_run",
            "to_transport",
        ),
        _kind("link.probe", "A transport that was left does not serve yet.", "cause probed_transport tries"),
        _kind(
            "link.recovered",
            "A transport that was left serves again, and is taken back; the duration is how long it was away.",
            "duration tries recovered_transport cause",
        ),
        _kind(
            "link.host_key_pinned",
            "The target's own host keys were read over another transport: SSH must show one of them.",
            "over host_keys shown",
        ),
        _kind(
            "command",
            "A command has ended, or has no answer. What it wrote is not recorded, only how much.",
            "command duration stdout_bytes stderr_bytes damage",
            "exit_status attempts fell_back_from cause may_have_run",
        ),
        _kind(
            "file.put",
            "A file was written on the target, or could not be. Its content is not recorded.",
            "path duration",
            "bytes attempts fell_back_from cause",
        ),
        _kind(
            "file.get",
            "A file was read from the target, or could not be. Its content is not recorded.",
            "path duration",
            "bytes attempts fell_back_from cause",
        ),
        # diagnostics
        _kind(
            "collect.start",
            "A target's diagnostics are about to be collected, into this folder.",
            "folder",
        ),
        _kind(
            "collect.end",
            "A target's diagnostics were collected. `harness.counts` has the commands by what became of them: `had`, "
            "`partial`, `not_had`, `left_out`.",
            "folder duration counts bytes",
        ),
        _kind("collect.failed", "A target that failed could not be collected from; the message says why."),
        # checks
        _kind("check.start", "A check begins on a target.", f"{_CHECK} check_id"),
        _kind("attempt.end", "A check has looked once.", f"{_CHECK} attempt outcome duration seen final", "answered"),
        _kind("check.output", "What an attempt of a check printed, on stdout and stderr.", f"{_CHECK} attempt text"),
        _kind(
            "check.end",
            "A check has its outcome on a target.",
            f"{_CHECK} outcome duration attempts check_id",
            "transports fallbacks re_reads flaky location delays error_message error_type why diagnosis",
        ),
        _kind("check.error", "A mistake in a check, with its whole traceback.", "error_type error_message stack"),
        _kind(
            "check.warning",
            "Something about a check's verdict that its author should look at: a command failed, and the check did not "
            "look at its result.",
            "text",
        ),
        _kind(
            "check.note",
            "What a check put into the record itself (`target.note`); its fields stand below `harness.note.`.",
            free=True,
        ),
        _kind(
            "finding",
            "Something was seen that is no check's own verdict. `harness.text` is the whole report.",
            "target finding",
            "severity ruling text checks first_line last_line reference shown expected known_from",
        ),
        _kind(
            "finding.lines_skipped",
            "The console says more than can be searched for findings; lines were skipped, the record has them.",
            "target",
        ),
        _kind(
            "finding.more",
            "More of one kind of finding than are told one by one; from here on they are counted.",
            "target finding",
        ),
    ]
)
