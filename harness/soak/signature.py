"""A failure's text without what differs each time, so that the same failure is known again."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 200

# In this order: what is longest and most special first, bare numbers last.
_RULES = tuple(
    (re.compile(pattern), word)
    for pattern, word in (
        (r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)", ""),
        (r"; \(same cause as [^()]*\)|\(same cause as [^()]*\)", ""),
        (r"\(after [^()]*\)\s*$", ""),
        (r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b", "<uuid>"),
        (r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b", "<id>"),
        (r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?", "<time>"),
        (r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)?\s?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} "
         r"\d{2}:\d{2}:\d{2}\b", "<time>"),
        (r"\b\d{1,2}:\d{2}:\d{2}(?:\.\d+)?\b", "<time>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<address>"),
        (r"(?<![\w:.])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])", "<address>"),
        (r"\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b", "<address>"),
        (r"\bSHA256:[A-Za-z0-9+/=]{20,}", "<hash>"),
        (r"\b0x[0-9a-fA-F]+\b", "<hex>"),
        (r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b", "<hex>"),
        (r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", "<n>"),
        (r"(?<=[A-Za-z_\[=])\d+\b", "<n>"),
    )
)  # fmt: skip


def signature(text: str, names: Iterable[str] = ()) -> str:
    """The text in one line with numbers, times, addresses and ids replaced by what they are, and each of `names` (the
    target's, say) by `<target>`. At most LONGEST characters; empty for an empty text.
    """
    # What comes later in a very long text tells no failure from another, and rules cost time on every character.
    text = text[: LONGEST * 20]
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", "<target>", text)
    for pattern, word in _RULES:
        text = pattern.sub(word, text)
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
