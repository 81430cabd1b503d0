"""The three files, read, checked one by one, and turned into layers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nexus.config import adopting, sources, usual_files
from nexus.config.checks import dormant_warnings
from nexus.config.effective import node_tree, project_tree, user_tree
from nexus.config.layers import Branch, Layer, LayerKind, Leaf, child, join_key
from nexus.config.merge import merge_branches
from nexus.config.problems import Problems, quoted
from nexus.config.restrict import restrict
from nexus.config.schema import NodeFile, ProjectFile, UserFile
from nexus.config.validation import normalise


@dataclass(frozen=True, slots=True)
class Files:
    """What the files of one project say."""

    root: Path
    """The project's root."""
    home: Path | None
    layers: tuple[Layer, ...]
    """From low to high; a file that is not there has none."""
    paths: tuple[tuple[LayerKind, Path], ...]
    """Where each file was looked for."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    """Files that were passed over."""
    adopted: adopting.Adopted | None = None
    """The file of another tool that stands in for the project's own, where there is none."""
    overrides: tuple[Layer, ...] = ()
    """What the user's file says for single projects, whether or not this is one of them."""

    @property
    def sources(self) -> Mapping[LayerKind, tuple[str, ...]]:
        """The files that each layer is read from, as problems name them."""
        found: dict[LayerKind, tuple[str, ...]] = {kind: (str(path),) for kind, path in self.paths}
        if self.adopted is not None:
            found[LayerKind.PROJECT] = tuple(str(path) for path in self.adopted.sources)
        return found


_FOR_ONE_FOLDER: Final = {
    "env": "would be given these variables",
    "services": "would have these services, which need no approval, and what they are given",
    "secrets": "would be given these secrets",
    "scripts": "would have these scripts run in it, which need no approval",
    "hooks": "would have these commands run in it, which need no approval",
}
"""Sections of an override that are meant for one folder, not for whatever has its name; and what would happen otherwise."""


def load_files(
    project: Path | str,
    *,
    env: Mapping[str, str] | None,
    node_file: Path | None,
    user_file: Path | None,
    problems: Problems,
) -> Files:
    """Read and check the node's, the user's and the project's file.

    Args:
        project: A folder of the project.
        env: The environment, ``None`` for the process's own; ``HOME`` is read.
        node_file: Read in place of the node's usual files.
        user_file: Read in place of ``~/.nexus/config.yaml``.
        problems: Gets what is wrong in any of them.

    Raises:
        ConfigError: When ``project`` is no folder.
    """
    home = usual_files.home_folder(env)
    node_path, notes = sources.node_source(node_file)
    if user_file is None and home is not None:
        user_file = home / usual_files.FILE
    start = Path(project)
    root = sources.project_root(start, user_file)
    project_path: Path | None = root / usual_files.FILE
    if sources.same_file(root / usual_files.FILE, user_file):
        project_path = None

    node = sources.read_file(node_path, problems) if node_path is not None else None
    user = sources.read_file(user_file, problems) if user_file is not None else None
    own = sources.read_file(project_path, problems, project=root, start=start) if project_path is not None else None
    adopted = None
    if project_path is not None and not os.path.lexists(project_path) and adopting.find_adoptable(root) is not None:
        adopted = adopting.adopt(root, start.resolve(), problems)
        own, project_path = (adopted.tree, adopted.path) if adopted is not None else (own, project_path)
    warnings = [line for file in (node, user, own) if file is not None for line in dormant_warnings(file)]
    warnings += [str(entry) for entry in adopted.unsupported] if adopted is not None else []

    node = normalise(NodeFile, node, problems) if node is not None else None
    user = normalise(UserFile, user, problems) if user is not None else None
    own = normalise(ProjectFile, restrict(own, problems), problems) if own is not None else None

    layers: list[Layer] = []
    if node is not None:
        layers.append(Layer(LayerKind.NODE, node_tree(node)))
    if user is not None:
        _check_overrides(user, problems)
        layers.append(Layer(LayerKind.USER, user_tree(user)))
    if own is not None:
        layers.append(Layer(LayerKind.PROJECT, project_tree(own, problems)))
    if user is not None and (override := _override(user, own, root, home, problems)) is not None:
        layers.append(Layer(LayerKind.OVERRIDE, override))
    looked = ((LayerKind.NODE, node_path), (LayerKind.USER, user_file), (LayerKind.PROJECT, project_path))
    paths = tuple((kind, path) for kind, path in looked if path is not None)
    return Files(root, home, tuple(layers), paths, (*notes, *warnings), notes, adopted, _overrides(user))


def _overrides(user: Branch | None) -> tuple[Layer, ...]:
    overrides = child(user, "project_overrides")
    entries = overrides.children.values() if isinstance(overrides, Branch) else ()
    # A key that is said twice is told for the project that it is about.
    return tuple(
        Layer(LayerKind.OVERRIDE, project_tree(tree, Problems(), override=True))
        for tree in entries
        if isinstance(tree, Branch)
    )


def _check_overrides(user: Branch, problems: Problems) -> None:
    overrides = child(user, "project_overrides")
    for name, override in overrides.children.items() if isinstance(overrides, Branch) else ():
        if isinstance(child(user, "workspaces", name, "path"), Leaf):
            continue
        for section, danger in _FOR_ONE_FOLDER.items():
            node = child(override, section)
            if node is not None:
                key = quoted(join_key(("project_overrides", name, section)))
                problems.add(
                    node.place,
                    f"{key} needs 'workspaces.{join_key((name,))}.path': any clone can call itself {quoted(name)} and {danger}",
                    hint="name the project's folder under 'workspaces' in the same file",
                )


def _override(user: Branch, own: Branch | None, root: Path, home: Path | None, problems: Problems) -> Branch | None:
    """Return what the user says for this project, ``None`` when nothing.

    An entry with a folder under ``workspaces`` is for that folder alone. Any other is for the project that has its name: the
    folder's, or what the project calls itself. When several fit, the more certain one ranks higher.
    """
    overrides, known = child(user, "project_overrides"), child(user, "workspaces")
    if not isinstance(overrides, Branch):
        return None
    called = child(own, "workspace", "name") if own is not None else None
    names = [root.name, *([str(called.value)] if isinstance(called, Leaf) else [])]
    with_folder = [name for name in overrides.children if isinstance(child(known, name, "path"), Leaf)]
    fitting = [name for name in dict.fromkeys(names) if name not in with_folder]
    fitting += [name for name in with_folder if _is_folder(child(known, name, "path"), root, home)]
    result: Branch | None = None
    for name in fitting:
        override = overrides.children.get(name)
        if isinstance(override, Branch):
            tree = project_tree(override, problems, override=True)
            result = tree if result is None else merge_branches(result, tree)
    return result


def _is_folder(node: object, root: Path, home: Path | None) -> bool:
    if not (isinstance(node, Leaf) and isinstance(node.value, str)):
        return False
    path = sources.expand_home(node.value, home)
    return path is not None and sources.same_file(path, root)
