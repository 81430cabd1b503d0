from __future__ import annotations

import pytest
from pydantic import JsonValue

from nexus.config import parse_assignment
from nexus.errors import ConfigError
from tests.config.conftest import Site


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("defaults.image=python:3.12", "defaults.image", "python:3.12"),
        ("defaults.image=1.20", "defaults.image", "1.20"),
        ("defaults.image=null", "defaults.image", None),
        ("image=true", "image", "true"),
        ("env.A=b=c # d", "env.A", "b=c # d"),
        ("env.A=", "env.A", ""),
        ("env.A=[x", "env.A", "[x"),
        ("port=3000", "port", 3000),
        ("ports.web.host=3000", "ports.web.host", 3000),
        ("defaults.idle_timeout=1h", "defaults.idle_timeout", "1h"),
        ("idle_timeout=~", "idle_timeout", None),
        ("preferences.telemetry.enabled=true", "preferences.telemetry.enabled", True),
        ("secrets.env_files=[a, b]", "secrets.env_files", ["a", "b"]),
        ("ports.web={container: 1, host: 2}", "ports.web", {"container": 1, "host": 2}),
        ("backends.podman.x=2", "backends.podman.x", 2),
        ("backends.podman.x=", "backends.podman.x", None),
        (" a.b =1", "a.b", 1),
    ],
)
def test_key_and_value(text: str, key: str, value: JsonValue) -> None:
    assert parse_assignment(text) == (key, value)


