"""Files that break readers of YAML: each gives an answer with a place, in bounded time and memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus.config import ConfigStack
from nexus.config.bounds import MAX_DEPTH, MAX_NODES, MAX_TEXT
from nexus.config.layers import Branch, Items, Node
from nexus.config.places import read_tree
from nexus.config.problems import Problems
from nexus.errors import ConfigError
from tests.config.conftest import Site

LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
LONG = "x" * 100_000

SMALL: dict[str, tuple[bytes, str]] = {
    "a tab that indents": (b"defaults:\n\timage: x\n", r":2:1: a tab cannot indent YAML"),
    "a tab among spaces": (b"defaults:\n  \timage: x\n  y: z\n", r":\d:\d+: "),
    "the same key twice": (b"env: {A: 1}\nenv: {B: 2}\n", r":2:1: the key 'env' is here twice; the first is in line 1"),
    "the same key twice, deep": (
        b"ports:\n  web: 1\n  web: 2\n",
        r":3:3: the key 'ports\.?web'|:3:3: the key 'web' is here twice",
    ),
    "an alias without anchor": (b"env: *x\n", r":1:6: the alias '\*x' has no anchor"),
    "an alias of itself": (b"env: &a {A: *a}\n", r":1:13: the alias '\*a' stands inside what it names"),
    "an alias as key": (b"a: &k x\n*k : 1\n", r":2:1: a key must be plain text, not an alias"),
    "a merge key": (b"a: &a {x: 1}\nb: {<<: *a}\n", r":2:5: merge keys \('<<'\) cannot be used"),
    "a billion laughs": (LAUGHS.encode(), r":\d+:\d+: more than 10000 values, aliases counted"),
    "10,000 lists in each other": (b"a: " + b"[" * 10_000, r":1:\d+: nested deeper than 32 levels"),
    "10,000 closed lists": (b"a: " + b"[" * 10_000 + b"]" * 10_000, r":1:\d+: nested deeper than 32 levels"),
    "10,000 maps in each other": (b"{a: " * 10_000, r":1:\d+: nested deeper than 32 levels"),
    "1,000 maps in block form": ("".join(" " * n + "a:\n" for n in range(1_000)).encode(), r":\d+:\d+: nested deeper"),
    "10,000 dashes": (b"- " * 10_000, r":1:\d+: nested deeper than 32 levels"),
    "10,000 question marks": (b"? " * 10_000, r":1:\d+: (a key must be plain text|nested deeper)"),
    "20,000 keys": ("".join(f"k{n}: 1\n" for n in range(20_000)).encode(), r":\d+:\d+: more than 10000 values"),
    "9,000 unknown keys": ("".join(f"k{n}: 1\n" for n in range(4_500)).encode(), r":1:1: unknown key 'k0'"),
    "a million characters in a value": (
        f"workspace: {{description: {'x' * 1_000_000}}}".encode(),
        r":1:26: 'workspace\.description' cannot",
    ),
    "a million characters in a key": (b"x" * 1_000_000 + b": 1\n", r":1:\d+: "),
    "900 KiB of comments and a slip": (b"# x\n" * 230_000 + b"x: 1\n", r":230001:1: unknown key 'x'"),
    "UTF-16, little end first": ("env: {}\n".encode("utf-16"), r":1:1: the file is UTF-16, not UTF-8"),
    "UTF-16, big end first": (b"\xfe\xff" + "env: {}\n".encode("utf-16-be"), r":1:1: the file is UTF-16, not UTF-8"),
    "UTF-16 without a mark": ("env: {}\n".encode("utf-16-le"), r":1:2: the character U\+0000 cannot be used"),
    "UTF-32": ("env: {}\n".encode("utf-32"), r":1:1: "),
    "Latin-1": ("env: {A: é}\n".encode("latin-1"), r":1:10: the file is not UTF-8: byte 0xe9"),
    "half a character": (b"env: {A: \xe2\x82}\n", r":1:10: the file is not UTF-8"),
    "a NUL": (b"env: {A: \x00}\n", r":1:10: the character U\+0000 cannot be used"),
    "an escape sequence": (b"env: {A: \x1b[31m}\n", r":1:10: the character U\+001B cannot be used"),
    "an escaped NUL": (b'env: {A: "\\0"}\n', r":1:10: a NUL character or half of a surrogate pair"),
    "half a surrogate pair": (b'env: {A: "\\ud800"}\n', r":1:1\d: "),
    "a second document": (b"env: {}\n---\nenv: {}\n", r":2:1: a second document \('---'\) starts here"),
    "10,000 documents": (b"---\nenv: {}\n" * 10_000, r":3:1: a second document"),
    "a tag of Python's": (
        b"env: !!python/object/apply:os.system ['true']\n",
        r":1:6: the tag '.*python/object/apply:os.system'",
    ),
    "a tag of one's own": (b"env: !secret x\n", r":1:6: the tag '!secret' cannot be used"),
    "a tag of YAML's": (b"env: {A: !!binary aGk=}\n", r":1:10: the tag '.*binary' cannot be used"),
    "a directive for another version": (b"%YAML 3.0\n---\nenv: {}\n", r":\d:\d+: "),
    "a directive that is none": (b"%TAG\n", r":1:\d+: bad YAML"),
    "infinity": (b"resources: {cpu: .inf}\n", r":1:18: 'resources\.cpu' must be a number, not '\.inf'"),
    "not a number": (b"resources: {cpu: .nan}\n", r":1:18: 'resources\.cpu' must be a number, not '\.nan'"),
    "1e999": (b"resources: {cpu: 1e999}\n", r":1:18: 'resources\.cpu' must be at most 4096, not '1e999'"),
    "a number of 400 digits": (
        b"ports: {web: " + b"9" * 400 + b"}\n",
        r":1:14: 'ports\.web' must be at most 65535, not",
    ),
    "yes": (b"workspace: {name: yes, description: 1}\n", r":1:37: 'workspace\.description' must be text, not 1"),
    "a date for a number": (
        b"ports: {web: 2026-01-01}\n",
        r":1:14: 'ports\.web' must be a whole number, not '2026-01-01'",
    ),
    "a number as key": (b"1: x\n", r":1:1: unknown key '1'"),
    "no key": (b": x\n", r":1:1: (a key is empty|bad YAML)"),
    "null as key": (b"env: {~: x}\n", r":1:7: 'env\.\"~\"' must be a variable's name"),
    "true as key": (b"true: x\n", r":1:1: unknown key 'true'"),
    "a list as key": (b"? [a]\n: b\n", r":1:3: a key must be plain text, not a map or a list"),
    "an open bracket": (b"env: {A: b\n", r":\d:\d+: bad YAML"),
    "an open quote": (b'env: {A: "b\n', r":\d:\d+: bad YAML"),
    "a colon too many": (b"env: A: b\n", r":1:7: bad YAML"),
    "text after a list": (b"env: [a] b\n", r":1:10: bad YAML"),
    "a list at the top": (b"- a\n- b\n", r":1:1: the file must hold 'key: value' lines at its top"),
    "a word": (b"hello\n", r":1:1: the file must hold 'key: value' lines at its top"),
    "binary": (bytes(range(256)), r":2:118: the file is not UTF-8: byte 0x80 cannot be here"),
}
FINE: dict[str, tuple[bytes, dict[str, str]]] = {
    "a byte order mark": (b"\xef\xbb\xbfenv: {A: b}\n", {"A": "b"}),
    "carriage returns alone": (b"env:\r  A: b\r  C: d\r", {"A": "b", "C": "d"}),
    "both": (b"env:\r\n  A: b\r\n", {"A": "b"}),
    "anchors and aliases": (b"env: {A: &x yes, B: *x, C: *x}\n", {"A": "yes", "B": "yes", "C": "yes"}),
    "words that are no truth": (
        b"env: {A: yes, B: on, C: 0755, D: 1_000, E: 12:30:00}\n",
        {"A": "yes", "B": "on", "C": "0755", "D": "1_000", "E": "12:30:00"},
    ),
    "no line end": (b"env: {A: b}", {"A": "b"}),
    "emoji": ("env: {A: 🦉}\n".encode(), {"A": "🦉"}),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_broken_file_is_an_error_with_its_place(site: Site, name: str) -> None:
    data, expected = SMALL[name]
    path = site.project(data)
    with pytest.raises(ConfigError) as caught:
        site.load()
    first = caught.value.problems[0]
    assert first.startswith(f"{path}:")
    assert re.search(expected, first.removeprefix(str(path))), first
    for line in caught.value.problems:
        assert line.isprintable()
        assert len(line) < len(str(path)) + 500
    assert len(caught.value.problems) <= 101
    assert next(str(problem) for problem in ConfigStack.validate(site.root, env={"HOME": str(site.home)})) == first


@pytest.mark.parametrize("name", FINE)
def test_a_file_that_only_looks_broken(site: Site, name: str) -> None:
    data, env = FINE[name]
    site.project(data)
    assert site.load().settings.env == env


def test_aliases_of_one_long_text_are_counted_by_their_length(site: Site) -> None:
    aliases = ", ".join(f"K{n}: *a" for n in range(MAX_TEXT // len(LONG) + 1))
    site.project(f"env: {{A: &a {LONG}, {aliases}}}\n")
    (line,) = site.problems()
    assert "more than 4096 KiB of text, aliases counted by what they stand for" in line


CHILD = """
import json, pathlib, resource, sys
from nexus.config import ConfigStack
from nexus.errors import ConfigError
import nexus.config.places as places, yaml
if sys.argv[2] == "python":
    places._LOADER = yaml.SafeLoader
