"""Single values from the command line and from the environment, under effective keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from nexus.config.bounds import MAX_DEPTH, UNUSABLE
from nexus.config.catalogue import ANY_NAME, Key, catalogue
from nexus.config.effective import implied
from nexus.config.layers import Branch, Items, KeyPath, Leaf, Node, Place, child, join_key, plain, split_key, with_child
from nexus.config.merge import merge_branches
from nexus.config.problems import Problems, perhaps, quoted
from nexus.config.schema import Effective
from nexus.config.validation import normalise
from nexus.errors import ConfigError

SHORT_NAMES: Final[Mapping[str, KeyPath]] = {
    "backend": ("defaults", "backend"),
    "idle_timeout": ("defaults", "idle_timeout"),
    "image": ("defaults", "image"),
    "isolation": ("defaults", "isolation"),
    "submodules": ("defaults", "submodules"),
    "lfs": ("defaults", "lfs"),
    "port": ("ports", "web", "host"),
    "resources": ("defaults", "resources"),
}
"""Names that stand for a key: as a flag ``--idle-timeout``, as a variable ``NEXUS_IDLE_TIMEOUT``."""

PREFIX: Final = "NEXUS_"
NOT_SETTINGS: Final = frozenset(
    {
        "NEXUS_STATE_DIR",
        "NEXUS_SECRETS_PASSPHRASE",
        "NEXUS_REQUIRE",
        "NEXUS_TEST_DOCKER_HOST",
        "NEXUS_TEST_CRIU_DOCKER_HOST",
        "NEXUS_HOOK",
    }
)
"""Variables of ours that are no configuration keys: the folder of the state, what tests may not skip, what a script is told."""
NOT_SETTINGS_PREFIX: Final = "NEXUS_WORKSPACE"
"""Variables that begin so tell a program inside a workspace where it is; only ``NEXUS_WORKSPACE__NAME`` and the like are keys."""

NODE_ONLY: Final = frozenset({"limits", "multi_user", "network"})
"""Sections that neither flags nor the environment can set: they bind whoever starts the program."""


def parse_assignment(text: str) -> tuple[str, JsonValue]:
    """Return key and value of ``KEY=VALUE`` as ``--set`` takes it.

    The value is read as YAML, so ``3000`` is a number, ``null`` removes and ``[a, b]`` is a list. Where the key takes text the
    value is taken as it stands (``defaults.image=1.20`` is an image, not a number); there too ``null`` removes.

    Args:
        text: For example ``defaults.image=python:3.12``.

    Raises:
        ConfigError: When there is no ``=``, no key, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{quoted(text)} is not KEY=VALUE", hint="for example: --set defaults.image=python:3.12")
    problems = Problems()
    path = key_path(key.strip())
    node = _read(path or (), value, Place("flag --set"), problems)
    problems.raise_any()
    return key.strip(), None if node is None else plain(node)


def key_path(key: str) -> KeyPath | None:
    """Return the effective key that a flag's key means, ``None`` when it cannot be one."""
    return SHORT_NAMES.get(key) or split_key(key)


def tree_of(value: JsonValue, place: Place) -> Node:
    """Return a JSON value as a tree, everything at one place.

    Raises:
        ConfigError: When it is nested deeper than a file may be, or is no JSON value.
    """
    return _tree(value, place, MAX_DEPTH)


