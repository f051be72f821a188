"""Secrets in a text that comes in pieces: a console's, whose reads and lines may cut them anywhere."""

from __future__ import annotations

from harness.events.redact import MASK, Redactor


class PieceMask:
    """Masks the pieces of one stream, each as it comes: none can wait for the next one, since it is to be recorded.

    A secret that is cut is known by both halves: what ends a piece and begins a secret is masked when it is long enough
    to tell (see `Redactor.begun`), and the rest of it at the beginning of the next piece in any case.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._tail = ""  # what was said before, unmasked, as far back as a secret can reach

    def __call__(self, piece: str) -> str:
        """The piece, masked."""
        before = len(self._tail)
        text = self._tail + piece
        spans = [span for span in self._redactor.spans(text) if span[1] > before]
        if begun := self._redactor.begun(text):
            spans.append((len(text) - begun, len(text)))
        reach = max(self._redactor.longest - 1, 0)
        self._tail = text[-reach:] if reach else ""
        if not spans:
            return piece
        masked: list[str] = []
        at = before
        for start, end in spans:
            start = max(start, at)
            if end > start or not masked:
                masked += [text[at:start], MASK]
            at = max(at, end)
        return "".join([*masked, text[at:]])
