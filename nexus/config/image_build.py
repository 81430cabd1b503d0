"""``backend.docker.build``: how the workspace's own image is built, and what has to hold for a project that says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nexus.config.layers import Branch, Leaf, Place, child, placed, plain, with_child
from nexus.config.problems import Problems, quoted
from nexus.config.values import EnvValue, Text, VariableName
from nexus.models.base import Model
from nexus.models.described import Described

KEY = ("defaults", "build")


class WrittenBuild(Described):
    """How the image is built from `dockerfile`."""

    context: Text | None = None
    """Folder that the build sees, relative to the project; the project itself when absent."""
    args: Mapping[VariableName, EnvValue | None] | None = None
    """Build arguments. They can be read from the image, so nothing secret belongs here."""
    target: Text | None = None
    """The stage to stop at."""


class ImageBuild(Model):
    """How the workspace's own image is built."""

    context: Path
    """Folder that the build sees. Absolute."""
    args: Mapping[str, str] = {}
    target: str | None = None


def image_build(merged: Branch, root: Path) -> ImageBuild | None:
    """Return what the merged layers say; ``None`` when they say nothing, so that the build sees the project."""
    node = child(merged, *KEY)
    if not isinstance(node, Branch):
        return None
    written = WrittenBuild.model_validate(plain(node))
    args = {name: value for name, value in (written.args or {}).items() if value is not None}
    return ImageBuild(context=Path(os.path.normpath(root / (written.context or "."))), args=args, target=written.target)


def unset_by(tree: Branch, place: Place, note: str) -> Branch:
    """Return a layer that names an image or a file of its own: what lower layers say about building is about another one."""
    if child(tree, *KEY) is not None:
        return tree
    return with_child(tree, KEY, Leaf(None, place, note=note))


def check_context(build: ImageBuild | None, project: Branch | None, root: Path, problems: Problems) -> None:
    """Follow the links of the folder that a project's build sees: its last step must still be inside the project.

    Args:
        build: What the layers come to.
        project: The project's layer.
        root: The project's root.
        problems: Gets what leads out.
    """
    if build is None or project is None or child(project, *KEY, "context") is None:
        return
    real = Path(os.path.realpath(build.context))
    if not real.is_relative_to(os.path.realpath(root)):
        problems.add(
            placed(project, (*KEY, "context")),
            f"'backend.docker.build.context' must stay inside the project; a symbolic link leads to {quoted(str(real))}",
        )
