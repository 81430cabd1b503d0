"""What users may rely on: the names, their docstrings, and that nobody outside needs more."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import nexus

ROOT = Path(__file__).parents[2]
PUBLIC_PACKAGES = (
    "nexus",
    "nexus.abc",
    "nexus.config",
    "nexus.git",
    "nexus.ports",
    "nexus.providers",
    "nexus.providers.mock",
    "nexus.secrets",
    "nexus.state",
    "nexus.telemetry",
    "nexus.testing",
)
OUTSIDE = ("cli_example", "examples", "benchmarks")
DRIVERS = (
    "aiohttp",
    "aiodocker",
    "dulwich",
    "websockets",
    "yaml",
    "typer",
    "rich",
    "pydantic",
    "keyring",
    "cryptography",
)


def test_every_public_name_exists_and_is_listed_once() -> None:
    assert len(nexus.__all__) == len(set(nexus.__all__))
    for name in nexus.__all__:
        assert getattr(nexus, name) is not None
    assert set(nexus.__all__) <= set(dir(nexus))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        nexus.nothing  # noqa: B018


def _public_members(thing: type) -> list[tuple[str, object]]:
    return [(name, value) for name, value in vars(thing).items() if not name.startswith("_") and callable(value)]


@pytest.mark.parametrize("name", nexus.__all__)
def test_every_public_name_and_method_has_a_docstring(name: str) -> None:
    thing = getattr(nexus, name)
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return
    assert inspect.getdoc(thing), name
    if inspect.isclass(thing):
        for member, _ in _public_members(thing):
            assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"


def test_every_module_says_what_it_is() -> None:
    for module in pkgutil.walk_packages(nexus.__path__, "nexus."):
        source = Path(module.module_finder.path) / (module.name.rsplit(".", 1)[-1])  # type: ignore[union-attr]
        path = source / "__init__.py" if module.ispkg else source.with_suffix(".py")
        assert ast.get_docstring(ast.parse(path.read_text())), module.name


@pytest.mark.parametrize("folder", OUTSIDE)
def test_programs_outside_use_public_names_only(folder: str) -> None:
    """If a command needs a private name, the library is missing something."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nexus":
                public = node.module in PUBLIC_PACKAGES or node.module.startswith(("nexus.models.", "nexus.testing."))
                assert public or node.module == "nexus.errors", (
                    f"{path.name}:{node.lineno}: {node.module} is not public"
                )
                exported = getattr(importlib.import_module(node.module), "__all__", None)
                for alias in node.names:
                    assert not alias.name.startswith("_")
                    if exported is not None and node.module in PUBLIC_PACKAGES:
                        assert alias.name in exported, (
                            f"{path.name}:{node.lineno}: {node.module}.{alias.name} is not exported"
                        )


def test_importing_nexus_loads_no_driver() -> None:
    code = "import sys, nexus; print(*[name for name in sys.argv[1:] if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code, *DRIVERS], capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == []


def test_opening_needs_no_container_driver() -> None:
    code = "import sys, nexus; nexus.open; print(*[name for name in sys.argv[1:] if name in sys.modules])"
    drivers = ("aiohttp", "aiodocker", "websockets", "typer", "rich", "keyring", "cryptography")
    loaded = subprocess.run(
        [sys.executable, "-c", code, *drivers], capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == []
