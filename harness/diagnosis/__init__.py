"""Why a machine cannot be used: evidence in, ranked causes out.

`evidence` holds the values, `rules_*` the tables of causes, `diagnose` the ranking; all of that is pure. `script` is
the question that is put to a machine over the transport that is left, `answers` reads its answer, and `ask` puts it.
"""

from __future__ import annotations

__all__: list[str] = []
