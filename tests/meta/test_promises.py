"""Every promise names tests, and every test that is named exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text()
NAMED = re.findall(r"^- `(tests/[\w/]+\.py)::(\w+)`$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions


def test_every_promise_names_a_test() -> None:
    promises = re.findall(r"^\*\*.*?(?=^\*\*|^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert len(promises) > 8
    for promise in promises:
        assert re.search(r"^- `tests/", promise, re.MULTILINE), promise.splitlines()[0]


def test_nothing_that_looks_like_a_test_escapes_the_check() -> None:
    assert len(re.findall(r"tests/[\w/]+\.py", PAGE)) == len(NAMED)
