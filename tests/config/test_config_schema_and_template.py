from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from nexus.config import Level, configuration_reference, json_schema, schema_file
from nexus.config.catalogue import ANY_NAME, Key, catalogue
from nexus.config.illustration import example_of
from nexus.config.layers import KeyPath
from nexus.config.reference import ELSEWHERE, effect_of
from nexus.config.schema import FILES
from nexus.models.units import format_duration
from nexus.providers.docker.options import DockerOptions as DockerDriverOptions
from tests.config.conftest import Site

LEVELS: tuple[Level, ...] = ("node", "user", "project")


def complaints(model: type[BaseModel], path: KeyPath, value: object) -> list[object]:
    """What a file of this model says about a key's value; what other keys lack is not meant."""
    names = {ANY_NAME: "podman" if path[0] == "backends" else "web"}
    if path[0] == "secrets" or "env" in path:
        names[ANY_NAME] = "NAME"
    steps = [names.get(name, name) for name in path]
    document: object = value
    for name in reversed(steps):
        document = {name: document}
    try:
        model.model_validate(document)
    except ValidationError as error:
        return [detail for detail in error.errors() if len(detail["loc"]) >= len(steps) and detail["type"] != "missing"]
    return []


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
            ("node", {"daemon": {"port": 70000}}),
            ("node", {"daemon": {"tls": {"certificate": "/x"}}}),
            ("node", {"multi_user": {"auth": {"method": "ldap"}}}),
            ("node", {"backends": {"kubernetes": {"cluster": "x"}}}),
            ("user", {"preferences": {"theme": "pink"}}),
            ("user", {"preferences": {"telemetry": True}}),
            ("user", {"backends": {"sprite": {"api_token": "x"}}}),
            ("user", {"secrets": {"named": {"A": {"source": "vault"}}}}),
            ("user", {"workspaces": {"a": "~/a"}}),
            ("project", {"hooks": {"on_fire": "x"}}),
            ("project", {"services": ["postgres"]}),
            ("project", ["a", "list"]),
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

    @pytest.mark.parametrize("level", LEVELS)
    def test_what_is_installed_is_up_to_date(self, level: Level) -> None:
        assert json.loads(schema_file(level).read_text(encoding="utf-8")) == json_schema(level), (
            "run 'python -m docs.generate'"
        )

    def test_the_fragment_for_shared_nodes_is_valid(self, fixtures: Path) -> None:
        jsonschema.validate(yaml.safe_load((fixtures / "multi-user.yaml").read_text()), json_schema("node"))

    def test_keys_are_described_for_editors(self) -> None:
        properties = json_schema("user")["properties"]
        assert isinstance(properties, dict)
        assert all(isinstance(item, dict) and item["description"] for item in properties.values())


class TestReference:
    def test_the_page_is_up_to_date(self) -> None:
        page = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"
        assert page.read_text(encoding="utf-8") == configuration_reference(), (
            "write nexus.config.configuration_reference() to docs/reference/configuration.md"
        )

    @pytest.mark.parametrize("level", LEVELS)
    def test_every_key_has_an_effect_and_an_example_that_is_valid(self, level: Level) -> None:
        model = FILES[level]
        for path, key in catalogue(model, texts=True).walk():
            assert effect_of(path, key, level), path
            example = example_of(path, key)
            if example is not None:
                value = yaml.safe_load(example)
                assert not complaints(model, path, value), f"{path}: {example}"
                assert complaints(model, path, {"no": ["such", "value"]}) or key.kind == "anything", path

    def test_defaults_that_are_no_layers_are_what_the_backend_does(self, site: Site) -> None:
        options = DockerDriverOptions()
        for name in ("build_timeout", "pids_limit", "pull_timeout", "subnet_pool", "user"):
            value = getattr(options, name)
            shown = format_duration(value) if isinstance(value, timedelta) else str(value)
            assert ELSEWHERE[f"backends.docker.{name}"] == shown
        site.project("ports: {web: 3000}\n")
        (web,) = site.load().settings.ports
        assert (web.protocol, web.visibility) == (
            ELSEWHERE["ports.<name>.protocol"],
            ELSEWHERE["ports.<name>.visibility"],
        )

    def test_a_key_that_nobody_explains_or_illustrates_is_not_finished(self) -> None:
        with pytest.raises(ValueError, match=r"nothing says what project key 'a\.b' does"):
            effect_of(("a", "b"), Key("text"), "project")
        with pytest.raises(ValueError, match=r"a\.b has no example"):
            example_of(("a", "b"), Key("text", "Does something."))
        assert example_of(("a", "b"), Key("text", "Does it; for example `this`.")) == "this"

    @pytest.mark.parametrize("level", LEVELS)
    def test_it_has_every_key_of_the_example_files(self, level: Level, fixtures: Path) -> None:
        page = configuration_reference()
        document = yaml.safe_load((fixtures / f"{level}.yaml").read_text())
        for section, content in document.items():
            assert f"`{section}`" in page
            for key in content if section in {"limits", "preferences", "workspace", "hooks", "scripts"} else ():
                assert f"`{section}.{key}`" in page
