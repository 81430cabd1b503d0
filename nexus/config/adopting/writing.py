"""An adopted file as the ``.nexus/config.yaml`` that means the same, with where each value came from. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from nexus.config.adopting.compose_document import FILLED
from nexus.config.adopting.found import Adopted
from nexus.config.layers import Branch, Items, Leaf, Node, Place, plain, printable
from nexus.config.places import read_scalar

_BARE: Final = re.compile(r"[A-Za-z_./][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@-]+)*", re.ASCII)
_BLOCK: Final = re.compile(r"[!-~][ -~]*(?:\n(?:[ -~]*[!-~])?)*\n", re.ASCII)
"""Text that may stand in a literal block: printable, no line ends with a space, one line end at the end."""
_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_LONGEST: Final = 200
_MOST_LINES: Final = 200


def written_config(adopted: Adopted, root: Path) -> str:
    """Return the text of a file that comes to the same settings as the adopted one.

    Args:
        adopted: The adopted file.
        root: The project's root, which the places in comments are relative to.
    """
    name = _place(Place(str(adopted.path)), root)
    lines = [
        f"# Written from {name}; from now on this file counts, and that one no longer does.",
        "# Behind each value stands where it came from. Every key: docs/reference/configuration.md.",
    ]
    if _from_variables(adopted.tree, adopted.path):
        lines.append(
            "# Some values came from a file of variables that git may ignore: look at them before this file is committed."
        )
    lines += ["", *_map(adopted.tree, 0, root)]
    if not adopted.tree.children:
        lines.append("{}")
    if adopted.unsupported:
        lines += ["", "# Not taken over:"]
        for entry in adopted.unsupported[:_MOST_LINES]:
            words = f"{printable(entry.key)[:_LONGEST]} {entry.reason}{f'; {entry.hint}' if entry.hint else ''}"
            lines.append(f"#   {_place(entry.place, root)}: {printable(words)}")
    if adopted.customizations is not None:
        lines += ["", "# Its customizations, which nothing acts on:"]
        shown = json.dumps(adopted.customizations, indent=2, ensure_ascii=False).split("\n")
        lines += [f"#   {printable(line)[:_LONGEST]}" for line in shown[:_MOST_LINES]]
    return "\n".join(lines) + "\n"


def _place(place: Place, root: Path) -> str:
    source = place.source.removeprefix(f"{root}/")
    return printable(source if place.line is None else f"{source}:{place.line}")


def _from_variables(node: Node, path: Path) -> bool:
    match node:
        case Branch():
            return any(_from_variables(below, path) for below in node.children.values())
        case Items():
            return any(_from_variables(item, path) for item in node.items)
        case Leaf():
            return node.note == FILLED or Path(node.place.source).suffix not in {".json", ".yaml", ".yml"}


def _map(branch: Branch, depth: int, root: Path) -> Iterator[str]:
    for name, node in branch.children.items():
        head = f"{'  ' * depth}{_scalar(name)}:"
        remark = f"  # {_place(node.place, root)}"
        match node:
            case Branch() if node.children:
                yield head
                yield from _map(node, depth + 1, root)
            case Items() if node.items:
                yield head
                yield from (f"{'  ' * (depth + 1)}- {_flow(item)}  # {_place(item.place, root)}" for item in node.items)
            case Leaf(value=str() as text) if "\n" in text and _BLOCK.fullmatch(text):
                yield f"{head} |{remark}"
                yield from (
                    f"{'  ' * (depth + 1)}{line}" if line else "" for line in text.removesuffix("\n").split("\n")
                )
            case _:
                yield f"{head} {_flow(node)}{remark}"


def _flow(node: Node) -> str:
    value = plain(node)
    return _scalar(value) if not isinstance(value, dict | list) else _quoted(value)


def _scalar(value: JsonValue) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value) and isinstance(read_scalar(value), str):
        return value
    return _quoted(value)


def _quoted(value: JsonValue) -> str:
    """Return a value as JSON, which is YAML but for a few characters."""
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
