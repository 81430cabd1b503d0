"""Who programs of a dev container run as: ``remoteUser``, ``containerUser``, and the ``user`` of a compose service. Pure."""

from __future__ import annotations

import re
from typing import Final

from nexus.config.adopting.sheet import Sheet, is_null
from nexus.config.adopting.variables import Variables
from nexus.config.layers import Branch, Leaf, Node

KEY: Final = ("backend", "docker", "remote_user")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", re.ASCII)
_OWN_FILE: Final = "'backends.docker.user' in your own file decides about ids: 'image' keeps those of the image"


def translate_users(document: Branch, variables: Variables, sheet: Sheet) -> None:
    """Write who programs run as: ``remoteUser``, else ``containerUser``, else what a compose service has said before.

    Args:
        document: The dev container's file.
        variables: What its texts may refer to.
        sheet: Gets the setting, and what is not acted on.
    """
    chosen: str | None = None
    for key in ("remoteUser", "containerUser"):
        node = document.children.get(key)
        if node is None or is_null(node):
            continue
        if chosen is not None:
            if _text(key, node, variables, sheet) != chosen:
                sheet.leave(
                    key,
                    node.place,
                    "is not acted on beside 'remoteUser': the container's own process only keeps it alive, and has that one's ids",
                )
            continue
        text = _text(key, node, variables, sheet)
        if text is not None and put_user(key, Leaf(text, node.place), sheet):
            chosen = text


def put_user(key: str, node: Leaf, sheet: Sheet) -> bool:
    """Say who programs run as, where that is the name of a user other than root; else list why not. Return whether it was said."""
    text = sheet.text(key, node) or ""
    name, _, group = text.partition(":")
    if name in {"root", "0"}:
        sheet.leave(
            key,
            node.place,
            "is not acted on: programs run with your own user id, and a clone cannot ask to write into your tree as root",
            _OWN_FILE,
        )
        return False
    if not _NAME.fullmatch(name):
        sheet.leave(
            key,
            node.place,
            "is not acted on: it is no name of a user, and which ids programs run with is yours",
            _OWN_FILE,
        )
        return False
    if group and group != name:
        sheet.leave(key, node.place, "is taken over without its group: programs run with your own", _OWN_FILE)
    sheet.put(KEY, name, node.place, key)
    return True


def _text(key: str, node: Node, variables: Variables, sheet: Sheet) -> str | None:
    text = sheet.text(key, node)
    if text is None:
        return None
    put = variables.value(text)
    for reason in put.reasons:
        sheet.leave(key, node.place, reason if put.text is not None else f"is not acted on: it {reason}")
    return put.text
