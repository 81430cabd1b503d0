"""``extends``: a compose service over another one, of the same file or of a different one. Pure: files are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Final

from nexus.config.adopting.compose_document import compose_document, overlay
from nexus.config.adopting.compose_paths import rebased_service
from nexus.config.adopting.paths import OUTSIDE, inside
from nexus.config.adopting.sheet import Sheet, is_null
from nexus.config.layers import Branch, Leaf, Node, Place, child, key_place, without
from nexus.config.problems import quoted

ReadFile = Callable[[PurePosixPath, Place], Branch | None]
"""Reads a compose file of the project: its path, and where it is named. What is wrong with it is reported by the reader."""

_LONGEST: Final = 32
"""Services that may stand behind each other: nobody writes a longer chain to be read."""
_Step = tuple[PurePosixPath | None, str]


class _NotFollowed(Exception):
    """Why a service cannot be extended, as the end of a sentence."""


class Extending:
    """What the services of compose files extend.

    Args:
        read: Reads another file.
        variables: What is put into it.
        sheet: Gets what is not followed.
    """

    def __init__(self, read: ReadFile, variables: Mapping[str, str], sheet: Sheet) -> None:
        self._read = read
        self._variables = variables
        self._sheet = sheet
        self._files: dict[PurePosixPath, Branch] = {}

    def resolve(self, document: Branch, folder: PurePosixPath) -> Branch:
        """Return a document whose services have what they extend laid under them; one that cannot be is left out and listed.

        Args:
            document: The files as one tree.
            folder: The folder that its paths start from, relative to the project.
        """
        services = document.children.get("services")
        if not isinstance(services, Branch):
            return document
        found: dict[str, Node] = {}
        for name, node in services.children.items():
            if not isinstance(node, Branch) or is_null(node.children.get("extends")):
                found[name] = node
                continue
            try:
                found[name] = self._whole(name, services, None, folder, ())
            except _NotFollowed as reason:
                key, place = f"services.{name}.extends", key_place(node, "extends")
                hint = "only services of files of the project can be extended"
                self._sheet.leave(key, place, f"is not followed, so the service is not run: {reason}", hint)
        return _with(document, "services", _with_children(services, found))

    def _whole(
        self, name: str, services: Branch, file: PurePosixPath | None, folder: PurePosixPath, seen: tuple[_Step, ...]
    ) -> Branch:
        node = services.children.get(name)
        if not isinstance(node, Branch):
            where = "" if file is None else f" in {quoted(str(file))}"
            raise _NotFollowed(f"there is no service {quoted(name[:40])}{where}")
        if (file, name) in seen:
            circle = " → ".join(step for _, step in (*seen[seen.index((file, name)) :], (file, name)))
            raise _NotFollowed(f"it goes round in a circle ({circle})")
        if len(seen) >= _LONGEST:
            raise _NotFollowed(f"more than {_LONGEST} services stand behind it")
        extends = node.children.get("extends")
        if extends is None or is_null(extends):
            return node
        below = self._below(extends, services, file, folder, (*seen, (file, name)))
        # What it waits for, and who may start it, is its own affair.
        laid = overlay(without(without(below, "depends_on"), "profiles"), without(node, "extends"))
        return laid if isinstance(laid, Branch) else node

    def _below(
        self,
        extends: Node,
        services: Branch,
        file: PurePosixPath | None,
        folder: PurePosixPath,
        seen: tuple[_Step, ...],
    ) -> Branch:
        """Return what is extended, with its paths as the extending file would write them."""
        name = child(extends, "service") if isinstance(extends, Branch) else extends
        if not isinstance(name, Leaf) or not isinstance(name.value, str):
            raise _NotFollowed("it does not say which service")
        other = child(extends, "file")
        if other is None or is_null(other):
            return self._whole(name.value, services, file, folder, seen)
        text = other.value if isinstance(other, Leaf) else None
        path = inside(folder, text) if isinstance(text, str) else None
        if path is None:
            raise _NotFollowed(f"the file {OUTSIDE}" if isinstance(text, str) else "its file is no path")
        document = self._file(path, other.place)
        theirs = child(document, "services")
        if not isinstance(theirs, Branch):
            raise _NotFollowed(f"{quoted(str(path))} has no services that can be read")
        found = self._whole(name.value, theirs, path, path.parent, seen)
        moved = rebased_service(found, path.parent, folder)
        return moved if isinstance(moved, Branch) else found

    def _file(self, path: PurePosixPath, place: Place) -> Branch:
        if path not in self._files:
            tree = self._read(path, place)
            if tree is None:
                raise _NotFollowed(f"{quoted(str(path))} cannot be read")
            self._files[path] = compose_document([tree], self._variables, self._sheet)
        return self._files[path]


def _with(document: Branch, name: str, node: Node) -> Branch:
    return _with_children(document, {**document.children, name: node})


def _with_children(branch: Branch, children: Mapping[str, Node]) -> Branch:
    return Branch(dict(children), branch.place, dict(branch.keys), note=branch.note)
