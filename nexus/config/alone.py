"""Each layer by itself: what is wrong with it whatever the others say, and would not show where another layer overrides it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from nexus.config import checks
from nexus.config.builtin import built_in
from nexus.config.files import Files
from nexus.config.layers import Branch, Layer, LayerKind, Leaf, child, with_child, without
from nexus.config.merge import merge_layers
from nexus.config.merged_settings import build_settings
from nexus.config.problems import Problem, Problems
from nexus.config.schema import Level

_BACKEND = ("defaults", "backend")


def check_each_alone(files: Files, *, level: Level | None, env: Mapping[str, str]) -> Iterator[Problem]:
    """Give what is wrong with each file's own layer, whatever the other files say.

    Args:
        files: What was read.
        level: The one file that is meant; all when absent.
        env: The environment.
    """
    sources = files.sources
    layers = [(layer, layer.kind) for layer in files.layers if layer.kind in sources]
    layers += [(layer, LayerKind.USER) for layer in files.overrides]
    for layer, kind in layers:
        if level is None or kind.value == level:
            for source in sources[kind]:
                yield from _check_alone(layer, source, root=files.root, env=env, home=files.home)


def _check_alone(
    layer: Layer, source: str, *, root: Path, env: Mapping[str, str], home: Path | None
) -> Iterator[Problem]:
    """Give what is wrong with one layer on top of the built-in defaults.

    What another layer may still complete is no problem here: a port without its number inside, a backend that is removed.

    Args:
        layer: The layer.
        source: The file it comes from; problems that others would have are left out.
        root: The project's root.
        env: The environment.
        home: The home folder, where there is one.
    """
    layers = (built_in(), replace(layer, root=_complete(layer.root)))
    merged = merge_layers(layers)
    found = Problems()
    settings = build_settings(merged, layers=layers, root=root, env=env, home=home, problems=found)
    if settings is not None:
        checks.check(settings, merged, layers, found)
    for problem in found:
        if problem.place.source == source:
            yield problem


def _complete(tree: Branch) -> Branch:
    ports = child(tree, "ports")
    for name, port in ports.children.items() if isinstance(ports, Branch) else ():
        if not any(
            isinstance(leaf := child(port, key), Leaf) and leaf.value is not None for key in ("container", "host")
        ):
            tree = without(tree, "ports", name)
    backend, usual = child(tree, *_BACKEND), child(built_in().root, *_BACKEND)
    if isinstance(backend, Leaf) and backend.value is None and usual is not None:
        tree = with_child(tree, _BACKEND, usual)
    return tree
