"""The door to adopted files: which one a project has, and how it and what it names are read without trusting what is there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from nexus.config import sources
from nexus.config.adopting.candidates import Kind, find_adoptable
from nexus.config.adopting.dotenv import read_dotenv
from nexus.config.adopting.jsonc import read_json
from nexus.config.adopting.sheet import Sheet, Unsupported
from nexus.config.layers import Branch, Leaf, Node, Place, plain
from nexus.config.problems import Problems, quoted

if TYPE_CHECKING:
    from nexus.config.adopting.compose import Composed

_MOST_FILES: Final = 32
_OURS: Final = ((".git",), (".nexus",))
"""Folders whose files are the user's, not the project's: a clone must not have them put into the environment of its programs."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a project without a file of ours says in a file that it has for other tools."""

    kind: Kind
    path: Path
    """The file."""
    sources: tuple[Path, ...]
    """Every file that was read for it, that one first."""
    tree: Branch
    """The settings, as a project's file spells them."""
    unsupported: tuple[Unsupported, ...]
    """What nothing acts on, in the order of the file."""
    customizations: JsonValue = None
    """What a dev container keeps for editors; nothing acts on it."""

    @property
    def summary(self) -> str:
        """Where the settings come from, and how much of it nothing acts on, in one line."""
        left = len(self.unsupported)
        more = f"; {left} of its settings are not acted on ('boulder config validate' lists them)" if left else ""
        return f"the project's settings come from {self.path}{more}"


def adopt(root: Path, start: Path, problems: Problems, kind: Kind | None = None) -> Adopted | None:
    """Read and translate the file that stands in for a project's own; ``None`` when there is none, or it cannot be read.

    Args:
        root: The project's root; nothing outside it is read.
        start: The folder that the search began at.
        problems: Gets what is wrong.
        kind: Look for this kind alone.
    """
    found = find_adoptable(root, kind)
    if found is None:
        return None
    return _Reading(root, start, problems).run(*found)


class _Reading:
    """Reads files of one project, each once, a bounded number of them."""

    def __init__(self, root: Path, start: Path, problems: Problems) -> None:
        self._root = root
        self._start = start
        self._problems = problems
        self._texts: dict[PurePosixPath, str | None] = {}

    def run(self, kind: Kind, path: PurePosixPath) -> Adopted | None:
        sheet = Sheet(self._problems, Place(str(self._root / path), 1, 1))
        kept: Node | None = None
        if kind == "devcontainer":
            text = self._text(path)
            document = read_json(text, str(self._root / path), self._problems) if text is not None else None
            if document is None:
                return None

            def compose(
                files: Sequence[tuple[PurePosixPath, Place]], service: str | None, chosen: Sequence[str] | None
            ) -> Composed | None:
                return self._compose(files, sheet, workspace=service, chosen=chosen)

            # Loaded where there is one: most projects have neither, and the shapes of both formats take as long as our own.
            from nexus.config.adopting.devcontainer import translate_devcontainer  # noqa: PLC0415

            kept = translate_devcontainer(document, path, self._root.name, compose, sheet)
        else:
            composed = self._compose([(path, sheet.tree.place), *self._override(path)], sheet)
            if composed is None:
                return None
            for name, node in composed.services.items():
                sheet.graft(("services", name), node)
        read = tuple(self._root / path for path in self._texts)
        return Adopted(
            kind, self._root / path, read, sheet.tree, sheet.unsupported(), None if kept is None else plain(kept)
        )

    def _override(self, path: PurePosixPath) -> list[tuple[PurePosixPath, Place]]:
        beside = path.with_name(f"{path.stem}.override{path.suffix}")
        other = beside.with_suffix({".yml": ".yaml", ".yaml": ".yml"}[path.suffix])
        there = [name for name in (beside, other) if os.path.lexists(self._root / name)]
        return [(there[0], Place(str(self._root / there[0]), 1, 1))] if there else []

    def _compose(
        self,
        files: Sequence[tuple[PurePosixPath, Place]],
        sheet: Sheet,
        *,
        workspace: str | None = None,
        chosen: Sequence[str] | None = None,
    ) -> Composed | None:
        base = files[0][0].parent
        variables = self._known(base / ".env", None, {})

        def read_env(path: PurePosixPath, place: Place, required: bool) -> Mapping[str, Leaf]:
            if required and not os.path.lexists(self._root / path):
                sheet.leave(str(path), place, "does not exist, so none of its variables are set")
            return self._variables(path, variables)

        from nexus.config.adopting.compose import translate_compose  # noqa: PLC0415
        from nexus.config.adopting.compose_files import ComposeFiles  # noqa: PLC0415

        document = ComposeFiles(self._tree, self._known, sheet).whole(files, variables)
        if document is None:
            return None
        return translate_compose(document, base, variables, read_env, sheet, workspace=workspace, chosen=chosen)

    def _tree(self, path: PurePosixPath, place: Place) -> Branch | None:
        """Return a compose file of the project; what is wrong with it is reported."""
        text = self._text(path)
        if text is None:
            if not os.path.lexists(self._root / path) and path.parts[:1] not in _OURS:
                self._problems.add(place, f"{quoted(str(path))} does not exist")
            return None
        from nexus.config.places import read_tree  # noqa: PLC0415 - loads yaml

        return read_tree(text, str(self._root / path), self._problems, merge_keys=True)

    def _known(self, path: PurePosixPath, place: Place | None, known: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a file; one that is named has to be there."""
        if place is None and path.parts[:1] in _OURS:
            return {}
        if place is not None and not os.path.lexists(self._root / path):
            self._problems.add(place, f"{quoted(str(path))} does not exist")
        return {name: str(leaf.value) for name, leaf in self._variables(path, known).items()}

    def _variables(self, path: PurePosixPath, known: Mapping[str, str]) -> dict[str, Leaf]:
        text = self._text(path)
        return read_dotenv(text, str(self._root / path), known, self._problems) if text is not None else {}

    def _text(self, path: PurePosixPath) -> str | None:
        if path.parts[:1] in _OURS:
            self._problems.add(Place(str(self._root / path), 1, 1), f"no file may be read from {path.parts[0]}")
            return None
        if path not in self._texts and not os.path.lexists(self._root / path):
            return None
        if path not in self._texts and len(self._texts) >= _MOST_FILES:
            self._problems.add(
                Place(str(self._root / path), 1, 1), f"more than {_MOST_FILES} files are named; this one is not read"
            )
            return None
        if path not in self._texts:
            self._texts[path] = sources.read_text(
                self._root / path, self._problems, project=self._root, start=self._start
            )
        return self._texts[path]
