"""From the sections that name secrets to references, and what there is to say about them before anything is read."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nexus.config.layers import (
    Branch,
    Layer,
    LayerKind,
    Leaf,
    Node,
    Place,
    child,
    join_key,
    placed,
    plain,
    printable,
    with_child,
)
from nexus.config.problems import Problems, quoted
from nexus.config.restrict import HOST_CODE
from nexus.config.secret_sections import SecretSource
from nexus.config.sources import expand_home
from nexus.models.secrets import EnvFile, SecretReference

if TYPE_CHECKING:
    from nexus.config.settings import Settings

_BESIDE_FILE: Final = frozenset({LayerKind.USER, LayerKind.OVERRIDE})
_REPLACING: Final = frozenset({LayerKind.FLAGS, LayerKind.ENVIRONMENT})
_FILES: Final = ("secrets", "env_files")
_NAMED: Final = ("secrets", "named")
_PROJECT_FILES: Final = "env_files"


def whole_entries(tree: Branch) -> Branch:
    """Return the layer with each secret as a whole: layers replace a secret, they do not mix two sources of it."""
    named = child(tree, *_NAMED)
    if not isinstance(named, Branch):
        return tree
    children = {
        name: replace(node, whole=True) if isinstance(node, Branch) else node for name, node in named.children.items()
    }
    return with_child(tree, _NAMED, Branch(children, named.place, named.keys, named.note))


def may_read_host(reference: SecretReference, allowed: Collection[str]) -> bool:
    """Return whether a reference may be followed at all.

    What the user named, may. A project's file came with a clone: it may name files of the project; variables, the keychain and the
    encrypted store are its user's, and need ``secrets.allow`` in the user's own file. A command it may never name.

    Args:
        reference: The reference.
        allowed: What the user allows this project.
    """
    if reference.trusted or reference.source == "file":
        return True
    return reference.source != "command" and reference.permission in allowed


def runs_host_code(name: str) -> bool:
    """Return whether a variable of this name makes a program on this host run code that its value names."""
    return HOST_CODE.fullmatch(name) is not None


def allow_hint(reference: SecretReference) -> str:
    """Return how a user allows a project's reference."""
    return (
        f"if you want this project to have it, add {quoted(reference.permission)} to 'project_overrides.<project>.secrets.allow' "
        "in your own file, with the project's folder in 'workspaces.<project>.path'"
    )


def secret_values(
    layers: Sequence[Layer], *, root: Path, home: Path | None, problems: Problems
) -> dict[str, tuple[object, ...]]:
    """Return the fields of the settings that are about secrets.

    Args:
        layers: The layers, from low to high.
        root: The project's root.
        home: The home folder, where there is one.
        problems: Gets paths that cannot be used.
    """
    names = dict.fromkeys(name for layer in layers for name in _children(child(layer.root, *_NAMED)))
    references = [
        _reference(name, *found, root=root, home=home, problems=problems)
        for name in names
        if (found := _winner(layers, name)) is not None
    ]
    return {
        "secrets": tuple(references),
        "env_files": tuple(_env_files(layers, root=root, home=home, problems=problems)),
        "secrets_allowed": tuple(_listed(layers, ("secrets", "allow"))),
    }


def _children(node: Node | None) -> Mapping[str, Node]:
    return node.children if isinstance(node, Branch) else {}


def _winner(layers: Sequence[Layer], name: str) -> tuple[LayerKind, Node] | None:
    """Return the highest layer's word on a secret; ``None`` where that removes it."""
    for layer in reversed(layers):
        node = child(layer.root, *_NAMED, name)
        if node is not None:
            return None if isinstance(node, Leaf) and node.value is None else (layer.kind, node)
        removed = child(layer.root, *_NAMED) or child(layer.root, "secrets")
        if isinstance(removed, Leaf) and removed.value is None:
            return None
    return None


def _reference(
    name: str, kind: LayerKind, node: Node, *, root: Path, home: Path | None, problems: Problems
) -> SecretReference:
    written = SecretSource.model_validate(plain(node))
    project = kind is LayerKind.PROJECT
    key = {"env": written.var, "keychain": written.service, "store": written.entry or name}.get(written.source)
    command = written.command
    path = None
    if written.path is not None:
        path = _path(written.path, kind, node.place, root=root, home=home)
        if path is None:
            problems.add(
                node.place, f"{quoted(join_key((*_NAMED, name, 'path')))} must be a path; only '~/' stands for a folder"
            )
    return SecretReference(
        name=name,
        source=written.source,
        key=key or "",
        account=written.account,
        path=path,
        inside=root if project else None,
        command=("/bin/sh", "-c", command) if isinstance(command, str) else command or (),
        delivery=written.as_ or "env",
        required=written.required,
        trusted=not project,
        place=str(node.place),
    )