@pytest.mark.parametrize(
    "text", ["", "x", "=1", " =1", "ports.web=[1", "ports.web=\x00", "ports.web=!x 1", "env.A=\ud800"]
)
def test_what_is_no_assignment(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_assignment(text)


class TestFlags:
    @pytest.mark.parametrize(
        ("short", "value", "key"),
        [
            ("backend", "local", "defaults.backend"),
            ("idle_timeout", "4h", "defaults.idle_timeout"),
            ("image", "x", "defaults.image"),
            ("port", 3000, "ports.web.host"),
            ("resources", "small", "defaults.resources"),
        ],
    )
    def test_short_names(self, site: Site, short: str, value: JsonValue, key: str) -> None:
        for stack in (site.load(flags={short: value}), site.load(flags={key: value})):
            explanation = stack.explain(key)
            assert explanation.winner == "flags"
            if short != "resources":
                assert explanation.value == value
        assert site.load(flags={short: value}).explain(key).layers[-1].place == f"flag --{short.replace('_', '-')}"
        assert site.load(flags={key: value}).explain(key).layers[-1].place == "flag --set"

    def test_the_short_port_is_the_web_ports_fixed_one(self, site: Site) -> None:
        (port,) = site.load(flags={"port": 4000}).settings.ports
        assert (port.name, port.container, port.host) == ("web", 4000, 4000)
        site.project("ports: {web: {container: 3000, visibility: public}}\n")
        (port,) = site.load(flags={"port": "4000"}).settings.ports
        assert (port.container, port.host, port.visibility) == (3000, 4000, "public")

    def test_longer_keys_refine_shorter_ones_in_any_order(self, site: Site) -> None:
        flags: dict[str, JsonValue] = {"defaults.resources.cpu": 3, "resources": "xlarge"}
        resources = site.load(flags=flags).settings.resources
        assert (resources.cpu.cores, resources.memory.bytes) == (3, 16 * 1024**3)

    @pytest.mark.parametrize(
        ("flags", "problem"),
        [
            ({"defaults.imge": 1}, "flag --set: unknown key 'defaults.imge'; perhaps you meant 'image'"),
            ({"a..b": 1}, "flag --set: 'a..b' is not a key"),
            ({"idle_timeout": "soon"}, "flag --idle-timeout: 'defaults.idle_timeout' cannot be used: 'soon'"),
            ({"limits.max_workspaces_total": 1}, "is a rule of the node; only the node's own file sets it"),
            ({"multi_user": {"enabled": True}}, "is a rule of the node"),
            ({"project_overrides.x": {}}, "unknown key 'project_overrides'"),
            ({".".join("a" * 40): 1}, "has too many names"),
        ],
    )
    def test_wrong_ones(self, site: Site, flags: dict[str, JsonValue], problem: str) -> None:
        assert problem in site.problems(flags=flags)[0]

    def test_values_that_are_not_json(self, site: Site) -> None:
        deep: JsonValue = 1
        for _ in range(5000):
            deep = [deep]
        with pytest.raises(ConfigError, match="nested deeper than 32 levels"):
            site.load(flags={"backends.podman.x": deep})
        with pytest.raises(ConfigError, match="a object is not a value"):
            site.load(flags={"backends.podman.x": object()})  # type: ignore[dict-item]

    def test_sections_that_do_nothing_yet_are_named(self, site: Site) -> None:
        stack = site.load(flags={"backends.sprite.org": "y"}, env={"NEXUS_BACKENDS__SPRITE__ORG": "x"})
        assert any(line.startswith("flag --set: 'backends.sprite' is checked, but") for line in stack.warnings)
        sprite = "env NEXUS_BACKENDS__SPRITE__ORG: 'backends.sprite' is checked, but this version has no driver for that backend"
        assert sprite in stack.warnings


class TestEnvironment:
    @pytest.mark.parametrize(
        ("name", "value", "key", "result"),
        [
            ("NEXUS_BACKEND", "local", "defaults.backend", "local"),
            ("NEXUS_IDLE_TIMEOUT", "5h", "defaults.idle_timeout", "5h"),
            ("NEXUS_IDLE_TIMEOUT", "90", "defaults.idle_timeout", "1m30s"),
            ("NEXUS_IDLE_TIMEOUT", "null", "defaults.idle_timeout", None),
            ("NEXUS_PORT", "3000", "ports.web.host", 3000),
            ("NEXUS_IMAGE", "1.20", "defaults.image", "1.20"),
            ("NEXUS_RESOURCES", "small", "defaults.resources.cpu.cores", 1.0),
            ("NEXUS_DEFAULTS__IMAGE", "a:b", "defaults.image", "a:b"),
            ("NEXUS_DEFAULTS__RESOURCES__CPU", "3", "defaults.resources.cpu.cores", 3.0),
            ("NEXUS_DEFAULTS__PORT_RANGE", "{start: 4000, end: 5000}", "defaults.port_range.end", 5000),
            ("NEXUS_BACKENDS__DOCKER__SOCKET", "/x", "backends.docker.socket", "/x"),
            ("NEXUS_BACKENDS__PODMAN__URL", "3", "backends.podman.url", 3),
            ("NEXUS_PORTS__MY_APP__HOST", "8080", "ports.my-app.host", 8080),
            ("NEXUS_ENV__NODE_ENV", "test", "env.NODE_ENV", "test"),
            ("NEXUS_ENV__a__B", "null ", "env.a__B", "null "),
            ("NEXUS_SCRIPTS__PRE_START", "x: y", "scripts.pre-start.run", "x: y"),
            ("NEXUS_WORKSPACE__NAME", "n", "workspace.name", "n"),
        ],
    )
    def test_variables(self, site: Site, name: str, value: str, key: str, result: JsonValue) -> None:
        site.project("ports: {my-app: 1}\n")
        stack = site.load(env={name: value})
        assert stack.get(key) == result
        assert stack.explain(key).winner == "environment"
        assert stack.explain(key).layers[-1].place == f"env {name}"

    def test_an_empty_one_counts_as_unset(self, site: Site) -> None:
        assert site.load(env={"NEXUS_IMAGE": "", "NEXUS_NONSENSE": ""}).settings.image == "nexus-workspace:latest"

    @pytest.mark.parametrize(
        "name",
        [
            "NEXUS_STATE_DIR",
            "NEXUS_REQUIRE",
            "NEXUS_WORKSPACE",
            "NEXUS_WORKSPACE_ID",
            "NEXUS_WORKSPACES_X",
            "NEXUS_WORKSPACE_PORT_A__B",
            "OTHER",
        ],
    )
    def test_names_that_are_no_settings(self, site: Site, name: str) -> None:
        assert site.load(env={name: "/x"}).explain("defaults").winner == "built-in"

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("NEXUS_BACKND", "env NEXUS_BACKND: unknown variable 'NEXUS_BACKND'; perhaps you meant 'NEXUS_BACKEND'"),
            ("NEXUS_DEFAULTS__IMGE", "perhaps you meant 'NEXUS_DEFAULTS__IMAGE'"),
            ("NEXUS_DEFAULT__IMAGE", "perhaps you meant 'NEXUS_DEFAULTS__IMAGE'"),
            ("NEXUS_backend", "perhaps you meant 'NEXUS_BACKEND'"),
            ("NEXUS_", "unknown variable 'NEXUS_'"),
            ("NEXUS_DEFAULTS", "unknown variable 'NEXUS_DEFAULTS'"),
            ("NEXUS_PORTS__WEB__HOST__X", "unknown variable 'NEXUS_PORTS__WEB__HOST__X'"),
            ("NEXUS___", "unknown variable"),
            ("NEXUS_DEFAULTS__", "unknown variable"),
            ("NEXUS_ENV__", "'env.\"\"' must be a variable's name"),
            ("NEXUS_LIMITS__MAX_WORKSPACES_TOTAL", "is a rule of the node; only the node's own file sets it"),
        ],
    )
    def test_unknown_ones(self, site: Site, name: str, problem: str) -> None:
        assert problem in site.problems(env={name: "1"})[0]

    @pytest.mark.parametrize(
        ("name", "value", "problem"),
        [
            ("NEXUS_PORT", "http", "env NEXUS_PORT: 'ports.web.host' must be a whole number, not 'http'"),
            ("NEXUS_PORT", "[1", "env NEXUS_PORT: bad YAML"),
            ("NEXUS_IMAGE", "\udcff", "env NEXUS_IMAGE: the value is not UTF-8 text"),
            ("NEXUS_PORT", "\udcff", "env NEXUS_PORT: the character U+DCFF cannot be used here"),
        ],
    )
    def test_wrong_values(self, site: Site, name: str, value: str, problem: str) -> None:
        assert problem in site.problems(env={name: value})[0]