root, answers = pathlib.Path(sys.argv[1]), {}
env = {"HOME": str(root / "home")}
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 192 * 1024 * 1024,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (50, 50))
for project in sorted(root.glob("p*")):
    try:
        stack = ConfigStack.load(project, env=env, node_file=root / "none")
        stack.settings.model_dump_json(); str(stack.explain("env")); json.dumps(stack.to_json())
        answers[project.name] = "loaded"
    except ConfigError as error:
        answers[project.name] = error.problems[0]
print(json.dumps(answers))
"""
HEAVY: dict[str, Callable[[Path], object]] = {
    "a sparse file of 100 MiB": lambda path: os.truncate(path, 100 * 1024 * 1024),
    "100 MiB of spaces": lambda path: path.write_bytes(b" " * 100 * 1024 * 1024),
    "a billion laughs": lambda path: path.write_bytes(LAUGHS.encode()),
    "10,000 levels": lambda path: path.write_text("a: " * 10_000),
    "10,000 levels of braces": lambda path: path.write_text("{a: " * 10_000 + "1" + "}" * 10_000),
    "10,000 lists in each other": lambda path: path.write_text("- " * 10_000 + "x"),
    "a megabyte of brackets": lambda path: path.write_bytes(b"a: " + b"[" * 1_000_000),
    "a megabyte of braces": lambda path: path.write_bytes(b"{" * 1_000_000),
    "a megabyte of anchors": lambda path: path.write_text("".join(f"a{n}: &a{n} x\n" for n in range(60_000))),
    "a megabyte of quotes": lambda path: path.write_bytes(b'"' * 1_000_000),
    "a megabyte of escapes": lambda path: path.write_bytes(b'a: "' + b"\\x41" * 250_000 + b'"'),
    "a megabyte of colons": lambda path: path.write_bytes(b":" * 1_000_000),
    "a megabyte of bars": lambda path: path.write_bytes(b"a: |\n" + b" \n" * 500_000),
    "a megabyte in one key": lambda path: path.write_bytes(b"x" * 1_000_000 + b": 1"),
    "one text of 100 KB, 8,000 times": lambda path: path.write_text(
        f"env: {{A: &a {LONG}, {', '.join(f'K{n}: *a' for n in range(8_000))}}}"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("parser", ["c", "python"])
def test_nothing_takes_much_memory_or_time(tmp_path: Path, parser: str) -> None:
    for number, make in enumerate(HEAVY.values()):
        path = tmp_path / f"p{number:02}" / ".nexus" / "config.yaml"
        path.parent.mkdir(parents=True)
        path.touch()
        make(path)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), parser], capture_output=True, text=True, timeout=55, check=False
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    answers = dict(zip(HEAVY, json.loads(done.stdout).values(), strict=True))
    assert "larger than 1024 KiB" in answers["a sparse file of 100 MiB"]
    for name, answer in answers.items():
        assert re.search(r"config\.yaml:\d+:\d+: ", answer), f"{name}: {answer}"


def size(node: Node) -> int:
    match node:
        case Branch():
            return 1 + sum(1 + size(below) for below in node.children.values())
        case Items():
            return 1 + sum(map(size, node.items))
        case _:
            return 1


def depth(node: Node) -> int:
    below = node.children.values() if isinstance(node, Branch) else node.items if isinstance(node, Items) else ()
    return 1 + max(map(depth, below), default=0)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=30))
def test_any_web_of_aliases_is_bounded(web: list[list[int]]) -> None:
    lines = [
        f"a{number}: &a{number} [{', '.join(f'*a{name}' if name < number else 'x' for name in row)}]\n"
        for number, row in enumerate(web)
    ]
    problems = Problems()
    tree = read_tree("".join(lines), "f", problems)
    if tree is None:
        assert re.search(r"f:\d+:\d+: (more than 10000 values|nested deeper)", problems.lines()[0])
    else:
        assert size(tree) <= MAX_NODES
        assert depth(tree) <= MAX_DEPTH + 1
