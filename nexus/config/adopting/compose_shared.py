"""What services of a compose file share: networks, and files that are given to them as secrets and configs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import PurePosixPath
from typing import Final

from nexus.config.adopting.paths import OUTSIDE, folder_text, inside
from nexus.config.adopting.sheet import Sheet, is_null
from nexus.config.layers import Branch, Items, Leaf, Node, child, key_place, without

GIVEN: Final = ("secrets", "configs")
"""Sections of files that are given to services."""

_TOP: Final = frozenset({"name", "driver", "attachable"})
_ONE: Final = "is not taken over: all services of a workspace share one network of its own"
_DEFAULT: Final = "default"
_SECRETS: Final = "/run/secrets/"
_ABOUT: Final = "is the file of the workspace's tree: one that git ignores has to be named in '.worktreeinclude'"


def check_networks(document: Branch, running: Mapping[str, Branch], sheet: Sheet) -> None:
    """List what networks would make different. Where every service reaches every other, one network is the same.

    Args:
        document: The files as one tree.
        running: The services that run.
        sheet: Gets what is not taken over.
    """
    top = document.children.get("networks")
    for name, node, place in sheet.entries("networks", top) if top is not None else ():
        for key in node.children if isinstance(node, Branch) else ():
            if key not in _TOP:
                sheet.leave(f"networks.{name}.{key}", place, _ONE)
    on: dict[str, set[str]] = {}
    for name, service in running.items():
        said = service.children.get("networks")
        on[name] = set(_network_names(f"services.{name}.networks", said, sheet)) if said is not None else {_DEFAULT}
    apart = {one for one, other in combinations(on, 2) if not on[one] & on[other]}
    apart |= {other for one, other in combinations(on, 2) if not on[one] & on[other]}
    for name in sorted(apart):
        if "networks" in running[name].children:
            sheet.leave(
                f"services.{name}.networks", key_place(running[name], "networks"), f"{_ONE}, so this keeps none apart"
            )


def _network_names(key: str, node: Node, sheet: Sheet) -> Iterator[str]:
    if isinstance(node, Items):
        yield from (text for _, text, _ in sheet.texts(key, node))
        return
    for name, below, place in sheet.entries(key, node):
        yield name
        for part in below.children if isinstance(below, Branch) else ():
            sheet.leave(f"{key}.{name}.{part}", place, "has no counterpart: a service is reached by its own name")


def with_given(document: Branch, service: Branch, name: str, base: PurePosixPath, sheet: Sheet) -> Branch:
    """Return a service that mounts the files which it is given as secrets and configs.

    Args:
        document: The files as one tree.
        service: One service of them.
        name: Its name.
        base: The folder that paths start from.
        sheet: Gets what cannot be given.
    """
    found: list[Node] = []
    for section in GIVEN:
        given = service.children.get(section)
        for index, item in enumerate(sheet.items(f"services.{name}.{section}", given) if given is not None else ()):
            key = f"services.{name}.{section}[{index}]"
            mount = _mount(child(document, section), key, item, base, sheet)
            if mount is not None:
                found.append(mount)
    kept = without(without(service, "secrets"), "configs")
    if not found:
        return kept
    volumes = kept.children.get("volumes")
    before = volumes.items if isinstance(volumes, Items) else ()
    grown = Items((*before, *found), found[0].place)
    return replace(kept, children={**kept.children, "volumes": grown}, keys={**kept.keys, "volumes": found[0].place})


def _mount(section: Node | None, key: str, item: Node, base: PurePosixPath, sheet: Sheet) -> Node | None:
    secret = ".secrets[" in key
    said = dict(item.children) if isinstance(item, Branch) else {"source": item}
    source = sheet.text(key, said.pop("source", Leaf(None, item.place)))
    if source is None:
        return None
    target = sheet.text(f"{key}.target", said.pop("target")) if not is_null(said.get("target")) else source
    for part in said:
        if part != "target":
            sheet.leave(f"{key}.{part}", item.place, "has no counterpart: the file is as it is in the tree")
    about = child(section, source) if isinstance(section, Branch) else None
    file = child(about, "file")
    text = file.value if isinstance(file, Leaf) else None
    path = inside(base, text) if isinstance(text, str) else None
    if path is None or target is None or ":" in str(path):
        reason = OUTSIDE if isinstance(text, str) else "comes from no file of the project"
        sheet.leave(key, item.place, f"{reason}, so the service is not given it", "secrets have a section of their own")
        return None
    if secret:
        sheet.leave(key, item.place, _ABOUT)
    aim = target if target.startswith("/") else f"{_SECRETS if secret else '/'}{target}"
    # Written for the folder that paths start from, as every volume of the file is.
    return Leaf(f"{_from(base, path)}:{aim}:ro", item.place)


def _from(base: PurePosixPath, path: PurePosixPath) -> str:
    return folder_text(path) if base == PurePosixPath() else "./" + "../" * len(base.parts) + str(path)
