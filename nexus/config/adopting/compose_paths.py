"""Paths of compose files that are put together: written for the folder of one file, and then for the folder of another. Pure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from nexus.config.adopting.sheet import is_null
from nexus.config.layers import Branch, Items, Leaf, Node

_FILES: Final = ("secrets", "configs")


def rebased(document: Branch, origin: PurePosixPath, base: PurePosixPath) -> Branch:
    """Return a compose file with its relative paths taken from another folder.

    Args:
        document: The file, with its variables put in.
        origin: The folder that its paths start from, relative to the project.
        base: The folder that they are to start from.
    """
    if origin == base:
        return document
    children = dict(document.children)
    services = children.get("services")
    if isinstance(services, Branch):
        moved = {name: rebased_service(node, origin, base) for name, node in services.children.items()}
        children["services"] = replace(services, children=moved)
    for section in _FILES:
        node = children.get(section)
        if isinstance(node, Branch):
            entries = {name: _in_map(below, "file", origin, base) for name, below in node.children.items()}
            children[section] = replace(node, children=entries)
    return replace(document, children=children)


def rebased_service(service: Node, origin: PurePosixPath, base: PurePosixPath) -> Node:
    """Return one service with its relative paths taken from another folder."""
    if not isinstance(service, Branch) or origin == base:
        return service
    children = dict(service.children)
    build = children.get("build")
    if isinstance(build, Branch) and is_null(build.children.get("context")):
        build = replace(build, children={**build.children, "context": Leaf(".", build.place)})
    if build is not None:
        children["build"] = (
            _in_map(build, "context", origin, base) if isinstance(build, Branch) else _leaf(build, origin, base)
        )
    files = children.get("env_file")
    if isinstance(files, Items):
        children["env_file"] = replace(files, items=tuple(_named(item, "path", origin, base) for item in files.items))
    elif files is not None:
        children["env_file"] = _named(files, "path", origin, base)
    volumes = children.get("volumes")
    if isinstance(volumes, Items):
        children["volumes"] = replace(volumes, items=tuple(_volume(item, origin, base) for item in volumes.items))
    return replace(service, children=children)


def _volume(item: Node, origin: PurePosixPath, base: PurePosixPath) -> Node:
    if isinstance(item, Branch):
        kind = item.children.get("type")
        bind = isinstance(kind, Leaf) and kind.value == "bind"
        return _in_map(item, "source", origin, base) if bind else item
    # A source without a dot is a volume's name.
    if isinstance(item, Leaf) and isinstance(item.value, str) and item.value.startswith("."):
        return _leaf(item, origin, base)
    return item


def _named(item: Node, key: str, origin: PurePosixPath, base: PurePosixPath) -> Node:
    return _in_map(item, key, origin, base) if isinstance(item, Branch) else _leaf(item, origin, base)


def _in_map(node: Node, key: str, origin: PurePosixPath, base: PurePosixPath) -> Node:
    below = node.children.get(key) if isinstance(node, Branch) else None
    if not isinstance(node, Branch) or below is None:
        return node
    return replace(node, children={**node.children, key: _leaf(below, origin, base)})


def _leaf(node: Node, origin: PurePosixPath, base: PurePosixPath) -> Node:
    if not isinstance(node, Leaf) or not isinstance(node.value, str) or node.value.startswith(("/", "~")):
        return node
    text = f"./{'../' * len(base.parts)}{'' if origin == PurePosixPath() else f'{origin}/'}{node.value}"
    return replace(node, value=text, text=text)
