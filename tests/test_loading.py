"""Names that are loaded on first use: each is what its import says, and nothing hides it."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAZY = sorted(
    path for path in (ROOT / "nexus").rglob("*.py") if "on_first_use(" in path.read_text() and path.name != "loading.py"
)


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _promised(path: Path) -> Iterator[tuple[str, str]]:
    """Give the names and their homes that type checkers see."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for found in node.body:
                assert isinstance(found, ast.ImportFrom)
                assert found.module is not None
                yield from ((name.asname or name.name, found.module) for name in found.names)


def _loaded(path: Path) -> Iterator[tuple[str, str]]:
    """Give the names and their homes that the interpreter goes by."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "on_first_use":
            given = {"__all__": importlib.import_module(_module(path)).__all__}
            for home, names in eval(ast.unparse(node.args[1]), given).items():
                yield from ((name, home) for name in names)


@pytest.mark.parametrize("path", LAZY, ids=_module)
def test_what_type_checkers_see_is_what_is_loaded(path: Path) -> None:
    assert sorted(_promised(path)) == sorted(_loaded(path))
    assert {name for name, _ in _loaded(path)} <= {*importlib.import_module(_module(path)).__all__}


@pytest.mark.parametrize("path", LAZY, ids=_module)
def test_every_name_is_there_and_is_listed(path: Path) -> None:
    module = importlib.import_module(_module(path))
    for name, home in _loaded(path):
        there = importlib.import_module(home)
        expected = getattr(there, name) if hasattr(there, name) else importlib.import_module(f"{home}.{name}")
        assert getattr(module, name) is expected
        assert name in dir(module)


@pytest.mark.parametrize("path", [path for path in LAZY if path.name == "__init__.py"], ids=_module)
def test_no_module_takes_the_place_of_a_name(path: Path) -> None:
    own = {below.stem for below in path.parent.iterdir()}
    assert [name for name, home in _loaded(path) if name in own and home != _module(path)] == []


def test_a_name_that_is_not_there_is_said_as_usual() -> None:
    module = importlib.import_module("nexus.git")
    with pytest.raises(AttributeError, match=r"module 'nexus\.git' has no attribute 'nonsense'"):
        _ = module.nonsense


def test_all_of_it_can_be_loaded_at_once() -> None:
    code = (
        "import sys; from nexus import git; from nexus.loading import load_all; load_all(git); "
        "print({name for name in git.__all__ if name not in vars(git)}, 'nexus.git.worktrees' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["set()", "True"]


def test_one_name_does_not_load_the_others() -> None:
    code = "import sys; from nexus.git import find_repository; print('nexus.git.worktrees' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False"]
