"""`harness status`: which machines are up, and how a run or a soak stands, asked from outside."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    parser = subparsers.add_parser(
        "status",
        help="which machines are up, and how a run or a soak stands",
        description="Tells which machines are up (without RUN), and how a soak or a run stands that goes on elsewhere, "
        "or what it came to. Reads their folders only, and disturbs nothing. Exits with 0 whatever it tells.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "run_name", nargs="?", metavar="RUN", help="a run's id, its folder, or latest (default: that, and what is up)"
    )
    parser.add_argument("--logs", default="logs", metavar="DIR", help="where the records are (default logs/)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints it."""
    import json
    import shlex
    import time
    from pathlib import Path

    from harness.cli.resuming import resume_command
    from harness.errors import UsageError
    from harness.events.lock import has_writer
    from harness.machine.up import all_up
    from harness.report.folder import UP, find
    from harness.soak.state import NAME, STATUS, read_status, tally_of_trials
    from harness.soak.tally import tally_of
    from harness.soak.words import remaining, span, summary

    logs = Path(arguments.logs)
    machines = all_up(logs / UP) if arguments.run_name is None else []
    if not arguments.json:
        for up in machines:
            print(
                f"{up.name} is up for {span(time.time() - up.started)} (QEMU is process {up.pid}, SSH on port "
                f"{up.ssh_port}, console log {up.console_log})"
                + (f"; it ends in {span(max(0.0, up.until - time.time()))}" if up.until is not None else "")
            )
    plain: dict[str, Any] = {} if arguments.run_name else {"machines": [up.plain() for up in machines]}
    if arguments.run_name is None and not (logs / "latest").exists():
        if arguments.json:
            print(json.dumps(plain, indent=2))
        elif not machines:
            print(f"no machine is up, and {logs} has no run")
        return 0
    folder = find(logs, arguments.run_name or "latest").resolve()
    alive = has_writer(folder)
    is_soak = (folder / NAME).exists()
    status = read_status(folder)
    results = _results(folder) if status is None and not is_soak else None
    ended = status is not None and status.get("exit_code") is not None and not alive
    state = "goes on" if alive else "has ended" if ended or results is not None else "was killed"
    if arguments.json:
        told = {"run": folder.name, "state": state.split()[-1], **(status or results or {})}
        print(json.dumps({**told, **plain}, indent=2))
        return 0
    kind = "soak" if is_soak else "run"
    print(f"the {kind} {folder.name} {state}" + (f" (exit code {status['exit_code']})" if ended and status else ""))
    if results is not None:
        print(", ".join(f"{count} {word}" for word, count in results["counts"].items() if count))
    if status is not None:
        # Of a soak that was killed the last moments are missing in what was written for watching.
        try:
            tally = tally_of(status["targets"]) if alive or ended else tally_of_trials(folder)
            ending, spent, written = status["ending"], float(status["seconds"]), float(status["written"])
            last = (ending["iterations"], ending["seconds"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"{folder / STATUS} cannot be read: {type(error).__name__}: {error}",
                hint=f"The figures can still be had: {shlex.join(['harness', 'report', str(folder)])}",
            ) from None
        for line in summary(tally):
            print(line)
        left = remaining(tally, *last, spent)
        if alive:
            ago = max(0.0, time.time() - written)
            print(f"last iteration {span(ago)} ago" + (f"; about {span(left)} left" if left is not None else ""))
    elif is_soak:
        print("no iteration is finished yet")
    if is_soak and state == "was killed":
        print(f"go on with: {resume_command(folder)}")
    return 0


def _results(folder: Path) -> dict[str, Any] | None:
    import json

    try:
        document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    counts = document.get("counts") if isinstance(document, dict) else None
    if not isinstance(counts, dict):
        return None
    return {"counts": counts, "exit_code": document.get("exit_code")}
