"""The service of a compose file that is the workspace itself, as settings of the workspace. Pure."""

from __future__ import annotations

import re
from typing import Final

from nexus.config.adopting.forwarding import names_of
from nexus.config.adopting.sheet import Sheet
from nexus.config.adopting.users import put_user
from nexus.config.layers import Branch, Items, Leaf, plain

_WAITING: Final = re.compile(r"sleep (infinity|inf|\d+)|tail -f /dev/null|while .*sleep .*", re.DOTALL)
"""Commands that only keep a container alive, which is what a workspace's does anyway."""


def place_workspace(name: str, service: Branch, sheet: Sheet) -> None:
    """Write what the service says about the workspace.

    Args:
        name: The service's name.
        service: The service as a project's file spells services.
        sheet: Gets the settings, and what a workspace has no counterpart for.
    """
    key = f"services.{name}"
    for part, node in service.children.items():
        match part:
            case "image":
                sheet.graft(("backend", "docker", "image"), node)
            case "build" if isinstance(node, Branch):
                _build(node, sheet)
            case "env" if isinstance(node, Branch):
                for variable, value in node.children.items():
                    if sheet.said("env", variable) is None:  # what the dev container says ranks before it
                        sheet.graft(("env", variable), value)
            case "volumes" if isinstance(node, Items):
                _volumes(key, node, sheet)
            case "ports" if isinstance(node, Items):
                _ports(node, sheet)
            case "user" if isinstance(node, Leaf):
                put_user(f"{key}.user", node, sheet)
            case "depends_on":
                pass  # services are up before anything of the workspace runs
            case "command" | "entrypoint" if _only_waits(node):
                pass
            case _:
                sheet.leave(
                    f"{key}.{part}", node.place, "has no counterpart for the service that is the workspace itself"
                )


def _build(build: Branch, sheet: Sheet) -> None:
    said = dict(build.children)
    context, file = said.get("context"), said.pop("dockerfile", None)
    folder = str(context.value) if isinstance(context, Leaf) else "."
    name = str(file.value) if isinstance(file, Leaf) else "Dockerfile"
    path = f"./{name}" if folder == "." else f"{folder}/{name}"
    place = file.place if file is not None else build.place
    sheet.put(("backend", "docker", "dockerfile"), path, place, "build.dockerfile")
    sheet.graft(("backend", "docker", "build"), Branch(said, build.place, build.keys))


def _volumes(key: str, node: Items, sheet: Sheet) -> None:
    kept: list[Leaf] = []
    for index, item in enumerate(node.items):
        text = str(plain(item))
        name = f"{key}.volumes[{index}]"
        if text.startswith("./:"):
            sheet.leave(name, item.place, "is not acted on: the tree stands at the path that it has on this host")
        elif text.startswith("./") and text.endswith(":ro"):
            sheet.leave(
                name, item.place, "is not mounted: the tree is writable inside, so no part of it can be read-only"
            )
        elif isinstance(item, Leaf):
            kept.append(item)
    if kept:
        sheet.graft(("volumes",), Items(tuple(kept), node.place))


def _ports(node: Items, sheet: Sheet) -> None:
    for item in node.items:
        number, _, protocol = str(plain(item)).rpartition(":")[2].partition("/")
        if names_of(number, sheet):
            continue
        path = ("ports", f"port-{number}")
        sheet.put((*path, "container"), int(number), item.place, "ports")
        if protocol:
            sheet.put((*path, "protocol"), protocol, item.place, "ports")


def _only_waits(node: object) -> bool:
    words = [str(plain(item)) for item in node.items] if isinstance(node, Items) else []
    text = " ".join(words[2:] if words[:2] in (["/bin/sh", "-c"], ["sh", "-c"], ["bash", "-c"]) else words)
    return _WAITING.fullmatch(text.strip()) is not None
