"""``devcontainer.json`` as a project's settings. Pure: what has to be read is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from pydantic import JsonValue

from nexus.config.adopting.compose import Composed, inner_ports, with_port
from nexus.config.adopting.compose_service import read_build
from nexus.config.adopting.compose_values import volume_source
from nexus.config.adopting.forwarding import ServicePort, names_of, translate_ports
from nexus.config.adopting.lifecycle import MOMENTS, NOT_RUN, translate_lifecycle
from nexus.config.adopting.paths import inside
from nexus.config.adopting.sheet import Sheet, is_null
from nexus.config.adopting.users import translate_users
from nexus.config.adopting.variables import Variables
from nexus.config.adopting.workspace_service import place_workspace
from nexus.config.layers import Branch, Items, Leaf, Node, Place, key_place, without
from nexus.config.redact import reference_name
from nexus.config.restrict import HOST_CODE

Compose = Callable[[Sequence[tuple[PurePosixPath, Place]], str | None, Sequence[str] | None], Composed | None]
"""Reads and translates compose files: their paths, the service that is the workspace, the services that run."""

_HOST: Final = re.compile(r"\$\{(?:localEnv|env):([A-Za-z_][A-Za-z0-9_]{0,254})\}", re.ASCII)
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_HOST_ACCESS: Final = "is not taken over: a clone cannot ask for access to this host"
_PATH: Final = "is not acted on: the tree stands at the path that it has on this host"
_REASONS: Final[Mapping[str, tuple[str, str | None]]] = {
    "features": (
        "is not installed: nothing is fetched from a registry and run",
        "put what it installs into the image, a Dockerfile, or 'scripts.post-create'",
    ),
    "updateRemoteUserUID": (
        "is not acted on: the user inside has your own ids, so that the tree can be written and what is written there is yours",
        "'backends.docker.user: image' in your own file keeps the image's ids",
    ),
    "userEnvProbe": (
        "is not acted on: no login shell is asked for variables; 'containerEnv' and 'remoteEnv' hold for every command",
        None,
    ),
    "workspaceFolder": (_PATH, None),
    "workspaceMount": (_PATH, None),
    "runArgs": (_HOST_ACCESS, None),
    "privileged": (_HOST_ACCESS, None),
    "capAdd": (_HOST_ACCESS, None),
    "securityOpt": (_HOST_ACCESS, None),
    "secrets": ("is not acted on: secrets have a section of their own", None),
}
"""Why keys are not acted on; of others that they have no counterpart."""

_ACTED: Final = frozenset(
    {
        "image", "build", "dockerFile", "context", "dockerComposeFile", "service", "runServices", "forwardPorts", "appPort",
        "portsAttributes", "containerEnv", "remoteEnv", "mounts", "hostRequirements", "name", "customizations", "$schema",
        "remoteUser", "containerUser",
        *NOT_RUN, *(name for names in MOMENTS.values() for name in names),
    }
)  # fmt: skip
_USUAL: Final[Mapping[str, bool | str]] = {
    "userEnvProbe": "none",
    "init": True,
    "overrideCommand": True,
    "updateRemoteUserUID": True,
    "privileged": False,
}
"""What is so anyway."""


def translate_devcontainer(
    document: Branch, path: PurePosixPath, folder: str, compose: Compose, sheet: Sheet
) -> Node | None:
    """Write what the file comes to, and return its ``customizations``.

    Args:
        document: The file.
        path: Where it is, relative to the project.
        folder: Name of the project's folder.
        compose: Reads compose files.
        sheet: Gets the settings, and what has no counterpart.
    """
    base = path.parent
    variables = Variables(folder)
    variables.container = _environment(document, "containerEnv", variables, sheet)
    _environment(document, "remoteEnv", variables, sheet)
    _name(document, variables, sheet)
    forwarded = translate_ports(document, sheet)
    composed = _place(document, base, variables, compose, sheet)
    translate_users(document, variables, sheet)
    _services(composed, forwarded, sheet)
    _mounts(document, variables, sheet)
    _requirements(document, sheet)
    translate_lifecycle(document, variables, sheet)
    _rest(document, sheet)
    return document.children.get("customizations")


def _rest(document: Branch, sheet: Sheet) -> None:
    for name, node in document.children.items():
        empty = (
            is_null(node)
            or (isinstance(node, Branch) and not node.children)
            or (isinstance(node, Items) and not node.items)
        )
        if name in _ACTED or empty or _is_usual(name, node):
            continue
        reason, hint = _REASONS.get(name, ("has no counterpart", None))
        sheet.leave(name, key_place(document, name), reason, hint)


def _is_usual(name: str, node: Node) -> bool:
    value, usual = node.value if isinstance(node, Leaf) else None, _USUAL.get(name)
    return usual is not None and type(value) is type(usual) and value == usual


def _put_in(key: str, node: Node, variables: Variables, sheet: Sheet) -> str | None:
    text = sheet.text(key, node)
    if text is None:
        return None
    put = variables.value(text)
    for reason in put.reasons:
        sheet.leave(key, node.place, reason if put.text is not None else f"is left out: it {reason}")
    return put.text


def _environment(document: Branch, section: str, variables: Variables, sheet: Sheet) -> dict[str, str]:
    found: dict[str, str] = {}
    leaves: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    node = document.children.get(section)
    for name, below, place in sheet.entries(section, node) if node is not None else ():
        key = f"{section}.{name}"
        if is_null(below):
            sheet.leave(key, place, "removes a variable, which has no counterpart")
            continue
        if (source := _host_variable(name, below)) is not None:
            reference = Branch(
                {part: Leaf(said, below.place, key) for part, said in source.items()}, below.place, note=key
            )
            sheet.graft(("secrets", name), reference)
            continue
        value = _put_in(key, below, variables, sheet)
        if value is not None and reference_name(value):
            sheet.leave(
                key, below.place, "has a value that would be a reference to a variable of this host, so it is left out"
            )
        elif value is not None:
            found[name] = value
            leaves[name] = Leaf(value, below.place, key, text=value)
            keys[name] = place
    if leaves:
        said = sheet.said("env")
        before = said if isinstance(said, Branch) else Branch({}, document.place)
        both = Branch({**before.children, **leaves}, document.place, {**before.keys, **keys})
        sheet.graft(("env",), both)
    return found


def _host_variable(name: str, node: Node) -> dict[str, JsonValue] | None:
    """Return the reference that a value which is nothing but a variable of this host means: its user has to allow that one."""
    asked = _HOST.fullmatch(node.value) if isinstance(node, Leaf) and isinstance(node.value, str) else None
    if asked is None or name.startswith("NEXUS_") or not _VARIABLE_NAME.fullmatch(name) or HOST_CODE.fullmatch(name):
        return None
    return {"source": "env", "var": asked[1], "required": False}


def _name(document: Branch, variables: Variables, sheet: Sheet) -> None:
    node = document.children.get("name")
    if node is not None and not is_null(node) and (text := _put_in("name", node, variables, sheet)):
        sheet.put(("workspace", "display_name"), text, node.place, "name")


def _place(
    document: Branch, base: PurePosixPath, variables: Variables, compose: Compose, sheet: Sheet
) -> Composed | None:
    """Write where the workspace runs: a service of compose files, what is built, or an image."""
    said = {key: node for key, node in document.children.items() if not is_null(node)}
    if "dockerComposeFile" in said:
        for other in ("image", "build", "dockerFile"):
            if other in said:
                sheet.leave(other, said[other].place, "is not used: 'dockerComposeFile' ranks before it")
        return _composed(said, base, variables, compose, sheet)
    for other in ("service", "runServices"):
        if other in said:
            sheet.leave(other, said[other].place, "means nothing without 'dockerComposeFile'")
    build = _build(said)
    if build is not None:
        if "image" in said:
            sheet.leave("image", said["image"].place, "is not used: 'build' ranks before it")
        _built(build, base, variables, sheet)
    elif "image" in said and (image := _put_in("image", said["image"], variables, sheet)):
        sheet.put(("backend", "docker", "image"), image, said["image"].place, "image")
    return None


def _build(said: Mapping[str, Node]) -> Branch | None:
    """Return ``build``, or what the older keys ``dockerFile`` and ``context`` say."""
    build = said.get("build")
    if isinstance(build, Branch):
        return build
    if "dockerFile" not in said:
        return None
    old = {"dockerfile": said["dockerFile"], **({"context": said["context"]} if "context" in said else {})}
    return Branch(old, said["dockerFile"].place)


def _built(build: Branch, base: PurePosixPath, variables: Variables, sheet: Sheet) -> None:
    file = build.children.get("dockerfile")
    if file is None or is_null(file):
        sheet.problems.add(build.place, "'build' lacks 'dockerfile'")
        return
    text = sheet.text("build.dockerfile", file)
    path = inside(base, text) if text is not None else None
    if path is None:
        if text is not None:
            sheet.leave(
                "build.dockerfile",
                file.place,
                "lies outside the project, which a clone cannot ask for, so it is not built",
            )
        return
    args = build.children.get("args")
    filled: dict[str, Node] = {}
    for name, below, _ in sheet.entries("build.args", args) if args is not None else ():
        if (value := _put_in(f"build.args.{name}", below, variables, sheet)) is not None:
            filled[name] = Leaf(value, below.place, text=value)
    rest = {name: below for name, below in build.children.items() if name not in {"dockerfile", "args"}}
    if args is not None and filled:
        rest["args"] = Branch(filled, args.place)
    built = read_build("build", Branch(rest, build.place, build.keys), base, sheet)
    if built is not None:
        sheet.put(("backend", "docker", "dockerfile"), f"./{path}", file.place, "build.dockerfile")
        sheet.graft(("backend", "docker", "build"), built)


def _composed(
    said: Mapping[str, Node], base: PurePosixPath, variables: Variables, compose: Compose, sheet: Sheet
) -> Composed | None:
    files: list[tuple[PurePosixPath, Place]] = []
    for key, text, place in sheet.texts("dockerComposeFile", said["dockerComposeFile"]):
        filled = variables.value(text).text
        path = inside(base, filled) if filled is not None else None
        if path is None:
            sheet.problems.add(place, f"'{key}' must name a file inside the project")
        else:
            files.append((path, place))
    service = sheet.text("service", said["service"]) if "service" in said else None
    if service is None:
        sheet.problems.add(
            said["dockerComposeFile"].place, "'dockerComposeFile' needs 'service': which one is the workspace"
        )
    run = said.get("runServices")
    chosen = [text for _, text, _ in sheet.texts("runServices", run)] if run is not None else None
    composed = compose(files, service, chosen) if files and service is not None else None
    if composed is None:
        return None
    if composed.workspace is None:
        sheet.problems.add(
            said["service"].place, "'service' names no service that the compose files have and that can run"
        )
        return None
    place_workspace(str(service), composed.workspace, sheet)
    return composed


def _services(composed: Composed | None, forwarded: Sequence[ServicePort], sheet: Sheet) -> None:
    services = dict(composed.services) if composed is not None else {}
    for port in forwarded:
        if port.service in services:
            services[port.service] = with_port(services[port.service], port.number, port.place)
        else:
            sheet.leave(port.key, port.place, f"is not forwarded: there is no service {port.service[:40]!r}")
    for name, node in services.items():
        sheet.graft(("services", name), node)
        for number in inner_ports(node):
            for twin in names_of(number, sheet):  # it is reached by the service's name
                sheet.tree = without(sheet.tree, "ports", twin)


def _mounts(document: Branch, variables: Variables, sheet: Sheet) -> None:
    node = document.children.get("mounts")
    found: dict[str, Leaf] = {}
    for index, item in enumerate(sheet.items("mounts", node) if node is not None else ()):
        key = f"mounts[{index}]"
        said = _mount(key, item, sheet)
        source, target = said.get("source", ""), said.get("target", "")
        project = source in {"${localWorkspaceFolder}", "${localWorkspaceFolder}/"}
        local = (
            source.removeprefix("${localWorkspaceFolder}/") if source.startswith("${localWorkspaceFolder}/") else None
        )
        if said.get("type", "volume") not in {"volume", "bind"}:
            sheet.leave(
                key, item.place, f"is of the type {said['type'][:20]!r}, which has no counterpart, so it is not mounted"
            )
            continue
        put, aim = variables.value(source if local is None else local), variables.value(target)
        if (put.text is None and not project) or aim.text is None:
            reason = (put if put.text is None and not project else aim).reasons[0]
            sheet.leave(key, item.place, f"is not mounted: it {reason}")
            continue
        filled = "./" if project else put.text if local is None else f"./{put.text}"
        if said.get("type") == "bind" and local is None and not project and not str(filled).startswith((".", "/", "~")):
            filled = f"/{filled}"
        written = volume_source(
            key, str(filled), aim.text, place=item.place, base=PurePosixPath(), owner="workspace", sheet=sheet
        )
        read_only = said.get("readonly", "false") == "true"
        if written is not None and read_only and written.startswith("./"):
            sheet.leave(
                key, item.place, "is not mounted: the tree is writable inside, so no part of it can be read-only"
            )
        elif written is not None:
            found[aim.text] = Leaf(f"{written}:{aim.text}{':ro' if read_only else ''}", item.place)
    if found and node is not None:
        before = sheet.said("volumes")
        others = before.items if isinstance(before, Items) else ()
        kept = tuple(one for one in others if isinstance(one, Leaf) and str(one.value).split(":")[1] not in found)
        sheet.graft(("volumes",), Items((*kept, *found.values()), node.place))


def _mount(key: str, item: Node, sheet: Sheet) -> dict[str, str]:
    """Return what a mount says, from ``source=…,target=…`` or a map."""
    said: dict[str, str] = {}
    if isinstance(item, Branch):
        for name, below, _ in sheet.entries(key, item):
            if (text := sheet.text(f"{key}.{name}", below)) is not None:
                said[name] = text
    elif (text := sheet.text(key, item)) is not None:
        for part in text.split(","):
            name, mark, value = part.partition("=")
            said[name.strip()] = value if mark else "true"
    short = {"src": "source", "destination": "target", "dst": "target", "ro": "readonly", "readOnly": "readonly"}
    said = {short.get(name, name): value for name, value in said.items()}
    for name in said.keys() - {"type", "source", "target", "readonly", "consistency"}:
        sheet.leave(key, item.place, f"says {name[:20]!r}, which has no counterpart")
    return said


def _requirements(document: Branch, sheet: Sheet) -> None:
    node = document.children.get("hostRequirements")
    names = {"cpus": "cpu", "memory": "memory", "storage": "storage"}
    for name, below, place in sheet.entries("hostRequirements", node) if node is not None else ():
        key = f"hostRequirements.{name}"
        if name not in names:
            sheet.leave(key, place, "has no counterpart")
        elif not is_null(below):
            value = below.value if isinstance(below, Leaf) else None
            if name == "cpus" and (type(value) is not int or value < 1):
                sheet.wrong(key, below, "a whole number of cores")
            else:
                sheet.graft(
                    ("resources", names[name]), Leaf(value, below.place, key) if isinstance(below, Leaf) else below
                )
