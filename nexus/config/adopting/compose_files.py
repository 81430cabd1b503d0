"""Compose files put together: several laid over each other, and what they ``include``. Pure: files are asked for.

What is included is read as a project of its own — with its own folder, and variables of its own that rank below those of the file
that includes it — and then its services, volumes, networks, secrets and configs are added. Two of one name have to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from nexus.config.adopting.compose_document import compose_document
from nexus.config.adopting.compose_extends import Extending, ReadFile
from nexus.config.adopting.compose_paths import rebased
from nexus.config.adopting.paths import OUTSIDE, inside
from nexus.config.adopting.sheet import Sheet, is_null
from nexus.config.layers import Branch, Node, Place, key_place, plain, without
from nexus.config.problems import quoted

ReadVariables = Callable[[PurePosixPath, Place | None, Mapping[str, str]], Mapping[str, str]]
"""Reads a file of variables: its path, where it is named (nowhere: it need not be there), what its values may use."""
NamedFile = tuple[PurePosixPath, Place]

_SECTIONS: Final = ("services", "volumes", "networks", "secrets", "configs")
_MOST: Final = 32
"""Entries of ``include`` that are followed, in all files together."""
_ELSEWHERE: Final = ("://", "git@", "oci:")


@dataclass(frozen=True, slots=True)
class _At:
    """From where files are named."""

    folder: PurePosixPath
    """What their paths start from, relative to the project."""
    known: Mapping[str, str]
    """The variables that are put in."""
    above: tuple[PurePosixPath, ...] = ()
    """The files that include each other down to here."""


class ComposeFiles:
    """Reads compose files for one translation.

    Args:
        read: Reads a file.
        variables: Reads a file of variables.
        sheet: Gets what is wrong and what is not acted on.
    """

    def __init__(self, read: ReadFile, variables: ReadVariables, sheet: Sheet) -> None:
        self._read = read
        self._variables = variables
        self._sheet = sheet
        self._left = _MOST

    def whole(self, files: Sequence[NamedFile], known: Mapping[str, str]) -> Branch | None:
        """Return everything that files come to, its paths relative to the first one's folder; ``None`` when one cannot be read.

        Args:
            files: Where they are, each ranking above the one before it.
            known: The variables that are put into them.
        """
        return self._whole(files, _At(files[0][0].parent, known))

    def _whole(self, files: Sequence[NamedFile], at: _At) -> Branch | None:
        trees = [self._read(path, place) for path, place in files]
        if any(tree is None for tree in trees):
            return None
        document = compose_document([tree for tree in trees if tree is not None], at.known, self._sheet)
        document = Extending(self._read, at.known, self._sheet).resolve(document, at.folder)
        include = document.children.get("include")
        document = without(document, "include")
        below = replace(at, above=(*at.above, files[0][0]))
        for index, item in enumerate(self._sheet.items("include", include) if include is not None else ()):
            found = self._included(f"include[{index}]", item, below)
            if found is not None:
                document = self._joined(document, found)
        return document

    def _included(self, key: str, item: Node, at: _At) -> Branch | None:
        """Return what one entry comes to, its paths relative to the including folder; ``None`` when it is not followed."""
        said = dict(item.children) if isinstance(item, Branch) else {"path": item}
        for name in said.keys() - {"path", "project_directory", "env_file"}:
            self._sheet.leave(f"{key}.{name}", said[name].place, "has no counterpart")
        files = self._paths(f"{key}.path" if isinstance(item, Branch) else key, said.get("path"), at.folder, item.place)
        if not files or not self._may_follow(key, files[0], at.above):
            return None
        own = files[0][0].parent
        directory = said.get("project_directory")
        if directory is not None and not is_null(directory):
            named = self._paths(f"{key}.project_directory", directory, at.folder, item.place)
            if not named:
                return None
            own = named[0][0]
        known = self._environment(f"{key}.env_file", said.get("env_file"), own, at)
        found = self._whole(files, _At(own, known, at.above))
        return rebased(found, own, at.folder) if found is not None else None

    def _may_follow(self, key: str, file: NamedFile, above: tuple[PurePosixPath, ...]) -> bool:
        path, place = file
        if path in above:
            circle = " → ".join(str(step) for step in (*above[above.index(path) :], path))
            self._sheet.problems.add(place, f"{quoted(key)} goes round in a circle: {circle}")
            return False
        self._left -= 1
        if self._left == -1:
            self._sheet.problems.add(place, f"more than {_MOST} files are included; this one is not read")
        return self._left >= 0

    def _paths(self, key: str, node: Node | None, folder: PurePosixPath, place: Place) -> list[NamedFile]:
        """Return the paths that a key names, relative to the project; none when one of them cannot be followed."""
        if node is None or is_null(node):
            self._sheet.problems.add(place, f"{quoted(key)} must be a path, or a list of paths")
            return []
        found: list[NamedFile] = []
        for name, text, here in self._sheet.texts(key, node):
            path = inside(folder, text)
            if any(mark in text for mark in _ELSEWHERE):
                self._sheet.leave(name, here, "is not followed: nothing is fetched from elsewhere and run")
                return []
            if path is None:
                self._sheet.leave(name, here, f"{OUTSIDE}, so it is not followed")
                return []
            found.append((path, here))
        return found

    def _environment(self, key: str, node: Node | None, own: PurePosixPath, at: _At) -> Mapping[str, str]:
        if node is None or is_null(node):
            return {**self._variables(own / ".env", None, at.known), **at.known}
        found: dict[str, str] = {}
        for path, place in self._paths(key, node, at.folder, node.place):
            found.update(self._variables(path, place, {**found, **at.known}))
        return {**found, **at.known}

    def _joined(self, document: Branch, other: Branch) -> Branch:
        """Return both; what the second says besides resources is the first one's to say."""
        children, keys = dict(document.children), dict(document.keys)
        for section in _SECTIONS:
            theirs, ours = other.children.get(section), children.get(section)
            if not isinstance(theirs, Branch):
                continue
            if not isinstance(ours, Branch):
                children[section], keys[section] = theirs, key_place(other, section)
                continue
            for name, node in theirs.children.items():
                if name in ours.children and plain(ours.children[name]) != plain(node):
                    self._sheet.problems.add(
                        key_place(theirs, name),
                        f"{quoted(f'{section}.{name}')} is also in {ours.children[name].place}, and what is included is not "
                        "laid over what includes it",
                        hint="give one of them another name, or write it into an override file",
                    )
            children[section] = replace(
                ours, children={**theirs.children, **ours.children}, keys={**theirs.keys, **ours.keys}
            )
        return replace(document, children=children, keys=keys)