def _tree(value: object, place: Place, depth: int) -> Node:
    if depth < 0:
        raise ConfigError(f"{place}: the value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        children = {str(name): _tree(below, place, depth - 1) for name, below in value.items()}
        return Branch(children, place, dict.fromkeys(children, place))
    if isinstance(value, list | tuple):
        return Items(tuple(_tree(below, place, depth - 1) for below in value), place)
    if value is None or isinstance(value, str | int | float):
        return Leaf(value, place)
    raise ConfigError(f"{place}: a {type(value).__name__} is not a value that a key can have")


def flag_layer(flags: Mapping[str, JsonValue], problems: Problems) -> Branch:
    """Return the layer of some flags. A shorter key is set before a longer one, whatever their order.

    Args:
        flags: Values by effective key or short name.
        problems: Gets what is wrong.
    """
    layer = Branch({}, Place("flag --set"))
    for key, value in sorted(flags.items(), key=lambda item: len(key_path(item[0]) or ())):
        place = Place(f"flag --{key.replace('_', '-')}" if key in SHORT_NAMES else "flag --set")
        path = key_path(key)
        if path is None:
            problems.add(place, f"{quoted(key)} is not a key")
            continue
        layer = _assign(layer, path, tree_of(value, place), problems)
    return implied(layer)


def environment_layer(env: Mapping[str, str], lower: Branch, problems: Problems) -> Branch:
    """Return the layer of the variables whose names begin with ``NEXUS_``. An empty variable counts as unset.

    Args:
        env: The environment.
        lower: The layers below, merged: names of ports and the like are found in it.
        problems: Gets what is wrong.
    """
    layer = Branch({}, Place("environment"))
    found: list[tuple[KeyPath, str]] = []
    for name in sorted(env):
        if not name.startswith(PREFIX) or not env[name] or _is_not_setting(name):
            continue
        path = _variable_path(name, lower)
        if path is None:
            problems.add(Place(f"env {name}"), f"unknown variable {quoted(name)}{perhaps(name, _variable_names())}")
        else:
            found.append((path, name))
    for path, name in sorted(found, key=lambda item: (len(item[0]), item[1])):
        place = Place(f"env {name}")
        node = _read(path, env[name], place, problems)
        if node is not None:
            layer = _assign(layer, path, node, problems)
    return implied(layer)


def _is_not_setting(name: str) -> bool:
    sections = tuple(f"{PREFIX}{section}__" for section in ("WORKSPACE", "WORKSPACES"))
    return name in NOT_SETTINGS or (name.startswith(NOT_SETTINGS_PREFIX) and not name.startswith(sections))


def _read(path: KeyPath, text: str, place: Place, problems: Problems) -> Node | None:
    key = catalogue(Effective).find(path) if path else None
    if key is not None and key.kind == "text":
        return _usable(Leaf(None if text in {"null", "~"} else text, place), problems)
    from nexus.config.places import read_value  # noqa: PLC0415 - loads yaml

    inner = Problems()
    node = read_value(text, Place(place.source), inner)
    for problem in inner:
        problems.add(place, problem.sentence, hint=problem.hint)
    return None if node is None else _moved(node, place)


def _usable(leaf: Leaf, problems: Problems) -> Leaf | None:
    text = leaf.value if isinstance(leaf.value, str) else ""
    if UNUSABLE.search(text):
        problems.add(leaf.place, "the value is not UTF-8 text")
        return None
    return leaf


def _moved(node: Node, place: Place) -> Node:
    """Give a value that was read from one line of text the place that the line came from."""
    match node:
        case Leaf():
            return Leaf(node.value, place, text=node.text)
        case Items():
            return Items(tuple(_moved(item, place) for item in node.items), place)
        case Branch():
            children = {name: _moved(below, place) for name, below in node.children.items()}
            return Branch(children, place, dict.fromkeys(children, place))


def _assign(layer: Branch, path: KeyPath, node: Node, problems: Problems) -> Branch:
    if path[0] in NODE_ONLY:
        problems.add(node.place, f"{quoted(join_key(path))} is a rule of the node; only the node's own file sets it")
        return layer
    if len(path) > MAX_DEPTH:
        problems.add(node.place, f"{quoted(join_key(path))} has too many names")
        return layer
    checked = normalise(Effective, with_child(Branch({}, node.place), path, node), problems)
    return layer if checked is None else merge_branches(layer, checked)


def _variable_path(name: str, lower: Branch) -> KeyPath | None:
    words = name[len(PREFIX) :]
    if "__" not in words:
        return SHORT_NAMES.get(words.lower()) if words.isupper() else None
    parts = words.split("__")
    if parts[0] == "ENV":
        return ("env", "__".join(parts[1:]))
    key: Key | None = catalogue(Effective)
    path: list[str] = []
    for part in parts:
        here = child(lower, *path)
        there = here.children if isinstance(here, Branch) else {}
        known = [*key.children, *there] if key is not None else []
        spelled = part.lower()
        name_here = next((other for other in known if other.lower().replace("-", "_") == spelled), spelled)
        key = key.below(name_here) if key is not None and part else None
        if key is None:
            return None
        path.append(name_here)
    return tuple(path)


def _variable_names() -> list[str]:
    long_names = [
        PREFIX + "__".join(path).replace("-", "_")
        for path, _ in catalogue(Effective).walk()
        if ANY_NAME not in path and path[0] not in NODE_ONLY and len(path) > 1
    ]
    return [name.upper() for name in (*(PREFIX + short for short in SHORT_NAMES), *long_names)]
