"""An adopted file comes with a clone: it is read as carefully as a file of ours, and may say no more than one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus.config import ConfigStack, LayerKind, project_template
from nexus.errors import ConfigError
from tests.config.adopting.adopted_corpus import COMPOSES, DEV, DEVCONTAINERS, meaning
from tests.config.conftest import Site

ANY_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


CONDITIONS = "service_started, service_healthy or service_completed_successfully"


def lay(site: Site, **files: str | bytes) -> None:
    names = {"dev": DEV, "compose": "compose.yaml", "env": ".env"}
    for name, text in files.items():
        path = site.root / names.get(name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def refused(site: Site) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        site.load()
    return [line.replace(f"{site.root}/", "") for line in caught.value.problems]


class TestWhichFileCounts:
    def test_a_file_of_ours_ranks_before_all(self, site: Site) -> None:
        lay(site, dev='{"image": "dev"}', compose="services: {a: {image: a}}")
        site.project("")
        stack = site.load()
        assert stack.adopted is None
        assert stack.settings.image == "nexus-workspace:latest"
        assert stack.settings.services == ()

    def test_a_dev_container_ranks_before_a_compose_file(self, site: Site) -> None:
        lay(site, dev='{"image": "dev"}', compose="services: {a: {image: a}}")
        stack = site.load()
        assert stack.adopted is not None
        assert stack.adopted.kind == "devcontainer"
        assert stack.settings.services == ()
        assert stack.files["project"] == site.root / DEV

    def test_explain_shows_the_place_in_that_file(self, site: Site) -> None:
        lay(site, dev='{\n  "image": "dev",\n  "forwardPorts": [3000]\n}')
        why = site.load(env={"NEXUS_IMAGE": "mine"}).explain("defaults.image")
        project = next(entry for entry in why.layers if entry.layer is LayerKind.PROJECT)
        assert (project.place, project.value, project.wins) == (f"{site.root / DEV}:2:12", "dev", False)
        assert site.load().explain("ports.web.container").layers[-1].place == f"{site.root / DEV}:3:20"

    def test_values_of_variable_files_say_where_they_are(self, site: Site) -> None:
        lay(site, compose="services: {a: {image: 'a:${T}', env_file: x.env}}", env="T=1", **{"x.env": "\nA=2"})
        stack = site.load()
        assert stack.explain("services.a.env.A").layers[-1].place == f"{site.root}/x.env:2:3"
        assert stack.explain("services.a.image").layers[-1].note == "with variables of the .env file"

    def test_customizations_are_kept(self, site: Site) -> None:
        lay(site, dev='{"image": "a", "customizations": {"vscode": {"extensions": ["a.b"]}}}')
        assert '"a.b"' in project_template(site.root, adopted="devcontainer")

    def test_there_must_be_something_to_write_down(self, site: Site) -> None:
        with pytest.raises(ConfigError, match="has no compose file"):
            project_template(site.root, adopted="compose")


class TestWhatACloneCannotAsk:
    def test_nothing_of_this_host_is_read(self, site: Site) -> None:
        document = {
            "image": "a:${localEnv:CANARY}",
            "containerEnv": {"A": "${localEnv:CANARY}", "B": "env:CANARY"},
            "postCreateCommand": "echo ${localEnv:CANARY}",
        }
        lay(site, dev=json.dumps(document))
        stack = site.load(env={"CANARY": "c4n4ry"})
        assert stack.settings.env == {}
        assert "c4n4ry" not in json.dumps(stack.to_json()) + stack.settings.model_dump_json() + "".join(stack.warnings)
        (site.root / DEV).unlink()
        lay(site, compose="services: {a: {image: 'a${CANARY}', environment: [CANARY, 'B=$CANARY', 'C=env:CANARY']}}")
        stack = site.load(env={"CANARY": "c4n4ry"})
        assert "c4n4ry" not in json.dumps(stack.to_json()) + stack.settings.model_dump_json() + "".join(stack.warnings)
        assert stack.resolve_env(stack.settings.services[0].env) == {"B": ""}

    def test_a_variable_of_this_host_is_a_secret_that_its_user_allows(self, site: Site) -> None:
        lay(site, dev='{"image": "a", "remoteEnv": {"NPM_TOKEN": "${localEnv:TOKEN}", "PATH": "${localEnv:PATH}"}}')
        stack = site.load(env={"TOKEN": "t"})
        place = f"{site.root / DEV}:1:43"
        assert any(line.startswith(f"{place}: secret 'NPM_TOKEN' comes from 'TOKEN'") for line in stack.warnings)
        assert stack.settings.secrets_allowed == ()
        site.user("workspaces: {app: {path: ~/code/app}}\nproject_overrides: {app: {secrets: {allow: [TOKEN]}}}\n")
        stack = site.load(env={"TOKEN": "t"})
        assert not any("NPM_TOKEN" in line for line in stack.warnings)
        assert [(secret.name, secret.key) for secret in stack.settings.secrets] == [("NPM_TOKEN", "TOKEN")]

    def test_names_and_programs_that_a_project_cannot_set(self, site: Site) -> None:
        lay(site, dev='{"image": "a", "containerEnv": {"NEXUS_X": "1", "LD_PRELOAD": "x.so"}}')
        assert refused(site) == [
            f"{DEV}:1:33: a project's file cannot set 'env.NEXUS_X': names that begin with NEXUS_ are taken"
        ]
        lay(site, dev='{"image": "a", "containerEnv": {"LD_PRELOAD": "x.so"}}')
        with pytest.raises(ConfigError, match=r"a project's file cannot set 'env\.LD_PRELOAD' while"):
            site.load(flags={"backend": "local"})

    @pytest.mark.parametrize("path", [".git/config", ".nexus/state/x"])
    def test_files_that_are_the_users_are_no_files_of_variables(self, site: Site, path: str) -> None:
        (site.root / path).parent.mkdir(parents=True, exist_ok=True)
        (site.root / path).write_text("url = https://token@host\n")
        lay(site, compose=f"services: {{a: {{image: a, env_file: {path}}}}}")
        assert refused(site) == [f"{path}:1:1: no file may be read from {path.partition('/')[0]}"]

    @pytest.mark.parametrize("name", [DEV, "compose.yaml", ".env", "x.env"])
    def test_links_out_of_the_project_pipes_and_large_files(self, site: Site, name: str) -> None:
        compose = "services: {a: {image: a, env_file: x.env}}"
        if name != DEV:
            lay(site, compose=compose)
        path = site.root / name
        path.parent.mkdir(exist_ok=True)
        outside = site.home / "secret.env"
        outside.write_text("SECRET=1")
        path.unlink(missing_ok=True)
        path.symlink_to(outside)
        assert refused(site) == [f"{name}:1:1: a symbolic link leads out of the project, so what it names is not read"]
        path.unlink()
        os.mkfifo(path)
        assert refused(site) == [f"{name}:1:1: this is not an ordinary file (a pipe, a socket or a device)"]
        path.unlink()
        path.write_bytes(b"#" * 1_100_000)
        assert refused(site) == [f"{name}:1:1: the file is larger than 1024 KiB"]

    def test_a_linked_folder_out_of_the_project(self, site: Site) -> None:
        outside = site.home / "elsewhere"
        outside.mkdir()
        (outside / "devcontainer.json").write_text('{"image": "a"}')
        (site.root / ".devcontainer").symlink_to(outside)
        assert refused(site) == [f"{DEV}:1:1: a symbolic link leads out of the project, so what it names is not read"]

    def test_what_is_built_stays_inside_behind_links(self, site: Site) -> None:
        (site.root / "app").symlink_to(site.home)
        lay(site, dev='{"build": {"dockerfile": "../app/Dockerfile", "context": "../app"}}')
        lines = refused(site)
        assert len(lines) == 2
        assert all("a symbolic link leads to" in line and line.startswith(DEV) for line in lines)

    def test_aliases_do_not_multiply(self, site: Site) -> None:
        rows = [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
        lay(site, compose="\n".join(["x-0: &a0 [lol]", *rows]))
        assert "aliases counted by what they stand for" in refused(site)[0]

    @pytest.mark.timeout(60)
    @pytest.mark.parametrize("piece", ["${a:", "${", '"${containerWorkspaceFolder}', "\\'"])
    def test_what_never_closes_is_looked_at_once(self, site: Site, piece: str) -> None:
        text = piece * (200_000 // len(piece))
        lay(site, dev=json.dumps({"image": "a", "postCreateCommand": text}))
        assert site.load().get("scripts.post-create.run")
        lay(site, dev=json.dumps({"image": "a", "containerEnv": {"A": text[:100_000]}, "postCreateCommand": [text]}))
        assert site.load().adopted is not None

    def test_compose_files_are_a_bounded_number(self, site: Site) -> None:
        names = [f"c{n}.yaml" for n in range(40)]
        lay(site, dev=json.dumps({"dockerComposeFile": [f"../{name}" for name in names], "service": "a"}))
        lay(site, **dict.fromkeys(names, "services: {a: {image: a}}"))
        assert "more than 32 files are named; this one is not read" in refused(site)[0]


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ('{"image": 3.5, "name": []}', "1:24: 'name' must be text, not a list"),
            ('{"image": ["a"]}', "1:11: 'image' must be text, not a list"),
            (
                '{"forwardPorts": [0]}',
                "1:19: 'forwardPorts[0]' is no port: write 3000, or 'db:5432' for one of a service",
            ),
            ('{"forwardPorts": 3000}', "1:18: 'forwardPorts' must be a list, not a number"),
            (
                '{"containerEnv": {"A B": "1"}}',
                "1:19: 'env.\"A B\"' must be a variable's name: letters, digits and '_', no digit first",
            ),
            (
                '{"hostRequirements": {"cpus": "two"}}',
                "1:31: 'hostRequirements.cpus' must be a whole number of cores, not text",
            ),
            (
                '{"hostRequirements": {"memory": "lots"}}',
                "1:33: 'resources.memory' cannot be used: 'lots' is not a size",
            ),
            ('{"build": {}, "image": "a"}', "1:11: 'build' lacks 'dockerfile'"),
            (
                '{"dockerComposeFile": "../c.yml"}',
                "1:23: 'dockerComposeFile' needs 'service': which one is the workspace",
            ),
            ('{"dockerComposeFile": "../c.yml", "service": "a"}', "1:23: 'c.yml' does not exist"),
            (
                '{"dockerComposeFile": "../../c.yml", "service": "a"}',
                "1:23: 'dockerComposeFile' must name a file inside the project",
            ),
            ('{"postCreateCommand": 1.5e3, "mounts": {}}', "1:40: 'mounts' must be a list, not a map"),
        ],
    )
    def test_in_a_dev_container(self, site: Site, text: str, problem: str) -> None:
        lay(site, dev=text)
        assert refused(site)[0] == f"{DEV}:{problem}"

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("services: []", "1:11: 'services' must be a map, not a list"),
            ("services: {a: b}", "1:15: 'services.a' must be a map, not text"),
            ("services: {a: {image: '${X:?no}'}}", "1:23: this text needs the variable X, which is not set: no"),
            ("services: {a: {image: '${X'}}", "1:23: this text has '${X' without its '}'"),
            (
                "services: {a: {image: a, ports: ['x']}}",
                "1:34: 'services.a.ports[0]' is no port: write 8080, '8080:80' or '127.0.0.1:8080:80'",
            ),
            ("services: {a: {image: a, ports: [{published: 1}]}}", "1:34: 'services.a.ports[0]' lacks 'target'"),
            ("services: {a: {image: a, command: 'x \"y'}}", "1:35: 'services.a.command' has a quote without its end"),
            (
                "services: {a: {image: a, restart: often}}",
                "1:35: 'services.a.restart' must be no, always, unless-stopped, on-failure or on-failure:<times>",
            ),
            (
                "services: {a: {image: a, healthcheck: {interval: soon}}}",
                "1:50: 'services.a.healthcheck.interval' cannot be used: 'soon' is not a duration",
            ),
            (
                "services: {a: {image: a, depends_on: {b: {condition: up}}}}",
                f"1:54: 'services.a.depends_on.b.condition' must be {CONDITIONS}",
            ),
            ("services: {a: {<<: 3, image: a}}", "1:20: '<<' must be a map, or a list of maps, not a number"),
            (
                "services: {a: {image: a, depends_on: [b]}, b: {image: b, depends_on: [a]}}",
                "1:39: services depend on each other in a circle: a → b → a",
            ),
            ("a: &x [*x]", "1:8: the alias '*x' stands inside what it names"),
        ],
    )
    def test_in_a_compose_file(self, site: Site, text: str, problem: str) -> None:
        lay(site, compose=text)
        assert refused(site)[0] == f"compose.yaml:{problem}"

    def test_validate_tells_it_and_what_is_unsupported(self, site: Site) -> None:
        lay(site, compose="services:\n  a: {image: a, restart: often, labels: {x: y}}\n")
        found = ConfigStack.validate(site.root, level="project", env={"HOME": str(site.home)}, node_file=site.node_path)
        assert [(problem.severity, problem.place.line, problem.place.column) for problem in found] == [
            ("error", 2, 26),
            ("warning", 2, 33),
        ]


KEYS = st.sampled_from(
    [
        "image",
        "build",
        "dockerFile",
        "context",
        "dockerfile",
        "args",
        "target",
        "forwardPorts",
        "appPort",
        "portsAttributes",
        "label",
        "containerEnv",
        "remoteEnv",
        "mounts",
        "hostRequirements",
        "cpus",
        "memory",
        "name",
        "postCreateCommand",
        "postStartCommand",
        "onCreateCommand",
        "features",
        "dockerComposeFile",
        "service",
        "runServices",
        "customizations",
        "services",
        "environment",
        "env_file",
        "ports",
        "volumes",
        "depends_on",
        "condition",
        "healthcheck",
        "test",
        "interval",
        "disable",
        "restart",
        "command",
        "entrypoint",
        "profiles",
        "extends",
        "file",
        "include",
        "path",
        "project_directory",
        "remoteUser",
        "containerUser",
        "user",
        "web",
        "db",
        "3000",
        "source",
        "type",
        "published",
        "x-a",
        "<<",
    ]
) | st.text(max_size=3)
SCALARS = (
    st.none() | st.booleans() | st.integers(-5, 70_000) | st.floats() | st.text(max_size=6)
    | st.sampled_from(["web", "db:5432", "80:80", "./a:/b", "a:/b", "${X:-1}", "${localEnv:X}", "${containerWorkspaceFolder}/x", "a=b",
                       "source=a,target=/b,type=volume", ".", "..", "/x", "compose.yaml", "sleep 1", "env:HOME", "5s", "4gb", "debian:12"])
)  # fmt: skip
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4), max_leaves=12),
    max_size=6,
)  # fmt: skip


def outcome(load: Callable[[], ConfigStack]) -> ConfigStack | None:
    problems: tuple[str, ...] = ()
    try:
        return load()
    except ConfigError as error:
        problems = error.problems
    assert problems
    assert all(line.isprintable() for line in problems)
    return None


@ANY_FIXTURE
@given(document=DOCUMENTS, services=DOCUMENTS, where=st.sampled_from([DEV, "compose.yaml"]))
def test_any_document_is_read_or_refused_and_written_as_it_is_read(
    site: Site, document: dict[str, object], services: dict[str, object], where: str
) -> None:
    for path in (site.root / DEV, site.root / "compose.yaml", site.project_path):
        path.unlink(missing_ok=True)
    if where != DEV:
        document = {**document, "services": {"web": document, **services}}
    lay(site, **{where: json.dumps(document).encode()})
    direct = outcome(site.load)
    if direct is None:
        return
    assert all(line.isprintable() for line in direct.warnings)
    site.project(project_template(site.root, adopted="devcontainer" if where == DEV else "compose"))
    assert meaning(site.load().settings) == meaning(direct.settings)


@pytest.mark.parametrize("kind", ["devcontainer", "compose"])
@ANY_FIXTURE
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(site: Site, kind: str, data: st.DataObject) -> None:
    cases = DEVCONTAINERS if kind == "devcontainer" else COMPOSES
    case = cases[data.draw(st.sampled_from(sorted(cases)))]
    files = {name: text.encode() for name, text in case.files.items()}
    name = data.draw(st.sampled_from(sorted(files)))
    at = data.draw(st.integers(0, len(files[name])))
    cut = data.draw(st.integers(0, 8))
    files[name] = files[name][:at] + data.draw(st.binary(max_size=4)) + files[name][at + cut :]
    for path in (site.root / DEV, *site.root.glob("*.y*ml"), *site.root.glob(".devcontainer/*/*"), site.root / ".env"):
        path.unlink(missing_ok=True)
    lay(site, **files)
    outcome(site.load)
