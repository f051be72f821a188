"""Select by tags as Ansible does (`Taggable.evaluate_tags`), the special tags included. Pure."""

from __future__ import annotations

from collections.abc import Collection

SPECIAL_TAGS = ("all", "always", "never", "tagged", "untagged")
_UNTAGGED = frozenset({"untagged"})


def is_selected(tags: Collection[str], wanted: Collection[str], skipped: Collection[str]) -> bool:
    """Return whether something with these `tags` runs, with `wanted` from `--tags` and `skipped` from `--skip-tags`.

    Nothing wanted means `all`. What is tagged `always` runs unless `always` is skipped; what is tagged `never` runs
    only where one of its tags is wanted by name. `tagged`, `untagged` and `all` mean what they say.
    """
    own = frozenset(tags) or _UNTAGGED
    wanted = frozenset(wanted) or frozenset({"all"})
    skipped = frozenset(skipped)
    by_name = bool(own & wanted)
    by_kind = "never" not in own and ("all" in wanted or ("tagged" in wanted and own != _UNTAGGED))
    if not ("always" in own or by_name or by_kind):
        return False
    if "all" in skipped:
        return "always" in own and "always" not in skipped
    return not (own & skipped) and not ("tagged" in skipped and own != _UNTAGGED)
