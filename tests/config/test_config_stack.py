from __future__ import annotations

import dataclasses
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue

from nexus.config import ConfigStack, LayerKind
from nexus.errors import ConfigError
from nexus.models.ports import PortRange, PortRequest
from nexus.models.resources import GB, RESOURCE_CLASSES
from nexus.providers.docker.options import parse_options
from tests.config.conftest import Site

TIMEOUTS = [
    ("built-in", timedelta(minutes=30)),
    ("node", timedelta(minutes=30)),
    ("user", timedelta(hours=1)),
    ("project", timedelta(hours=2)),
    ("flags", timedelta(hours=4)),
    ("environment", timedelta(hours=5)),
]


@pytest.mark.parametrize("count", range(len(TIMEOUTS)))
def test_the_highest_layer_that_speaks_wins(site: Site, count: int) -> None:
    present = {name for name, _ in TIMEOUTS[: count + 1]}
    if "node" in present:
        site.node("defaults:\n  idle_timeout: 30m\n")
    if "user" in present:
        site.user("defaults:\n  idle_timeout: 1h\n")
    if "project" in present:
        site.project("defaults:\n  idle_timeout: 2h\n")
    stack = site.load(
        flags={"idle_timeout": "4h"} if "flags" in present else {},
        env={"NEXUS_IDLE_TIMEOUT": "5h"} if "environment" in present else {},
    )
    name, value = TIMEOUTS[count]
    assert stack.settings.idle_timeout == value
    explanation = stack.explain("defaults.idle_timeout")
    assert explanation.winner == name
    assert [entry.layer for entry in explanation.layers] == [other for other, _ in TIMEOUTS[: count + 1]]
    assert [entry.wins for entry in explanation.layers] == [False] * count + [True]


def test_the_result_is_5h_and_every_place_is_told(site: Site) -> None:
    node = site.node("defaults:\n  idle_timeout: 30m\n")
    user = site.user("# mine\ndefaults: {idle_timeout: 1h}\n")
    project = site.project("defaults:\n  backend: docker\n  idle_timeout: 2h\n")
    stack = site.load(flags={"defaults.idle_timeout": "4h"}, env={"NEXUS_IDLE_TIMEOUT": "5h"})
    told = {entry.place: entry.value for entry in stack.explain("defaults.idle_timeout").layers}
    assert told == {
        "built-in": "30m",
        f"{node}:2:17": "30m",
        f"{user}:2:26": "1h",
        f"{project}:3:17": "2h",
        "flag --set": "4h",
        "env NEXUS_IDLE_TIMEOUT": "5h",
    }
    assert stack.get("defaults.idle_timeout") == "5h"


