"""``boulder init``'s file: it fits the project, works as it stands, and is never written over somebody's own."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus.config import ConfigStack, json_schema, project_template, write_project_schema, write_project_template
from nexus.config.detection import ANY_IMAGE, detect
from nexus.errors import AlreadyExists, ConfigError
from tests.config.conftest import Site

PROJECTS: dict[str, tuple[dict[str, str], str, dict[str, int]]] = {
    "nothing": ({"notes.txt": ""}, ANY_IMAGE, {}),
    "python": ({"requirements.txt": "flask\n"}, "python:3.13", {}),
    "python, pinned": ({"pyproject.toml": "[project]\n", ".python-version": "3.11.4\n"}, "python:3.11", {}),
    "python, asked for": ({"pyproject.toml": '[project]\nrequires-python = ">=3.12,<4"\n'}, "python:3.12", {}),
    "python, broken": ({"pyproject.toml": "[project\n"}, "python:3.13", {}),
    "django": ({"manage.py": "", "requirements.txt": ""}, "python:3.13", {"web": 8000}),
    "node": ({"package.json": "{}"}, "node:22", {}),
    "node, pinned": ({"package.json": "{}", ".nvmrc": "v20.1\n"}, "node:20", {}),
    "node, asked for": ({"package.json": '{"engines": {"node": ">=18"}}'}, "node:18", {}),
    "vite": ({"package.json": '{"devDependencies": {"vite": "^5"}}', "pnpm-lock.yaml": ""}, "node:22", {"web": 5173}),
    "node, broken": ({"package.json": "[1, 2"}, "node:22", {}),
    "node, strange": ({"package.json": '{"engines": [1], "dependencies": "x"}'}, "node:22", {}),
    "go": ({"go.mod": "module x\n\ngo 1.22.3\n"}, "golang:1.22", {}),
    "go, without version": ({"go.mod": "module x\n"}, "golang:1", {}),
    "rust": ({"Cargo.toml": "[package]\n"}, "rust:1", {}),
    "compose": ({"compose.yaml": "services: {}\n"}, ANY_IMAGE, {}),
    "dev container": (
        {
            ".devcontainer/devcontainer.json": '{\n  // which\n  "image": "mcr.example.com/x/py:3.12", /* and */\n'
            '  "forwardPorts": [8000, "db:5432", 9229, true, 0,],\n}\n',
            "package.json": "{}",
        },
        "mcr.example.com/x/py:3.12",
        {"web": 8000, "port-9229": 9229},
    ),
    "dev container with a build": (
        {".devcontainer.json": '{"build": {"dockerfile": "D"}}', "go.mod": "go 1.21\n"},
        "golang:1.21",
        {},
    ),
}


def make(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize("name", PROJECTS)
def test_it_fits_the_project_and_loads_without_a_word(site: Site, name: str) -> None:
    files, image, ports = PROJECTS[name]
    make(site.root, files)
    written = write_project_template(site.root)
    assert written.config == site.project_path
    assert written.config.read_text() == project_template(site.root)
    assert (written.backup, stat.S_IMODE(written.config.stat().st_mode) & 0o022) == (None, 0)
    stack = site.load()
    assert (stack.settings.image, stack.warnings) == (image, ())
    assert {port.name: port.container for port in stack.settings.ports} == ports
    assert stack.settings.backend == "docker"  # everybody's own choice
    assert ConfigStack.validate(site.root, env={"HOME": str(site.home)}, node_file=site.node_path) == ()


def test_every_comment_of_it_works(site: Site) -> None:
    make(site.root, PROJECTS["vite"][0])
    text = write_project_template(site.root).config.read_text()
    lines = text.split("\n\n", 1)[1].splitlines()
    kept = [line for line in lines if not line.startswith("# resources: medium")]
    site.project("\n".join(re.sub(r"^( *)# ", r"\1", line) for line in kept))
    settings = site.load().settings
    assert settings.workspace.display_name == "My project"
    assert (settings.image, settings.dockerfile) == ("node:22", site.root / ".nexus" / "Dockerfile")
    assert settings.resources.cpu.cores == 4
    assert [(port.name, port.container, port.host) for port in settings.ports] == [
        ("web", 5173, None),
        ("database", 5432, 15432),
    ]
    assert settings.isolation == "clone"
    assert "pnpm install" in str(site.load().get("scripts"))


def test_editors_find_its_schema_beside_it(site: Site) -> None:
    written = write_project_template(site.root)
    first = written.config.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert written.config.parent / first.partition("=")[2] == written.schema
    assert yaml.safe_load(written.schema.read_text()) == json_schema("project")
    assert (written.schema.parent / ".gitignore").read_text() == "*\n"


def test_a_clone_gets_its_schema_and_an_old_one_is_renewed(site: Site) -> None:
    site.project("workspace: {name: cloned}\n")
    schema = write_project_schema(site.root)
    assert json.loads(schema.read_text()) == json_schema("project")
    schema.write_text("{}")
    assert write_project_schema(site.root) == schema
    assert json.loads(schema.read_text()) == json_schema("project")
    assert sorted(path.name for path in schema.parent.iterdir()) == [".gitignore", schema.name]


class TestWhatIsThere:
    def test_is_never_overwritten(self, site: Site) -> None:
        path = site.project("workspace: {name: mine}\n")
        with pytest.raises(AlreadyExists) as caught:
            write_project_template(site.root)
        assert path.read_text() == "workspace: {name: mine}\n"
        assert str(path) in str(caught.value)
        path.unlink()
        path.symlink_to("nowhere")
        with pytest.raises(AlreadyExists):
            write_project_template(site.root)
        assert not path.exists()

    def test_is_kept_beside_when_it_is_replaced_by_force(self, site: Site) -> None:
        kept = []
        for number in range(3):
            site.project(f"workspace: {{name: v{number}}}\n")
            kept.append(write_project_template(site.root, force=True).backup)
        assert [path.name for path in kept if path] == ["config.yaml.bak", "config.yaml.bak.1", "config.yaml.bak.2"]
        assert [path.read_text() for path in kept if path] == [
            f"workspace: {{name: v{number}}}\n" for number in range(3)
        ]
        assert site.load().settings.image == ANY_IMAGE

    def test_a_link_is_kept_as_a_link_and_not_followed(self, site: Site, tmp_path: Path) -> None:
        target = tmp_path / "elsewhere.yaml"
        target.write_text("mine\n")
        site.project("").unlink()
        site.project_path.symlink_to(target)
        backup = write_project_template(site.root, force=True).backup
        assert backup is not None
        assert (backup.readlink(), target.read_text()) == (target, "mine\n")
        assert not site.project_path.is_symlink()

    @pytest.mark.parametrize("where", [".nexus", ".nexus/cache"])
    @pytest.mark.parametrize("write", [write_project_template, write_project_schema])
    def test_nothing_is_written_through_a_link(self, site: Site, tmp_path: Path, where: str, write: object) -> None:
        target = tmp_path / "elsewhere"
        target.mkdir()
        link = site.root / where
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(target)
        assert callable(write)
        with pytest.raises(ConfigError, match="is a symbolic link"):
            write(site.root)
        assert list(target.iterdir()) == []

    def test_a_place_that_cannot_be_written(self, site: Site) -> None:
        for write in (write_project_template, write_project_schema):
            with pytest.raises(ConfigError, match="cannot be written"):
                write(site.root / "missing")
        (site.root / ".nexus").write_text("")
        with pytest.raises(ConfigError, match="is no folder"):
            write_project_template(site.root)


class TestHostileProjects:
    @pytest.mark.parametrize(
        "image", ["null", "true", "1.20", "a: b", "x\ny: z", "a:", "-rf", "$(id)", "A/b", "x" * 300, "", "a b", "~"]
    )
    def test_an_image_is_text_and_nothing_else(self, site: Site, image: str) -> None:
        make(site.root, {".devcontainer.json": json.dumps({"image": image})})
        write_project_template(site.root)
        settings = site.load().settings
        assert settings.image in {image, ANY_IMAGE}
        assert settings.ports == ()

    def test_links_pipes_and_large_files_are_passed_over(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "outside.json").write_text('{"image": "evil"}')
        (site.root / ".devcontainer.json").symlink_to(tmp_path / "outside.json")
        os.mkfifo(site.root / "package.json")
        (site.root / "go.mod").write_text("go 1.19\n" + "//\n" * 200_000)
        (site.root / "Cargo.toml").mkdir()
        assert detect(site.root).image == "golang:1"  # that there is one shows, what is in it does not

    def test_a_folder_that_is_a_link(self, site: Site, tmp_path: Path) -> None:
        make(tmp_path, {".devcontainer/devcontainer.json": '{"image": "evil"}'})
        (site.root / ".devcontainer").symlink_to(tmp_path / ".devcontainer")
        assert detect(site.root).image == ANY_IMAGE

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(
        name=st.sampled_from(
            ["package.json", ".devcontainer.json", "pyproject.toml", ".python-version", ".nvmrc", "go.mod"]
        ),
        data=st.binary(max_size=60) | st.text('{}[]",:/*\\ image12.3-\n', max_size=60).map(str.encode),
    )
    def test_any_content(self, site: Site, name: str, data: bytes) -> None:
        for path in site.root.glob("*"):
            if path.is_file():
                path.unlink()
        site.project_path.unlink(missing_ok=True)
        for marker in ("package.json", "pyproject.toml"):
            (site.root / marker).write_text("{}")
        (site.root / name).write_bytes(data)
        site.project(project_template(site.root))
        assert site.load().warnings == ()
