"""Receivers that other people wrote, from one optional wheel (`pip install .[receivers]`): tenzir's OTLP and `_bulk`,
and Fluent Bit's `_bulk`. Each opens one more port on all interfaces, so they run in a network namespace of their
own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.patience import scaled
from tests.ship.daemons import program
from tests.ship.runs import Run

ROOT = Path(__file__).parents[2]
SCRIPT = """
ip link set lo up
{tenzir} {pipeline} > {out} 2> {log} &
receiver=$!
for _ in $(seq 600); do ss -ltn | grep -q 127.0.0.1:4318 && break; sleep 0.1; done
{python} -m harness ship {run} --to '{url}' --timeout 60
code=$?
for _ in $(seq 300); do [ "$(grep -c {mark} {out})" -ge {count} ] && break; sleep 0.1; done
kill $receiver
wait $receiver
exit $code
"""


def carried(run: Run, tmp_path: Path, pipeline: str, url: str, mark: str) -> list[dict[str, Any]]:
    """What the pipeline wrote after the whole run was shipped to it, one JSON object a line."""
    tenzir = program("tenzir", "the extra `receivers` of setup.cfg, 175 MB")
    out = tmp_path / "out"
    script = SCRIPT.format(
        tenzir=tenzir,
        pipeline=shlex.quote(f"{pipeline}\nwrite_ndjson"),
        out=out,
        log=tmp_path / "log",
        python=sys.executable,
        run=run.folder,
        url=url,
        mark=mark,
        count=len(run.events()),
    )
    unshare = [program("unshare"), "--net"] if os.geteuid() == 0 else [program("unshare"), "--map-root-user", "--net"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        [*unshare, "bash", "-c", script],
        capture_output=True,
        text=True,
        env=environment,
        timeout=scaled(240),
        check=False,
    )
    assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()
    return [json.loads(line) for line in out.read_bytes().splitlines()]


@pytest.fixture
def spoken(run: Run) -> Run:
    run.say(*(f"line {number}: é «{'x' * number}»" for number in range(300)))
    run.end()
    return run


def test_otlp(spoken: Run, tmp_path: Path) -> None:
    got = carried(spoken, tmp_path, 'accept_otlp "127.0.0.1:4318"', "otlp+http://127.0.0.1:4318?batch=100", "event.id")
    assert ids(got) == spoken.ids()


def test_bulk(spoken: Run, tmp_path: Path) -> None:
    pipeline = 'accept_opensearch "127.0.0.1:4318"'
    got = carried(spoken, tmp_path, pipeline, "elastic+http://127.0.0.1:4318?batch=100", "event.id")
    assert [flat(each)["event.id"] for each in got] == spoken.ids()


def test_fluent_bit(spoken: Run, tmp_path: Path) -> None:
    """Its `_bulk`: of what its OpenTelemetry input takes, tenzir does not show lines that are plain texts."""
    pipeline = 'from_fluent_bit "elasticsearch", options={listen: "127.0.0.1", port: 4318}'
    got = carried(spoken, tmp_path, pipeline, "elastic+http://127.0.0.1:4318?batch=100", "event.id")
    assert ids(got) == spoken.ids()


def ids(value: object) -> list[str]:
    """Every event.id in a document, in order, however deep the receiver has put it."""
    found: list[str] = []
    if isinstance(value, list):
        for each in value:
            found += ids(each)
    elif isinstance(value, dict):
        if value.get("key") == "event.id":
            found.append(value["value"]["string_value"])
        for key, each in value.items():
            found += [each] if key == "event.id" else ids(each)
    return found


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, each in value.items():
        found |= flat(each, f"{prefix}{key}.") if isinstance(each, dict) else {prefix + key: each}
    return found
