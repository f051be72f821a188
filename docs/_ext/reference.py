"""Two directives that make the site's reference from the code: `harness-commands` and `harness-variables`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from harness.cli.main import build_parser
from harness.inventory.variables import SECTIONS
from harness.manual.markdown import markdown_of
from harness.manual.page import page_of


class Written(SphinxDirective):
    """A directive whose content is Markdown that is made."""

    option_spec: ClassVar = {}

    def run(self) -> list[nodes.Node]:
        container = nodes.Element()
        lines = [line for text in self.lines() for line in text.split("\n")]
        self.state.nested_parse(StringList(lines, source=self.name), self.content_offset, container, match_titles=True)
        return container.children

    def lines(self) -> Iterable[str]:
        raise NotImplementedError


class Commands(Written):
    """All verbs, each a section."""

    def lines(self) -> Iterator[str]:
        page = page_of(build_parser())
        for section in page.sections:
            if section.title == "exit codes":
                yield from ("## Exit codes", "", "| code | meaning |", "|---|---|")
                for block in section.blocks:
                    yield from (f"| {code} | {meaning} |" for code, meaning in getattr(block, "pairs", ()))
                yield ""
        for below in page.below:
            yield from markdown_of(below)


class Variables(Written):
    """All variables that have a meaning, by their sections."""

    def lines(self) -> Iterator[str]:
        for title, variables in SECTIONS:
            yield from (f"## {title}", "")
            for variable in variables:
                default = "" if variable.default is None else f"; default `{_shown(variable.default)}`"
                names = ", ".join(f"`{name}`" for name in variable.aliases)
                older = f" Older names: {names}." if names else ""
                yield f"(var-{variable.name})="
                yield from (f"`{variable.name}`", f": *{variable.kind.name}{default}.* {variable.meaning}{older}", "")
                yield from (f"  Example: `{variable.name}={variable.example}`", "")


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, list | tuple):
        return ",".join(map(str, default))
    return str(default)


def events_below_their_table(app: Sphinx, page: str, source: list[str]) -> None:
    """The pages of events are reached from their table, which is made for readers without a site, too."""
    if page == "events/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def setup(app: Sphinx) -> dict[str, object]:
    """Sphinx asks for this."""
    app.add_directive("harness-commands", Commands)
    app.add_directive("harness-variables", Variables)
    app.connect("source-read", events_below_their_table)
    return {"parallel_read_safe": True}
