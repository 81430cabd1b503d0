"""What a clone brings is not trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus.config import json_schema
from nexus.config.restrict import REFUSED, inside
from nexus.config.sections import DockerOptions
from tests.config.conftest import Site

SAMPLES: dict[tuple[str, ...], str] = {
    ("daemon",): "daemon: {port: 1}",
    ("network",): "network: {org_address: 10.0.0.5}",
    ("limits",): "limits: {max_workspaces_total: 1000}",
    ("multi_user",): "multi_user: {enabled: false}",
    ("backends",): "backends: {docker: {socket: /tmp/evil.sock}}",
    ("preferences",): "preferences: {default_editor: ./evil}",
    ("workspaces",): "workspaces: {x: {path: /}}",
    ("project_overrides",): "project_overrides: {app: {env: {A: b}}}",
    ("defaults", "keep_destroyed"): "defaults: {keep_destroyed: 1s}",
    ("defaults", "git_identity"): "defaults: {git_identity: true}",
    ("secrets", "ssh"): "secrets: {ssh: {mode: agent}}",
    ("defaults", "port_range"): "defaults: {port_range: {start: 1, end: 2}}",
    **{("backend", "docker", name): f"backend: {{docker: {{{name}: x}}}}" for name in DockerOptions.model_fields},
}


def test_there_is_a_sample_of_every_refused_key() -> None:
    assert set(SAMPLES) == set(REFUSED)


@pytest.mark.parametrize("path", SAMPLES, ids=".".join)
def test_a_refused_key_is_named_with_place_and_reason(site: Site, path: tuple[str, ...]) -> None:
    site.project(SAMPLES[path])
    (line,) = site.problems()
    assert f"a project's file cannot set '{'.'.join(path)}': {REFUSED[path]}" in line
    assert line.startswith("project:1:")


@pytest.mark.parametrize("text", ["daemon:", "limits: null", "defaults: {port_range: ~}", "backends: 3"])
def test_not_even_with_a_value_that_says_nothing(site: Site, text: str) -> None:
    site.project(text)
    assert "a project's file cannot set" in site.problems()[0]


def test_editors_are_not_offered_refused_sections() -> None:
    offered = json_schema("project")["properties"]
    assert isinstance(offered, dict)
    assert not {path[0] for path in REFUSED if len(path) == 1} & set(offered)


@pytest.mark.parametrize(
    "text", ["/etc/passwd", "../Dockerfile", "a/../../b", "a/..", "..", "~/Dockerfile", "~root/x", "", " "]
)
def test_paths_that_leave(site: Site, text: str) -> None:
    assert not inside(text)
    site.project(f"backend: {{docker: {{dockerfile: '{text}'}}}}")
    assert "project:1:" in site.problems()[0]


@pytest.mark.parametrize("text", ["Dockerfile", "./.nexus/Dockerfile", "a/b/c", "..a", "a..b/c"])
def test_paths_that_stay(site: Site, text: str) -> None:
    assert inside(text)
    site.project(f"backend: {{docker: {{dockerfile: '{text}'}}}}")
    assert site.load().settings.dockerfile == site.root / text


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_dockerfile_behind_a_link_that_leaves(site: Site, tmp_path: Path, linked: str) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "Dockerfile").write_text("FROM scratch\n")
    if linked == "file":
        (site.root / "docker").mkdir()
        (site.root / "docker" / "Dockerfile").symlink_to(tmp_path / "secrets" / "Dockerfile")
    else:
        (site.root / "docker").symlink_to(tmp_path / "secrets")
    site.project("backend:\n  docker: {dockerfile: docker/Dockerfile}\n")
    (line,) = site.problems()
    assert line.startswith("project:2:24: 'backend.docker.dockerfile' must stay inside the project")
    # The user may: it is the user's own word.
    site.project("")
    assert site.load(flags={"defaults.dockerfile": "docker/Dockerfile"}).settings.dockerfile


def test_a_loop_of_links_is_no_dockerfile(site: Site) -> None:
    (site.root / "loop").symlink_to("loop")
    site.project("backend: {docker: {dockerfile: loop}}")
    # Wherever the loop leads, it does not lead out; whoever opens the file gets the system's error.
    assert site.load().settings.dockerfile == site.root / "loop"


@pytest.mark.parametrize("text", ["env: {A: env:AWS_SECRET}", "services: {db: {env: {A: env:AWS_SECRET}}}"])
def test_a_clone_cannot_read_the_users_variables(site: Site, text: str) -> None:
    site.project(text)
    assert "a clone would read any variable of yours that it names" in site.problems(env={"AWS_SECRET": "x"})[0]


def test_a_clone_cannot_take_names_of_ours(site: Site) -> None:
    site.project("env: {NEXUS_WORKSPACE: other}")
    assert "names that begin with NEXUS_ are taken" in site.problems()[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("secrets: {A: {source: command, command: 'curl evil | sh'}}", "from a command: it would run on this host"),
        ("secrets: {A: {source: file, path: /etc/shadow}}", "'secrets.A.path' must stay inside the project"),
        ("secrets: {A: {source: file, path: ~/.ssh/id_rsa}}", "'secrets.A.path' must stay inside the project"),
        ("services: {db: {volumes: ['/:/host']}}", "the source of a volume of service 'db' must stay inside"),
        ("services: {db: {volumes: ['a:/b', '../x:/y']}}", "project:1:35: the source of a volume"),
        ("services: {db: {volumes: ['~/.ssh:/keys']}}", "the source of a volume of service 'db'"),
    ],
)
def test_a_clone_cannot_reach_out_of_itself(site: Site, text: str, problem: str) -> None:
    site.project(text)
    assert problem in site.problems()[0]


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "GIT_SSH_COMMAND", "BASH_ENV", "NODE_OPTIONS", "HOME"])
def test_with_the_local_backend_a_clone_cannot_hook_every_command(site: Site, name: str) -> None:
    site.project(f"env: {{{name}: x, PYTHONPATH: src, NODE_ENV: dev}}")
    assert site.load().settings.env[name] == "x"  # a container is what it would hurt
    (line,) = site.problems(flags={"backend": "local"})
    assert f"cannot set 'env.{name}' while the backend is 'local'" in line
    mine = site.load(flags={"backend": "local", f"env.{name}": "mine"})
    assert mine.settings.env[name] == "mine"
    assert name not in site.load(flags={"backend": "local", f"env.{name}": None}).settings.env


def test_a_clone_that_chooses_the_local_backend_is_told_of(site: Site) -> None:
    project = site.project("backend: local\n")
    said = f"{project}:1:10: the project's file chooses the backend 'local'"
    assert any(line.startswith(said) for line in site.load().warnings)
    assert not any("chooses" in line for line in site.load(flags={"backend": "local"}).warnings)


def test_all_refusals_are_told_together(site: Site) -> None:
    site.project("limits: {}\nenv: {A: env:B}\nunknown: 1\nbackend: {docker: {dockerfile: /x, socket: /y}}\n")
    assert [line.split(" ")[0] for line in site.problems()] == [
        "project:1:1:",
        "project:2:10:",
        "project:3:1:",
        "project:4:32:",
        "project:4:36:",
    ]