class TestTheThreeExampleFiles:
    @pytest.fixture
    def stack(self, site: Site, fixtures: Path) -> ConfigStack:
        site.root = site.home / "projects" / "hanlun-lms"
        for source, target in (
            ("node", site.node_path),
            ("user", site.user_path),
            ("project", site.project_path),
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(fixtures / f"{source}.yaml", target)
        return site.load(env={"SPRITE_API_KEY": "k"})

    def test_they_load(self, stack: ConfigStack, site: Site) -> None:
        settings = stack.settings
        assert settings.backend == "docker"
        assert settings.image == "node:20-alpine"
        assert settings.dockerfile == site.root / ".nexus" / "Dockerfile"
        assert settings.resources == RESOURCE_CLASSES["large"]
        assert settings.port_range == PortRange(start=34000, end=36000)
        assert settings.ports == (
            PortRequest(name="web", container=3000, host=3000, visibility="public"),
            PortRequest(name="api", container=5000),
            PortRequest(name="database", container=5432, host=15432),
        )
        assert settings.env["NODE_ENV"] == "development"
        assert settings.limits.max_workspaces_per_user == 10
        assert settings.limits.max_workspaces_total == 100
        assert settings.limits.default_resources is not None
        assert settings.limits.default_resources.memory.bytes == 4 * GB
        assert settings.backends["docker"]["storage_driver"] == "overlay2"
        assert settings.backends["sprite"] == {
            "api_endpoint": "https://api.sprites.dev",
            "api_key": "env:SPRITE_API_KEY",
            "org": "my-org",
            "region": "us-east-1",
        }
        assert settings.workspace.display_name == "Hanlun Learning Platform"
        assert settings.preferences.default_editor == "cursor"
        assert settings.preferences.telemetry.share_friction_data
        assert settings.workspaces["nexus"].path == site.home / "code" / "nexus"
        assert settings.multi_user

    def test_the_users_override_for_this_project_wins_over_the_users_default(
        self, stack: ConfigStack, site: Site
    ) -> None:
        assert stack.settings.idle_timeout == timedelta(hours=2)
        explanation = stack.explain("defaults.idle_timeout")
        assert explanation.winner is LayerKind.OVERRIDE
        assert explanation.layers[-1].place == f"{site.user_path}:68:21"

    def test_nothing_is_lost_on_the_way(self, stack: ConfigStack) -> None:
        assert stack.get("services.postgres.env.POSTGRES_DB") == "hanlun_dev"
        assert stack.get("scripts.pre-start.run") == '#!/bin/bash\necho "Setting up workspace..."\nnpm install\n'
        assert stack.get("secrets.named.STRIPE_SECRET_KEY.var") == "HANLUN_STRIPE_KEY"
        assert stack.get("secrets.named.NPM_TOKEN.source") == "keychain"
        assert stack.get("daemon.tls.cert") == "/etc/nexus/certs/server.crt"


class TestValues:
    def test_resources_merge_as_numbers_not_as_words(self, site: Site) -> None:
        site.user("defaults: {resources: large}\n")
        site.project("resources: {memory: 12G, cpu: {limit: 6}}\n")
        resources = site.load().settings.resources
        assert (resources.cpu.cores, resources.cpu.limit) == (4, 6)
        assert (resources.memory.bytes, resources.storage.bytes) == (12 * GB, 100 * GB)

    def test_a_class_replaces_limits_of_lower_layers(self, site: Site) -> None:
        site.user("defaults: {resources: {cpu: {cores: 1, limit: 1}, memory: {bytes: 1G, limit: 1G}}}\n")
        site.project("resources: xlarge\n")
        assert site.load().settings.resources == RESOURCE_CLASSES["xlarge"]

    def test_the_nodes_default_resources_are_its_default(self, site: Site) -> None:
        node = site.node("limits:\n  default_resources: {cpu: 1, memory: 1G, storage: 5G}\n")
        stack = site.load()
        assert stack.settings.resources.cpu.cores == 1
        assert stack.explain("defaults.resources.cpu.cores").layers[-1].place == f"{node}:2:28"
        site.node("limits: {default_resources: small}\ndefaults: {resources: medium}\n")
        assert site.load().settings.resources == RESOURCE_CLASSES["medium"]

    def test_null_removes(self, site: Site) -> None:
        site.node("defaults: {image: base, idle_timeout: 30m}\nbackends: {docker: {socket: /a.sock}}\n")
        site.user("defaults: {image: null, idle_timeout: ~}\nbackends: {docker: {socket: }}\n")
        stack = site.load()
        assert (stack.settings.image, stack.settings.idle_timeout) == (None, None)
        assert "socket" not in stack.settings.backends["docker"]
        explanation = stack.explain("defaults.image")
        assert (explanation.value, explanation.winner) == (None, LayerKind.USER)
        assert "null (removed)" in str(explanation)

    def test_null_above_removes_all_below(self, site: Site) -> None:
        site.project("ports: {web: 3000, api: 5000}\nenv: {A: x}\n")
        stack = site.load(flags={"ports": None, "env.A": None})
        assert stack.settings.ports == ()
        assert stack.settings.env == {}
        assert [entry.wins for entry in stack.explain("ports.web.container").layers] == [False, True]

    def test_environment_values_stay_as_they_were_typed(self, site: Site) -> None:
        site.project("env:\n  VERSION: 1.20\n  DEBUG: yes\n  ON: true\n  PORT: 0755\n  EMPTY: ''\n  DAY: 2026-01-01\n")
        assert site.load().settings.env == {
            "VERSION": "1.20",
            "DEBUG": "yes",
            "ON": "true",
            "PORT": "0755",
            "EMPTY": "",
            "DAY": "2026-01-01",
        }

    def test_short_forms(self, site: Site) -> None:
        site.project("backend: local\nports: {web: 3000}\nresources: {cpu: 2.5, memory: 512MiB}\n")
        settings = site.load().settings
        assert settings.backend == "local"
        assert settings.ports == (PortRequest(name="web", container=3000),)
        assert (settings.resources.cpu.cores, settings.resources.memory.bytes) == (2.5, 512 * 1024**2)

    def test_durations_among_backend_options_are_seconds(self, site: Site) -> None:
        site.user("backends: {docker: {stop_grace: 1m30s}, podman: {anything: [1, {a: b}]}}\n")
        settings = site.load().settings
        assert settings.backends["docker"]["stop_grace"] == 90.0
        assert settings.backends["local"]["stop_grace"] == 10.0
        assert settings.backends["podman"] == {"anything": [1, {"a": "b"}]}

    def test_what_the_config_accepts_its_provider_accepts(self, site: Site) -> None:
        site.user(
            "backends:\n  docker: {socket: /x, network: n, storage_driver: overlay2, subnet_pool: 10.9.0.0/16, user: '1:2',"
            " pids_limit: 99, prepared_shells: 4, pull_timeout: 1m, build_timeout: 2m}\n  local: {pass_env: [SSH_AUTH_SOCK]}\n"
        )
        backends = site.load().settings.backends
        assert backends["local"]["pass_env"] == ["SSH_AUTH_SOCK"]
        options = parse_options({key: value for key, value in backends["docker"].items() if key != "stop_grace"})
        assert (options.user, options.pids_limit, options.pull_timeout) == ("1:2", 99, timedelta(minutes=1))
        # Every option of the provider has a key here, or nobody could set it.
        assert set(type(options).model_fields) <= set(backends["docker"])

    def test_a_layer_with_an_image_is_not_built_from_a_lower_layers_file(self, site: Site) -> None:
        site.project("backend: {docker: {dockerfile: Dockerfile}}\n")
        assert site.load().settings.dockerfile == site.root / "Dockerfile"
        by_flag = site.load(flags={"image": "mine"})
        assert (by_flag.settings.image, by_flag.settings.dockerfile) == ("mine", None)
        assert "image is set here" in str(by_flag.explain("defaults.dockerfile"))
        both = site.load(flags={"image": "mine", "defaults.dockerfile": "other/Dockerfile"})
        assert both.settings.dockerfile == site.root / "other" / "Dockerfile"

    def test_settings_are_frozen_and_so_is_the_stack(self, site: Site) -> None:
        stack = site.load()
        with pytest.raises(ValueError, match="frozen"):
            stack.settings.backend = "x"  # type: ignore[misc]
        with pytest.raises(dataclasses.FrozenInstanceError):
            stack.warnings = ()  # type: ignore[misc]


class TestOverrides:
    USER = "project_overrides:\n  {name}:\n    defaults: {{idle_timeout: 9h}}\n    ports: {{web: 1234}}\n"

    def test_by_the_name_of_the_folder(self, site: Site) -> None:
        site.user(self.USER.format(name="app"))
        site.project("ports: {web: 3000}\ndefaults: {idle_timeout: 1h}\n")
        settings = site.load().settings
        assert settings.idle_timeout == timedelta(hours=9)
        assert settings.ports[0].container == 1234

    def test_by_the_name_the_project_has_for_itself(self, site: Site) -> None:
        site.user(self.USER.format(name="shop"))
        assert site.load().settings.idle_timeout == timedelta(minutes=30)
        site.project("workspace: {name: shop}\n")
        assert site.load().settings.idle_timeout == timedelta(hours=9)

    def test_by_its_folder_under_workspaces(self, site: Site) -> None:
        site.user(self.USER.format(name="mine") + "workspaces: {mine: {path: ~/code/app}}\n")
        assert site.load().settings.idle_timeout == timedelta(hours=9)

    def test_flags_rank_above(self, site: Site) -> None:
        site.user(self.USER.format(name="app"))
        assert site.load(flags={"idle_timeout": "1m"}).settings.idle_timeout == timedelta(minutes=1)

    def test_a_clone_cannot_claim_an_entry_that_has_a_folder(self, site: Site) -> None:
        site.user(
            "project_overrides: {bank: {env: {TOKEN: env:BANK_TOKEN}}}\nworkspaces: {bank: {path: ~/code/bank}}\n"
        )
        site.project("workspace: {name: bank}\n")
        assert site.load().settings.env == {}

    def test_variables_need_a_folder(self, site: Site) -> None:
        site.user("project_overrides:\n  bank:\n    env: {TOKEN: env:BANK_TOKEN}\n")
        (line,) = site.problems()
        assert line.startswith("user:3:10: 'project_overrides.bank.env' needs 'workspaces.bank.path'")

    def test_references_are_for_the_user_to_give(self, site: Site) -> None:
        site.user("project_overrides: {me: {env: {TOKEN: env:T}}}\nworkspaces: {me: {path: ~/code/app}}\n")
        stack = site.load(env={"T": "secret"})
        assert stack.settings.env == {"TOKEN": "env:T"}
        assert stack.resolve_env() == {"TOKEN": "secret"}


class TestReferences:
    def test_they_are_resolved_when_asked_for(self, site: Site) -> None:
        stack = site.load(flags={"env.A": "env:HERE", "env.B": "plain", "env.C": "env:not a name"}, env={"HERE": "1"})
        assert stack.settings.env == {"A": "env:HERE", "B": "plain", "C": "env:not a name"}
        assert stack.resolve_env() == {"A": "1", "B": "plain", "C": "env:not a name"}
        assert stack.resolve_env({"X": "env:HERE"}) == {"X": "1"}

    def test_a_variable_that_is_not_set_is_an_error_with_its_place(self, site: Site) -> None:
        user = site.user("project_overrides: {a: {env: {A: env:GONE}}}\nworkspaces: {a: {path: ~/code/app}}\n")
        stack = site.load(flags={"env.B": "env:GONE_TOO"})
        with pytest.raises(ConfigError) as caught:
            stack.resolve_env()
        assert caught.value.problems == (
            f"{user}:1:34: 'env.A' refers to the variable GONE, which is not set",
            "flag --set: 'env.B' refers to the variable GONE_TOO, which is not set",
        )
        assert caught.value.hint

    def test_a_backends_options_are_resolved_for_its_provider_alone(self, site: Site) -> None:
        user = site.user("backends:\n  podman: {key: env:KEY, more: [{a: env:KEY}, 1], n: 2}\n")
        stack = site.load(env={"KEY": "k"})
        assert stack.settings.backends["podman"]["key"] == "env:KEY"
        assert stack.backend_options("podman") == {"key": "k", "more": [{"a": "k"}, 1], "n": 2}
        assert stack.backend_options("local") == {"stop_grace": 10.0}
        assert stack.backend_options("unheard-of") == {}
        with pytest.raises(ConfigError) as caught:
            site.load().backend_options("podman")
        assert caught.value.problems[0] == (
            f"{user}:2:17: 'backends.podman.key' refers to the variable KEY, which is not set"
        )

    def test_a_missing_one_of_the_chosen_backend_is_a_warning(self, site: Site) -> None:
        site.user("backends: {sprite: {api_key: env:SPRITE_API_KEY}}\n")
        assert not any("not set" in line for line in site.load().warnings)
        warned = site.load(flags={"backend": "sprite"}).warnings
        assert any("'backends.sprite.api_key' refers to the variable SPRITE_API_KEY" in line for line in warned)


class TestMoreFlags:
    def test_they_make_another_stack(self, site: Site) -> None:
        stack = site.load(flags={"image": "one", "port": 4000})
        more = stack.with_flags({"image": "two"})
        assert (stack.settings.image, more.settings.image) == ("one", "two")
        assert more.settings.ports[0].host == 4000

    def test_a_later_class_replaces_an_earlier_number(self, site: Site) -> None:
        stack = site.load(flags={"defaults.resources.cpu": 7})
        assert stack.settings.resources.cpu.cores == 7
        assert stack.with_flags({"resources": "small"}).settings.resources == RESOURCE_CLASSES["small"]

    def test_the_environment_still_ranks_above(self, site: Site) -> None:
        stack = site.load(env={"NEXUS_IMAGE": "env"})
        assert stack.with_flags({"image": "flag"}).settings.image == "env"

    def test_a_wrong_one_is_an_error_and_no_file_is_read_again(self, site: Site) -> None:
        stack = site.load()
        site.project("broken: [\n")
        assert stack.with_flags({"image": "x"}).settings.image == "x"
        with pytest.raises(ConfigError, match=r"unknown key 'defaults\.imge'; perhaps you meant 'image'"):
            stack.with_flags({"defaults.imge": "x"})


class TestMergedResult:
    def test_resources_beyond_the_nodes_maxima(self, site: Site) -> None:
        node = site.node("limits:\n  max_resources: {cpu: 4, memory: 8G, storage: 50G}\n")
        site.project("resources:\n  cpu: 8\n  memory: {bytes: 4G, limit: 16G}\n  storage: 60G\n")
        assert [line.replace(str(node), "node") for line in site.problems()] == [
            "project:2:8: cpu: 8 cores is more than the node allows, 4 cores (node:2:24)",
            "project:3:30: memory: 16GiB is more than the node allows, 8GiB (node:2:35)",
            "project:4:12: storage: 60GiB is more than the node allows, 50GiB (node:2:48)",
        ]
        with pytest.raises(ConfigError):
            site.load(flags={"resources": "small"}, env={"NEXUS_DEFAULTS__RESOURCES__CPU": "64"})
        assert site.load(flags={"resources": "small"}).settings.resources == RESOURCE_CLASSES["small"]

    def test_a_limit_below_what_is_asked_for(self, site: Site) -> None:
        site.project("resources:\n  cpu: {cores: 4, limit: 2}\n  memory: {bytes: 4G, limit: 2G}\n")
        assert site.problems() == (
            "project:2:26: the limit of 2 cores is below the 4 that are asked for",
            "project:3:30: the memory limit of 2GiB is below the 4GiB that are asked for",
        )

    @pytest.mark.parametrize(("start", "end"), [(32799, 33000), (32000, 32768), (30000, 40000), (32770, 32780)])
    def test_a_port_range_over_the_reserved_ports(self, site: Site, start: int, end: int) -> None:
        site.user(f"defaults:\n  port_range: {{start: {start}, end: {end}}}\n")
        assert site.problems() == (
            f"user:2:23: the port range {start}-{end} overlaps 32768-32799, which Nexus keeps for itself",
        )

    def test_a_port_range_beside_them_is_fine(self, site: Site) -> None:
        site.user("defaults: {port_range: {start: 32800, end: 32800}}\n")
        assert site.load().settings.port_range == PortRange(start=32800, end=32800)

    def test_a_port_range_that_is_none(self, site: Site) -> None:
        site.user("defaults: {port_range: {start: 4000, end: 3000}}\n")
        assert "ends (3000) before it starts (4000)" in site.problems()[0]
        site.user("defaults: {port_range: {start: 4000}}\n")
        assert "needs both 'start' and 'end'" in site.problems()[0]

    def test_fixed_ports(self, site: Site) -> None:
        site.project(
            "ports:\n"
            "  a: {container: 1, host: 32770}\n"
            "  b: {container: 2, host: 8000}\n"
            "  c: {container: 3, host: 8000}\n"
            "  d: {container: 3, host: 8000, protocol: udp}\n"
            "  e: {visibility: public}\n"
        )
        assert site.problems() == ("project:6:6: 'ports.e' needs 'container', the number inside",)
        flagged = site.problems(flags={"ports.e": 5})
        assert flagged[0] == "project:2:27: 'ports.a.host' is 32770; Nexus keeps 32768-32799 for itself"
        assert flagged[1].startswith("project:4:27: host port 8000 is given to 'c' and to 'b' (project:3:27)")
        assert len(flagged) == 2

    def test_a_fixed_port_below_1024_is_a_warning(self, site: Site) -> None:
        project = site.project("ports:\n  web: {container: 80, host: 80}\n")
        warning = f"{project}:2:30: 'ports.web.host' is below 1024, which usually needs root"
        assert warning in site.load().warnings

    def test_no_backend_at_all(self, site: Site) -> None:
        site.user("defaults: {backend: null}\n")
        assert "'defaults.backend' has no value: null removed it" in site.problems()[0]

    def test_a_backend_that_may_be_a_slip(self, site: Site) -> None:
        user = site.user("defaults: {backend: dokcer}\nbackends: {locla: {x: 1}, podman: {}}\n")
        warnings = site.load().warnings
        assert f"{user}:1:21: no backend named 'dokcer' comes with Nexus; perhaps you meant 'docker'" in warnings
        assert any("no backend named 'locla' comes with Nexus; perhaps you meant 'local'" in line for line in warnings)
        assert not any("podman" in line for line in warnings)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (
                "backends: {docker: {sokcet: /x}}",
                "user:1:21: unknown key 'backends.docker.sokcet'; perhaps you meant 'socket'",
            ),
            ("backends: {docker: {subnet_pool: banana}}", "must be an IPv4 network such as 10.213.0.0/16"),
            ("backends: {docker: {subnet_pool: 10.0.0.1/8}}", "must be an IPv4 network"),
            ("backends: {docker: {stop_grace: 0}}", "must be longer than zero"),
            (
                "backends: {docker: {subnet_pool: 8.8.0.0/16}}",
                "must be a private IPv4 network of at least 64 addresses",
            ),
            (
                "backends: {docker: {subnet_pool: 10.0.0.0/30}}",
                "must be a private IPv4 network of at least 64 addresses",
            ),
            ("backends: {docker: {user: root}}", "must be 'host', 'image' or numbers such as '1000:1000'"),
            ("backends: {docker: {pids_limit: true}}", "must be a number, not true or false"),
            (
                "backends: {docker: {pids_limit: 3}}",
                "user:1:33: 'backends.docker.pids_limit' must be at least 16, not 3",
            ),
            ("backends: {docker: {network: 'a b'}}", "must be the start of a network's name"),
            ("backends: {local: {pass_env: [1A]}}", "user:1:31: 'backends.local.pass_env' must be a variable's name"),
            ("backends: {podman: 3}", "user:1:20: 'backends.podman' must be a map of 'key: value' lines, not 3"),
        ],
    )
    def test_backend_sections_are_valid_for_their_type(self, site: Site, text: str, problem: str) -> None:
        site.user(text)
        assert problem in site.problems()[0]


