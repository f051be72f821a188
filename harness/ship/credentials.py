"""What opens a receiver: passwords, tokens, headers. They come from the environment or a file, never from an option."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError
from harness.ship.address import Address
from harness.ship.options import Options

PASSWORD_VARIABLE = "HARNESS_SHIP_PASSWORD"  # noqa: S105 - the variable's name
_SECRET_HEADERS = ("auth", "cookie", "key", "token", "secret", "password", "credential")


def headers(address: Address, options: Options, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of a request that its URL's user and options ask for. Raises UsageError where one cannot be had."""
    given = os.environ if environment is None else environment
    found: dict[str, str] = {}
    for name in address.options:
        if name.startswith("header."):
            header = name.removeprefix("header.")
            if any(word in header.lower() for word in _SECRET_HEADERS):
                raise UsageError(
                    f"the header {header} may hold a secret, which does not belong into a URL",
                    hint="Name a file (lines of `Name: value`) with headers_file=PATH, or a variable, headers_env=.",
                )
            found[header] = options.text(name)
    found.update(_headers(_secret(options, "headers", given)))
    if token := _secret(options, "token", given):
        found["Authorization"] = f"Bearer {token}"
    if key := _secret(options, "api_key", given):
        found["Authorization"] = f"ApiKey {key}"
    password = _secret(options, "password", given) or address.password or given.get(PASSWORD_VARIABLE, "")
    if address.user:
        pair = f"{address.user}:{password}".encode()
        found["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    for name, value in found.items():
        if not name.isascii() or not value.isprintable() or any(each in name for each in " :\r\n"):
            raise UsageError(f"{name!r} with its value is no header", hint="A header is one line: `Name: value`.")
    return found


def _secret(options: Options, name: str, given: Mapping[str, str]) -> str:
    """What `NAME_env` or `NAME_file` leads to; empty where neither is given."""
    variable = options.text(f"{name}_env")
    file = options.file(f"{name}_file")
    if variable and file:
        raise UsageError(f"both {name}_env and {name}_file are given", hint="Keep one of them.")
    if variable:
        if variable not in given:
            raise UsageError(f"the environment has no {variable}, which {name}_env names")
        return given[variable].strip()
    return _read(file) if file else ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error


def _headers(text: str) -> dict[str, str]:
    """`Name: value` on lines of their own, or `name=value,name=value` as OpenTelemetry's variables have it."""
    found: dict[str, str] = {}
    lines = text.splitlines() if "\n" in text or ":" in text.partition("=")[0] else text.split(",")
    for line in lines:
        if not line.strip():
            continue
        colon, equals = line.find(":"), line.find("=")
        at = colon if colon >= 0 and (equals < 0 or colon < equals) else equals
        if at < 1:
            raise UsageError(
                "a line of the headers has neither a colon nor an equals sign", hint="Write `Name: value`."
            )
        found[line[:at].strip()] = line[at + 1 :].strip()
    return found
