"""A folder that stands for a tree, and access to its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nexus.workspace.files import FileSystem


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    return tree


@pytest.fixture
def fs(root: Path) -> Iterator[FileSystem]:
    """Access that leaves no descriptor open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield FileSystem(root)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
