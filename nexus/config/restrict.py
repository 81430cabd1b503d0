"""What a project's file may not say. It arrives with a clone: whoever can push to the repository wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from nexus.config.layers import Branch, Items, KeyPath, Leaf, Node, Place, child, join_key, key_place, plain, without
from nexus.config.problems import Problems, quoted
from nexus.config.redact import reference_name
from nexus.config.sections import DockerOptions

INSIDE: Final = "must stay inside the project: no '..', no absolute path, no '~'"

_NODE_ONLY: Final = (
    "it is for the node's own file, because a clone must not change the rules of the machine it lands on"
)
_USER_ONLY: Final = "it is for your own file, because a clone must not change what is yours"

REFUSED: Final[dict[KeyPath, str]] = {
    ("daemon",): _NODE_ONLY,
    ("limits",): _NODE_ONLY,
    ("network",): _NODE_ONLY,
    ("multi_user",): _NODE_ONLY,
    ("backends",): "it is for the node's or your own file, because a clone must not choose sockets, addresses or keys",
    ("preferences",): _USER_ONLY,
    ("workspaces",): _USER_ONLY,
    ("project_overrides",): _USER_ONLY,
    (
        "defaults",
        "keep_destroyed",
    ): "it is for your own file, because a clone must not decide how long your work is kept",
    ("defaults", "git_identity"): _USER_ONLY,
    ("secrets", "ssh"): _USER_ONLY,
    ("defaults", "port_range"): "it is for your own file, because host ports are yours to give",
    **{
        (
            "backend",
            "docker",
            name,
        ): "it is an option of the engine, for 'backends.docker' in the node's or your own file"
        for name in DockerOptions.model_fields
    },
    ("backend", "docker", "user"): (
        "which ids programs run with is for 'backends.docker' in the node's or your own file; a project names a user of its image with "
        "'remote_user'"
    ),
}
"""Keys that are refused in a project's file, and why."""

HOST_CODE: Final = re.compile(
    r"LD_.*|DYLD_.*|GIT_.*|BASH_ENV|ENV|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND|IFS|PATH|HOME|SHELL|PYTHONSTARTUP|PYTHONHOME"
    r"|NODE_OPTIONS|PERL5OPT|RUBYOPT|JAVA_TOOL_OPTIONS",
)
"""Variables that make a program on this host run code that their value names."""


def inside(text: str) -> bool:
    """Return whether a path, taken from the project's root, names something below it. Links are not followed."""
    path = PurePosixPath(text)
    return bool(text.strip()) and not (path.is_absolute() or ".." in path.parts or text.startswith("~"))


def restrict(written: Branch, problems: Problems) -> Branch:
    """Return a project's tree without what it may not say.

    Args:
        written: The tree as read from the project's file.
        problems: Gets each refusal with its reason.
    """
    for path, reason in REFUSED.items():
        parent = child(written, *path[:-1])
        if isinstance(parent, Branch) and path[-1] in parent.children:
            place = key_place(parent, path[-1])
            problems.add(place, f"a project's file cannot set {quoted(join_key(path))}: {reason}")
            written = without(written, *path)
    _environment(written, problems)
    _dockerfile(written, problems)
    _secrets(written, problems)
    _env_files(written, problems)
    _volumes(written, problems)
    return written


def _entries(root: Branch, *path: str) -> Iterator[tuple[str, Node, Place]]:
    section = child(root, *path)
    if isinstance(section, Branch):
        for name, node in section.children.items():
            yield name, node, key_place(section, name)


def _environment(written: Branch, problems: Problems) -> None:
    sections: list[KeyPath] = [("env",), *(("services", name, "env") for name, _, _ in _entries(written, "services"))]
    for section in sections:
        for name, node, place in _entries(written, *section):
            value = node.value if isinstance(node, Leaf) else None
            key = quoted(join_key((*section, name)))
            if name.startswith("NEXUS_"):
                problems.add(place, f"a project's file cannot set {key}: names that begin with NEXUS_ are taken")
            if isinstance(value, str) and reference_name(value):
                problems.add(
                    node.place,
                    f"a project's file cannot give {key} a reference: a clone would read any variable of yours that it names",
                    hint=f"put it in your own file: project_overrides.<project>.{join_key((*section, name))}, "
                    "with workspaces.<project>.path",
                )


def _dockerfile(written: Branch, problems: Problems) -> None:
    node = child(written, "backend", "docker", "dockerfile")
    if isinstance(node, Leaf) and isinstance(node.value, str) and not inside(node.value):
        problems.add(node.place, f"'backend.docker.dockerfile' {INSIDE}")
    context = child(written, "backend", "docker", "build", "context")
    if isinstance(context, Leaf) and isinstance(context.value, str) and not inside(context.value):
        problems.add(context.place, f"'backend.docker.build.context' {INSIDE}")


def _env_files(written: Branch, problems: Problems) -> None:
    files = child(written, "env_files")
    for item in files.items if isinstance(files, Items) else ():
        path = plain(item)
        if isinstance(path, str) and not inside(path):
            problems.add(item.place, f"a file of variables of a project {INSIDE}")


def _secrets(written: Branch, problems: Problems) -> None:
    for name, node, place in _entries(written, "secrets"):
        if name.startswith("NEXUS_"):
            key = quoted(join_key(("secrets", name)))
            problems.add(place, f"a project's file cannot set {key}: names that begin with NEXUS_ are taken")
        source, path = child(node, "source"), child(node, "path")
        if isinstance(source, Leaf) and source.value == "command":
            problems.add(
                source.place,
                f"a project's file cannot take {quoted(join_key(('secrets', name)))} from a command: it would run on this host",
            )
        if isinstance(path, Leaf) and isinstance(path.value, str) and not inside(path.value):
            problems.add(path.place, f"{quoted(join_key(('secrets', name, 'path')))} {INSIDE}")


def _volumes(written: Branch, problems: Problems) -> None:
    """Refuse what a volume or a build would take from outside the project: the one place that says so."""
    lists: list[tuple[KeyPath, str]] = [(("volumes",), "the source of a volume of the workspace")]
    for name, _, _ in _entries(written, "services"):
        lists.append((("services", name, "volumes"), f"the source of a volume of service {quoted(name)}"))
        build = child(written, "services", name, "build")
        for node in (build, child(build, "context"), child(build, "dockerfile")):
            if isinstance(node, Leaf) and isinstance(node.value, str) and not inside(node.value):
                problems.add(node.place, f"the build of service {quoted(name)} {INSIDE}")
    for path, title in lists:
        volumes = child(written, *path)
        for item in volumes.items if isinstance(volumes, Items) else ():
            mount = plain(item)
            source = mount.partition(":")[0] if isinstance(mount, str) and ":" in mount else "volume"
            if not inside(source):
                problems.add(item.place, f"{title} {INSIDE}")
