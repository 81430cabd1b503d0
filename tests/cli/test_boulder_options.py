"""Options before and after the command, completion, the reference page, and how long a command may be."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from cli_example import reference
from cli_example.app import build
from cli_example.options import Shared, pairs
from tests.cli.conftest import ROOT, Boulder

texts = st.none() | st.text(min_size=1, max_size=3)
shareds = st.builds(
    Shared,
    project=st.none() | st.just(Path("x")),
    backend=texts,
    assignments=st.lists(st.text(max_size=3)).map(tuple),
    json=st.booleans(),
    verbose=st.booleans(),
)


@given(shareds, shareds, shareds)
def test_what_stands_further_right_is_on_top(one: Shared, two: Shared, three: Shared) -> None:
    assert one.then(two).then(three) == one.then(two.then(three))
    assert one.then(Shared()) == Shared().then(one) == one
    assert one.then(two).backend == (two.backend or one.backend)
    assert one.then(two).assignments == one.assignments + two.assignments


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "defaults.image=x", "--backend", "b", "--json", "config", "explain", "defaults.image"],
        ["config", "--set", "defaults.image=x", "--backend", "b", "--json", "explain", "defaults.image"],
        ["config", "explain", "defaults.image", "--json", "--backend", "b", "--set", "defaults.image=x"],
        ["--set", "defaults.image=y", "config", "--backend", "a", "explain", "--image", "x", "defaults.image", "--json", "--backend", "b"],
    ],
)  # fmt: skip
def test_shared_options_stand_anywhere(bare: Boulder, words: list[str]) -> None:
    told = bare(*words).json
    assert isinstance(told, dict)
    assert (told["value"], told["winner"]) == ("x", "flags")


def test_the_settings_with_an_option_of_their_own(bare: Boulder) -> None:
    told = bare(
        "config",
        "show",
        "--json",
        "--port",
        "3000",
        "--resources",
        "small",
        "--idle-timeout",
        "4h",
        "--set",
        "ports.web.container=80",
    ).json
    assert isinstance(told, dict)
    assert told["ports"] == {"web": {"container": 80, "host": 3000}}


def test_pairs_are_cut_at_the_first_equals_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "h")
    monkeypatch.delenv("NOT_HERE", raising=False)
    assert pairs(["a=b=c", "d="], "--x") == {"a": "b=c", "d": ""}
    assert pairs(["HERE", "NOT_HERE"], "--x", inherit=True) == {"HERE": "h"}
    for wrong in ("a", "=b"):
        with pytest.raises(typer.BadParameter):
            pairs([wrong], "--x")


def complete(bare: Boulder, line: str, cwd: Path | None = None) -> list[str]:
    env = {
        **bare.environment(),
        "_BOULDER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    ran = subprocess.run(
        [sys.executable, "-m", "cli_example"], cwd=cwd or bare.cwd, env=env, capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    return ran.stdout.split()


def test_names_complete_in_every_folder_of_the_repository(bare: Boulder, tmp_path: Path) -> None:
    records = bare.cwd / ".nexus" / "state" / "workspaces"
    records.mkdir(parents=True)
    for name in ("auth.json", "auth-2.json", "ui.json", "$(touch x).json", "-x.json", "auth.tmp"):
        (records / name).write_text("")
    tree = bare.cwd / ".nexus" / "worktrees" / "ui" / "src"
    tree.mkdir(parents=True)
    (tree.parent / ".git").write_text("gitdir: /nowhere\n")
    assert complete(bare, "boulder ws show a") == ["auth", "auth-2"]
    assert complete(bare, "boulder ws exec ", cwd=tree) == ["auth", "auth-2", "ui"]
    assert complete(bare, "boulder --project app/src ws down u", cwd=tmp_path) == ["ui"]
    assert complete(bare, "boulder ws down --project app u", cwd=tmp_path) == ["ui"]
    assert complete(bare, "boulder ws list --status pa") == ["paused"]
    assert "workspace" in complete(bare, "boulder w")


def test_completion_is_silent_where_there_is_nothing(bare: Boulder, tmp_path: Path) -> None:
    assert complete(bare, "boulder ws show a") == []
    assert complete(bare, "boulder ws show a", cwd=tmp_path) == []
    (bare.cwd / ".nexus").write_text("a file")
    assert complete(bare, "boulder ws show a") == []


def test_completion_is_installed_by_an_option(bare: Boulder) -> None:
    bare.env["SHELL"] = "/bin/bash"
    assert "--install-completion" in bare("--help").text
    assert "--show-completion" in bare("--help").text


def test_help_loads_nothing_heavy() -> None:
    heavy = ("anyio", "dulwich", "yaml", "aiohttp", "rich")
    code = (
        "import sys, cli_example; cli_example.main(['ws', 'up', '--help']); "
        f"print('loaded', *[name for name in {heavy!r} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "loaded"


def test_the_reference_page_is_up_to_date() -> None:
    path = ROOT / "docs" / "reference" / "boulder.md"
    assert path.read_text() == reference.page(), "run: python -m cli_example.reference > docs/reference/boulder.md"


def test_every_command_of_every_group_is_in_the_reference() -> None:
    program = build()
    text = reference.page()
    seen = 0
    for name, part in vars(program)["commands"].items():
        for below, command in vars(part).get("commands", {}).items() if name != "workspace" else ():
            for words in [f"{below} {last}" for last in vars(command).get("commands", {})] or [below]:
                seen += 1
                assert f"## `boulder {name} {words}`" in text
    assert seen > 30


@pytest.mark.parametrize("module", ["config", "editor", "inside", "project", "workspace"])
def test_no_command_is_longer_than_fifteen_lines(module: str) -> None:
    source = inspect.getsource(importlib.import_module(f"cli_example.commands.{module}"))
    commands = [node for node in ast.parse(source).body if isinstance(node, ast.AsyncFunctionDef)]
    assert commands
    for node in commands:
        assert ast.get_docstring(node), node.name
        body = node.body[1:]
        last = body[-1].end_lineno or 0
        assert last - body[0].lineno + 1 <= 15, node.name
