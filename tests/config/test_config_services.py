"""``services`` and ``volumes``: what is understood, what is refused and where."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from nexus.config.services import read_port, read_volume
from nexus.models.mounts import VolumeMount
from nexus.models.services import Healthcheck, ServicePort, ServiceSpec
from tests.config.conftest import Site


def services(site: Site, text: str) -> dict[str, ServiceSpec]:
    site.project(text)
    return {service.name: service for service in site.load().settings.services}


def test_short_and_long_forms_mean_the_same(site: Site) -> None:
    short, long = (
        services(site, text)
        for text in (
            """\
services:
  db:
    build: docker/db
    command: exec db --port 5432
    ports: ["5432:5432", 8080, "53/udp"]
    volumes: [data:/data, "./sql:/sql:ro"]
    healthcheck: {test: db-ready}
    restart: no
    depends_on: [cache]
  cache: {image: "redis:7", command: [redis-server], env: {VERSION: 1.20}, working_dir: /srv, user: redis}
""",
            """\
services:
  db:
    build: {context: ./docker/db, dockerfile: Dockerfile}
    command: [/bin/sh, -c, exec db --port 5432]
    ports: ["5432:5432/tcp", "8080/tcp", "53/udp"]
    volumes: ["data:/data:rw", "./sql:/sql:ro"]
    healthcheck: {test: [CMD-SHELL, db-ready], interval: 5s, timeout: 30s, retries: 3, start_period: 30s}
    restart: "no"
    depends_on: {cache: {condition: service_started}}
  cache: {image: "redis:7", command: [redis-server], env: {VERSION: "1.20"}, working_dir: /srv, user: redis}
