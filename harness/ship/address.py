"""Where events are shipped, as a person writes it: a URL. Its password is in no text that is shown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from harness.errors import UsageError

_MASK = "********"
_USERINFO = re.compile(r"(?<=://)([^/?#@\s]*)@")


@dataclass(frozen=True, slots=True)
class Address:
    """A sink's URL taken apart: `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH][?OPTION=VALUE&…]`.

    `str()` gives it with the password masked.
    """

    scheme: str
    host: str
    port: int
    path: str
    user: str
    password: str = field(repr=False)
    options: Mapping[str, str]

    @property
    def encrypted(self) -> bool:
        return self.scheme.endswith(("+https", "+tls"))

    @property
    def authority(self) -> str:
        """HOST:PORT."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host

    def __str__(self) -> str:
        return self._shown(_MASK)

    @property
    def without_password(self) -> str:
        """The URL as it may be written into a command."""
        return self._shown("")

    def key(self, identity: Mapping[str, str]) -> str:
        """A file's name for this receiver. `identity` has the options that tell receivers at one address apart."""
        words = [self.scheme, self.authority, self.path, *(f"{name}={identity[name]}" for name in sorted(identity))]
        digest = hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]
        return f"{re.sub(r'[^A-Za-z0-9.-]+', '-', f'{self.scheme}-{self.authority}').strip('-')[:60]}-{digest}"

    def _shown(self, mask: str) -> str:
        secret = f":{mask}" if self.password and mask else ""
        user = f"{quote(self.user, safe='')}{secret}@" if self.user or secret else ""
        query = "&".join(f"{quote(name)}={quote(value, safe='/:,')}" for name, value in self.options.items())
        place = f"//{user}{self.authority}" if self.host else ""
        return f"{self.scheme}:{place}{quote(self.path)}{'?' if query else ''}{query}"


def mask(url: str) -> str:
    """A URL as it may be shown, also where it cannot be understood."""
    return _USERINFO.sub(lambda match: f"{match[1].partition(':')[0]}:{_MASK}@" if ":" in match[1] else match[0], url)


def parse(url: str, *, port: int, path: str, needs_host: bool, scheme: str) -> Address:
    """Takes a URL apart; `port` and `path` are the scheme's own. Raises UsageError."""
    parts = urlsplit(url)
    found = _port(url, parts)
    host = parts.hostname or ""
    if needs_host and not host:
        raise UsageError(f"{mask(url)!r} names no host", hint=f"Write it as {scheme}://HOST[:PORT].")
    if parts.fragment:
        raise UsageError(f"{mask(url)!r} has a part behind #, which means nothing here", hint="Write %23 for a #.")
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in options:
            raise UsageError(f"the option {name!r} is given twice in {mask(url)!r}")
        options[name] = value
    return Address(
        scheme=scheme,
        host=host,
        port=port if found is None else found,
        path=unquote(parts.path) if parts.path not in ("", "/") else path,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        options=options,
    )


def _port(url: str, parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError as error:
        raise UsageError(f"{mask(url)!r} has no port that can be used: {error}") from error
