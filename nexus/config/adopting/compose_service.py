"""One service of a compose file as we write it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Final

from nexus.config.adopting.compose_values import read_dependencies, read_ports, read_volumes
from nexus.config.adopting.paths import OUTSIDE, inside
from nexus.config.adopting.sheet import Sheet, is_null, leaf
from nexus.config.layers import Branch, Items, Leaf, Node, Place, key_place
from nexus.config.problems import quoted
from nexus.config.redact import reference_name

EnvFile = Callable[[PurePosixPath, Place, bool], Mapping[str, Leaf]]
"""Reads a file of variables of the project: its path, where it is named, whether it must be there."""

_HOST_ACCESS: Final = "is not taken over: a clone cannot ask for access to this host"
_REASONS: Final[Mapping[str, str]] = {
    "links": "is not taken over: services reach each other by their names as it is",
    "container_name": "is not taken over: every workspace has containers of its own; others reach the service by its name",
    "hostname": "is not taken over: a service is reached by its own name",
    "develop": "is not taken over: services see the workspace's tree",
    "tmpfs": "has no counterpart",
    "labels": "is not taken over",
    "logging": "is not taken over: 'boulder ws logs --service' shows what a service prints",
    **dict.fromkeys(
        (
            "privileged",
            "cap_add",
            "devices",
            "security_opt",
            "pid",
            "ipc",
            "userns_mode",
            "cgroup_parent",
            "volumes_from",
            "network_mode",
            "device_cgroup_rules",
            "gpus",
            "sysctls",
            "uts",
            "cgroup",
        ),
        _HOST_ACCESS,
    ),
}
"""Why keys of a service are not taken over; of others that they have no counterpart."""

_BYTES: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[kKmMgGtT]?[bB]?)?", re.ASCII)
_QUIET: Final = frozenset({"profiles", "expose", "networks"})
"""Keys that are acted on elsewhere, or say what is so anyway."""


class ServiceTranslation:
    """A service under way: :attr:`node` is what came of it."""

    def __init__(self, name: str, written: Branch, base: PurePosixPath, read_env: EnvFile, sheet: Sheet) -> None:
        self._name = name
        self._key = f"services.{name}"
        self._base = base
        self._read_env = read_env
        self._sheet = sheet
        self._found: dict[str, Node] = {}
        self._written = written
        self.usable = True
        """Whether it can run: what cannot be built cannot."""

    def run(self) -> Branch:
        """Translate it."""
        acts = {
            "image": self._image,
            "build": self._build,
            "command": self._words,
            "entrypoint": self._words,
            "ports": lambda _, node: self._put("ports", read_ports(f"{self._key}.ports", node, self._sheet)),
            "volumes": self._volumes,
            "depends_on": self._depends_on,
            "healthcheck": self._healthcheck,
            "restart": self._plain,
            "working_dir": self._plain,
            "user": self._plain,
            "cpus": lambda _, node: self._limit("cpu", f"{self._key}.cpus", node),
            "mem_limit": lambda _, node: self._limit("memory", f"{self._key}.mem_limit", node),
            "deploy": self._deploy,
        }
        for name, node in self._written.children.items():
            act = acts.get(name)
            if is_null(node) or name in _QUIET or name in {"environment", "env_file"}:
                continue
            if act is not None:
                act(name, node)
            elif not self._holds_anyway(name, node):
                place = key_place(self._written, name)
                self._sheet.leave(f"{self._key}.{name}", place, _REASONS.get(name, "has no counterpart"))
        self._environment()
        return Branch(self._found, self._written.place, {name: node.place for name, node in self._found.items()})

    def _put(self, name: str, node: Node) -> None:
        if not (isinstance(node, Items) and not node.items) and not (isinstance(node, Branch) and not node.children):
            self._found[name] = node

    def _holds_anyway(self, name: str, node: Node) -> bool:
        value = node.value if isinstance(node, Leaf) else None
        together = name == "network_mode" and isinstance(value, str) and value.startswith("service:")
        usual = {"init": (True,), "privileged": (False,), "tty": (False,), "stdin_open": (False,), "attach": (True,)}
        return together or (value is not None and any(value is one for one in usual.get(name, ())))

    def _plain(self, name: str, node: Node) -> None:
        text = self._sheet.text(f"{self._key}.{name}", node)
        if name == "restart" and isinstance(node, Leaf) and node.value is False:
            text = "no"
        if text:
            self._put(name, Leaf(text, node.place, note_of(node)))

    def _limit(self, name: str, key: str, node: Node) -> None:
        text = self._sheet.text(key, node)
        if text is not None and (name != "memory" or _BYTES.fullmatch(text)):
            # Compose counts in powers of 1024, whatever the letter's case; a number alone is bytes.
            self._found[name] = Leaf(text.lower().removesuffix("b").upper(), node.place, note_of(node), text=text)
        elif text is not None:
            self._sheet.leave(key, node.place, "is no size, so it limits nothing")

    def _deploy(self, _: str, node: Node) -> None:
        """Take the limits over; how many there are and where is nothing that a workspace decides."""
        for name, below, place in self._sheet.entries(f"{self._key}.deploy", node):
            if name != "resources":
                self._sheet.leave(f"{self._key}.deploy.{name}", place, "is not taken over: nothing is deployed here")
                continue
            for kind, limits, _place in self._sheet.entries(f"{self._key}.deploy.resources", below):
                for part, value, here in self._sheet.entries(f"{self._key}.deploy.resources.{kind}", limits):
                    ours = {"cpus": "cpu", "memory": "memory"}.get(part) if kind == "limits" else None
                    key = f"{self._key}.deploy.resources.{kind}.{part}"
                    if ours is not None:
                        self._limit(ours, key, value)
                    else:
                        self._sheet.leave(key, here, "has no counterpart")

    def _image(self, name: str, node: Node) -> None:
        if not is_null(self._written.children.get("build")):
            self._sheet.leave(
                f"{self._key}.image", node.place, "only names what 'build' builds, which has a name of its own here"
            )
            return
        self._plain(name, node)

    def _words(self, name: str, node: Node) -> None:
        key = f"{self._key}.{name}"
        if isinstance(node, Items):
            words = [
                Leaf(text, item.place, note_of(item))
                for item in node.items
                if (text := self._sheet.text(key, item)) is not None
            ]
        else:
            text = self._sheet.text(key, node) or ""
            try:
                words = [Leaf(word, node.place, note_of(node)) for word in shlex.split(text)]
            except ValueError:
                self._sheet.problems.add(node.place, f"{quoted(key)} has a quote without its end")
                return
        if words:
            self._put(name, Items(tuple(words), node.place))
        else:
            self._sheet.leave(key, node.place, "is empty, which has no counterpart; the image's own counts")

    def _volumes(self, name: str, node: Node) -> None:
        self._put(name, read_volumes(f"{self._key}.volumes", node, self._base, self._name, self._sheet))

    def _depends_on(self, name: str, node: Node) -> None:
        self._put(name, read_dependencies(f"{self._key}.depends_on", node, self._sheet))

    def _build(self, _: str, node: Node) -> None:
        built = read_build(f"{self._key}.build", node, self._base, self._sheet)
        if built is None:
            self.usable = False
        else:
            self._put("build", built)

    def _healthcheck(self, _: str, node: Node) -> None:
        key = f"{self._key}.healthcheck"
        found: dict[str, Node] = {}
        for name, below, place in self._sheet.entries(key, node):
            if name == "disable":
                if isinstance(below, Leaf) and below.value in {True, "true"}:
                    found["test"] = leaf(["NONE"], below.place)
            elif name == "test":
                if "test" not in found:
                    found["test"] = below
            elif name in {"interval", "timeout", "retries", "start_period"}:
                text = self._sheet.text(f"{key}.{name}", below)
                if text is not None:
                    number = name == "retries" and text.isdecimal() and text.isascii() and len(text) < 10
                    found[name] = Leaf(int(text) if number else text, below.place)
            else:
                self._sheet.leave(f"{key}.{name}", place, "has no counterpart")
        self._put("healthcheck", Branch(found, node.place, {name: below.place for name, below in found.items()}))

    def _environment(self) -> None:
        found: dict[str, Node] = {}
        files, own = self._written.children.get("env_file"), self._written.children.get("environment")
        if not is_null(files) and files is not None:
            for path, place, required in self._env_files(files):
                found.update(self._read_env(path, place, required))
        key = f"{self._key}.environment"
        for name, node, place in self._sheet.entries(key, own) if own is not None else ():
            if (value := env_value(f"{key}.{name}", node, place, self._sheet)) is not None:
                found[name] = Leaf(value, node.place, note_of(node), text=value)
        if found:
            place = own.place if own is not None else self._written.place
            self._put("env", Branch(found, place, {name: node.place for name, node in found.items()}))

    def _env_files(self, node: Node) -> list[tuple[PurePosixPath, Place, bool]]:
        key = f"{self._key}.env_file"
        found: list[tuple[PurePosixPath, Place, bool]] = []
        for item in node.items if isinstance(node, Items) else (node,):
            entry, required = item, True
            if isinstance(item, Branch):
                entry = item.children.get("path", Leaf(None, item.place))
                wanted = item.children.get("required")
                required = not (isinstance(wanted, Leaf) and wanted.value is False)
            text = self._sheet.text(key, entry)
            path = inside(self._base, text) if text is not None else None
            if path is not None:
                found.append((path, entry.place, required))
            elif text is not None:
                self._sheet.leave(key, entry.place, f"{OUTSIDE}, so it is not read")
        return found


def note_of(node: Node) -> str | None:
    """Return how a value came about, where that is told."""
    return node.note if isinstance(node, Leaf) else None


def env_value(key: str, node: Node, place: Place, sheet: Sheet) -> str | None:
    """Return the value of a variable; ``None`` when it would have to come from this host, which is listed then."""
    if is_null(node):
        sheet.leave(key, place, "has no value, so it would come from this host, whose variables a clone cannot read")
        return None
    text = sheet.text(key, node)
    if text is not None and reference_name(text):
        sheet.leave(
            key, node.place, "has a value that would be a reference to a variable of this host, so it is left out"
        )
        return None
    return text


def read_build(key: str, node: Node, base: PurePosixPath, sheet: Sheet) -> Branch | None:
    """Return how an image is built, its folder relative to the project; ``None`` when it cannot be, which is listed then."""
    said = dict(node.children) if isinstance(node, Branch) else {"context": node}
    context = sheet.text(f"{key}.context", said.pop("context")) if not is_null(said.get("context")) else "."
    said.pop("context", None)
    path = inside(base, context) if context is not None else None
    if path is None:
        if context is not None:
            sheet.leave(key, node.place, f"{OUTSIDE}, so it is not built")
        return None
    found: dict[str, Node] = {"context": Leaf(f"./{path}" if path.parts else ".", node.place)}
    for name, below in said.items():
        if is_null(below):
            continue
        if name == "dockerfile":
            text = sheet.text(f"{key}.dockerfile", below)
            file = inside(PurePosixPath(), text) if text is not None else None
            if file is None:
                sheet.leave(
                    f"{key}.dockerfile", below.place, "lies outside the folder that the build sees, so it is not built"
                )
                return None
            found[name] = Leaf(str(file), below.place)
        elif name == "target":
            found[name] = Leaf(sheet.text(f"{key}.target", below), below.place)
        elif name == "args":
            args = {
                arg: Leaf(text, value.place, note_of(value), text=text)
                for arg, value, place in sheet.entries(f"{key}.args", below)
                if (text := env_value(f"{key}.args.{arg}", value, place, sheet)) is not None
            }
            found[name] = Branch(args, below.place, {arg: value.place for arg, value in args.items()})
        elif name == "dockerfile_inline":
            sheet.leave(f"{key}.{name}", below.place, "has no counterpart, so it is not built; write it into a file")
            return None
        else:
            sheet.leave(f"{key}.{name}", below.place, "has no counterpart")
    return Branch(found, node.place, {name: below.place for name, below in found.items()})