""",
        )
    )
    assert short == long
    database = short["db"]
    assert database.build is not None
    assert database.build.dockerfile == site.root / "docker" / "db" / "Dockerfile"
    assert database.ports == (
        ServicePort(container=5432, preferred=5432),
        ServicePort(container=8080),
        ServicePort(container=53, protocol="udp"),
    )
    assert database.mounts == (
        VolumeMount(source="data", target="/data", kind="volume"),
        VolumeMount(source="./sql", target="/sql", kind="bind", read_only=True),
    )
    assert database.healthcheck == Healthcheck(test=("CMD-SHELL", "db-ready"), interval=timedelta(seconds=5))


def test_layers_merge_services_by_key_and_null_takes_one_away(site: Site) -> None:
    site.project("services: {a: {image: x, env: {A: 1, B: 2}, depends_on: [b]}, b: {image: y}, c: {image: z}}")
    flags: dict[str, JsonValue] = {
        "services.a.env.B": "3",
        "services.a.depends_on.c": {"condition": "service_started"},
        "services.b.image": "w",
    }
    found = {service.name: service for service in site.load(flags=flags).settings.services}
    assert found["a"].env == {"A": "1", "B": "3"}
    assert dict(found["a"].depends_on) == {"b": "service_started", "c": "service_started"}
    assert found["b"].image == "w"
    assert [each.name for each in site.load(flags={"services.c": None}).settings.services] == ["a", "b"]
    assert site.problems(flags={"services.b": None}) == (
        "project:1:57: service 'a' depends on 'b', which is no service",
    )


def test_the_workspaces_own_volumes(site: Site) -> None:
    site.project("volumes: ['cache:/root/.cache', './data:/data']")
    assert [mount.source for mount in site.load().settings.volumes] == ["cache", "./data"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{a: {env: {X: y}}}", "1:15: 'services.a' needs 'image', 'build' or 'command'"),
        ("{a: {image: x, build: .}}", "1:15: 'services.a' has both 'image' and 'build'"),
        ("{A: {image: x}}", "1:12: 'services.A' must be a host's name"),
        ("{a_: {image: x}}", "1:12: 'services.a_' must be a host's name"),
        ("{a: {image: x, imgae: y}}", "1:26: unknown key 'services.a.imgae'; perhaps you meant 'image'"),
        ("{a: {image: x, ports: [70000]}}", "1:34: 'services.a.ports' must be a port inside"),
        ("{a: {image: x, ports: ['0:80']}}", "1:34: 'services.a.ports' must be a port inside"),
        ("{a: {image: x, ports: ['1:2:3']}}", "1:34: 'services.a.ports' must be a port inside"),
        ("{a: {image: x, ports: [true]}}", "1:34: 'services.a.ports' must be text, not true"),
        ("{a: {image: x, volumes: ['data']}}", "1:36: 'services.a.volumes' must be 'name:/path' or './folder:/path'"),
        ("{a: {image: x, volumes: ['data:etc']}}", "1:36: 'services.a.volumes' must name an absolute path inside"),
        ("{a: {image: x, volumes: ['data:/']}}", "1:36: 'services.a.volumes' must name an absolute path inside"),
        (
            "{a: {image: x, volumes: ['d/e:/x']}}",
            "'d/e' is neither a volume's name nor a folder; a folder begins with './'",
        ),
        ("{a: {image: x, volumes: ['d:/x', 'e:/x/']}}", "1:35: two volumes of service 'a' are mounted at '/x'"),
        ("{a: {image: x, volumes: ['./..:/x']}}", "the source of a volume of service 'a' must stay inside the project"),
        ("{a: {build: ../x}}", "1:23: the build of service 'a' must stay inside the project"),
        ("{a: {build: {dockerfile: /etc/x}}}", "1:36: the build of service 'a' must stay inside the project"),
        (
            "{a: {image: x, restart: maybe}}",
            "1:35: 'services.a.restart' must be no, always, unless-stopped, on-failure",
        ),
        ("{a: {image: x, working_dir: srv}}", "1:39: 'services.a.working_dir' must be an absolute path inside"),
        ("{a: {image: x, healthcheck: {test: [pg_isready]}}}", "must be a script, or a list that begins with CMD"),
        ("{a: {image: x, healthcheck: {test: [CMD]}}}", "must give what to run after CMD"),
        ("{a: {image: x, healthcheck: {test: [NONE, x]}}}", "must give nothing after NONE"),
        ("{a: {image: x, healthcheck: {interval: 0s}}}", "must be longer than zero"),
        ("{a: {image: x, healthcheck: {retries: 0}}}", "'services.a.healthcheck.retries' must be at least 1, not 0"),
        ("{a: {image: x, depends_on: [b]}}", "1:38: service 'a' depends on 'b', which is no service"),
        ("{a: {image: x, depends_on: [a]}}", "services depend on each other in a circle: a → a"),
        (
            "{a: {image: x, depends_on: {b: {condition: ready}}}, b: {image: x}}",
            "must be 'service_started', 'service_healthy'",
        ),
        (
            "{a: {image: x, depends_on: {b: {condition: service_healthy}}}, b: {image: x, healthcheck: {test: NONE}}}",
            "waits until 'b' is healthy, but nothing tests that one",
        ),
        (
            "{a: {image: x, ports: [80]}, b: {image: y, ports: ['81:80']}}",
            "1:61: services 'a' (project:1:33) and 'b' both listen on port 80/tcp; they share the workspace's network",
        ),
        (
            "{a: {image: x, ports: ['8080:80']}, b: {image: y, ports: ['8080:81']}}",
            "services 'a' (project:1:33) and 'b' both want host port 8080",
        ),
    ],
)
def test_what_cannot_be_is_named_with_its_place(site: Site, text: str, problem: str) -> None:
    site.project(f"services: {text}")
    found = site.problems()
    assert any(problem in line.replace(str(site.project_path), "project") for line in found), found


def test_a_circle_is_told_once_with_the_way_around(site: Site) -> None:
    site.project(
        "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [c]}, c: {image: x, depends_on: [a]}}"
    )
    (line,) = site.problems()
    names = line.rpartition("circle: ")[2].split(" → ")
    assert (names[0], sorted(names[1:])) == (names[-1], ["a", "b", "c"])
    following = {"a": "b", "b": "c", "c": "a"}
    assert all(following[one] == other for one, other in itertools.pairwise(names))


def test_one_number_may_be_tcp_and_udp(site: Site) -> None:
    site.project("services: {a: {image: x, ports: ['53/udp']}, b: {image: y, ports: [53]}}")
    assert len(site.load().settings.services) == 2


def test_links_of_a_clone_do_not_lead_a_build_out_of_it(site: Site) -> None:
    (site.root / "out").symlink_to("/etc")
    site.project("services: {a: {build: out}}")
    assert "a symbolic link leads to '/etc'" in site.problems()[0]


def test_the_users_own_word_may_name_folders_of_the_host(site: Site) -> None:
    site.project("services: {a: {image: x}}")
    settings = site.load(flags={"services.a.volumes": ["/srv/data:/data:ro"], "volumes": ["/srv/x:/x"]}).settings
    assert settings.services[0].mounts == (
        VolumeMount(source="/srv/data", target="/data", kind="bind", read_only=True),
    )
    site.project("volumes: ['/srv/x:/x']")
    assert "the source of a volume of the workspace must stay inside the project" in site.problems()[0]


def test_the_trees_own_folders_cannot_be_read_only_for_the_workspace_itself(site: Site) -> None:
    site.project("volumes: ['./data:/data:ro']")
    assert "cannot be read-only: the tree it is in is writable inside" in site.problems()[0]


@given(st.text(max_size=40))
def test_any_text_is_a_volume_or_a_sentence(text: str) -> None:
    try:
        mount = read_volume(text)
    except ValueError:
        return
    assert mount.target.startswith("/")
    assert ".." not in mount.source.split("/")


@given(st.integers(1, 65535), st.none() | st.integers(1, 65535), st.sampled_from(["", "/tcp", "/udp"]))
def test_ports_are_read_back(container: int, host: int | None, protocol: str) -> None:
    port = read_port(f"{container if host is None else f'{host}:{container}'}{protocol}")
    assert (port.container, port.preferred, port.protocol) == (container, host, protocol[1:] or "tcp")