LEVELS = {
    "node": "limits: {max_workspaces_total: nope}",
    "user": "preferences: {telemetry: {enabled: perhaps}}",
    "project": "ports: {web: {container: none}}",
}


@pytest.mark.parametrize(
    ("level", "text", "problem"),
    [
        ("node", LEVELS["node"], "1:32: 'limits.max_workspaces_total' must be a whole number, not 'nope'"),
        ("user", LEVELS["user"], "1:36: 'preferences.telemetry.enabled' must be true or false, not 'perhaps'"),
        ("project", LEVELS["project"], "1:26: 'ports.web.container' must be a whole number, not 'none'"),
        (
            "user",
            "defaults: {idle_timeout: soon}",
            "1:26: 'defaults.idle_timeout' cannot be used: 'soon' is not a duration",
        ),
        ("user", "defaults: {idle_timeout: 0}", "1:26: 'defaults.idle_timeout' must be longer than zero"),
        ("user", "defaults: {image: 1.20}", "1:19: 'defaults.image' must be text, not 1.2"),
        ("user", "defaults: {image: ''}", "1:19: 'defaults.image' cannot be used"),
        ("user", "defaults: {backend: Docker}", "1:21: 'defaults.backend' must be a backend's name"),
        (
            "user",
            "defaults: {resources: huge}",
            "1:23: 'defaults.resources' cannot be used: 'huge' is not a resource class",
        ),
        ("user", "defaults: {resources: {memory: lots}}", "1:32: 'defaults.resources.memory' cannot be used: 'lots'"),
        (
            "user",
            "defaults: {resources: {cpu: true}}",
            "1:29: 'defaults.resources.cpu' must be a number, not true or false",
        ),
        ("user", "defaults: {resources: {cpu: -1}}", "1:29: 'defaults.resources.cpu' must be greater than 0, not -1"),
        ("user", "defaults: {resources: {cpu: [1]}}", "1:29: 'defaults.resources.cpu' must be a number, not a list"),
        ("user", "defaults: {imge: x}", "1:12: unknown key 'defaults.imge'; perhaps you meant 'image'"),
        ("user", "defautls: {}", "1:1: unknown key 'defautls'; perhaps you meant 'defaults'"),
        ("user", "zzzzzz: 1", "1:1: unknown key 'zzzzzz'"),
        ("user", "limits: {}", "1:1: unknown key 'limits'; it belongs in the node file"),
        ("node", "ports: {}", "1:1: unknown key 'ports'; it belongs in the project file"),
        ("node", "defaults: {port_range: {}}", "1:12: unknown key 'defaults.port_range'"),
        ("project", "ports: {web: {container: 70000}}", "1:26: 'ports.web.container' must be at most 65535, not 70000"),
        ("project", "ports: {'a b': 3000}", "1:9: 'ports.\"a b\"' must be a service's name"),
        ("project", "ports: {web: {visibility: pubilc, container: 1}}", "not 'pubilc'; perhaps you meant 'public'"),
        ("project", "env: {'1A': x}", "1:7: 'env.1A' must be a variable's name"),
        ("project", "env: {A: [1]}", "1:10: 'env.A' must be text, not a list"),
        ("project", "secrets: {A: {source: env}}", "cannot be used: a secret with 'source: env' needs 'var'"),
        ("project", "secrets: {A: {var: B}}", "1:14: 'secrets.A' lacks 'source'"),
        ("project", "backend: {type: docker}\ndefaults: {backend: local}", "2"),
        ("project", "services: {db: {ports: ['x']}}", "1:25: 'services.db.ports' must be a port inside"),
    ],
)
def test_wrong_values_are_named_with_place_and_next_step(site: Site, level: str, text: str, problem: str) -> None:
    getattr(site, level)(text)
    (line,) = site.problems()
    if problem == "2":
        assert line == "project:1:17: 'backend.type' and 'defaults.backend' say the same thing; keep one of them"
    else:
        assert line.startswith(f"{level}:")
        assert problem in line