def _path(text: str, kind: LayerKind, place: Place, *, root: Path, home: Path | None) -> Path | None:
    path = Path(text) if kind is LayerKind.PROJECT else expand_home(text, home)
    if path is None:
        return None
    return (Path(place.source).parent if kind in _BESIDE_FILE else root) / path


def _env_files(layers: Sequence[Layer], *, root: Path, home: Path | None, problems: Problems) -> Iterator[EnvFile]:
    """Give the files, lowest first: the user's, then the project's."""
    for path, project in ((_FILES, False), ((_PROJECT_FILES,), True)):
        for item, kind, place in _items(layers, path):
            trusted = not project or kind is not LayerKind.PROJECT
            file = _path(item, kind, place, root=root, home=home)
            if file is None:
                problems.add(place, f"{quoted(item)} must be a path; only '~/' stands for a folder")
            else:
                yield EnvFile(path=file, inside=None if trusted else root, trusted=trusted, place=str(place))


def _items(layers: Sequence[Layer], path: tuple[str, ...]) -> list[tuple[str, LayerKind, Place]]:
    """Return the entries of a list that a user's files add up, and that flags and variables replace."""
    found: list[tuple[str, LayerKind, Place]] = []
    for layer in layers:
        node = child(layer.root, *path)
        if not isinstance(node, Leaf):
            continue
        if not isinstance(node.value, list) or layer.kind in _REPLACING:
            found = []
        items = node.value if isinstance(node.value, list) else ()
        found += [(item, layer.kind, node.place) for item in items if isinstance(item, str)]
    return found


def _listed(layers: Sequence[Layer], path: tuple[str, ...]) -> Iterator[str]:
    yield from dict.fromkeys(item for item, _, _ in _items(layers, path))


# What there is to say ------------------------------------------------------------------------------------------------


def check_secrets(settings: Settings, merged: Branch, env: Mapping[str, str], problems: Problems) -> None:
    """Find what is wrong with the secrets before any is read.

    Args:
        settings: The result.
        merged: The layers as one tree, for places.
        env: The environment.
        problems: Gets what is wrong.
    """
    for reference in settings.secrets:
        why = unresolved(reference, settings.secrets_allowed, env)
        place = placed(merged, (*_NAMED, reference.name))
        if why is not None and reference.required:
            problems.add(place, f"secret {quoted(reference.name)} is required and {why[0]}", hint=why[1])
        if not reference.trusted and settings.backend == "local" and runs_host_code(reference.name):
            problems.add(
                place,
                f"a project's file cannot give a secret the name {quoted(reference.name)} while the backend is 'local': it would run "
                "the clone's code in every command on this host",
            )


def secret_warnings(settings: Settings, env: Mapping[str, str]) -> Iterator[str]:
    """Give a line for each secret that has no value yet, and each file of variables that is not there."""
    for reference in settings.secrets:
        why = unresolved(reference, settings.secrets_allowed, env)
        if why is not None and not reference.required:
            yield f"{reference.place}: secret {quoted(reference.name)} {why[0]}"
    for file in settings.env_files:
        if not os.path.lexists(file.path):
            yield f"{file.place}: the file of variables '{printable(str(file.path))}' does not exist"


def unresolved(reference: SecretReference, allowed: Collection[str], env: Mapping[str, str]) -> tuple[str, str] | None:
    """Return why a reference cannot be followed, and the next step; ``None`` when nothing speaks against it yet.

    The keychain, the store and commands are not asked: that may take long, or ask the user.
    """
    if not may_read_host(reference, allowed):
        return (
            f"comes from {quoted(reference.permission)}, which you have not allowed this project to read",
            allow_hint(reference),
        )
    if reference.source == "env" and reference.key not in env:
        return f"refers to the variable {reference.key}, which is not set", f"set {reference.key} in the environment"
    if reference.source == "file" and reference.path is not None and not os.path.lexists(reference.path):
        return (
            f"refers to the file '{printable(str(reference.path))}', which does not exist",
            "make it, or correct the path",
        )
    return None
