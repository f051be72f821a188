"""What a person sets once for all runs: `harness.toml`."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import Source, UsageError
from harness.report.prune import Policy
from harness.user import expanded

VARIABLE = "HARNESS_CONFIG"
NAME = "harness.toml"
SHIP_TIMEOUT = 30.0
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Config:
    """`ship_to` are the sinks of every run, `ship_timeout` the seconds that a run's record is shipped on after it;
    `prune` are the bounds of `harness prune`."""

    ship_to: tuple[str, ...] = ()
    ship_timeout: float = SHIP_TIMEOUT
    prune: Policy = field(default_factory=Policy)
    path: Path | None = None
    """The file; None where there is none."""


def load(environment: Mapping[str, str]) -> Config:
    """The settings of the first file that is there: the one that $HARNESS_CONFIG names, `harness.toml` in this folder,
    `harness.toml` in ~/.config/harness. Raises UsageError where it cannot be used."""
    path = find(environment)
    if path is None:
        return Config()
    if not environment.get(VARIABLE):
        _require_ours(path)
    import tomllib

    try:
        if not path.is_file():
            raise UsageError(f"{path} cannot be read: it is no file", hint=f"{VARIABLE} names it.")
        with path.open("rb") as file:
            text = file.read(_MOST + 1)
        if len(text) > _MOST:
            raise UsageError(f"{path} is larger than {_MOST >> 20} MiB", hint="That is no harness.toml.")
        document = tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=f"{VARIABLE} names it.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"no TOML: {error}", source=Source(str(path))) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"no TOML that can be read: {error}", source=Source(str(path))) from None
    return replace(read(document, Source(str(path))), path=path)


def _require_ours(path: Path) -> None:
    """Raise UsageError for settings that somebody else may have written: they say where records, and tokens, go."""
    for place in (path, path.resolve(), path.resolve().parent, path.absolute().parent):
        try:
            about = place.stat()
        except OSError:
            continue
        what = "folder" if stat.S_ISDIR(about.st_mode) else "file"
        if about.st_mode & stat.S_IWOTH:
            why = f"anybody may write to the {what} {place}"
        elif about.st_uid not in (0, os.geteuid()):
            why = f"the {what} {place} is another user's (uid {about.st_uid})"
        else:
            continue
        raise UsageError(
            f"the settings {path} are not used: {why}",
            hint=f"Take others' right to write away (chmod o-w), or name the file to use: {VARIABLE}=PATH.",
        )


def find(environment: Mapping[str, str]) -> Path | None:
    """Where the settings are; None where there are none."""
    if named := environment.get(VARIABLE):
        return expanded(named)
    home = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or os.sep) / ".config")
    return next((path for path in (Path(NAME), home / "harness" / NAME) if path.is_file()), None)


def read(document: Mapping[str, Any], source: Source) -> Config:
    """The settings of a document. Raises UsageError on what it does not know."""
    _known(document, {"ship", "prune"}, "", source)
    ship = document.get("ship", {})
    if not isinstance(ship, dict):
        raise UsageError("ship is no table", source=source, hint='Write [ship], and below it: to = ["URL"]')
    _known(ship, {"to", "timeout"}, "ship.", source)
    to = ship.get("to", [])
    sinks = [to] if isinstance(to, str) else to
    if not isinstance(sinks, list) or not all(isinstance(each, str) for each in sinks):
        raise UsageError("ship.to is no list of URLs", source=source, hint='Write to = ["URL"]')
    timeout = ship.get("timeout", SHIP_TIMEOUT)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout < float("inf"):
        raise UsageError("ship.timeout is no number of seconds from 0 up", source=source)
    return Config(tuple(sinks), float(timeout), _prune(document.get("prune", {}), source))


def _prune(table: object, source: Source) -> Policy:
    from harness.cli.options import days, size

    if not isinstance(table, dict):
        raise UsageError("prune is no table", source=source, hint="Write [prune], and below it: keep = 100")
    _known(table, {"older_than", "max_size", "keep", "keep_failures"}, "prune.", source)
    values: dict[str, Any] = {}
    for name, bound, read in (("older_than", "age", days), ("max_size", "size", size)):
        if name in table:
            try:
                values[bound] = read(str(table[name]))
            except argparse.ArgumentTypeError as error:
                raise UsageError(f"prune.{name}: {error}", source=source) from None
    if "keep" in table:
        keep = table["keep"]
        if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
            raise UsageError("prune.keep is no whole number from 1 up", source=source)
        values["count"] = keep
    failures = table.get("keep_failures", False)
    if not isinstance(failures, bool):
        raise UsageError("prune.keep_failures is true or false", source=source)
    return Policy(**values, keep_failures=failures)


def _known(table: Mapping[str, Any], names: set[str], prefix: str, source: Source) -> None:
    for name in table:
        if name not in names:
            raise UsageError(
                f"there is no setting {prefix}{name}",
                source=source,
                hint=f"There are: {', '.join(prefix + each for each in sorted(names))}.",
            )