@pytest.mark.parametrize("value", ["9" * 400 + "G", "9" * 400, "1000000000d", "9" * 400 + "w", "9" * 5000])
@pytest.mark.parametrize("key", ["defaults.resources.memory", "defaults.idle_timeout", "ports.web", "limits"])
def test_numbers_beyond_all_measure(site: Site, key: str, value: str) -> None:
    site.user(f"defaults: {{idle_timeout: '{value}', resources: {{memory: '{value}'}}}}")
    assert any("'defaults.idle_timeout' cannot be used" in line for line in site.problems())
    huge: JsonValue = 10**400
    assert site.problems(flags={key: huge})
    assert max(map(len, site.problems(flags={key: value}))) < 500


def test_more_problems_than_anybody_reads(site: Site) -> None:
    site.user("".join(f"key{number}: 1\n" for number in range(4000)))
    lines = site.problems()
    assert (len(lines), lines[-1]) == (101, "and 3900 more problems")


def test_a_wrong_secret_is_not_repeated(site: Site) -> None:
    site.user("backends: {sprite: {api_key: [hunter2], region: {hunter2: x}}}\n")
    assert not any("hunter2" in line for line in site.problems())
    site.user("backends: {sprite: {api_key: 12345}}\n")
    assert site.problems() == ("user:1:30: 'backends.sprite.api_key' must be text, not ***",)


