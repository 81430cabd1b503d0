from __future__ import annotations

import pytest

from nexus.config import ConfigStack, LayerKind
from nexus.config.redact import HIDDEN, redacted
from tests.config.conftest import Site


def test_the_table_is_for_people(site: Site) -> None:
    node = site.node("defaults:\n  image: base\n")
    project = site.project("backend:\n  docker:\n    image: node:20\n")
    assert str(site.load(flags={"image": "mine"}).explain("defaults.image")).splitlines() == [
        line.rstrip()
        for line in (
            "defaults.image = mine",
            f"   LAYER     PLACE{' ' * (len(str(project)))}  VALUE",
            f"   built-in  built-in{' ' * (len(str(project)) - 3)}  nexus-workspace:latest",
            f"   node      {node}:2:10{' ' * (len(str(project)) - len(str(node)))}  base",
            f"   project   {project}:3:12  node:20  (backend.docker.image)",
            f"*  flags     flag --image{' ' * (len(str(project)) - 7)}  mine",
        )
    ]


def test_a_map_is_won_by_everyone_who_still_has_a_part_in_it(site: Site) -> None:
    site.user("defaults: {resources: large}\n")
    site.project("resources: {memory: 1G}\n")
    explanation = site.load().explain("defaults.resources")
    assert [(entry.layer, entry.wins) for entry in explanation.layers] == [
        (LayerKind.BUILT_IN, False),
        (LayerKind.USER, True),
        (LayerKind.PROJECT, True),
    ]
    assert explanation.winner is LayerKind.PROJECT
    assert "(large)" in str(explanation)


def test_a_list_belongs_to_one_layer(site: Site) -> None:
    site.user("secrets: {env_files: [a, b]}\n")
    explanation = site.load(flags={"secrets.env_files": ["c"]}).explain("secrets.env_files")
    assert explanation.value == ["c"]
    assert [entry.value for entry in explanation.layers] == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("backends.sprite.api_key", "sk-123456", HIDDEN),
        ("backends.sprite.api_key", "env:SPRITE_API_KEY", "env:SPRITE_API_KEY"),
        ("env.GITHUB_TOKEN", "ghp_x", HIDDEN),
        ("env.DB_PASSWORD", "p", HIDDEN),
        ("env.CLIENT_SECRET", "p", HIDDEN),
        ("env.AWS_ACCESS_KEY_ID", "p", HIDDEN),
        ("env.DATABASE_URL", "postgres://me:hunter2@db/x", f"postgres://me:{HIDDEN}@db/x"),
        ("env.REDIS_URL", "redis://:p@ss@db", f"redis://:{HIDDEN}@db"),
        ("env.PLAIN", "https://host:80/x", "https://host:80/x"),
        ("backends.podman.tokens", ["a", "b"], [HIDDEN, HIDDEN]),
        ("backends.podman.token", {"value": "a", "n": 5}, {"value": HIDDEN, "n": HIDDEN}),
        ("secrets.named.API_TOKEN", {"source": "env", "var": "X"}, {"source": "env", "var": "X"}),
        ("daemon.tls", {"cert": "/c.pem", "key": "/k.pem"}, {"cert": "/c.pem", "key": "/k.pem"}),
    ],
)
def test_what_looks_secret_is_hidden_but_references_are_not(site: Site, key: str, value: object, shown: object) -> None:
    stack: ConfigStack = site.load(flags={key: value})  # type: ignore[dict-item]
    explanation = stack.explain(key)
    assert explanation.value == shown
    assert explanation.layers[-1].value == shown
    whole = stack.to_json()
    for name in key.split("."):
        assert isinstance(whole, dict)
        whole = whole[name]  # type: ignore[assignment]
    assert whole == shown
    assert stack.get(key) == value
    if shown != value:
        assert not any(text in str(explanation) for text in ("hunter2", "ghp_x", "sk-123456"))


def test_truth_values_and_nothing_are_never_secret() -> None:
    assert redacted(("token",), {"a": True, "b": None}) == {"a": True, "b": None}


def test_effective_settings_are_json(site: Site) -> None:
    shown = site.load().to_json()
    assert shown["defaults"] == {
        "backend": "docker",
        "git_identity": True,
        "idle_timeout": "30m",
        "stop_after": "4h",
        "stop_below": 256 * 1024**2,
        "switch": "pause",
        "image": "nexus-workspace:latest",
        "keep_destroyed": "14d",
        "resources": {"cpu": {"cores": 2.0}, "memory": {"bytes": 4 * 1024**3}, "storage": {"bytes": 50 * 1024**3}},
        "isolation": "worktree",
        "worktree_include_max": 1024**3,
    }


def test_a_hostile_value_cannot_move_the_cursor(site: Site) -> None:
    site.project('workspace: {description: "\\e[2J\\u202e"}\n')
    text = str(site.load().explain("workspace.description"))
    assert all(line.isprintable() for line in text.splitlines())


def test_the_stack_shows_itself_without_values(site: Site) -> None:
    shown = repr(site.load(flags={"env.TOKEN": "hunter2"}))
    assert "hunter2" not in shown
    assert "flags" in shown
