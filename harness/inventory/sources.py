"""From the words behind `-i` to a model: folders, files, programs and lists of hosts, as Ansible tries them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from harness.bounded import read_file
from harness.errors import Source, UsageError
from harness.inventory.addresses import parse_address
from harness.inventory.bounds import require_bounded_numbers
from harness.inventory.documents import load_document
from harness.inventory.draft import AddHosts, Draft
from harness.inventory.ini import decode_lines, read_ini
from harness.inventory.model import Model
from harness.inventory.places import Notice, Place
from harness.inventory.script import NotAScriptError, ProgramOutputs, ScriptRunner, read_script
from harness.inventory.tree import read_tree
from harness.inventory.vault import Vault, VaultError, is_vaulted, vault_hint

# What a folder may hold beside sources (Ansible's INVENTORY_IGNORE_EXTS, the names it always skips, and the file with
# our own diagnostics).
_IGNORED_NAMES = frozenset({"host_vars", "group_vars", "vars_plugins", "collect.yml", "collect.yaml"})
_IGNORED_ENDS = (
    ".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry",
)  # fmt: skip
_YAML_ENDS = (".yaml", ".yml", ".json")
_BOM = "\ufeff"


def expand_source(source: str) -> str:
    """The absolute path of a source; a list of hosts (it holds a comma) stays as it is."""
    if "," in source:
        return source
    return os.path.abspath(os.path.expanduser(os.path.expandvars(source)))


@dataclass(slots=True)
class Reader:
    """Reads sources into a model, one after the other. Without `programs` those that are programs are passed over;
    `outputs` remembers what these print."""

    model: Model
    vault: Vault
    programs: bool = True
    outputs: ProgramOutputs = field(default_factory=ProgramOutputs)

    def read(self, source: str) -> None:
        """Reads one source. Raises UsageError when it does not exist or cannot be read."""
        if os.path.isdir(source):
            self._folder(source, top=True)
        elif os.path.exists(source):
            if not self.programs and not os.path.isfile(source):
                return  # a pipe can be read once only, and a device without end
            self._file(source)
        elif "," in source:
            self._host_list(source)
        else:
            raise UsageError(
                f"there is no inventory {source!r}",
                hint="Name a file, a folder or a program; a list of hosts has a comma: -i host1,",
            )

    def _folder(self, path: str, *, top: bool = False) -> bool:
        found = False
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise UsageError(f"cannot list this folder: {error.strerror}", source=Source(path)) from None
        for name in names:
            if name.startswith(".") or name in _IGNORED_NAMES or name.endswith(_IGNORED_ENDS):
                continue
            below = os.path.join(path, name)
            if os.path.isdir(below):
                found = self._folder(below) or found
            else:
                self._file(below)
                found = True
        if not found:
            message = "this folder holds no inventory source"
            if top:
                raise UsageError(
                    message, source=Source(path),
                    hint="Hidden files, group_vars, host_vars and the endings "
                    f"{' '.join(_IGNORED_ENDS)} do not count.",
                )  # fmt: skip
            self.model.notices.append(Notice(message, Source(path)))
        return found

    def _draft(self, path: str) -> Draft:
        return Draft(path, self.model.book)

    def _file(self, path: str) -> None:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            if self.model.inside:
                raise UsageError(
                    "this inventory is a program, and none is run with --untrusted",
                    source=Source(path),
                    hint="Look at it, and run it without --untrusted; or take its executable bit away.",
                )
            if not self.programs:
                return
            draft = self._draft(path)
            try:
                read_script(draft, self.outputs.runner(path, ScriptRunner(path, self.model.book)))
            except NotAScriptError:
                self.model.notices.append(
                    Notice("this file has its executable bit set but is no program; read as text", Source(path))
                )
            else:
                self.model.apply(draft)
                return
        data, sealed = read_bytes(path, self.vault, self.model)
        draft = self._draft(path)
        lines = decode_lines(data, draft)
        self.model.book.keep(path, lines, sealed=sealed)
        self.model.apply(self._text(path, data, lines))

    def _text(self, path: str, data: bytes, lines: list[str]) -> Draft:
        end = os.path.splitext(path)[1]
        if end == ".toml":
            return self._toml(path, data)
        failed: UsageError | None = None
        looks_like_tree = end in _YAML_ENDS
        if not end or end in _YAML_ENDS:
            draft = self._draft(path)
            try:
                text = data.decode("utf-8", "surrogateescape").removeprefix(_BOM)
                document = load_document(text, path, self.model.book, draft.notices)
                looks_like_tree = looks_like_tree or isinstance(document, dict)
                read_tree(draft, document, "YAML")
                return draft
            except UsageError as error:
                failed = error
        draft = self._draft(path)
        try:
            read_ini(draft, lines, self.model.groups.keys())
        except UsageError as error:
            first = next((line.strip() for line in lines if line.strip() and line.strip()[0] not in "#;"), "")
            if failed is not None and (looks_like_tree or first == "---" or first[:1] == "{"):
                raise failed from None
            raise error
        if failed is not None and end in _YAML_ENDS and any(line.strip() for line in lines):
            draft.notices.append(Notice(f"this is no YAML inventory ({failed.message}); read as INI", failed.source))
        return draft

    def _toml(self, path: str, data: bytes) -> Draft:
        import tomllib  # few have one

        draft = self._draft(path)
        try:
            document: object = tomllib.loads(data.decode("utf-8").removeprefix(_BOM))
            require_bounded_numbers(document)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            at = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            place = Place(path, int(at[1]), int(at[2])) if at else Place(path)
            reason = str(error)[: at.start()].strip() if at else str(error)
            raise self.model.book.error(f"this is no valid TOML: {reason}", place) from None
        except (ValueError, RecursionError) as error:
            why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise self.model.book.error(f"this TOML cannot be read: {why}", Place(path)) from None
        read_tree(draft, document, "TOML")
        return draft

    def _host_list(self, source: str) -> None:
        draft = self._draft(source)
        place = Place(source)
        for word in (part.strip() for part in source.split(",")):
            if not word:
                continue
            try:
                name, port = parse_address(word, ranges=False)
            except ValueError:
                name, port = word, None
            if name not in self.model.hosts:
                draft.steps.append(AddHosts([name], "ungrouped", port, {}, place))
        self.model.apply(draft)


def read_bytes(path: str, vault: Vault, model: Model) -> tuple[bytes, bool]:
    """A file's content, decrypted when it is vaulted (the second value tells). Raises UsageError."""
    try:
        model.require_inside(path)
        data = read_file(path)
    except OSError as error:
        raise UsageError(f"cannot read this file: {error.strerror}", source=Source(path)) from None
    if not is_vaulted(data):
        return data, False
    try:
        return vault.open(data), True
    except VaultError as error:
        raise model.book.error(str(error), Place(path, 1), hint=vault_hint(error)) from None
