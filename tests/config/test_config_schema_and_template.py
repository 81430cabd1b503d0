from __future__ import annotations

import stat
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from nexus.config import Level, configuration_reference, json_schema, write_project_template
from nexus.errors import AlreadyExists, ConfigError
from tests.config.conftest import Site

LEVELS: tuple[Level, ...] = ("node", "user", "project")


class TestSchema:
    @pytest.mark.parametrize("level", LEVELS)
    def test_the_example_files_are_valid(self, level: Level, fixtures: Path) -> None:
        schema = json_schema(level)
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(yaml.safe_load((fixtures / f"{level}.yaml").read_text()), schema)

    @pytest.mark.parametrize(
        ("level", "document"),
        [
            ("node", {"ports": {}}),
            ("node", {"limits": {"max_workspaces_total": "many"}}),
            ("user", {"defaults": {"resources": "huge"}}),
            ("project", {"limits": {}}),
            ("project", {"ports": {"web": {"visibility": "everyone"}}}),
            ("project", {"backend": {"docker": {"socket": "/x"}}}),
        ],
    )
    def test_wrong_files_are_not(self, level: Level, document: object) -> None:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, json_schema(level))

    @pytest.mark.parametrize(
        "document",
        [
            {"backend": "local", "resources": "small", "ports": {"web": 3000}},
            {"resources": {"cpu": 2, "memory": "8G", "storage": {"bytes": "1G"}}, "defaults": {"idle_timeout": 90}},
            {"env": None, "defaults": {"image": None}},
        ],
    )
    def test_short_forms_and_null_are_valid(self, document: object) -> None:
        jsonschema.validate(document, json_schema("project"))

    def test_keys_are_described_for_editors(self) -> None:
        properties = json_schema("user")["properties"]
        assert isinstance(properties, dict)
        assert all(isinstance(item, dict) and item["description"] for item in properties.values())


class TestTemplate:
    def test_it_says_nothing_yet_and_names_its_schema(self, site: Site) -> None:
        before = site.load().to_json()
        path = write_project_template(site.root)
        assert path == site.project_path
        first = path.read_text().splitlines()[0]
        assert first.startswith("# yaml-language-server: $schema=")
        schema = path.parent / first.partition("=")[2]
        assert yaml.safe_load(schema.read_text()) == json_schema("project")
        assert (schema.parent / ".gitignore").read_text() == "*\n"
        assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0
        assert site.load().to_json() == before

    def test_its_examples_work_when_uncommented(self, site: Site) -> None:
        path = write_project_template(site.root)
        examples = [line[2:] for line in path.read_text().splitlines() if line.startswith(("#   ", "# "))]
        start = next(index for index, line in enumerate(examples) if line.startswith("workspace:"))
        kept = [line for line in examples[start:] if not line.startswith("resources: medium")]
        site.project("\n".join(kept))
        settings = site.load().settings
        assert settings.workspace.display_name == "My project"
        assert settings.image == "python:3.12-slim"
        assert settings.resources.cpu.cores == 4
        assert [port.name for port in settings.ports] == ["web", "database"]

    def test_a_file_that_is_there_is_never_overwritten(self, site: Site) -> None:
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

    @pytest.mark.parametrize("where", [".nexus", ".nexus/cache"])
    def test_nothing_is_written_through_a_link(self, site: Site, tmp_path: Path, where: str) -> None:
        target = tmp_path / "elsewhere"
        target.mkdir()
        link = site.root / where
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(target)
        with pytest.raises(ConfigError, match="is a symbolic link"):
            write_project_template(site.root)
        assert list(target.iterdir()) == []

    def test_a_place_that_cannot_be_written(self, site: Site) -> None:
        with pytest.raises(ConfigError, match="cannot be written"):
            write_project_template(site.root / "missing")


class TestReference:
    def test_the_page_is_up_to_date(self) -> None:
        page = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"
        assert page.read_text(encoding="utf-8") == configuration_reference(), (
            "write nexus.config.configuration_reference() to docs/reference/configuration.md"
        )

    @pytest.mark.parametrize("level", LEVELS)
    def test_it_has_every_key_of_the_example_files(self, level: Level, fixtures: Path) -> None:
        page = configuration_reference()
        document = yaml.safe_load((fixtures / f"{level}.yaml").read_text())
        for section, content in document.items():
            assert f"`{section}`" in page
            for key in content if section in {"limits", "preferences", "workspace", "hooks", "scripts"} else ():
                assert f"`{section}.{key}`" in page
