"""Which program opens a work tree, and with which words: a table, so that no setting is ever run by a shell."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final

from nexus.errors import InvalidArgument
from nexus.models.base import Model


class EditorCommand(Model):
    """How to open a work tree."""

    argv: tuple[str, ...]
    """The program and its arguments; no shell."""
    cwd: Path
    """Where it starts: the work tree."""
    terminal: bool
    """Whether it takes over the terminal that it was started from until it ends."""


class _Editor(Model):
    program: str
    terminal: bool = False
    options: tuple[str, ...] = ()


_EDITORS: Final[Mapping[str, _Editor]] = MappingProxyType(
    {
        "vscode": _Editor(program="code", options=("--new-window",)),
        "vscode-insiders": _Editor(program="code-insiders", options=("--new-window",)),
        "vscodium": _Editor(program="codium", options=("--new-window",)),
        "cursor": _Editor(program="cursor", options=("--new-window",)),
        "windsurf": _Editor(program="windsurf", options=("--new-window",)),
        "zed": _Editor(program="zed", options=("--new",)),
        "sublime": _Editor(program="subl", options=("--new-window",)),
        "idea": _Editor(program="idea"),
        "pycharm": _Editor(program="pycharm"),
        "webstorm": _Editor(program="webstorm"),
        "goland": _Editor(program="goland"),
        "vim": _Editor(program="vim", terminal=True),
        "neovim": _Editor(program="nvim", terminal=True),
        "emacs": _Editor(program="emacs", options=("--no-window-system",), terminal=True),
        "helix": _Editor(program="hx", terminal=True),
    }
)
_ALIASES: Final[Mapping[str, str]] = MappingProxyType({"code": "vscode", "nvim": "neovim", "vi": "vim", "hx": "helix"})

EDITOR_NAMES: Final[tuple[str, ...]] = tuple(sorted(_EDITORS))
"""Names that :func:`editor_command` knows."""


def check_editor(name: str) -> str:
    """Return the name of an editor as it stands when it can be used.

    Raises:
        InvalidArgument: When it is neither a known name nor the absolute path of a program.
    """
    if name in _EDITORS or name in _ALIASES or (PurePosixPath(name).is_absolute() and "\0" not in name):
        return name
    close = difflib.get_close_matches(name.lower()[:40], [*_EDITORS, *_ALIASES], n=1)
    guess = f"; perhaps you meant {close[0]!r}" if close else ""
    raise InvalidArgument(
        f"{name[:40]!r} is no editor that is known{guess}",
        hint=f"write {', '.join(EDITOR_NAMES)}, or the absolute path of a program that takes a folder",
    )


def editor_command(name: str, tree: Path) -> EditorCommand:
    """Return the command that opens a work tree in an editor. Nothing is run.

    Args:
        name: One of :data:`EDITOR_NAMES`, or the absolute path of a program, which is given the tree as its one argument.
        tree: The work tree. Absolute.

    Raises:
        InvalidArgument: When the editor is not known, or the tree's path is not absolute.
    """
    check_editor(name)
    if not tree.is_absolute():
        raise InvalidArgument(f"the path of a work tree must be absolute, not {str(tree)!r}")
    editor = _EDITORS.get(_ALIASES.get(name, name), _Editor(program=name))
    return EditorCommand(argv=(editor.program, *editor.options, str(tree)), cwd=tree, terminal=editor.terminal)
