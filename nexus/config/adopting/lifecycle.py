"""The lifecycle commands of ``devcontainer.json`` as one script each for the moments that a workspace has. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from nexus.config.adopting.sheet import Sheet, is_null
from nexus.config.adopting.variables import TREE, Variables
from nexus.config.layers import Branch, Items, KeyPath, Node

MOMENTS: Final[Mapping[KeyPath, tuple[str, ...]]] = {
    ("scripts", "initialize"): ("initializeCommand",),
    ("scripts", "post-create"): ("onCreateCommand", "updateContentCommand", "postCreateCommand"),
    ("scripts", "post-start"): ("postStartCommand",),
}
"""Our scripts, and the commands that each consists of, in order."""

NOT_RUN: Final[Mapping[str, str]] = {
    "postAttachCommand": "is not run: nothing attaches to a workspace the way an editor does",
}


def translate_lifecycle(document: Branch, variables: Variables, sheet: Sheet) -> None:
    """Write the scripts.

    Args:
        document: The file.
        variables: What can be put in.
        sheet: Gets the scripts, and what is not run.
    """
    for path, names in MOMENTS.items():
        parts: list[str] = []
        present = [name for name in names if not is_null(document.children.get(name))]
        for name in present:
            node = document.children[name]
            part = _command(name, node, variables, sheet)
            if part:
                parts.append(f"# {name}\n{part}")
        if parts:
            place = document.children[present[0]].place
            head = f"{TREE}=$PWD\nexport {TREE}\n" if any(TREE in part for part in parts) else ""
            sheet.put(path, head + "\n".join(parts) + "\n", place, ", ".join(present))
    for name, reason in NOT_RUN.items():
        below = document.children.get(name)
        if below is not None and not is_null(below):
            sheet.leave(name, below.place, reason)


def _command(key: str, node: Node, variables: Variables, sheet: Sheet) -> str:
    """Return lines of shell for a command in any of its forms; a map's entries run side by side."""
    if not isinstance(node, Branch):
        return _one(key, node, variables, sheet)
    lines = [
        _one(f"{key}.{name}", below, variables, sheet) for name, below in node.children.items() if not is_null(below)
    ]
    lines = [line for line in lines if line]
    if len(lines) < 2:
        return "".join(lines)
    started = [f"{line} & job{number}=$!" for number, line in enumerate(lines, start=1)]
    awaited = [f'wait "$job{number}" || failed=$?' for number in range(1, len(lines) + 1)]
    return "\n".join([*started, "failed=0", *awaited, '[ "$failed" -eq 0 ]'])


def _one(key: str, node: Node, variables: Variables, sheet: Sheet) -> str:
    """Return one line of shell: a text is a script for the shell, a list a program and its arguments."""
    if isinstance(node, Items):
        words = [_argument(name, text, variables, node, sheet) for name, text, _ in sheet.texts(key, node)]
        return " ".join(words)
    text = sheet.text(key, node)
    if text is None or not text.strip():
        return ""
    put = variables.script(text)
    for reason in put.reasons:
        sheet.leave(key, node.place, reason)
    return f"sh -c {shlex.quote(put.text or '')}"


def _argument(key: str, text: str, variables: Variables, node: Node, sheet: Sheet) -> str:
    """Return one argument, quoted; variables in it are the shell's, which splits nothing in double quotes."""
    put = variables.argument(text)
    for reason in put.reasons:
        sheet.leave(key, node.place, reason)
    return put.text or "''"
