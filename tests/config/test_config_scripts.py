"""Scripts and hooks in the three files: their forms, their limits, where they come from, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import JsonValue

from nexus.config import LayerKind
from nexus.errors import ConfigError
from nexus.models.hooks import HookName
from tests.config.conftest import Site


def test_every_moment_has_its_key_and_its_limit(site: Site) -> None:
    site.project(
        "scripts:\n  pre-start: npm ci\n  post-create: {run: make db, timeout: 1h}\n  post-start: npm run dev &\n"
        "  pre-stop: make down\n  timeout: 20m\nhooks:\n  on_wake: {run: w}\n  on_sleep: s\n"
    )
    told = {hook.name: (hook.run, hook.timeout) for hook in site.load().settings.hooks}
    assert told == {
        HookName.PRE_START: ("npm ci", timedelta(minutes=20)),
        HookName.POST_CREATE: ("make db", timedelta(hours=1)),
        HookName.POST_START: ("npm run dev &", timedelta(minutes=20)),
        HookName.PRE_STOP: ("make down", timedelta(minutes=20)),
        HookName.ON_WAKE: ("w", timedelta(minutes=1)),
        HookName.ON_SLEEP: ("s", timedelta(minutes=1)),
    }


def test_layers_override_and_null_removes(site: Site) -> None:
    site.project("scripts: {pre-start: one, post-start: two}\nhooks: {timeout: null, on_wake: x}\n")
    stack = site.load(
        flags={"scripts.pre-start.timeout": "3s", "scripts.post-start": None},
        env={"NEXUS_HOOKS__ON_WAKE": "#!/bin/sh: y"},
    )
    assert {hook.name: (hook.run, hook.timeout) for hook in stack.settings.hooks} == {
        HookName.PRE_START: ("one", timedelta(seconds=3)),
        HookName.ON_WAKE: ("#!/bin/sh: y", None),
    }
    assert stack.origin("scripts.pre-start.run") == (LayerKind.PROJECT, f"{site.root}/.nexus/config.yaml:1:22")
    assert stack.origin("hooks.on_wake.run") == (LayerKind.ENVIRONMENT, "env NEXUS_HOOKS__ON_WAKE")
    assert stack.origin("scripts.pre-stop.run") is None


def test_nexus_can_be_used_in_a_script(site: Site) -> None:
    """What a script is told about its moment is no setting."""
    assert site.load(env={"NEXUS_HOOK": "post-start", "NEXUS_WORKSPACE": "a"}).settings.hooks == ()


def test_a_user_may_override_for_one_folder_but_not_for_a_name(site: Site) -> None:
    site.project("scripts: {pre-start: theirs}\n")
    site.user(
        f"workspaces: {{mine: {{path: {site.root}}}}}\nproject_overrides: {{mine: {{scripts: {{pre-start: mine}}}}}}\n"
    )
    stack = site.load()
    assert [hook.run for hook in stack.settings.hooks] == ["mine"]
    origin = stack.origin("scripts.pre-start.run")
    assert origin is not None
    assert origin[0] is LayerKind.OVERRIDE
    site.user("project_overrides:\n  bank:\n    hooks: {on_wake: x}\n    scripts: {pre-start: x}\n")
    assert [line.partition(" needs ")[0] for line in site.problems()] == [
        "user:3:12: 'project_overrides.bank.hooks'",
        "user:4:14: 'project_overrides.bank.scripts'",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scripts: {pre-start: '  '}", "project:1:22: 'scripts.pre-start' must not be empty; write null to have none"),
        ("scripts: {pre-start: 3}", "project:1:22: 'scripts.pre-start' must be text, not 3"),
        ("scripts: {pre-start: [a]}", "project:1:22: 'scripts.pre-start' must be text, not a list"),
        (
            'scripts:\n  pre-start: "#!bash"',
            "project:2:14: 'scripts.pre-start' must name its interpreter by an absolute path",
        ),
        (
            "scripts: {pre-start: {run: x, timeout: 0}}",
            "project:1:40: 'scripts.pre-start.timeout' must be longer than zero",
        ),
        ("scripts: {prestart: x}", "project:1:11: unknown key 'scripts.prestart'; perhaps you meant 'pre-start'"),
        ("hooks: {on_wake: {script: x}}", "project:1:19: unknown key 'hooks.on_wake.script'"),
    ],
)
def test_mistakes_are_named_with_their_place(site: Site, text: str, said: str) -> None:
    site.project(text + "\n")
    (line,) = site.problems()
    assert line.startswith(said)


@pytest.mark.parametrize("value", ["echo\0", "echo \ud800", "#" * 1_048_577])
def test_what_no_program_can_be_given_is_refused(site: Site, value: JsonValue) -> None:
    with pytest.raises(ConfigError, match=r"scripts\.pre-start"):
        site.load(flags={"scripts.pre-start": value})


def test_a_script_of_a_megabyte_is_read(site: Site) -> None:
    site.project("scripts:\n  pre-start: |\n" + "    # padding padding padding\n" * 34_000 + "    echo end\n")
    (hook,) = site.load().settings.hooks
    assert len(hook.run) > 800_000
    assert hook.run.endswith("echo end\n")
