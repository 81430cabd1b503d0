"""From the spelling of each file to effective keys: ``backend.docker.image`` of a project becomes ``defaults.image``. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from nexus.config.image_build import unset_by
from nexus.config.layers import Branch, KeyPath, Leaf, Node, child, join_key, key_place, with_child, without
from nexus.config.problems import Problems, quoted
from nexus.config.secret_settings import whole_entries

RENAMED: Final[dict[KeyPath, KeyPath]] = {
    ("backend", "type"): ("defaults", "backend"),
    ("backend", "docker", "image"): ("defaults", "image"),
    ("backend", "docker", "dockerfile"): ("defaults", "dockerfile"),
    ("backend", "docker", "build"): ("defaults", "build"),
    ("backend", "docker", "remote_user"): ("defaults", "remote_user"),
    ("resources",): ("defaults", "resources"),
}
"""Keys of a project's file, and of an entry of ``project_overrides``, that have another effective name."""

_IMAGE: Final = ("defaults", "image")
_DOCKERFILE: Final = ("defaults", "dockerfile")
_REMOTE_USER: Final = ("defaults", "remote_user")
_LIMIT_DEFAULT: Final = ("limits", "default_resources")


def node_tree(file: Branch) -> Branch:
    """Return the layer of a node's file. ``limits.default_resources`` is its default where it names no other."""
    default = child(file, *_LIMIT_DEFAULT)
    if default is not None and child(file, "defaults", "resources") is None:
        file = with_child(file, ("defaults", "resources"), _noted(default, join_key(_LIMIT_DEFAULT)))
    return implied(file)


def user_tree(file: Branch) -> Branch:
    """Return the layer of a user's file, without what it says for single projects."""
    return whole_entries(implied(without(file, "project_overrides")))


def project_tree(file: Branch, problems: Problems, *, override: bool = False) -> Branch:
    """Return the layer of a project's file, or of an entry of ``project_overrides``.

    Args:
        file: The checked tree.
        problems: Gets keys that are said twice, in two spellings.
        override: Whether it is an entry of ``project_overrides``, which spells ``secrets`` as a user's file does.
    """
    tree = without(without(file, "backend"), "resources")
    for spelled, effective in RENAMED.items():
        node = child(file, *spelled)
        if node is None:
            continue
        if child(tree, *effective) is not None:
            problems.add(
                node.place,
                f"{quoted(join_key(spelled))} and {quoted(join_key(effective))} say the same thing; keep one of them",
            )
        tree = with_child(tree, effective, _noted(node, join_key(spelled)))
    if isinstance(child(file, "backend"), Leaf):  # only `null` is still a leaf here
        tree = with_child(tree, ("defaults", "backend"), Leaf(None, key_place(file, "backend"), note="backend"))
    secrets = child(tree, "secrets")
    if isinstance(secrets, Branch) and not override:
        tree = with_child(without(tree, "secrets"), ("secrets", "named"), secrets)
    return whole_entries(implied(tree))


def implied(tree: Branch) -> Branch:
    """Return the layer with what its image implies: one named here is not built from a lower layer's file, nor has it that one's user."""
    image, dockerfile = child(tree, *_IMAGE), child(tree, *_DOCKERFILE)
    if isinstance(dockerfile, Leaf) and dockerfile.value is not None:
        return _unset(tree, dockerfile, "dockerfile is set here")
    if isinstance(image, Leaf) and image.value is not None and dockerfile is None:
        note = "image is set here"
        return _unset(with_child(tree, _DOCKERFILE, Leaf(None, image.place, note=note)), image, note)
    return tree


def _unset(tree: Branch, by: Leaf, note: str) -> Branch:
    if child(tree, *_REMOTE_USER) is None:
        tree = with_child(tree, _REMOTE_USER, Leaf(None, by.place, note=note))
    return unset_by(tree, by.place, note)


def _noted(node: Node, spelled: str) -> Node:
    note = getattr(node, "note", None)
    return replace(node, note=f"{note}, {spelled}" if note else spelled) if isinstance(node, Leaf | Branch) else node
