"""`harness status`: how a run or a soak stands, asked from outside."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its flags."""
    parser = subparsers.add_parser(
        "status",
        help="how a soak stands, asked from outside",
        description="Tells how a soak (or a run) stands that goes on elsewhere, or what it came to. Reads its folder "
        "only, and disturbs nothing. Exits with 0 whatever it tells.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "run_name", nargs="?", default="latest", metavar="RUN", help="a run's id, its folder, or latest (default)"
    )
    parser.add_argument("--logs", default="logs", metavar="DIR", help="where the records are (default logs/)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints it."""
    import json
    import time
    from pathlib import Path

    from harness.events.lock import has_writer
    from harness.report.folder import find
    from harness.soak.state import NAME, read_status
    from harness.soak.tally import tally_of
    from harness.soak.words import remaining, span, summary

    folder = find(Path(arguments.logs), arguments.run_name).resolve()
    alive = has_writer(folder)
    is_soak = (folder / NAME).exists()
    status = read_status(folder)
    results = _results(folder) if status is None and not is_soak else None
    ended = status is not None and status.get("exit_code") is not None and not alive
    state = "goes on" if alive else "has ended" if ended or results is not None else "was killed"
    if arguments.json:
        print(json.dumps({"run": folder.name, "state": state.split()[-1], **(status or results or {})}, indent=2))
        return 0
    kind = "soak" if is_soak else "run"
    print(f"the {kind} {folder.name} {state}" + (f" (exit code {status['exit_code']})" if ended and status else ""))
    if results is not None:
        print(", ".join(f"{count} {word}" for word, count in results["counts"].items() if count))
    if status is not None:
        tally, ending = tally_of(status["targets"]), status["ending"]
        for line in summary(tally):
            print(line)
        left = remaining(tally, ending["iterations"], ending["seconds"], status["seconds"])
        if alive:
            ago = max(0.0, time.time() - status["written"])
            print(f"last iteration {span(ago)} ago" + (f"; about {span(left)} left" if left is not None else ""))
    elif is_soak:
        print("no iteration is finished yet")
    if is_soak and state == "was killed":
        print(f"go on with: harness soak --resume {folder}")
    return 0


def _results(folder: Path) -> dict[str, Any] | None:
    import json

    try:
        document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return {"counts": document["counts"], "exit_code": document["exit_code"]}
