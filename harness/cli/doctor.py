"""`harness doctor`: says what this machine has, what it lacks, and how to get it."""

from __future__ import annotations

import argparse


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what this machine lacks, and how to get it",
        description="Looks at everything that harness needs here: programs, Python packages, KVM, space. "
        "Exit code 0 when all that is needed is there, else 1.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints one line a finding; the ways to mend stand below what lacks."""
    import json

    from harness.errors import ExitCode
    from harness.machine.doctor import examine

    findings = examine()
    healthy = all(finding.state != "missing" for finding in findings)
    if args.json:
        rows = [{"what": f.what, "state": f.state, "seen": f.seen, "mend": f.mend} for f in findings]
        print(json.dumps({"ok": healthy, "findings": rows}, indent=2))
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            print(f"{finding.state:<9} {finding.what:<{width}}  {finding.seen}")
            if finding.mend:
                print(f"{'':9} {'':{width}}  -> {finding.mend}")
        print("\nall that is needed is there" if healthy else "\nsomething that is needed is missing")
    return int(ExitCode.PASSED if healthy else ExitCode.FAILED)