def test_a_hostile_name_cannot_move_the_cursor(site: Site) -> None:
    site.project('"\\e[2J\\u202eevil": 1\n')
    (line,) = site.problems()
    assert line.isprintable()


def test_the_hint_is_the_first_problems_next_step(site: Site) -> None:
    site.user("defaults: {idle_timeout: soon}")
    with pytest.raises(ConfigError) as caught:
        site.load()
    assert caught.value.hint == "write for example 30m, 1h30m or 45s"


def test_unknown_keys_are_errors_with_a_suggestion(site: Site) -> None:
    stack = site.load()
    asked: dict[str, str] = {
        "idle_timeout": "defaults.idle_timeout",
        "port": "ports.web.host",
        "backend.docker.image": "defaults.image",
        "resources": "defaults.resources",
        "defaults.imagee": "defaults.image",
    }
    for key, meant in asked.items():
        for ask in (stack.get, stack.explain):
            with pytest.raises(ConfigError, match=f"unknown key '{key}'; perhaps you meant '{meant}'"):
                ask(key)
    with pytest.raises(ConfigError, match="unknown key ''"):
        stack.get("")


def test_a_key_without_a_value_is_none(site: Site) -> None:
    stack = site.load()
    values: list[JsonValue] = [stack.get("ports.web.host"), stack.get("daemon.tls"), stack.get("backends.podman.x.y")]
    assert values == [None, None, None]
    explanation = stack.explain("ports.web.host")
    assert (explanation.winner, explanation.layers) == (None, ())
    assert str(explanation) == "ports.web.host is not set"


def test_loading_says_where_it_looked(site: Site) -> None:
    assert site.load().files == {"node": site.node_path, "user": site.user_path, "project": site.project_path}
